"""A block's compiled passes against torch's own modules, one after the other."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from singtech.models.block import Block, pooled
from singtech.models.block_loops import draw

ELSEWHERE = ("evaluation", "a listener", "a listener to gradients", "double precision", "no pooling")
MAPS = torch.randn(3, 20, 13, 11, generator=torch.Generator().manual_seed(0))


def norm(channels=20, dtype=torch.float32):
    """Batch norm with weights of either sign, and one of zero."""
    found = nn.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        found.weight.copy_(torch.linspace(-1, 1.5, channels)).view(-1)[2] = 0
        found.bias.copy_(torch.linspace(0.5, -0.5, channels))
    return found


@pytest.mark.parametrize("window", [(4, 4), (3, 3), (2, 2), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_batch_norm_max_pooling_and_relu_with_all_their_gradients(window, dtype):
    found = []
    for way in ("torch's", "ours"):
        maps, normalise = MAPS.clone().to(dtype).requires_grad_(), norm(dtype=dtype)
        if way == "ours":
            output = pooled(maps, normalise, window)
        else:
            output = nn.functional.relu(nn.functional.max_pool2d(normalise(maps), window))
        output.backward(torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output))
        parts = [output.detach(), maps.grad, normalise.weight.grad, normalise.bias.grad]
        found.append([*parts, *normalise.state_dict().values()])
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs, **({"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}))


def test_in_double_precision_its_gradients_pass_gradcheck():
    maps = MAPS[:2, :4, :6, :5].double().requires_grad_()
    normalise = norm(4, torch.float64)
    weights = [normalise.weight, normalise.bias]
    assert torch.autograd.gradcheck(lambda m, *_: pooled(m, copy.copy(normalise), (2, 2)), (maps, *weights))


@pytest.mark.parametrize("dropout", [0.3, 0.75])
def test_dropout_drops_its_share_raises_the_rest_and_their_gradients(dropout):
    torch.manual_seed(1)
    maps = torch.randn(8, 32, 64, 64).requires_grad_()
    whole = pooled(maps, norm(32), (2, 2)).detach()
    output = pooled(maps, norm(32), (2, 2), dropout)
    alive = whole != 0
    kept = output[alive] != 0
    deviation = math.sqrt(dropout * (1 - dropout) / len(kept))
    assert kept.float().mean().item() == pytest.approx(1 - dropout, abs=5 * deviation)
    torch.testing.assert_close(output[alive][kept], whole[alive][kept] / (1 - dropout))
    for axis in range(4):  # no clip, channel, bin or frame is favoured
        others = [a for a in range(4) if a != axis]
        share = ((output != 0) & alive).sum(others) / alive.sum(others).clamp(min=1)
        most = 6 * (dropout * (1 - dropout) / alive.sum(others).clamp(min=1)).sqrt()
        assert (((share - (1 - dropout)).abs() < most) | (alive.sum(others) == 0)).all()
    output.sum().backward()
    assert maps.grad.isfinite().all()


def test_the_same_generator_drops_the_same_whatever_the_number_of_threads():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(3)
            maps = MAPS.clone().requires_grad_()
            first, second = (pooled(maps, norm(), (2, 2), 0.5) for _ in range(2))
            (first.sum() + second.sum()).backward()
            found.append((first, second, maps.grad))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))
    assert not torch.equal(found[0][0], found[0][1])


def test_draws_are_those_of_splitmix64():
    def by_hand(seed, number):  # in Python's own integers
        bits, most = (seed + (number + 1) * 0x9E3779B97F4A7C15) % 2**64, 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % most
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % most
        return (bits ^ bits >> 31) >> 32

    for seed, number in ((0, 0), (1234567, 0), (2**63 - 2, 2**40), (17, 5)):
        assert draw(np.uint64(seed), np.uint64(number)) == by_hand(seed, number)
    assert by_hand(1234567, 0) == 6457827717110365317 >> 32  # as its reference implementation prints for that seed


def test_a_clip_that_is_not_a_number_is_seen():
    maps = MAPS.clone()
    maps[1, 4, 3, 3] = math.nan
    output = pooled(maps, norm(), (4, 4))
    assert output[:, 4].isnan().all()
    assert not output[:, 5:].isnan().any()


@pytest.mark.parametrize("case", [*ELSEWHERE])
def test_elsewhere_a_block_is_its_parts_one_after_the_other(case, monkeypatch):
    torch.manual_seed(0)
    block = Block(nn.Conv2d(3, 6, 3), 6, None if case == "no pooling" else (2, 2), 0.0)
    features = torch.randn(2, 3, 12, 12)
    heard = []
    if case == "evaluation":
        block.eval()
    if case == "a listener":
        block.norm.register_forward_hook(lambda *arguments: heard.append(arguments[2]))
    if case == "double precision":
        block, features = block.double(), features.double()
    if case == "a listener to gradients":
        block.norm.register_full_backward_hook(lambda *arguments: None)
    expected = features
    for part in copy.deepcopy(block):
        expected = part(expected)
    heard.clear()
    monkeypatch.setattr("singtech.models.block.pooled", None)  # which is not called
    torch.testing.assert_close(block(features), expected)
    assert len(heard) == (case == "a listener")


def test_in_training_a_block_is_what_its_parts_come_to(monkeypatch):
    torch.manual_seed(0)
    block, called = Block(nn.Conv2d(3, 6, 3), 6, (2, 2), 0.0), []
    monkeypatch.setattr("singtech.models.block.pooled", lambda *given: called.append(given) or pooled(*given))
    features = torch.randn(2, 3, 12, 12)
    twin = copy.deepcopy(block)
    expected, found = nn.Sequential(*twin)(features), block(features)
    assert len(called) == 1
    torch.testing.assert_close(found, expected)
    for output in (found, expected):
        output.square().sum().backward()
    for ours, theirs in zip(block.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)  # the bias has none
    for ours, theirs in zip(block.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("size", "message"), [((1, 3, 3, 3), "more than 1 value"), ((2, 3, 3, 3), "too small")])
def test_what_torch_refuses_is_refused(size, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        Block(nn.Conv2d(3, 6, 3), 6, (2, 2), 0.0)(torch.randn(size))


def test_a_block_in_training_can_be_traced_for_a_compiler():
    block = Block(nn.Conv2d(3, 6, 3), 6, (2, 2), 0.0)
    features = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(torch.compile(copy.deepcopy(block), backend="eager")(features), block(features))
