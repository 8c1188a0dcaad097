"""The fused kernels against torchvision: run by Triton's interpreter, compiled without a GPU, and run on one.

The interpreter is chosen when kernels are decorated. They are loaded here once more under it, as a module of its own,
so that whoever else imports them in this process gets the compiled ones.
"""

import contextlib
import importlib.util
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

from singtech.models.backends import fused as backend
from singtech.models.backends.fused import Blocks, Tile, choose_tiles, deform_conv2d_triton
from singtech.models.deformable import paddings

triton = pytest.importorskip("triton")  # before the interpreter is asked for, which would else stay
import triton.language as tl  # noqa: E402

NAMES = ("output", "features", "offset", "mask", "weight")
KERNELS = [(4, 1), (16, 1), (1, 4), (1, 16), (3, 3), (2, 5)]

# Table 1 at batch 64: channels, outputs, kernel, map.
LAYERS = [(3, 32, (4, 1), (1025, 259)), (32, 64, (16, 1), (256, 64)), (64, 128, (1, 4), (64, 16))]
LAYERS += [(128, 128, (1, 16), (21, 5))]

# Few and large tiles, since the interpreter takes the same time for a tile of any size.
LARGE = Blocks(Tile(64, 64, 64, 1, 4, 1), Tile(64, 64, 64, 1, 4, 1), Tile(64, 64, 64, 1, 4, 1))


@pytest.fixture(scope="module")
def loaded():
    """The kernels as the interpreter runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        path = importlib.util.find_spec("singtech.models.backends.kernels").origin
        spec = importlib.util.spec_from_file_location("interpreted_kernels", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def interpreter(loaded, monkeypatch):
    """Triton's interpreter in place of a GPU; the language as it was afterwards, which the interpreter forgets."""
    from triton.runtime import interpreter

    places = (tl, tl.core, tl.math, tl.tensor, tl.dtype, tl.core.tensor_descriptor_base)
    before = [dict(vars(place)) for place in places]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(backend, "_kernels", lambda: loaded)
    monkeypatch.setattr(interpreter.interpreter_builder, "create_dot", dot)
    patch_tensor = interpreter._patch_lang_tensor

    def patched(tensor, *scope):
        patch_tensor(tensor, *scope)
        tensor.__index__ = lambda self: int(self.handle.data.item())  # Triton 3.6 cannot with NumPy 2.4

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patched)
    if isinstance(tl.sum, triton.JITFunction):
        monkeypatch.setattr(tl, "sum", interpreter.InterpretedFunction(tl.sum.fn))
    yield interpreter.interpreter_builder
    for place, names in zip(places, before, strict=True):
        for name in set(vars(place)) - set(names):
            delattr(place, name)
        for name, value in names.items():
            if vars(place)[name] is not value:
                setattr(place, name, value)


def dot(a, b, total, *precision):
    """The interpreter's matrix product, which takes the bits of bfloat16 for integers."""
    a, b = ((h.data.astype("u4") << 16).view("f4") if h.dtype == tl.bfloat16 else h.data for h in (a, b))
    return type(total)(np.matmul(a, b, dtype=total.data.dtype) + total.data, total.dtype)


def example(kernel, channels=3, outputs=5, spread=1.5, size=(5, 7), dtype=torch.float32, batch=2, device="cpu"):
    """Random features, offsets, mask and weight for a size-keeping deformable convolution."""
    draw = torch.Generator(device).manual_seed(0)
    taps = kernel[0] * kernel[1]
    options = {"generator": draw, "dtype": dtype, "device": device}
    features = torch.randn(batch, channels, *size, **options)
    offset = spread * torch.randn(batch, 2 * taps, *size, **options)
    mask = 2 * torch.rand(batch, taps, *size, **options)
    weight = torch.randn(outputs, channels, *kernel, **options)
    return features, offset, mask, weight


def reference(features, offset, mask, weight):
    pads = paddings(tuple(weight.shape[2:]), "same")
    return torchvision_deform_conv2d(F.pad(features, pads), offset, weight, mask=mask)


def top_left(weight):
    left, _, top, _ = paddings(tuple(weight.shape[2:]), "same")
    return top, left


