"""Turn Hydra's configuration into plain arguments.

A verb with the settings of a run is a function of a composed configuration; `hydra_command` calls it. Only the verbs
read the configuration. The modules below take plain arguments.
"""

import functools
import gc
import hashlib
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from singtech import settings
from singtech.cli import sweep, usage
from singtech.cli.options import format_help, parse_options
from singtech.cli.problems import (
    SHOW_TRACEBACKS,
    describe_error,
    is_disk_full,
    needs_traceback,
    run_verb,
    suggest_setting,
)
from singtech.config_paths import CONF, register_home
from singtech.errors import InvalidValue, SingtechError
from singtech.io.atomic import name_in_errors
from singtech.io.interrupts import raise_if_output_closed, raise_if_signalled
from singtech.io.lock import Busy
from singtech.io.stored import reading
from singtech.settings import flatten

register_home()
ConfigStore.instance().store("schema", settings.Settings)  # configurations begin with it
_load = ConfigRepository.load_config


def _load_file(self: ConfigRepository, config_path: str) -> Any:
    """Load a file of settings as Hydra does, and name it in the error that its content raises."""
    if (source := self._find_object_source(config_path, ObjectType.CONFIG)) is None:
        return None  # Hydra tells what there is
    path = Path(source.path, f"{config_path}.yaml")
    with reading(path, "expected names and values, as YAML in UTF-8", "is no file of settings"):
        loaded: Any = _load(self, config_path)
        if OmegaConf.is_list(loaded.config):
            raise ValueError("it holds a list")
    if path.parent.name in ("condition", "ablation", "experiments") and not loaded.header["package"]:
        raise InvalidValue(f"{path}: expected `# @package _global_` as its first line.")
    return loaded


ConfigRepository.load_config = _load_file  # type: ignore[method-assign]


class CorpusProblem(SingtechError):
    """The corpus cannot be prepared, so every run of a sweep on it fails."""


# Hydra records the settings of runs in output_dir; a command that only reads it must not write there.
NO_RECORD = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout")

# Settings that name files and displays and do not change results.
NEUTRAL_SETTINGS: tuple[str, ...] = ("output_dir", "trainer", "logger", "experiment", "looks", "label")
NEUTRAL_SETTINGS += ("data.root", "data.labels", "data.source", "data.strict", "model.remote_code")

# A corpus of the user's own differs from its usual settings by these alone.
CHANGED_OF_OWN = re.compile(r"data\.(folds|inner_fold|fold_singers|train_contexts|test_contexts|long_tail.*)")


def hydra_command(job: Callable[[DictConfig], Any]) -> Callable[[], int]:
    """Turn a function of the configuration into a program that returns its exit status.

    In a sweep, a failed run does not stop the others, unless they would fail too: the corpus is missing, or the disk is
    full. At its end, the sweep lists the failed runs.
    """

    @functools.wraps(job)
    def run(cfg: DictConfig) -> Any:
        raise_if_signalled()
        os.chdir(HydraConfig.get().runtime.cwd)  # hydra.job.chdir=true would change relative paths
        allow_own_modules()
        try:
            check_settings(cfg)
            with raise_if_output_closed():
                return job(cfg)
        except Busy as problem:
            if not sweep.can_postpone():  # another process took over the run: wait for it
                return run(cfg)
            sweep.postpone(run, cfg, problem)
        except Exception as problem:
            _handle_failure(problem)
        finally:
            if sweep.is_sweep():
                gc.collect()  # free the memory of the run
        return None

    def start() -> Any:
        record = () if job.__module__ == "singtech.run" else NO_RECORD
        sys.argv[1:] = read_words([*record, *sys.argv[1:]])
        return hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run)()

    def main() -> int:
        usage.register(sys.modules[job.__module__].__doc__ or "")
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors and prints nothing
        try:
            return run_verb(name_in_errors(Path("Hydra's files in output_dir/hydra"))(start))
        finally:
            os.environ["HYDRA_FULL_ERROR"] = str(int(SHOW_TRACEBACKS))

    return main


