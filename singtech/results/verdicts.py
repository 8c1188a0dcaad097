"""Test whether differences are real: give each comparison of a family a verdict.

The differences of a comparison are paired by seed (the test singers are fixed, training varies) or by singer (each is
tested once in cross-validation). If two conditions do not differ, each difference is as likely to have the opposite
sign. The exact p-value is the share of all sign patterns whose mean is at least as far from 0 (Fisher's randomisation
test). Holm's procedure adjusts the p-values of a family. The verdicts are

    supported       the adjusted p is below 0.05 and the difference has the claimed sign
    not supported   the adjusted p is below 0.05 and the difference has the opposite sign; or Student's interval of the
                    difference (95 % for the whole family) lies below 0.01, the smallest difference that matters. Equal
                    differences have no interval
    undecided       neither; `needed` is the number of seeds or singers that would decide, if mean and deviation stay
    not run         there are no pairs
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL, POWER = 0.05, 0.8
WORTH = 0.01  # smaller differences of scores do not matter
PATTERNS = 999_999  # of signs; where there are more, as many are drawn
MOST = 1000  # units; more are not practical
SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_RUN = ("supported", "not supported", "undecided", "not run")
NAN = float("nan")


@dataclass(frozen=True)
class Verdict:
    """The verdict on one comparison. A number that its differences do not define is nan.

    Attributes:
        verdict: supported, not supported, undecided or not run.
        units: number of differences.
        difference, deviation: their mean, and their standard deviation (n - 1).
        low, high: Student's 95 % interval of the mean.
        p, p_holm: two-sided p-value, and the same adjusted by Holm within the family.
        effect: the mean divided by the deviation (Cohen's d of paired differences).
        needed: how many units would decide an undecided comparison, for or against, with probability `POWER`; None if
            more than `MOST`.
    """

    verdict: str
    units: int = 0
    difference: float = NAN
    deviation: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = 1.0
    p_holm: float = 1.0
    effect: float = NAN
    needed: int | None = None


def judge(family: Sequence[Sequence[float]]) -> list[Verdict]:
    """Give a verdict on each comparison of a family.

    Args:
        family: the paired differences of each comparison, in the claimed direction. A comparison that was not run has
            none, but still counts in Holm's procedure.
    """
    ps = [sign_flip(differences) for differences in family]
    return [
        _verdict(np.asarray(differences, dtype=float), p, float(p_holm), len(family))
        for differences, p, p_holm in zip(family, ps, holm(ps), strict=True)
    ]


def holm(ps: Sequence[float]) -> np.ndarray:
    """Adjust p-values by Holm's procedure. statsmodels collects garbage at each call, which takes most of a table."""
    order = np.argsort(ps)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.maximum.accumulate(np.take(ps, order) * np.arange(len(ps), 0, -1)).clip(max=1)
    return adjusted


def overall(verdicts: Iterable[str]) -> str:
    """The verdict on a claim with several comparisons: supported only if all of them are."""
    return next((word for word in (NOT_SUPPORTED, NOT_RUN, UNDECIDED) if word in set(verdicts)), SUPPORTED)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean under all sign patterns, exact up to 19 differences; 1 for fewer than two.

    The smallest p-value of n differences is 2 / 2**n: five seeds cannot have less than 0.0625.
    """
    from scipy.stats import permutation_test

    if len(differences) < 2:
        return 1.0
    options = {"permutation_type": "samples", "n_resamples": PATTERNS, "batch": 10_000, "rng": 0}
    return float(permutation_test((differences,), np.mean, vectorized=True, **options).pvalue)


def needed_units(differences: np.ndarray, comparisons: int) -> int | None:
    """How many differences like these decide, for or against, with probability `POWER`; None if more than `MOST`.

    For a significant difference, the power of the sign-flip test at Holm's first step is approximated by that of
    Student's paired test, and the smallest exact p must lie below the level. For an interval below `WORTH`, the power
    is that of Student's one-sided test against that value.
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
    units = min(ways)
    return max(units, len(differences) + 1) if units <= MOST else None


def _least_units(effect: float, level: float, alternative: str, least: int) -> int:
    """The smallest number of units from `least` up for which Student's test has power `POWER`; at most `MOST` + 1."""
    from statsmodels.stats.power import TTestPower

    counts = range(least, MOST + 1)
    power = TTestPower().power
    return least + bisect_left(counts, POWER, key=lambda units: power(effect, units, level, None, alternative))


def _verdict(differences: np.ndarray, p: float, p_holm: float, comparisons: int) -> Verdict:
    from scipy.special import stdtrit

    if not len(differences):
        return Verdict(NOT_RUN)
    number, mean = len(differences), float(differences.mean())
    deviation = float(differences.std(ddof=1)) if number > 1 else NAN
    has_deviation = deviation > 1e-12  # equal differences have no interval
    # half widths of the interval of this comparison, and of the one for the whole family
    half, widest = (stdtrit(number - 1, 1 - LEVEL / m / 2) * deviation / math.sqrt(number) for m in (1, comparisons))
    verdict, needed = UNDECIDED, None
    if p_holm < LEVEL:
        verdict = SUPPORTED if mean > 0 else NOT_SUPPORTED
    elif has_deviation and mean + widest < WORTH:
        verdict = NOT_SUPPORTED
    else:
        needed = needed_units(differences, comparisons)
    effect = mean / deviation if has_deviation else NAN
    return Verdict(verdict, number, mean, deviation, mean - half, mean + half, p, p_holm, effect, needed)
