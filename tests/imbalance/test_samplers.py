"""Which clips an epoch trains on."""

import torch

from singtech.imbalance.samplers import Balanced


def test_the_balanced_sampler_draws_every_technique_as_often():
    targets = torch.tensor([0] * 9000 + [1] * 900 + [2] * 100)
    drawn = targets[Balanced(targets)(torch.Generator().manual_seed(0))]
    assert len(drawn) == len(targets)
    shares = torch.bincount(drawn) / len(drawn)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.02)  # four deviations
