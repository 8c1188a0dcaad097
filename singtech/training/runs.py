"""A run: obtain its phases one after the other, score the test singers, write its folder.

A run is a condition with a seed on a corpus. Its folder under `runs/` is named readably and by a hash of all that
decides its outcome, and appears in one step when the run is complete, so that asking for a run twice runs it once.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from singtech.data.clips import Corpus
from singtech.data.datamodule import VocalSetDataModule, as_waveform
from singtech.files import atomic_folder
from singtech.metrics import confusion, scores
from singtech.models.network import Network, initialise, parameter_count
from singtech.training.learner import ClassifierLearner, Learner, NetworkLearner
from singtech.training.loss import class_weights
from singtech.training.phases import Phase, digest, phase_keys
from singtech.training.recalibration import recalibrate
from singtech.training.store import Outcome, PhaseStore, StoredPhase
from singtech.training.trainer import EpochCheckpoint, EpochTimer, Machine, PhaseProgress, batches_on

BATCH_NORMS = ("recalibrated", "running")


@dataclass(frozen=True)
class Setup:
    """All that decides what a run's phases come to, beside the phases themselves; hashed whole into their keys.

    Args:
        model: the model's name and the arguments that it is built with.
        front_end: arguments of the front end.
        optimizer: name and arguments; its `lr` is the paper's 1e-4 by default.
        batch_size: clips a step.
        keep_last: whether an epoch's last, smaller batch is kept.
        max_batches: training batches an epoch at most, for smoke tests; None for all.
        loss_reduction: `weights` or `clips`.
        batch_norm: `recalibrated` or `running` statistics in evaluation.
        precision: Lightning's name of it.
        devices: how many train together.
        seed: of initial weights, order of clips and dropout.
        training_clips: fingerprint of the corpus's training clips.
    """

    model: Mapping
    front_end: Mapping
    optimizer: Mapping
    seed: int
    training_clips: str
    batch_size: int = 64
    keep_last: bool = True
    max_batches: int | None = None
    loss_reduction: str = "weights"
    batch_norm: str = "recalibrated"
    precision: str = "32-true"
    devices: int = 1

    def __post_init__(self) -> None:
        if self.batch_norm not in BATCH_NORMS:
            raise ValueError(f"batch_norm={self.batch_norm}: expected {' or '.join(BATCH_NORMS)}.")
        if not isinstance(self.batch_size, int) or self.batch_size < 2:
            raise ValueError(f"batch_size={self.batch_size}: expected a whole number from 2 up (batch norm needs two).")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ValueError(f"seed={self.seed}: expected a whole number.")
        if not self.optimizer.get("lr", 0) > 0:
            raise ValueError(f"optimizer.lr={self.optimizer.get('lr')}: expected a number above 0.")


@dataclass(frozen=True)
class Run:
    """What to run.

    Args:
        names: data, model, dc, strategy, alpha and variant, as the row shall say them.
        setup: see `Setup`.
        phases: the strategy.
        build: makes the network with its initial weights.
    """

    names: Mapping
    setup: Setup
    phases: tuple[Phase, ...]
    build: Callable[[], Network]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its phases."""
        return phase_keys(asdict(self.setup), self.phases)

    def name(self, test_clips: str) -> str:
        """The run's folder: a readable slug, and the hash of its last phase and of the clips it is scored on."""
        names = self.names
        slug = f"{names['data']}-{names['model']}-dc_{names['dc']}-{names['strategy']}-alpha_{names['alpha']:g}"
        return f"{slug}-seed_{self.setup.seed}-{digest([self.keys[-1], test_clips])[:8]}"


@dataclass(frozen=True)
class Result:
    """A run's row, and for each of its phases whether it was trained now (True) or taken from the store."""

    row: dict
    folder: Path
    trained: tuple[bool, ...]


