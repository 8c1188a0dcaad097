"""Kinds of phases, and the keys by which finished phases are stored.

A strategy is a list of phases, defined in `conf/strategy`. A phase's key is a hash of all that decides its outcome: the
setup that all phases of a run share, the phases before it, and its own settings. Only differences from the defaults in
the Python signatures are hashed (`singtech.components.describe`). Paths, loggers, display names and the machine are not
hashed, except its precision and number of devices.

A user's own kind of phase is a subclass of one of these.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from singtech.components import build, describe, import_component, unwrap
from singtech.errors import InvalidValue, require, require_choice
from singtech.imbalance.losses import WeightedCrossEntropy
from singtech.imbalance.minimum import PENALTY, fit_to_minimum
from singtech.imbalance.samplers import Natural
from singtech.models.network import Network, initialise
from singtech.training.protocols import Augmentation, Constraint, Learnable, Loss, Mixture, Optimizer, Rewrite, Sampler

# Increase it when a default or the meaning of a setting changes: stored phases are then not used.
SCHEMA = 2
STATISTICS = ("recalibrated", "running")  # of batch norm in evaluation
PASSES = 20  # over the training clips for features under dropout

Features = Callable[[], tuple[Tensor, Tensor]]  # gives (N, D) features and (N,) targets


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stage of training.

    Attributes:
        trains: `network`, `head`, or "" for a phase without training.
        stores_weights: whether its network is stored.
        words: what it does, for phases without epochs.
        name: for display; not part of the key.
        epochs: number of epochs.
    """

    trains: ClassVar[str] = ""
    words: ClassVar[str] = ""
    stores_weights: ClassVar[bool] = True
    name: str = field(default="", compare=False)
    epochs: int = 0

    @property
    def changes_extractor(self) -> bool:
        """Whether the phase changes the extractor, so that features must be computed again."""
        return self.trains == "network"

    @property
    def needs_running_statistics(self) -> bool:
        """Whether the phase begins with batch norm's running statistics of the previous phase."""
        return self.trains == "network"

    def begin(self, network: Network, seed: int) -> nn.Module | None:
        """Prepare a network that has the weights of the previous phase.

        Returns:
            A module to train in place of the head's own weights, or None.
        """

    def finish(self, network: Network, class_counts: Tensor, learnable: nn.Module | None, features: Features) -> None:
        """Change the network after the last epoch.

        Args:
            class_counts: (K,) training clips of each technique.
            learnable: the trained module from `begin`.
            features: gives the training clips' (N, D) features and (N,) targets.
        """

    def describe(self) -> str:
        """Describe the phase in a few words."""
        return self.words or f"{self.epochs} epochs of the {self.trains}"


@dataclass(frozen=True, kw_only=True)
class Training(Phase):
    """A phase with epochs.

    Args:
        optimizer: called with the parameters.
        loss: built with the class counts.
        sampler: built with the targets.
        learning_rate: replaces the optimizer's own `lr`, as in the published code's re-training (1e-5).
        decay: of the learning rate to 0 over the phase's steps: `none`, `linear`, `cosine`, or `warmup_cosine`, which
            first rises.
        mix: mixes the clips of a batch; built with the class counts; None for no mixing.
        last_epochs: the phase's result is the mean of the weights after its last so many epochs (Izmailov et al. 2018);
            for a linear head the mean of their predictions. Of fewer epochs, all count. None for the last weights.
    Raises:
        InvalidValue: no epochs, a learning rate that is not above 0, an unknown decay, or no last epochs.
    """

    optimizer: Optimizer
    loss: Callable[..., Loss] = WeightedCrossEntropy
    sampler: Callable[..., Sampler] = Natural
    learning_rate: float | None = None
    decay: str = "none"
    mix: Callable[..., Mixture] | None = None
    last_epochs: int | None = None

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "a phase's epochs", self.epochs, "a whole number from 1 up")
        is_rate = self.learning_rate is None or self.learning_rate > 0
        require(is_rate, "a phase's learning_rate", self.learning_rate, "a number above 0, or null")
        require_choice("a phase's decay", self.decay, ("none", "linear", "cosine", "warmup_cosine"))
        is_count = self.last_epochs is None or self.last_epochs >= 1
        require(is_count, "a phase's last_epochs", self.last_epochs, "a whole number from 1 up, or null")

    @property
    def is_on_features(self) -> bool:
        """Whether it trains on (N, D) features that are computed once."""
        return self.trains == "head" and not self.changes_extractor

    @property
    def optimizer_settings(self) -> Optimizer:
        """The optimizer with the phase's learning rate."""
        if self.learning_rate is None:
            return self.optimizer
        target, settings = unwrap(self.optimizer)  # a partial of Hydra's partial would stay nested
        return functools.partial(target, **settings | {"lr": self.learning_rate})


