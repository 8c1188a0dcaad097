"""Triton kernels of deformable convolution: they sample columns into registers and multiply them there.

A column is the input of the matrix product at one position: M taps by C channels, sampled and modulated. A program
processes one tap after the other. A tile is positions by channels, so that neighbouring threads read neighbouring
channels.

All tensors are dense and channels last: features (B, F, T, C), offset (B, F', T', 2·M), mask (B, F', T', M). There are
B·F'·T' positions. Indices within one image are 32 bits wide, those across images 64.
"""

import triton
import triton.language as tl


@triton.jit
def forward_kernel(
    features,
    offset,
    mask,
    weight,
    output,
    positions,
    area,
    columns_out,
    height,
    width,
    top,
    left,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """output[p, o] = sum of columns[p, k] · weight[o, k].

    Args:
        weight: (O, M, C) dense.
        output: (B·F'·T', O) dense.
        positions, area, columns_out: B·F'·T', F'·T', T'.
        height, width: F, T.
        top, left: rows and columns of padding.
    """
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    o = (program % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    p = (program // o_blocks) * BLOCK_P + tl.arange(0, BLOCK_P)
    image, row, column, is_position = _positions(p, positions, area, columns_out)
    maps = features + image * (height * width * CHANNELS)
    total = tl.full((BLOCK_P, BLOCK_O), 0, REAL)
    for tap in range(0, TAPS):
        y, x, amount = _tap(offset, mask, tap, p, row, column, is_position, top, left, TAPS, KERNEL_WIDTH, REAL)
        for channel in range(0, CHANNELS, BLOCK_C):
            c = channel + tl.arange(0, BLOCK_C)
            is_channel = (c < CHANNELS)[None, :]
            values = amount * _sample(maps + c[None, :], is_channel, y, x, is_position, height, width, CHANNELS)
            weights = tl.load(
                weight + o[None, :] * (TAPS * CHANNELS) + (tap * CHANNELS + c)[:, None],
                mask=(o < OUTPUTS)[None, :] & (c < CHANNELS)[:, None],
                other=0.0,
            )
            total = tl.dot(values.to(weights.dtype), weights, total, input_precision=PRECISION, out_dtype=REAL)
    at = p.to(tl.int64)[:, None] * OUTPUTS + o[None, :]
    is_stored = (p < positions)[:, None] & (o < OUTPUTS)[None, :]
    tl.store(output + at, total.to(output.dtype.element_ty), mask=is_stored)


@triton.jit
def backward_kernel(
    grad_output,
    features,
    offset,
    mask,
    weight,
    grad_features,
    grad_offset,
    grad_mask,
    positions,
    area,
    columns_out,
    height,
    width,
    top,
    left,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    FEATURES: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Gradients of offset, mask and features (if FEATURES), from tiles of the gradient of the columns.

    The gradients of offset and mask are sums over the channels: a tile times the four grid points around each position.
    The tile's bilinear share of each point is added to the gradient of the features.

    Args:
        grad_output: (B·F'·T', O) dense.
        grad_features: REAL, as features; added to.
        grad_offset, grad_mask: as offset and mask; overwritten.
        others: as in `forward_kernel`.
    """
    program = tl.program_id(0)
    split = program % SPLITS
    p = (program // SPLITS) * BLOCK_P + tl.arange(0, BLOCK_P)
    image, row, column, is_position = _positions(p, positions, area, columns_out)
    maps = features + image * (height * width * CHANNELS)
    grad_maps = grad_features + image * (height * width * CHANNELS)
    for tap in range(split, TAPS, SPLITS):
        y, x, amount = _tap(offset, mask, tap, p, row, column, is_position, top, left, TAPS, KERNEL_WIDTH, REAL)
        grad_amount = amount * 0
        grad_y = grad_amount
        grad_x = grad_amount
        for channel in range(0, CHANNELS, BLOCK_C):
            c = channel + tl.arange(0, BLOCK_C)
            columns = tl.full((BLOCK_P, BLOCK_C), 0, REAL)
            for output in range(0, OUTPUTS, BLOCK_O):
                o = output + tl.arange(0, BLOCK_O)
                gradient = tl.load(
                    grad_output + p.to(tl.int64)[:, None] * OUTPUTS + o[None, :],
                    mask=(p < positions)[:, None] & (o < OUTPUTS)[None, :],
                    other=0.0,
                )
                weights = tl.load(
                    weight + o[:, None] * (TAPS * CHANNELS) + (tap * CHANNELS + c)[None, :],
                    mask=(o < OUTPUTS)[:, None] & (c < CHANNELS)[None, :],
                    other=0.0,
                )
                columns = tl.dot(gradient, weights, columns, input_precision=PRECISION, out_dtype=REAL)
            for corner in tl.static_range(4):
                is_inside, at, row_share, column_share = _corner(corner, y, x, is_position, height, width, CHANNELS)
                at = at + c[None, :]
                is_inside = is_inside & (c < CHANNELS)[None, :]
                values = tl.load(maps + at, mask=is_inside, other=0.0).to(REAL)
                product = tl.sum(columns * values, axis=1, keep_dims=True)
                grad_amount += row_share * column_share * product
                grad_y += (column_share if corner // 2 == 1 else -column_share) * product
                grad_x += (row_share if corner % 2 == 1 else -row_share) * product
                if FEATURES:
                    share = amount * row_share * column_share
                    tl.atomic_add(grad_maps + at, columns * share, mask=is_inside & (share != 0), sem="relaxed")
        at = p.to(tl.int64)[:, None] * TAPS + tap
        tl.store(grad_offset + 2 * at, amount * grad_y, mask=is_position)
        tl.store(grad_offset + 2 * at + 1, amount * grad_x, mask=is_position)
        tl.store(grad_mask + at, grad_amount, mask=is_position)


@triton.jit
def backward_weight_kernel(
    grad_output,
    features,
    offset,
    mask,
    weight,
    grad_weight,
    positions,
    area,
    columns_out,
    height,
    width,
    top,
    left,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """grad_weight[s, o, k] = sum of grad_output[p, o] · columns[p, k] over every SPLITS-th block of positions p.

    Args:
        weight: not read.
        grad_weight: (SPLITS, O, M, C) dense, of which a program owns one tap and a tile of outputs by channels.
        others: as in `forward_kernel` and `backward_kernel`.
    """
    c_blocks: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    channel = (program % c_blocks) * BLOCK_C
    tap = program // c_blocks % TAPS
    o = (program // (c_blocks * TAPS) % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    split = program // (c_blocks * TAPS * o_blocks)
    c = channel + tl.arange(0, BLOCK_C)
    total = tl.full((BLOCK_O, BLOCK_C), 0, REAL)
    for start in range(0, positions, SPLITS * BLOCK_P):
        p = start + split * BLOCK_P + tl.arange(0, BLOCK_P)
        image, row, column, is_position = _positions(p, positions, area, columns_out)
        y, x, amount = _tap(offset, mask, tap, p, row, column, is_position, top, left, TAPS, KERNEL_WIDTH, REAL)
        maps = features + image * (height * width * CHANNELS) + c[None, :]
        values = amount * _sample(maps, (c < CHANNELS)[None, :], y, x, is_position, height, width, CHANNELS)
        gradient = tl.load(
            grad_output + p.to(tl.int64)[None, :] * OUTPUTS + o[:, None],
            mask=(p < positions)[None, :] & (o < OUTPUTS)[:, None],
            other=0.0,
        )
        total = tl.dot(gradient, values.to(gradient.dtype), total, input_precision=PRECISION, out_dtype=REAL)
    at = (split.to(tl.int64) * OUTPUTS + o)[:, None] * (TAPS * CHANNELS) + (tap * CHANNELS + c)[None, :]
    is_stored = (o < OUTPUTS)[:, None] & (c < CHANNELS)[None, :]
    tl.store(grad_weight + at, total, mask=is_stored)


@triton.jit
def _positions(p, positions, area, columns_out):
    """(BLOCK_P, 1) image (64 bits), row and column of each position p, and whether the position exists."""
    p = p[:, None]
    image = p // area
    cell = p - image * area
    row = cell // columns_out
    return image.to(tl.int64), row, cell - row * columns_out, p < positions


@triton.jit
def _tap(
    offset,
    mask,
    tap,
    p,
    row,
    column,
    is_position,
    top,
    left,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    REAL: tl.constexpr,
):
    """Row and column at which a tap samples, p0 + p_m + Δp_m, and its mask; 0 if there is no such position."""
    at = p.to(tl.int64)[:, None] * TAPS + tap
    down = tl.load(offset + 2 * at, mask=is_position, other=0.0).to(REAL)
    across = tl.load(offset + 2 * at + 1, mask=is_position, other=0.0).to(REAL)
    amount = tl.load(mask + at, mask=is_position, other=0.0).to(REAL)
    y = (row + tap // KERNEL_WIDTH - top).to(REAL) + down
    return y, (column + tap % KERNEL_WIDTH - left).to(REAL) + across, amount


@triton.jit
def _corner(CORNER: tl.constexpr, y, x, is_position, height, width, CHANNELS: tl.constexpr):
    """One of the four grid points around (y, x): whether it is in the map, its index in memory, its two shares.

    A position that is NaN or more than one step outside the map reads nothing. The shares of NaN are NaN, so that the
    result is NaN too.
    """
    y = tl.where(y < -1, -1.0, tl.where(y > height, height, y))
    x = tl.where(x < -1, -1.0, tl.where(x > width, width, x))
    is_near = is_position & (y > -1) & (y < height) & (x > -1) & (x < width)
    below, right = y - tl.floor(y), x - tl.floor(x)
    row = tl.where(is_near, tl.floor(y), 0.0).to(tl.int32) + CORNER // 2
    column = tl.where(is_near, tl.floor(x), 0.0).to(tl.int32) + CORNER % 2
    is_inside = is_near & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row_share = below if CORNER // 2 == 1 else 1 - below
    column_share = right if CORNER % 2 == 1 else 1 - right
    return is_inside, (row * width + column) * CHANNELS, row_share, column_share


@triton.jit
def _sample(maps, channels, y, x, is_position, height, width, CHANNELS: tl.constexpr):
    """The bilinear value at (y, x) of each channel. Grid points with a share of 0 are not read."""
    for corner in tl.static_range(4):
        is_inside, at, row_share, column_share = _corner(corner, y, x, is_position, height, width, CHANNELS)
        share = row_share * column_share
        is_read = is_inside & channels & (share != 0)
        values = tl.load(maps + at, mask=is_read, other=0.0).to(share.dtype)
        if corner == 0:
            value = share * values
        else:
            value += share * values
    return value
