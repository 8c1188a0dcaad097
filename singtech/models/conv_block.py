"""A block of Table 1: convolution, batch norm, max pooling, ReLU and dropout (Section 4.2).

In the paper the ReLU comes before the pooling. Both are monotone, so the result is the same; with pooling first, the
ReLU processes up to 16 times fewer values.

In float32 training on a CPU, Numba loops replace all parts after the convolution. They read its map twice: once for the
batch's statistics, once to normalise, pool and drop. torch's modules read it three times. Hooks of the replaced modules
do not run then. Where the loops cannot be used, the modules run and drop the same units.
"""

import math
from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from singtech.models.threads import run_in_threads


class Block(nn.Sequential):
    """(B, C, F, T) -> (B, O, F', T').

    Args:
        conv: the convolution.
        channels: O.
        pool: bins and frames of a pooling window, or None for no pooling.
        dropout: probability to drop a unit.
    """

    conv: nn.Module
    norm: Any
    window: Any
    dropout: nn.Dropout

    def __init__(self, conv: nn.Module, channels: int, pool: tuple[int, int] | None, dropout: float) -> None:
        parts = OrderedDict(conv=conv, norm=nn.BatchNorm2d(channels))
        if pool:
            parts["pool"] = nn.MaxPool2d(pool)
        super().__init__(parts | {"activation": nn.ReLU(), "dropout": BlockDropout(dropout)})
        self.window = pool

    def forward(self, features: Tensor) -> Tensor:
        """Apply the parts one after the other, or the loops if they can be used."""
        maps = self.conv(features)
        if self._can_use_loops(maps):
            return normalise_and_pool(maps, self.norm, self.window, self.dropout.p)
        for part in list(self)[1:]:
            maps = part(maps)
        return maps

    def _can_use_loops(self, maps: Tensor) -> bool:
        """Whether the loops can replace the parts: float32 on a CPU, all parts training, shapes that torch accepts."""
        if maps.device.type != "cpu" or maps.dtype != torch.float32:
            return False
        if self.window is None or self.norm.momentum is None:
            return False
        _, channels, *grid = maps.shape
        if maps.numel() <= channels or any(size < side for size, side in zip(grid, self.window, strict=True)):
            return False
        return all(part.training for part in list(self)[1:])


class BlockDropout(nn.Dropout):
    """In training on a CPU, dropout of the same units as in `normalise_and_pool`; elsewhere torch's dropout."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, C, F, T)."""
        if not self.training or not self.p or maps.device.type != "cpu":
            return super().forward(maps)
        return (maps * _gain(self.p)).masked_fill(_dropped_units(maps, self.p), 0)


def normalise_and_pool(maps: Tensor, norm: Any, window: tuple[int, int], dropout: float = 0.0) -> Tensor:
    """Normalise by the batch's statistics, pool, apply ReLU and dropout; update the running statistics.

    Dropout takes one number from torch's generator. The units it drops do not depend on the number of threads.

    Args:
        maps: (B, C, F, T) on the CPU.
        norm: the batch norm, with its weights and running statistics.
        window: bins and frames of a pooling window.
        dropout: probability to drop a unit.
    Returns:
        (B, C, F // bins, T // frames).
    """
    seed = _draw_seed() if dropout else 0
    output, mean, variance = _NormaliseAndPool.apply(maps, norm.weight, norm.bias, norm.eps, window, dropout, seed)
    with torch.no_grad():
        count = maps.numel() // maps.shape[1]
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)
    return output


def _dropped_units(maps: Tensor, dropout: float) -> Tensor:
    """(B, C, F, T) bool, True at the units that `normalise_and_pool` drops from an output of this shape."""
    batch, channels, rows, columns = maps.shape
    is_dropped = torch.empty(batch, rows, columns, channels, dtype=torch.bool)
    seed, limit = np.uint64(_draw_seed()), _limit(dropout)

    def drop(clip: int) -> None:
        first = np.uint64(clip * is_dropped[clip].numel())
        _loops().mark_dropped(limit, seed, first, is_dropped[clip].view(-1).numpy())

    run_in_threads(drop, batch)
    return is_dropped.permute(0, 3, 1, 2)


def _draw_seed() -> int:
    """Draw a seed for `draw`: one number from torch's generator."""
    return int(torch.randint(2**63 - 1, ()))


def _limit(dropout: float) -> np.uint64:
    """The limit for a random number of 32 bits: a smaller one drops its unit."""
    return np.uint64(round(dropout * 2**32))


