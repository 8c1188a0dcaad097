"""A block of Table 1: convolution, batch norm, max pooling, ReLU and dropout (Section 4.2).

The maximum is taken before the ReLU, which comes to the same (both are monotone) on a map of a sixteenth the size. In
training on a CPU everything after the convolution is done in two passes over its map, by loops that Numba compiles:
one for the batch's statistics, one that normalises, pools and drops; torch would write and read that map three times.
"""

import math
from collections import OrderedDict
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from singtech.models.threads import in_threads


class Block(nn.Sequential):
    """(B, C, F, T) -> (B, O, F', T').

    Args:
        conv: the convolution.
        channels: O.
        pool: bins and frames of a window of the pooling, or None for none.
        dropout: the probability to drop.
    """

    def __init__(self, conv: nn.Module, channels: int, pool: tuple[int, int] | None, dropout: float) -> None:
        parts = OrderedDict(conv=conv, norm=nn.BatchNorm2d(channels))
        if pool:
            parts["pool"] = nn.MaxPool2d(pool)
        super().__init__(parts | {"activation": nn.ReLU(inplace=True), "dropout": nn.Dropout(dropout)})

    def forward(self, features: Tensor) -> Tensor:
        """All parts one after the other, or what comes to the same in training on a CPU."""
        maps = self.conv(features)
        if self._is_plain(maps):
            return pooled(maps, self.norm, self.pool.kernel_size, self.dropout.p)
        for part in list(self)[1:]:
            maps = part(maps)
        return maps

    def _is_plain(self, maps: Tensor) -> bool:
        """Whether the compiled passes come to the same: all train, nobody listens, and torch would not refuse."""
        if maps.device.type != "cpu" or maps.dtype != torch.float32:
            return False
        if "pool" not in self._modules or self.norm.momentum is None:
            return False
        _, channels, *grid = maps.shape
        if maps.numel() <= channels or any(size < side for size, side in zip(grid, self.pool.kernel_size, strict=True)):
            return False
        parts = list(self)[1:]
        heard = (hooks for part in parts for hooks in (part._forward_hooks, part._forward_pre_hooks))
        heard_back = (hooks for part in parts for hooks in (part._backward_hooks, part._backward_pre_hooks))
        return all(part.training for part in parts) and not any(heard) and not any(heard_back)


@torch.compiler.disable
def pooled(maps: Tensor, norm: nn.BatchNorm2d, window: tuple[int, int], dropout: float = 0.0) -> Tensor:
    """Batch norm by the batch's statistics (the running ones follow), max pooling, ReLU and dropout.

    Which values are dropped hangs on one number drawn from torch's generator, not on the number of threads.

    Args:
        maps: (B, C, F, T) on the CPU.
        norm: its weights, its running statistics, their momentum and epsilon.
        window: bins and frames.
        dropout: the probability to drop.
    Returns:
        (B, C, F // bins, T // frames).
    """
    seed = int(torch.randint(2**63 - 1, ())) if dropout else 0
    found, mean, variance = _Pooled.apply(maps, norm.weight, norm.bias, norm.eps, window, dropout, seed)
    with torch.no_grad():
        count = maps.numel() // maps.shape[1]
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)
    return found


def channel_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) mean and (C,) variance (over n) of each channel, as exact as double precision on the CPU.

    torch's batch norm sums channels-last maps in single precision there: where the mean is 17 deviations, as after the
    demo's first convolution, its variance is off by 0.07 %. `torch.var_mean` is exact enough, and slow.

    Args:
        maps: (B, C), (B, C, T) or (B, C, F, T).
    """
    if maps.device.type == "cpu" and maps.dtype == torch.float32 and maps.dim() in (3, 4):
        return _moments(maps.reshape(*maps.shape[:2], -1, maps.shape[-1]).permute(0, 2, 3, 1).contiguous())
    variance, mean = torch.var_mean(maps.float().transpose(0, 1).flatten(1), dim=1, correction=0)
    return mean, variance


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """The same in double of (B, F, T, C) values on the CPU."""
    batch, *grid, channels = values.shape
    sums = values.new_zeros(batch, 2, channels, dtype=torch.float64)
    in_threads(lambda clip: _loops().add_moments(values[clip].numpy(), sums[clip].numpy()), batch)
    mean, square = sums.sum(0) / (batch * math.prod(grid))
    return mean, (square - mean.square()).clamp(min=0)


class _Pooled(torch.autograd.Function):
    """See `pooled`; the batch's mean and variance beside the result."""

    @staticmethod
    def forward(
        ctx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int], drop: float, seed: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = maps.permute(0, 2, 3, 1).contiguous()
        batch, rows, columns, channels = values.shape
        mean, variance = _moments(values)
        deviation = (variance + eps).sqrt()
        scale = weight / deviation
        shift = bias - mean * scale

        output = values.new_empty(batch, rows // window[0], columns // window[1], channels)
        peaks, places = torch.empty_like(output), torch.empty_like(output, dtype=torch.uint8)
        numbers = [part.to(values.dtype).numpy() for part in (scale, shift)]
        raised = numbers[0].dtype.type(1 / (1 - drop) if drop < 1 else 0)
        limit = np.uint64(round(drop * 2**32))

        def job(clip: int) -> None:
            first = np.uint64(clip * output[clip].numel())
            results = (part[clip].numpy() for part in (output, peaks, places))
            _loops().pool(values[clip].numpy(), *numbers, *window, raised, limit, np.uint64(seed), first, *results)

        in_threads(job, batch)
        ctx.save_for_backward(values, peaks, places, weight, mean, deviation)
        ctx.window, ctx.raised = window, raised
        mean, variance = mean.to(values.dtype), variance.to(values.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return output.permute(0, 3, 1, 2), mean, variance

    @staticmethod
    def backward(ctx, gradient: Tensor, *_) -> tuple:
        values, peaks, places, weight, mean, deviation = ctx.saved_tensors
        given = gradient.permute(0, 2, 3, 1).contiguous()
        batch, rows, columns, channels = values.shape
        sums = values.new_zeros(batch, 2, channels, dtype=torch.float64)
        statistics = [part.to(values.dtype).numpy() for part in (mean, deviation)]

        def add(clip: int) -> None:
            parts = (part[clip].numpy() for part in (given, peaks, places))
            _loops().add_gradients(*parts, *statistics, ctx.raised, sums[clip].numpy())

        in_threads(add, batch)
        of_bias, of_weight = sums.sum(0)
        count, scale = batch * rows * columns, weight / deviation
        slope = -scale * of_weight / (count * deviation)
        constant = -scale * of_bias / count - slope * mean
        numbers = [part.to(values.dtype).numpy() for part in (scale, constant, slope)]
        of_values = torch.empty_like(values)

        def spread(clip: int) -> None:
            parts = (part[clip].numpy() for part in (values, given, places))
            _loops().unpool(*parts, *numbers, *ctx.window, ctx.raised, of_values[clip].numpy())

        in_threads(spread, batch)
        of_weights = (of_weight.to(weight.dtype), of_bias.to(weight.dtype))
        return of_values.permute(0, 3, 1, 2), *of_weights, None, None, None, None


def _loops() -> ModuleType:
    """Imported when they are needed: Numba takes a second."""
    from singtech.models import block_loops

    return block_loops
