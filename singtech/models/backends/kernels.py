"""Triton kernels of the fused deformable convolution: they sample columns into registers and multiply them there.

A column is the input of the matrix product at one position: M taps by C channels, sampled and modulated. A tile of
columns has three axes. With few channels (PLANAR) they are taps, channels, positions, and each channel is a plane in
memory; neighbouring threads then read neighbouring positions. Else they are taps (one at a time), positions, channels;
neighbouring threads read neighbouring channels. For the matrix products a tile is flat, positions by taps × channels.

A cell is a position within one map, row by row. Names such as `offset_image`, `offset_axis`, `offset_cell` are strides.

Indices within one image are 32 bits wide, those across images 64.
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
    features_image,
    features_channel,
    features_row,
    features_column,
    offset_image,
    offset_axis,
    offset_cell,
    mask_image,
    mask_tap,
    mask_cell,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """output[s, p, o] = sum of columns[p, k] · weight[o, k] over every SPLITS-th tile of taps from the s-th on.

    Args:
        features: any layout, described by its four strides.
        offset, mask: (B, 2·M, F'·T'), (B, M, F'·T') in any layout, described by three strides each.
        weight: (O, M, C) dense.
        output: (SPLITS, B·F'·T', O) dense.
        positions, area, columns_out: B·F'·T', F'·T', T'.
        height, width: F, T.
        top, left: rows and columns of padding.
    """
    POSITION_AXIS: tl.constexpr = 2 if PLANAR else 1
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    split = program % SPLITS
    o = (program // SPLITS % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    p = (program // (SPLITS * o_blocks)) * BLOCK_P + tl.arange(0, BLOCK_P)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    image, cell, row, column, is_position = _positions(p, positions, area, columns_out, POSITION_AXIS)
    maps = features + image * features_image
    total = tl.full((BLOCK_P, BLOCK_O), 0, REAL)
    for step in range(0, TAPS, SPLITS * BLOCK_T):
        first = step + split * BLOCK_T
        tap = first + _axis(tl.arange(0, BLOCK_T), 0)
        is_valid = is_position & (tap < TAPS)
        y, x, amount = _tap_position(
            offset, mask, tap, image, cell, row, column, is_valid, offset_image, offset_axis, offset_cell,
            mask_image, mask_tap, mask_cell, top, left, KERNEL_WIDTH, MASKED, PLANAR, REAL,
        )  # fmt: skip
        for channel in range(0, CHANNELS, BLOCK_C):
            c = channel + _axis(tl.arange(0, BLOCK_C), 3 - POSITION_AXIS)
            values = amount * _sample(
                maps + c * features_channel,
                c < CHANNELS,
                y,
                x,
                is_valid,
                height,
                width,
                features_row,
                features_column,
                PLANAR,
            )
            tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
            weights = tl.load(
                weight + o[None, :] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[:, None],
                mask=(o < OUTPUTS)[None, :] & ((tap_k < TAPS) & (c_k < CHANNELS))[:, None],
                other=0.0,
            )
            flat = _flatten(values, BLOCK_P, BLOCK_T * BLOCK_C, PLANAR).to(weights.dtype)
            total = tl.dot(flat, weights, total, input_precision=PRECISION, out_dtype=REAL)
    at = (split.to(tl.int64) * positions + p)[:, None] * OUTPUTS + o[None, :]
    is_stored = (p < positions)[:, None] & (o < OUTPUTS)[None, :]
    tl.store(output + at, total.to(output.dtype.element_ty), mask=is_stored)


@triton.jit
def backward_kernel(
    grad_output,
    features,
    offset,
    mask,
    weight,
    units,
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
    features_image,
    features_channel,
    features_row,
    features_column,
    offset_image,
    offset_axis,
    offset_cell,
    mask_image,
    mask_tap,
    mask_cell,
    grad_offset_image,
    grad_offset_axis,
    grad_offset_cell,
    grad_mask_image,
    grad_mask_tap,
    grad_mask_cell,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    FEATURES: tl.constexpr,
    OFFSET: tl.constexpr,
    MASK: tl.constexpr,
    FIXED_POINT: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Gradients of features, offset and mask (each with its flag), from tiles of the gradient of the columns.

    A tile times the four grid points around each position, summed over the channels, gives the gradients of offset and
    mask. The tile's bilinear shares of these points are added to the gradient of the features.

    Args:
        grad_output: (B·F'·T', O) dense.
        units: (2,) factors that turn contributions to `grad_features` into integers, if FIXED_POINT.
        grad_features: float or, if FIXED_POINT, int64, in the layout of `features`; added to.
        grad_offset, grad_mask: in any layout, described by three strides each; overwritten.
        others: as in `forward_kernel`.
    """
    POSITION_AXIS: tl.constexpr = 2 if PLANAR else 1
    program = tl.program_id(0)
    split = program % SPLITS
    p = (program // SPLITS) * BLOCK_P + tl.arange(0, BLOCK_P)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    image, cell, row, column, is_position = _positions(p, positions, area, columns_out, POSITION_AXIS)
    maps = features + image * features_image
    grad_maps = grad_features + image * features_image
    unit = tl.load(units) if FIXED_POINT else 1.0
    other_unit = tl.load(units + 1) if FIXED_POINT else 1.0
    for step in range(0, TAPS, SPLITS * BLOCK_T):
        first = step + split * BLOCK_T
        tap = first + _axis(tl.arange(0, BLOCK_T), 0)
        is_valid = is_position & (tap < TAPS)
        y, x, amount = _tap_position(
            offset, mask, tap, image, cell, row, column, is_valid, offset_image, offset_axis, offset_cell,
            mask_image, mask_tap, mask_cell, top, left, KERNEL_WIDTH, MASKED, PLANAR, REAL,
        )  # fmt: skip
        grad_amount = amount * 0
        grad_y = grad_amount
        grad_x = grad_amount
        for channel in range(0, CHANNELS, BLOCK_C):
            tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
            total = tl.full((BLOCK_P, BLOCK_T * BLOCK_C), 0, REAL)
            for output in range(0, OUTPUTS, BLOCK_O):
                o = output + tl.arange(0, BLOCK_O)
                gradient = tl.load(
                    grad_output + p.to(tl.int64)[:, None] * OUTPUTS + o[None, :],
                    mask=(p < positions)[:, None] & (o < OUTPUTS)[None, :],
                    other=0.0,
                )
                weights = tl.load(
                    weight + o[:, None] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[None, :],
                    mask=(o < OUTPUTS)[:, None] & ((tap_k < TAPS) & (c_k < CHANNELS))[None, :],
                    other=0.0,
                )
                total = tl.dot(gradient, weights, total, input_precision=PRECISION, out_dtype=REAL)
            columns = _unflatten(total, BLOCK_P, BLOCK_T, BLOCK_C, PLANAR)
            c = channel + _axis(tl.arange(0, BLOCK_C), 3 - POSITION_AXIS)
            for corner in tl.static_range(4):
                is_inside, at, row_share, column_share = _corner(
                    corner, y, x, is_valid, height, width, features_row, features_column
                )
                at = at + c * features_channel
                if OFFSET or MASK:
                    values = tl.load(_pointers(maps, at, PLANAR), mask=is_inside & (c < CHANNELS), other=0.0).to(REAL)
                    product = tl.sum(columns * values, axis=3 - POSITION_AXIS, keep_dims=True)
                    grad_amount += row_share * column_share * product
                    grad_y += (column_share if corner // 2 == 1 else -column_share) * product
                    grad_x += (row_share if corner % 2 == 1 else -row_share) * product
                if FEATURES:
                    share = amount * row_share * column_share
                    is_added = is_inside & (c < CHANNELS) & (share != 0)
                    if FIXED_POINT:
                        integers = (columns * share * unit * other_unit).to(tl.int64)
                        tl.atomic_add(_pointers(grad_maps, at, PLANAR), integers, mask=is_added, sem="relaxed")
                    else:
                        tl.atomic_add(_pointers(grad_maps, at, PLANAR), columns * share, mask=is_added, sem="relaxed")
        if OFFSET:
            at = image * grad_offset_image + 2 * tap * grad_offset_axis + cell * grad_offset_cell
            tl.store(_pointers(grad_offset, at, PLANAR), amount * grad_y, mask=is_valid)
            tl.store(_pointers(grad_offset + grad_offset_axis, at, PLANAR), amount * grad_x, mask=is_valid)
        if MASK:
            at = image * grad_mask_image + tap * grad_mask_tap + cell * grad_mask_cell
            tl.store(_pointers(grad_mask, at, PLANAR), grad_amount, mask=is_valid)


@triton.jit
def backward_weight_kernel(
    grad_output,
    features,
    offset,
    mask,
    grad_weight,
    positions,
    area,
    columns_out,
    height,
    width,
    top,
    left,
    features_image,
    features_channel,
    features_row,
    features_column,
    offset_image,
    offset_axis,
    offset_cell,
    mask_image,
    mask_tap,
    mask_cell,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """grad_weight[s, o, k] = sum of grad_output[p, o] · columns[p, k] over every SPLITS-th block of positions p.

    Args:
        grad_weight: (SPLITS, O, M, C) dense, of which a program owns one tile of taps, channels and outputs.
        others: as in `forward_kernel` and `backward_kernel`.
    """
    POSITION_AXIS: tl.constexpr = 2 if PLANAR else 1
    c_blocks: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    t_blocks: tl.constexpr = (TAPS + BLOCK_T - 1) // BLOCK_T
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    channel = (program % c_blocks) * BLOCK_C
    first = (program // c_blocks % t_blocks) * BLOCK_T
    o = (program // (c_blocks * t_blocks) % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    split = program // (c_blocks * t_blocks * o_blocks)
    c = channel + _axis(tl.arange(0, BLOCK_C), 3 - POSITION_AXIS)
    tap = first + _axis(tl.arange(0, BLOCK_T), 0)
    total = tl.full((BLOCK_O, BLOCK_T * BLOCK_C), 0, REAL)
    for start in range(0, positions, SPLITS * BLOCK_P):
        p = start + split * BLOCK_P + tl.arange(0, BLOCK_P)
        image, cell, row, column, is_position = _positions(p, positions, area, columns_out, POSITION_AXIS)
        is_valid = is_position & (tap < TAPS)
        y, x, amount = _tap_position(
            offset, mask, tap, image, cell, row, column, is_valid, offset_image, offset_axis, offset_cell,
            mask_image, mask_tap, mask_cell, top, left, KERNEL_WIDTH, MASKED, PLANAR, REAL,
        )  # fmt: skip
        maps = features + image * features_image + c * features_channel
        values = amount * _sample(
            maps, c < CHANNELS, y, x, is_valid, height, width, features_row, features_column, PLANAR
        )
        gradient = tl.load(
            grad_output + p.to(tl.int64)[None, :] * OUTPUTS + o[:, None],
            mask=(p < positions)[None, :] & (o < OUTPUTS)[:, None],
            other=0.0,
        )
        flat = _flatten(values, BLOCK_P, BLOCK_T * BLOCK_C, PLANAR).to(gradient.dtype)
        total = tl.dot(gradient, flat, total, input_precision=PRECISION, out_dtype=REAL)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
    at = (split.to(tl.int64) * OUTPUTS + o)[:, None] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[None, :]
    is_stored = (o < OUTPUTS)[:, None] & ((tap_k < TAPS) & (c_k < CHANNELS))[None, :]
    tl.store(grad_weight + at, total, mask=is_stored)


@triton.jit
def _axis(vector, AXIS: tl.constexpr):
    """(N,) as axis 0, 1 or 2 of three."""
    if AXIS == 0:
        result = vector[:, None, None]
    elif AXIS == 1:
        result = vector[None, :, None]
    else:
        result = vector[None, None, :]
    return result


@triton.jit
def _pointers(start, at, PLANAR: tl.constexpr):
    """start + at. With PLANAR, marked as neighbours along the positions, to lay Triton 3.6's threads along these.

    They need not be neighbours in memory. They are also marked as not aligned, so that the kernel reads and writes them
    one by one; only the order of the threads depends on the mark.
    """
    pointers = start + at
    return tl.multiple_of(tl.max_contiguous(pointers, (1, 1, 2)), (1, 1, 1)) if PLANAR else pointers


@triton.jit
def _flatten(tile, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, PLANAR: tl.constexpr):
    """A tile of three axes as (positions, taps × channels)."""
    return tl.trans(tl.reshape(tile, (BLOCK_K, BLOCK_P))) if PLANAR else tl.reshape(tile, (BLOCK_P, BLOCK_K))


@triton.jit
def _unflatten(flat, BLOCK_P: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr, PLANAR: tl.constexpr):
    """The inverse of `_flat`."""
    if PLANAR:
        tile = tl.reshape(tl.trans(flat), (BLOCK_T, BLOCK_C, BLOCK_P))
    else:
        tile = tl.reshape(flat, (BLOCK_T, BLOCK_P, BLOCK_C))
    return tile


@triton.jit
def _positions(p, positions, area, columns_out, POSITION_AXIS: tl.constexpr):
    """Of each p its image (64 bits), cell, row and column, and whether the position exists."""
    p = _axis(p, POSITION_AXIS)
    image = p // area
    cell = p - image * area
    row = cell // columns_out
    return image.to(tl.int64), cell, row, cell - row * columns_out, p < positions


@triton.jit
def _tap_position(
    offset,
    mask,
    tap,
    image,
    cell,
    row,
    column,
    is_valid,
    offset_image,
    offset_axis,
    offset_cell,
    mask_image,
    mask_tap,
    mask_cell,
    top,
    left,
    KERNEL_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
):
    """Row and column at which a tap samples, p0 + p_m + Δp_m, and its mask: 0 without such a position or tap."""
    at = image * offset_image + 2 * tap * offset_axis + cell * offset_cell
    down = tl.load(_pointers(offset, at, PLANAR), mask=is_valid, other=0.0).to(REAL)
    across = tl.load(_pointers(offset + offset_axis, at, PLANAR), mask=is_valid, other=0.0).to(REAL)
    if MASKED:
        at = image * mask_image + tap * mask_tap + cell * mask_cell
        amount = tl.load(_pointers(mask, at, PLANAR), mask=is_valid, other=0.0).to(REAL)
    else:
        amount = tl.where(is_valid, 1.0, 0.0).to(REAL)
    y = (row + tap // KERNEL_WIDTH - top).to(REAL) + down
    return y, (column + tap % KERNEL_WIDTH - left).to(REAL) + across, amount


@triton.jit
def _corner(CORNER: tl.constexpr, y, x, is_valid, height, width, row_stride, column_stride):
    """One of the four grid points around (y, x): whether it is in the map, its index in memory, and its two shares.

    A position more than one step outside the map reads nothing, nor does NaN. The shares of NaN are NaN, so that it
    shows in the result.
    """
    y = tl.where(y < -1, -1.0, tl.where(y > height, height, y))
    x = tl.where(x < -1, -1.0, tl.where(x > width, width, x))
    is_near = is_valid & (y > -1) & (y < height) & (x > -1) & (x < width)
    below, right = y - tl.floor(y), x - tl.floor(x)
    row = tl.where(is_near, tl.floor(y), 0.0).to(tl.int32) + CORNER // 2
    column = tl.where(is_near, tl.floor(x), 0.0).to(tl.int32) + CORNER % 2
    is_inside = is_near & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row_share = below if CORNER // 2 == 1 else 1 - below
    column_share = right if CORNER % 2 == 1 else 1 - right
    return is_inside, row * row_stride + column * column_stride, row_share, column_share


@triton.jit
def _sample(maps, channels, y, x, is_valid, height, width, row_stride, column_stride, PLANAR: tl.constexpr):
    """The bilinear value at (y, x) of each channel. Grid points without a share are not read."""
    for corner in tl.static_range(4):
        is_inside, at, row_share, column_share = _corner(
            corner, y, x, is_valid, height, width, row_stride, column_stride
        )
        share = row_share * column_share
        is_read = is_inside & channels & (share != 0)
        values = tl.load(_pointers(maps, at, PLANAR), mask=is_read, other=0.0).to(share.dtype)
        if corner == 0:
            value = share * values
        else:
            value += share * values
    return value