@dataclass(frozen=True, kw_only=True)
class TrainNetwork(Training):
    """Train extractor and head together, from the weights of the previous phase.

    Args:
        augment: built with the sample rate; None for no augmentation.
        offset_rate: factor on the learning rate of the layers that predict offsets. With the rate of the others, their
            offsets can grow beyond the map.
        average: decay per step of an exponential moving average of the weights, which are the phase's result; None for
            the last weights.
        label_smoothing: share of each label that is spread over all techniques, from 0 up, below 1. Above 0 the loss
            must accept (B, K) shares, as for `mix`.
    Raises:
        InvalidValue: the factor is not above 0, the decay is not between 0 and 1, or the smoothing is out of range; see
            also `Training`.
    """

    trains: ClassVar[str] = "network"
    augment: Callable[..., Augmentation] | None = None
    offset_rate: float = 1.0
    average: float | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.offset_rate > 0, "a phase's offset_rate", self.offset_rate, "a number above 0")
        is_decay = self.average is None or 0 < self.average < 1
        require(is_decay, "a phase's average", self.average, "a number between 0 and 1, or null")
        is_share = 0 <= self.label_smoothing < 1
        require(is_share, "a phase's label_smoothing", self.label_smoothing, "a number from 0 up and below 1")
        if self.average is not None and self.last_epochs is not None:
            raise InvalidValue("average and last_epochs in a phase: both average weights, expected one of them.")


@dataclass(frozen=True, kw_only=True)
class TrainHead(Training):
    """Train the head "after fixing the weights of the feature extractor part" (Section 3.3).

    Args:
        init: `scratch` draws new weights first, as Kang et al. (2020) do; `warm` keeps the head's weights.
        extractor: mode of the fixed extractor: `eval`, `train` or `dropout`. In `train` (the authors' published code)
            dropout and batch statistics are active, so features change from batch to batch. In `dropout`, only dropout
            is active. The features are computed `PASSES` times, and each epoch uses the next ones.
        learns: built with the head and trained in its place; None to train the head's own weights.
        constraint: built with the head and called with it after every step; None for no constraint.
    """

    trains: ClassVar[str] = "head"
    init: str = "warm"
    extractor: str = "eval"
    learns: Callable[..., Learnable] | None = None
    constraint: Callable[..., Constraint] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("a phase's init", self.init, ("warm", "scratch"))
        require_choice("a phase's extractor", self.extractor, ("eval", "train", "dropout"))

    @property
    def changes_extractor(self) -> bool:
        return self.extractor == "train"

    def begin(self, network: Network, seed: int) -> nn.Module | None:
        if self.init == "scratch":
            initialise(network.classifier, seed, prefix="anew/classifier")
        return build(self.learns, head=network.classifier) if self.learns is not None else None

    def finish(self, network: Network, class_counts: Tensor, learnable: Any, features: Features) -> None:
        if learnable is not None:
            learnable.fold(network.classifier)


