"""The metrics. Rows, tables, intervals, claims, reports and model cards use the entries of `METRICS`.

The first five are the paper's (Section 4.1); pages that name no metrics show these and a user's own. A metric is a
function of `WeightedClips`: the clips of a test set, the predictions of a run, and how often each clip counts. If every
clip counts once, it gives a run's score. Without the clips of one singer at a time, it gives an interval. All final
numbers are defined here; a training's curves are not.

To add a metric, add an entry to `METRICS`, or call `register` in another file before rows are collated. Older runs get
the metric from their predictions.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from singtech.errors import InvalidValue

PER_TECHNIQUE = "_*"  # ends the name of a metric of each technique: f1_* is f1_belt, f1_trill, …
BINS = 15  # of confidence, in the calibration error


class LabelsOnly(Exception):
    """A metric needs ranks or probabilities, and a system gave labels only. Its value is then nan."""


@dataclass(frozen=True, eq=False)
class WeightedClips:
    """Predictions with R weightings of their clips.

    Attributes:
        targets: (N,) technique indices.
        logits: (N, K) one row a clip.
        weights: (R, N) how often each clip counts.
        has_labels_only: whether the logits are 1 for the technique that a system named and 0 for the others. Ranks,
            probabilities and areas are then not defined: a metric that asks for them is nan.
    """

    targets: np.ndarray
    logits: np.ndarray
    weights: np.ndarray
    has_labels_only: bool = False

    @functools.cached_property
    def confusions(self) -> np.ndarray:
        """(R, K, K) clips by true technique (rows) and predicted technique (columns)."""
        techniques = self.logits.shape[1]
        pairs = np.zeros((len(self.targets), techniques**2), dtype=np.float32)
        pairs[np.arange(len(self.targets)), self.targets * techniques + self.logits.argmax(axis=1)] = 1
        return (self.weights @ pairs).reshape(-1, techniques, techniques).astype(float)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """(R, K) clips of each technique with the right prediction."""
        return np.einsum("rkk->rk", self.confusions)

    @functools.cached_property
    def totals(self) -> np.ndarray:
        """(R, K) clips of each technique."""
        return self.confusions.sum(axis=2)

    @functools.cached_property
    def predictions(self) -> np.ndarray:
        """(R, K) clips that each technique is predicted for."""
        return self.confusions.sum(axis=1)

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """(N,) rank of the true technique among the logits, from 0; of equal logits the first ranks higher."""
        self._require_probabilities()
        order = np.argsort(-self.logits, axis=1, kind="stable")
        return (order == self.targets[:, None]).argmax(axis=1)

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """(N, K) the softmax of the logits."""
        self._require_probabilities()
        return softmax(self.logits)

    @functools.cached_property
    def areas(self) -> np.ndarray:
        """(R, K) area under the ROC curve of each technique against the others, by its probability."""
        self._require_probabilities()
        return np.stack([self._area(k) for k in range(self.logits.shape[1])], axis=1)

    def _area(self, k: int) -> np.ndarray:
        """(R,) the share of pairs, a clip of technique k and one of another, in which the former has the higher
        probability of k; equal ones count half. nan without a pair."""
        is_k = self.targets == k
        if is_k.all() or not is_k.any():
            return np.full(len(self.weights), np.nan)
        logits = self.logits.astype(float)
        others = np.sort(np.delete(logits, k, axis=1), axis=1)  # sorted, so that equal logits give equal sums
        highest = others[:, -1]
        # ranks as the probability does, which is rounded to 1 where it is high
        log_odds = logits[:, k] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))
        order = np.argsort(log_odds, kind="stable")
        ranked, is_k, weights = log_odds[order], is_k[order], self.weights[:, order].astype(float)
        below = np.zeros((len(weights), len(order) + 1))  # weight of other techniques' clips before each position
        np.cumsum(np.where(is_k, 0, weights), axis=1, out=below[:, 1:])
        first, end = np.searchsorted(ranked, ranked[is_k]), np.searchsorted(ranked, ranked[is_k], "right")
        higher = np.sum(weights[:, is_k] * (below[:, first] + below[:, end]), axis=1) / 2  # equal ones in between
        return divide(higher, weights[:, is_k].sum(axis=1) * below[:, -1])

    def _require_probabilities(self) -> None:
        if self.has_labels_only:
            raise LabelsOnly

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the (R,) weighted means over the clips of (N,) values; nan where no clip counts."""
        return divide((self.weights @ np.asarray(values, dtype=np.float32)).astype(float), self.totals.sum(axis=1))


@dataclass(frozen=True)
class Metric:
    """A score of a run.

    Attributes:
        label: the name in a sentence, such as macro-F1.
        function: of `WeightedClips`: (R,), or (R, K) if the name ends in `PER_TECHNIQUE`; nan where it is not defined.
        heading: the name over a column; if it is "", the label.
        higher_is_better: False for an error.
        is_usual: whether pages that name no metrics show it.
    """

    label: str
    function: Callable[[WeightedClips], np.ndarray]
    heading: str = ""
    higher_is_better: bool = True
    is_usual: bool = True


