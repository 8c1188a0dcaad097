"""Postpone runs of a sweep that wait for another process, and list failed runs.

If another process trains a phase of a run, the run is postponed until the others have ended. Each process or job
records its failures in the sweep's folder. At its end, the sweep lists them with the commands that repeat them.
"""

import functools
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from singtech.io.atomic import write_text
from singtech.io.interrupts import raise_if_signalled
from singtech.io.lock import Busy, is_held

ROUND_SECONDS = 2.0  # between two checks of the locks of other processes

_postponed: list[tuple[Path, Any, Callable[[], None]]] = []  # path of the lock, Hydra's configuration, the run


def is_sweep() -> bool:
    """Whether the current run belongs to a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def is_local() -> bool:
    """Whether this process computes the sweep's runs one by one, instead of the jobs of a launcher."""
    return HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"


def can_postpone() -> bool:
    """Whether a run that waits for another process can be postponed."""
    return is_sweep() and is_local()


def postpone(job: Callable[[DictConfig], None], cfg: DictConfig, problem: Busy) -> None:
    """Run a job again after all others, when the lock is free."""
    print(f"{problem}; continuing with other runs.", flush=True)
    _postponed.append((problem.path, HydraConfig.instance().cfg, functools.partial(job, cfg)))


def format_command(verb: str = "run") -> str:
    """Write the command for the current run alone, also if it belongs to a sweep."""
    hydra = HydraConfig.get()
    user_folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    folder = ["--config-dir", user_folders[0]] if user_folders else []
    return shlex.join(["singtech", verb, *folder, *hydra.overrides.task])


def record_failure(reason: str) -> None:
    """Write into the sweep's folder that the current run failed."""
    hydra = HydraConfig.get()
    settings = list(hydra.overrides.task)
    failure = {"settings": " ".join(settings), "reason": reason, "command": format_command(hydra.job.name)}
    write_text(_failures_folder(hydra) / f"{hydra.job.num}.json", json.dumps(failure))


class SweepEnd(Callback):
    """Hydra calls it before and after a sweep; `conf/config.yaml` names it."""

    def on_multirun_start(self, config: DictConfig, **_) -> None:
        """Remove the failures of an earlier sweep in the same folder, which is repeated."""
        _postponed.clear()
        for path in _failures_folder(config.hydra).glob("*.json"):
            path.unlink()

    def on_multirun_end(self, config: DictConfig, **_) -> None:
        """Run the postponed runs, collate, and list the failed runs.

        Raises:
            SystemExit: with status 1, if a run failed.
        """
        from singtech.cli.problems import describe_error, is_fixable, print_traceback
        from singtech.results.collate import rebuild

        is_whole = False
        try:
            _run_postponed()
            rebuild(config.output_dir)
            is_whole = True
        except Exception as problem:  # Hydra would turn it into a warning
            if not is_fixable(problem):
                print_traceback(problem)
            print(f"error: the sweep did not finish: {describe_error(problem)}", file=sys.stderr, flush=True)
        if report_failures(config.hydra) or not is_whole:
            raise SystemExit(1)


def report_failures(hydra: Any) -> bool:
    """Print the failed runs of a sweep and the commands that repeat them; return whether there are any."""
    paths = sorted(_failures_folder(hydra).glob("*.json"), key=lambda path: int(path.stem))
    failures = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if failures:
        count = f"{len(failures)} run{'s' if len(failures) > 1 else ''} of this sweep failed:"
        reasons = [f"  {failure['settings']}: {failure['reason']}" for failure in failures]
        commands = [f"  {failure['command']}" for failure in failures]
        print("", count, *reasons, "repeat them with:", *commands, sep="\n", file=sys.stderr, flush=True)
    return bool(failures)


def _run_postponed() -> None:
    """Run each postponed run as soon as its lock is free."""
    is_waiting = False
    while _postponed:
        raise_if_signalled()
        free_runs = [entry for entry in _postponed if not is_held(entry[0])]
        if not free_runs:
            if not is_waiting:
                print(f"\nwaiting for other processes: {len(_postponed)} runs left.", flush=True)
            is_waiting = True
            time.sleep(ROUND_SECONDS)
            continue
        _postponed.remove(free_runs[0])
        is_waiting = False
        _, HydraConfig.instance().cfg, run = free_runs[0]
        run()


def _failures_folder(hydra: Any) -> Path:
    return Path(hydra.sweep.dir) / "failed"