@dataclass(frozen=True, kw_only=True)
class RewriteHead(Phase):
    """Change the weights of the head by a formula, without training.

    Args:
        rewrite: built with its settings, then called with `head` and `class_counts`; if it has `needs_features`, also
            with the training clips' `features` and `targets`.
    """

    words: ClassVar[str] = "rewrite of the head"
    rewrite: Callable[..., Rewrite]

    def finish(self, network: Network, class_counts: Tensor, learnable: nn.Module | None, features: Features) -> None:
        rewrite = self.rewrite()
        inputs = dict(zip(("features", "targets"), features(), strict=True)) if needs_features(rewrite) else {}
        rewrite(head=network.classifier, class_counts=class_counts, **inputs)


@dataclass(frozen=True, kw_only=True)
class FitHead(Phase):
    """Fit the head to the minimum of cross-entropy + penalty * |W|^2 on the training clips' features.

    Unlike `TrainHead`, its result does not depend on epochs, optimizer or learning rate.

    Args:
        loss: built with the class counts; only its attribute `weights` counts, the techniques' weights, if it has it.
        penalty: lambda, above 0.
        extractor: `eval`, or `dropout` for features under dropout, `PASSES` of each clip.
    Raises:
        InvalidValue: the penalty is not above 0, or the mode of the extractor is unknown.
    """

    loss: Callable[..., Loss] = WeightedCrossEntropy
    penalty: float = PENALTY
    extractor: str = "eval"

    def __post_init__(self) -> None:
        require(self.penalty > 0, "a phase's penalty", self.penalty, "a number above 0")
        require_choice("a phase's extractor", self.extractor, ("eval", "dropout"))

    def finish(self, network: Network, class_counts: Tensor, learnable: nn.Module | None, features: Features) -> None:
        head = network.classifier
        if not isinstance(head, nn.Linear) or head.bias is None:
            raise InvalidValue(f"FitHead: the head is {type(head).__name__}, expected head=linear.")
        loss = build(self.loss, class_counts=class_counts)
        weights = getattr(loss, "weights", torch.ones(len(class_counts)))
        fit_to_minimum(head, *features(), weights, self.penalty)

    def describe(self) -> str:
        return f"head at the minimum with penalty {self.penalty:g}"


def needs_features(rewrite: object) -> bool:
    """Whether a rewrite of the head is called with features."""
    return bool(getattr(rewrite, "needs_features", False))


@dataclass(frozen=True, kw_only=True)
class Pretrained(Phase):
    """The network as it was built, stored so that its features are computed once."""

    words: ClassVar[str] = "the network as it was built"


@dataclass(frozen=True, kw_only=True)
class Encode(Phase):
    """A frozen encoder, stored without its weights; the features of all clips are computed once for all its runs."""

    stores_weights: ClassVar[bool] = False
    words: ClassVar[str] = "the frozen encoder"


@dataclass(frozen=True, kw_only=True)
class Standardise(Phase):
    """Set the mean and deviation by which a frozen encoder's features are scaled to those of the training clips."""

    words: ClassVar[str] = "mean and deviation of each feature"

    def finish(self, network: Network, class_counts: Tensor, learnable: nn.Module | None, features: Features) -> None:
        network.extractor.set_statistics(features()[0])  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class RunningStatistics(Phase):
    """The previous phase's network with the running statistics of training, which are stored beside recalibrated ones.

    So networks with either statistics come from one training.
    """

    changes_extractor = needs_running_statistics = True
    words: ClassVar[str] = "running statistics of batch norm, as training left them,"


