"""The edge between Hydra's configuration and plain arguments.

A verb that takes settings of a run is a function of a composed configuration, run by `hydra_command`. Nothing below
the verbs sees a configuration; what they need of it is read here.
"""

import functools
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech import settings
from singtech.cli import sweep, usage
from singtech.cli.problems import WANTS_TRACEBACK, guard, is_disk_full, is_fixable, print_traceback, sentence
from singtech.errors import InvalidValue, MissingExtra, SingtechError
from singtech.io.interrupts import raise_if_signalled
from singtech.io.lock import Busy
from singtech.places import CONF, register_home
from singtech.settings import flatten

register_home()
settings.register()


class CorpusProblem(SingtechError):
    """No run of a sweep can have the corpus."""


# Settings that say where files are and how results are shown, and change no result.
PLACES: tuple[str, ...] = ("output_dir", "trainer", "logger", "experiment", "looks", "label")
PLACES += ("data.root", "data.labels", "data.source", "data.strict")

# Groups whose choice is a column of a row, and groups whose choice is a difference from the paper.
IDENTITY = ("data", "model", "dc", "strategy")
CHOSEN = ("front_end", "loss", "sampler", "augment", "optimizer", "head", "schedule")


def hydra_command(job: Callable[[DictConfig], Any]) -> Callable[[], int]:
    """Make of a function of the configuration a program that returns its exit status.

    In a sweep a run that fails does not stop the others, unless they would fail too: the corpus or a package is
    missing, or the disk is full. The sweep's end lists what failed.
    """

    @functools.wraps(job)
    def run(cfg: DictConfig) -> Any:
        raise_if_signalled()
        os.chdir(HydraConfig.get().runtime.cwd)  # hydra.job.chdir=true would scatter what relative paths name
        find_own_code()
        try:
            check_settings(cfg)
            return job(cfg)
        except Busy as problem:
            if not sweep.can_postpone():  # another process took the run over: wait for it
                return run(cfg)
            sweep.postpone(run, cfg, problem)
        except Exception as problem:
            _end_run(problem)
        finally:
            if sweep.is_sweep():
                gc.collect()  # what a run has left
        return None

    def main() -> int:
        usage.register(sys.modules[job.__module__].__doc__ or "")
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises an error instead of printing nine lines
        try:
            return guard(hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run))
        finally:
            os.environ["HYDRA_FULL_ERROR"] = str(int(WANTS_TRACEBACK))

    return main


def _end_run(problem: Exception) -> None:
    """End the command with a run's error; in a sweep only if the other runs would fail too, else record it.

    Raises:
        SystemExit: with the sentence; Hydra would add a line to another exception, and in a sweep keep it till the end.
        Exception: the error itself, where its traceback has to show.
    """
    needs_traceback = WANTS_TRACEBACK or not is_fixable(problem)
    error = f"error: {sentence(problem)}"
    if not sweep.is_sweep():
        raise problem if needs_traceback else SystemExit(error)
    if needs_traceback or not sweep.is_here():  # a job's output is a log
        print_traceback(problem)
    if sweep.is_here() and (isinstance(problem, CorpusProblem | MissingExtra) or is_disk_full(problem)):
        sweep.report_failures(HydraConfig.get())  # those so far: the sweep's end is not reached
        raise SystemExit(error)
    sweep.record_failure(sentence(problem))
    print(error, file=sys.stderr, flush=True)


