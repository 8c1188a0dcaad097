"""Batch norm's statistics after recalibration are those of the clips, with dropout off."""

import numpy as np
import pytest
import torch
from torch import nn

from singtech.training.recalibration import recalibrate


class Stack(nn.Module):
    """Dropout, convolution and batch norm, twice: the arrangement that makes running statistics too large."""

    def __init__(self):
        super().__init__()
        layers = []
        for _ in range(2):
            layers += [nn.Dropout(0.3), nn.Conv1d(4, 4, 5, bias=False), nn.BatchNorm1d(4), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def features(self, inputs):
        return self.layers(inputs)


@pytest.fixture
def stack():
    torch.manual_seed(0)
    return Stack()


def clips(count=96):
    return 2 + torch.randn(count, 4, 40, generator=torch.Generator().manual_seed(1))


def test_one_batch_gives_torchs_own_moments(stack):
    recalibrate(stack, [clips()])
    inputs = stack.layers[1](clips())
    torch.testing.assert_close(stack.layers[2].running_mean, inputs.mean(dim=(0, 2)))
    torch.testing.assert_close(stack.layers[2].running_var, inputs.transpose(0, 1).flatten(1).var(dim=1))


def test_batches_of_any_size_give_the_moments_of_all_clips(stack):
    recalibrate(stack, clips().split([64, 31, 1]))
    inputs = stack.layers[1](clips())
    torch.testing.assert_close(stack.layers[2].running_mean, inputs.mean(dim=(0, 2)))
    torch.testing.assert_close(stack.layers[2].running_var, inputs.transpose(0, 1).flatten(1).var(dim=1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_are_exact_where_the_mean_is_many_deviations(layout):
    """As after the first convolution on a spectrogram, in either layout; expected in double precision by NumPy."""
    draw = np.random.default_rng(0)
    maps = torch.tensor(17 + draw.normal(size=(8, 5, 97, 97)), dtype=torch.float32).contiguous(memory_format=layout)
    network = nn.Sequential(norm := nn.BatchNorm2d(5))
    network.features = network.__call__
    recalibrate(network, maps.split(3))
    exact = maps.double().numpy()
    np.testing.assert_allclose(norm.running_mean, exact.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(norm.running_var, exact.var(axis=(0, 2, 3), ddof=1), rtol=1e-6)


def test_what_evaluation_normalises_has_mean_zero_and_variance_one(stack):
    stack.train()
    for _ in range(60):  # running statistics, made as training makes them
        stack.features(clips())
    stack.eval()
    before = [variance_after(norm, stack) for norm in (stack.layers[2], stack.layers[6])]
    recalibrate(stack, clips().split(32))
    after = [variance_after(norm, stack) for norm in (stack.layers[2], stack.layers[6])]
    assert max(before) < 0.85  # dropout had raised what the running variance expects
    assert after == pytest.approx([1, 1], abs=0.02)


def variance_after(norm, stack):
    """Mean over channels of the variance that batch norm's output has in evaluation, before its scale."""
    seen = []
    hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        stack.features(clips())
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1).var(dim=1).mean().item()


def test_weights_and_modes_and_counts_are_left_alone(stack):
    parameters = [p.clone() for p in stack.parameters()]
    recalibrate(stack, [clips()])
    assert all(torch.equal(a, b) for a, b in zip(parameters, stack.parameters(), strict=True))
    assert not any(module.training for module in stack.modules())
    assert stack.layers[2].num_batches_tracked == 0
    assert stack.layers[2].momentum == 0.1
    assert not stack.layers[2]._forward_pre_hooks


def test_norms_that_keep_no_statistics_or_that_nothing_passes_are_left_alone(stack):
    stack.layers.append(nn.BatchNorm1d(4, track_running_stats=False))
    stack.head = nn.BatchNorm1d(2)
    stack.head.running_mean.fill_(3.0)
    recalibrate(stack, [clips()])
    assert stack.head.running_mean.tolist() == [3, 3]
    assert stack.layers[-1].running_mean is None
    assert stack.layers[2].running_mean.abs().min() > 0
