"""Test whether differences are real: give each comparison of a family a verdict.

The differences of a comparison are paired by seed (the test singers are fixed, training varies) or by fold (all singers
are new to their network). If two conditions do not differ, each seed's difference is as likely to have the opposite
sign. The exact p-value is the share of all sign patterns whose mean is at least as far from 0 (Fisher's randomisation
test). Over folds it is Student's: the singers of a fold share a network, so that flipping signs by singer rejects too
often, and folds are too few to flip. Holm's procedure adjusts the p-values of a family. The verdicts are

    negligible      Student's interval of the difference (95 % for the whole family) lies within ±delta, the smallest
                    difference that matters
    supported       else, the adjusted p is below 0.05 and the difference has the claimed sign
    refuted         the same, and it has the opposite sign
    undecided       neither, or there is one seed, or all differences are equal; `needed` is the number of seeds or
                    folds that would decide, if mean and deviation stay
    not run         there are no pairs
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from singtech.results.intervals import LEVEL, NEGLIGIBLE, REFUTED, SUPPORTED, UNDECIDED, Estimate, decide, over_seeds

POWER = 0.8
PATTERNS = 999_999  # of signs; where there are more, as many are drawn
MOST = 1000  # units; more are not practical
NOT_RUN = "not run"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one comparison. A number that its differences do not define is nan.

    Attributes:
        verdict: negligible, supported, refuted, undecided or not run.
        units: number of differences, of seeds or folds.
        seeds: number of seeds.
        difference, deviation: their mean, and their standard deviation (n - 1), to which the variance over seeds is
            added where they are of folds.
        low, high: Student's 95 % interval of the mean.
        p, p_holm: two-sided p-value, and the same adjusted by Holm within the family.
        effect: the mean divided by the deviation (Cohen's d of paired differences).
    """

    verdict: str
    units: int
    seeds: int
    difference: float
    deviation: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float


def by_seed(differences: Sequence[float]) -> Estimate:
    """The mean of paired differences over seeds, on fixed test singers, with the p-value of the sign flip."""
    return replace(over_seeds(np.asarray(differences, dtype=float)), exact_p=sign_flip(differences))


def judge(family: Sequence[Estimate], delta: float) -> list[Verdict]:
    """Give a verdict on each comparison of a family.

    Args:
        family: the paired differences of each comparison, in the claimed direction. One that was not run has no units,
            but still counts in Holm's procedure.
        delta: smaller differences do not matter.
    """
    verdicts = []
    for each, p_holm in zip(family, holm([each.p for each in family]).tolist(), strict=True):
        verdict = decide(each, delta, p_holm, len(family)) if each.units else NOT_RUN
        effect = each.value / each.deviation if each.is_defined else math.nan
        numbers = each.value, each.deviation, *each.interval(), each.p, p_holm, effect
        verdicts.append(Verdict(verdict, each.units, each.seeds, *numbers))
    return verdicts


def holm(ps: Sequence[float]) -> np.ndarray:
    """Adjust p-values by Holm's procedure. statsmodels collects garbage at each call, which takes most of a table."""
    order = np.argsort(ps)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.maximum.accumulate(np.take(ps, order) * np.arange(len(ps), 0, -1)).clip(max=1)
    return adjusted


def overall(verdicts: Iterable[str]) -> str:
    """The verdict on a claim with several comparisons: supported only if all of them are."""
    return next((word for word in (REFUTED, NEGLIGIBLE, NOT_RUN, UNDECIDED) if word in set(verdicts)), SUPPORTED)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the mean under all sign patterns, exact up to 19 differences; 1 for fewer than two.

    The smallest p-value of n differences is 2 / 2**n: five seeds cannot have less than 0.0625.
    """
    from scipy.stats import permutation_test

    if len(differences) < 2:
        return 1.0
    options = {"permutation_type": "samples", "n_resamples": PATTERNS, "batch": 10_000, "rng": 0}
    return float(permutation_test((differences,), np.mean, vectorized=True, **options).pvalue)


def needed_units(estimate: Estimate, comparisons: int, delta: float) -> int | None:
    """How many differences like these decide, for or against, with probability `POWER`; None if more than `MOST`, or
    if there is one seed over all folds.

    For a significant difference, the power of the sign-flip test at Holm's first step is approximated by that of
    Student's paired test, and the smallest exact p must lie below the level. For an interval within ±delta, it is the
    power of Student's one-sided tests against both ends.
    """
    is_over_seeds, level = estimate.exact_p is not None, LEVEL / comparisons
    least = least_seeds(comparisons) if is_over_seeds else 2
    if estimate.seeds < 2 and not is_over_seeds:
        return None
    if estimate.units < 2:
        return least
    mean, deviation = abs(estimate.value), estimate.deviation
    if deviation < 1e-9 * max(mean, delta):
        return max(least, estimate.units + 1) if mean > deviation else None
    ways = [_least_units(least, level, (mean / deviation, "two-sided"))]
    if mean < delta:
        ends = [((delta + sign * mean) / deviation, "larger") for sign in (-1, 1)]
        ways.append(_least_units(3, level / 2, *ends))
    units = min(ways)
    return max(units, estimate.units + 1) if units <= MOST else None


def least_seeds(comparisons: int) -> int:
    """How many seeds the sign flip needs at Holm's first step: its smallest p-value of n seeds is 2 / 2**n."""
    return math.ceil(math.log2(2 * comparisons / LEVEL))


def smallest_effect(seeds: int, comparisons: int) -> float:
    """The smallest difference that the sign flip over seeds finds with probability `POWER` at Holm's first step.

    Returns:
        in standard deviations over seeds; inf of fewer than `least_seeds`. With just as many all signs must agree; with
        more the power is approximated by that of Student's test, as in `needed_units`.
    """
    from scipy.special import ndtri
    from statsmodels.stats.power import TTestPower

    least = least_seeds(comparisons)
    if seeds <= least:
        return math.inf if seeds < least else float(ndtri(POWER ** (1 / seeds)))
    return float(TTestPower().solve_power(None, seeds, LEVEL / comparisons, POWER))


def _least_units(least: int, level: float, *tests: tuple[float, str]) -> int:
    """The smallest number of units from `least` up for which Student's tests, of an effect and an alternative, are all
    significant with probability `POWER` at least; at most `MOST` + 1."""
    from statsmodels.stats.power import TTestPower

    def power(units: int) -> float:
        return 1 - sum(1 - TTestPower().power(effect, units, level, None, side) for effect, side in tests)

    return least + bisect_left(range(least, MOST + 1), POWER, key=power)
