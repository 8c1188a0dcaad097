"""The edge between Hydra's configuration and plain arguments, and between a person's mistakes and one clear sentence.

Every command is a function of a composed configuration, run by `command`. Nothing below the commands sees a
configuration; what they need of it is read here.
"""

import difflib
import errno
import functools
import gc
import os
import re
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from singtech import settings
from singtech.cli import side_by_side, sweep, usage
from singtech.components import ComponentError, outside_line
from singtech.extras import check_installed
from singtech.imbalance.smoothing import checked_alpha
from singtech.io.interrupts import Terminated, end_if_asked, listening, reader_may_go
from singtech.io.lock import Busy
from singtech.places import CONF, register_home

register_home()
settings.register()

# What a person can mend: everything else is a mistake of ours and shows its traceback.
MENDABLE = (
    *(ValueError, OSError, FloatingPointError, BadZipFile, HydraException, OmegaConfBaseException),
    ComponentError,
)


class CorpusProblem(Exception):
    """The corpus cannot be had: no other run of a sweep could have it either."""


# Settings that say where things are and how they are shown, never what comes out.
PLACES = (
    "output_dir",
    "trainer",
    "logger",
    "data.root",
    "data.labels",
    "data.source",
    "data.strict",
    "experiment",
    "looks",
    "label",
)

# Groups whose choice alone decides a run's columns, and those whose choice is a difference from the paper's.
IDENTITY = ("data", "model", "dc", "strategy")
CHOSEN = ("front_end", "loss", "sampler", "augment", "optimizer", "head", "schedule")


EXPECTED = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}  # of OmegaConf's types

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"  # read before `main` sets it for Hydra

GOES_ON = "the same command goes on where this one stopped."


