"""What a sweep does beside its runs: it postpones runs that wait for another process, and lists what failed.

A run whose phase another process trains is postponed until the others are done. A failure is recorded in the sweep's
folder by whichever process or job meets it; the sweep's end lists them with the command that repeats just these.
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

ROUND_SECONDS = 2.0  # between two looks at what other processes work on

_postponed: list[tuple[Path, Any, Callable[[], None]]] = []  # path that a run waits for, Hydra's configuration, the run


def is_sweep() -> bool:
    """Whether the present run is one of a sweep's."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def is_here() -> bool:
    """Whether this process takes the sweep's runs, one after the other, and no launcher's jobs do."""
    return HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"


def can_postpone() -> bool:
    """Whether a run that waits for another process can be postponed."""
    return is_sweep() and is_here()


def postpone(job: Callable[[DictConfig], None], cfg: DictConfig, problem: Busy) -> None:
    """Run this again after all others, once what it waits for is free."""
    print(f"{problem}; going on with other runs.", flush=True)
    _postponed.append((problem.path, HydraConfig.instance().cfg, functools.partial(job, cfg)))


def command_line(verb: str = "run") -> str:
    """The command that asks for the present run alone, also where it is one of a sweep's."""
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    folder = ["--config-dir", own[0]] if own else []
    return shlex.join(["singtech", verb, *folder, *hydra.overrides.task])


def record_failure(reason: str) -> None:
    """Write into the sweep's folder that the present run failed."""
    hydra = HydraConfig.get()
    settings = list(hydra.overrides.task)
    failure = {"settings": " ".join(settings), "reason": reason, "command": command_line(hydra.job.name)}
    write_text(_failures(hydra) / f"{hydra.job.num}.json", json.dumps(failure))


class SweepEnd(Callback):
    """What Hydra calls before and after a sweep; `conf/config.yaml` names it."""

    def on_multirun_start(self, config: DictConfig, **_) -> None:
        """Forget earlier failures: an earlier sweep in the same folder is tried again."""
        _postponed.clear()
        for path in _failures(config.hydra).glob("*.json"):
            path.unlink()

    def on_multirun_end(self, config: DictConfig, **_) -> None:
        """Run what was postponed, collate, and list what failed.

        Raises:
            SystemExit: with status 1, if anything failed.
        """
        from singtech.cli.problems import is_fixable, print_traceback, sentence
        from singtech.results.collate import rebuild

        is_whole = False
        try:
            _run_postponed()
            rebuild(config.output_dir)
            is_whole = True
        except Exception as problem:  # Hydra would make a warning of it
            if not is_fixable(problem):
                print_traceback(problem)
            print(f"error: the sweep did not come to its end: {sentence(problem)}", file=sys.stderr, flush=True)
        if report_failures(config.hydra) or not is_whole:
            raise SystemExit(1)


def report_failures(hydra: Any) -> bool:
    """List what failed in a sweep, with the command that repeats just that; whether anything did."""
    paths = sorted(_failures(hydra).glob("*.json"), key=lambda path: int(path.stem))
    failures = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if failures:
        count = f"{len(failures)} run{'s' if len(failures) > 1 else ''} of this sweep failed:"
        reasons = [f"  {failure['settings']}: {failure['reason']}" for failure in failures]
        commands = [f"  {failure['command']}" for failure in failures]
        print("", count, *reasons, "repeat just that with:", *commands, sep="\n", file=sys.stderr, flush=True)
    return bool(failures)


def _run_postponed() -> None:
    """Run the postponed runs, each once no process holds what it waits for."""
    is_waiting = False
    while _postponed:
        raise_if_signalled()
        free = [each for each in _postponed if not is_held(each[0])]
        if not free:
            if not is_waiting:
                print(f"\nwaiting for what others work on: {len(_postponed)} to go.", flush=True)
            is_waiting = True
            time.sleep(ROUND_SECONDS)
            continue
        _postponed.remove(free[0])
        is_waiting = False
        _, HydraConfig.instance().cfg, run = free[0]
        run()


def _failures(hydra: Any) -> Path:
    return Path(hydra.sweep.dir) / "failed"
