"""Train one phase of a run from the stored phases before it, and return what the store keeps."""

import functools
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from torch import Tensor

from singtech.components import build, describe, unwrap
from singtech.corpus.clip_store import Corpus
from singtech.corpus.datamodule import VocalSetDataModule
from singtech.errors import InvalidValue, require, require_choice
from singtech.imbalance.losses import ClassBalanced, WeightedCrossEntropy
from singtech.imbalance.minimum import PENALTY, above_minimum
from singtech.imbalance.samplers import Natural
from singtech.io.interrupts import raise_if_signalled
from singtech.io.terminal import progress_bar
from singtech.models.network import Architecture, Network, perturb
from singtech.streams import derive_seed
from singtech.training import augmentation
from singtech.training.augmentation import margin_of
from singtech.training.callbacks import (
    BestEpoch,
    EpochCheckpoint,
    FreezeExtractor,
    LastEpochs,
    Progress,
    ValidateRecalibrated,
)
from singtech.training.forest import Forest
from singtech.training.loggers import finish_loggers
from singtech.training.module import TechniqueModule
from singtech.training.phase_store import CHECKPOINT, Outcome, StoredPhase, find_checkpoint, read_checkpoint
from singtech.training.phases import (
    PASSES,
    SCHEMA,
    Features,
    FitHead,
    Phase,
    RunningStatistics,
    TrainHead,
    Training,
    digest,
    phase_keys,
)
from singtech.training.protocols import Augmentation
from singtech.training.recalibration import list_norms, recalibrate
from singtech.training.trainer import PRECISIONS, Machine, handle_interrupts, raise_from_processes

NOT_IN_RECIPE = ("seed", "rounding", "training_clips", "validation_clips")
FROZEN_BATCH = 16  # clips at a time; not the run's, so that all runs share bits
VALIDATION_MOMENT_CLIPS = 512  # training clips for batch-norm statistics when validation singers are scored


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Settings that decide the outcome of all phases of a run. They are part of the phases' keys.

    Args:
        network: front end, extractor and head.
        seed: of initial weights, order of clips and dropout.
        training_clips: fingerprint of the corpus's training clips.
        validation_clips: fingerprint of its validation clips if they select an epoch, "" otherwise.
        batch_size: clips per step.
        drop_last: leave out an epoch's last, smaller batch.
        max_batches: maximum number of training batches per epoch, for smoke tests; None for all.
        selection: a phase keeps its `last` epoch, or the one with the `best` macro F1 on the validation singers.
        precision: one of `PRECISIONS`, Lightning's names.
        devices: number of devices that train together.
        rounding: number of the perturbation of the initial weights, see `perturb`; 0 for none.
    """

    network: Architecture = field(default_factory=Architecture)
    seed: int
    training_clips: str
    validation_clips: str = ""
    batch_size: int = 64
    drop_last: bool = False
    max_batches: int | None = None
    selection: str = "last"
    precision: str = "32-true"
    devices: int = 1
    rounding: int = 0

    def __post_init__(self) -> None:
        require_choice("selection", self.selection, ("last", "best"))
        require_choice("precision", self.precision, PRECISIONS)
        is_count = self.max_batches is None or self.max_batches >= 1
        require(is_count, "schedule.max_batches", self.max_batches, "a whole number from 1 up, or null")
        for name in ("seed", "rounding"):
            require(abs(getattr(self, name)) < 2**63, name, getattr(self, name), "a whole number below 2**63")
        require(self.devices >= 1, "trainer.devices", self.devices, "how many devices share a batch, from 1 up")
        is_enough = self.batch_size >= 2 * self.devices
        require(is_enough, "batch_size", self.batch_size, "two clips or more for each of trainer.devices")


@dataclass(frozen=True)
class Scoring:
    """What a run's score is of. It changes no phase.

    Args:
        unit: `clip`, or `recording`: the mean log-probability of overlapping windows.
        hop: from one window of a recording to the next, as a share of a clip.
        corruption: changes the clips, see `singtech.training.corruptions`; built with the sample rate.
    Raises:
        InvalidValue: the unit is unknown, or the hop is not above 0 and at most 1.
    """

    unit: str = "clip"
    hop: float = 0.5
    corruption: Callable[..., Augmentation] | None = None

    def __post_init__(self) -> None:
        require_choice("scoring.unit", self.unit, ("clip", "recording"))
        require(0 < self.hop <= 1, "scoring.hop", self.hop, "a share of a clip, above 0 and at most 1")

    @property
    def details(self) -> list:
        """What tells its features from those of the clips as they are; nothing for the clips as they are."""
        details: list = [] if self.unit == "clip" else ["windows", self.hop]
        return details + ([] if self.corruption is None else ["corruption", describe(self.corruption)])


@dataclass(frozen=True)
class Run:
    """A condition with a seed on a corpus.

    Args:
        names: data, fold, model, dc, strategy, alpha and settings, as in the row.
        setup: see `Setup`.
        phases: the strategy.
        samples: S, samples per clip.
        techniques: K.
        sample_rate: in Hz.
        forest: classifies the features in place of the head; None for the head.
        scoring: what the score is of.
    """

    names: Mapping[str, Any]
    setup: Setup
    phases: tuple[Phase, ...]
    samples: int
    techniques: int
    sample_rate: int
    forest: Forest | None = None
    scoring: Scoring = field(default_factory=Scoring)

    def build(self) -> Network:
        """Build the network with its initial weights."""
        network = self.setup.network.build(self.samples, self.techniques, self.sample_rate, self.setup.seed)
        if self.setup.rounding:
            perturb(network, self.setup.rounding)
        return network

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of its phases."""
        keys = phase_keys(self.setup, self.phases)
        if not self.setup.network.is_frozen:
            return keys
        # its features depend on nothing else: all seeds, heads, folds and corpora share them
        encoder = {"schema": SCHEMA, "encoder": self.setup.network.encoder, "precision": self.setup.precision}
        return (digest(encoder), *keys[1:])

    @functools.cached_property
    def recipe(self) -> str:
        """Hash of all that decides the outcome except corpus and seed, in 16 hexadecimal digits.

        Two runs with the same settings have different recipes if a class or settings file of the user has changed.
        """
        setup = describe(self.setup)
        shared = {name: setup[name] for name in setup if name not in NOT_IN_RECIPE}
        scoring = {} if self.scoring == Scoring() else {"scoring": self.scoring}
        return digest({"setup": shared, "phases": self.phases, "forest": self.forest} | scoring)

    def name(self, test_clips: str) -> str:
        """Name the run's folder: a readable part, and a hash of its last phase and of the test clips."""
        names = self.names
        data = names["data"] + (f"-fold_{names['fold']}" if names["fold"] else "")
        slug = f"{data}-{names['model']}-dc_{names['dc']}-{names['strategy']}-alpha_{names['alpha']:g}"
        settings: list[object] = [self.keys[-1], test_clips]
        if self.forest is not None:
            settings += [describe(self.forest), names["alpha"]]
        if self.scoring != Scoring():
            settings.append(describe(self.scoring))
        return f"{slug}-seed_{self.setup.seed}-{digest(settings)[:8]}"


