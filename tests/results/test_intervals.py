"""Intervals: by hand, by scipy, and by how often they cover what was simulated."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp, ttest_ind

from singtech.results.intervals import (
    Estimate,
    decide,
    draw_singers,
    jackknife,
    optimism,
    over_folds,
    over_seeds,
    without_each,
)

# ann has 1 of 2 clips right, ben 3 of 4, cat 2 of 2
SINGERS = np.array(["ben", "ann", "ben", "cat", "ben", "ann", "cat", "ben"])
RIGHT = np.array([1, 0, 1, 1, 1, 1, 1, 0])


def table(values):
    """(1 + n, S) means of (n, S) values of n singers: of all, then without each."""
    values = np.asarray(values, dtype=float)
    return np.vstack([values.mean(axis=0), [np.delete(values, n, axis=0).mean(axis=0) for n in range(len(values))]])


def test_three_singers_by_hand():
    weights = without_each(SINGERS)
    scores = weights @ RIGHT / weights.sum(axis=1)
    assert scores == pytest.approx([6 / 8, 5 / 6, 3 / 4, 4 / 6])
    estimate = jackknife(scores[:, None])
    # the scores without one are 1/12 above, at, and 1/12 below their mean: 2/3 of 2/144
    assert (estimate.value, estimate.error) == (0.75, pytest.approx(math.sqrt(1 / 108)))
    assert (estimate.degrees, estimate.units, estimate.seeds) == (2, 3, 1)
    low, high = estimate.interval()
    assert high - 0.75 == pytest.approx(0.75 - low) == pytest.approx(4.302653 / math.sqrt(108))


def test_of_singers_who_count_alike_it_is_students_interval():
    values = np.random.default_rng(0).normal(size=(7, 1))
    expected = ttest_1samp(values[:, 0], 0)
    estimate = jackknife(table(values))
    assert estimate.interval() == pytest.approx(expected.confidence_interval(0.95))
    assert estimate.interval(0.01) == pytest.approx(expected.confidence_interval(0.99))
    assert estimate.p == pytest.approx(expected.pvalue)


def test_the_variance_of_seeds_is_added_with_the_degrees_of_welchs_test():
    """A mean over singers less a mean over seeds has the same standard error and degrees (Welch 1947)."""
    values = np.random.default_rng(1).normal(size=(5, 3))
    estimate = jackknife(table(values))
    welch = ttest_ind(values.mean(axis=1), values.mean(axis=0), equal_var=False)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.degrees, estimate.seeds) == (pytest.approx(welch.df), 3)
    low, high = welch.confidence_interval(0.95)
    assert np.diff(estimate.interval())[0] == pytest.approx(high - low)


def test_a_paired_difference_is_that_of_the_differences():
    """Singers who move both scores alike say nothing about the difference."""
    first = np.array([[0.2], [0.9], [0.5]])
    difference = jackknife(table(first + 0.1 + [[0.01], [0.02], [0.03]]) - table(first))
    assert difference.interval() == pytest.approx(ttest_1samp([0.11, 0.12, 0.13], 0).confidence_interval(0.95))


def test_folds_that_share_a_network_are_the_units():
    values = np.random.default_rng(2).normal(size=5)
    estimate = over_folds(values[:, None])
    assert estimate.interval() == pytest.approx(ttest_1samp(values, 0).confidence_interval(0.95))
    assert (estimate.degrees, estimate.units) == (4, 5)


def test_with_one_test_singer_a_fold_there_are_19_degrees():
    values = np.random.default_rng(3).normal(size=20)
    estimate = over_folds(values[:, None])
    assert estimate.degrees == 19
    assert estimate.p == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_a_seed_that_a_fold_lacks_counts_in_the_means_alone():
    """Folds are 2, 3 and 7; the seeds that all folds have are at 3 and 5."""
    estimate = over_folds(np.array([[1.0, 3.0, np.nan], [2.0, 4.0, np.nan], [6.0, 8.0, 7.0], [np.nan] * 3]))
    assert (estimate.value, estimate.units, estimate.seeds) == (4, 3, 2)
    assert estimate.error == pytest.approx(math.sqrt(7 / 3 + 2 / 2))  # the variance of 2 3 7 is 7, that of 3 5 is 2


def test_seeds_alone_are_students_too():
    values = np.array([0.1, 0.3, 0.2])
    assert over_seeds(values).interval() == pytest.approx(ttest_1samp(values, 0).confidence_interval(0.95))
    assert not over_seeds(values[:1]).is_defined


@pytest.mark.parametrize("scores", [[[0.5], [0.5]], [[0.5, 0.7], [0.5, 0.7]], [[1.0], [1.0], [1.0], [1.0]]])
def test_one_singer_or_singers_all_alike_have_no_interval(scores):
    estimate = jackknife(np.array(scores))
    assert np.isnan(estimate.interval()).all()
    assert estimate.p == 1


def test_a_score_that_is_undefined_without_a_singer_has_no_interval():
    assert np.isnan(jackknife(np.array([[0.5], [0.4], [np.nan], [0.6]])).interval()).all()


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.009, 0.004, "negligible"),
        (0.001, 0.0099, "negligible"),  # not 0, and still too small to matter
        (0.001, 0.02, "supported"),
        (-0.02, -0.001, "refuted"),
        (-0.011, 0.009, "undecided"),
        (-0.0001, 0.02, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_an_interval_decides(low, high, word):
    assert decide(spanning(low, high)) == word


def spanning(low, high, seeds=2, level=0.05):
    """An estimate with this interval."""
    return Estimate((low + high) / 2, (high - low) / 2 / t.ppf(1 - level / 2, 4), 4, 5, seeds)


def test_delta_is_a_setting():
    assert [decide(spanning(-0.015, 0.015), delta) for delta in (0.01, 0.02)] == ["undecided", "negligible"]


@pytest.mark.parametrize(("low", "high"), [(-0.001, 0.001), (0.1, 0.2)])
def test_one_seed_is_undecided(low, high):
    assert decide(spanning(low, high, seeds=1)) == "undecided"
    assert decide(spanning(low, high)) != "undecided"


def test_among_several_comparisons_the_interval_is_wider_and_p_adjusted():
    small = spanning(-0.009, 0.009)
    assert [decide(small, comparisons=number) for number in (1, 2)] == ["negligible", "undecided"]
    assert decide(spanning(-0.009, 0.009, level=0.025), comparisons=2) == "negligible"
    assert [decide(spanning(0.01, 0.05), p=p) for p in (0.049, 0.05)] == ["supported", "undecided"]


@pytest.mark.parametrize("deviations", [(1, 0, 0), (1, 0.5, 0.3)])
def test_intervals_cover_the_truth_in_95_of_100(deviations):
    """Five singers, with one seed or nine: t of 5 degrees would cover .938, dividing by n instead of n - 1 .932."""
    draw, sets = np.random.default_rng(4), 8000
    seeds = 9 if deviations[1] else 1
    shapes = (sets, 5, 1), (sets, 1, seeds), (sets, 5, seeds)
    values = sum(d * draw.normal(size=shape) for d, shape in zip(deviations, shapes, strict=True))
    hits = 0
    for each in values:
        low, high = jackknife(table(each)).interval()
        hits += low <= 0 <= high
    assert hits / sets == pytest.approx(0.95, abs=0.0075)  # three standard errors


def test_drawn_singers_come_with_all_their_clips():
    weights = draw_singers(SINGERS, 500)
    assert weights.shape == (500, 8)
    for name in "ann", "ben", "cat":
        clips = weights[:, np.isin(SINGERS, name)]
        assert (clips == clips[:, :1]).all()
    each = weights[:, [1, 0, 3]]  # ann, ben, cat
    np.testing.assert_array_equal(each.sum(axis=1), 2)
    assert each.mean() == pytest.approx(2 / 3)


def test_optimism_by_hand():
    """The second is best on the test set. On two resamples the first is selected, luckier than the mean by .1 and .05;
    on one the second, luckier by .05."""
    scores = np.array([0.5, 0.6])
    resampled = np.array([[0.7, 0.6], [0.75, 0.75], [0.5, 0.7]])
    assert optimism(scores, resampled) == pytest.approx((0.1 + 0.05 + 0.05) / 3)
    assert optimism(scores, np.tile(scores, (4, 1))) == 0


def test_a_wider_level_is_students_quantile():
    assert Estimate(0.0, 1.0, 4, 5, 1).interval(0.1)[1] == pytest.approx(t.ppf(0.95, 4))
