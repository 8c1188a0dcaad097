"""Deformable convolution in one Triton kernel per direction, which never writes the sampled columns to memory.

torchvision writes the columns (M·C numbers per position) before it multiplies them, and reads and rewrites them several
times for the gradients. Here a program samples the columns of a block of positions into registers and multiplies them
there. Backward, it uses the gradient of the columns at once. The module `kernels` is imported at its first use, because
Triton comes with torch for NVIDIA GPUs only.

Atomic additions sum the gradient of the features, in another order in each run. Under
`torch.use_deterministic_algorithms` they add integers, whose sum has no order.
"""

import math
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.library import custom_op

from singtech.errors import InvalidValue

PLANAR_CHANNELS = 8  # up to this number, each channel is a plane in memory
LIMIT = 2**31  # of an index within one image, and of a count of positions
MARGIN = 2**20  # positions that a kernel may count beyond the last
SUM_BITS = 61  # bits of a 64-bit sum that the largest possible contributions may fill
PROGRAMS = 1056  # 8 for each of the 132 multiprocessors of an H100 or H200


class Tile(NamedTuple):
    """The block that one program of a kernel computes at a time.

    Args:
        positions, outputs, channels, taps: powers of two. Positions, outputs and taps × channels are at least 16. Taps
            are 1 for more than `PLANAR_CHANNELS` channels.
        splits: programs that share the longest loop: over the taps forward and backward, over the positions for the
            weight.
        warps, stages: warps of a program, and loads of its loop that run at once.
    """

    positions: int
    outputs: int
    channels: int
    taps: int
    splits: int
    warps: int
    stages: int


class Blocks(NamedTuple):
    """The tiles of the three kernels: forward, backward, and backward for the weight."""

    forward: Tile
    backward: Tile
    weight: Tile


def fused(
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    padding: tuple[int, int],
) -> Tensor:
    """Compute `deform_conv2d` on an NVIDIA GPU.

    Sums are float32, and positions and mask are read as float32 (all are float64 for float64 features). Products of
    float32 are exact unless torch allows TF32. An offset of NaN gives an output of NaN at its position; a tap with an
    infinite offset reads 0.

    Args:
        features: (B, C, F, T) on a CUDA device. Fastest in channels-last memory.
        offset, mask, padding: as for `deform_conv2d`.
        weight: (O, C, kh, kw) of the features' type. Fastest in channels-last memory.
    Returns:
        (B, O, F', T') in channels-last memory.
    Raises:
        InvalidValue: an image or a batch is too large for the kernels' indices.
    """
    real = torch.float64 if features.dtype == torch.float64 else torch.float32
    return _convolve(
        _arrange(features),
        offset.to(real),
        None if mask is None else mask.to(real),
        weight.permute(0, 2, 3, 1).flatten(1, 2).contiguous(),
        weight.shape[3],
        list(padding),
    )


