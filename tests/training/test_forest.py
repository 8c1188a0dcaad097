"""The random forest on a network's features (Yamamoto et al. 2021)."""

import numpy as np
import pytest

from singtech.training.forest import Forest, forest_logits

COUNTS = (120, 30, 10)


def clips(counts=COUNTS, spread=1.0, seed=0):
    """Features around (0, 0), (2, 0), (4, 0) …, and their techniques."""
    draw = np.random.default_rng(seed)
    targets = np.repeat(np.arange(len(counts)), counts)
    centres = np.stack([2.0 * targets, np.zeros(len(targets))], axis=1)
    return (centres + spread * draw.normal(size=centres.shape)).astype(np.float32), targets


def logits(forest, alpha=0.0, seed=0, techniques=3, training=None):
    return forest_logits(forest, *(training or clips()), clips(seed=1)[0], techniques, alpha, seed)


def share(values, technique):
    return (values.argmax(axis=1) == technique).mean()


@pytest.mark.parametrize("balanced", [True, False])
def test_logits_are_logarithms_of_probabilities_in_the_order_of_the_techniques(balanced):
    features, targets = clips((40, 40, 40), spread=0.1)
    values = forest_logits(Forest(20, balanced), features, targets, features, 3, 0.2, 0)
    assert values.shape == (120, 3)
    assert values.dtype == np.float32
    assert (values.argmax(axis=1) == targets).all()
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1 + 3e-6, rtol=1e-5)
    assert values.min() == np.float32(np.log(1e-6))


def test_alpha_favours_rare_techniques_in_a_plain_forest_and_does_nothing_in_a_balanced_one():
    plain = [share(np.mean([logits(Forest(50, False), a, s) for s in range(5)], axis=0), 0) for a in (0.0, 1.0)]
    assert plain[0] > plain[1]
    assert np.array_equal(logits(Forest(), alpha=0.0), logits(Forest(), alpha=1.0))


def without_information(forest, alpha):
    """(3,) what a forest says of a clip that it cannot tell from any other: each technique's share in its trees."""
    same, targets = np.zeros((160, 2), dtype=np.float32), np.repeat(np.arange(3), COUNTS)
    return np.exp(forest_logits(forest, same, targets, same[:1], 3, alpha, 0))[0]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_in_a_plain_forest_a_technique_counts_as_its_clips_times_the_weight_of_equation_2(alpha):
    counts = np.array(COUNTS)
    expected = counts * counts**-alpha
    np.testing.assert_allclose(without_information(Forest(300, False), alpha), expected / expected.sum(), atol=0.02)


def test_every_tree_of_a_balanced_forest_sees_as_many_clips_of_each_technique():
    np.testing.assert_allclose(without_information(Forest(1), 0.0), 1 / 3, rtol=1e-4)


@pytest.mark.parametrize("balanced", [True, False])
def test_a_seed_gives_the_same_bits_again(balanced):
    forest = Forest(20, balanced)
    assert np.array_equal(logits(forest, 0.2, seed=1), logits(forest, 0.2, seed=1))
    assert not np.array_equal(logits(forest, 0.2, seed=1), logits(forest, 0.2, seed=2))


@pytest.mark.parametrize("balanced", [True, False])
def test_a_technique_without_training_clips_keeps_its_column(balanced):
    features, targets = clips((20, 20, 20))
    kept = targets != 1
    values = logits(Forest(10, balanced), 0.2, techniques=4, training=(features[kept], targets[kept]))
    assert values.shape == (160, 4)
    assert (values[:, [1, 3]] == np.float32(np.log(1e-6))).all()


def test_wrong_settings_are_named():
    for trees in (0, -1, 2.5, "many"):
        with pytest.raises(ValueError, match=rf"forest\.trees={trees}: expected a whole number from 1 up"):
            Forest(trees)
    with pytest.raises(ValueError, match="alpha=-1: expected a number from 0"):
        logits(Forest(5, False), alpha=-1)
