"""Names and types of all settings, which Hydra checks when it composes a configuration.

The class of a component (loss, model …) defines its settings. They are checked when the component is built.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from singtech.corpus.settings import DataSettings

COMPONENTS = ("front_end", "loss", "sampler", "augment", "optimizer", "head", "model", "corruption")


@dataclass
class DeformableSettings:
    """Which layers are deformable."""

    layers: list[int] = MISSING  # numbers of the deformable layers, 1 to 4


@dataclass
class StrategySettings:
    """The phases, see `singtech.training.phases`; and components of a phase that the command line can set."""

    phases: list[Any] = MISSING  # phases in their order, see singtech.training.phases
    mix: Any = None  # how a phase mixes clips, see singtech.imbalance.mixing
    rewrite: Any = None  # how a phase rewrites the head, see singtech.imbalance.rewrites


@dataclass
class ScheduleSettings:
    """Epochs of the two phases, and the course of the learning rate."""

    features: int = MISSING
    classifier: int = MISSING
    max_batches: int | None = None
    decay: str = "none"
    offset_rate: float = 1.0
    average: float | None = None
    last_epochs: int | None = None
    joint_rate: float | None = None
    label_smoothing: float = 0.0


@dataclass
class RetrainingSettings:
    """How the classifier is re-trained."""

    init: str = "scratch"
    extractor: str = "eval"
    learning_rate: float | None = None
    penalty: float = 1e-3


@dataclass
class TrainerSettings:
    """How a run is computed."""

    accelerator: str = "auto"
    devices: int = 1
    deformable: str = "auto"
    deterministic: bool = False
    resident: bool = True
    progress: bool = True


@dataclass
class LoggerSettings:
    """Lightning loggers, and the optional package that they need."""

    loggers: list[Any] = field(default_factory=list)  # loggers of Lightning
    needs: str | None = None  # the optional package that they need


@dataclass
class ScoringSettings:
    """What a score is of, see `singtech.training.fit.Scoring`."""

    unit: str = "clip"
    hop: float = 0.5


@dataclass
class LooksSettings:
    """What `singtech offsets` draws."""

    recording: str | None = None
    start: float | None = None
    seconds: float | None = None
    hertz: float | None = None
    layer: int | None = None
    split: str = "test"
    animation: bool = True


@dataclass
class Settings:
    """The root of the configuration."""

    output_dir: str = "outputs"
    label: str = ""
    seed: int = 0
    alpha: float = 0.2
    batch_size: int = 64
    drop_last: bool = False
    precision: str = "32-true"
    batch_norm: str = "recalibrated"
    selection: str = "last"
    rounding: int = 0
    forest: Any = None
    experiment: dict[str, Any] | None = None  # a table or figure, set by experiments=
    data: DataSettings = field(default_factory=DataSettings)
    front_end: dict[str, Any] = field(default_factory=dict)
    dc: DeformableSettings = field(default_factory=DeformableSettings)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    loss: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    retraining: RetrainingSettings = field(default_factory=RetrainingSettings)
    corruption: dict[str, Any] = field(default_factory=dict)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logger: LoggerSettings = field(default_factory=LoggerSettings)
    looks: LooksSettings = field(default_factory=LooksSettings)


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
