"""Verdicts: p-values by hand and by scipy, Holm and power by statsmodels' published examples and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import nct, norm, permutation_test, t, ttest_1samp

from singtech.results.intervals import NEGLIGIBLE, REFUTED, SUPPORTED, UNDECIDED, over_folds
from singtech.results.verdicts import (
    NOT_RUN,
    by_seed,
    holm,
    judge,
    least_seeds,
    needed_units,
    overall,
    sign_flip,
    smallest_effect,
)


def judged(family, delta=0.01):
    """The verdicts on differences that are paired by seed."""
    return judge(list(map(by_seed, family)), delta)


def needed(differences, comparisons):
    return needed_units(by_seed(differences), comparisons, 0.01)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.3], 1.0),  # of two patterns both are as far
        ([1, 2, 3], 2 / 8),
        ([1, 1, 1, 1, 1], 2 / 32),
        ([1, -2, 3], 6 / 8),  # sums 6 4 2 0 and their negatives: as far as 2 are six
        ([0, 0], 1.0),
    ],
)
def test_the_p_value_counts_sign_patterns_by_hand(differences, p):
    assert sign_flip(differences) == pytest.approx(p)


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_scipys_exact_one(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, size=9)
    exact = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip(differences) == pytest.approx(exact)


def test_many_differences_are_tested_by_drawn_patterns_near_students_p():
    differences = np.random.default_rng(1).normal(0.4, 1, size=30)
    assert sign_flip(differences) == pytest.approx(ttest_1samp(differences, 0).pvalue, rel=0.2)


def test_five_seeds_cannot_decide_but_enough_can():
    (five,) = judged([[0.05] * 5])
    assert (five.verdict, five.p) == (UNDECIDED, 2 / 32)
    assert needed([0.05] * 5, 1) == 6  # 2 / 2**6 is below 0.05
    (six,) = judged([[0.05, 0.06, 0.05, 0.06, 0.05, 0.06]])
    assert six.verdict == SUPPORTED
    (other_way,) = judged([[-0.05, -0.06, -0.05, -0.06, -0.05, -0.06]])
    assert other_way.verdict == REFUTED


def test_holm_by_hand():
    """p-values 2/64, 2/64 and 1: three, two and one times, and no smaller than the one before."""
    verdicts = judged([[1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 2], [1, -1]])
    assert [v.p_holm for v in verdicts] == pytest.approx([3 * 2 / 64, 3 * 2 / 64, 1])
    assert [v.verdict for v in verdicts] == [UNDECIDED] * 3


def test_holm_is_statsmodels():
    from statsmodels.stats.multitest import multipletests

    for ps in (np.random.default_rng(0).uniform(size=9) ** 3, [0.2, 0.2, 0.9], [1.0], []):
        assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


def test_what_was_not_run_counts_in_the_family_all_the_same():
    alone, *_ = judged([[1, 2, 3, 4, 5, 6]])
    among, missing = judged([[1, 2, 3, 4, 5, 6], []])
    assert (alone.p_holm, among.p_holm) == pytest.approx((2 / 64, 4 / 64))
    assert (missing.verdict, missing.units) == (NOT_RUN, 0)


def test_a_difference_that_is_surely_small_is_negligible():
    differences = [0.004, -0.006, 0.003, -0.004, 0.0, 0.002]
    (verdict,) = judged([differences])
    assert verdict.verdict == NEGLIGIBLE
    assert (verdict.low, verdict.high) == pytest.approx(ttest_1samp(differences, 0).confidence_interval(0.95))
    assert -0.01 < verdict.low < verdict.high < 0.01
    assert judged([differences], delta=0.003)[0].verdict == UNDECIDED
    among = judged([differences] * 2 + [[0.0]] * 500)[0]
    assert among.verdict == UNDECIDED  # among hundreds of comparisons it could be chance


def test_mean_deviation_and_effect_by_hand():
    (verdict,) = judged([[0.1, 0.3]])
    assert (verdict.units, verdict.difference, verdict.deviation) == (
        2,
        pytest.approx(0.2),
        pytest.approx(0.1 * math.sqrt(2)),
    )
    assert verdict.effect == pytest.approx(math.sqrt(2))


def test_needed_units_are_those_of_the_textbook():
    """Cohen (1988), Table 2.4.1: d of 0.5 wants 34 pairs at 0.05 two-sided for a power of 0.8."""
    differences = np.array([0.5 - math.sqrt(0.5), 0.5 + math.sqrt(0.5)])  # mean 0.5, deviation 1
    assert needed(differences, 1) == 34
    assert needed(differences, 7) > 34
    assert needed(np.array([-1.0, 1.0]), 1) is None
    assert needed(np.array([0.2]), 7) == 9  # 2 / 2**9 is below 0.05 / 7, and 2 / 2**8 is not


def test_with_just_enough_seeds_all_signs_must_agree():
    """2 / 2**9 is below 0.05 / 7 and 4 / 2**9 is not: the power is that nine normal differences have one sign."""
    assert least_seeds(7) == 9
    assert smallest_effect(8, 7) == math.inf
    assert norm.cdf(smallest_effect(9, 7)) ** 9 == pytest.approx(0.8)


def test_more_seeds_find_what_students_test_finds():
    level, effect = 0.05 / 7, smallest_effect(15, 7)
    assert nct.sf(t.isf(level / 2, 14), 14, effect * math.sqrt(15)) == pytest.approx(0.8, abs=1e-4)


def test_what_is_nearly_nothing_is_soon_seen_to_be_negligible():
    """The power of Student's one-sided tests at 0.05 / 2 / 7 against -0.01 and 0.01, from the noncentral t."""
    differences = np.array([-1, 1, 0, 0, 0]) * 0.01 * math.sqrt(2) + 0.002  # mean 0.002, deviation 0.01

    def power(units):
        ends = (nct.sf(t.isf(0.05 / 14, units - 1), units - 1, effect * math.sqrt(units)) for effect in (0.8, 1.2))
        return sum(ends) - 1

    units = needed(differences, 7)
    assert power(units - 1) < 0.8 <= power(units)
    assert units < 35


