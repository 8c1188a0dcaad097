"""The loops of `deform_conv2d_numba`, which Numba compiles: bilinear sampling at deformed taps, and its gradients.

The import takes a second. On a new machine the first call of each loop compiles it, which takes some seconds; Numba
caches the result beside the module or in the user's cache. Arrays hold several clips, channels last.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache


class SafeNumbaCache(FunctionCache):
    """Numba's cache of compiled loops, without an error when the disk is full."""

    def save_overload(self, *arguments: object) -> None:
        """Save a compiled loop if the disk has room."""
        with contextlib.suppress(Exception):
            super().save_overload(*arguments)


def loop(function: Callable) -> Callable:
    """Compile a function at its first call, without Python's lock; sums may be reordered, but NaN stays NaN."""
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})(function)
    with contextlib.suppress(RuntimeError):  # Numba found no folder for its cache
        compiled._cache = SafeNumbaCache(function)
    return compiled


@loop
def tap_position(offset, clip, row, column, tap, kernel_width, top, left, number):
    """Row and column at which a tap samples: p0 + p_m + Δp_m."""
    y = number(row - top + tap // kernel_width) + offset[clip, row, column, 2 * tap]
    x = number(column - left + tap % kernel_width) + offset[clip, row, column, 2 * tap + 1]
    return y, x


@loop
def corner_weights(modulation, above, below, before, after, inside):
    """Weights of a position's four `bilinear_corners` times its mask; 0 for corners outside the map."""
    above, below = modulation * above * inside[0], modulation * below * inside[1]
    before, after = before * inside[2], after * inside[3]
    return above * before, above * after, below * before, below * after


@loop
def bilinear_corners(y, x, height, width, number):
    """The four grid points around a position that is in the map or less than one step outside.

    Returns:
        The rows above and below and the columns left and right, moved into the map if they are outside; the bilinear
        share of each; and 1 for each that is inside, 0 for each that was outside.
    """
    zero, one = number(0), number(1)
    y0, x0 = np.int64(np.floor(y)), np.int64(np.floor(x))
    y1, x1 = y0 + 1, x0 + 1
    below, right = y - number(y0), x - number(x0)
    has_above, has_below, has_left, has_right = one, one, one, one
    if y0 < 0:
        y0, has_above = np.int64(0), zero
    if y1 >= height:
        y1, has_below = y0, zero
    if x0 < 0:
        x0, has_left = np.int64(0), zero
    if x1 >= width:
        x1, has_right = x0, zero
    shares = (one - below, below, one - right, right)
    return (y0, y1, x0, x1), shares, (has_above, has_below, has_left, has_right)


@loop
def sample(features, offset, mask, columns, kernel_width, top, left, start, stop):
    """Write the columns of the positions from `start` to `stop`: the sample of each tap, times its mask.

    Args:
        features: (clips, F, T, C).
        offset: (clips, F', T', 2·M).
        mask: (clips, F', T', M).
        columns: (clips·(stop - start), M·C), to write.
        kernel_width, top, left: of the kernel, and its padding before the map.
        start, stop: positions of a clip.
    """
    clips, height, width, channels = features.shape
    grid_width, taps = mask.shape[2], mask.shape[3]
    number = features.dtype.type  # keeps numba in single precision
    for clip in range(clips):
        for position in range(start, stop):
            row, column = position // grid_width, position % grid_width
            samples = columns[clip * (stop - start) + position - start]
            for tap in range(taps):
                y, x = tap_position(offset, clip, row, column, tap, kernel_width, top, left, number)
                modulation = mask[clip, row, column, tap]
                first = tap * channels
                if not (y > -1 and y < height and x > -1 and x < width):
                    outside = number(0) * modulation if y == y and x == x else y + x  # 0; NaN for NaN
                    for channel in range(channels):
                        samples[first + channel] = outside
                    continue
                (y0, y1, x0, x1), (above, below, before, after), inside = bilinear_corners(y, x, height, width, number)
                a, b, c, d = corner_weights(modulation, above, below, before, after, inside)
                from_a, from_b = features[clip, y0, x0], features[clip, y0, x1]
                from_c, from_d = features[clip, y1, x0], features[clip, y1, x1]
                for channel in range(channels):
                    samples[first + channel] = (
                        a * from_a[channel] + b * from_b[channel] + c * from_c[channel] + d * from_d[channel]
                    )


@loop
def sample_backward(
    features, offset, mask, grad_columns, grad_features, grad_offset, grad_mask, kernel_width, top, left, start, stop
):
    """Compute from the gradient of the columns those of offset and mask (overwritten) and features (added to).

    Args:
        features, offset, mask, kernel_width, top, left, start, stop: as in `sample`.
        grad_columns: (clips·(stop - start), M·C).
        grad_features, grad_offset, grad_mask: in the shapes of features, offset and mask; the first is empty if the
            gradient of the features is not needed.
    """
    clips, height, width, channels = features.shape
    grid_width, taps = mask.shape[2], mask.shape[3]
    number = features.dtype.type
    zero = number(0)
    for clip in range(clips):
        for position in range(start, stop):
            row, column = position // grid_width, position % grid_width
            gradient = grad_columns[clip * (stop - start) + position - start]
            for tap in range(taps):
                y, x = tap_position(offset, clip, row, column, tap, kernel_width, top, left, number)
                modulation = mask[clip, row, column, tap]
                first = tap * channels
                if not (y > -1 and y < height and x > -1 and x < width):
                    outside = zero if y == y and x == x else y + x
                    grad_offset[clip, row, column, 2 * tap] = outside
                    grad_offset[clip, row, column, 2 * tap + 1] = outside
                    grad_mask[clip, row, column, tap] = outside
                    continue
                (y0, y1, x0, x1), (above, below, before, after), inside = bilinear_corners(y, x, height, width, number)
                from_a, from_b = features[clip, y0, x0], features[clip, y0, x1]
                from_c, from_d = features[clip, y1, x0], features[clip, y1, x1]
                a, b, c, d = zero, zero, zero, zero
                for channel in range(channels):
                    a += gradient[first + channel] * from_a[channel]
                    b += gradient[first + channel] * from_b[channel]
                    c += gradient[first + channel] * from_c[channel]
                    d += gradient[first + channel] * from_d[channel]
                a, b = a * inside[0] * inside[2], b * inside[0] * inside[3]
                c, d = c * inside[1] * inside[2], d * inside[1] * inside[3]
                grad_offset[clip, row, column, 2 * tap] = modulation * (before * (c - a) + after * (d - b))
                grad_offset[clip, row, column, 2 * tap + 1] = modulation * (above * (b - a) + below * (d - c))
                grad_mask[clip, row, column, tap] = above * (before * a + after * b) + below * (before * c + after * d)
                if not grad_features.size:
                    continue
                a, b, c, d = corner_weights(modulation, above, below, before, after, inside)
                to_a, to_b = grad_features[clip, y0, x0], grad_features[clip, y0, x1]
                to_c, to_d = grad_features[clip, y1, x0], grad_features[clip, y1, x1]
                for channel in range(channels):  # four loops: two corners may be the same point
                    to_a[channel] += a * gradient[first + channel]
                for channel in range(channels):
                    to_b[channel] += b * gradient[first + channel]
                for channel in range(channels):
                    to_c[channel] += c * gradient[first + channel]
                for channel in range(channels):
                    to_d[channel] += d * gradient[first + channel]
