"""Train one phase of a run, from the stored phases before it to what the store keeps."""

import functools
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from singtech.components import build, spec, unwrapped
from singtech.corpus.clip_store import Corpus
from singtech.corpus.datamodule import VocalSetDataModule
from singtech.imbalance.losses import WeightedCrossEntropy
from singtech.io.atomic import remove_remains, set_aside
from singtech.models.network import Architecture, Network
from singtech.training.callbacks import (
    BestEpoch,
    EpochCheckpoint,
    FreezeExtractor,
    PassProgress,
    PhaseProgress,
    ValidateRecalibrated,
    counted,
    progress_bar,
)
from singtech.training.forest import Forest
from singtech.training.loggers import ended
from singtech.training.module import TechniqueModule
from singtech.training.phase_store import Outcome, StoredPhase, read_checkpoint
from singtech.training.phases import Phase, TrainHead, Training, digest, phase_keys
from singtech.training.recalibration import has_batch_norm, recalibrate
from singtech.training.trainer import PRECISIONS, Machine, from_processes, interruptible

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"  # of a phase that is being trained
BATCH_NORMS = ("recalibrated", "running")
SELECTIONS = ("last", "best")
JUDGED_BY = 512  # training clips that batch norm's statistics rest on when the validation singers are scored


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that decides the outcome of a run's phases, beside the phases themselves; it is part of their keys.

    Args:
        network: front end, extractor and head.
        seed: of initial weights, order of clips and dropout.
        training_clips: fingerprint of the corpus's training clips.
        validation_clips: fingerprint of its validation clips where they select an epoch, "" otherwise.
        batch_size: clips a step.
        drop_last: leave out an epoch's last, smaller batch.
        max_batches: training batches an epoch at most, for smoke tests; None for all.
        batch_norm: `recalibrated` or `running` statistics in evaluation.
        selection: a phase ends with its `last` epoch, or with the `best` by macro F1 on the validation singers.
        precision: one of `PRECISIONS`, Lightning's names.
        devices: how many train together.
    """

    network: Architecture = field(default_factory=Architecture)
    seed: int
    training_clips: str
    validation_clips: str = ""
    batch_size: int = 64
    drop_last: bool = False
    max_batches: int | None = None
    batch_norm: str = "recalibrated"
    selection: str = "last"
    precision: str = "32-true"
    devices: int = 1

    def __post_init__(self) -> None:
        for setting, choices in (
            ("batch_norm", BATCH_NORMS),
            ("selection", SELECTIONS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, setting) not in choices:
                raise ValueError(f"{setting}={getattr(self, setting)}: expected one of {', '.join(choices)}.")
        if self.batch_size < 2:
            raise ValueError(f"batch_size={self.batch_size}: expected a whole number from 2 up (batch norm needs two).")
        if self.max_batches is not None and self.max_batches < 1:
            raise ValueError(f"schedule.max_batches={self.max_batches}: expected a whole number from 1 up, or null.")
        if self.devices < 1:
            raise ValueError(f"trainer.devices={self.devices}: expected how many devices share a batch, from 1 up.")
        if self.batch_size < 2 * self.devices:
            raise ValueError(f"batch_size={self.batch_size}: expected at least two clips for each of trainer.devices.")


@dataclass(frozen=True)
class Run:
    """A condition with a seed on a corpus.

    Args:
        names: data, fold, model, dc, strategy, alpha and settings, as the row says them.
        setup: see `Setup`.
        phases: the strategy.
        samples: S, samples a clip.
        techniques: K.
        sample_rate: in Hz.
        forest: what classifies the features instead of the head, if anything does.
    """

    names: Mapping
    setup: Setup
    phases: tuple[Phase, ...]
    samples: int
    techniques: int
    sample_rate: int
    forest: Forest | None = None

    def build(self) -> Network:
        """The network with its initial weights."""
        return self.setup.network.build(self.samples, self.techniques, self.sample_rate, self.setup.seed)

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of its phases."""
        return phase_keys(self.setup, self.phases)

    @functools.cached_property
    def recipe(self) -> str:
        """What decides the outcome beside corpus and seed, as 16 hexadecimal digits: alike for all seeds and folds.

        It differs from another run's of the same settings where a person's own class or settings file has changed.
        """
        setup = spec(self.setup)
        shared = {name: setup[name] for name in setup if name not in ("seed", "training_clips", "validation_clips")}
        return digest({"setup": shared, "phases": self.phases, "forest": self.forest})

    def name(self, test_clips: str) -> str:
        """The run's folder: a readable slug, and the hash of its last phase and of the clips it is scored on."""
        names = self.names
        data = names["data"] + (f"-fold_{names['fold']}" if names["fold"] else "")
        slug = f"{data}-{names['model']}-dc_{names['dc']}-{names['strategy']}-alpha_{names['alpha']:g}"
        decides = [self.keys[-1], test_clips]
        if self.forest is not None:
            decides += [spec(self.forest), names["alpha"]]
        return f"{slug}-seed_{self.setup.seed}-{digest(decides)[:8]}"

    def about(self, number: int, title: str, test_clips: str) -> dict:
        """What a logger can tell one of its phases by, and the runs that it is trained for."""
        return {"phase": title, "key": self.keys[number], "run": self.name(test_clips)} | {
            "seed": self.setup.seed,
            **{name: value for name, value in self.names.items() if name != "settings"},
        }


