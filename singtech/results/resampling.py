"""How far the scores of a test set would move with other singers, recordings, clips and seeds: 95 % intervals.

A clip is no independent draw: the clips of a recording are alike, and so are the recordings of a singer. So singers are
drawn anew with replacement, then the recordings of each singer drawn, then the clips of each recording (a bootstrap in
three stages; Davison and Hinkley 1997, Section 3.8), and the scores computed from the clips that were drawn. Seeds
cross the singers and are drawn beside them. All runs on the same clips meet the same draws, so that they pair. Five
singers are few: such intervals are, if anything, too narrow.
"""

import functools
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech import metrics
from singtech.results.predictions import PREDICTIONS, Predictions, read_predictions

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

RESAMPLES = 1000
BETWEEN = (2.5, 97.5)  # percentiles


class Draws:
    """The scores of runs on resampled clips, read from the runs' folders when they are first asked for.

    Args:
        runs_folder: holds `<run>/predictions.csv`; runs that lack it have no draws.
    """

    def __init__(self, runs_folder: Path) -> None:
        self.runs_folder = Path(runs_folder)
        self._weights: dict[int, np.ndarray] = {}  # by what tells the clips
        self.predictions = functools.lru_cache(256)(self._predictions)
        self.of_run = functools.lru_cache(1024)(self._of_run)

    def interval(
        self, cells: Sequence[tuple[str, int]], runs: Sequence[str], metric: str
    ) -> tuple[float, float] | None:
        """The 95 % interval of a metric's mean over folds, of the mean over a fold's seeds; None if a run has no draws.

        Args:
            cells: (fold, seed) of each run.
            runs: their names.
        """
        folds: dict[str, list[np.ndarray]] = {}
        for (fold, _), run in zip(cells, runs, strict=True):
            drawn = self.of_run(run)
            if drawn is None or metric not in drawn:
                return None
            folds.setdefault(fold, []).append(drawn[metric])
        return interval_of([draws for _, draws in sorted(folds.items())])

    def _predictions(self, run: str) -> Predictions | None:
        """A run's predictions; None where they are not there, or damaged, which is said."""
        try:
            return read_predictions(self.runs_folder / run / PREDICTIONS)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            log.warning("%s", problem)
            return None

    def _of_run(self, run: str) -> dict[str, np.ndarray] | None:
        """metric -> (R,) of a run's predictions; None where they are not there."""
        predictions = self.predictions(run)
        return predictions and weighted_scores(predictions, self.weights_of(predictions.clips))

    def weights_of(self, clips: "pd.DataFrame") -> np.ndarray:
        """(R, N) how often each of these N clips is drawn: the same draws whenever they are asked for."""
        places = zip(clips["recording"], clips["start"], strict=True)
        key = zlib.crc32("\n".join(f"{recording} {start}" for recording, start in places).encode())
        if key not in self._weights:
            self._weights[key] = draw_weights(clips, RESAMPLES, key)
        return self._weights[key]


def interval_of(folds: Sequence[Sequence[np.ndarray]]) -> tuple[float, float] | None:
    """The 95 % interval of the mean over folds, of the mean over a fold's seeds; None without a number.

    Args:
        folds: of each fold one (R,) a seed, of the same draws.
    """
    if not folds:
        return None
    total = np.stack([_over_seeds(np.stack(draws), place) for place, draws in enumerate(folds)]).mean(axis=0)
    low, high = np.nanpercentile(total, BETWEEN) if np.isfinite(total).any() else (np.nan, np.nan)
    return (float(low), float(high)) if np.isfinite(low) else None


def draw_weights(clips: "pd.DataFrame", resamples: int, seed: int) -> np.ndarray:
    """(R, N) float32: how often each clip is drawn when singers, their recordings and their clips are drawn anew.

    A singer who is drawn twice has twice as many recordings drawn, and so on down, which is one multinomial draw a
    stage.

    Args:
        clips: N rows with singer and recording.
        resamples: R.
    """
    draw = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(clips)), dtype=np.float32)
    singers = [rows for _, rows in clips.reset_index(drop=True).groupby("singer")]
    for rows, times in zip(singers, _spread(draw, np.full(resamples, len(singers)), len(singers)), strict=True):
        recordings = [members.index.to_numpy() for _, members in rows.groupby("recording")]
        each = _spread(draw, times * len(recordings), len(recordings))
        for members, drawn in zip(recordings, each, strict=True):
            weights[:, members] = _spread(draw, drawn * len(members), len(members)).T
    return weights


def weighted_scores(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric, each clip counted as often as its weight says.

    Args:
        predictions: N clips.
        weights: (R, N), a row a set of weights.
    Returns:
        metric -> (R,); nan of a technique without a clip, and of everything where no clip counts.
    """
    return metrics.weighted_scores(predictions.targets, predictions.logits, predictions.techniques, weights)


def weighted_shares(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """(R, K, K) how much of each true technique's clips, weighed by (R, N) weights, is taken for each technique; nan
    where it has none."""
    counts = metrics.Weighted(predictions.targets, predictions.logits, weights).confusions
    return metrics.ratio(counts, counts.sum(axis=2, keepdims=True))


def _over_seeds(draws: np.ndarray, place: int) -> np.ndarray:
    """(R,) the mean over seeds drawn anew, of (seeds, R); a single seed is kept."""
    seeds, resamples = draws.shape
    times = np.random.default_rng((seeds, place)).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    return (draws * times.T).sum(axis=0) / seeds


def _spread(draw: np.random.Generator, totals: np.ndarray, among: int) -> np.ndarray:
    """(among, R): `totals` (R,) draws spread evenly by chance."""
    return draw.multinomial(totals, np.full(among, 1 / among)).T
