"""Deformable convolution against torchvision, plain convolution, and a loop written from Section 3.1's equation."""

import importlib.util
import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

from singtech.models.backends.reference import deform_conv2d_torchvision
from singtech.models.deformable import (
    BACKENDS,
    DeformableConv2d,
    backend_for,
    backends_on,
    deform_conv2d,
    paddings,
    triton_works,
)
from singtech.models.network import initialise

TABLE_1_KERNELS = [(4, 1), (16, 1), (1, 4), (1, 16)]
OURS = ["gather", "numba"]


def example(kernel, spread=2.0, channels=3, size=(9, 11), dtype=torch.float32, batch=2):
    """Random features, offsets, mask and weight for a size-keeping deformable convolution."""
    draw = torch.Generator().manual_seed(0)
    taps = kernel[0] * kernel[1]
    features = torch.randn(batch, channels, *size, generator=draw, dtype=dtype)
    offset = spread * torch.randn(batch, 2 * taps, *size, generator=draw, dtype=dtype)
    mask = 2 * torch.rand(batch, taps, *size, generator=draw, dtype=dtype)
    weight = torch.randn(5, channels, *kernel, generator=draw, dtype=dtype)
    return features, offset, mask, weight


def top_left(kernel):
    left, _, top, _ = paddings(kernel, "same")
    return top, left


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("kernel", [*TABLE_1_KERNELS, (3, 3), (2, 5)])
@pytest.mark.parametrize("spread", [0.7, 30.0], ids=["near", "far outside the map"])
def test_ours_equal_torchvision_in_values_and_all_four_gradients(kernel, spread, channels, backend):
    arguments = example(kernel, spread, channels)
    left, right, top, bottom = paddings(kernel, "same")

    def reference(features, offset, mask, weight):
        return torchvision_deform_conv2d(F.pad(features, (left, right, top, bottom)), offset, weight, mask=mask)

    def ours(features, offset, mask, weight):
        return deform_conv2d(features, offset, mask, weight, (top, left), backend)

    results = []
    for operation in (reference, ours):
        leaves = [a.clone().requires_grad_() for a in arguments]
        output = operation(*leaves)
        output.backward(torch.linspace(-1, 1, output.numel()).view_as(output))
        results.append([output.detach(), *(leaf.grad for leaf in leaves)])
    for name, expected, found in zip(("output", "features", "offset", "mask", "weight"), *results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("backend", [*OURS, "torchvision"])
@pytest.mark.parametrize("kernel", [*TABLE_1_KERNELS, (3, 3)])
def test_with_zero_offsets_and_unit_mask_it_is_the_plain_convolution(kernel, backend):
    features, offset, mask, weight = example(kernel)
    plain = F.conv2d(F.pad(features, paddings(kernel, "same")), weight)
    for ones in (torch.ones_like(mask), None):
        ours = deform_conv2d(features, torch.zeros_like(offset), ones, weight, top_left(kernel), backend)
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain, F.conv2d(features, weight, padding="same"), rtol=1e-4, atol=1e-5)


def test_in_half_precision_positions_and_sums_stay_exact():
    layer = DeformableConv2d(3, 6, (1, 4))
    torch.nn.init.normal_(layer.shift.weight)
    features = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        halved = layer(features)
    torch.testing.assert_close(halved, layer(features))


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("kernel", [(4, 1), (1, 4), (3, 2)])
def test_on_random_offsets_it_is_the_sum_of_section_3_1(kernel, backend):
    features, offset, mask, weight = example(kernel, size=(5, 6), batch=1, channels=2)
    ours = deform_conv2d(features, offset, mask, weight, top_left(kernel), backend)
    torch.testing.assert_close(ours, equation(features, offset, mask, weight, top_left(kernel)), rtol=1e-4, atol=1e-5)


