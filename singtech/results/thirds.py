"""The techniques in thirds by their training clips: many, medium and few, as papers on long tails report them."""

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from singtech.metrics import mean_finite
from singtech.results.intervals import without_each
from singtech.results.summaries import Answer, printed, summarize

NAMES = ("few", "medium", "many")
METRICS = ("recall_many", "recall_medium", "recall_few")  # columns that no row has: means of the row's recalls
TITLE = "Recall of techniques with many, medium and few clips"


def split_thirds(techniques: Sequence[str], counts: Mapping[str, float]) -> list[list[str]]:
    """Divide techniques into three by their training clips, fewest first. Of ten the first third has four."""
    order = sorted(techniques, key=lambda name: counts.get(name, 0))
    return [list(map(str, names)) for names in np.array_split(order, 3)]


def mean_of(metric: str, techniques: Sequence[str], scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the (R,) mean of a metric such as f1 over some techniques that have a score."""
    return mean_finite(np.stack([scores[f"{metric}_{name}"] for name in techniques], axis=1))


def read_counts(text: str) -> dict[str, int]:
    """Read the training clips of each technique from a row's `training_counts`; empty if it has none."""
    pairs = (pair.rsplit("=", 1) for pair in str(text).split() if "=" in pair)
    return {name: int(count) for name, count in pairs}


def answer_thirds(answer: Answer) -> Answer:
    """Replace an answer's metrics by the mean recall of each third, with intervals and differences of their own."""
    counts = dict(zip(answer.runs["run"], map(read_counts, answer.runs["training_counts"]), strict=True))
    values = []
    for row in answer.runs.to_dict("records"):
        recalls = {name: np.array([value]) for name, value in row.items() if str(name).startswith("recall_")}
        values.append({metric: score[0] for metric, score in _scores(recalls, counts[row["run"]]).items()})
    runs = answer.runs.assign(**{metric: [each.get(metric, np.nan) for each in values] for metric in METRICS})
    experiment = replace(answer.experiment, metrics=METRICS)
    jackknife = copy.copy(answer.collated.jackknife)

    @functools.cache
    def scores(run: str) -> dict[str, np.ndarray]:
        predictions = jackknife.predictions(run)
        if predictions is None:
            return {}
        return _scores(predictions.scores(without_each(predictions.clips["singer"])), counts[run])

    jackknife.scores = scores  # with all singers and without each
    frame = summarize(runs, experiment, answer.data, jackknife, {}, {})
    return replace(answer, experiment=experiment, runs=runs, frame=frame)


def describe(answer: Answer) -> str:
    """Say which techniques are in each third, with their training clips in the first run that tells them."""
    counts = next(filter(None, map(read_counts, answer.runs["training_counts"])), {})
    parts = [
        f"{third}: {', '.join(f'{printed(name)} ({counts[name]})' for name in reversed(names))}"
        for third, names in zip(NAMES, split_thirds(list(counts), counts), strict=True)
        if names
    ]
    of_each = f" ({'; '.join(reversed(parts))})" if parts else ""
    others = " Each fold has its own." if answer.experiment.folds else ""
    return f"Mean recall of the techniques in thirds by their training clips{of_each}.{others}"


def _scores(scores: Mapping, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Compute the metrics of thirds from recalls; none without counts."""
    names = [name for name in counts if f"recall_{name}" in scores]
    thirds = zip(NAMES, split_thirds(names, counts), strict=True)
    return {f"recall_{third}": mean_of("recall", each, scores) for third, each in thirds if each}