def ours(features, offset, mask, weight):
    return deform_conv2d_triton(features, offset, mask, weight, top_left(weight))


@contextlib.contextmanager
def settings(blocks=None):
    """Tiles other than the chosen ones."""
    with pytest.MonkeyPatch.context() as patch:
        if blocks:
            patch.setattr(backend, "choose_tiles", lambda *_: blocks)
        yield


def slope(output):
    """A gradient of the output that half precision takes as it is."""
    return torch.linspace(-1, 1, output.numel(), device=output.device).bfloat16().view(output.shape)


def results(operation, arguments, given=slope, **options):
    """Output and gradients of all arguments that are there."""
    leaves = [None if a is None else a.detach().clone().requires_grad_() for a in arguments]
    with settings(**options):
        output = operation(*leaves)
        output.backward(given(output).to(output.dtype))
    return [output.detach(), *(None if leaf is None else leaf.grad for leaf in leaves)]


def assert_alike(found, expected, rtol=1e-4, atol=1e-4):
    for name, f, e in zip(NAMES, found, expected, strict=True):
        assert (f is None) == (e is None), name
        if e is not None:
            torch.testing.assert_close(f, e.to(f.dtype), rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(("kernel", "spread"), [*((kernel, 0.7) for kernel in KERNELS), (KERNELS[0], 30.0)])
def test_few_channels_are_torchvisions_in_values_and_all_four_gradients(interpreter, kernel, spread):
    arguments = example(kernel, 3, 5, spread, size=(8, 9))
    assert_alike(results(ours, arguments), results(reference, arguments))


@pytest.mark.parametrize(("kernel", "channels", "outputs"), [((3, 3), 33, 20), ((4, 1), 5, 40), ((1, 4), 1, 1)])
def test_any_numbers_of_channels_and_outputs_are_torchvisions(interpreter, kernel, channels, outputs):
    arguments = example(kernel, channels, outputs)
    blocks = LARGE if channels > 8 else None
    assert_alike(results(ours, arguments, blocks=blocks), results(reference, arguments))


def test_work_cut_into_several_blocks_along_every_axis_is_torchvisions(interpreter):
    arguments = example((1, 3), 20, 33, size=(3, 4))
    tile = Tile(16, 16, 16, 2, 4, 1)
    found = results(ours, arguments, blocks=Blocks(tile, tile, tile))
    assert_alike(found, results(reference, arguments))


def test_the_chosen_tiles_of_long_kernels_are_torchvisions(interpreter):
    arguments = example((16, 1), 17, 16, size=(3, 5))
    assert_alike(results(ours, arguments), results(reference, arguments))


@pytest.mark.parametrize("channels", [3, 20])
def test_without_a_mask_every_tap_counts_once(interpreter, channels):
    features, offset, _, weight = example((1, 4), channels)
    arguments = (features, offset, None, weight)
    blocks = LARGE if channels > 8 else None
    assert_alike(results(ours, arguments, blocks=blocks), results(reference, arguments))


@pytest.mark.parametrize("channels", [3, 20])
def test_inputs_are_taken_in_any_layout(interpreter, channels):
    features, offset, mask, weight = example((4, 1), channels)
    strided = features.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    field = torch.cat([offset, mask], 1).contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous(memory_format=torch.channels_last)
    blocks = LARGE if channels > 8 else None

    def given(output):
        return slope(output).permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)

    def of_field(operation):
        return lambda features, field, weight: operation(features, field[:, :8], field[:, 8:], weight)

    expected = results(of_field(reference), (features, field, weight))
    found = results(of_field(ours), (strided, field, weight), given, blocks=blocks)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "columns", "pads"), [(3, 4, (0, 0)), (7, 10, (2, 1))])