def train_phase(
    run: Run,
    number: int,
    before: tuple[StoredPhase, ...],
    corpus: Corpus,
    work: Path,
    machine: Machine,
    title: str = "",
    require_lease: Callable[[], None] | None = None,
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
        require_lease: called after every epoch; raises where another process has taken the phase over.
    """
    phase, setup, start = run.phases[number], run.setup, time.perf_counter()
    device = machine.device
    network = machine.ready(run.build(), device)
    if before:
        before[-1].load_into(network)
    learnable = phase.begin(network, setup.seed)
    end = Epochs({}, [], _epochs_before(run, number), 0.0)
    if isinstance(phase, Training):
        data = _data(run, number, before, corpus, machine, device)
        end = _fit(run, number, before, network, learnable, data, work, machine, title, require_lease)
        start = time.perf_counter()
    phase.finish(network, torch.from_numpy(corpus.counts("train")), learnable)
    if phase.changes_extractor and setup.batch_norm == "recalibrated" and has_batch_norm(network):
        _recalibrate(network, data, setup.max_batches, device, machine)
    network.cpu()
    record = {
        "phase": {"name": phase.name, "trains": phase.trains, "says": phase.describe(), **spec(phase)},
        "setup": spec(setup),
        "before": [entry.key for entry in before],
        "epoch": end.epoch,
        "seconds": round(end.seconds + time.perf_counter() - start, 3),
        "device": device_name(device, machine.devices),
        "torch": torch.__version__,
    }
    return Outcome(network.state_dict(), end.optimizer_state, end.curve, record)


@dataclass(frozen=True)
class Epochs:
    """What training leaves beside the network: the optimizer's state, the curve, the epoch that counts, seconds."""

    optimizer_state: dict
    curve: list[dict[str, float]]
    epoch: int
    seconds: float


def _epochs_before(run: Run, number: int) -> int:
    return sum(phase.epochs for phase in run.phases[:number])


def _data(
    run: Run, number: int, before: tuple[StoredPhase, ...], corpus: Corpus, machine: Machine, device: torch.device
) -> VocalSetDataModule:
    """The batches of a phase: waveforms, or features where the extractor is fixed."""
    phase, setup = run.phases[number], run.setup
    features = None
    if _is_on_features(phase, machine):
        subsets = [subset for subset in ("train", "validation") if len(corpus.rows(subset))]
        features = {subset: clip_features(run, before, corpus, subset, machine) for subset in subsets}
    return VocalSetDataModule(
        corpus,
        setup.batch_size,
        setup.seed,
        _epochs_before(run, number),
        phase.epochs,
        setup.drop_last,
        features,
        build(phase.sampler, targets=torch.from_numpy(corpus.targets("train"))),
        machine.clips_on(device, corpus) if features is None else None,
    )


def _is_on_features(phase: Phase, machine: Machine) -> bool:
    return phase.trains == "head" and not phase.changes_extractor and machine.cache_features


def _fit(
    run: Run,
    number: int,
    before: tuple[StoredPhase, ...],
    network: Network,
    learnable: torch.nn.Module | None,
    data: VocalSetDataModule,
    work: Path,
    machine: Machine,
    title: str,
    require_lease: Callable[[], None] | None,
) -> Epochs:
    """Train the epochs of a phase; the network ends with the weights of the epoch that counts."""
    phase, setup, corpus = run.phases[number], run.setup, data.corpus
    augment = getattr(phase, "augment", None)
    criterion = loss_of(phase, corpus)
    own = dict(criterion.named_parameters()) if isinstance(criterion, torch.nn.Module) else {}
    optimizer_state = _taken_up(phase, run.phases[number - 1], before[-1], own) if before else None
    if own and optimizer_state is not None:
        criterion.load_state_dict(optimizer_state["criterion"], strict=False)  # its buffers are the phase's
    module = TechniqueModule(
        network,
        criterion,
        phase.optimizer_settings,
        len(corpus.techniques),
        setup.seed,
        trains=phase.trains,
        first_epoch=data.first_epoch,
        optimizer_state=optimizer_state,
        augment=build(augment, sample_rate=corpus.sample_rate) if augment is not None else None,
        learnable=learnable,
        on_features=_is_on_features(phase, machine),
        whole_checkpoints=phase.changes_extractor,
        devices=machine.devices,
        batch_clips=data.batch_clips,
    )
    checkpoint = work / CHECKPOINT
    callbacks = [PhaseProgress(title, phase.epochs, machine.progress), EpochCheckpoint(checkpoint, require_lease)]
    if setup.selection == "best":
        callbacks.insert(1, BestEpoch())
    if isinstance(phase, TrainHead):
        callbacks.append(FreezeExtractor(phase.extractor))
    elif setup.batch_norm == "recalibrated" and has_batch_norm(network):
        callbacks.append(
            ValidateRecalibrated(functools.partial(_waveforms, data, max(1, JUDGED_BY // setup.batch_size)))
        )
    loggers = machine.loggers(work / "logs", run.about(number, title, corpus.fingerprint("test")))
    trainer = machine.trainer(
        callbacks,
        devices=machine.devices,
        max_epochs=phase.epochs,
        limit_train_batches=setup.max_batches if setup.max_batches is not None else 1.0,
        logger=loggers,
    )
    with ended(loggers), interruptible(trainer), from_processes():
        trainer.fit(module, data, ckpt_path=usable(checkpoint))
    end = read_checkpoint(checkpoint)  # also where other processes trained
    weights, optimizer_state, epoch = end["state_dict"], end["optimizer_states"][0], data.first_epoch + phase.epochs
    if setup.selection == "best":
        best = end["callbacks"][BestEpoch.__name__]
        weights, optimizer_state, epoch = best["weights"], best["optimizer"], best["epoch"]
    module.load_state_dict(weights, strict=module.strict_loading)
    if own:  # a phase that goes on takes them up again
        optimizer_state = {**optimizer_state, "criterion": {name: value.detach() for name, value in own.items()}}
    return Epochs(optimizer_state, end["curve"], epoch, sum(entry["seconds"] for entry in end["curve"]))


def _taken_up(phase: Training, before: Phase, stored: StoredPhase, own: Mapping[str, Tensor]) -> dict | None:
    """The state that the phase before left its optimizer in; None unless both move the same by the same rule.

    The learning rate may differ.

    Args:
        phase: to train.
        before: the phase before it.
        stored: what that one left.
        own: the parameters of the phase's loss.
    """
    trains_on = isinstance(before, Training) and before.trains == phase.trains
    if not trains_on or getattr(phase, "init", "warm") != "warm":
        return None
    if any(getattr(each, "learns", None) is not None for each in (phase, before)):
        return None
    one, other = (spec(each.optimizer) | {"lr": None} for each in (phase, before))
    state = stored.optimizer_state()
    carried = state.get("criterion", {})
    same_loss = not own or unwrapped(phase.loss)[0] is unwrapped(before.loss)[0]
    same_shapes = {n: v.shape for n, v in carried.items()} == {n: v.shape for n, v in own.items()}
    return state if one == other and same_loss and same_shapes else None


def loss_of(phase: Training, corpus: Corpus) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a phase on a corpus."""
    counts = torch.from_numpy(corpus.counts("train"))
    return build(phase.loss, class_counts=counts, techniques=corpus.techniques)


def _recalibrate(
    network: Network, data: VocalSetDataModule, max_batches: int | None, device: torch.device, machine: Machine
) -> None:
    """Estimate batch norm's statistics on the training clips."""
    network.to(device)
    with machine.trainer().precision_plugin.forward_context():
        loader = data.recalibration()
        batches = min(len(loader), max_batches or len(loader))
        with progress_bar("statistics of batch norm", "batch", batches, machine.progress) as bar:
            recalibrate(network, counted(_waveforms(data, batches, device), bar))


def usable(checkpoint: Path) -> Path | None:
    """The checkpoint, if it is there and holds what it should; a damaged one is set aside with a warning."""
    remove_remains(checkpoint)
    if not checkpoint.exists():
        return None
    try:
        is_damaged = not {"state_dict", "optimizer_states", "curve", "epoch"} <= set(read_checkpoint(checkpoint))
    except ValueError:
        is_damaged = True
    if is_damaged:
        log.warning("%s is damaged and set aside as %s: its phase begins anew.", checkpoint, set_aside(checkpoint).name)
        return None
    return checkpoint


def _waveforms(data: VocalSetDataModule, batches: int, device: torch.device) -> Iterator[Tensor]:
    """(B, S) waveforms of the first batches of training clips in a mixed order, on a device."""
    for samples, _ in islice(data.recalibration(), batches):
        yield data.waveforms(samples.to(device))


def clip_features(
    run: Run, stored: tuple[StoredPhase, ...], corpus: Corpus, subset: str, machine: Machine
) -> np.ndarray:
    """(N, D) features of a subset's clips, from the extractor as the last phase that changed it left it."""
    changes = [number for number, phase in enumerate(run.phases[: len(stored)]) if phase.changes_extractor]
    source = stored[changes[-1] if changes else 0]

    def compute() -> np.ndarray:
        trainer = machine.trainer([PassProgress(f"features of the {subset} clips", machine.progress)])
        device = trainer.strategy.root_device
        network = machine.ready(run.build(), device)
        source.load_into(network)
        module = TechniqueModule(network, WeightedCrossEntropy, torch.optim.SGD, len(corpus.techniques), run.setup.seed)
        resident = machine.clips_on(device, corpus)
        data = VocalSetDataModule(corpus, run.setup.batch_size, resident=resident, predict=subset)
        with interruptible(trainer):
            return torch.cat(trainer.predict(module, datamodule=data)).cpu().numpy()

    return source.features(corpus.fingerprint(subset), compute)


def device_name(device: torch.device, devices: int = 1) -> str:
    """What computed, for the row: the GPU's name, or the processor's kind; and how many together."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
    return name if devices == 1 else f"{devices} x {name}"