@dataclass(frozen=True)
class Task:
    """One phase of a run to train.

    Args:
        run: the condition and seed.
        number: the phase's position in the run, from 0.
        previous: the phases before it.
        corpus: with the training clips.
        work_folder: holds the checkpoint of the last finished epoch.
        machine: where and how to compute.
        title: of the progress bar.
        require_lease: called after every epoch; raises `LeaseLost` if another process has taken over the phase.
        after_epoch: called after every epoch but the last, see `Progress`.
    """

    run: Run
    number: int
    previous: tuple[StoredPhase, ...]
    corpus: Corpus
    work_folder: Path
    machine: Machine
    title: str = ""
    require_lease: Callable[[], None] | None = None
    after_epoch: Callable[[int, int, float], None] | None = None

    @property
    def phase(self) -> Phase:
        """The phase to train."""
        return self.run.phases[self.number]


def train_phase(task: Task) -> Outcome:
    """Train one phase of a run. Continue from the checkpoint in its work folder if there is one."""
    phase, setup, corpus, machine = task.phase, task.run.setup, task.corpus, task.machine
    start, device = time.perf_counter(), machine.device
    network = machine.set_backend(task.run.build(), device)
    if task.previous:
        _load_previous(task, network)
    learnable = phase.begin(network, setup.seed)
    optimizer_state: dict = {}
    curve: list[dict[str, float]] = []
    data = _data_module(task, device)
    epoch = data.first_epoch
    if isinstance(phase, Training):
        optimizer_state, curve, epoch = _fit(task, phase, network, learnable, data)
        start = time.perf_counter()
    features = functools.partial(_head_inputs, task)
    phase.finish(network, torch.from_numpy(corpus.counts("train")), learnable, features)
    running: dict[str, Tensor] = {}
    if phase.changes_extractor and not isinstance(phase, RunningStatistics) and list_norms(network):
        left = {name: value.cpu().clone() for name, value in network.named_buffers()}
        _recalibrate(network, data, setup.max_batches, device, machine)
        running = {name: left[name] for name, value in network.named_buffers() if not value.cpu().equal(left[name])}
    network.cpu()
    head_gap = _head_gap(task, network.classifier, features)
    record = {
        "phase": {"name": phase.name, "trains": phase.trains, "says": phase.describe()} | describe(phase),
        "setup": describe(setup),
        "before": [stored.key for stored in task.previous],
        "epoch": epoch,
        "seconds": round(sum(entry["seconds"] for entry in curve) + time.perf_counter() - start, 3),
        "device": device_name(device, machine.devices),
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
        "torch": torch.__version__,
    } | ({} if head_gap is None else {"head_gap": head_gap})
    weights = network.state_dict() if phase.stores_weights else {}
    return Outcome(weights, optimizer_state, curve, record, running)