def test_the_result_may_be_smaller_or_larger_than_the_map(interpreter, rows, columns, pads):
    features, offset, mask, weight = example((2, 3), size=(6, 8))
    offset, mask = (F.pad(t, (0, 2, 0, 1)) for t in (offset, mask))  # for a result of (7, 10)
    padded = F.pad(features, (pads[1], 4 - pads[1], pads[0], 2 - pads[0]))
    expected = torchvision_deform_conv2d(padded, offset, weight, mask=mask)[..., :rows, :columns]
    found = deform_conv2d_triton(features, offset[..., :rows, :columns], mask[..., :rows, :columns], weight, pads)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("far", [1e9, -1e9, math.inf, -math.inf])
def test_however_far_outside_nothing_is_seen(interpreter, far):
    features, offset, mask, weight = example((1, 4))
    offset[:, 2, 1, 2] = far
    unseen = mask.clone()
    unseen[:, 1, 1, 2] = 0
    found, expected = (
        results(ours, (features, offset, mask, weight)),
        results(reference, (features, offset.clamp(-1e3, 1e3), unseen, weight)),
    )
    assert found[2][:, 2:4, 1, 2].count_nonzero() == 0
    assert found[3][:, 1, 1, 2].count_nonzero() == 0
    expected[3][:, 1, 1, 2] = 0
    assert_alike(found, expected)


def test_an_offset_that_is_no_number_shows_where_it_is_and_nowhere_else(interpreter):
    features, offset, mask, weight = example((1, 4))
    broken = offset.clone()
    broken[0, 3, 1, 2] = math.nan
    whole, found = (ours(features, o, mask, weight) for o in (offset, broken))
    assert found[0, :, 1, 2].isnan().all()
    assert found.isnan().sum() == 5
    kept = ~found.isnan()
    assert torch.equal(found[kept], whole[kept])


@pytest.mark.parametrize("channels", [2, 9])
def test_gradients_pass_gradcheck_in_double_precision(interpreter, channels):
    arguments = example((1, 2), channels, 2, 0.4, (1, 3), torch.float64, batch=1)
    leaves = [t.requires_grad_() for t in arguments]
    blocks = None if channels == 2 else LARGE._replace(backward=Tile(16, 16, 16, 1, 4, 1))
    with settings(blocks=blocks):
        assert torch.autograd.gradcheck(ours, leaves, fast_mode=True, nondet_tol=0.0, check_undefined_grad=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [3, 20])
def test_half_precision_is_as_near_as_its_rounding(interpreter, dtype, channels):
    features, offset, mask, weight = example((1, 4), channels)
    half = (features.to(dtype), offset, mask, weight.to(dtype))
    exact = (half[0].float(), offset, mask, half[3].float())
    found = results(ours, half, blocks=LARGE if channels > 8 else None)
    expected = results(reference, exact)
    assert [f.dtype for f in found] == [dtype, dtype, torch.float32, torch.float32, dtype]
    # a column is rounded, and then the sum: by a unit of the last place, as the interpreter cuts what a GPU rounds
    summands = reference(exact[0].abs(), offset, mask, exact[3].abs())
    assert ((found[0] - expected[0]).abs() <= 2.01 * torch.finfo(dtype).eps * summands).all()
    for i in (2, 3):
        torch.testing.assert_close(found[i], expected[i], rtol=1e-4, atol=1e-4)
    for i in (1, 4):
        torch.testing.assert_close(found[i].float(), expected[i], rtol=2e-2, atol=torch.finfo(dtype).eps * 20)


def test_the_gradient_of_features_that_nobody_needs_is_not_computed(interpreter):
    features, *others = example((4, 1))
    expected = results(reference, (features, *others))
    leaves = [other.clone().requires_grad_() for other in others]
    output = ours(features, *leaves)
    output.backward(slope(output).float())
    assert_alike([output.detach(), None, *(leaf.grad for leaf in leaves)], [expected[0], None, *expected[2:]])


