"""A block's compiled loops against torch's own modules, applied in turn."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from singtech.models.conv_block import Block, BlockDropout, normalise_and_pool
from singtech.models.conv_block_loops import draw

MAPS = torch.randn(3, 20, 13, 11, generator=torch.Generator().manual_seed(0))


def norm(channels=20, dtype=torch.float32):
    """Batch norm with weights of both signs, and one of zero."""
    module = nn.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(-1, 1.5, channels)).view(-1)[2] = 0
        module.bias.copy_(torch.linspace(0.5, -0.5, channels))
    return module


@pytest.mark.parametrize("window", [(4, 4), (3, 3), (2, 2), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_batch_norm_max_pooling_and_relu_with_all_their_gradients(window, dtype):
    results = []
    for is_compiled in (False, True):
        maps, normalise = MAPS.clone().to(dtype).requires_grad_(), norm(dtype=dtype)
        if is_compiled:
            output = normalise_and_pool(maps, normalise, window)
        else:
            output = nn.functional.relu(nn.functional.max_pool2d(normalise(maps), window))
        output.backward(torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output))
        parts = [output.detach(), maps.grad, normalise.weight.grad, normalise.bias.grad]
        results.append([*parts, *normalise.state_dict().values()])
    for expected, result in zip(*results, strict=True):
        torch.testing.assert_close(result, expected, **({"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}))


def test_in_double_precision_its_gradients_pass_gradcheck():
    maps = MAPS[:2, :4, :6, :5].double().requires_grad_()
    normalise = norm(4, torch.float64)
    weights = [normalise.weight, normalise.bias]
    assert torch.autograd.gradcheck(lambda m, *_: normalise_and_pool(m, copy.copy(normalise), (2, 2)), (maps, *weights))


@pytest.mark.parametrize("dropout", [0.3, 0.75])
def test_dropout_drops_its_share_of_every_clip_channel_bin_and_frame_and_scales_the_rest(dropout):
    torch.manual_seed(1)
    maps = torch.randn(8, 32, 64, 64).requires_grad_()
    whole = normalise_and_pool(maps, norm(32), (2, 2)).detach()
    output = normalise_and_pool(maps, norm(32), (2, 2), dropout)
    alive = whole != 0
    kept = output[alive] != 0
    deviation = math.sqrt(dropout * (1 - dropout) / len(kept))
    assert kept.float().mean().item() == pytest.approx(1 - dropout, abs=5 * deviation)
    torch.testing.assert_close(output[alive][kept], whole[alive][kept] / (1 - dropout))
    for axis in range(4):
        others = [a for a in range(4) if a != axis]
        share = ((output != 0) & alive).sum(others) / alive.sum(others).clamp(min=1)
        most = 6 * (dropout * (1 - dropout) / alive.sum(others).clamp(min=1)).sqrt()
        assert (((share - (1 - dropout)).abs() < most) | (alive.sum(others) == 0)).all()
    output.sum().backward()
    assert maps.grad.isfinite().all()


def test_the_same_generator_drops_the_same_whatever_the_number_of_threads():
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(3)
            maps = MAPS.clone().requires_grad_()
            first, second = (normalise_and_pool(maps, norm(), (2, 2), 0.5) for _ in range(2))
            (first.sum() + second.sum()).backward()
            results.append((first, second, maps.grad))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))
    assert not torch.equal(results[0][0], results[0][1])


def test_draws_are_those_of_splitmix64():
    def by_hand(seed, number):  # in Python's own integers
        bits, most = (seed + (number + 1) * 0x9E3779B97F4A7C15) % 2**64, 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % most
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % most
        return (bits ^ bits >> 31) >> 32

    for seed, number in ((0, 0), (1234567, 0), (2**63 - 2, 2**40), (17, 5)):
        assert draw(np.uint64(seed), np.uint64(number)) == by_hand(seed, number)
    assert by_hand(1234567, 0) == 6457827717110365317 >> 32  # as its reference implementation prints for that seed


def test_nan_in_one_channel_makes_that_channel_nan():
    maps = MAPS.clone()
    maps[1, 4, 3, 3] = math.nan
    output = normalise_and_pool(maps, norm(), (4, 4))
    assert output[:, 4].isnan().all()
    assert not output[:, 5:].isnan().any()


@pytest.mark.parametrize("dropout", [0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_alone_drops_what_the_loops_drop(dropout, dtype):
    maps, normalise = torch.randn(4, 32, 10, 12), norm(32)
    nn.init.zeros_(normalise.weight)
    nn.init.ones_(normalise.bias)  # so every unit is 1 before dropout
    torch.manual_seed(3)
    by_loops, next_by_loops = normalise_and_pool(maps, normalise, (2, 3), dropout), torch.rand(())
    torch.manual_seed(3)
    units = torch.ones(4, 32, 5, 4, dtype=dtype, requires_grad=True)
    output, next_number = BlockDropout(dropout)(units), torch.rand(())
    assert output.dtype == dtype
    assert torch.equal(output != 0, by_loops != 0)
    assert torch.equal(next_number, next_by_loops)  # both take as much from the generator
    output.backward(torch.ones_like(output))
    assert torch.equal(units.grad, output.detach())  # linear in the units
    assert output.detach().float().unique().tolist() == pytest.approx([0, 1 / 0.7] if dropout < 1 else [0], rel=1e-2)


@pytest.mark.parametrize("pool", [None, (2, 2)])
def test_the_same_units_drop_in_double_precision_with_or_without_pooling(pool):
    outputs = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        block = Block(nn.Identity(), 20, pool, 0.5).to(dtype)
        outputs.append(block(MAPS.to(dtype)).double())
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    rows, columns = outputs[0].shape[2:]
    mask = BlockDropout(0.5)(torch.ones(3, 20, rows, columns)) != 0
    assert not outputs[0][~mask].any()
    assert outputs[0][mask].count_nonzero() > 0.4 * mask.sum()  # half of the normalised values are above 0


def test_in_evaluation_nothing_is_dropped_and_the_generator_stays():
    torch.manual_seed(0)
    block, state = Block(nn.Identity(), 20, None, 0.5).eval(), torch.get_rng_state()
    torch.testing.assert_close(block(MAPS), MAPS.relu() / math.sqrt(1 + 1e-5))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("case", ["evaluation", "only batch norm trains", "double precision", "no pooling"])
def test_where_the_loops_do_not_fit_a_block_applies_its_parts_in_turn(case, monkeypatch):
    torch.manual_seed(0)
    block = Block(nn.Conv2d(3, 6, 3), 6, None if case == "no pooling" else (2, 2), 0.0)
    features = torch.randn(2, 3, 12, 12)
    if case in ("evaluation", "only batch norm trains"):
        block.eval()
    if case == "only batch norm trains":  # as when its statistics are re-estimated
        block.norm.train()
    if case == "double precision":
        block, features = block.double(), features.double()
    expected = features
    for part in copy.deepcopy(block):
        expected = part(expected)
    monkeypatch.setattr("singtech.models.conv_block.normalise_and_pool", None)  # a call would fail
    assert torch.equal(block(features), expected)


def test_in_training_a_block_gives_what_its_parts_give(monkeypatch):
    torch.manual_seed(0)
    block, calls = Block(nn.Conv2d(3, 6, 3), 6, (2, 2), 0.0), []
    monkeypatch.setattr(
        "singtech.models.conv_block.normalise_and_pool",
        lambda *arguments: calls.append(1) or normalise_and_pool(*arguments),
    )
    features = torch.randn(2, 3, 12, 12)
    twin = copy.deepcopy(block)
    expected, output = nn.Sequential(*twin)(features), block(features)
    assert len(calls) == 1
    torch.testing.assert_close(output, expected)
    for result in (output, expected):
        result.square().sum().backward()
    for parameter, other in zip(block.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-4)  # the convolution's bias has none
    for value, other in zip(block.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(value, other)


@pytest.mark.parametrize(("size", "message"), [((1, 3, 3, 3), "more than 1 value"), ((2, 3, 3, 3), "too small")])
def test_a_map_that_torch_refuses_is_refused(size, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        Block(nn.Conv2d(3, 6, 3), 6, (2, 2), 0.0)(torch.randn(size))