def technique_f1(clips: WeightedClips) -> np.ndarray:
    """Return the (R, K) F1 of each technique; nan for a technique without a clip."""
    return divide(2 * clips.correct, np.where(clips.totals > 0, clips.totals + clips.predictions, 0))


def technique_recall(clips: WeightedClips) -> np.ndarray:
    """Return the (R, K) recall of each technique, the class-wise accuracy of Section 5.1."""
    return divide(clips.correct, clips.totals)


def accuracy(clips: WeightedClips) -> np.ndarray:
    """Return the (R,) share of clips with the right prediction."""
    return divide(clips.correct.sum(axis=1), clips.totals.sum(axis=1))


def top_k_accuracy(k: int) -> Callable[[WeightedClips], np.ndarray]:
    """Return a metric's function: the share of clips whose technique is among the k largest logits."""
    return lambda clips: clips.mean(clips.ranks < k)


def calibration_error(clips: WeightedClips) -> np.ndarray:
    """Return the (R,) expected calibration error (Guo et al. 2017, Eq. 3): |accuracy − confidence| in equal bins of
    confidence, each weighed by its clips."""
    confidence, right = clips.probabilities.max(axis=1), clips.logits.argmax(axis=1) == clips.targets
    which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.zeros((len(confidence), BINS))
    gaps[np.arange(len(confidence)), which] = right - confidence
    # a bin's clips times its gap
    return divide(np.abs(clips.weights @ gaps).sum(axis=1), clips.weights.sum(axis=1))


def mean_finite(values: np.ndarray) -> np.ndarray:
    """Return the (R,) means of the finite values in each row of (R, K); nan for a row without any."""
    values = values[:, np.isfinite(values).any(axis=0)]
    is_finite = np.isfinite(values)
    return divide(np.where(is_finite, values, 0).sum(axis=1), is_finite.sum(axis=1))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return (N, K) probabilities of (N, K) logits."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return odds / odds.sum(axis=1, keepdims=True)


def divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide `part` by `whole`, in the shape of `part`; nan where `whole` is 0."""
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


# The macro averages run over the techniques that have a test clip.
METRICS: dict[str, Metric] = {
    "f1": Metric("macro-F1", lambda clips: mean_finite(technique_f1(clips)), "F1"),
    "accuracy": Metric("accuracy", accuracy, "Acc."),
    "balanced_accuracy": Metric("balanced accuracy", lambda clips: mean_finite(technique_recall(clips)), "B-Acc."),
    "top2_accuracy": Metric("top-2 accuracy", top_k_accuracy(2), "Top-2"),
    "top3_accuracy": Metric("top-3 accuracy", top_k_accuracy(3), "Top-3"),
    "auc": Metric("macro-AUC", lambda clips: mean_finite(clips.areas), "AUC", is_usual=False),
    "calibration_error": Metric("calibration error", calibration_error, "ECE", higher_is_better=False, is_usual=False),
    "f1_*": Metric("F1", technique_f1),
    "recall_*": Metric("recall", technique_recall),
    "auc_*": Metric("AUC", lambda clips: clips.areas),
}

SHARES = frozenset(METRICS)  # those of a user may have other bounds than 0 and 1
HEADINGS = {"head_gap": "above minimum"}  # columns that tables show beside metrics; lower values are better

ROW_COLUMNS = frozenset(  # columns of a row that are not metrics
    "run condition data fold model dc strategy alpha seed rounding settings parameters epochs seconds seconds_shared "
    "head_gap clips_train training_counts clips_test singers_test device threads precision torch commit status reason "
    "protocol recipe phases made_by finished versions command variant schema files digest differences".split()
)


def register(name: str, metric: Metric) -> None:
    """Add a metric.

    Raises:
        InvalidValue: a column has this name, or no column can have it.
    """
    if name in ROW_COLUMNS or name in METRICS:
        raise InvalidValue(f"a metric named {name!r}: a run's row has a column of this name; give yours another name.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*(_\*)?", name):
        raise InvalidValue(f"a metric named {name!r}: expected small letters, digits and _, as in top2_accuracy.")
    METRICS[name] = metric


def list_overall() -> tuple[str, ...]:
    """Return the names of the metrics of a whole test set."""
    return tuple(name for name in METRICS if not name.endswith(PER_TECHNIQUE))


def list_usual() -> tuple[str, ...]:
    """List the metrics of a whole test set that a page shows unless it names others."""
    return tuple(name for name in list_overall() if METRICS[name].is_usual)


def list_prefixes() -> tuple[str, ...]:
    """List the first part of the columns with a metric of each technique: f1_, recall_, auc_."""
    return tuple(name.removesuffix("*") for name in METRICS if name.endswith(PER_TECHNIQUE))


def is_metric(column: str) -> bool:
    """Whether a column holds a metric of the whole test set or of a technique."""
    return column in METRICS or column.startswith(list_prefixes())


def split_column(column: str) -> tuple[str, str] | None:
    """Split a column such as f1_lip_trill into (f1_*, lip_trill); None for another column."""
    matches = [prefix for prefix in list_prefixes() if column.startswith(prefix) and column not in METRICS]
    if not matches:
        return None
    prefix = max(matches, key=len)
    return f"{prefix}*", column.removeprefix(prefix)


def label(column: str) -> str:
    """Return the name of a column in a sentence: macro-F1, or F1 of lip trill."""
    return _describe_column(column, lambda metric: metric.label, "{metric} of {technique}")


def heading(column: str) -> str:
    """Return the heading of a column: F1, or the technique of its metric."""
    return _describe_column(column, lambda metric: metric.heading or metric.label, "{technique}")


def is_higher_better(column: str) -> bool:
    """Whether higher values of a column are better; True for a column that is not a metric."""
    column_parts = split_column(column)
    metric = METRICS.get(column_parts[0] if column_parts else column.removeprefix("validation_"))
    return column not in HEADINGS and (metric is None or metric.higher_is_better)


def format_scores(row: Mapping) -> str:
    """Write a row's metrics of the whole test set on one line: F1 0.612  Acc. 0.656 …"""
    names = [name for name in list_overall() if isinstance(row.get(name), int | float) and row[name] == row[name]]
    return "  ".join(f"{heading(name)} {row[name]:.3f}" for name in names)