def test_the_output_is_channels_last(interpreter):
    output = ours(*example((4, 1)))
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_autocast_chooses_its_precision(interpreter):
    arguments = example((1, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(*arguments)
    assert found.dtype == torch.bfloat16
    expected = reference(*arguments)
    torch.testing.assert_close(found.float(), expected, rtol=5e-2, atol=5e-2 * float(expected.abs().max()))


def test_a_map_too_large_to_count_is_refused(interpreter):
    features, _, _, weight = example((1, 1), 1, 1, size=(1, 1), batch=1)
    far = torch.empty(1).as_strided((1, 1, 2**16, 2**15), (0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"features of shape \(1, 1, 1, 1\) and offsets of shape .*: more than"):
        deform_conv2d_triton(features, far.expand(1, 2, -1, -1), far, weight, (0, 0))


SHARED_KIB = {80: 163, 90: 227}  # what one program can have, CUDA C++ Programming Guide, table of compute capabilities


@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.long), 90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", LAYERS, ids=["layer1", "layer2", "layer3", "layer4"])
def test_the_chosen_tiles_compile_and_fit_the_chip(layer, dtype, capability):
    channels, outputs, kernel, size = layer
    taps = math.prod(kernel)
    blocks = choose_tiles(channels, outputs, taps, 64 * math.prod(size), dtype)
    names = ("forward_kernel", "backward_kernel", "backward_weight_kernel")
    for name, tile in zip(names, blocks, strict=True):
        compiled = compile_ahead(name, channels, outputs, kernel, tile, dtype, capability)
        assert compiled.metadata.shared <= SHARED_KIB[capability] * 1024


def compile_ahead(name, channels, outputs, kernel, tile, dtype, capability):
    """A kernel compiled as it is launched for one layer, without a GPU; fields have a step of 1 or a multiple of 16."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from singtech.models.backends import kernels

    function = getattr(kernels, name)
    element = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}[dtype]
    pointers = dict.fromkeys(("grad_output", "features", "weight", "output"), element)
    pointers |= dict.fromkeys(("offset", "mask", "grad_offset", "grad_mask", "grad_weight"), "*fp32")
    pointers["grad_features"] = "*fp32"
    constants = {
        "CHANNELS": channels,
        "OUTPUTS": outputs,
        "TAPS": math.prod(kernel),
        "KERNEL_WIDTH": kernel[1],
        "REAL": tl.float32,
        "PRECISION": "ieee",
        "FEATURES": True,
        "SPLITS": tile.splits,
        "BLOCK_P": tile.positions,
        "BLOCK_O": tile.outputs,
        "BLOCK_C": tile.channels,
    }
    signature, attributes = {}, {}
    for i, argument in enumerate(function.arg_names):
        signature[argument] = pointers.get(argument, "constexpr" if argument in constants else "i32")
        if argument in pointers:
            attributes[(i,)] = [["tt.divisibility", 16]]
    constants = {k: v for k, v in constants.items() if k in signature}
    source = ASTSource(function, signature, constants, attributes)
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layer", LAYERS, ids=["layer1", "layer2", "layer3", "layer4"])
def test_on_a_gpu_the_layers_of_table_1_are_torchvisions(layer, dtype):
    channels, outputs, kernel, size = layer
    features, offset, mask, weight = example(kernel, channels, outputs, size=size, batch=8, device="cuda")
    rounded = (features.to(dtype), offset, mask, weight.to(dtype))
    found = results(ours, rounded)
    expected = results(reference, tuple(a.float() for a in rounded))
    for name, f, e in zip(NAMES, found, expected, strict=True):
        error = (f.float() - e).norm() / e.norm()
        assert error <= (1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps), f"{name}: {error}"


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_beyond_2_to_the_31_numbers_the_last_image_is_as_alone():
    features, offset, mask, weight = example((4, 1), 3, 32, size=(1025, 259), batch=1, device="cuda")
    many = [a.expand(256, *a.shape[1:]) for a in (features, offset, mask)]
    assert 256 * 32 * 1025 * 259 > 2**31
    output = ours(*many, weight)
    assert torch.equal(output[-1:], ours(features, offset, mask, weight))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("far", [1e9, math.inf, math.nan])
def test_on_a_gpu_far_offsets_read_nothing(far):
    features, offset, mask, weight = example((4, 1), 32, 64, device="cuda")
    found = results(ours, (features, torch.full_like(offset, far), mask, weight))
    torch.cuda.synchronize()
    assert found[1].count_nonzero() == 0
    assert found[0].isnan().all() if math.isnan(far) else found[0].count_nonzero() == 0
