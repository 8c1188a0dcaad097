"""The long-tail methods, each on three techniques and four clips, with numbers worked out by hand."""

import math

import pytest
import torch

from singtech.imbalance.losses import (
    LDAM,
    ClassBalanced,
    Focal,
    LabelAwareSmoothing,
    LogitAdjusted,
    class_weights,
    weighted_cross_entropy,
)
from singtech.imbalance.mixing import Mixup, Remix
from singtech.imbalance.rewrites import LogitAdjusted as PostHoc
from singtech.imbalance.rewrites import MarginCalibration, MaxNorm, NearestMean
from singtech.imbalance.samplers import Power, Progressive
from singtech.models.heads import Cosine

P = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
LOGITS = P.log()
TARGETS = torch.tensor([0, 0, 1, 2])  # their probabilities: 1/2, 1/4, 1/4, 1/4
COUNTS = torch.tensor([2, 1, 1])


def log_mean(*inverse_probabilities):
    """The mean cross-entropy of four clips, from one over the probability of each one's technique."""
    return sum(map(math.log, inverse_probabilities)) / 4


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Focal(0.0), log_mean(2, 4, 4, 4)),
        (Focal(2.0), (0.25 * 1 + 3 * 0.5625 * 2) * math.log(2) / 4),
        # weights 2/3, 1, 1: (2/3 (1 + 2) + 2 + 2) / (2/3 + 2/3 + 1 + 1) = 1.8
        (ClassBalanced(COUNTS, beta=0.5), 1.8 * math.log(2)),
        (ClassBalanced(COUNTS, beta=0.0), log_mean(2, 4, 4, 4)),
        # probabilities times 1/2, 1/4, 1/4, then normalised: 2/3, 2/5, 1/5, 1/6
        (LogitAdjusted(COUNTS), log_mean(1.5, 2.5, 5, 6)),
        (LogitAdjusted(COUNTS, tau=0.0), log_mean(2, 4, 4, 4)),
        # of 16, 1 and 1 clips: margins 1/4, 1/2, 1/2; scale 4 ln 2 halves the first's odds and quarters the others'
        (LDAM(torch.tensor([16, 1, 1]), 0.5, 4 * math.log(2)), log_mean(3, 7, 13, 13)),
        # of 3, 2 and 1 clips: smoothing .3, .3 sin 45°, 0; the mean of log p is -5/3 ln 2 everywhere
        (
            LabelAwareSmoothing(torch.tensor([3, 2, 1])),
            (1.2 + 1.9 + (2 - 0.3 * math.sqrt(0.5) / 3) + 2) * math.log(2) / 4,
        ),
    ],
)
def test_losses(loss, expected):
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-5)


def test_ldam_weighs_clips_from_four_fifths_of_the_epochs_on():
    loss = LDAM(torch.tensor([16, 1, 1]), 0.5, 4 * math.log(2), beta=0.5)
    early, first = log_mean(3, 7, 13, 13), 0.5 / (1 - 0.5**16)
    late = (first * math.log(3 * 7) + 2 * math.log(13)) / (2 * first + 2)
    for progress, expected in [(0.0, early), (0.79, early), (0.8, late)]:
        loss.begin_epoch(progress)
        assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-5)


def test_effective_numbers_on_vocalsets_counts_are_close_to_powers():
    counts = torch.tensor([333, 360, 109, 267, 56, 920, 230, 189, 775, 376])
    for beta, alpha in [(0.99, 0.30), (0.999, 0.86), (0.9999, 0.98)]:
        weights = ClassBalanced(counts, beta).weights
        assert (weights[4] / weights[5]).log().item() / math.log(920 / 56) == pytest.approx(alpha, abs=0.01)
    inverse = class_weights(counts, 1.0)
    torch.testing.assert_close(ClassBalanced(counts, 1 - 1e-9).weights / inverse, torch.ones(10), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("sampler", "progress", "expected"),
    [
        (Power(TARGETS, q=0.5), 0.0, [math.sqrt(2), 1, 1]),
        (Power(TARGETS, q=0.0), 0.0, [1, 1, 1]),
        (Progressive(TARGETS), 0.0, [2, 1, 1]),
        (Progressive(TARGETS), 0.5, [5, 3.5, 3.5]),  # twelfths
        (Progressive(TARGETS), 1.0, [1, 1, 1]),
    ],
)
def test_samplers(sampler, progress, expected):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([TARGETS[sampler(generator, progress)] for _ in range(4_000)])
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor(expected) / sum(expected), rtol=0, atol=0.02)  # five deviations


