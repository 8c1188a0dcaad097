"""Deformable convolution by one Triton kernel per direction, without writing the sampled columns to memory.

torchvision writes the columns (M·C numbers per position) before it multiplies them, and reads and rewrites them several
times for the gradients. Here a program samples the columns of a block of positions into registers and multiplies them
there. The backward kernel also uses the gradient of the columns immediately. The module `kernels` is imported at its
first use, because Triton comes with torch for NVIDIA GPUs only.

Atomic additions sum the gradient of the features, so the order of the sum differs between runs.
"""

import math
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from singtech.errors import InvalidValue

LIMIT = 2**31  # indices within one image, and counts of positions, stay below it
MARGIN = 2**20  # a kernel may count this many positions beyond the last one
PROGRAMS = 1056  # 8 for each of the 132 multiprocessors of an H100 or H200


class Tile(NamedTuple):
    """The size of the block that one program of a kernel computes at a time.

    Args:
        positions, outputs, channels: powers of two, at least 16.
        splits: programs that share a loop: over the taps backward, over the positions for the weight.
        warps, stages: warps of a program, and loads of its loop that run in parallel.
    """

    positions: int
    outputs: int
    channels: int
    splits: int
    warps: int
    stages: int


class Blocks(NamedTuple):
    """The tiles of the three kernels: forward, backward, and backward for the weight."""

    forward: Tile
    backward: Tile
    weight: Tile


