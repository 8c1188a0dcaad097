"""Check a command's settings, tell how far a sweep is, postpone runs that wait, and list its runs at the end.

If a value of a sweep's setting is wrong, nothing is run. If another process trains a phase of a run, the run is
postponed until the others have ended. Each process or job records in the sweep's folder which runs it has made and
which failed, for the sweep's end.
"""

import functools
import itertools
import json
import random
import re
import shlex
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from singtech.cli.problems import describe_error, needs_traceback
from singtech.errors import InvalidValue, SingtechError
from singtech.io.atomic import write_text
from singtech.io.interrupts import raise_if_signalled
from singtech.io.lock import Busy, is_held
from singtech.io.terminal import format_seconds, print_above_bars, say

ROUND_SECONDS = 2.0  # between two checks of the locks of other processes
FAILED, MADE = "failed", "made"  # folders of the sweep's
CHECKING = "checking the settings …"  # the imports take seconds
PLAN_SECONDS = 5.0  # before a run, to compose those after it

_progress: "SweepProgress | None" = None  # of the sweep that this process runs
_postponed: list[tuple[Path, Any, Callable[[], None]]] = []  # path of the lock, Hydra's configuration, the run


def is_sweep() -> bool:
    """Whether the current run belongs to a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def is_local() -> bool:
    """Whether this process computes the sweep's runs itself, not the jobs of a launcher."""
    return HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"


def can_postpone() -> bool:
    """Whether a run that waits for another process can be postponed."""
    return is_sweep() and is_local()


def get_progress() -> "SweepProgress | None":
    """How far the sweep is; None for a single run, and in the job of a launcher, which knows its own run only."""
    return _progress if can_postpone() else None


class SweepProgress:
    """The place of the current run in its sweep, and the time that all runs still take.

    Args:
        config: Hydra's configuration of the sweep.
        jobs: the overrides of each run, in order; empty if the sweeper chooses them as it goes.
    """

    def __init__(self, config: DictConfig, jobs: Sequence[Sequence[str]]) -> None:
        self.config, self.count = config, len(jobs)
        self.unplanned = deque(enumerate(jobs))
        self.forecast: Any = None
        self.corpora: dict[str, Any] = {}
        self.current, self.has_said = "", False

    def place(self) -> str:
        """Write the place of the current run and the time left, as "3 of 12, about 4 min left"."""
        number = HydraConfig.get().job.num + 1
        place = f"{number} of {self.count}" if self.count else f"run {number}"
        left = self.time_left()
        self.has_said = bool(left)
        return f"{place}, {left}" if left else place

    def time_left(self) -> str:
        """Write the time that all runs still take; "" while it is not known."""
        seconds = self.forecast.seconds_left() if self.forecast and self.count else None
        if seconds is None:
            return ""
        return f"{'more than' if self.unplanned else 'about'} {format_seconds(seconds)} left"

    @contextmanager
    def follow(self, cfg: DictConfig, run: Any, corpus: Any) -> Iterator[Callable[..., None]]:
        """Measure a run; yield a function to call with its result."""
        from singtech.training.planning import Forecast

        self.forecast = self.forecast or Forecast(Path(cfg.output_dir))
        results: list[Any] = []
        if not self.forecast.add(run, corpus):
            yield results.append
            return
        self.corpora[OmegaConf.to_yaml(cfg.data, resolve=True)] = corpus
        self._plan()
        self.current, start = run.name(corpus.fingerprint("test")), time.perf_counter()
        try:
            yield results.append
        finally:
            self.forecast.finish(self.current, *results, seconds=time.perf_counter() - start)
            self.current = ""

    def note_epochs(self, number: int, epochs: int, of: int, seconds: float) -> None:
        """Note the epochs of a phase of the current run; the first time that this tells the sweep's time, say so."""
        if not self.current:
            return
        self.forecast.note_epochs(self.current, number, epochs, of, seconds)
        if not self.has_said and (left := self.time_left()):
            print_above_bars(f"{left} for all {self.count} runs")
            self.has_said = True

    def _plan(self) -> None:
        """Compose the runs to come, for some seconds, and add them to the forecast."""
        from singtech.cli.prepare import prepare_corpus
        from singtech.run import build_run

        start, number = time.perf_counter(), HydraConfig.get().job.num
        loader = GlobalHydra.instance().config_loader()
        later = []  # their corpus is not prepared yet
        while self.unplanned and time.perf_counter() - start < PLAN_SECONDS:
            place, overrides = self.unplanned.popleft()
            if place <= number:
                continue
            try:
                with composed(loader.load_sweep_config(self.config, list(overrides))) as cfg:
                    data = OmegaConf.to_yaml(cfg.data, resolve=True)
                    corpus = self.corpora[data] = self.corpora.get(data) or prepare_corpus(cfg, make=False)
                    if corpus:
                        self.forecast.add(build_run(cfg, corpus), corpus)
                    else:
                        later.append((place, overrides))
            except SingtechError:  # wrong together, or a damaged corpus: the run itself reports it
                continue
        self.unplanned.extend(later)