def head(weight, bias=(0.0, 0.0, 0.0)):
    """A linear head of these weights."""
    layer = torch.nn.Linear(2, 3)
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return layer


WEIGHT = [[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]


def test_logit_adjustment_after_training():
    layer = head(WEIGHT, (1.0, 0.0, 0.0))
    PostHoc(tau=0.5)(layer, COUNTS)
    expected = [1 + 0.5 * math.log(2), 0.5 * math.log(4), 0.5 * math.log(4)]
    torch.testing.assert_close(layer.bias.data, torch.tensor(expected))


@pytest.mark.parametrize(
    ("distance", "weight", "bias"),
    [
        ("euclidean", [[2.0, 0.0], [0.0, 2.0], [6.0, 8.0]], [-1.0, -1.0, -25.0]),
        ("cosine", [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], [0.0, 0.0, 0.0]),
    ],
)
def test_the_nearest_mean(distance, weight, bias):
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
    layer = head(WEIGHT)
    NearestMean(distance)(layer, COUNTS, features, TARGETS)
    torch.testing.assert_close(layer.weight.data, torch.tensor(weight))
    torch.testing.assert_close(layer.bias.data, torch.tensor(bias))


def test_margin_calibration_learns_factors_and_margins_of_a_head():
    layer = head(WEIGHT, (1.0, 0.0, 0.0))
    calibration = MarginCalibration(layer)
    calibration.omega.data, calibration.beta.data = torch.tensor([2.0, 1.0, 1.0]), torch.tensor([0.1, 0.0, 0.5])
    features = torch.tensor([[1.0, 1.0]])
    expected = torch.tensor([[2 * (3 + 4 + 1) + 0.1 * 5, 1.0, 2 + 0.5 * 2]])
    torch.testing.assert_close(calibration(features), expected)
    calibration.fold(layer)
    torch.testing.assert_close(layer(features), expected)


def test_max_norm_shortens_rows_to_a_length_between_the_shortest_and_the_longest():
    layer = head(WEIGHT)  # norms 5, 1, 2
    limit = MaxNorm(layer, threshold=0.5)  # 1 + .5 (5 - 1) = 3
    limit(layer)
    torch.testing.assert_close(layer.weight.data, torch.tensor([[1.8, 2.4], [1.0, 0.0], [0.0, 2.0]]))


def test_mixup_mixes_clips_and_techniques_alike():
    inputs = torch.arange(4.0)[:, None]
    mixed, shares = Mixup(COUNTS)(inputs, TARGETS, torch.Generator().manual_seed(1))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    share = shares[TARGETS == 1].max().item()  # the single clip of the second technique
    partner = next(j for j in range(4) if math.isclose(mixed[2].item(), share * 2 + (1 - share) * j, abs_tol=1e-5))
    assert shares[2, TARGETS[partner]].item() == pytest.approx(1 - share, abs=1e-6) or partner == 2


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.4, [0.0, 0.4, 0.4, 0.4]), (0.6, [0.6, 1.0, 0.6, 0.6]), (0.5, [0.5, 0.5, 0.5, 0.5])],
)
def test_remix_gives_the_rare_technique_the_whole_label(share, expected):
    remix = Remix(torch.tensor([6, 2, 3]))  # own and other: 6 and 2, 2 and 6, 6 and 3, 3 and 6 clips
    own, other = torch.tensor([0, 1, 0, 2]), torch.tensor([1, 0, 2, 0])
    torch.testing.assert_close(remix.label_share(share, own, other), torch.tensor(expected))


def test_cosine_heads_give_scaled_cosines():
    layer = Cosine(2, 3, scale=10.0)
    layer.weight.data = torch.tensor(WEIGHT)
    torch.testing.assert_close(layer(torch.tensor([[0.0, 7.0]])), torch.tensor([[8.0, 0.0, 10.0]]))


def test_shares_of_techniques_as_targets_are_the_weighted_mean_of_both():
    shares = torch.tensor([[0.75, 0.25, 0.0]])
    for reduction, divisor in [("weights", 0.75 * 1 + 0.25 * 2), ("clips", 1)]:
        loss = weighted_cross_entropy(LOGITS[:1], shares, torch.tensor([1.0, 2.0, 3.0]), reduction)
        assert loss.item() == pytest.approx((0.75 * 1 * 1 + 0.25 * 2 * 2) * math.log(2) / divisor)
