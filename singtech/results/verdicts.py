"""Is a difference real? Paired differences of a family of comparisons to a verdict each.

A comparison's differences are paired: over seeds (the test singers are fixed, luck in training is what varies), or over
singers (each tested once in cross-validation). Were there no difference, each could as well have the other sign: the
exact p-value is the share of all sign patterns whose mean is as far from 0 (Fisher's randomisation test). Within a
family p-values are adjusted by Holm's procedure. A verdict then is

    supported       the adjusted p is below 0.05 and the difference has the claimed sign
    not supported   the adjusted p is below 0.05 and the sign is the other; or the difference's interval (Student's,
                    of 95 % for the family as a whole) lies wholly below what is worth having, 0.01; differences
                    that are all alike have none
    undecided       neither; `needed` says how many seeds or singers would tell if the difference is what it seems
    not run         there are no pairs
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL, POWER = 0.05, 0.8
WORTH = 0.01  # a smaller difference of scores is as good as none
EXACT = 22  # more differences than these have too many sign patterns to go through; a million are drawn
MOST = 1000  # units beyond which nobody will go
SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_RUN = WORDS = ("supported", "not supported", "undecided", "not run")


@dataclass(frozen=True)
class Verdict:
    """What the differences of one comparison say.

    Attributes:
        word: one of `WORDS`.
        units: how many differences.
        mean, deviation: of them; the deviation (n - 1) is None with fewer than two.
        interval: Student's 95 % interval of the mean; None with fewer than two.
        p, adjusted: two-sided, as is and by Holm within the family.
        effect: the mean over the deviation (Cohen's d of paired differences); None without a deviation.
        needed: of undecided ones, how many units would tell, either way, with a chance of 0.8; None if over `MOST`.
    """

    word: str
    units: int = 0
    mean: float | None = None
    deviation: float | None = None
    interval: tuple[float, float] | None = None
    p: float = 1.0
    adjusted: float = 1.0
    effect: float | None = None
    needed: int | None = None


def judge(family: Sequence[Sequence[float]]) -> list[Verdict]:
    """A verdict on each comparison of a family.

    Args:
        family: of each comparison the paired differences, the claimed better less the worse; empty where it was not
            run, which counts in Holm's procedure all the same: the family is what was asked, not what was looked at.
    """
    ps = [sign_flip(differences) for differences in family]
    return [
        _verdict(np.asarray(differences, dtype=float), p, adjusted, len(family))
        for differences, p, adjusted in zip(family, ps, _holm(ps), strict=True)
    ]


def overall(verdicts: Sequence[Verdict]) -> str:
    """The verdict on a claim that rests on several comparisons: all must be supported, and one that is not sinks it."""
    words = {verdict.word for verdict in verdicts}
    if NOT_SUPPORTED in words:
        return NOT_SUPPORTED
    if NOT_RUN in words:
        return NOT_RUN
    return UNDECIDED if UNDECIDED in words else SUPPORTED


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean under all sign patterns, exact up to `EXACT` differences; 1 where there is none.

    With n differences it is 2 / 2**n at the least: five seeds cannot come below 0.0625.
    """
    differences = np.asarray(differences, dtype=float)
    if not len(differences):
        return 1.0
    if len(differences) > EXACT:
        from scipy.stats import permutation_test

        draw = np.random.default_rng(0)
        options = {"permutation_type": "samples", "n_resamples": 999_999, "batch": 10_000, "rng": draw}
        return float(permutation_test((differences,), np.mean, vectorized=True, **options).pvalue)
    sums = np.zeros(1)
    for difference in np.abs(differences):
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(differences.sum())
    return float(np.mean(np.abs(sums) >= observed - 1e-12 * max(1.0, observed)))


def needed_units(differences: np.ndarray, comparisons: int) -> int | None:
    """How many such differences decide with probability `POWER`, either way; None if more than `MOST`.

    For the sign-flip test at Holm's first step the power is that of Student's paired test, to which it comes close; and
    there must be enough of them for the smallest exact p to lie below the level. That the interval of a difference lies
    below `WORTH` is Student's one-sided test against that value.
    """
    level = LEVEL / comparisons
    least = math.ceil(math.log2(2 / level))
    if len(differences) < 2:
        return least
    mean, deviation = differences.mean(), differences.std(ddof=1)
    if deviation < 1e-9 * max(abs(mean), WORTH):
        return max(least, len(differences) + 1) if abs(mean) > deviation else None
    ways = [_least_units(abs(mean) / deviation, level, "two-sided", least)]
    if mean < WORTH:
        ways.append(_least_units((WORTH - mean) / deviation, level / 2, "larger", 3))
    known = [units for units in ways if units is not None]
    return max(min(known), len(differences) + 1) if known else None


def _least_units(effect: float, level: float, alternative: str, least: int) -> int | None:
    """How many units from `least` up give Student's test that power; None if more than `MOST`."""
    from statsmodels.stats.power import TTestPower

    if effect * math.sqrt(MOST) < 1.5:  # at which no level of ours has that power
        return None
    counts = range(least, MOST + 1)
    place = bisect_left(counts, POWER, key=lambda units: TTestPower().power(effect, units, level, None, alternative))
    return counts[place] if place < len(counts) else None


def _verdict(differences: np.ndarray, p: float, adjusted: float, comparisons: int) -> Verdict:
    if not len(differences):
        return Verdict(NOT_RUN)
    mean, deviation, interval, effect = float(differences.mean()), None, None, None
    highest = math.inf
    if len(differences) > 1:
        deviation = float(differences.std(ddof=1))
        error = deviation / math.sqrt(len(differences))
        half, widest = (_student(len(differences) - 1, LEVEL / m) * error for m in (1, comparisons))
        interval, highest = (mean - half, mean + half), mean + widest
        effect = mean / deviation if deviation > 1e-12 else None
    word, needed = UNDECIDED, None
    if adjusted < LEVEL:
        word = SUPPORTED if mean > 0 else NOT_SUPPORTED
    elif highest < WORTH and deviation > 1e-12:  # without one there is no interval, only a row of alike numbers
        word = NOT_SUPPORTED
    else:
        needed = needed_units(differences, comparisons)
    return Verdict(word, len(differences), mean, deviation, interval, p, adjusted, effect, needed)


def _holm(ps: Sequence[float]) -> list[float]:
    if not ps or min(ps) == 1:
        return list(ps)
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(ps, LEVEL, "holm")[1]]


def _student(freedom: int, level: float) -> float:
    """The quantile of Student's distribution that leaves half the level above it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level / 2))