def read_words(words: Sequence[str]) -> list[str]:
    """Check that each word of a command is a setting or a flag of Hydra; return the flags, then the settings.

    The settings are quoted by `quote_letters`.

    Raises:
        InvalidValue: one is neither.
    """

    def refuse(message: str) -> NoReturn:
        raise InvalidValue(f"{message}; a setting is written name=value, such as seed=1.")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    flags, unknown = parser.parse_known_args([*words])  # unknown are also the settings after a flag
    if (flags.package or flags.resolve) and not (flags.cfg or flags.help):
        refuse("--package and --resolve go with --cfg job")
    settings = [*flags.overrides, *(word for word in unknown if not word.startswith("-"))]
    for word in [*unknown, *settings]:
        if not re.match(r"~\w+\.|[^-~\s=][^\s=]*=", word):
            name = re.sub(r"^\W+|[\s=:].*", "", word).replace("-", "_")
            refuse(f"{word}: no setting{suggest_setting(name)}")
    return [*(word for word in words if word not in settings), *map(quote_letters, settings)]


def quote_letters(word: str) -> str:
    """Quote each value that Hydra reads only in quotes: letters beyond ASCII, and what is no name for a choice."""
    name, equals, values = word.partition("=")
    plain = r"""[^,\[\]{}()'"=]*"""
    if (CONF / name).is_dir():  # a choice is text
        values = re.sub(r"(?:^|(?<=,))(\[[^]]*\]|null|[-+.\de]+)(?=,|$)", r"'\1'", values)
    letters = rf"""('[^']*'|"[^"]*")|{plain}[^\x00-\x7f,]{plain}"""
    return name + equals + re.sub(letters, _quote, values)


def _quote(value: re.Match[str]) -> str:
    return value[1] or f"'{value[0].strip()}'"


def hydra_command_with(schema: type) -> Callable[[Callable[[DictConfig, Any], Any]], Callable[[], int]]:
    """Turn a function of the configuration and of options of its own into a program that returns its exit status.

    Arguments that name a field of the dataclass `schema` are its options; all others are settings for Hydra.
    """

    def decorate(job: Callable[[DictConfig, Any], Any]) -> Callable[[], int]:
        def main() -> int:
            words, names = sys.argv[1:], {item.name for item in fields(schema)}
            if {"-h", "--help"} & set(words):
                return run_verb(lambda: print(format_help(schema)))
            own = [word for word in words if word.partition("=")[0] in names]
            sys.argv[1:] = [word for word in words if word not in own]

            @functools.wraps(job)
            def run(cfg: DictConfig) -> Any:
                return job(cfg, parse_options(schema, own))

            return hydra_command(run)()

        return main

    return decorate


def _handle_failure(problem: Exception) -> None:
    """End the command after a run's error. In a sweep record the error, and end only if all other runs would fail.

    Raises:
        SystemExit: with the sentence. Hydra adds a line to other exceptions, and delays them in a sweep.
        Exception: the error itself, if its traceback must be shown.
    """
    error = f"error: {describe_error(problem)}"
    if not sweep.is_sweep():
        raise problem if needs_traceback(problem) else SystemExit(error)
    if needs_traceback(problem) or not sweep.is_local():  # the output of a job is a log
        traceback.print_exception(problem)
    if sweep.is_local() and (isinstance(problem, CorpusProblem) or is_disk_full(problem)):
        sweep.report_failures(HydraConfig.get())  # those so far, because the sweep stops here
        raise SystemExit(error)
    sweep.record_failure(describe_error(problem))
    print(error, file=sys.stderr, flush=True)