def _head_gap(task: Task, head: torch.nn.Module, features: Features) -> float | None:
    """How much the penalised loss of a re-trained head is above its minimum, see `above_minimum`.

    Returns:
        None if the head is not linear with biases, its features move, or its objective is another than cross-entropy
        with weights.
    """
    phase = task.phase
    if not isinstance(phase, TrainHead | FitHead) or not isinstance(head, torch.nn.Linear) or head.bias is None:
        return None
    is_plain = phase.extractor != "train"
    if isinstance(phase, TrainHead):
        is_natural = unwrap(phase.sampler)[0] is Natural
        is_plain = is_plain and is_natural and phase.mix is None and phase.learns is None and phase.constraint is None
    criterion = build_loss(phase, task.corpus)
    if not is_plain or type(criterion) not in (WeightedCrossEntropy, ClassBalanced):
        return None
    return above_minimum(head, *features(), criterion.weights, getattr(phase, "penalty", PENALTY))


def _load_previous(task: Task, network: Network) -> None:
    """Load the previous phase; refuse one that an earlier version stored without the running statistics needed."""
    previous = task.previous[-1]
    previous.load_into(network, task.phase.needs_running_statistics)
    if isinstance(task.phase, RunningStatistics) and list_norms(network) and not previous.has_running_statistics:
        raise InvalidValue(
            f"batch_norm=running: an earlier version trained {previous.folder} and stored no running statistics; "
            "give another output_dir to train it again."
        )


def _data_module(task: Task, device: torch.device) -> VocalSetDataModule:
    """Make the batches of a phase: waveforms, or features if the extractor is fixed."""
    run, corpus, phase = task.run, task.corpus, task.phase
    features = resident = sampler = None
    margin = margin_of(_build_part(phase, "augment", sample_rate=corpus.sample_rate))
    if isinstance(phase, Training):
        sampler = build(phase.sampler, targets=torch.from_numpy(corpus.targets("train")))
        if phase.is_on_features:
            features = {"train": _head_inputs(task)[0].numpy()}
            if len(corpus.rows("validation")):
                features["validation"] = clip_features(run, task.previous, corpus, "validation", task.machine)
        else:
            resident = task.machine.load_clips(device, corpus)
    first_epoch, setup = sum(each.epochs for each in run.phases[: task.number]), run.setup
    options = (setup.drop_last, features, sampler, resident, margin)
    return VocalSetDataModule(corpus, setup.batch_size, setup.seed, first_epoch, phase.epochs, *options)


def _build_part(phase: Phase, part: str, **arguments: object) -> Any:
    """Build an optional component of a phase; None if the phase has none."""
    component = getattr(phase, part, None)
    return None if component is None else build(component, **arguments)


def _head_inputs(task: Task) -> tuple[Tensor, Tensor]:
    """Get (N, D) features and (N,) targets of the training clips for a head phase; under dropout `PASSES` times N."""
    passes = range(1, PASSES + 1) if getattr(task.phase, "extractor", "eval") == "dropout" else (0,)
    features = functools.partial(clip_features, task.run, task.previous, task.corpus, "train", task.machine)
    targets = np.tile(task.corpus.targets("train"), len(passes))
    return torch.from_numpy(np.concatenate([features(number) for number in passes])), torch.from_numpy(targets)