def _gain(dropout: float) -> float:
    """Factor on the units that are not dropped, so that dropout keeps the mean."""
    return 1 / (1 - dropout) if dropout < 1 else 0.0


def channel_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel; for float32 maps on the CPU, summed in double precision.

    There torch's batch norm sums channels-last maps in single precision. After a first convolution where the mean is
    17 deviations, its variance is off by 0.07 %. `torch.var_mean` is exact enough, but slow.

    Args:
        maps: (B, C), (B, C, T) or (B, C, F, T).
    Returns:
        (C,) means and (C,) variances, the sum of squares divided by the number of values.
    """
    if maps.device.type == "cpu" and maps.dtype == torch.float32 and maps.dim() in (3, 4):
        return _moments(maps.reshape(*maps.shape[:2], -1, maps.shape[-1]).permute(0, 2, 3, 1).contiguous())
    variance, mean = torch.var_mean(maps.float().transpose(0, 1).flatten(1), dim=1, correction=0)
    return mean, variance


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) means and (C,) variances, in double, of (B, F, T, C) values on the CPU."""
    batch, *grid, channels = values.shape
    sums = values.new_zeros(batch, 2, channels, dtype=torch.float64)
    run_in_threads(lambda clip: _loops().add_moments(values[clip].numpy(), sums[clip].numpy()), batch)
    mean, square = sums.sum(0) / (batch * math.prod(grid))
    return mean, (square - mean.square()).clamp(min=0)


class _NormaliseAndPool(torch.autograd.Function):
    """The output of `normalise_and_pool` with its gradients, and the batch's (C,) mean and (C,) variance."""

    @staticmethod
    def forward(
        ctx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int], dropout: float, seed: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = maps.permute(0, 2, 3, 1).contiguous()
        batch, rows, columns, channels = values.shape
        mean, variance = _moments(values)
        deviation = (variance + eps).sqrt()
        scale = weight / deviation
        shift = bias - mean * scale

        output = values.new_empty(batch, rows // window[0], columns // window[1], channels)
        peaks, positions = torch.empty_like(output), torch.empty_like(output, dtype=torch.uint8)
        affine = [part.to(values.dtype).numpy() for part in (scale, shift)]
        gain = affine[0].dtype.type(_gain(dropout))
        limit = _limit(dropout)

        def pool(clip: int) -> None:
            first = np.uint64(clip * output[clip].numel())
            results = (part[clip].numpy() for part in (output, peaks, positions))
            _loops().pool(values[clip].numpy(), *affine, *window, gain, limit, np.uint64(seed), first, *results)

        run_in_threads(pool, batch)
        ctx.save_for_backward(values, peaks, positions, weight, mean, deviation)
        ctx.window, ctx.gain = window, gain
        mean, variance = mean.to(values.dtype), variance.to(values.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return output.permute(0, 3, 1, 2), mean, variance

    @staticmethod
    def backward(ctx, output_gradient: Tensor, *_) -> tuple:
        values, peaks, positions, weight, mean, deviation = ctx.saved_tensors
        gradient = output_gradient.permute(0, 2, 3, 1).contiguous()
        batch, rows, columns, channels = values.shape
        sums = values.new_zeros(batch, 2, channels, dtype=torch.float64)
        statistics = [part.to(values.dtype).numpy() for part in (mean, deviation)]

        def add(clip: int) -> None:
            parts = (part[clip].numpy() for part in (gradient, peaks, positions))
            _loops().add_gradients(*parts, *statistics, ctx.gain, sums[clip].numpy())

        run_in_threads(add, batch)
        bias_gradient, weight_gradient = sums.sum(0)
        count, scale = batch * rows * columns, weight / deviation
        slope = -scale * weight_gradient / (count * deviation)
        constant = -scale * bias_gradient / count - slope * mean
        factors = [part.to(values.dtype).numpy() for part in (scale, constant, slope)]
        values_gradient = torch.empty_like(values)

        def unpool(clip: int) -> None:
            parts = (part[clip].numpy() for part in (values, gradient, positions))
            _loops().unpool(*parts, *factors, *ctx.window, ctx.gain, values_gradient[clip].numpy())

        run_in_threads(unpool, batch)
        gradients = [gradient.to(weight.dtype) for gradient in (weight_gradient, bias_gradient)]
        return values_gradient.permute(0, 3, 1, 2), *gradients, None, None, None, None


def _loops() -> ModuleType:
    """Import the loops at their first use, because importing Numba takes a second."""
    from singtech.models import conv_block_loops as block_loops

    return block_loops