@contextmanager
def composed(cfg: DictConfig) -> Iterator[DictConfig]:
    """Make a composed configuration the current one of Hydra, as for its run; yield it without Hydra's own settings."""
    hydra_config = HydraConfig.instance()
    previous = hydra_config.cfg
    hydra_config.set_config(cfg)
    try:
        with open_dict(cfg):
            del cfg["hydra"]
        yield cfg
    finally:
        hydra_config.cfg = previous


def list_axes(params: Any, settings: Sequence[str]) -> list[list[str]]:
    """List the overrides of each setting of a sweep; its runs are their product, as Hydra's own sweeper makes it.

    Args:
        params: the sweeper's: name -> values.
        settings: the settings of the command.
    Raises:
        HydraException: they are not understood.
        InvalidValue: one has no value.
    """
    words = [*(f"{name}={values}" for name, values in (params or {}).items()), *settings]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    overrides = {each.get_key_element(): each for each in parser.parse_overrides(words)}
    axes = []
    for each in overrides.values():
        axes.append([override for (override,) in BasicSweeper.split_arguments([each], max_batch_size=None)[0]])
        if not axes[-1]:
            raise InvalidValue(f"{each.input_line}: expected one value or more.")
    return axes


def find_wrong_values(axes: Sequence[Sequence[str]], check: Callable[[Sequence[str]], str]) -> list[str]:
    """Check each value of a sweep, and describe those with which no run can begin.

    As many runs as the longest axis has values cover all values. A value of a failed run is tried in each run that
    passed, because it may be wrong only together with one of the others.

    Args:
        axes: the overrides of each setting.
        check: tells what is wrong with a run's overrides; "" if nothing is.
    Returns:
        A sentence for each.
    """
    check, choose = functools.cache(check), random.Random(0).choice
    longest = max(map(len, axes), default=0)
    passed: dict[tuple[str, ...], None] = {}
    problems: list[str] = []
    wrong_values: set[str] = set()  # whose names begin a sentence
    for number in range(sum(map(len, axes))):
        if number >= longest and passed:
            break
        choices = [[value for value in axis if value not in wrong_values] or axis for axis in axes]
        run = tuple(values[number % len(values)] if number < longest else choose(values) for values in choices)
        if problem := check(run):
            problems.append(problem)
            wrong_values.update(value for value in run if re.match(rf"{re.escape(value.partition('=')[0])}\b", problem))
        else:
            passed[run] = None
    if passed:
        problems = []
        right = set().union(*passed)
        for place, axis in enumerate(axes):
            for value in [value for value in axis if value not in right]:
                trials = [(*run[:place], value, *run[place + 1 :]) for run in passed]
                if all(map(check, trials)):  # each sentence is about the value, as the others are right
                    text = check(trials[0])
                    problems.append(text if value.partition("=")[0] in text else f"{value}: {text}")
    return list(dict.fromkeys(problems))


def describe_problem(config: DictConfig, overrides: Sequence[str]) -> str:
    """Check a command's run with these overrides; return what is wrong with its settings, "" if nothing is."""
    from singtech.run import check_run

    try:
        with composed(GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))) as cfg:
            check_run(cfg)
    except Exception as problem:
        if not needs_traceback(problem):  # else the run itself shows it
            return describe_error(problem)
    return ""


def postpone(job: Callable[[DictConfig], None], cfg: DictConfig, problem: Busy) -> None:
    """Run a job again after all others, when the lock is free."""
    print(f"{problem}; continuing with other runs.", flush=True)
    _postponed.append((problem.path, HydraConfig.instance().cfg, functools.partial(job, cfg)))


def list_user_folders() -> list[Path]:
    """List the folder of `--config-dir`, if the command has one."""
    return [Path(each.path) for each in HydraConfig.get().runtime.config_sources if each.provider == "command-line"]


def format_command(verb: str = "run") -> str:
    """Write the command for the current run alone, also if it belongs to a sweep."""
    folder = [word for path in list_user_folders() for word in ("--config-dir", str(path))]
    return shlex.join(["singtech", verb, *folder, *HydraConfig.get().overrides.task])


