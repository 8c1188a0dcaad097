"""The map of features beside a singular value decomposition by NumPy, and its order."""

import numpy as np
import pandas as pd
import pytest

from singtech.results.clips import ClipProbabilities
from singtech.results.feature_map import ClipFeatures, describe_maps, lay_out


def test_the_components_are_those_of_numpys_decomposition_of_standardised_features():
    features = np.random.default_rng(0).normal(size=(30, 4)) @ np.diag([1, 5, 20, 100]) + 7
    features[:, 1] += features[:, 0]
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    u, s, _ = np.linalg.svd(standard, full_matrices=False)
    points, axes = lay_out(features)["PCA"]
    shares = s**2 / (s**2).sum()
    assert axes == [f"component {k + 1}: {100 * shares[k]:.0f} % of the variance" for k in range(2)]
    for k in range(2):
        assert abs(np.corrcoef(points[:, k], u[:, k])[0, 1]) == pytest.approx(1)
    assert np.ptp(points[:, 0]) / np.ptp(points[:, 1]) == pytest.approx(np.ptp(u[:, 0] * s[0]) / np.ptp(u[:, 1] * s[1]))
    assert np.abs(points).max() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(5, 1), (2, 3)])
def test_few_features_or_equal_clips_have_a_map_too(shape):
    points, axes = lay_out(np.ones(shape))["PCA"]
    assert np.abs(points).max() == 0
    assert axes[0] == "component 1: 0 % of the variance"


@pytest.mark.parametrize("features", [[[1.0, 2.0]], [[1.0, 2.0], [np.nan, 1.0]], [[1.0, 2.0], [np.inf, 1.0]]])
def test_one_clip_and_features_that_are_no_numbers_have_no_map(features):
    clips = pd.DataFrame({"recording": ["a", "b"], "start": [0.0, 0.0]})
    table = ClipProbabilities(("one",), clips, ("belt",), np.ones((1, 2, 1)), ())
    assert describe_maps(table, [ClipFeatures(("one",), "a run", np.arange(len(features)), np.array(features))]) == []


def test_points_have_the_order_of_the_pages_clips():
    clips = pd.DataFrame({"recording": ["b", "a", "b"], "start": [0.0, 0.0, 3.0]})
    table = ClipProbabilities(("one", "two"), clips, ("belt",), np.ones((2, 3, 1)), ())
    (found,) = describe_maps(table, [ClipFeatures(("two",), "a run", np.array([2, 0]), np.array([[4.0], [1.0]]))])
    assert found["conditions"] == [1]
    points = found["layouts"][0]["points"]
    assert points[0] is None  # a, which has no features
    assert [abs(points[n][0]) for n in (1, 2)] == [1000, 1000]
    assert points[1][0] == -points[2][0]