def choose(channels: int, outputs: int, taps: int, positions: int, dtype: torch.dtype) -> Blocks:
    """Choose tiles for a deformable convolution of C channels, O outputs, M taps and B·F'·T' positions.

    float32 tiles are smaller than 16-bit tiles: tensor cores multiply the latter, plain instructions with operands in
    registers the former. Few positions give smaller tiles, so that each multiprocessor has some.
    """
    few = positions < 2**15
    block = 32 if few else 64
    o, c = max(16, _power_of_two(outputs)), max(16, _power_of_two(channels))
    wide = min(o, 128)
    warps = 8 if wide > 64 else 4
    shares = min(taps, 4) if few else 1
    if channels <= PLANAR_CHANNELS:
        c = _power_of_two(channels)
        forward = backward = weight = Tile(128, min(o, 32), c, 16 // c, 1, 4, 1)
    elif dtype.itemsize == 2:
        forward = Tile(block, wide, min(c, 64), 1, shares, 4 if few else warps, 2)
        backward = Tile(block, min(o, 64), min(c, 32), 1, taps, 4 if few else 8, 1)
        weight = Tile(64, wide, min(c, 64), 1, 1, warps, 2)
    else:
        forward = Tile(block, min(o, 64), c if c <= 32 else 16, 1, shares, 4, 2)
        backward = Tile(block, 16, min(c, 32), 1, taps, 4 if few else 8, 1)
        weight = Tile(32, wide, min(c, 32), 1, 1, warps, 1)
    tiles = math.prod(
        _ceil(size, tile)
        for size, tile in ((channels, weight.channels), (taps, weight.taps), (outputs, weight.outputs))
    )
    splits = min(_ceil(PROGRAMS, tiles), _ceil(positions, weight.positions))
    return Blocks(forward, backward, weight._replace(splits=max(splits, 1)))


@custom_op("singtech::fused_deform_conv2d", mutates_args=())
def _convolve(
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    kernel_width: int,
    padding: list[int],
) -> Tensor:
    """`fused` on float positions and mask and a weight of (O, M, C)."""
    batch, _, *grid = offset.shape
    outputs = weight.shape[0]
    output = _channels_last((batch, outputs, *grid), features, features.dtype)
    if output.numel() == 0:
        return output
    call = _Call(features, offset, mask, weight, kernel_width, padding)
    tile = call.blocks.forward
    partial = output
    if tile.splits > 1:
        partial = torch.empty((tile.splits, batch, *grid, outputs), dtype=call.real, device=output.device)
    programs = tile.splits * _ceil(outputs, tile.outputs) * _ceil(call.positions, tile.positions)
    call.launch("forward_kernel", programs, tile, (call.features, *call.fields, call.weight, partial))
    if tile.splits > 1:
        output.copy_(partial.sum(0).permute(0, 3, 1, 2))
    return output


@_convolve.register_fake
def _(features, offset, mask, weight, kernel_width, padding):
    return _channels_last((offset.shape[0], weight.shape[0], *offset.shape[2:]), features, features.dtype)


@custom_op("singtech::fused_deform_conv2d_backward", mutates_args=())
def _differentiate(
    grad_output: Tensor,
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    kernel_width: int,
    padding: list[int],
    needs: list[bool],
) -> list[Tensor]:
    """Gradients of features, offset, mask and weight; empty where `needs` is false."""
    grads = _empty_grads(features, offset, mask, weight, needs)
    if grad_output.numel() == 0 or features.numel() == 0:
        return [grad.zero_() for grad in grads]
    grad_features, grad_offset, grad_mask, grad_weight = grads
    call = _Call(features, offset, mask, weight, kernel_width, padding)
    gradient = grad_output.to(features.dtype).contiguous(memory_format=torch.channels_last)
    if any(needs[:3]):
        fixed_point = torch.are_deterministic_algorithms_enabled()
        sums = units = grad_features
        if needs[0]:
            kind = torch.int64 if fixed_point else call.real
            if kind != grad_features.dtype:
                sums = torch.empty_strided(
                    grad_features.shape, grad_features.stride(), dtype=kind, device=features.device
                )
            sums.zero_()
            if fixed_point:
                units = _units(gradient, mask, weight, math.prod(offset.shape[2:]))
        tile = call.blocks.backward
        flat_grads = [grad.flatten(2) if grad.dim() == 4 else grad for grad in (grad_offset, grad_mask)]
        call.launch(
            "backward_kernel",
            tile.splits * _ceil(call.positions, tile.positions),
            tile,
            (gradient, call.features, *call.fields, call.weight, units, sums, *flat_grads),
            [stride for grad in flat_grads for stride in (grad.stride() if grad.dim() == 3 else (0, 0, 0))],
            FEATURES=needs[0],
            OFFSET=needs[1],
            MASK=needs[2],
            FIXED_POINT=needs[0] and fixed_point,
        )
        if sums is not grad_features:
            grad_features.copy_(sums.to(call.real) / units[0] / units[1] if fixed_point else sums)
    if needs[3]:
        tile = call.blocks.weight
        outputs, taps, channels = weight.shape
        partial = weight.new_empty((tile.splits, *weight.shape), dtype=call.real)
        tiles = _ceil(channels, tile.channels) * _ceil(taps, tile.taps) * _ceil(outputs, tile.outputs)
        call.launch(
            "backward_weight_kernel", tile.splits * tiles, tile, (gradient, call.features, *call.fields, partial)
        )
        grad_weight.copy_(partial.sum(0))
    return grads


@_differentiate.register_fake
def _(grad_output, features, offset, mask, weight, kernel_width, padding, needs):
    return _empty_grads(features, offset, mask, weight, needs)


def _save_context(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.settings = inputs[4:]


def _backward(ctx, grad_output: Tensor) -> tuple:
    needs = list(ctx.needs_input_grad[:4])
    grads = _differentiate(grad_output, *ctx.saved_tensors, *ctx.settings, needs)
    return *(grad if needed else None for grad, needed in zip(grads, needs, strict=True)), None, None


_convolve.register_autograd(_backward, setup_context=_save_context)


class _Call:
    """Tensors in the kernels' layouts, sizes, strides and settings, which the kernels of one call share."""

    def __init__(
        self,
        features: Tensor,
        offset: Tensor,
        mask: Tensor | None,
        weight: Tensor,
        kernel_width: int,
        padding: list[int],
    ) -> None:
        self.features, self.weight = _arrange(features), weight.contiguous()
        batch, channels, height, width = features.shape
        outputs, taps, _ = weight.shape
        area, columns_out = math.prod(offset.shape[2:]), offset.shape[3]
        self.positions = batch * area
        self.real = offset.dtype
        offset = offset.flatten(2)
        mask = offset if mask is None else mask.flatten(2)
        self.fields = (offset, mask)
        spans = [_span(tensor) for tensor in (self.features, *self.fields, self.weight[None])]
        if max(self.positions + MARGIN, 2 * taps * area, *spans) >= LIMIT:
            raise InvalidValue(
                f"features of shape {tuple(features.shape)} and offsets for {taps} taps: more than the kernels can "
                "count in 32 bits; use a smaller batch_size."
            )
        self.numbers = [self.positions, area, columns_out, height, width, *padding]
        self.numbers += [self.features.stride(axis) for axis in (0, 1, 2, 3)] + [*offset.stride(), *mask.stride()]
        self.blocks = choose(channels, outputs, taps, self.positions, features.dtype)
        self.constants = {
            "CHANNELS": channels,
            "OUTPUTS": outputs,
            "TAPS": taps,
            "KERNEL_WIDTH": kernel_width,
            "MASKED": mask is not offset,
            "PLANAR": channels <= PLANAR_CHANNELS,
        }

    def launch(
        self,
        name: str,
        programs: int,
        tile: Tile,
        tensors: tuple[Tensor, ...],
        strides: list[int] | tuple = (),
        **flags: bool,
    ) -> None:
        """Run one kernel on the device of its tensors."""
        kernels = _kernels()
        with torch.cuda.device_of(self.features):
            getattr(kernels, name)[(programs,)](
                *tensors,
                *self.numbers,
                *strides,
                **self.constants,
                **flags,
                REAL=kernels.tl.float64 if self.real == torch.float64 else kernels.tl.float32,
                PRECISION="tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee",
                SPLITS=tile.splits,
                BLOCK_P=tile.positions,
                BLOCK_O=tile.outputs,
                BLOCK_C=tile.channels,
                BLOCK_T=tile.taps,
                num_warps=tile.warps,
                num_stages=tile.stages,
            )


def _kernels() -> ModuleType:
    """Import the kernels at their first use: only NVIDIA GPUs have Triton."""
    from singtech.models.backends import kernels

    return kernels


def _span(tensor: Tensor) -> int:
    """Largest distance in memory between two numbers of one image."""
    return sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))


