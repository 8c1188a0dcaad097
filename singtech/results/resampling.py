"""Resample a test set for 95 % intervals: how far scores move with other singers, recordings, clips and seeds.

A clip is no independent draw: the clips of a recording are alike, and so are the recordings of a singer. So singers are
drawn anew with replacement, then the recordings of each singer drawn, then the clips of each recording (a bootstrap in
three stages; Davison and Hinkley 1997, Section 3.8), and the scores computed from the clips that were drawn. Seeds
cross the singers and are drawn beside them. All runs on the same clips meet the same draws, so that they pair. Five
singers are few: such intervals are, if anything, too narrow.
"""

import functools
import logging
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.predictions import PREDICTIONS, Predictions, read_predictions

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

RESAMPLES = 1000
BETWEEN = (2.5, 97.5)  # percentiles
UNKNOWN = (float("nan"), float("nan"))  # the interval of what has no draws


class Draws:
    """The scores of runs on resampled clips; predictions are read when they are first needed.

    Args:
        runs_folder: holds `<run>/predictions.csv`; runs that lack it have no draws.
    """

    def __init__(self, runs_folder: Path) -> None:
        self.runs_folder = Path(runs_folder)
        self.predictions = functools.lru_cache(256)(self._predictions)
        self.scores = functools.lru_cache(1024)(self._scores)
        self._weights: dict[int, np.ndarray] = {}  # by a checksum of the clips

    def interval(self, folds: Iterable[str], runs: Iterable[str], metric: str) -> tuple[float, float]:
        """The 95 % interval of a metric's mean over folds, of the mean over a fold's seeds; nan if a run has no draws.

        Args:
            folds: of each run.
            runs: their names.
        """
        of_folds: dict[str, list[np.ndarray]] = {}
        for fold, run in zip(folds, runs, strict=True):
            scores = self.scores(run)
            if scores is None or metric not in scores:
                return UNKNOWN
            of_folds.setdefault(fold, []).append(scores[metric])
        return interval_of([draws for _, draws in sorted(of_folds.items())])

    def weights_of(self, clips: "pd.DataFrame") -> np.ndarray:
        """(R, N) how often each of these N clips is drawn: the same draws for the same clips."""
        positions = zip(clips["recording"], clips["start"], strict=True)
        key = zlib.crc32("\n".join(f"{recording} {start}" for recording, start in positions).encode())
        if key not in self._weights:
            self._weights[key] = draw_weights(clips, RESAMPLES, key)
        return self._weights[key]

    def _predictions(self, run: str) -> Predictions | None:
        """A run's predictions; None where they are absent, or damaged, which is logged."""
        try:
            return read_predictions(self.runs_folder / run / PREDICTIONS)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            log.warning("%s", problem)
            return None

    def _scores(self, run: str) -> dict[str, np.ndarray] | None:
        """metric -> (R,) of a run; None where its predictions are absent."""
        predictions = self.predictions(run)
        return None if predictions is None else predictions.scores(self.weights_of(predictions.clips))


def interval_of(folds: Sequence[Sequence[np.ndarray]]) -> tuple[float, float]:
    """The 95 % interval of the mean over folds, of the mean over a fold's seeds; nan without a number.

    Args:
        folds: of each fold one (R,) a seed, of the same draws.
    """
    if not folds:
        return UNKNOWN
    total = np.mean([_mean_over_seeds(np.stack(draws), number) for number, draws in enumerate(folds)], axis=0)
    if not np.isfinite(total).any():
        return UNKNOWN
    low, high = np.nanpercentile(total, BETWEEN)
    return float(low), float(high)


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
    for rows, times in zip(singers, _share_out(draw, np.full(resamples, len(singers)), len(singers)), strict=True):
        recordings = [members.index.to_numpy() for _, members in rows.groupby("recording")]
        each = _share_out(draw, times * len(recordings), len(recordings))
        for members, drawn in zip(recordings, each, strict=True):
            weights[:, members] = _share_out(draw, drawn * len(members), len(members)).T
    return weights


def _mean_over_seeds(draws: np.ndarray, fold: int) -> np.ndarray:
    """(R,) the mean over seeds drawn anew, of (seeds, R)."""
    seeds, resamples = draws.shape
    times = np.random.default_rng((seeds, fold)).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    return (draws * times.T).sum(axis=0) / seeds


def _share_out(draw: np.random.Generator, totals: np.ndarray, number: int) -> np.ndarray:
    """(number, R): `totals` (R,) draws fall on `number` items, each equally likely."""
    return draw.multinomial(totals, np.full(number, 1 / number)).T
