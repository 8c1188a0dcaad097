"""Count the missing runs and phases of a sweep, and estimate their time and size.

`Plan` times a few training steps on noise; `Forecast` goes by the phases that a running sweep has trained. Nothing is
stored.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from singtech.components import describe
from singtech.corpus.clip_store import Corpus
from singtech.models.network import parameter_count
from singtech.training.fit import Run, device_name
from singtech.training.module import TechniqueModule
from singtech.training.phase_store import RECORD, StoredPhase
from singtech.training.phases import Phase, TrainHead, TrainNetwork, digest
from singtech.training.run import Result, is_complete, runnable
from singtech.training.trainer import Machine

NUMBER_BYTES = 4
ROW_BYTES = 20_000  # a run's folder without its predictions
PREDICTION_BYTES = 200  # the line of one test clip
FORWARD_SHARE = 1 / 3  # time of a forward pass, as a part of that of a training step


@dataclass(frozen=True)
class Speed:
    """Seconds per clip to train the network, and the head on features; with the condition and device of the test."""

    network: float
    head: float
    condition: str
    device: str


@dataclass
class Plan:
    """The runs of a sweep, their phases, and which of these are already stored.

    Attributes:
        output_dir: the results folder.
        runs: name of a run -> whether it is complete.
        phases: key -> (run, phase, corpus) of each phase of an incomplete run.
        stored_keys: keys of the phases that are finished.
        corpora: name of a run -> its corpus.
        sizes: network -> bytes of its weights.
    """

    output_dir: Path
    runs: dict[str, bool] = field(default_factory=dict)
    phases: dict[str, tuple[Run, Phase, Corpus]] = field(default_factory=dict)
    stored_keys: set[str] = field(default_factory=set)
    corpora: dict[str, Corpus] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, run: Run, corpus: Corpus, machine: Machine) -> bool:
        """Add a run on a corpus. Return whether it is complete; if not, add its phases.

        Raises:
            InvalidValue: see `runnable`.
        """
        if _network_digest(run) not in self.sizes:
            self.sizes[_network_digest(run)] = NUMBER_BYTES * parameter_count(runnable(run, corpus, machine))
        name = run.name(corpus.fingerprint("test"))
        self.runs[name] = is_complete(self.output_dir / "runs" / name)
        self.corpora[name] = corpus
        if self.runs[name]:
            return True
        store = self.output_dir / "phases"
        for phase, key in zip(run.phases, run.keys, strict=True):
            self.phases.setdefault(key, (run, phase, corpus))
            if (store / key / RECORD).exists():
                self.stored_keys.add(key)
        return False

    @property
    def missing_phases(self) -> list[tuple[Run, Phase, Corpus]]:
        """List the phases to train."""
        return [entry for key, entry in self.phases.items() if key not in self.stored_keys]

    def count(self, trains: str) -> int:
        """Count the phases to train of the network or of the head."""
        return sum(phase.trains == trains for _, phase, _ in self.missing_phases)

    def epochs(self, trains: str) -> int:
        """Count the epochs to train of the network or of the head."""
        return sum(phase.epochs for _, phase, _ in self.missing_phases if phase.trains == trains)

    def bytes_needed(self) -> int:
        """Estimate the bytes of the missing phases (weights, the optimizer's two moments, features) and runs."""
        total = 0
        for run, phase, corpus in self.missing_phases:
            size = self.sizes[_network_digest(run)]
            total += size if phase.trains != "network" else 3 * size + NUMBER_BYTES * 30 * _feature_clips(corpus)
        for name, is_complete_run in self.runs.items():
            total += 0 if is_complete_run else ROW_BYTES + PREDICTION_BYTES * len(self.corpora[name].rows("test"))
        return total

    def seconds(self, speeds: Mapping[str, Speed]) -> float:
        """Estimate the training time of the missing phases in seconds, one after the other."""
        total = 0.0
        for run, phase, corpus in self.missing_phases:
            speed, training_clips = speeds[_network_digest(run)], len(corpus.rows("train"))
            clips = phase.epochs * min(training_clips, (run.setup.max_batches or training_clips) * run.setup.batch_size)
            if not phase.stores_weights:  # a frozen encoder's features
                total += speed.network * len(corpus.clips)
            elif phase.trains == "network":
                total += speed.network * (clips + FORWARD_SHARE * (training_clips + _feature_clips(corpus)))
            else:
                total += clips * (speed.network * FORWARD_SHARE if phase.changes_extractor else speed.head)
        return total

    def measure_speeds(self, machine: Machine) -> dict[str, Speed]:
        """Time a few training steps of each network in the missing phases."""
        runs = {_network_digest(run): run for run, _, _ in reversed(self.missing_phases)}
        return {network: _measure_speed(run, machine) for network, run in runs.items()}


class Kind(NamedTuple):
    """Phases that take equally long per clip: of the same network, training the same part of it."""

    network: str
    trains: str
    changes_extractor: bool


class Work(NamedTuple):
    """A phase to train, and its clips in all epochs."""

    key: str
    kind: Kind
    clips: int


class Pace(NamedTuple):
    """How many clips of a phase were trained, and in how many seconds."""

    work: Work
    clips: int
    seconds: float


@dataclass
class Forecast:
    """How long the runs of a sweep still take, by the pace of the phases that were trained so far.

    Attributes:
        output_dir: the results folder.
        runs: name of each run to make -> its phases; runs share phases.
        paces: of each phase trained so far.
        extras: seconds of each finished run beside its training.
        begun: the phase in training.
    """

    output_dir: Path
    runs: dict[str, tuple[Work, ...]] = field(default_factory=dict)
    paces: list[Pace] = field(default_factory=list)
    extras: list[float] = field(default_factory=list)
    begun: Pace | None = None

    def add(self, run: Run, corpus: Corpus) -> bool:
        """Add a run, unless it is complete; return whether it was added."""
        name = run.name(corpus.fingerprint("test"))
        if is_complete(self.output_dir / "runs" / name):
            self.runs.pop(name, None)  # another process has made it meanwhile
            return False
        clips, network = len(corpus.rows("train")), _network_digest(run)
        kinds = [Kind(network, phase.trains, phase.changes_extractor) for phase in run.phases]
        amounts = [max(phase.epochs, 1) * clips for phase in run.phases]
        self.runs[name] = tuple(map(Work, run.keys, kinds, amounts))
        return True

    def note_epochs(self, name: str, number: int, epochs: int, of: int, seconds: float) -> None:
        """Note how many of its epochs a phase of a run has trained, and in how many seconds."""
        work = self.runs[name][number]
        self.begun = Pace(work, round(work.clips * epochs / of), seconds)

    def finish(self, name: str, result: Result | None = None, seconds: float = 0.0) -> None:
        """Note that a run has ended after some seconds; without a result it failed, or is put off."""
        works, self.begun = self.runs.pop(name), None
        if result is None:
            return
        for work in (each for each, was_trained in zip(works, result.trained, strict=True) if was_trained):
            own = StoredPhase(self.output_dir / "phases" / work.key).record["seconds"]
            self.paces.append(Pace(work, work.clips, own))
            seconds -= own
        self.extras.append(max(seconds, 0.0))

    def seconds_left(self) -> float | None:
        """Estimate the seconds of all runs that were added and have not ended.

        A network without a pace of its own has that of the others.

        Returns:
            None if no network has a pace yet.
        """
        paces = self.paces + ([self.begun] if self.begun else [])
        if not paces:
            return None
        works = {work.key: work for each in self.runs.values() for work in each if not self._is_stored(work.key)}
        total = len(self.runs) * sum(self.extras) / max(len(self.extras), 1)
        for work in works.values():
            similar = [pace for pace in paces if pace.work.kind.trains == work.kind.trains]
            similar = [pace for pace in similar if pace.work.kind == work.kind] or similar
            clips = sum(pace.clips for pace in similar)
            if not clips and work.kind.trains == "network":
                return None
            trained = self.begun.clips if self.begun and self.begun.work.key == work.key else 0
            total += (work.clips - trained) * sum(pace.seconds for pace in similar) / max(clips, 1)
        return total

    def _is_stored(self, key: str) -> bool:
        return (self.output_dir / "phases" / key / RECORD).exists()


def _network_digest(run: Run) -> str:
    """Hash network, batch size and precision: runs with equal ones have the same speed."""
    return digest([describe(run.setup.network), run.setup.batch_size, run.setup.precision])


def _feature_clips(corpus: Corpus) -> int:
    """Count the clips whose features are computed after a network phase."""
    return len(corpus.rows("train")) + len(corpus.rows("test"))


def _measure_speed(run: Run, machine: Machine) -> Speed:
    trainer, device = machine.make_trainer(), machine.device
    network = machine.set_backend(run.build(), device)
    batch = run.setup.batch_size if device.type == "cuda" else min(run.setup.batch_size, 4)
    width: Any = network.extractor.out_features
    seconds = []
    for kind, size in ((TrainNetwork, (batch, run.samples)), (TrainHead, (run.setup.batch_size, width))):
        phase = kind(epochs=1, optimizer=functools.partial(torch.optim.SGD, lr=1e-6))
        module = TechniqueModule(network, phase, torch.nn.CrossEntropyLoss(), run.techniques, run.setup.seed)
        seconds.append(_step_seconds(module, torch.randn(size, device=device), trainer) / size[0])
    network_seconds, head_seconds = seconds
    return Speed(network_seconds, head_seconds, f"{run.names['model']} dc={run.names['dc']}", device_name(device))


def _step_seconds(module: TechniqueModule, inputs: Tensor, trainer) -> float:
    """Measure the median seconds of a training step, without the first of at most 20."""
    module.to(inputs.device)
    targets = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    optimizer = module.configure_optimizers()
    module.network.train()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 0.5 and len(times) < 20):
        start = time.perf_counter()
        with trainer.precision_plugin.forward_context():
            loss = module.training_step((inputs, targets), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def describe_speeds(speeds: Sequence[Speed]) -> str:
    """Write the milliseconds per clip of each condition, fastest first."""
    return ", ".join(f"{1000 * s.network:.3g} ms {s.condition}" for s in sorted(speeds, key=lambda s: s.network))
