"""Deformable convolution in one Triton kernel per direction, which samples and multiplies without writing the columns.

torchvision writes what every tap sees to memory (M·C numbers per position) before it multiplies, and reads and rewrites
that several times to get the gradients. Here a program samples the columns of a block of positions into registers,
multiplies them there, and keeps the sums; backward, the gradient of the columns is used as soon as it is made. The
kernels are in `kernels`, imported when they are first needed, as Triton comes with torch for NVIDIA GPUs only.

The gradient of the features is added up by atomic additions, in an order that no two runs share. `deterministic` adds
integers instead, whose sum has no order.
"""

import contextlib
import math
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.library import custom_op

PLANAR_CHANNELS = 8  # up to so many, each channel is a plane of its own
LIMIT = 2**31  # what an index within one image, or a count of positions, has to stay below
MARGIN = 2**20  # positions that a kernel may count beyond the last
SUM_BITS = 61  # bits of a 64-bit sum that the largest possible contributions may fill
PROGRAMS = 1056  # 8 for each of the 132 multiprocessors of an H100 or H200


class Tile(NamedTuple):
    """What one program of a kernel works on at a time.

    Args:
        positions, outputs, channels, taps: powers of two; positions, outputs and taps × channels are at least 16, and
            taps are one unless the channels are few (`PLANAR_CHANNELS`).
        splits: programs that share the work's longest loop: over the taps forward and backward, over the positions for
            the weight.
        warps, stages: warps of a program, and loads of its loop that are under way at once.
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
    deterministic: bool = False,
    blocks: Blocks | None = None,
) -> Tensor:
    """`deform_conv2d` on an NVIDIA GPU: y(p0) = sum over the taps m of w(p_m) · mask_m(p0) · x(p0 + p_m + Δp_m(p0)).

    Sums are kept in float32 whatever the features' type, positions and mask are read as float32 (as float64 for float64
    features). Products of float32 are exact unless torch is told to use TF32. An offset that is not a number makes the
    output at its position not a number; an infinite one sees nothing.

    Args:
        features: (B, C, F, T) on a CUDA device. Quickest in channels-last memory.
        offset: (B, 2·M, F', T') vertical, then horizontal for each of the M = kh·kw taps.
        mask: (B, M, F', T') modulation of each tap, or None for 1.
        weight: (O, C, kh, kw) of the features' type. Quickest in channels-last memory.
        padding: rows above and columns left of the map at which the kernel starts.
        deterministic: repeat the features' gradient to the bit, as torch.use_deterministic_algorithms also asks for.
        blocks: how to cut the work, or None for `choose`.
    Returns:
        (B, O, F', T') in channels-last memory.
    Raises:
        RuntimeError: Triton is not installed, or the features are not on a CUDA device.
        TypeError: features and weight of two types, or of a type that is not a floating-point one.
        ValueError: an image or a batch too large for the kernels' indices, or tiles of several taps for many channels.
    """
    dtype = features.dtype
    if dtype != weight.dtype or not dtype.is_floating_point:
        raise TypeError(f"features of {dtype} and weight of {weight.dtype}: expected one floating-point type for both.")
    real = torch.float64 if dtype == torch.float64 else torch.float32
    return _convolve(
        _laid_out(features),
        offset.to(real),
        None if mask is None else mask.to(real),
        weight.permute(0, 2, 3, 1).flatten(1, 2).contiguous(),
        weight.shape[3],
        list(padding),
        deterministic,
        None if blocks is None else [number for tile in blocks for number in tile],
    )


def choose(channels: int, outputs: int, taps: int, positions: int, dtype: torch.dtype) -> Blocks:
    """Tiles for a deformable convolution of C channels, O outputs, M taps and B·F'·T' positions.

    The tensor cores take 16-bit tiles as they come; float32 is multiplied by plain instructions, whose operands live in
    registers, so its tiles are smaller. Few positions are cut finer, so that every multiprocessor has some.
    """
    few = positions < 2**15
    places = 32 if few else 64
    o, c = max(16, _power_of_two(outputs)), max(16, _power_of_two(channels))
    wide = min(o, 128)
    warps = 8 if wide > 64 else 4
    shares = min(taps, 4) if few else 1
    if channels <= PLANAR_CHANNELS:
        c = _power_of_two(channels)
        forward = backward = weight = Tile(128, min(o, 32), c, 16 // c, 1, 4, 1)
    elif dtype.itemsize == 2:
        forward = Tile(places, wide, min(c, 64), 1, shares, 4 if few else warps, 2)
        backward = Tile(places, min(o, 64), min(c, 32), 1, taps, 4 if few else 8, 1)
        weight = Tile(64, wide, min(c, 64), 1, 1, warps, 2)
    else:
        forward = Tile(places, min(o, 64), c if c <= 32 else 16, 1, shares, 4, 2)
        backward = Tile(places, 16, min(c, 32), 1, taps, 4 if few else 8, 1)
        weight = Tile(32, wide, min(c, 32), 1, 1, warps, 1)
    tiles = math.prod(
        _ceil(size, block)
        for size, block in ((channels, weight.channels), (taps, weight.taps), (outputs, weight.outputs))
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
    deterministic: bool,
    blocks: list[int] | None,
) -> Tensor:
    """`fused` on float positions and mask and a weight of (O, M, C)."""
    batch, _, *grid = offset.shape
    outputs = weight.shape[0]
    output = _channels_last((batch, outputs, *grid), features, features.dtype)
    if output.numel() == 0:
        return output
    call = _Call(features, offset, mask, weight, kernel_width, padding, blocks)
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
def _(features, offset, mask, weight, kernel_width, padding, deterministic, blocks):
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
    deterministic: bool,
    blocks: list[int] | None,
    wanted: list[bool],
) -> list[Tensor]:
    """Gradients of features, offset, mask and weight, those that are not wanted left empty."""
    grads = _empty_grads(features, offset, mask, weight, wanted)
    if grad_output.numel() == 0 or features.numel() == 0:
        return [grad.zero_() for grad in grads]
    grad_features, grad_offset, grad_mask, grad_weight = grads
    call = _Call(features, offset, mask, weight, kernel_width, padding, blocks)
    given = grad_output.to(features.dtype).contiguous(memory_format=torch.channels_last)
    if any(wanted[:3]):
        fixed_point = deterministic or torch.are_deterministic_algorithms_enabled()
        sums = units = grad_features
        if wanted[0]:
            kind = torch.int64 if fixed_point else call.real
            if kind != grad_features.dtype:
                sums = torch.empty_strided(
                    grad_features.shape, grad_features.stride(), dtype=kind, device=features.device
                )
            sums.zero_()
            if fixed_point:
                units = _units(given, mask, weight, math.prod(offset.shape[2:]))
        tile = call.blocks.backward
        flat_grads = [grad.flatten(2) if grad.dim() == 4 else grad for grad in (grad_offset, grad_mask)]
        call.launch(
            "backward_kernel",
            tile.splits * _ceil(call.positions, tile.positions),
            tile,
            (given, call.features, *call.fields, call.weight, units, sums, *flat_grads),
            [stride for grad in flat_grads for stride in (grad.stride() if grad.dim() == 3 else (0, 0, 0))],
            FEATURES=wanted[0],
            OFFSET=wanted[1],
            MASK=wanted[2],
            FIXED_POINT=wanted[0] and fixed_point,
        )
        if sums is not grad_features:
            grad_features.copy_(sums.to(call.real) / units[0] / units[1] if fixed_point else sums)
    if wanted[3]:
        tile = call.blocks.weight
        outputs, taps, channels = weight.shape
        partial = weight.new_empty((tile.splits, *weight.shape), dtype=call.real)
        tiles = _ceil(channels, tile.channels) * _ceil(taps, tile.taps) * _ceil(outputs, tile.outputs)
        call.launch("backward_weight_kernel", tile.splits * tiles, tile, (given, call.features, *call.fields, partial))
        grad_weight.copy_(partial.sum(0))
    return grads


@_differentiate.register_fake
def _(grad_output, features, offset, mask, weight, kernel_width, padding, deterministic, blocks, wanted):
    return _empty_grads(features, offset, mask, weight, wanted)


def _remember(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.settings = inputs[4:]


def _backward(ctx, grad_output: Tensor) -> tuple:
    wanted = list(ctx.needs_input_grad[:4])
    grads = _differentiate(grad_output, *ctx.saved_tensors, *ctx.settings, wanted)
    return *(grad if wants else None for grad, wants in zip(grads, wanted, strict=True)), None, None, None, None


_convolve.register_autograd(_backward, setup_context=_remember)


class _Call:
    """What the kernels of one call share: tensors in the layouts they read, sizes, strides and settings."""

    def __init__(
        self,
        features: Tensor,
        offset: Tensor,
        mask: Tensor | None,
        weight: Tensor,
        kernel_width: int,
        padding: list[int],
        blocks: list[int] | None,
    ) -> None:
        self.features, self.weight = _laid_out(features), weight.contiguous()
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
            raise ValueError(
                f"features of shape {tuple(features.shape)} and offsets for {taps} taps: more than the kernels can "
                "count in 32 bits. Give them fewer images at a time."
            )
        self.numbers = [self.positions, area, columns_out, height, width, *padding]
        self.numbers += [self.features.stride(axis) for axis in (0, 1, 2, 3)] + [*offset.stride(), *mask.stride()]
        if blocks is None:
            self.blocks = choose(channels, outputs, taps, self.positions, features.dtype)
        else:
            numbers = len(Tile._fields)
            self.blocks = Blocks(*(Tile(*blocks[i : i + numbers]) for i in range(0, len(blocks), numbers)))
        planar = channels <= PLANAR_CHANNELS
        if not planar and any(tile.taps != 1 for tile in self.blocks):
            raise ValueError(f"{self.blocks}: expected one tap at a time for more than {PLANAR_CHANNELS} channels.")
        self.constants = {
            "CHANNELS": channels,
            "OUTPUTS": outputs,
            "TAPS": taps,
            "KERNEL_WIDTH": kernel_width,
            "MASKED": mask is not offset,
            "PLANAR": planar,
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
        kernel = getattr(kernels, name)
        device = self.features.device
        if device.type != "cuda" and isinstance(kernel, kernels.triton.JITFunction):
            raise RuntimeError(
                f"features on {device}: the kernels run on CUDA devices. Use another backend of deform_conv2d there."
            )
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            kernel[(programs,)](
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
    try:
        from singtech.models.backends import kernels
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise RuntimeError(
            "Triton is not installed: install it (pip install triton) or use another backend of deform_conv2d."
        ) from error
    return kernels


def _span(tensor: Tensor) -> int:
    """How far apart in memory two numbers of one image can be."""
    return sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))


def _laid_out(features: Tensor) -> Tensor:
    """Features as the kernels read them: few channels as planes, many as rows."""
    planar = features.shape[1] <= PLANAR_CHANNELS
    return features.contiguous(memory_format=torch.contiguous_format if planar else torch.channels_last)


def _units(grad_output: Tensor, mask: Tensor | None, weight: Tensor, area: int) -> Tensor:
    """Two powers of two by which a contribution to the features' gradient is multiplied to become an integer.

    Their product is as large as it can be without a sum of contributions that overflows. Each contribution is at most
    max|grad| · max over (tap, channel) of the sum over the outputs of |w| · max|mask|, and at most M·F'·T' of them meet
    at one point. The product may be out of float32's range, hence two. Where the bound is not finite, neither are they,
    nor any gradient that they divide.
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
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, wanted: list[bool]
) -> list[Tensor]:
    laid_out = _laid_out(features)
    grads = [features.new_empty(0) for _ in wanted]
    if wanted[0]:
        grads[0] = torch.empty_strided(laid_out.shape, laid_out.stride(), dtype=features.dtype, device=features.device)
    for i, field in ((1, offset), (2, mask)):
        if wanted[i]:
            rows = field.stride(1) == 1 and field.shape[1] > 1
            grads[i] = _channels_last(field.shape, field, field.dtype) if rows else field.new_empty(field.shape)
    if wanted[3]:
        grads[3] = weight.new_empty(weight.shape)
    return grads


def _channels_last(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def _ceil(size: int, block: int) -> int:
    return -(-size // block)


def _power_of_two(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << (size - 1).bit_length()
