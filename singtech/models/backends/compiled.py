"""Deformable convolution on the CPU: sampling compiled by Numba, products by torch's matrix multiplication.

A job samples and multiplies some of the clips, in pieces that fit a core's cache. The columns of a whole map are never
in memory, and the backward pass samples them again. The jobs run on as many threads as torch uses. The result does not
depend on the number of threads.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from singtech.models.threads import run_in_threads

PIECE_SIZE = 2**18  # numbers in the columns of a piece: a megabyte in single precision
MAX_JOBS = 16  # each job has its own weight gradient


def deform_conv2d_numba(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    """Compute in single precision, or in double if the weight is; the output has the weight's dtype."""
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    with torch.autocast("cpu", enabled=False):
        mask = None if mask is None else mask.to(dtype)
        output = _Compiled.apply(features.to(dtype), offset.to(dtype), mask, weight.to(dtype), padding)
        return output.to(weight.dtype)


class _Compiled(torch.autograd.Function):
    """The output of `deform_conv2d_numba`, with its gradients."""

    @staticmethod
    def forward(
        ctx, features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(features, offset, mask, weight)
        ctx.padding = padding
        sampling = _Sampling(features, offset, mask, weight, padding)
        output = features.new_empty(sampling.batch, *offset.shape[2:], sampling.outputs)
        flat = output.view(-1, sampling.outputs)
        weight_matrix = weight.permute(2, 3, 1, 0).reshape(-1, sampling.outputs)

        def job(number: int) -> None:
            for piece in sampling.pieces(number):
                torch.mm(sampling.columns(piece), weight_matrix, out=flat[piece.rows])

        run_in_threads(job, sampling.jobs)
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, offset, mask, weight = ctx.saved_tensors
        sampling = _Sampling(features, offset, mask, weight, ctx.padding)
        weight_matrix = weight.permute(0, 2, 3, 1).reshape(sampling.outputs, -1)
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, sampling.outputs)
        gradients = [torch.zeros_like(operand) for operand in sampling.operands]
        if not ctx.needs_input_grad[0]:
            gradients[0] = features.new_empty(0, 0, 0, 0)
        grad_weight = features.new_zeros(sampling.jobs, *weight_matrix.shape)

        def job(number: int) -> None:
            for piece in sampling.pieces(number):
                grad_columns = sampling.buffer(piece)
                torch.mm(flat[piece.rows], weight_matrix, out=grad_columns)
                grad_weight[number].addmm_(flat[piece.rows].t(), sampling.columns(piece))
                sampling.add_gradients(piece, grad_columns, gradients)

        run_in_threads(job, sampling.jobs)
        gradients.append(grad_weight.sum(0).view(sampling.outputs, *weight.shape[2:], sampling.channels))
        grads = (
            grad.permute(0, 3, 1, 2) if needed else None
            for grad, needed in zip(gradients, ctx.needs_input_grad, strict=False)
        )
        return *grads, None


class _Piece(NamedTuple):
    """Positions `start` to `stop` of the clips `first` to `last`. A piece of several clips has all their positions."""

    first: int
    last: int
    start: int
    stop: int
    rows: slice  # the same positions, counted over all clips


class _Sampling:
    """The operands in channels-last order, and the loops that process a piece of them."""

    def __init__(
        self, features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
    ) -> None:
        self.outputs, self.channels, *kernel = weight.shape
        self.batch, self.taps = offset.shape[0], kernel[0] * kernel[1]
        self.positions = offset.shape[2] * offset.shape[3]  # of a clip
        self.jobs = min(MAX_JOBS, self.batch)
        self.kernel = (kernel[1], *padding)
        if mask is None:
            mask = features.new_ones(1).expand(self.batch, self.taps, *offset.shape[2:])
        # (B, F, T, C), (B, F', T', 2·M), (B, F', T', M)
        self.operands = [tensor.permute(0, 2, 3, 1).contiguous() for tensor in (features, offset, mask)]

    def pieces(self, job: int) -> Iterator[_Piece]:
        """Yield the pieces of a job in order."""
        last = (job + 1) * self.batch // self.jobs
        first = job * self.batch // self.jobs
        width = self.taps * self.channels
        if width * self.positions > PIECE_SIZE:
            clips, step = 1, max(16, PIECE_SIZE // width)
        else:
            clips, step = max(1, PIECE_SIZE // max(1, width * self.positions)), self.positions
        for clip in range(first, last, clips):
            end = min(clip + clips, last)
            for start in range(0, self.positions, max(1, step)):
                stop = min(start + step, self.positions)
                rows = slice(clip * self.positions + start, (end - 1) * self.positions + stop)
                yield _Piece(clip, end, start, stop, rows)

    def buffer(self, piece: _Piece) -> Tensor:
        """Allocate (positions of the piece, M·C) numbers."""
        return self.operands[0].new_empty(piece.rows.stop - piece.rows.start, self.taps * self.channels)

    def columns(self, piece: _Piece) -> Tensor:
        """Sample a piece: (its positions, M·C) samples of the taps, times their mask."""
        columns = self.buffer(piece)
        operands = _arrays(self.operands, piece)
        _loops().sample(*operands, columns.numpy(), *self.kernel, piece.start, piece.stop)
        return columns

    def add_gradients(self, piece: _Piece, grad_columns: Tensor, gradients: list[Tensor]) -> None:
        """Compute from the gradient of the columns those of features (added to), offset and mask (overwritten)."""
        arrays = *_arrays(self.operands, piece), grad_columns.numpy(), *_arrays(gradients, piece)
        _loops().sample_backward(*arrays, *self.kernel, piece.start, piece.stop)


def _arrays(tensors: list[Tensor], piece: _Piece) -> list[np.ndarray]:
    """Take the clips of a piece as arrays; an empty tensor stays empty."""
    return [tensor[piece.first : piece.last].numpy() for tensor in tensors]


def _loops() -> ModuleType:
    """Import the loops at their first use, because importing Numba takes a second."""
    from singtech.models.backends import loops

    return loops