def test_one_seed_decides_nothing():
    family = [over_folds(np.full((5, seeds), 0.1) + np.arange(5)[:, None] / 1000) for seeds in (1, 2)]
    alone, two = judge(family, 0.01)
    assert (alone.verdict, alone.units, alone.seeds) == (UNDECIDED, 5, 1)
    assert needed_units(family[0], 1, 0.01) is None
    assert (two.verdict, two.seeds) == (SUPPORTED, 2)
    assert alone.p == two.p
    assert judged([[0.5]])[0].verdict == UNDECIDED


def test_folds_are_tested_by_student():
    """With 4 degrees of freedom, not by flipping signs, of which five folds have too few."""
    folds = np.array([0.04, 0.06, 0.05, 0.07, 0.05])
    verdict, _ = judge([over_folds(np.stack([folds, folds], axis=1)), over_folds(np.empty((0, 2)))], 0.01)
    assert verdict.p == pytest.approx(ttest_1samp(folds, 0).pvalue)
    assert verdict.p_holm == pytest.approx(2 * verdict.p)
    assert (verdict.verdict, verdict.deviation) == (SUPPORTED, pytest.approx(folds.std(ddof=1)))
    assert judge([over_folds(-np.stack([folds, folds], axis=1))], 0.01)[0].verdict == REFUTED


def test_five_folds_may_be_enough_where_five_seeds_are_not():
    differences = np.array([0.04, 0.06, 0.05, 0.07, 0.05])
    assert needed_units(over_folds(differences[:1, None].repeat(2, axis=1)), 1, 0.01) == 2
    assert needed_units(by_seed(differences[:1]), 1, 0.01) == 6


def test_who_has_as_many_as_it_needs_is_asked_for_one_more():
    differences = np.array([0.5 - math.sqrt(0.5), 0.5 + math.sqrt(0.5)] * 20)
    assert needed(differences, 1) == 41


@pytest.mark.parametrize("differences", [[0.0, 0.0], [0.0] * 9, [-0.05, -0.05]])
def test_alike_differences_have_no_interval_and_sink_no_claim(differences):
    (verdict,) = judged([differences])
    assert verdict.verdict == UNDECIDED


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, UNDECIDED], UNDECIDED),
        ([SUPPORTED, NOT_RUN, NEGLIGIBLE, REFUTED], REFUTED),
        ([SUPPORTED, NOT_RUN, NEGLIGIBLE], NEGLIGIBLE),
        ([SUPPORTED, UNDECIDED, NOT_RUN], NOT_RUN),
    ],
)
def test_a_claim_stands_only_with_all_its_comparisons(words, word):
    assert overall(words) == word
