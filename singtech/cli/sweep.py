"""What a sweep does beside its runs: it goes on with other work while a phase is trained elsewhere, and keeps account.

A run whose phase another process is training is put off, and taken up again when the others are done. What fails does
not stop the others: it is noted in the sweep's folder, by whichever process or machine met it, and listed at the end
with the command that repeats just that.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from singtech.io.atomic import write_text
from singtech.io.interrupts import end_if_asked
from singtech.io.lock import Busy, is_held

WORKER = "SINGTECH_WORKER"  # in the environment of one of several processes that share a sweep
ROUND_SECONDS = 2.0  # between two looks at runs that others work on

_put_off: list["PutOff"] = []


@dataclass(frozen=True)
class PutOff:
    """A run that is to come later: its configuration, Hydra's, what runs it, and what it waits for."""

    cfg: DictConfig
    hydra_cfg: DictConfig
    job: Callable[[DictConfig], None]
    place: Path


@dataclass(frozen=True)
class Failure:
    """What failed: the settings that ask for it, why, in a sentence, and the options before the settings."""

    settings: tuple[str, ...]
    reason: str
    options: tuple[str, ...] = ()


def is_sweep() -> bool:
    """Whether the present run is one of a sweep's."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def is_here() -> bool:
    """Whether the sweep's runs are taken by this process, one after the other, and not by a launcher's jobs."""
    return HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"


def may_come_later() -> bool:
    """Whether a run that others work on can be put off: in a sweep whose runs this process takes in turn."""
    return is_sweep() and is_here()


def put_off(job: Callable[[DictConfig], None], cfg: DictConfig, problem: Busy) -> None:
    """Take a run up again when all others have been looked at and what it waits for is free."""
    print(f"{problem}; going on with other runs.", flush=True)
    _put_off.append(PutOff(cfg, HydraConfig.instance().cfg, job, problem.place))


def own_folder() -> list[str]:
    """The option that names a configuration folder of the person's own; [] where the command has none."""
    sources = HydraConfig.get().runtime.config_sources
    return next((["--config-dir", source.path] for source in sources if source.provider == "command-line"), [])


def note_failure(reason: str) -> None:
    """Note in the sweep's folder that the present run failed."""
    hydra = HydraConfig.get()
    failure = {"options": own_folder(), "settings": list(hydra.overrides.task), "reason": reason}
    write_text(_failures(hydra.sweep.dir) / f"{hydra.job.num}.json", json.dumps(failure))


def has_failed() -> bool:
    """Whether the present run of a sweep failed already, in a process that works on the same sweep."""
    hydra = HydraConfig.get()
    return (_failures(hydra.sweep.dir) / f"{hydra.job.num}.json").exists()


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
    """What Hydra calls around a sweep; told of in `conf/config.yaml`."""

    def on_multirun_start(self, config: DictConfig, **_) -> None:
        """Begin a new account."""
        _put_off.clear()
        if WORKER not in os.environ:
            forget_failures(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **_) -> None:
        """Take up what was put off, round after round; collate; list what failed, and end with status 1 if any did."""
        from singtech.results.collate import rebuild

        ended_well = False
        try:
            _take_up()
            rebuild(config.output_dir)
            ended_well = True
        except Exception as problem:  # Hydra would take it for a warning
            print(f"error: the sweep did not come to its end: {problem}", file=sys.stderr, flush=True)
        failed = report_failures(config.hydra)
        if failed or not ended_well:
            raise SystemExit(1)


def forget_failures(sweep_dir: str) -> None:
    """Begin a new account: what failed in an earlier sweep with the same folder is tried again."""
    for old in _failures(sweep_dir).glob("*.json"):
        old.unlink()


def report_failures(hydra: DictConfig | None = None) -> bool:
    """List what failed in a sweep, the present one by default; whether anything did. One of several leaves that."""
    hydra = hydra or HydraConfig.get()
    return WORKER not in os.environ and list_failures(hydra.sweep.dir, f"singtech.{hydra.job.name}")


def list_failures(sweep_dir: str, module: str) -> bool:
    """List what failed in a sweep, with the command that repeats just that; whether anything did."""
    found = sorted(_failures(sweep_dir).glob("*.json"), key=lambda path: int(path.stem))
    failures = [Failure(tuple(f["settings"]), f["reason"], tuple(f["options"])) for f in map(_read, found)]
    if failures:
        count = f"{len(failures)} run{'s' if len(failures) > 1 else ''} of this sweep failed:"
        lines = [f"  {' '.join(failure.settings)}: {failure.reason}" for failure in failures]
        command = shlex.join(["python", "-m", module, *failures[0].options])  # a sweep's runs have the same
        commands = [f"  {line}" for line in repeat(failures, command)]
        print("", count, *lines, "repeat just that with:", *commands, sep="\n", file=sys.stderr, flush=True)
    return bool(failures)


def _take_up() -> None:
    """Round after round, the runs of which nobody holds any more what they wait for."""
    waits = False
    while _put_off:
        end_if_asked()
        free = [run for run in _put_off if not is_held(run.place)]
        if not free:
            if not waits:
                print(f"\nwaiting for what others work on: {len(_put_off)} to go.", flush=True)
            waits = True
            time.sleep(ROUND_SECONDS)
            continue
        run = free[0]
        _put_off.remove(run)
        waits = False
        HydraConfig.instance().cfg = run.hydra_cfg
        run.job(run.cfg)


def _failures(sweep_dir: str) -> Path:
    return Path(sweep_dir) / "failed"


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
