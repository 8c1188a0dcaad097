"""Names and types of the settings of a corpus (`conf/data`)."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class SplitSettings:
    """Which singers or recordings test, validate and train: lists, or text files with one name per line."""

    by: str = "singer"  # or recording
    test: Any = field(default_factory=list)
    validation: Any = field(default_factory=list)
    train: Any = None  # all others


@dataclass
class DataSettings:
    """A corpus; see `singtech.corpus.clip_store.prepare`."""

    name: str = MISSING
    root: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    labels: str | None = None
    techniques: list[str] | None = None
    split: SplitSettings = field(default_factory=SplitSettings)
    fold: int | None = None
    folds: int = 5
    inner_fold: int | None = None
    fold_singers: str = "all"
    clip_seconds: float = 3.0
    sample_rate: int = 44100
    remainder: str = "drop"
    trim_silence: float | None = None
    strict: bool = False
    long_tail: float | None = None
    long_tail_order: list[str] | None = None
    long_tail_total: int | None = None
    long_tail_seed: int = 0
    train_contexts: list[str] | None = None
    test_contexts: list[str] | None = None