def equation(features, offset, mask, weight, padding):
    """y(p0) = sum_m w(p_m) · mask_m · x(p0 + p_m + Δp_m), one multiplication at a time, x bilinear and 0 outside."""
    _, channels, height, width = features.shape
    out_channels, _, kernel_height, kernel_width = weight.shape

    def value(channel, y, x):
        total = 0.0
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    total += share * features[0, channel, row, column].item()
        return total

    output = torch.zeros(1, out_channels, height, width)
    for y in range(height):
        for x in range(width):
            for i in range(kernel_height):
                for j in range(kernel_width):
                    m = i * kernel_width + j
                    dy, dx = offset[0, 2 * m, y, x].item(), offset[0, 2 * m + 1, y, x].item()
                    for channel in range(channels):
                        sampled = value(channel, y + i - padding[0] + dy, x + j - padding[1] + dx)
                        output[0, :, y, x] += weight[:, channel, i, j] * mask[0, m, y, x] * sampled
    return output


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("is_modulated", [True, False])
def test_gradients_pass_gradcheck_in_double_precision(backend, is_modulated):
    features, offset, mask, weight = example((1, 3), 0.4, channels=2, size=(3, 4), dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (features, offset, mask, weight)]
    if is_modulated:
        assert torch.autograd.gradcheck(lambda *a: deform_conv2d(*a, (0, 1), backend), leaves)
    else:
        del leaves[2]
        assert torch.autograd.gradcheck(lambda f, o, w: deform_conv2d(f, o, None, w, (0, 1), backend), leaves)


@pytest.mark.parametrize("backend", OURS)
def test_only_what_is_asked_for_has_a_gradient(backend):
    for wanted in range(4):
        arguments = [a.requires_grad_(n == wanted) for n, a in enumerate(example((4, 1)))]
        deform_conv2d(*arguments, (1, 0), backend).sum().backward()
        assert [a.grad is not None for a in arguments] == [n == wanted for n in range(4)]


@pytest.mark.parametrize("backend", OURS)
def test_a_batch_of_none_and_strided_inputs_are_taken(backend):
    features, offset, mask, weight = example((1, 4))
    whole = deform_conv2d(features, offset, mask, weight, (0, 1), backend)
    strided = [t.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0) for t in (features, offset, mask, weight)]
    torch.testing.assert_close(deform_conv2d(*strided, (0, 1), backend), whole)
    none = [t[:0].requires_grad_() for t in (features, offset, mask)]
    found = deform_conv2d(*none, weight.requires_grad_(), (0, 1), backend)
    assert found.shape == (0, 5, 9, 11)
    found.sum().backward()
    assert weight.grad.count_nonzero() == 0


@pytest.mark.parametrize("backend", [*OURS, "torchvision"])
@pytest.mark.parametrize("spoilt", [0, 1, 2], ids=["features", "offset", "mask"])
def test_what_is_not_a_number_is_seen(backend, spoilt):
    arguments = example((1, 4), spread=0.2)
    arguments[spoilt][:, :, 4, 5] = math.nan
    output = deform_conv2d(*arguments, (0, 1), backend)
    assert output[:, :, 4, 5].isnan().all()
    assert not output[:, :, 0].isnan().any()


@pytest.mark.parametrize("backend", [*OURS, "torchvision"])
@pytest.mark.parametrize("far", [1e30, math.inf, -math.inf])
def test_a_tap_infinitely_far_away_sees_nothing(backend, far):
    features, offset, mask, weight = example((1, 4))
    offset[:, 2, 4, 5] = far
    unseen = mask.clone()
    unseen[:, 1, 4, 5] = 0
    expected = deform_conv2d(features, offset.clamp(-50, 50), unseen, weight, (0, 1), backend)
    torch.testing.assert_close(deform_conv2d(features, offset, mask, weight, (0, 1), backend), expected)