def read_phases(
    entries: Sequence[Mapping], batch_norm: str = "recalibrated", is_frozen: bool = False
) -> tuple[Phase, ...]:
    """Read the phases of a strategy's `phases` list.

    If the first phase does not train the network, a `Pretrained` phase is put before it.

    Args:
        entries: of the list.
        batch_norm: statistics in evaluation, one of `STATISTICS`.
        is_frozen: whether the network cannot be trained, see `freeze`.
    Raises:
        InvalidValue: there are no phases, a phase has an unknown setting or lacks one, or the statistics are unknown.
    """
    require_choice("batch_norm", batch_norm, STATISTICS)
    if not isinstance(entries, list | tuple) or not entries:
        raise InvalidValue("strategy.phases: expected a list of at least one phase.")
    phases = [_read_phase(entry, number) for number, entry in enumerate(entries)]
    if is_frozen:
        return (Encode(name="encoder"), Standardise(name="statistics"), *freeze(phases))
    if phases[0].trains != "network":
        phases.insert(0, Pretrained(name="network"))
    return tuple(phases) if batch_norm == "recalibrated" else with_running_statistics(phases)


def freeze(phases: Sequence[Phase]) -> list[Phase]:
    """Change a strategy for a frozen network, of which only the head can be trained.

    A phase that trains the network trains the head alone, in the same way. It is left out where the next phase draws or
    computes a new head, which would not depend on it.

    Raises:
        InvalidValue: no phase is one of the head, or a setting needs features that change.
    """
    if all(phase.trains == "network" for phase in phases):
        raise InvalidValue(
            "strategy: all of its phases train the network, and this one is frozen; use strategy=head, or another one "
            "with a phase of the head."
        )
    kept: list[Phase] = []
    needs_head = False  # whether the phase behind goes on from the head before it
    for phase in reversed(phases):
        if getattr(phase, "augment", None) is not None:
            raise InvalidValue("augment: a frozen network's features are computed once; use augment=none.")
        if (mode := getattr(phase, "extractor", "eval")) != "eval":
            raise InvalidValue(f"extractor={mode} in a phase: a frozen network has no other mode than eval.")
        if isinstance(phase, Training) and phase.trains == "network":
            if needs_head:
                names = [field.name for field in fields(Training)]
                kept.append(TrainHead(**{name: getattr(phase, name) for name in names}))
            continue
        kept.append(phase)
        if isinstance(phase, RewriteHead):
            needs_head = not needs_features(phase.rewrite())
        else:
            needs_head = getattr(phase, "init", "") == "warm"
    return kept[::-1]


def with_running_statistics(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Put `RunningStatistics` after each phase that changes the extractor, unless the next one trains it further."""
    inserted: list[Phase] = []
    for phase, following in zip(phases, [*phases[1:], None], strict=True):
        inserted.append(phase)
        if phase.changes_extractor and getattr(following, "trains", "") != "network":
            inserted.append(RunningStatistics(name="statistics"))
    return tuple(inserted)


def _read_phase(entry: Mapping, number: int) -> Phase:
    setting = f"strategy.phases[{number}]"
    kind = import_component(entry, setting) if isinstance(entry, Mapping) and entry.get("_target_") else None
    if kind is None:
        raise InvalidValue(f"{setting}: expected a phase with a _target_, such as singtech.training.phases.TrainHead.")
    try:
        phase = kind()
    except TypeError as problem:
        raise InvalidValue(f"{setting}: {problem}.") from None
    if not isinstance(phase, Phase):
        raise InvalidValue(f"{setting}: {kind.func.__name__} is no subclass of singtech.training.phases.Phase.")
    return phase


def phase_keys(setup: object, phases: Sequence[Phase]) -> tuple[str, ...]:
    """Compute the key of each phase of a run: 16 hexadecimal digits.

    Args:
        setup: a dataclass with the other settings that decide the outcome (network, training clips, seed …).
        phases: in order; each key includes the phases before it.
    """
    keys = []
    key = digest({"schema": SCHEMA, "setup": describe(setup)})
    for phase in phases:
        key = digest({"before": key, "phase": describe(phase)})
        keys.append(key)
    return tuple(keys)


def digest(value: object) -> str:
    """Hash a plain value: the first 16 hexadecimal digits of its SHA-256."""
    text = json.dumps(describe(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
