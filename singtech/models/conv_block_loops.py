"""The loops of `singtech.models.conv_block`, which Numba compiles. A map is (F, T, C), of one clip."""

import numpy as np

from singtech.models.backends.loops import loop

NO_PEAK = np.uint8(255)  # position for an output of 0: the peak is dropped, or not above 0


@loop
def add_moments(values, sums):
    """Add each channel's values and their squares to its sums, in double precision.

    Args:
        values: (F, T, C).
        sums: (2, C) double, to add to.
    """
    rows, columns, channels = values.shape
    for row in range(rows):
        for column in range(columns):
            for channel in range(channels):
                value = np.float64(values[row, column, channel])
                sums[0, channel] += value
                sums[1, channel] += value * value


@loop
def pool(values, scale, shift, height, width, gain, limit, seed, first, output, peaks, positions):
    """Write each window's largest normalised value times the gain, or 0 if it is dropped or not above 0.

    Args:
        values: (F, T, C).
        scale, shift: (C,) of batch norm.
        height, width: of a window.
        gain: factor on the values that are not dropped.
        limit: probability of dropout times 2^32; a random number of 32 bits below it drops a value.
        seed, first: output n uses random number `first` + n of the seed.
        output: (F', T', C), to write.
        peaks: (F', T', C), to write: the largest value of each window before batch norm.
        positions: (F', T', C), to write: the position of the peak in its window, or `NO_PEAK`.
    """
    rows, columns, channels = output.shape
    number = values.dtype.type
    best = np.empty(channels, values.dtype)
    position = np.empty(channels, np.int32)
    for row in range(rows):
        for column in range(columns):
            peak = peaks[row, column]
            corner = values[row * height, column * width]
            for channel in range(channels):
                peak[channel] = corner[channel]
                best[channel] = corner[channel] * scale[channel]
                position[channel] = 0
            for k in range(1, height * width):
                value = values[row * height + k // width, column * width + k % width]
                for channel in range(channels):
                    scaled = value[channel] * scale[channel]
                    is_larger = scaled > best[channel]
                    best[channel] = scaled if is_larger else best[channel]
                    peak[channel] = value[channel] if is_larger else peak[channel]
                    position[channel] = k if is_larger else position[channel]
            start = first + np.uint64((row * columns + column) * channels)
            for channel in range(channels):
                shifted = best[channel] + shift[channel]
                is_zero = shifted <= 0 or (limit > 0 and draw(seed, start + np.uint64(channel)) < limit)
                output[row, column, channel] = number(0) if is_zero else shifted * gain
                positions[row, column, channel] = NO_PEAK if is_zero else position[channel]


@loop
def mark_dropped(limit, seed, first, is_dropped):
    """Mark the values of a map that `pool` drops.

    Args:
        limit, seed, first: as in `pool`.
        is_dropped: (F' · T' · C,) bool, to write.
    """
    for position in range(len(is_dropped)):
        is_dropped[position] = draw(seed, first + np.uint64(position)) < limit


@loop
def draw(seed, number):
    """Draw 32 random bits: a hash of a seed and a number (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    bits = seed + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))) >> np.uint64(32)


@loop
def add_gradients(gradient, peaks, positions, mean, deviation, gain, sums):
    """Add the gradients of batch norm's bias and weight to their sums.

    Args:
        gradient: (F', T', C) of the output.
        peaks, positions: (F', T', C), as `pool` writes them.
        mean, deviation: (C,) of the batch.
        gain: as in `pool`.
        sums: (2, C) double, to add to.
    """
    rows, columns, channels = gradient.shape
    for row in range(rows):
        for column in range(columns):
            for channel in range(channels):
                share = gain * gradient[row, column, channel]
                share = share if positions[row, column, channel] != NO_PEAK else share * 0
                sums[0, channel] += share
                sums[1, channel] += share * ((peaks[row, column, channel] - mean[channel]) / deviation[channel])


@loop
def unpool(values, gradient, positions, scale, constant, slope, height, width, gain, values_gradient):
    """Write the gradient of batch norm and max pooling with respect to the values.

    It is constant + slope · value everywhere, plus gain · gradient · scale at the maximum of each window.

    Args:
        values: (F, T, C).
        gradient: (F', T', C) of the output.
        positions: (F', T', C), as `pool` writes them.
        scale: (C,) of batch norm.
        constant, slope: (C,) of the part that comes through the batch's mean and variance.
        height, width, gain: as in `pool`.
        values_gradient: (F, T, C), to write.
    """
    rows, columns, channels = values.shape
    pooled_rows, pooled_columns, _ = gradient.shape
    number = values.dtype.type
    for row in range(rows):
        for column in range(columns):
            value, result = values[row, column], values_gradient[row, column]
            if row >= pooled_rows * height or column >= pooled_columns * width:
                for channel in range(channels):
                    result[channel] = constant[channel] + slope[channel] * value[channel]
                continue
            k = (row % height) * width + column % width
            incoming, position = gradient[row // height, column // width], positions[row // height, column // width]
            for channel in range(channels):
                own = gain * incoming[channel] * scale[channel] if position[channel] == k else number(0)
                result[channel] = constant[channel] + slope[channel] * value[channel] + own