def find_own_code() -> None:
    """Let the user's own modules be imported from the present folder, after all others."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)


def check_settings(cfg: DictConfig) -> None:
    """Check what Hydra does not: names that `+` adds, types behind references, files with the names of ours.

    Raises:
        OmegaConfBaseException: there is no such setting, or its value has another type.
        InvalidValue: a file of the user's own has the name of one of ours, which Hydra would take instead.
    """
    for source in HydraConfig.get().runtime.config_sources:
        if source.provider == "command-line":
            folder = Path(source.path)
            for path in sorted(folder.glob("*/*.yaml")):
                if (CONF / path.relative_to(folder)).is_file():
                    raise InvalidValue(f"{path}: singtech has a choice of this name; give yours another.")
    untyped = OmegaConf.to_container(cfg)  # with types, merging would keep the names that `+` adds
    OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(settings.Settings), untyped), resolve=True)


def plain(cfg: DictConfig) -> dict:
    """The configuration as plain values, with every reference resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def scientific(settings: Mapping) -> dict:
    """The settings without `PLACES`."""
    inner = {name: value for name, value in settings.items() if name not in PLACES}
    data = {name: value for name, value in settings["data"].items() if f"data.{name}" not in PLACES}
    return inner | {"data": data}


def differences(cfg: DictConfig) -> dict[str, object]:
    """The settings in which a run differs from the paper's, by the overrides that ask for them, with typed values.

    The paper's are those that the run's data, model, dc and strategy compose to. Another choice of a group is one
    difference, and so is each setting that differs from what these choices compose to. A re-training that does not
    happen makes none. A corpus under a name of the user's own has its own techniques, split and clip length: of its
    settings only the number of folds and what an `ablation` sets can differ.
    """
    choices = HydraConfig.get().runtime.choices
    identity = tuple(f"{group}={choices[group]}" for group in IDENTITY if choices.get(group))
    usual_choices = _compose(*identity).hydra.runtime.choices
    chosen = {group: choices[group] for group in CHOSEN if choices[group] != usual_choices[group]}
    usual = _compose(*identity, *(f"{group}={choice}" for group, choice in chosen.items()))
    # References are not resolved: a shorter schedule is one difference, not one in every phase.
    run_settings, paper_settings = (scientific(OmegaConf.to_container(config)) for config in (cfg, usual))  # type: ignore[arg-type]
    phases = OmegaConf.to_container(cfg.strategy)["phases"]  # type: ignore[index, call-overload]
    ignored = {"hydra", "alpha", "seed", "data.name", "data.fold"}
    ignored |= {"data.folds"} if cfg.data.fold is None else {"data.split"}
    ignored |= set() if any("retraining" in str(phase) for phase in phases) else {"retraining"}
    is_own = run_settings["data"]["name"] != paper_settings["data"]["name"]
    values, papers = (_without(flatten(each), ignored) for each in (run_settings, paper_settings))
    if is_own:
        compared = {"data.folds", *_ablation_settings(choices.get("ablation"))}
        papers |= {name: values[name] for name in values if name.startswith("data.") and name not in compared}
    changed = {name: value for name, value in values.items() if name in papers and papers[name] != value}
    added = {f"+{name}": value for name, value in values.items() if name not in papers}
    return dict(sorted((chosen | changed | added).items()))


def _without(flat: dict, ignored: set[str]) -> dict:
    """Flat settings without those named and those below them."""
    return {
        name: value
        for name, value in flat.items()
        if not any(name == each or name.startswith(f"{each}.") for each in ignored)
    }


def _compose(*overrides: str) -> DictConfig:
    """The configuration of these settings alone, found where the present run's is."""
    searched = ",".join(repr(str(path)) for path in HydraConfig.get().searchpath)
    return _compose_cached(*overrides, f"hydra.searchpath=[{searched}]")


@functools.cache  # runs of a sweep share it
def _compose_cached(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides), return_hydra_config=True)


def _ablation_settings(choice: str | None) -> set[str]:
    """The dotted names of the settings that an ablation changes."""
    path = CONF / "ablation" / f"{choice}.yaml"
    return set(flatten(OmegaConf.to_container(OmegaConf.load(path)))) if path.is_file() else set()


def commit() -> str:
    """The checkout's commit, with "+dirty" if it has changes; "" outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    git = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+dirty"]
    try:
        return subprocess.run(git, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