def record_run(name: str) -> None:
    """Write into the sweep's folder that the current run is complete, with the name of its folder."""
    hydra = HydraConfig.get()
    write_text(Path(hydra.sweep.dir, MADE, f"{hydra.job.num}.txt"), name)


def record_failure(reason: str) -> None:
    """Write into the sweep's folder that the current run failed."""
    hydra = HydraConfig.get()
    reason = f"{' '.join(hydra.overrides.task)}: {reason}"
    failure = {"reason": reason, "command": format_command(hydra.job.name)}
    write_text(Path(hydra.sweep.dir, FAILED, f"{hydra.job.num}.json"), json.dumps(failure))


class RunCallback(Callback):
    """Hydra calls it before a run, and before and after a sweep; `conf/config.yaml` names it."""

    def on_run_start(self, config: DictConfig, **_) -> None:
        """Check the settings of a single run.

        Raises:
            SystemExit: with a sentence, if they are wrong.
        """
        if config.hydra.job.name == "run":
            say(CHECKING)
            if problem := describe_problem(config, config.hydra.overrides.task):
                raise SystemExit(f"error: {problem}")

    def on_multirun_start(self, config: DictConfig, **_) -> None:
        """Check each value of the sweep, and remove the records of an earlier sweep in the same folder.

        Raises:
            SystemExit: with a sentence for each wrong value.
        """
        global _progress
        hydra, axes = config.hydra, []
        if hydra.sweeper._target_.rpartition(".")[2] == BasicSweeper.__name__:  # others choose values as they go
            try:
                axes = list_axes(hydra.sweeper.params, hydra.overrides.task)
            except (HydraException, InvalidValue) as problem:
                raise SystemExit(f"error: {describe_error(problem)}") from None
        if hydra.job.name == "run":
            say(CHECKING)
            if problems := find_wrong_values(axes, functools.partial(describe_problem, config)):
                raise SystemExit(f"error: {' '.join(problems)}")
            # Hydra would compose each run once more before the first, which takes minutes for 1,000 runs
            BasicSweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]
        _postponed.clear()
        _progress = SweepProgress(config, list(itertools.product(*axes)) if axes else [])
        for path in (*Path(hydra.sweep.dir, FAILED).glob("*.json"), *Path(hydra.sweep.dir, MADE).glob("*.txt")):
            path.unlink(missing_ok=True)

    def on_multirun_end(self, config: DictConfig, **_) -> None:
        """Run the postponed runs, collate, print a table of the runs, and list the failed ones.

        Raises:
            SystemExit: with status 1, if a run failed.
        """
        from singtech.results.collate import collate
        from singtech.results.ranking import format_ranking

        is_whole = False
        try:
            _run_postponed()
            collated = collate(config.output_dir)
            is_whole = True
            paths = Path(config.hydra.sweep.dir, MADE).glob("*.txt")
            if table := format_ranking(collated, {path.read_text(encoding="utf-8") for path in paths}):
                print(table, flush=True)
        except Exception as problem:  # Hydra would turn it into a warning
            if needs_traceback(problem):
                traceback.print_exception(problem)
            print(f"error: the sweep did not finish: {describe_error(problem)}", file=sys.stderr, flush=True)
        if report_failures(config.hydra) or not is_whole:
            raise SystemExit(1)


def report_failures(hydra: Any) -> bool:
    """Print the failed runs of a sweep and the commands that repeat them; return whether there are any."""
    paths = sorted(Path(hydra.sweep.dir, FAILED).glob("*.json"), key=lambda path: int(path.stem))
    failures = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if failures:
        count = f"{len(failures)} run{'s' if len(failures) > 1 else ''} of this sweep failed:"
        reasons, commands = ([f"  {failure[part]}" for failure in failures] for part in ("reason", "command"))
        print("", count, *reasons, "repeat them with:", *commands, sep="\n", file=sys.stderr, flush=True)
    return bool(failures)


def _run_postponed() -> None:
    """Run each postponed run as soon as its lock is free."""
    is_waiting = False
    while _postponed:
        raise_if_signalled()
        if free_run := next((entry for entry in _postponed if not is_held(entry[0])), None):
            _postponed.remove(free_run)
            is_waiting = False
            _, HydraConfig.instance().cfg, run = free_run
            run()
            continue
        if not is_waiting:
            print(f"\nwaiting for other processes: {len(_postponed)} runs left.", flush=True)
        is_waiting = True
        time.sleep(ROUND_SECONDS)
