"""Deformable convolution on the CPU: sampling compiled by Numba, products by torch's matrix multiplication.

A job takes one clip (or a few small ones) through sampling and product in pieces that stay in a core's cache, so that
the columns of a whole map are never written to memory; the backward pass samples anew instead of keeping them. Jobs are
shared out among as many threads as torch has, and what comes out does not depend on how many those are.
"""

import threading
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from singtech.models.threads import in_threads

PIECE = 2**18  # numbers of a piece's columns: a megabyte in single precision
JOBS = 16  # at most, each with a weight gradient of its own


def compiled(features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """In single precision, or in double where the weight is; the output has the weight's precision."""
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    with torch.autocast("cpu", enabled=False):
        mask = None if mask is None else mask.to(dtype)
        output = _forward(features.to(dtype), offset.to(dtype), mask, weight.to(dtype), *padding)
        return output.to(weight.dtype)


@torch.library.custom_op("singtech::deform_conv2d", mutates_args=(), device_types="cpu")
def _forward(features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, top: int, left: int) -> Tensor:
    sampling = _Sampling.of(features, offset, mask, weight, (top, left))
    size = sampling.size
    output = features.new_empty(size.batch, *offset.shape[2:], size.outputs)
    flat = output.view(-1, size.outputs)
    by_column = weight.permute(2, 3, 1, 0).reshape(-1, size.outputs)

    def job(number: int) -> None:
        for piece in size.pieces(number):
            torch.mm(sampling.columns(piece), by_column, out=flat[piece.rows])

    in_threads(job, size.jobs)
    return output.permute(0, 3, 1, 2)


@_forward.register_fake
def _(features, offset, mask, weight, top, left):
    batch, _, *grid = offset.shape
    return features.new_empty(batch, *grid, weight.shape[0]).permute(0, 3, 1, 2)


@torch.library.custom_op("singtech::deform_conv2d_backward", mutates_args=(), device_types="cpu")
def _backward(
    gradient: Tensor,
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    top: int,
    left: int,
    wants_features: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sampling = _Sampling.of(features, offset, mask, weight, (top, left))
    size = sampling.size
    by_output = weight.permute(0, 2, 3, 1).reshape(size.outputs, -1)
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, size.outputs)
    of_features = torch.zeros_like(sampling.features) if wants_features else features.new_empty(0, 0, 0, 0)
    of_offset, of_mask = torch.empty_like(sampling.offset), torch.empty_like(sampling.mask)
    of_weight = features.new_zeros(size.jobs, *by_output.shape)

    def job(number: int) -> None:
        for piece in size.pieces(number):
            of_columns = size.buffer("of columns", piece, features.dtype)
            torch.mm(flat[piece.rows], by_output, out=of_columns)
            of_weight[number].addmm_(flat[piece.rows].t(), sampling.columns(piece))
            sampling.spread(piece, of_columns, of_features, of_offset, of_mask)

    in_threads(job, size.jobs)
    of_weight = of_weight.sum(0).view(size.outputs, *weight.shape[2:], size.channels)
    return tuple(part.permute(0, 3, 1, 2) for part in (of_features, of_offset, of_mask, of_weight))


@_backward.register_fake
def _(gradient, features, offset, mask, weight, top, left, wants_features):
    def laid_out(batch: int, channels: int, *grid: int) -> Tensor:
        return features.new_empty(batch, *grid, channels).permute(0, 3, 1, 2)

    batch, taps, *grid = offset.shape[0], offset.shape[1] // 2, *offset.shape[2:]
    of_features = laid_out(*features.shape) if wants_features else laid_out(0, 0, 0, 0)
    return of_features, laid_out(*offset.shape), laid_out(batch, taps, *grid), laid_out(*weight.shape)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.top, ctx.left = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, gradient: Tensor) -> tuple:
    tensors = ctx.saved_tensors
    found = _backward(gradient, *tensors, ctx.top, ctx.left, ctx.needs_input_grad[0])
    return *(of if needed else None for of, needed in zip(found, ctx.needs_input_grad, strict=False)), None, None


