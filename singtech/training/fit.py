"""Training one phase of a run, from the stored phases before it to what the store shall keep."""

import functools
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from singtech.data.clips import Corpus
from singtech.data.datamodule import VocalSetDataModule
from singtech.files import remove_remains, set_aside
from singtech.models.network import Network, initialise
from singtech.training.forest import Forest
from singtech.training.learner import ClassifierLearner, Learner, NetworkLearner, optimizer_class
from singtech.training.loggers import ended
from singtech.training.loss import REDUCTIONS, class_weights
from singtech.training.phases import Phase, digest, phase_keys
from singtech.training.recalibration import recalibrate
from singtech.training.store import Outcome, StoredPhase, read_checkpoint
from singtech.training.trainer import (
    PRECISIONS,
    EpochCheckpoint,
    Machine,
    PassProgress,
    PhaseProgress,
    counted,
    from_processes,
    interruptible,
    progress_bar,
)

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"  # of a phase that is being trained
BATCH_NORMS = ("recalibrated", "running")
SELECTIONS = ("last", "best")
JUDGED_BY = 512  # training clips that batch norm's statistics rest on while the validation singers are looked at


@dataclass(frozen=True)
class Setup:
    """All that decides what a run's phases come to, beside the phases themselves; hashed whole into their keys.

    Args:
        model: what builds the network, and with which arguments.
        optimizer: name and arguments; its `lr` is the paper's 1e-4 by default.
        batch_size: clips a step.
        keep_last: whether an epoch's last, smaller batch is kept.
        max_batches: training batches an epoch at most, for smoke tests; None for all.
        loss_reduction: `weights` or `clips`.
        batch_norm: `recalibrated` or `running` statistics in evaluation.
        selection: a phase ends with its `last` epoch, or with the `best` by macro F1 on the validation singers.
        precision: one of `PRECISIONS`, Lightning's names.
        devices: how many train together.
        seed: of initial weights, order of clips and dropout.
        training_clips: fingerprint of the corpus's training clips.
        validation_clips: fingerprint of its validation clips where they select an epoch, "" otherwise.
    """

    model: Mapping
    optimizer: Mapping
    seed: int
    training_clips: str
    validation_clips: str = ""
    batch_size: int = 64
    keep_last: bool = True
    max_batches: int | None = None
    loss_reduction: str = "weights"
    batch_norm: str = "recalibrated"
    selection: str = "last"
    precision: str = "32-true"
    devices: int = 1

    def __post_init__(self) -> None:
        for setting, choices in (
            ("batch_norm", BATCH_NORMS),
            ("loss_reduction", REDUCTIONS),
            ("selection", SELECTIONS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, setting) not in choices:
                raise ValueError(f"{setting}={getattr(self, setting)}: expected one of {', '.join(choices)}.")
        if not isinstance(self.batch_size, int) or self.batch_size < 2:
            raise ValueError(f"batch_size={self.batch_size}: expected a whole number from 2 up (batch norm needs two).")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ValueError(f"seed={self.seed}: expected a whole number.")
        if self.max_batches is not None and not (isinstance(self.max_batches, int) and self.max_batches > 0):
            raise ValueError(f"schedule.max_batches={self.max_batches}: expected a whole number from 1 up, or null.")
        if not isinstance(self.keep_last, bool):
            raise ValueError(f"keep_last={self.keep_last}: expected true or false.")
        if not isinstance(self.devices, int) or isinstance(self.devices, bool) or self.devices < 1:
            raise ValueError(f"trainer.devices={self.devices}: expected how many devices share a batch, from 1 up.")
        if self.batch_size < 2 * self.devices:
            raise ValueError(f"batch_size={self.batch_size}: expected at least two clips for each of trainer.devices.")
        _check_optimizer(**self.optimizer)


@dataclass(frozen=True)
class Run:
    """What to run.

    Args:
        names: data, fold, model, dc, strategy, alpha and variant, as the row shall say them.
        setup: see `Setup`.
        phases: the strategy.
        build: makes the network with its initial weights.
        forest: what classifies the features instead of the network's last layer, if anything does.
    """

    names: Mapping
    setup: Setup
    phases: tuple[Phase, ...]
    build: Callable[[], Network]
    forest: Forest | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its phases."""
        return phase_keys(asdict(self.setup), self.phases)

    def name(self, test_clips: str) -> str:
        """The run's folder: a readable slug, and the hash of its last phase and of the clips it is scored on."""
        names = self.names
        data = names["data"] + (f"-fold_{names['fold']}" if names["fold"] else "")
        slug = f"{data}-{names['model']}-dc_{names['dc']}-{names['strategy']}-alpha_{names['alpha']:g}"
        decides = [self.keys[-1], test_clips]
        if self.forest is not None:
            decides += [asdict(self.forest), names["alpha"]]
        return f"{slug}-seed_{self.setup.seed}-{digest(decides)[:8]}"

    def about(self, number: int, title: str, test_clips: str) -> dict:
        """What a logger can tell one of its phases by, and the runs that it is trained for."""
        return {"phase": title, "key": self.keys[number], "run": self.name(test_clips)} | {
            "seed": self.setup.seed,
            **{name: value for name, value in self.names.items() if name != "variant"},
        }


def train_phase(
    run: Run,
    number: int,
    before: tuple[StoredPhase, ...],
    corpus: Corpus,
    work: Path,
    machine: Machine,
    title: str = "",
    watch: Callable[[], None] | None = None,
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
        watch: called after every epoch; raises where training is to end.
    """
    phase, setup = run.phases[number], run.setup
    first_epoch = sum(earlier.epochs for earlier in run.phases[:number])
    on_one = machine.trainer()
    device = on_one.strategy.root_device
    network = machine.ready(run.build(), device)
    if before:
        before[-1].load_into(network)
    if phase.start == "anew":
        initialise(network.classifier, setup.seed, prefix="anew/classifier")
    features = None
    if phase.trains == "classifier" and phase.extractor == "eval" and machine.cache_features:
        splits = [split for split in ("train", "validation") if len(corpus.rows(split))]
        features = {split: clip_features(run, before, corpus, split, machine) for split in splits}
    data = VocalSetDataModule(
        corpus,
        setup.batch_size,
        setup.seed,
        first_epoch,
        setup.keep_last,
        features,
        phase.sampler,
        machine.clips_on(device, corpus) if features is None else None,
    )
    learner = _learner(run, number, network, before, data, machine.devices)
    checkpoint = work / CHECKPOINT
    loggers = machine.loggers(work / "logs", run.about(number, title, corpus.fingerprint("test")))
    trainer = machine.trainer(
        [PhaseProgress(title, phase.epochs, machine.progress), EpochCheckpoint(checkpoint, watch)],
        devices=machine.devices,
        max_epochs=phase.epochs,
        limit_train_batches=setup.max_batches if setup.max_batches is not None else 1.0,
        logger=loggers,
    )
    with ended(loggers), interruptible(trainer), from_processes():
        trainer.fit(learner, data, ckpt_path=usable(checkpoint))
    started = time.perf_counter()
    end = read_checkpoint(checkpoint)
    trained, optimizer_state = _of_network(end["state_dict"]), end["optimizer_states"][0]
    if setup.selection == "best":
        trained, optimizer_state = end["best"]["weights"], end["best"]["optimizer"]
    network.load_state_dict(trained)
    if phase.changes_extractor and setup.batch_norm == "recalibrated":
        network.to(device)
        with on_one.precision_plugin.forward_context():
            loader = data.recalibration()
            batches = min(len(loader), setup.max_batches or len(loader))
            with progress_bar("statistics of batch norm", "batch", batches, machine.progress) as bar:
                recalibrate(network, counted(_waveforms(data, batches, device), bar))
    network.cpu()
    seconds = sum(entry["seconds"] for entry in end["curve"]) + time.perf_counter() - started
    record = {
        "phase": asdict(phase),
        "setup": asdict(setup),
        "before": [entry.key for entry in before],
        "epoch": end["best"].get("epoch", first_epoch + phase.epochs),
        "seconds": round(seconds, 3),
        "device": device_name(device, machine.devices),
        "torch": torch.__version__,
    }
    return Outcome(network.state_dict(), optimizer_state, end["curve"], record)


def _check_optimizer(name: str, **arguments) -> None:
    """Refuse an optimiser that torch would refuse, before anything is trained with it."""
    rate = arguments.get("lr")
    if not isinstance(rate, int | float) or not rate > 0:
        raise ValueError(f"optimizer.lr={rate}: expected a number above 0.")
    try:
        optimizer_class(name)([torch.zeros(1, requires_grad=True)], **arguments)
    except TypeError as problem:
        raise ValueError(f"optimizer: {name} cannot be made with {arguments} ({problem}).") from None


def usable(checkpoint: Path) -> Path | None:
    """The checkpoint, if it is there and holds what it should; a damaged one is set aside with a warning."""
    remove_remains(checkpoint)
    if not checkpoint.exists():
        return None
    try:
        is_damaged = not {"state_dict", "optimizer_states", "curve", "best", "epoch"} <= set(
            read_checkpoint(checkpoint)
        )
    except ValueError:
        is_damaged = True
    if is_damaged:
        log.warning("%s is damaged and set aside as %s: its phase begins anew.", checkpoint, set_aside(checkpoint).name)
        return None
    return checkpoint


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A learner's weights and statistics as the network names them."""
    start = "network."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _learner(
    run: Run, number: int, network: Network, before: tuple[StoredPhase, ...], data: VocalSetDataModule, devices: int
) -> Learner:
    """The Lightning module that trains a phase."""
    phase, setup, corpus = run.phases[number], run.setup, data.corpus
    optimizer = dict(setup.optimizer)
    if phase.learning_rate is not None:
        optimizer["lr"] = phase.learning_rate
    goes_on = bool(before) and phase.start == "on" and run.phases[number - 1].trains == phase.trains
    options = {
        "weights": class_weights(torch.from_numpy(corpus.counts("train")), phase.alpha, corpus.techniques),
        "optimizer": optimizer,
        "seed": setup.seed,
        "first_epoch": data.first_epoch,
        "optimizer_state": before[-1].optimizer_state() if goes_on else None,
        "reduction": setup.loss_reduction,
        "selects": setup.selection == "best",
        "devices": devices,
        "name_clips": data.batch_clips,
    }
    if phase.trains == "network":
        if setup.batch_norm == "recalibrated":
            batches = max(1, JUDGED_BY // setup.batch_size)
            options["training_clips"] = functools.partial(_waveforms, data, batches)
        return NetworkLearner(network, **options)
    return ClassifierLearner(network, extractor=phase.extractor, **options)


def _waveforms(data: VocalSetDataModule, batches: int, device: torch.device) -> Iterator[Tensor]:
    """(B, S) waveforms of the first batches of training clips in a mixed order, on a device."""
    for samples, _ in islice(data.recalibration(), batches):
        yield data.waveforms(samples.to(device))


def clip_features(
    run: Run, stored: tuple[StoredPhase, ...], corpus: Corpus, split: str, machine: Machine
) -> np.ndarray:
    """(N, D) features of a split's clips, from the extractor as the last phase that changed it left it."""
    source = [entry for entry, phase in zip(stored, run.phases, strict=False) if phase.changes_extractor][-1]

    def compute() -> np.ndarray:
        trainer = machine.trainer([PassProgress(f"features of the {split} clips", machine.progress)])
        device = trainer.strategy.root_device
        network = machine.ready(run.build(), device)
        source.load_into(network)
        learner = NetworkLearner(network, torch.ones(len(corpus.techniques)), {}, run.setup.seed)
        resident = machine.clips_on(device, corpus)
        data = VocalSetDataModule(corpus, run.setup.batch_size, resident=resident)
        data.predict_dataloader = lambda: data.in_order(split)
        with interruptible(trainer):
            return torch.cat(trainer.predict(learner, datamodule=data)).cpu().numpy()

    return source.features(corpus.fingerprint(split), compute)


def device_name(device: torch.device, devices: int = 1) -> str:
    """What computed, for the row: the GPU's name, or the processor's kind; and how many together."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
    return name if devices == 1 else f"{devices} x {name}"