def _fit(
    task: Task, phase: Training, network: Network, learnable: torch.nn.Module | None, data: VocalSetDataModule
) -> tuple[dict, list[dict[str, float]], int]:
    """Train the epochs of a phase; load the weights of its selected epoch into the network.

    Returns:
        The optimizer's state, the curve, and the selected epoch.
    """
    run, setup, corpus, machine = task.run, task.run.setup, task.corpus, task.machine
    criterion = build_loss(phase, corpus)
    loss_weights = dict(criterion.named_parameters()) if isinstance(criterion, torch.nn.Module) else {}
    optimizer_state = None
    if task.previous:
        optimizer_state = _previous_optimizer_state(phase, run.phases[task.number - 1], task.previous[-1], loss_weights)
    if loss_weights and optimizer_state is not None:
        criterion.load_state_dict(optimizer_state["criterion"], strict=False)  # its buffers are those of this phase
    module = TechniqueModule(
        network,
        phase,
        criterion,
        len(corpus.techniques),
        setup.seed,
        first_epoch=data.first_epoch,
        optimizer_state=optimizer_state,
        augment=_build_part(phase, "augment", sample_rate=corpus.sample_rate),
        learnable=learnable,
        batch_clips=data.batch_clips,
        mix=_build_part(phase, "mix", class_counts=torch.from_numpy(corpus.counts("train"))),
        constraint=_build_part(phase, "constraint", head=network.classifier),
        batch_size=setup.batch_size,
    )
    checkpoint = task.work_folder / CHECKPOINT
    callbacks: list[Callback] = [Progress(task.title, machine.progress, task.after_epoch)]
    if setup.selection == "best":
        callbacks.append(BestEpoch())
    if isinstance(phase, TrainHead):
        callbacks.append(FreezeExtractor(phase.extractor))
    elif list_norms(network):
        batches = max(1, VALIDATION_MOMENT_CLIPS // setup.batch_size)
        callbacks.append(ValidateRecalibrated(functools.partial(_waveforms, data, batches)))
    average = getattr(phase, "average", None)
    if average is not None:
        callbacks.append(EMAWeightAveraging(use_buffers=False, decay=average))
    if phase.last_epochs is not None:
        callbacks.append(LastEpochs(phase.last_epochs))
    callbacks.append(EpochCheckpoint(checkpoint, task.require_lease))
    phase_info = {"phase": task.title, "key": run.keys[task.number], "run": run.name(corpus.fingerprint("test"))}
    phase_info |= {"seed": setup.seed} | {name: value for name, value in run.names.items() if name != "settings"}
    loggers = machine.loggers(task.work_folder / "logs", phase_info)
    trainer = machine.make_trainer(
        callbacks,
        devices=machine.devices,
        max_epochs=phase.epochs,
        limit_train_batches=setup.max_batches if setup.max_batches is not None else 1.0,
        logger=loggers,
    )
    with finish_loggers(loggers), handle_interrupts(trainer), raise_from_processes():
        trainer.fit(module, data, ckpt_path=find_checkpoint(checkpoint))
    state = read_checkpoint(checkpoint)  # for the case that other processes trained
    best = state["callbacks"].get(BestEpoch.__name__)
    if best is None:
        epoch = data.first_epoch + phase.epochs
        best = {"weights": state["state_dict"], "optimizer": state["optimizer_states"][0], "epoch": epoch}
    module.load_state_dict(best["weights"], strict=module.strict_loading)
    if loss_weights:  # for a later phase that continues training
        best["optimizer"] |= {"criterion": {name: value.detach() for name, value in loss_weights.items()}}
    return best["optimizer"], state["curve"], best["epoch"]


def _previous_optimizer_state(
    phase: Training, previous: Phase, stored: StoredPhase, loss_weights: Mapping[str, Tensor]
) -> dict | None:
    """Get the optimizer state of the previous phase; None if weights or optimizer differ by more than the rate.

    Args:
        phase: the phase to train.
        previous: the phase before it.
        stored: the result of the previous phase.
        loss_weights: the parameters of the phase's loss.
    """
    if not isinstance(previous, Training) or getattr(phase, "init", "warm") != "warm":
        return None
    if any(getattr(each, "learns", None) is not None for each in (phase, previous)):
        return None
    own, others = (
        (each.trains, getattr(each, "offset_rate", 1.0), describe(each.optimizer) | {"lr": None})
        for each in (phase, previous)
    )
    if own != others:
        return None
    state = stored.optimizer_state()
    shapes = [{n: v.shape for n, v in weights.items()} for weights in (state.get("criterion", {}), loss_weights)]
    is_same_loss = not loss_weights or unwrap(phase.loss)[0] is unwrap(previous.loss)[0]
    return state if is_same_loss and shapes[0] == shapes[1] else None


def build_loss(phase: Training | FitHead, corpus: Corpus) -> Any:
    """Build the loss of a phase for a corpus."""
    counts = torch.from_numpy(corpus.counts("train"))
    return build(phase.loss, class_counts=counts, techniques=corpus.techniques)


def _recalibrate(
    network: Network, data: VocalSetDataModule, max_batches: int | None, device: torch.device, machine: Machine
) -> None:
    """Estimate batch norm's statistics on the training clips."""
    batches = len(data.recalibration_loader())
    batches = min(batches, max_batches or batches)
    waveforms = _waveforms(data, batches, device)
    bar = progress_bar("statistics of batch norm", "batches", batches, machine.progress, items=waveforms)
    with machine.make_trainer().precision_plugin.forward_context():
        recalibrate(network.to(device), bar)


def _waveforms(data: VocalSetDataModule, batches: int, device: torch.device) -> Iterator[Tensor]:
    """Yield (B, S) waveforms of the first batches of training clips in random order, on a device."""
    for samples, _ in islice(data.recalibration_loader(), batches):
        yield data.waveforms(samples.to(device))


def clip_features(
    run: Run,
    stored: tuple[StoredPhase, ...],
    corpus: Corpus,
    subset: str,
    machine: Machine,
    dropout_pass: int = 0,
    scoring: Scoring | None = None,
) -> np.ndarray:
    """(N, D) features of a subset's clips, from the extractor after the last of the stored phases that changed it.

    A frozen encoder's features are standardised after its second phase.

    Args:
        run, stored, corpus, subset, machine: see `train_phase`.
        dropout_pass: 0 for evaluation; another number turns dropout on, seeded by it and the run's seed.
        scoring: windows of recordings instead of clips, or changed clips; None for the clips as they are.
    """
    scoring, is_frozen = scoring or Scoring(), run.setup.network.is_frozen
    changes = [number for number, phase in enumerate(run.phases[: len(stored)]) if phase.changes_extractor]
    source = stored[changes[-1] if changes else 0]

    def compute(subset: str) -> np.ndarray:
        device = machine.device
        network = machine.set_backend(run.build(), device)
        source.load_into(network)
        network.to(device).eval()
        if dropout_pass:
            for layer in network.modules():
                layer.train(isinstance(layer, torch.nn.Dropout))
            torch.manual_seed(derive_seed(run.setup.seed, f"dropout pass/{dropout_pass}"))
        batch_size = FROZEN_BATCH if is_frozen else run.setup.batch_size
        data = VocalSetDataModule(corpus, batch_size, resident=machine.load_clips(device, corpus))
        encode: Any = network.extractor.raw if is_frozen else network.extractor
        with torch.inference_mode(), machine.make_trainer().precision_plugin.forward_context():
            inputs = _inputs(network.front_end, run, data, subset, scoring, machine)
            return torch.cat([encode(values).float().cpu() for values in inputs]).numpy()

    clips = corpus.fingerprint(subset)
    details = (["dropout", dropout_pass] if dropout_pass else []) + scoring.details
    if is_frozen and not details:  # stored together, so that folds share them
        features = source.features(corpus.state, functools.partial(compute, ""))[corpus.rows(subset)]
    else:
        features = source.features(digest([clips, *details]) if details else clips, functools.partial(compute, subset))
    if not is_frozen:
        return features
    network = run.build()
    if len(stored) > 1:
        stored[-1].load_into(network)
    extractor: Any = network.extractor
    return extractor.standardise(torch.from_numpy(features)).numpy()


def _inputs(
    front_end: torch.nn.Module, run: Run, data: VocalSetDataModule, subset: str, scoring: Scoring, machine: Machine
) -> Iterator[Tensor]:
    """Yield the front end's outputs for a subset's clips or windows, or for all clips, on the machine's device."""
    device = machine.device
    loader = data.ordered_loader(subset, scoring.hop if scoring.unit == "recording" else None)
    title, place = f"features of {f'the {subset}' if subset else 'all'} {scoring.unit}s", 0
    corruption = build(scoring.corruption, sample_rate=run.sample_rate) if scoring.corruption else None
    changes = augmentation.stages(corruption)
    for clips, _ in progress_bar(title, "batches", len(loader), machine.progress, items=loader):
        seeds = [derive_seed(0, f"corruption/{number}") for number in range(place, place + len(clips)) if changes]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        waveforms = data.waveforms(clips.to(device))
        if "waveforms" in changes:
            waveforms = changes["waveforms"](waveforms, generators)
        values = front_end(waveforms)
        yield changes["spectrograms"](values, generators) if "spectrograms" in changes else values
        place += len(clips)
        raise_if_signalled()


def device_name(device: torch.device, devices: int = 1) -> str:
    """Name the GPU, or the kind of processor, with the number of devices if there are several."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
    return name if devices == 1 else f"{devices} x {name}"
