"""Names and types of the settings of a corpus (`conf/data`)."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class SplitSettings:
    """Which singers or recordings test, validate and train: lists, or text files with one name per line."""

    by: str = "singer"  # or recording
    test: Any = field(default_factory=list)  # test singers
    validation: Any = field(default_factory=list)
    train: Any = None  # null: all others


@dataclass
class DataSettings:
    """A corpus; see `singtech.corpus.clip_store.prepare`."""

    name: str = MISSING
    root: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    labels: str | None = None  # a CSV with path, singer, technique (data=table)
    techniques: list[str] | None = None  # null: all of the source
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
    long_tail: float | None = None  # thin the training recordings: the most common technique to the rarest
    long_tail_order: list[str] | None = None  # its techniques, most common first
    long_tail_total: int | None = None  # its training clips in all
    long_tail_seed: int = 0  # which recordings it keeps
    train_contexts: list[str] | None = None
    test_contexts: list[str] | None = None
