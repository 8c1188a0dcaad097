"""What a set of runs would take, before any of it is trained: phases and runs to make, seconds, bytes.

Nothing is trained for it but a few steps on noise, from which the time is estimated, and nothing is stored.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from singtech.components import spec
from singtech.corpus.clip_store import Corpus
from singtech.models.network import parameter_count
from singtech.training.fit import Run, device_name
from singtech.training.module import TechniqueModule
from singtech.training.phases import Phase, digest
from singtech.training.run import is_complete, runnable
from singtech.training.trainer import Machine

NUMBER_BYTES = 4
ROW_BYTES = 20_000  # a run's folder without its predictions
PREDICTION_BYTES = 200  # a test clip's line
FORWARD = 1 / 3  # of a training step's time: the passes that nothing is learned from


@dataclass
class Plan:
    """Runs that are asked for, each once however often it is asked for, and what of them is under `output_dir`."""

    output_dir: Path
    runs: dict[str, bool] = field(default_factory=dict)  # name -> whether it is there
    phases: dict[str, tuple[Run, Phase, Corpus]] = field(default_factory=dict)  # of runs to make, by key
    there: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    corpora: dict[str, Corpus] = field(default_factory=dict)  # run name -> on what
    sizes: dict[str, int] = field(default_factory=dict)  # network -> bytes of its weights

    def add(self, run: Run, corpus: Corpus, machine: Machine) -> bool:
        """Ask for a run on a corpus; whether it is there, and so needs no phase.

        Raises:
            ValueError: as `runnable` does.
        """
        if _built(run) not in self.sizes:
            self.sizes[_built(run)] = NUMBER_BYTES * parameter_count(runnable(run, corpus, machine))
        name = run.name(corpus.fingerprint("test"))
        self.runs[name] = is_complete(self.output_dir / "runs" / name)
        self.corpora[name] = corpus
        if self.runs[name]:
            return True
        store = self.output_dir / "phases"
        for phase, key in zip(run.phases, run.keys, strict=True):
            self.phases.setdefault(key, (run, phase, corpus))
            if (store / key / "phase.json").exists():
                self.there.add(key)
            elif (store / f".{key}.work" / "last.ckpt").exists():
                self.begun.add(key)
        return False

    @property
    def missing(self) -> list[tuple[Run, Phase, Corpus]]:
        """The phases that have to be trained."""
        return [entry for key, entry in self.phases.items() if key not in self.there]

    def count(self, trains: str) -> int:
        """Phases to train, of the network or of the head."""
        return sum(phase.trains == trains for _, phase, _ in self.missing)

    def epochs(self, trains: str) -> int:
        """Epochs to train, of the network or of the head."""
        return sum(phase.epochs for _, phase, _ in self.missing if phase.trains == trains)

    def bytes_needed(self) -> int:
        """Of the missing phases (weights, the optimiser's two moments, features) and runs, roughly."""
        needed = 0
        for run, phase, corpus in self.missing:
            size = self.sizes[_built(run)]
            needed += size if phase.trains != "network" else 3 * size + NUMBER_BYTES * 30 * _passed(corpus)
        for name, is_there in self.runs.items():
            needed += 0 if is_there else ROW_BYTES + PREDICTION_BYTES * len(self.corpora[name].rows("test"))
        return needed

    def seconds(self, speeds: Mapping[str, "Speed"]) -> float:
        """That the missing phases take one after the other."""
        total = 0.0
        for run, phase, corpus in self.missing:
            speed, everything = speeds[_built(run)], len(corpus.rows("train"))
            clips = min(everything, (run.setup.max_batches or everything) * run.setup.batch_size)
            if not phase.epochs:
                continue
            if phase.trains == "network":
                total += speed.network * (phase.epochs * clips + FORWARD * (everything + _passed(corpus)))
            elif phase.changes_extractor:
                total += speed.network * FORWARD * phase.epochs * clips
            else:
                total += speed.head * phase.epochs * clips
        return total

    def networks(self) -> dict[str, tuple[Run, Corpus]]:
        """The different networks of the missing phases, one run of each."""
        return {_built(run): (run, corpus) for run, _, corpus in reversed(self.missing)}

    def measure(self, machine: Machine) -> dict[str, "Speed"]:
        """A few training steps of each different network of the missing phases."""
        return {built: _speed(run, corpus, machine) for built, (run, corpus) in self.networks().items()}


@dataclass(frozen=True)
class Speed:
    """Seconds a clip of training the network, and the head on features; of which condition, on what."""

    network: float
    head: float
    condition: str
    device: str


def _built(run: Run) -> str:
    """What runs of one speed have in common."""
    return digest([spec(run.setup.network), run.setup.batch_size, run.setup.precision])


def _passed(corpus: Corpus) -> int:
    """Clips whose features are computed once a network phase is done."""
    return len(corpus.rows("train")) + len(corpus.rows("test"))


def _speed(run: Run, corpus: Corpus, machine: Machine) -> Speed:
    trainer, device = machine.trainer(), machine.device
    network = machine.ready(run.build(), device).to(device)
    batch = run.setup.batch_size if device.type == "cuda" else min(run.setup.batch_size, 4)

    def module(trains: str) -> TechniqueModule:
        optimizer = functools.partial(torch.optim.SGD, lr=1e-6)
        options = {"trains": trains, "on_features": trains == "head"}
        return TechniqueModule(network, F.cross_entropy, optimizer, run.techniques, run.setup.seed, **options)

    of_network = _step(module("network"), torch.randn(batch, run.samples, device=device), trainer)
    features = torch.randn(run.setup.batch_size, network.extractor.out_features, device=device)
    of_head = _step(module("head"), features, trainer)
    condition = f"{run.names['model']} dc={run.names['dc']}"
    return Speed(of_network / batch, of_head / len(features), condition, device_name(device))


def _step(module: TechniqueModule, inputs: Tensor, trainer, least_seconds: float = 0.5, most: int = 20) -> float:
    """Median seconds of a training step, without the first."""
    module.to(inputs.device)
    targets = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    optimizer = module.configure_optimizers()
    module.network.train()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < least_seconds and len(times) < most):
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


def in_words(speeds: Sequence[Speed]) -> str:
    """What was measured, fastest first."""
    return ", ".join(f"{1000 * s.network:.3g} ms {s.condition}" for s in sorted(speeds, key=lambda s: s.network))