def command(job: Callable[[DictConfig], float | None]) -> Callable[[], None]:
    """A command-line program of a function of the configuration, in Hydra's manner.

    A mistake that a person can mend ends in one sentence on standard error and exit status 1, without a traceback
    (HYDRA_FULL_ERROR=1 in the environment shows it). In a sweep the other runs go on, but not without their corpus or
    with a full disk, and what failed is listed at the end.
    """

    @functools.wraps(job)
    def guarded(cfg: DictConfig) -> float | None:
        end_if_asked()
        if sweep.is_sweep() and sweep.has_failed():
            return None
        find_own_code(HydraConfig.get().runtime.cwd)
        try:
            check_settings(cfg)
            return job(cfg)
        except Busy as problem:
            if sweep.may_come_later():
                sweep.put_off(guarded, cfg, problem)
            else:  # another process has taken it over; wait for that one
                return guarded(cfg)
        except Exception as problem:
            _end_of(problem)
        finally:
            if sweep.is_sweep():
                free_memory()
        return None

    def main() -> None:
        arguments = sys.argv[1:]
        usage.register(sys.modules[job.__module__].__doc__)
        usage.complete(arguments)
        wanted = os.environ.get("HYDRA_FULL_ERROR")
        try:
            with listening(), reader_may_go():
                check_values(arguments)
                processes = side_by_side.asked(arguments)
                if processes > 1:
                    raise SystemExit(side_by_side.run(job.__globals__["__spec__"].name, arguments, processes))
                os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing nine lines of its own
                hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(guarded)()
        except MENDABLE as problem:
            if WANTS_TRACEBACK:
                raise
            raise SystemExit(f"error: {sentence(problem)}") from None
        except RuntimeError as problem:
            if WANTS_TRACEBACK or not (type(problem).__module__.startswith("submitit.") or "srun" in str(problem)):
                raise
            raise SystemExit(f"error: hydra/launcher: {sentence(problem)}") from None
        except Terminated:
            print(f"terminated: {GOES_ON}", file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM) from None
        except KeyboardInterrupt:
            print(f"interrupted: {GOES_ON}", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            os.environ.pop("HYDRA_FULL_ERROR", None)
            if wanted is not None:
                os.environ["HYDRA_FULL_ERROR"] = wanted

    return main


def _end_of(problem: Exception) -> None:
    """What becomes of a run's error: in a sweep it is noted, so that the others go on, unless it is theirs too.

    Raises:
        SystemExit: with the sentence for a person.
        Exception: the error itself, where it is a mistake of ours.
    """
    elsewhere = sweep.is_sweep() and not sweep.is_here()  # a job's log is then read by nobody who waits
    needs_traceback = WANTS_TRACEBACK or not (is_mendable(problem) or isinstance(problem, CorpusProblem))
    if needs_traceback and not sweep.is_sweep():
        raise problem
    if needs_traceback or elsewhere:
        traceback.print_exception(problem)
    is_everyones = not sweep.is_sweep() or isinstance(problem, CorpusProblem) or is_disk_full(problem)
    if is_everyones and not elsewhere:
        if sweep.is_sweep():
            sweep.report_failures()  # those of before: there will be no end at which to do it
        raise SystemExit(f"error: {sentence(problem)}") from None
    sweep.note_failure(sentence(problem))
    print(f"error: {sentence(problem)}", file=sys.stderr, flush=True)


def find_own_code(folder: str) -> None:
    """Let a person's own modules be imported from the folder where the command was given, after all others."""
    if folder not in sys.path:
        sys.path.append(folder)


def command_line() -> str:
    """The command that asks for the present run alone, whatever sweep it came up in."""
    hydra_cfg = HydraConfig.get()
    program = ["python", "-m", "singtech.run"]
    return shlex.join([*program, *sweep.own_folder(), *hydra_cfg.overrides.task])


def is_disk_full(problem: BaseException) -> bool:
    """Whether there is no room on the disk, which no other run could write to either."""
    return isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether the GPU's or the machine's memory did not suffice; torch's own errors are known by their words."""
    return isinstance(problem, MemoryError) or (
        isinstance(problem, RuntimeError) and bool(re.search("out of memory|can't allocate memory", str(problem)))
    )


def free_memory() -> None:
    """Leave nothing of a run behind for the next one to stumble over."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def is_mendable(problem: Exception) -> bool:
    """Whether a person can mend it; Lightning's own error is known by name, for importing it takes seconds."""
    return (
        isinstance(problem, MENDABLE)
        or is_out_of_memory(problem)
        or bool(outside_line(problem))
        or type(problem).__name__ == "MisconfigurationException"
    )


def sentence(problem: BaseException) -> str:
    """What a person should read of an error: one line."""
    if isinstance(problem, InstantiationException) and problem.__cause__ is not None:
        return sentence(problem.__cause__)
    if isinstance(problem, MissingConfigException) and "submitit" in str(problem.missing_cfg_file):
        return 'hydra/launcher=slurm: its extra is not installed here; do so with pip install "singtech[slurm]".'
    if isinstance(problem, MissingConfigException) and problem.options:
        group, _, choice = str(problem.missing_cfg_file).rpartition("/")
        return f"{group}={choice}: no such choice; there are {', '.join(sorted(problem.options))}."
    unknown = re.match(r"Could not override '([^']*)'", str(problem))
    if isinstance(problem, HydraException) and unknown:
        return _unknown(unknown[1])
    several = re.match(r"Ambiguous value for argument '([^']*)'", str(problem))
    if isinstance(problem, HydraException) and several:
        return f"{several[1]}: several values; add -m before the settings to run each of them."
    invalid = re.match(r"(?s)(.*?)\s+full_key: (\S+)", str(problem))
    if isinstance(problem, OmegaConfBaseException) and invalid:
        wrong = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", invalid[1], re.DOTALL)
        if wrong and wrong[2] in EXPECTED:
            return f"{invalid[2]}={wrong[1]}: expected {EXPECTED[wrong[2]]}."
        if isinstance(problem, MissingMandatoryValue):
            return f"{invalid[2]} is not set: give it a value."
        return f"{invalid[2]}: {' '.join(invalid[1].split())}."
    if isinstance(problem, HydraException) and isinstance(problem.__cause__, OmegaConfBaseException):
        return sentence(problem.__cause__)
    if isinstance(problem, OverrideParseException):
        return (
            f"{problem.override}: not understood as name=value; does a space, a bracket or a comma in it want quotes, "
            'as in "data.split.test=[ann, ben]"?'
        )
    if is_out_of_memory(problem):
        first = " ".join(str(problem).split("\n")[0].split())
        return (
            f"out of memory ({first[:200]}): give it a device to itself, or try precision=bf16-mixed, or "
            "a smaller batch_size, which makes other runs."
        )
    if is_disk_full(problem):
        where = f" for {problem.filename}" if problem.filename else ""
        return (
            f"no room on the disk{where} ({problem.strerror}): nothing half-written was kept; make room where "
            "output_dir points and run the same command again, it goes on where this one stopped."
        )
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror}."
    text = " ".join(str(problem).split()) or type(problem).__name__
    place = "" if isinstance(problem, ComponentError) else outside_line(problem)
    if place:
        return f"{place}: {type(problem).__name__}: {text}"
    return text.split(" full_key:")[0].split(" object_type=")[0]


def _unknown(name: str) -> str:
    known = OmegaConf.to_container(OmegaConf.structured(settings.Settings))
    close = difflib.get_close_matches(name, [*known, *(setting for setting, _ in _flat(known))], n=1)
    meant = f" (is {close[0]} meant?)" if close else ""
    return f"{name}: no such setting{meant}; the same command with --cfg job shows those there are."


def check_settings(cfg: DictConfig) -> None:
    """Check what Hydra does not: names that `+` adds where there is no component, and types behind references.

    Raises:
        ValueError: there is no such setting.
        OmegaConfBaseException: a value is of another type than its setting.
    """
    schema = OmegaConf.structured(settings.Settings)
    added = _added(OmegaConf.to_container(cfg), OmegaConf.to_container(schema))
    if added:
        raise ValueError(_unknown(added[0]))
    OmegaConf.to_container(OmegaConf.merge(schema, cfg), resolve=True)


