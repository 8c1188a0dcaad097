"""Intervals over singers and seeds: the delete-one jackknife with Student's t, and what an interval decides.

The clips of a singer are alike, so the unit is the singer. Delete one singer at a time, score the rest, and the spread
of these n scores gives the standard error of the score (Tukey 1958; Efron and Tibshirani 1993, Chapter 11). With t of
n - 1 degrees of freedom its 95 % interval covers 94 to 97 % with 5 and with 20 singers, where bootstraps over singers
cover 82 to 99 % (`python -m benchmarks.coverage`).

Seeds cross the singers: every network is tested on all of them. So the mean over S seeds has two errors, that of the
singers and that of the training, and their variances add. The part of a seed's luck that differs from singer to singer
is in both, so that intervals are too wide rather than too narrow. The degrees of freedom are Satterthwaite's (1946):
where training is most of the error, intervals cover 89 % with two seeds, 92 to 96 % with three, 95 % with nine. The
smaller of n - 1 and S - 1 covers more, but makes intervals of two seeds useless (t of 1 degree: 12.7).

In cross-validation the singers of a fold share a network and its luck. There the unit is the fold: delete a fold at a
time, with t of one less than the folds. With one test singer a fold, folds are singers, and nothing else changes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

LEVEL = 0.05  # an interval misses the true value with this probability
DELTA = 0.01  # smaller differences do not matter
LEAST_ERROR = 1e-12  # a smaller one is rounding of equal numbers
NAN = float("nan")
NEGLIGIBLE, SUPPORTED, REFUTED, UNDECIDED = "negligible", "supported", "refuted", "undecided"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its standard error.

    Attributes:
        value: the mean.
        error: its standard error; nan of a single singer or fold.
        degrees: of Student's t.
        units: number of singers or folds; of seeds, if these alone vary.
        seeds: number of seeds. The error of one seed does not include training's.
        exact_p: two-sided p-value of a mean of 0; None for Student's.
    """

    value: float
    error: float
    degrees: float
    units: int
    seeds: int
    exact_p: float | None = None

    @property
    def is_defined(self) -> bool:
        """Whether there is an interval: not of one unit, nor of units that are all alike."""
        return self.error > LEAST_ERROR

    @property
    def deviation(self) -> float:
        """The standard deviation (n - 1) of units that would have this error."""
        return self.error * math.sqrt(self.units)

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0; 1 for Student's without an interval."""
        from scipy.special import stdtr

        if self.exact_p is not None:
            return self.exact_p
        return 2 * float(stdtr(self.degrees, -abs(self.value) / self.error)) if self.is_defined else 1.0

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The interval that misses the true value with probability `level`; nan if it is not defined."""
        from scipy.special import stdtrit

        if not self.is_defined:
            return NAN, NAN
        half = float(stdtrit(self.degrees, 1 - level / 2)) * self.error
        return self.value - half, self.value + half


UNDEFINED = Estimate(NAN, NAN, NAN, 0, 0)


def without_each(singers: np.ndarray) -> np.ndarray:
    """(1 + n, N) float32 weights of N clips: all clips, then those without one of the n singers, ordered by name.

    Args:
        singers: (N,) of each clip.
    """
    names, singer = np.unique(singers, return_inverse=True)
    weights = np.ones((1 + len(names), len(singer)), dtype=np.float32)
    weights[1 + singer, np.arange(len(singer))] = 0
    return weights


def jackknife(scores: np.ndarray) -> Estimate:
    """The error of a mean over seeds on the same test singers. Of a paired difference, subtract the scores first.

    Args:
        scores: (1 + n, S) of S seeds: with all singers, then without each, as `without_each` weighs them.
    """
    whole, without = scores[0], scores[1:].mean(axis=1)
    return _estimate(float(whole.mean()), without, whole)


def over_folds(scores: np.ndarray) -> Estimate:
    """The error of a mean over folds, of the mean over a fold's seeds.

    Folds share training singers, so they are not quite independent; no estimate of that is unbiased (Bengio and
    Grandvalet 2004).

    Args:
        scores: (n, S) of n folds and S seeds; nan of a seed that a fold lacks. Seeds that a fold lacks do not tell
            about training's error.
    """
    scores = scores[np.isfinite(scores).any(axis=1)]
    if not len(scores):
        return UNDEFINED
    folds, seeds = np.nanmean(scores, axis=1), scores[:, np.isfinite(scores).all(axis=0)].mean(axis=0)
    without = (folds.sum() - folds) / max(len(folds) - 1, 1)
    return _estimate(float(folds.mean()), without, seeds)


def over_seeds(scores: np.ndarray) -> Estimate:
    """The error of the mean of (S,) scores on test singers that are fixed: training's alone."""
    return replace(over_folds(scores[:, None]), seeds=len(scores))