def deform_conv2d_triton(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    """Compute `deform_conv2d` on an NVIDIA GPU, in autocast's precision, or in the weight's outside autocast.

    Sums are float32, and positions and mask are read as float32 (all are float64 for float64 features). Products of
    float32 are exact unless torch allows TF32. An offset of NaN gives an output of NaN at its position; a tap with an
    infinite offset reads 0.

    Args:
        features: (B, C, F, T) on a CUDA device. Fastest in channels-last memory.
        offset, mask, padding: as for `deform_conv2d`.
        weight: (O, C, kh, kw). Fastest in channels-last memory.
    Returns:
        (B, O, F', T') in channels-last memory.
    Raises:
        InvalidValue: an image or a batch is too large for the kernels' indices.
    """
    device = features.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    features, weight = features.to(dtype), weight.to(dtype)
    batch, channels, *size = features.shape
    if max(batch * math.prod(offset.shape[2:]) + MARGIN, math.prod(size) * channels) >= LIMIT:
        raise InvalidValue(
            f"features of shape {tuple(features.shape)} and offsets of shape {tuple(offset.shape)}: more than the "
            "kernels can count in 32 bits; use a smaller batch_size."
        )
    real = torch.float64 if features.dtype == torch.float64 else torch.float32
    if mask is None:
        mask = offset.new_ones(batch, offset.shape[1] // 2, *offset.shape[2:])
    fields = [field.to(real).contiguous(memory_format=torch.channels_last) for field in (offset, mask)]
    features = features.contiguous(memory_format=torch.channels_last)
    by_tap = weight.permute(0, 2, 3, 1).flatten(1, 2).contiguous()  # (O, M, C)
    return _Fused.apply(features, *fields, by_tap, weight.shape[3], padding)


def choose_tiles(channels: int, outputs: int, taps: int, positions: int, dtype: torch.dtype) -> Blocks:
    """Choose tiles for a deformable convolution of C channels, O outputs, M taps and B·F'·T' positions.

    float32 tiles are smaller than 16-bit tiles: their operands stay in registers, for plain instructions. Tensor cores
    multiply the 16-bit tiles.
    """
    o, c = max(16, _power_of_two(outputs)), max(16, _power_of_two(channels))
    wide = min(o, 128)
    warps = 8 if wide > 64 else 4
    if dtype.itemsize == 2:
        forward = Tile(64, wide, min(c, 64), 1, warps, 2)
        backward = Tile(64, min(o, 64), min(c, 32), taps, 8, 1)
        weight = Tile(64, wide, min(c, 64), 1, warps, 2)
    else:
        forward = Tile(64, min(o, 64), c if c <= 32 else 16, 1, 4, 2)
        backward = Tile(64, 16, min(c, 32), taps, 8, 1)
        weight = Tile(32, wide, min(c, 32), 1, warps, 1)
    tiles = taps * _ceil(channels, weight.channels) * _ceil(outputs, weight.outputs)
    splits = min(_ceil(PROGRAMS, tiles), _ceil(positions, weight.positions))
    return Blocks(forward, backward, weight._replace(splits=max(splits, 1)))


class _Fused(torch.autograd.Function):
    """The output of the kernels, with gradients. Features, offset and mask are channels-last, the weights (O, M, C)."""

    @staticmethod
    def forward(
        ctx, features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, kernel_width: int, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(features, offset, mask, weight)
        ctx.settings = kernel_width, padding
        batch, _, *grid = offset.shape
        outputs, taps, channels = weight.shape
        positions = batch * math.prod(grid)
        tile = choose_tiles(channels, outputs, taps, positions, features.dtype).forward
        output = features.new_empty(batch, *grid, outputs)
        programs = _ceil(outputs, tile.outputs) * _ceil(positions, tile.positions)
        _launch("forward_kernel", programs, tile, ctx.settings, [features, offset, mask, weight], [output])
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        features, offset, mask, weight = operands = ctx.saved_tensors
        outputs, taps, channels = weight.shape
        positions = mask.numel() // mask.shape[1]
        blocks = choose_tiles(channels, outputs, taps, positions, features.dtype)
        gradient = grad_output.to(features.dtype).contiguous(memory_format=torch.channels_last)
        needs_features = ctx.needs_input_grad[0]
        grad_features = torch.zeros_like(features if needs_features else features[:0], dtype=offset.dtype)
        grads = [grad_features, torch.empty_like(offset), torch.empty_like(mask)]
        tile = blocks.backward
        programs = tile.splits * _ceil(positions, tile.positions)
        tensors = [gradient, *operands]
        _launch("backward_kernel", programs, tile, ctx.settings, tensors, grads, FEATURES=needs_features)
        tile = blocks.weight
        partial = weight.new_empty((tile.splits, *weight.shape), dtype=offset.dtype)
        programs = tile.splits * taps * _ceil(channels, tile.channels) * _ceil(outputs, tile.outputs)
        _launch("backward_weight_kernel", programs, tile, ctx.settings, tensors, [partial])
        features_gradient = grad_features.to(features.dtype) if needs_features else None
        return features_gradient, *grads[1:], partial.sum(0).to(weight.dtype), None, None


def _launch(
    name: str,
    programs: int,
    tile: Tile,
    settings: tuple[int, tuple[int, int]],
    tensors: list[Tensor],
    results: list[Tensor],
    **flags: bool,
) -> None:
    """Run one kernel on the device of its tensors, the last four of which are features, offset, mask and weight.

    Args:
        settings: width of the kernel; rows and columns of padding.
    """
    kernel_width, padding = settings
    features, offset, _, weight = tensors[-4:]
    batch, _, *grid = offset.shape
    area = math.prod(grid)
    kernels = _kernels()
    with torch.cuda.device_of(features):
        getattr(kernels, name)[(programs,)](
            *tensors,
            *results,
            batch * area,
            area,
            grid[1],
            *features.shape[2:],
            *padding,
            CHANNELS=features.shape[1],
            OUTPUTS=weight.shape[0],
            TAPS=weight.shape[1],
            KERNEL_WIDTH=kernel_width,
            **flags,
            REAL=kernels.tl.float64 if offset.dtype == torch.float64 else kernels.tl.float32,
            PRECISION="tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee",
            SPLITS=tile.splits,
            BLOCK_P=tile.positions,
            BLOCK_O=tile.outputs,
            BLOCK_C=tile.channels,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )


def _kernels() -> ModuleType:
    """Import the kernels at their first use: only NVIDIA GPUs have Triton."""
    from singtech.models.backends import kernels

    return kernels


def _ceil(size: int, block: int) -> int:
    return -(-size // block)


def _power_of_two(size: int) -> int:
    """The smallest power of two from `size` up."""
    return 1 << (size - 1).bit_length()