_forward.register_autograd(_differentiate, setup_context=_keep)


class _Piece(NamedTuple):
    """Clips `first` to `last` at positions `start` to `stop` of each; several clips only with all their positions."""

    first: int
    last: int
    start: int
    stop: int
    rows: slice  # of the positions of all clips


class _Size(NamedTuple):
    """What there is to compute."""

    batch: int
    channels: int
    outputs: int
    taps: int
    positions: int  # of a clip

    @property
    def jobs(self) -> int:
        return min(JOBS, self.batch)

    def pieces(self, job: int) -> Iterator[_Piece]:
        """What a job does, one piece after the other."""
        last = (job + 1) * self.batch // self.jobs
        first = job * self.batch // self.jobs
        width = self.taps * self.channels
        if width * self.positions > PIECE:
            clips, step = 1, max(16, PIECE // width)
        else:
            clips, step = max(1, PIECE // max(1, width * self.positions)), self.positions
        for clip in range(first, last, clips):
            end = min(clip + clips, last)
            for start in range(0, self.positions, max(1, step)):
                stop = min(start + step, self.positions)
                yield _Piece(
                    clip, end, start, stop, slice(clip * self.positions + start, (end - 1) * self.positions + stop)
                )

    def buffer(self, name: str, piece: _Piece, dtype: torch.dtype) -> Tensor:
        """(positions of the piece, M·C) of the thread's own memory."""
        rows = piece.rows.stop - piece.rows.start
        needed = rows * self.taps * self.channels
        kept = vars(_LOCAL).get((name, dtype))
        if kept is None or kept.numel() < needed:
            kept = vars(_LOCAL)[name, dtype] = torch.empty(max(needed, PIECE), dtype=dtype)
        return kept[:needed].view(rows, -1)


_LOCAL = threading.local()


class _Sampling(NamedTuple):
    """The operands laid out position by position, and as the kernels see them."""

    size: _Size
    features: Tensor  # (B, F, T, C)
    offset: Tensor  # (B, F', T', 2·M)
    mask: Tensor  # (B, F', T', M)
    kernel_width: int
    padding: tuple[int, int]

    @classmethod
    def of(
        cls, features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
    ) -> "_Sampling":
        outputs, channels, *kernel = weight.shape
        batch, taps = offset.shape[0], kernel[0] * kernel[1]
        if mask is None:
            mask = features.new_ones(1).expand(batch, taps, *offset.shape[2:])
        size = _Size(batch, channels, outputs, taps, offset.shape[2] * offset.shape[3])
        laid_out = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in (features, offset, mask))
        return cls(size, *laid_out, kernel[1], padding)

    def columns(self, piece: _Piece) -> Tensor:
        """(positions of the piece, M·C) what each tap sees, times its mask."""
        found = self.size.buffer("columns", piece, self.features.dtype)
        _loops().sample(*self._seen(piece), found.numpy(), *self._where(piece))
        return found

    def spread(
        self, piece: _Piece, of_columns: Tensor, of_features: Tensor, of_offset: Tensor, of_mask: Tensor
    ) -> None:
        """From the gradient of the columns, that of the features (added to), the offset and the mask (set)."""
        wants_features = of_features.numel() > 0
        clips = slice(piece.first, piece.last)
        into = (of_features[clips] if wants_features else of_features, of_offset[clips], of_mask[clips])
        arrays = [tensor.numpy() for tensor in (of_columns, *into)]
        _loops().spread(*self._seen(piece), *arrays, *self._where(piece), wants_features)

    def _seen(self, piece: _Piece) -> list[np.ndarray]:
        clips = slice(piece.first, piece.last)
        return [tensor[clips].numpy() for tensor in (self.features, self.offset, self.mask)]

    def _where(self, piece: _Piece) -> tuple[int, ...]:
        return self.kernel_width, *self.padding, piece.start, piece.stop


def _loops() -> ModuleType:
    """Imported when they are needed: Numba takes a second."""
    from singtech.models.backends import loops

    return loops