@pytest.mark.parametrize("size", [(9, 11), (60, 70)], ids=["several clips at once", "a clip in pieces"])
def test_the_compiled_loops_do_not_depend_on_the_number_of_threads(size):
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = [a.requires_grad_() for a in example((4, 4), channels=20, size=size, batch=5)]
            output = deform_conv2d(*leaves, (1, 1), "numba")
            output.square().sum().backward()
            found.append([output, *(leaf.grad for leaf in leaves)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@pytest.mark.parametrize("padding", ["same", "both"])
@pytest.mark.parametrize("kernel", TABLE_1_KERNELS)
def test_a_fresh_layer_is_the_plain_convolution_with_its_weight(kernel, padding):
    layer = DeformableConv2d(3, 6, kernel, padding)
    features = torch.randn(2, 3, 20, 21, generator=torch.Generator().manual_seed(1))
    offset, mask = layer.offset_and_mask(features)
    assert offset.count_nonzero() == 0
    assert (mask == 1).all()
    plain = F.conv2d(F.pad(features, paddings(kernel, padding)), layer.weight)
    torch.testing.assert_close(layer(features), plain, rtol=1e-4, atol=1e-5)
    grown = [1 if padding == "both" and k % 2 == 0 else 0 for k in kernel]
    assert layer(features).shape[2:] == (20 + grown[0], 21 + grown[1])


@pytest.mark.parametrize(("kernel", "still"), [((4, 1), 1), ((1, 4), 0)], ids=["upright", "lying"])
def test_offsets_along_the_kernel_leave_the_other_direction_alone(kernel, still):
    layer = DeformableConv2d(2, 3, kernel, directions="along")
    torch.nn.init.normal_(layer.shift.weight)
    offset, _ = layer.offset_and_mask(torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(1)))
    assert offset[:, still::2].count_nonzero() == 0
    assert offset[:, 1 - still :: 2].count_nonzero() > 0


def test_a_layer_without_modulation_has_no_mask():
    layer = DeformableConv2d(2, 3, (1, 4), modulated=False)
    assert layer.offset_and_mask(torch.zeros(1, 2, 4, 4))[1] is None
    assert layer.shift.out_channels == 2 * 4


def test_a_deformable_layer_begins_with_its_plain_twins_weight():
    plain, deformable = torch.nn.Conv2d(3, 6, (1, 4)), DeformableConv2d(3, 6, (1, 4))
    for layer in (plain, deformable):
        initialise(torch.nn.ModuleDict({"conv": layer}), seed=3)
    assert torch.equal(plain.weight, deformable.weight)


def test_a_gpu_on_which_the_fused_kernels_fail_takes_torchvisions(monkeypatch, caplog):
    def broken(*operands):
        raise RuntimeError("ptxas\nfailed")

    def right(features, offset, mask, weight, padding):
        return deform_conv2d_torchvision(features.float(), offset, mask, weight.float(), padding)

    monkeypatch.setattr("singtech.models.deformable.backends_on", lambda device: ("triton", "torchvision"))
    for failing, problem in ((broken, "ptxas failed"), (lambda *operands: 1.1 * right(*operands), "not close")):
        monkeypatch.setattr("singtech.models.deformable.deform_conv2d_triton", failing)
        triton_works.cache_clear()
        assert backend_for(torch.device("cpu")) == "torchvision"
        assert "deformable=triton fails on this GPU, torchvision is used" in caplog.messages[-1]
        assert problem in caplog.messages[-1]
    monkeypatch.setattr("singtech.models.deformable.deform_conv2d_triton", right)  # as a kernel that works
    triton_works.cache_clear()
    assert backend_for(torch.device("cpu")) == "triton"
    triton_works.cache_clear()


def test_a_gpu_that_is_to_be_deterministic_takes_the_gather_alone(monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert backend_for(torch.device("cuda")) == "gather"
    with pytest.raises(ValueError, match="deformable=triton: not on cuda here, where there is gather"):
        backend_for(torch.device("cuda"), "triton")
    assert backend_for(torch.device("cpu")) == "numba"


def test_every_device_has_a_backend():
    for device in ("cpu", "cuda", "mps"):
        there = backends_on(torch.device(device))
        assert set(there) <= set(BACKENDS)
        assert "gather" in there


def test_unknown_choices_are_named():
    with pytest.raises(
        ValueError, match="trainer.deformable=cudnn: expected auto or torchvision or gather or numba or triton"
    ):
        deform_conv2d(*example((1, 4)), (0, 1), backend="cudnn")
    with pytest.raises(ValueError, match="deformable=triton: not on cpu here, where there is numba or gather or torch"):
        deform_conv2d(*example((1, 4)), (0, 1), backend="triton")
    with pytest.raises(ValueError, match="padding=valid: expected same or both"):
        DeformableConv2d(1, 1, (1, 4), padding="valid")
    with pytest.raises(ValueError, match="directions=up: expected both or along"):
        DeformableConv2d(1, 1, (1, 4), directions="up")


@pytest.fixture
def anew(tmp_path):
    """A loop as another process meets it: what was kept of it beside its module, and nothing in memory."""
    path = tmp_path / "halves.py"
    path.write_text("from singtech.models.backends.loops import loop\n\n\n@loop\ndef half(x):\n    return x / 2\n")

    def imported():
        spec = importlib.util.spec_from_file_location("halves", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.half

    return imported


def test_compiled_loops_are_taken_from_the_disk(anew):
    assert anew()(3.0) == 1.5
    again = anew()
    assert again(3.0) == 1.5
    assert len(again.stats.cache_hits) == 1


def test_loops_that_a_full_disk_cannot_keep_are_compiled(anew, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert anew()(3.0) == 1.5
    assert not list(tmp_path.rglob("*.nb?"))