def _arrange(features: Tensor) -> Tensor:
    """Features in the kernels' layout: few channels as planes, many as rows."""
    planar = features.shape[1] <= PLANAR_CHANNELS
    return features.contiguous(memory_format=torch.contiguous_format if planar else torch.channels_last)


def _units(grad_output: Tensor, mask: Tensor | None, weight: Tensor, area: int) -> Tensor:
    """Two powers of two whose product turns a contribution to the features' gradient into an integer.

    The product is the largest for which no sum of contributions overflows. Each contribution is at most max|grad| · max
    over (tap, channel) of the sum over the outputs of |w| · max|mask|, and at most M·F'·T' of them meet at one point.
    They are two because their product may exceed float32. Where the bound is not finite, they are NaN, and so is the
    gradient.
    """
    wide = torch.float64
    largest = torch.linalg.vector_norm(grad_output, math.inf).to(wide) * weight.to(wide).abs().sum(0).max()
    if mask is not None:
        largest = largest * torch.linalg.vector_norm(mask, math.inf).to(wide)
    bits = SUM_BITS - (weight.shape[1] * area).bit_length() - torch.frexp(largest).exponent
    halves = torch.stack([bits // 2, bits - bits // 2]).to(wide)
    real = wide if grad_output.dtype == wide else torch.float32
    return torch.where(largest.isfinite(), torch.exp2(halves), math.nan).to(real)


def _empty_grads(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, needs: list[bool]
) -> list[Tensor]:
    arranged = _arrange(features)
    grads = [features.new_empty(0) for _ in needs]
    if needs[0]:
        grads[0] = torch.empty_strided(arranged.shape, arranged.stride(), dtype=features.dtype, device=features.device)
    for i, field in ((1, offset), (2, mask)):
        if field is not None and needs[i]:
            rows = field.stride(1) == 1 and field.shape[1] > 1
            grads[i] = _channels_last(field.shape, field, field.dtype) if rows else field.new_empty(field.shape)
    if needs[3]:
        grads[3] = weight.new_empty(weight.shape)
    return grads


def _channels_last(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def _ceil(size: int, block: int) -> int:
    return -(-size // block)


def _power_of_two(size: int) -> int:
    """The smallest power of two from `size` up."""
    return 1 << (size - 1).bit_length()