def allow_own_modules() -> None:
    """Allow imports of the user's own modules from the current folder, after all others."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)


def check_settings(cfg: DictConfig) -> None:
    """Check what Hydra does not check: names that `+` adds, types behind references, names of the user's files.

    Raises:
        OmegaConfBaseException: there is no such setting, or its value has another type.
        InvalidValue: a file of the user has the same name as one of singtech, which Hydra would use instead.
    """
    for folder in sweep.list_user_folders():
        for path in sorted(folder.glob("*/*.yaml")):
            if (CONF / path.relative_to(folder)).is_file():
                raise InvalidValue(f"{path}: singtech has a choice of this name; give yours another.")
    untyped = OmegaConf.to_container(cfg)  # with types, merging would keep the names that `+` adds
    OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(settings.Settings), untyped), resolve=True)


def resolve(cfg: DictConfig) -> dict:
    """Return the configuration as plain values, with every reference resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def drop_neutral(settings: Mapping) -> dict:
    """Return the settings without `NEUTRAL_SETTINGS`."""
    kept = {name: value for name, value in settings.items() if name not in NEUTRAL_SETTINGS}
    for group in ("data", "model"):
        kept[group] = {name: v for name, v in settings[group].items() if f"{group}.{name}" not in NEUTRAL_SETTINGS}
    return kept


def list_differences(cfg: DictConfig) -> dict[str, object]:
    """List the settings of a run that differ from the paper's, as overrides with typed values.

    The paper's settings are the composition of the run's data, model, dc and strategy. Another choice of a group is one
    difference. Each setting that differs from the composition of these choices is another. Re-training settings count
    only if a phase re-trains. A corpus with the user's own name has its own techniques, split and clip length, so only
    its number of folds and the settings of an `ablation` can differ.
    """
    choices = HydraConfig.get().runtime.choices
    folders = ",".join(repr(str(path)) for path in HydraConfig.get().searchpath)
    identity = [f"{group}={choices[group]}" for group in ("data", "model", "dc", "strategy") if choices.get(group)]
    identity.append(f"hydra.searchpath=[{folders}]")
    usual_choices = _compose(*identity).hydra.runtime.choices
    groups = (*settings.COMPONENTS, "schedule")
    group_changes = {group: choices[group] for group in groups if choices[group] != usual_choices[group]}
    default = _compose(*identity, *(f"{group}={choice}" for group, choice in group_changes.items()))
    # Without resolved references, a shorter schedule is one difference, not one in every phase.
    run_settings, paper_settings = (drop_neutral(OmegaConf.to_container(config)) for config in (cfg, default))  # type: ignore[arg-type]
    phases = OmegaConf.to_container(cfg.strategy)["phases"]  # type: ignore[index, call-overload]
    ignored = {"hydra", "alpha", "seed", "rounding", "data.name", "data.fold"}
    if cfg.data.fold is None:
        ignored |= {"data.folds", "data.fold_singers"}
    elif cfg.data.fold_singers == "all":  # else the split names who is in no fold
        ignored |= {"data.split"}
    ignored |= set() if any("retraining" in str(phase) for phase in phases) else {"retraining"}
    values, defaults = flatten(run_settings), flatten(paper_settings)
    if values["data.name"] != defaults["data.name"]:
        path = CONF / "ablation" / f"{choices.get('ablation')}.yaml"
        ablated = flatten(OmegaConf.to_container(OmegaConf.load(path))) if path.is_file() else {}
        usual = (name for name in values if name not in ablated and not CHANGED_OF_OWN.fullmatch(name))
        defaults |= {name: values[name] for name in usual if name.startswith("data.")}
    changes = dict(group_changes)
    for name, value in values.items():
        if any(f"{name}.".startswith(f"{each}.") for each in ignored):
            continue
        if name not in defaults:
            changes[f"+{name}"] = value
        elif defaults[name] != value:
            changes[name] = value
    return dict(sorted(changes.items()))


@functools.cache  # the runs of a sweep share it
def _compose(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides), return_hydra_config=True)


def read_commit() -> str:
    """Return the commit of the checkout, with "+dirty." and a hash if its code has changes; "" outside one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    describe = ["describe", "--always", "--exclude=*", "--abbrev=12"]
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=root, capture_output=True, check=True).stdout.strip()
            for words in (describe, ["diff", "HEAD", "--", "singtech", "conf"])
        )
        return commit.decode() + f"+dirty.{hashlib.sha256(changes).hexdigest()[:8]}" * bool(changes)
    except (OSError, subprocess.CalledProcessError):
        return ""