def decide(difference: Estimate, delta: float = DELTA, p: float | None = None, comparisons: int = 1) -> str:
    """Decide on the claim that a difference is positive.

    Args:
        delta: smaller differences do not matter.
        p: the p-value of no difference; None for Student's, which is below 0.05 if the interval excludes 0. Among
            several comparisons it is adjusted.
        comparisons: how many are tested together; the interval is that of 95 % for all of them.
    Returns:
        negligible: the interval lies within ±delta; or else, if p is below 0.05, supported or refuted by the sign; or
        else, and whenever there is only one seed, undecided.
    """
    low, high = difference.interval(LEVEL / comparisons)
    if difference.seeds < 2:
        return UNDECIDED
    if -delta <= low and high <= delta:
        return NEGLIGIBLE
    if (difference.p if p is None else p) >= LEVEL:
        return UNDECIDED
    return SUPPORTED if difference.value > 0 else REFUTED


def draw_singers(singers: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """(R, N) float32 weights of N clips when singers are drawn with replacement.

    Of n singers n - 1 are drawn, so that means vary as much as those of n other singers (Rao and Wu 1988).

    Args:
        singers: (N,) of each clip.
        resamples: R.
    """
    names, singer = np.unique(singers, return_inverse=True)
    each = np.full(len(names), 1 / len(names))
    return np.random.default_rng(seed).multinomial(len(names) - 1, each, resamples).astype(np.float32)[:, singer]


def optimism(scores: np.ndarray, resampled: np.ndarray) -> float:
    """How much selecting the best of C conditions on the test singers flatters it, at least (Efron 1983).

    Select the best on each resample. Its luck is its score there less its score on the test set; the mean luck of all
    conditions is subtracted. This is a lower bound: of conditions that are all equal it finds 1 / sqrt(2) of the true
    optimism, for their scores on the test set already differ by luck.

    Args:
        scores: (C,) on the test set, higher is better.
        resampled: (R, C) on resampled singers.
    """
    best = resampled.argmax(axis=1)
    luck = resampled - scores
    return float(np.mean(luck[np.arange(len(best)), best] - luck.mean(axis=1)))


def _estimate(value: float, without: np.ndarray, seeds: np.ndarray) -> Estimate:
    """Add the variance of the jackknife and that over seeds.

    Args:
        without: (n,) means over seeds, without one unit each.
        seeds: (S,) of each seed.
    """
    units, number = len(without), len(seeds)
    if units < 2:
        return Estimate(value, NAN, NAN, units, number)
    variances = [float((units - 1) * without.var())]  # (n - 1) / n times the sum of squares
    degrees = [units - 1]
    if number > 1:
        variances.append(float(seeds.var(ddof=1)) / number)
        degrees.append(number - 1)
    variance = sum(variances)
    spread = sum(each**2 / of for each, of in zip(variances, degrees, strict=True))
    return Estimate(value, math.sqrt(variance), variance**2 / spread if spread > 0 else units - 1, units, number)
