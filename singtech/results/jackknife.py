"""The scores of runs without each of their test singers, from stored predictions: what intervals are computed from."""

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from singtech import metrics
from singtech.results.intervals import UNDEFINED, Estimate, jackknife, without_each
from singtech.results.predictions import PREDICTIONS, Predictions, read_predictions

log = logging.getLogger(__name__)


class Jackknife:
    """Deletes one test singer at a time; predictions are read when they are first needed.

    Args:
        runs_folder: holds `<run>/predictions.csv`; runs that lack it have no intervals.
    """

    def __init__(self, runs_folder: Path) -> None:
        self.runs_folder = Path(runs_folder)
        self.predictions = functools.lru_cache(256)(self._predictions)
        self.scores = functools.lru_cache(1024)(self._scores)

    def table(self, metric: str, runs: Iterable[str]) -> np.ndarray | None:
        """(1 + n, S) a metric of S runs on the same singers, with all of them and without each; None if not known."""
        scores = [self.scores(run).get(metric, np.empty(0)) for run in runs]
        is_known = scores and len(scores[0]) and len({len(each) for each in scores}) == 1
        return np.stack(scores, axis=1) if is_known else None

    def estimate(self, metric: str, runs: Iterable[str], others: Iterable[str] = ()) -> Estimate:
        """Estimate a metric's mean over seeds on the same test singers; not defined if a run has no predictions.

        Args:
            runs: one a seed.
            others: runs of the same seeds whose scores are subtracted, if there are any.
        """
        runs, others = list(runs), list(others)
        table = self.table(metric, runs + others)
        if table is None:
            return UNDEFINED
        return jackknife(table[:, : len(runs)] - table[:, len(runs) :] if others else table)

    def _predictions(self, run: str) -> Predictions | None:
        """A run's predictions; None where they are absent, or damaged, which is logged."""
        try:
            return read_predictions(self.runs_folder / run / PREDICTIONS)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            log.warning("%s", problem)
            return None

    def _scores(self, run: str) -> dict[str, np.ndarray]:
        """metric -> (1 + n,) of a run, with all singers and without each; empty where its predictions are absent.

        The metrics of a technique are those without each singer who sings it.
        """
        predictions = self.predictions(run)
        if predictions is None:
            return {}
        weights = without_each(predictions.clips["singer"])
        has_part = dict(zip(predictions.techniques, singing(predictions, weights).T, strict=True))
        scores = predictions.scores(weights)
        for metric, values in scores.items():
            if of_technique := metrics.split_column(metric):
                scores[metric] = values[has_part[of_technique[1]]]
        return scores


def singing(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """(1 + n, K) which rows of `without_each` have a part in a technique: the first, and those that lack some of its
    clips. Singers who do not sing a technique are no evidence on it."""
    clips = weights @ np.eye(len(predictions.techniques), dtype=np.float32)[predictions.targets]
    has_part = clips < clips[0]
    has_part[0] = True
    return has_part
