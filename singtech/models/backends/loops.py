"""The loops of `compiled`, in the Python that Numba compiles: bilinear sampling at deformed taps, and its gradients.

Importing this takes a second, and on a new machine the first call of each loop some seconds to compile; the result is
kept beside the module or in the user's cache. Arrays are laid out position by position and hold several clips.
"""

import contextlib
from collections.abc import Callable

import numba
import numpy as np
from numba.core.caching import FunctionCache


class Kept(FunctionCache):
    """What is compiled, kept where that can be; a damaged file or a full disk is no reason to fail."""

    def load_overload(self, *given: object) -> object:
        """What was kept; None where nothing was, or what cannot be read, which is then made anew."""
        try:
            return super().load_overload(*given)
        except Exception:  # whatever a damaged file makes of itself
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *given: object) -> None:
        """Keep it, if there is room."""
        with contextlib.suppress(Exception):
            super().save_overload(*given)


def loop(function: Callable) -> Callable:
    """Compiled at its first call, free of Python's lock; sums may be reordered, but NaN and infinity count."""
    found = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})(function)
    with contextlib.suppress(RuntimeError):  # nowhere to keep what is compiled
        found._cache = Kept(function)
    return found


@loop
def where(offset, clip, row, column, tap, kernel_width, top, left, number):
    """p0 + p_m + Δp_m: the row and the column at which a tap looks."""
    y = number(row - top + tap // kernel_width) + offset[clip, row, column, 2 * tap]
    x = number(column - left + tap % kernel_width) + offset[clip, row, column, 2 * tap + 1]
    return y, x


@loop
def corner_shares(share, above, below, before, after, sees):
    """The shares of the four grid points `around` a position in its tap's mask, 0 for those outside the map."""
    above, below = share * above * sees[0], share * below * sees[1]
    before, after = before * sees[2], after * sees[3]
    return above * before, above * after, below * before, below * after


@loop
def around(y, x, height, width, number):
    """The grid points around a position inside or beside the map, and how near each is.

    Returns:
        Rows above and below, columns left and right, moved into the map where they are outside; the shares of each of
        these by nearness; and 1, or 0 for those outside.
    """
    zero, one = number(0), number(1)
    y0, x0 = np.int64(np.floor(y)), np.int64(np.floor(x))
    y1, x1 = y0 + 1, x0 + 1
    below, right = y - number(y0), x - number(x0)
    sees_above, sees_below, sees_left, sees_right = one, one, one, one
    if y0 < 0:
        y0, sees_above = 0, zero
    if y1 >= height:
        y1, sees_below = y0, zero
    if x0 < 0:
        x0, sees_left = 0, zero
    if x1 >= width:
        x1, sees_right = x0, zero
    shares = (one - below, below, one - right, right)
    return (y0, y1, x0, x1), shares, (sees_above, sees_below, sees_left, sees_right)


@loop
def sample(features, offset, mask, columns, kernel_width, top, left, start, stop):
    """What the taps of the positions from `start` to `stop` see, times the mask.

    Args:
        features: (clips, F, T, C).
        offset: (clips, F', T', 2·M).
        mask: (clips, F', T', M).
        columns: (clips·(stop - start), M·C), set.
        kernel_width, top, left: of the kernel, and its padding before the map.
        start, stop: positions of a clip.
    """
    clips, height, width, channels = features.shape
    grid_width, taps = mask.shape[2], mask.shape[3]
    number = features.dtype.type  # keeps numba in single precision
    for clip in range(clips):
        for position in range(start, stop):
            row, column = position // grid_width, position % grid_width
            found = columns[clip * (stop - start) + position - start]
            for tap in range(taps):
                y, x = where(offset, clip, row, column, tap, kernel_width, top, left, number)
                share = mask[clip, row, column, tap]
                first = tap * channels
                if not (y > -1 and y < height and x > -1 and x < width):
                    unseen = number(0) * share if y == y and x == x else y + x  # 0, or NaN that shall be seen
                    for channel in range(channels):
                        found[first + channel] = unseen
                    continue
                (y0, y1, x0, x1), (above, below, before, after), sees = around(y, x, height, width, number)
                a, b, c, d = corner_shares(share, above, below, before, after, sees)
                from_a, from_b = features[clip, y0, x0], features[clip, y0, x1]
                from_c, from_d = features[clip, y1, x0], features[clip, y1, x1]
                for channel in range(channels):
                    found[first + channel] = (
                        a * from_a[channel] + b * from_b[channel] + c * from_c[channel] + d * from_d[channel]
                    )


@loop
def spread(
    features, offset, mask, of_columns, of_features, of_offset, of_mask, kernel_width, top, left, start, stop, adds
):
    """The gradients of `sample`: that of the columns given, those of offset and mask set, that of features added to.

    Args:
        features … mask, kernel_width … stop: as there.
        of_columns: (clips·(stop - start), M·C).
        of_features, of_offset, of_mask: shaped as what they belong to.
        adds: whether the gradient of the features is wanted.
    """
    clips, height, width, channels = features.shape
    grid_width, taps = mask.shape[2], mask.shape[3]
    number = features.dtype.type
    zero = number(0)
    for clip in range(clips):
        for position in range(start, stop):
            row, column = position // grid_width, position % grid_width
            gradient = of_columns[clip * (stop - start) + position - start]
            for tap in range(taps):
                y, x = where(offset, clip, row, column, tap, kernel_width, top, left, number)
                share = mask[clip, row, column, tap]
                first = tap * channels
                if not (y > -1 and y < height and x > -1 and x < width):
                    unseen = zero if y == y and x == x else y + x
                    of_offset[clip, row, column, 2 * tap] = unseen
                    of_offset[clip, row, column, 2 * tap + 1] = unseen
                    of_mask[clip, row, column, tap] = unseen
                    continue
                (y0, y1, x0, x1), (above, below, before, after), sees = around(y, x, height, width, number)
                from_a, from_b = features[clip, y0, x0], features[clip, y0, x1]
                from_c, from_d = features[clip, y1, x0], features[clip, y1, x1]
                a, b, c, d = zero, zero, zero, zero
                for channel in range(channels):
                    a += gradient[first + channel] * from_a[channel]
                    b += gradient[first + channel] * from_b[channel]
                    c += gradient[first + channel] * from_c[channel]
                    d += gradient[first + channel] * from_d[channel]
                a, b = a * sees[0] * sees[2], b * sees[0] * sees[3]
                c, d = c * sees[1] * sees[2], d * sees[1] * sees[3]
                of_offset[clip, row, column, 2 * tap] = share * (before * (c - a) + after * (d - b))
                of_offset[clip, row, column, 2 * tap + 1] = share * (above * (b - a) + below * (d - c))
                of_mask[clip, row, column, tap] = above * (before * a + after * b) + below * (before * c + after * d)
                if not adds:
                    continue
                a, b, c, d = corner_shares(share, above, below, before, after, sees)
                to_a, to_b = of_features[clip, y0, x0], of_features[clip, y0, x1]
                to_c, to_d = of_features[clip, y1, x0], of_features[clip, y1, x1]
                for channel in range(channels):  # one after the other: two of them may be the same
                    to_a[channel] += a * gradient[first + channel]
                for channel in range(channels):
                    to_b[channel] += b * gradient[first + channel]
                for channel in range(channels):
                    to_c[channel] += c * gradient[first + channel]
                for channel in range(channels):
                    to_d[channel] += d * gradient[first + channel]