def list_missing(row: Mapping) -> list[str]:
    """List the metrics that a row lacks because they were added after it was scored."""
    names = [name for name in list_overall() if name not in row]
    return names + [f"{prefix}*" for prefix in list_prefixes() if not any(column.startswith(prefix) for column in row)]


def score_clips(
    targets: np.ndarray, logits: np.ndarray, techniques: Sequence[str], has_labels_only: bool = False
) -> dict[str, float]:
    """Compute every metric of a test set; each clip counts once.

    Args:
        targets: (N,) technique indices.
        logits: (N, K) one row for each clip.
        techniques: the K names.
        has_labels_only: see `WeightedClips`.
    Returns:
        The metrics of the whole test set, then those of each technique; nan for a technique without a test clip, and
        where a metric needs probabilities and there are labels only.
    Raises:
        InvalidValue: there are no clips, or logits are not finite.
    """
    if not len(targets):
        raise InvalidValue("no test clip to score: does the split name a test singer?")
    invalid = np.sum(~np.isfinite(logits).all(axis=1))
    if invalid:
        raise InvalidValue(f"{invalid} of {len(logits)} clips have logits that are not finite.")
    weights = np.ones((1, len(targets)), dtype=np.float32)
    scores = score_weightings(targets, logits, techniques, weights, has_labels_only)
    return {name: float(values[0]) for name, values in scores.items()}


def score_weightings(
    targets: np.ndarray,
    logits: np.ndarray,
    techniques: Sequence[str],
    weights: np.ndarray,
    has_labels_only: bool = False,
) -> dict[str, np.ndarray]:
    """Compute every metric as `score_clips` does, for R weightings of the clips.

    Args:
        weights: (R, N) how often each clip counts.
    Returns:
        metric -> (R,); nan for a technique without a clip, and everywhere if no clip counts.
    """
    clips = WeightedClips(targets, logits, weights, has_labels_only)
    values = {name: _compute_metric(name, clips, (len(weights),)) for name in list_overall()}
    for prefix in list_prefixes():
        per_technique = _compute_metric(f"{prefix}*", clips, (len(weights), len(techniques)))
        values |= {f"{prefix}{technique}": per_technique[:, k] for k, technique in enumerate(techniques)}
    return values


def _compute_metric(name: str, clips: WeightedClips, shape: tuple[int, ...]) -> np.ndarray:
    """Return the values of a metric; nan where they are infinite, or need probabilities that do not exist.

    Raises:
        InvalidValue: they have another shape.
    """
    try:
        values = np.asarray(METRICS[name].function(clips), dtype=float)
    except LabelsOnly:
        return np.full(shape, np.nan)
    if values.shape != shape:
        raise InvalidValue(f"the metric {name} gives an array of shape {values.shape}, expected {shape}.")
    return np.where(np.isfinite(values), values, np.nan)


def count_confusions(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Count (K, K) clips by true technique (rows) and predicted technique (columns)."""
    return WeightedClips(targets, logits, np.ones((1, len(targets)), dtype=np.float32)).confusions[0].astype(int)


def _describe_column(column: str, wording: Callable[[Metric], str], template: str) -> str:
    if column.startswith("validation_"):
        return f"{_describe_column(column.removeprefix('validation_'), wording, template)} on validation clips"
    if column in METRICS:
        return wording(METRICS[column])
    if column_parts := split_column(column):
        return template.format(metric=wording(METRICS[column_parts[0]]), technique=column_parts[1].replace("_", " "))
    return HEADINGS.get(column, column)