def _added(values: Mapping, known: Mapping, prefix: str = "") -> list[str]:
    """Names of values that the schema does not know; what it knows as an empty mapping may hold any."""
    names = [f"{prefix}{name}" for name in values if name not in known]
    for name in known:
        if known[name] and isinstance(known[name], Mapping) and isinstance(values.get(name), Mapping):
            names += _added(values[name], known[name], f"{prefix}{name}.")
    return names


def check_values(arguments: list[str]) -> None:
    """Refuse a wrong alpha or logger before the first run of a sweep, not after hours at its own."""
    settings = [argument for argument in arguments if argument.startswith(("alpha=", "logger="))]
    for override in OverridesParser.create().parse_overrides(settings):
        for value in override.sweep_iterator() if override.is_sweep_override() else [override.value()]:
            if override.key_or_group == "alpha":
                checked_alpha(value)
            elif (path := CONF / "logger" / f"{value}.yaml").is_file():
                check_logger(OmegaConf.load(path).get("needs"))


def check_logger(logger: str | None) -> None:
    """Refuse a logger whose package, an extra of the same name, is not installed here; None needs none.

    Raises:
        ValueError: it is not.
    """
    if logger is not None:
        check_installed(f"logger={logger}", logger, logger)


def plain(cfg: DictConfig) -> dict:
    """The configuration as plain values, every reference resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def scientific(settings: Mapping) -> dict:
    """The configuration without its `PLACES`."""
    kept = {}
    for name, value in settings.items():
        if name in PLACES:
            continue
        inner = [place.split(".", 1)[1] for place in PLACES if place.startswith(f"{name}.")]
        kept[name] = {k: v for k, v in value.items() if k not in inner} if inner else value
    return kept


def settings_of(cfg: DictConfig) -> dict[str, object]:
    """The settings in which a run differs from the paper's, by the overrides that ask for them, with typed values.

    The paper's are those that its data, model, dc and strategy compose to. Another choice of a group is one difference
    (`schedule: demo`), and so is each setting that differs from what the choices compose to. Alpha, seed and fold,
    which rows hold in columns of their own, are left out, as are settings of a re-training that does not happen. A
    corpus under a name of the person's own has its own techniques, split and clip length, and of its settings differs
    only in the number of folds and in what an `ablation` sets.
    """
    choices = HydraConfig.get().runtime.choices
    identity = tuple(f"{group}={choices[group]}" for group in IDENTITY if choices.get(group))
    chosen = {group: choices[group] for group in CHOSEN if choices[group] != _choice(group, *identity)}
    usual = _composed(*identity, *(f"{group}={choice}" for group, choice in chosen.items()))
    ours, theirs = (  # references are not resolved: a shorter schedule is one difference, not one in every phase
        scientific(OmegaConf.to_container(config)) for config in (cfg, usual)
    )
    has_head_phase = any("retraining" in str(phase) for phase in OmegaConf.to_container(cfg.strategy)["phases"])
    for values in (ours, theirs):
        for name in ("alpha", "seed", *([] if has_head_phase else ["retraining"])):
            del values[name]
        for name in ("fold", *(["folds"] if cfg.data.fold is None else ["split"])):
            del values["data"][name]
    is_own = ours["data"].pop("name") != theirs["data"].pop("name")
    ours, theirs = dict(_flat(ours)), dict(_flat(theirs))
    if is_own:
        kept = {"data.folds", *_ablated(choices.get("ablation"))}
        theirs |= {name: ours[name] for name in ours if name.startswith("data.") and name not in kept}
    differing = {name: value for name, value in ours.items() if name not in theirs or theirs[name] != value}
    added = {f"+{name}": value for name, value in differing.items() if name not in theirs}
    return dict(sorted((chosen | {n: v for n, v in differing.items() if n in theirs} | added).items()))


def _choice(group: str, *overrides: str) -> str:
    """What a group's choice is where only these are set."""
    return _composed_whole(*overrides, _search_path()).hydra.runtime.choices[group]


def _search_path() -> str:
    """The override that finds a person's own configuration folder again."""
    return f"hydra.searchpath=[{','.join(repr(str(path)) for path in HydraConfig.get().searchpath)}]"


def _composed(*overrides: str) -> DictConfig:
    whole = OmegaConf.to_container(_composed_whole(*overrides, _search_path()))
    del whole["hydra"]
    return OmegaConf.create(whole)


def _ablated(choice: str | None) -> set[str]:
    """The settings that an ablation sets, by dotted names."""
    path = CONF / "ablation" / f"{choice}.yaml"
    return {name for name, _ in _flat(OmegaConf.to_container(OmegaConf.load(path)))} if path.is_file() else set()


@functools.cache  # runs of a sweep share it
def _composed_whole(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides), return_hydra_config=True)


def _flat(value: object, prefix: str = "") -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, value)]


def commit() -> str:
    """The checkout's commit, with "+dirty" if it has changes; "" outside a checkout."""
    root = Path(__file__).parents[2].parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root:
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("+dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
