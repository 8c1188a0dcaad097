"""The metrics: each is one entry here, from which rows, tables, intervals, claims, reports and model cards follow.

The first five are the paper's (Section 4.1). A metric is a function of `Weighted`: the clips of a test set, what a run
says of each, and how often each clip counts. With every clip counted once it gives a run's score; without the clips of
one singer at a time its interval. This is the only definition of a final number. Curves drawn while training are not.

To add a metric, add an entry to `METRICS`; or, outside this file, call `register` before anything is collated. Older
runs get it from their predictions.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from singtech.errors import InvalidValue

EACH = "_*"  # ends the name of a metric of each technique: f1_* is f1_belt, f1_trill, …


@dataclass(frozen=True, eq=False)
class Weighted:
    """Predictions under R weightings of their clips.

    Attributes:
        targets: (N,) technique indices.
        logits: (N, K) one row a clip.
        weights: (R, N) how often each clip counts.
    """

    targets: np.ndarray
    logits: np.ndarray
    weights: np.ndarray

    @functools.cached_property
    def confusions(self) -> np.ndarray:
        """(R, K, K) clips by true technique (rows) and predicted technique (columns)."""
        techniques = self.logits.shape[1]
        pairs = np.zeros((len(self.targets), techniques**2), dtype=np.float32)
        pairs[np.arange(len(self.targets)), self.targets * techniques + self.logits.argmax(axis=1)] = 1
        return (self.weights @ pairs).reshape(-1, techniques, techniques).astype(float)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """(R, K) clips of each technique that are named right."""
        return np.einsum("rkk->rk", self.confusions)

    @functools.cached_property
    def true(self) -> np.ndarray:
        """(R, K) clips of each technique."""
        return self.confusions.sum(axis=2)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """(R, K) clips that each technique is predicted for."""
        return self.confusions.sum(axis=1)

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """(N,) place of the true technique among the logits, 0 the largest; of equal logits the first comes first."""
        order = np.argsort(-self.logits, axis=1, kind="stable")
        return (order == self.targets[:, None]).argmax(axis=1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(R,) the weighted mean over the clips of (N,) values; nan where no clip counts."""
        return ratio((self.weights @ np.asarray(values, dtype=np.float32)).astype(float), self.true.sum(axis=1))


@dataclass(frozen=True)
class Metric:
    """A number that says how good a run is.

    Attributes:
        label: in a sentence: macro-F1.
        function: of `Weighted`: (R,); or (R, K) if the metric's name ends in `EACH`. nan where it is not defined.
        heading: over a column; the label where it is "".
        higher_is_better: its direction.
    """

    label: str
    function: Callable[[Weighted], np.ndarray]
    heading: str = ""
    higher_is_better: bool = True


def f1_of_each(clips: Weighted) -> np.ndarray:
    """(R, K) F1 of each technique; nan of one without a clip."""
    return ratio(2 * clips.right, np.where(clips.true > 0, clips.true + clips.predicted, 0))


def recall_of_each(clips: Weighted) -> np.ndarray:
    """(R, K) share of each technique's clips that are named right, the class-wise accuracy of Section 5.1."""
    return ratio(clips.right, clips.true)


def accuracy(clips: Weighted) -> np.ndarray:
    """(R,) share of clips that are named right."""
    return ratio(clips.right.sum(axis=1), clips.true.sum(axis=1))


def top(k: int) -> Callable[[Weighted], np.ndarray]:
    """The share of clips whose technique is among the k largest logits, as a metric's function."""
    return lambda clips: clips.mean(clips.ranks < k)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """(R,) the mean of the numbers of each row of (R, K); nan where there is none."""
    values = values[:, np.isfinite(values).any(axis=0)]
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The shares, in the form of `part`; nan of nothing."""
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


# The macro averages run over the techniques that have a test clip.
METRICS: dict[str, Metric] = {
    "f1": Metric("macro-F1", lambda clips: mean_of_known(f1_of_each(clips)), "F1"),
    "accuracy": Metric("accuracy", accuracy, "Acc."),
    "balanced_accuracy": Metric("balanced accuracy", lambda clips: mean_of_known(recall_of_each(clips)), "B-Acc."),
    "top2_accuracy": Metric("top-2 accuracy", top(2), "Top-2"),
    "top3_accuracy": Metric("top-3 accuracy", top(3), "Top-3"),
    "f1_*": Metric("F1", f1_of_each),
    "recall_*": Metric("recall", recall_of_each),
}


ROW_COLUMNS = frozenset(  # which are no metric's
    "run condition data fold model dc strategy alpha seed settings parameters epochs seconds seconds_shared "
    "clips_train clips_test singers_test device precision torch commit status reason protocol recipe phases made_by "
    "finished versions command variant schema files digest differences".split()
)


def register(name: str, metric: Metric) -> None:
    """Add a metric from outside this file.

    Raises:
        InvalidValue: the name is taken, or no column can have it.
    """
    if name in ROW_COLUMNS or name in METRICS:
        raise InvalidValue(f"a metric named {name!r}: a run's row has a column of this name; give yours another name.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*(_\*)?", name):
        raise InvalidValue(f"a metric named {name!r}: expected small letters, digits and _, as in top2_accuracy.")
    METRICS[name] = metric


def overall() -> tuple[str, ...]:
    """The metrics of a whole test set, by name."""
    return tuple(name for name in METRICS if not name.endswith(EACH))


def prefixes() -> tuple[str, ...]:
    """What the columns of each technique's metrics begin with: f1_, recall_."""
    return tuple(name.removesuffix("*") for name in METRICS if name.endswith(EACH))