def execute(
    run: Run,
    corpus: Corpus,
    output_dir: Path,
    machine: Machine,
    provenance: Mapping | None = None,
    configuration: str = "",
    say: Callable[[str], None] = print,
) -> Result:
    """Train what is missing of a run, score it on the corpus's test clips and write its folder.

    Args:
        run: what to run.
        corpus: on what.
        output_dir: holds `phases/` and `runs/`.
        machine: where and how to compute.
        provenance: further entries of the row (commit …).
        configuration: YAML text kept in the run's folder.
        say: takes one line for each thing that a person wants to know.
    Returns:
        The row, with what was trained for it.
    Raises:
        ValueError: the split has no test clips, or settings that do not fit together.
        FloatingPointError: training diverged.
    """
    if not len(corpus.rows("test")):
        raise ValueError(f"data.split names no test singer of {corpus.name}: a run needs clips to be scored on.")
    folder = Path(output_dir) / "runs" / run.name(corpus.fingerprint("test"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if (folder / "row.json").exists():
            row = json.loads((folder / "row.json").read_text(encoding="utf-8"))
            return Result(row, folder, (False,) * len(run.phases))
        stored, trained = _obtain_phases(run, corpus, PhaseStore(Path(output_dir) / "phases"), machine, say)
        logits = _logits(run, stored, corpus, machine)
        targets = corpus.targets("test")
        row = _row(run, folder.name, corpus, stored, machine)
        row |= scores(targets, logits, corpus.techniques) | dict(provenance or {})
        with atomic_folder(folder) as temporary:
            _predictions(corpus, logits).to_csv(temporary / "predictions.csv", index=False)
            _confusion(corpus, logits).to_csv(temporary / "confusion.csv")
            (temporary / "config.yaml").write_text(configuration, encoding="utf-8")
            (temporary / "row.json").write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
    return Result(row, folder, tuple(trained))


def _obtain_phases(
    run: Run, corpus: Corpus, store: PhaseStore, machine: Machine, say: Callable[[str], None]
) -> tuple[list[StoredPhase], list[bool]]:
    """Each phase of the run from the store, trained where it is missing."""
    stored: list[StoredPhase] = []
    trained = []
    for number, (phase, key) in enumerate(zip(run.phases, run.keys, strict=True)):
        title = f"phase {number + 1}/{len(run.phases)} {phase.name or phase.trains} alpha {phase.alpha:g}"
        entry, was_trained = store.obtain(
            key, lambda work, n=number, t=title: train_phase(run, n, tuple(stored), corpus, work, machine, t)
        )
        done = "trained" if was_trained else "taken from the store"
        say(f"{title}: {phase.epochs} epochs of the {phase.trains} {done} ({key}, {entry.record['seconds']:.1f} s)")
        stored.append(entry)
        trained.append(was_trained)
    return stored, trained


def train_phase(
    run: Run,
    number: int,
    before: tuple[StoredPhase, ...],
    corpus: Corpus,
    work: Path,
    machine: Machine,
    title: str = "",
) -> Outcome:
    """Train one phase of a run, going on from the checkpoint in `work` if there is one.

    Args:
        run: what is run.
        number: which of its phases, from 0.
        before: the phases before it.
        corpus: with the training clips.
        work: keeps the checkpoint of the last finished epoch.
        machine: where and how to compute.
        title: of the progress bar.
    """
    phase, setup = run.phases[number], run.setup
    first_epoch = sum(earlier.epochs for earlier in run.phases[:number])
    network = run.build()
    if before:
        before[-1].load_into(network)
    if phase.start == "anew":
        initialise(network.classifier, setup.seed, prefix="anew/classifier")
    learner = _learner(run, number, network, before, corpus, first_epoch)
    features = None
    if phase.trains == "classifier" and phase.extractor == "eval" and machine.cache_features:
        splits = [split for split in ("train", "validation") if len(corpus.rows(split))]
        features = {split: _features(run, before, corpus, split, machine) for split in splits}
    data = VocalSetDataModule(corpus, setup.batch_size, setup.seed, first_epoch, setup.keep_last, features)
    checkpoint = work / "last.ckpt"
    trainer = machine.trainer(
        [PhaseProgress(title, phase.epochs, machine.progress), EpochTimer(), EpochCheckpoint(checkpoint)],
        max_epochs=phase.epochs,
        limit_train_batches=setup.max_batches if setup.max_batches is not None else 1.0,
        logger=machine.loggers(work / "logs"),
    )
    trainer.fit(learner, data, ckpt_path=checkpoint if checkpoint.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    started = time.perf_counter()
    if phase.trains == "network" and setup.batch_norm == "recalibrated":
        device = trainer.strategy.root_device
        network.to(device)
        with trainer.precision_plugin.forward_context():
            recalibrate(network, batches_on(device, data.shuffled("train"), setup.max_batches, as_waveform))
    network.cpu().eval()
    seconds = sum(entry["seconds"] for entry in learner.curve) + time.perf_counter() - started
    record = {
        "phase": asdict(phase),
        "setup": asdict(setup),
        "before": [entry.key for entry in before],
        "seconds": round(seconds, 3),
        "device": device_name(trainer.strategy.root_device),
        "torch": torch.__version__,
    }
    return Outcome(network, trainer.optimizers[0].state_dict(), learner.curve, record)


def _learner(
    run: Run, number: int, network: Network, before: tuple[StoredPhase, ...], corpus: Corpus, first_epoch: int
) -> Learner:
    """The Lightning module that trains a phase."""
    phase, setup = run.phases[number], run.setup
    optimizer = dict(setup.optimizer)
    if phase.learning_rate is not None:
        optimizer["lr"] = phase.learning_rate
    goes_on = bool(before) and phase.start == "on" and run.phases[number - 1].trains == phase.trains
    options = {
        "weights": class_weights(torch.from_numpy(corpus.counts("train")), phase.alpha, corpus.techniques),
        "optimizer": optimizer,
        "seed": setup.seed,
        "first_epoch": first_epoch,
        "optimizer_state": before[-1].optimizer_state() if goes_on else None,
        "reduction": setup.loss_reduction,
    }
    if phase.trains == "network":
        return NetworkLearner(network, **options)
    return ClassifierLearner(network, extractor=phase.extractor, **options)


def _features(run: Run, stored: tuple[StoredPhase, ...], corpus: Corpus, split: str, machine: Machine) -> np.ndarray:
    """(N, D) features of a split's clips, from the extractor as the last phase that changed it left it."""
    source = [entry for entry, phase in zip(stored, run.phases, strict=False) if phase.changes_extractor][-1]

    def compute() -> np.ndarray:
        network = run.build()
        source.load_into(network)
        learner = NetworkLearner(network, torch.ones(len(corpus.techniques)), {}, run.setup.seed)
        data = VocalSetDataModule(corpus, run.setup.batch_size)
        data.predict_dataloader = lambda: data.in_order(split)
        return torch.cat(machine.trainer().predict(learner, datamodule=data)).cpu().numpy()

    return source.features(corpus.fingerprint(split), compute)


def _logits(run: Run, stored: list[StoredPhase], corpus: Corpus, machine: Machine) -> np.ndarray:
    """(N, K) logits of the test clips: stored features through the last phase's classifier, on the CPU in float32."""
    features = torch.from_numpy(_features(run, tuple(stored), corpus, "test", machine))
    network = run.build()
    stored[-1].load_into(network)
    with torch.no_grad():
        return network.classifier.cpu().float()(features).numpy()


def _row(run: Run, name: str, corpus: Corpus, stored: list[StoredPhase], machine: Machine) -> dict:
    """The run's row but for its scores."""
    records = [entry.record for entry in stored]
    return {
        "run": name,
        **run.names,
        "seed": run.setup.seed,
        "parameters": parameter_count(run.build()),
        "epochs": sum(phase.epochs for phase in run.phases),
        "seconds": round(sum(record["seconds"] for record in records), 3),
        "clips_train": len(corpus.rows("train")),
        "clips_test": len(corpus.rows("test")),
        "singers_test": " ".join(sorted(corpus.clips.loc[corpus.rows("test"), "singer"].unique())),
        "device": records[-1]["device"] if len(records) == 1 else records[0]["device"],
        "precision": run.setup.precision,
        "torch": torch.__version__,
        "status": "complete",
        "data_fingerprint": digest([corpus.fingerprint("train"), corpus.fingerprint("test")]),
        "phases": " ".join(entry.key for entry in stored),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _predictions(corpus: Corpus, logits: np.ndarray) -> pd.DataFrame:
    """One row a test clip: where it is from, and a logit per technique."""
    clips = corpus.clips.loc[corpus.rows("test"), ["recording", "singer", "technique", "start"]]
    columns = pd.DataFrame(logits, columns=[f"logit_{name}" for name in corpus.techniques])
    return pd.concat([clips.reset_index(drop=True), columns], axis=1)


def _confusion(corpus: Corpus, logits: np.ndarray) -> pd.DataFrame:
    """Test clips by true (rows) and predicted technique (columns)."""
    names = pd.Index(corpus.techniques, name="technique")
    return pd.DataFrame(confusion(corpus.targets("test"), logits), index=names, columns=list(corpus.techniques))


def device_name(device: torch.device) -> str:
    """What computed, for the row: the GPU's name, or the processor's kind."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"
