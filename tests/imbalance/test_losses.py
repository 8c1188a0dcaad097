"""Equations 1 and 2."""

import math

import pytest
import torch
import torch.nn.functional as F

from singtech.imbalance.losses import class_weights, weighted_cross_entropy
from singtech.imbalance.smoothing import require_alpha


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.0, [1, 1, 1]), (0.5, [0.1, 0.2, 0.5]), (1.0, [0.01, 0.04, 0.25]), (0.2, [0.398107, 0.525306, 0.757858])],
)
def test_rarer_techniques_weigh_more(alpha, expected):
    weights = class_weights(torch.tensor([100, 25, 4]), alpha)
    torch.testing.assert_close(weights, torch.tensor(expected).float(), rtol=1e-5, atol=1e-6)


def test_a_technique_without_a_training_clip_is_named():
    with pytest.raises(ValueError, match="no training clip of trill, trillo: is data.split right"):
        class_weights(torch.tensor([3, 0, 0]), 0.2, ["belt", "trill", "trillo"])


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), "abc", None, True])
def test_an_alpha_that_is_no_number_from_zero_up_is_refused(alpha):
    with pytest.raises(ValueError, match=f"alpha={alpha}: expected a number from 0"):
        require_alpha(alpha)


def test_the_loss_of_a_batch_is_equation_1_by_hand():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    targets, weights = torch.tensor([0, 0]), torch.tensor([0.5, 3.0])
    losses = [-0.5 * math.log(math.e / (math.e + 1)), -0.5 * math.log(1 / (1 + math.e**2))]
    assert weighted_cross_entropy(logits, targets, weights, "clips").item() == pytest.approx(sum(losses) / 2)
    assert weighted_cross_entropy(logits, targets, weights, "weights").item() == pytest.approx(sum(losses) / 1.0)


def test_without_weighting_both_means_are_torchs_cross_entropy():
    logits, targets = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    for reduction in ("weights", "clips"):
        ours = weighted_cross_entropy(logits, targets, class_weights(torch.tensor([9, 5, 2, 1]), 0.0), reduction)
        torch.testing.assert_close(ours, F.cross_entropy(logits, targets))