def is_metric(column: str) -> bool:
    """Whether a column holds a metric, of the whole test set or of a technique."""
    return column in METRICS or column.startswith(prefixes())


def technique_of(column: str) -> tuple[str, str] | None:
    """The metric and the technique of a column such as f1_lip_trill: (f1_*, lip_trill); None of another column."""
    begins = [prefix for prefix in prefixes() if column.startswith(prefix) and column not in METRICS]
    if not begins:
        return None
    prefix = max(begins, key=len)
    return f"{prefix}*", column.removeprefix(prefix)


def label(column: str) -> str:
    """A column in a sentence: macro-F1, or F1 of lip trill."""
    return _words(column, lambda metric: metric.label, "{metric} of {technique}")


def heading(column: str) -> str:
    """What stands over a column: F1; of a technique's metric the technique."""
    return _words(column, lambda metric: metric.heading or metric.label, "{technique}")


def is_higher_better(column: str) -> bool:
    """The direction of a column's metric; higher is better in a column of no metric."""
    of_technique = technique_of(column)
    metric = METRICS.get(of_technique[0] if of_technique else column.removeprefix("validation_"))
    return metric is None or metric.higher_is_better


def headline(row: Mapping) -> str:
    """The metrics of a whole test set that a row holds, on one line: F1 0.612  Acc. 0.656 …"""
    known = [name for name in overall() if isinstance(row.get(name), int | float) and row[name] == row[name]]
    return "  ".join(f"{heading(name)} {row[name]:.3f}" for name in known)


def lacking(row: Mapping) -> list[str]:
    """The metrics that a row does not hold, as one that was scored before they were added."""
    lacks = [name for name in overall() if name not in row]
    return lacks + [f"{prefix}*" for prefix in prefixes() if not any(column.startswith(prefix) for column in row)]


def scores(targets: np.ndarray, logits: np.ndarray, techniques: Sequence[str]) -> dict[str, float]:
    """Every metric of a test set, each clip counted once.

    Args:
        targets: (N,) technique indices.
        logits: (N, K) one row a clip.
        techniques: the K names.
    Returns:
        The metrics of the whole, then those of each technique, which are nan of a technique without a test clip.
    Raises:
        InvalidValue: no clips, or logits that are not finite.
    """
    if not len(targets):
        raise InvalidValue("no test clip to score: does the split name a test singer?")
    broken = np.sum(~np.isfinite(logits).all(axis=1))
    if broken:
        raise InvalidValue(f"{broken} of {len(logits)} clips have logits that are not finite.")
    every = np.ones((1, len(targets)), dtype=np.float32)
    return {name: float(values[0]) for name, values in weighted_scores(targets, logits, techniques, every).items()}


def weighted_scores(
    targets: np.ndarray, logits: np.ndarray, techniques: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric as `scores` gives it, under weightings of the clips.

    Args:
        weights: (R, N) how often each clip counts.
    Returns:
        metric -> (R,); nan of a technique without a clip, and of everything where no clip counts.
    """
    clips = Weighted(targets, logits, weights)
    values = {name: _values(name, clips, (len(weights),)) for name in overall()}
    for prefix in prefixes():
        each = _values(f"{prefix}*", clips, (len(weights), len(techniques)))
        values |= {f"{prefix}{technique}": each[:, k] for k, technique in enumerate(techniques)}
    return values


def _values(name: str, clips: Weighted, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a metric; nan where they are infinite.

    Raises:
        InvalidValue: they are of another shape.
    """
    values = np.asarray(METRICS[name].function(clips), dtype=float)
    if values.shape != shape:
        raise InvalidValue(f"the metric {name} gives an array of shape {values.shape}, expected {shape}.")
    return np.where(np.isfinite(values), values, np.nan)


def confusion(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(K, K) clips by true technique (rows) and predicted technique (columns), of (N,) targets and (N, K) logits."""
    return Weighted(targets, logits, np.ones((1, len(targets)), dtype=np.float32)).confusions[0].astype(int)


def _words(column: str, word: Callable[[Metric], str], of_technique: str) -> str:
    if column.startswith("validation_"):
        return f"{_words(column.removeprefix('validation_'), word, of_technique)} on validation clips"
    if column in METRICS:
        return word(METRICS[column])
    if named := technique_of(column):
        return of_technique.format(metric=word(METRICS[named[0]]), technique=named[1].replace("_", " "))
    return column
