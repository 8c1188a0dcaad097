"""The loops of `singtech.models.block`, in the Python that Numba compiles. A map is (F, T, C), of one clip."""

import numpy as np

from singtech.models.backends.loops import loop

NOTHING = np.uint8(255)  # in place of a window's peak: dropped, or not above zero


@loop
def add_moments(values, sums):
    """Add up each channel and its square, in double precision.

    Args:
        values: (F, T, C).
        sums: (2, C) double, added to.
    """
    rows, columns, channels = values.shape
    for row in range(rows):
        for column in range(columns):
            for channel in range(channels):
                value = np.float64(values[row, column, channel])
                sums[0, channel] += value
                sums[1, channel] += value * value


@loop
def pool(values, scale, shift, height, width, raised, limit, seed, first, output, peaks, places):
    """The largest of each window's normalised values, if it is above zero and not dropped; elsewhere 0.

    Args:
        values: (F, T, C).
        scale, shift: (C,) of batch norm.
        height, width: of a window.
        raised: what is kept is multiplied by.
        limit: a draw of 32 bits below it drops; 0 drops nothing.
        seed, first: the draw of output n is that of number `first` + n under the seed.
        output: (F', T', C), set.
        peaks: (F', T', C), set to the value before it was normalised.
        places: (F', T', C), set to where in its window it is, or `NOTHING`.
    """
    rows, columns, channels = output.shape
    number = values.dtype.type
    best = np.empty(channels, values.dtype)
    place = np.empty(channels, np.int32)
    for row in range(rows):
        for column in range(columns):
            peak = peaks[row, column]
            corner = values[row * height, column * width]
            for channel in range(channels):
                peak[channel] = corner[channel]
                best[channel] = corner[channel] * scale[channel]
                place[channel] = 0
            for k in range(1, height * width):
                seen = values[row * height + k // width, column * width + k % width]
                for channel in range(channels):
                    scaled = seen[channel] * scale[channel]
                    is_larger = scaled > best[channel]
                    best[channel] = scaled if is_larger else best[channel]
                    peak[channel] = seen[channel] if is_larger else peak[channel]
                    place[channel] = k if is_larger else place[channel]
            at = first + np.uint64((row * columns + column) * channels)
            for channel in range(channels):
                value = best[channel] + shift[channel]
                is_out = value <= 0 or (limit > 0 and draw(seed, at + np.uint64(channel)) < limit)
                output[row, column, channel] = number(0) if is_out else value * raised
                places[row, column, channel] = NOTHING if is_out else place[channel]


@loop
def draw(seed, number):
    """32 random bits, a hash of a seed and a number (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    bits = seed + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))) >> np.uint64(32)


@loop
def add_gradients(gradient, peaks, places, mean, deviation, raised, sums):
    """Add up the gradients of batch norm's shift and scale.

    Args:
        gradient: (F', T', C) of the output.
        peaks, places, raised: as `pool` left them.
        mean, deviation: (C,) of the batch.
        sums: (2, C) double, added to.
    """
    rows, columns, channels = gradient.shape
    for row in range(rows):
        for column in range(columns):
            for channel in range(channels):
                given = raised * gradient[row, column, channel]
                given = given if places[row, column, channel] != NOTHING else given * 0
                sums[0, channel] += given
                sums[1, channel] += given * ((peaks[row, column, channel] - mean[channel]) / deviation[channel])


@loop
def unpool(values, gradient, places, scale, constant, slope, height, width, raised, of_values):
    """The gradient of the values: what all have through the batch's statistics, and the peaks' own.

    Args:
        values: (F, T, C).
        gradient: (F', T', C) of the output.
        places, height, width, raised: as in `pool`.
        scale: (C,) of batch norm.
        constant, slope: (C,) of the statistics' part, constant + slope · value.
        of_values: (F, T, C), set.
    """
    rows, columns, channels = values.shape
    pooled_rows, pooled_columns, _ = gradient.shape
    number = values.dtype.type
    for row in range(rows):
        for column in range(columns):
            seen, found = values[row, column], of_values[row, column]
            if row >= pooled_rows * height or column >= pooled_columns * width:
                for channel in range(channels):
                    found[channel] = constant[channel] + slope[channel] * seen[channel]
                continue
            k = (row % height) * width + column % width
            given, place = gradient[row // height, column // width], places[row // height, column // width]
            for channel in range(channels):
                own = raised * given[channel] * scale[channel] if place[channel] == k else number(0)
                found[channel] = constant[channel] + slope[channel] * seen[channel] + own
