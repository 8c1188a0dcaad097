"""Count the missing runs and phases of a sweep, and estimate their time and size.

For the estimate, a few training steps on noise are timed. Nothing is stored.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from singtech.components import describe
from singtech.corpus.clip_store import Corpus
from singtech.models.network import parameter_count
from singtech.training.fit import Run, device_name
from singtech.training.module import TechniqueModule
from singtech.training.phase_store import RECORD
from singtech.training.phases import Phase, digest
from singtech.training.run import is_complete, runnable
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
    optimizer = functools.partial(torch.optim.SGD, lr=1e-6)
    width: Any = network.extractor.out_features
    sizes = {"network": (batch, run.samples), "head": (run.setup.batch_size, width)}
    seconds = {}
    for part, size in sizes.items():
        loss, on_features = torch.nn.CrossEntropyLoss(), part == "head"
        module = TechniqueModule(
            network, loss, optimizer, run.techniques, run.setup.seed, trains=part, on_features=on_features
        )
        seconds[part] = _step_seconds(module, torch.randn(size, device=device), trainer) / size[0]
    condition = f"{run.names['model']} dc={run.names['dc']}"
    return Speed(seconds["network"], seconds["head"], condition, device_name(device))


def _step_seconds(
    module: TechniqueModule, inputs: Tensor, trainer, min_seconds: float = 0.5, max_steps: int = 20
) -> float:
    """Measure the median seconds of a training step, without the first step."""
    module.to(inputs.device)
    targets = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    optimizer = module.configure_optimizers()
    module.network.train()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < min_seconds and len(times) < max_steps):
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
