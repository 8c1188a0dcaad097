"""What a sweep does beside its runs: it postpones runs that wait for another process, and lists what failed.

A run whose phase another process trains is postponed until the others are done. A failure is recorded in the sweep's
folder by whichever process or job meets it; the sweep's end lists them with the command that repeats just these.
"""

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
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

_postponed: list["Postponed"] = []


@dataclass(frozen=True)
class Postponed:
    """A run for later: its configuration, Hydra's, the function that runs it, and the path that it waits for."""

    cfg: DictConfig
    hydra_cfg: Any
    job: Callable[[DictConfig], None]
    path: Path


@dataclass(frozen=True)
class Failure:
    """A failed run: its settings, the reason in a sentence, and the options before the settings."""

    settings: tuple[str, ...]
    reason: str
    options: tuple[str, ...] = ()


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
    _postponed.append(Postponed(cfg, HydraConfig.instance().cfg, job, problem.path))


def own_folder() -> list[str]:
    """The option that names the user's own configuration folder; [] where the command has none."""
    sources = HydraConfig.get().runtime.config_sources
    return next((["--config-dir", source.path] for source in sources if source.provider == "command-line"), [])


def record_failure(reason: str) -> None:
    """Write into the sweep's folder that the present run failed."""
    hydra = HydraConfig.get()
    failure = {"options": own_folder(), "settings": list(hydra.overrides.task), "reason": reason}
    write_text(_failures(hydra) / f"{hydra.job.num}.json", json.dumps(failure))


def repeat(failures: Sequence[Failure], command: str) -> list[str]:
    """The commands that repeat just these runs: one where they are all combinations of some values, else one each."""
    names = [[setting.partition("=")[0] for setting in failure.settings] for failure in failures]
    if all(these == names[0] for these in names):
        values = [list(dict.fromkeys(column)) for column in zip(*(f.settings for f in failures), strict=True)]
        several = any(len(column) > 1 for column in values)
        is_plain = not any("," in v.partition("=")[2] for column in values if len(column) > 1 for v in column)
        if is_plain and set(product(*values)) == {f.settings for f in failures}:
            joined = [c[0] if len(c) == 1 else ",".join([c[0], *(v.partition("=")[2] for v in c[1:])]) for c in values]
            return [f"{command}{' -m' if several else ''} {shlex.join(joined)}"]
    return [f"{command} {shlex.join(failure.settings)}" for failure in failures]


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
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    failures = [Failure(tuple(each["settings"]), each["reason"], tuple(each["options"])) for each in records]
    if failures:
        count = f"{len(failures)} run{'s' if len(failures) > 1 else ''} of this sweep failed:"
        lines = [f"  {' '.join(failure.settings)}: {failure.reason}" for failure in failures]
        command = shlex.join(["singtech", hydra.job.name, *failures[0].options])  # a sweep's runs have the same
        commands = [f"  {line}" for line in repeat(failures, command)]
        print("", count, *lines, "repeat just that with:", *commands, sep="\n", file=sys.stderr, flush=True)
    return bool(failures)


def _run_postponed() -> None:
    """Run the postponed runs, each once no process holds what it waits for."""
    is_waiting = False
    while _postponed:
        raise_if_signalled()
        free = [run for run in _postponed if not is_held(run.path)]
        if not free:
            if not is_waiting:
                print(f"\nwaiting for what others work on: {len(_postponed)} to go.", flush=True)
            is_waiting = True
            time.sleep(ROUND_SECONDS)
            continue
        run = free[0]
        _postponed.remove(run)
        is_waiting = False
        HydraConfig.instance().cfg = run.hydra_cfg
        run.job(run.cfg)


def _failures(hydra: Any) -> Path:
    return Path(hydra.sweep.dir) / "failed"
