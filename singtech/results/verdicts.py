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
from dataclasses import dataclass

import numpy as np

from singtech.results.intervals import (
    DELTA,
    LEVEL,
    NAN,
    NEGLIGIBLE,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Estimate,
    decide,
    over_folds,
    over_seeds,
)

POWER = 0.8
PATTERNS = 999_999  # of signs; where there are more, as many are drawn
MOST = 1000  # units; more are not practical
NOT_RUN = "not run"


@dataclass(frozen=True)
class Comparison:
    """The paired differences of two conditions, in the claimed direction.

    Attributes:
        estimate: their mean and its error.
        p: two-sided, that they are 0.
        is_exact: whether p is that of the sign flip, which needs many units to be small.
    """

    estimate: Estimate
    p: float
    is_exact: bool


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
        needed: how many units would decide an undecided comparison, for or against, with probability `POWER`; None if
            more than `MOST`, or if there is one seed over all folds.
    """

    verdict: str
    units: int = 0
    seeds: int = 0
    difference: float = NAN
    deviation: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = 1.0
    p_holm: float = 1.0
    effect: float = NAN
    needed: int | None = None


def by_seed(differences: Sequence[float]) -> Comparison:
    """Compare over seeds, on fixed test singers."""
    return Comparison(over_seeds(np.asarray(differences, dtype=float)), sign_flip(differences), is_exact=True)


def by_fold(differences: np.ndarray) -> Comparison:
    """Compare over (n, S) differences of n folds and S seeds, for new singers; nan of a seed that a fold lacks."""
    estimate = over_folds(differences)
    return Comparison(estimate, estimate.p, is_exact=False)


def judge(family: Sequence[Comparison], delta: float = DELTA) -> list[Verdict]:
    """Give a verdict on each comparison of a family.

    Args:
        family: a comparison that was not run has no units, but still counts in Holm's procedure.
        delta: smaller differences do not matter.
    """
    adjusted = holm([each.p for each in family])
    return [_verdict(each, float(p), len(family), delta) for each, p in zip(family, adjusted, strict=True)]


def decide_if_run(estimate: Estimate, delta: float, p: float, comparisons: int) -> str:
    """Decide as `decide` does; "not run" without units."""
    return decide(estimate, delta, p, comparisons) if estimate.units else NOT_RUN


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


def needed_units(comparison: Comparison, comparisons: int, delta: float = DELTA) -> int | None:
    """How many differences like these decide, for or against, with probability `POWER`; None if more than `MOST`.

    For a significant difference, the power of the sign-flip test at Holm's first step is approximated by that of
    Student's paired test, and the smallest exact p must lie below the level. For an interval within ±delta, it is the
    power of Student's one-sided tests against both ends.
    """
    estimate, level = comparison.estimate, LEVEL / comparisons
    least = least_seeds(comparisons) if comparison.is_exact else 2
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


def _verdict(comparison: Comparison, p_holm: float, comparisons: int, delta: float) -> Verdict:
    estimate = comparison.estimate
    if not estimate.units:
        return Verdict(NOT_RUN)
    verdict = decide(estimate, delta, p_holm, comparisons)
    lacks_seed = estimate.seeds < 2 and not comparison.is_exact
    needed = needed_units(comparison, comparisons, delta) if verdict == UNDECIDED and not lacks_seed else None
    numbers = estimate.value, estimate.deviation, *estimate.interval(), comparison.p, p_holm
    effect = estimate.value / estimate.deviation if estimate.is_defined else NAN
    return Verdict(verdict, estimate.units, estimate.seeds, *numbers, effect, needed)
