"""Triton kernels of the fused deformable convolution: columns are sampled into registers and multiplied there.

A column is the input that the matrix product sees at one position: M taps by C channels, sampled and modulated. Tiles
of columns have three axes: taps, channels, positions where the channels are few and every channel is a plane of its own
(PLANAR), so that neighbouring threads read neighbouring positions; else taps (one at a time), positions, channels, so
that they read neighbouring channels. For the matrix products a tile is laid flat, positions by taps × channels.

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
    offset_place,
    mask_image,
    mask_tap,
    mask_place,
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
    PLACE: tl.constexpr = 2 if PLANAR else 1
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    split = program % SPLITS
    o = (program // SPLITS % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    p = (program // (SPLITS * o_blocks)) * BLOCK_P + tl.arange(0, BLOCK_P)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    image, place, row, column, live = _positions(p, positions, area, columns_out, PLACE)
    maps = features + image * features_image
    total = tl.full((BLOCK_P, BLOCK_O), 0, REAL)
    for step in range(0, TAPS, SPLITS * BLOCK_T):
        first = step + split * BLOCK_T
        tap = first + _axis(tl.arange(0, BLOCK_T), 0)
        taken = live & (tap < TAPS)
        y, x = _where(
            offset, tap, image, place, row, column, taken, offset_image, offset_axis, offset_place,
            top, left, KERNEL_WIDTH, PLANAR, REAL,
        )  # fmt: skip
        amount = _amount(mask, tap, image, place, taken, mask_image, mask_tap, mask_place, MASKED, PLANAR, REAL)
        for channel in range(0, CHANNELS, BLOCK_C):
            c = channel + _axis(tl.arange(0, BLOCK_C), 3 - PLACE)
            values = amount * _sample(
                maps + c * features_channel,
                c < CHANNELS,
                y,
                x,
                taken,
                height,
                width,
                features_row,
                features_column,
                PLANAR,
            )
            tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
            shared = tl.load(
                weight + o[None, :] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[:, None],
                mask=(o < OUTPUTS)[None, :] & ((tap_k < TAPS) & (c_k < CHANNELS))[:, None],
                other=0.0,
            )
            flat = _flat(values, BLOCK_P, BLOCK_T * BLOCK_C, PLANAR).to(shared.dtype)
            total = tl.dot(flat, shared, total, input_precision=PRECISION, out_dtype=REAL)
    at = (split.to(tl.int64) * positions + p)[:, None] * OUTPUTS + o[None, :]
    stored = (p < positions)[:, None] & (o < OUTPUTS)[None, :]
    tl.store(output + at, total.to(output.dtype.element_ty), mask=stored)


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
    offset_place,
    mask_image,
    mask_tap,
    mask_place,
    grad_offset_image,
    grad_offset_axis,
    grad_offset_place,
    grad_mask_image,
    grad_mask_tap,
    grad_mask_place,
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
    """Gradients of features, offset and mask, each where asked for, from tiles of the gradient of the columns.

    A tile is met by the four grid points around each position: its product with them, summed over the channels, gives
    the gradients of offset and mask, and its shares of them are added to the gradient of the features.

    Args:
        grad_output: (B·F'·T', O) dense.
        units: (2,) what contributions to `grad_features` are multiplied by to be cut to integers, if FIXED_POINT.
        grad_features: float or, if FIXED_POINT, int64, in the layout of `features`; added to.
        grad_offset, grad_mask: in any layout, described by three strides each; overwritten.
        others: as in `forward_kernel`.
    """
    PLACE: tl.constexpr = 2 if PLANAR else 1
    program = tl.program_id(0)
    split = program % SPLITS
    p = (program // SPLITS) * BLOCK_P + tl.arange(0, BLOCK_P)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    image, place, row, column, live = _positions(p, positions, area, columns_out, PLACE)
    maps = features + image * features_image
    grad_maps = grad_features + image * features_image
    unit = tl.load(units) if FIXED_POINT else 1.0
    other_unit = tl.load(units + 1) if FIXED_POINT else 1.0
    for step in range(0, TAPS, SPLITS * BLOCK_T):
        first = step + split * BLOCK_T
        tap = first + _axis(tl.arange(0, BLOCK_T), 0)
        taken = live & (tap < TAPS)
        y, x = _where(
            offset, tap, image, place, row, column, taken, offset_image, offset_axis, offset_place,
            top, left, KERNEL_WIDTH, PLANAR, REAL,
        )  # fmt: skip
        amount = _amount(mask, tap, image, place, taken, mask_image, mask_tap, mask_place, MASKED, PLANAR, REAL)
        for_mask = amount * 0
        for_y = for_mask
        for_x = for_mask
        for channel in range(0, CHANNELS, BLOCK_C):
            tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
            total = tl.full((BLOCK_P, BLOCK_T * BLOCK_C), 0, REAL)
            for output in range(0, OUTPUTS, BLOCK_O):
                o = output + tl.arange(0, BLOCK_O)
                given = tl.load(
                    grad_output + p.to(tl.int64)[:, None] * OUTPUTS + o[None, :],
                    mask=(p < positions)[:, None] & (o < OUTPUTS)[None, :],
                    other=0.0,
                )
                shared = tl.load(
                    weight + o[:, None] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[None, :],
                    mask=(o < OUTPUTS)[:, None] & ((tap_k < TAPS) & (c_k < CHANNELS))[None, :],
                    other=0.0,
                )
                total = tl.dot(given, shared, total, input_precision=PRECISION, out_dtype=REAL)
            columns = _upright(total, BLOCK_P, BLOCK_T, BLOCK_C, PLANAR)
            c = channel + _axis(tl.arange(0, BLOCK_C), 3 - PLACE)
            for corner in tl.static_range(4):
                inside, at, row_share, column_share = _corner(
                    corner, y, x, taken, height, width, features_row, features_column
                )
                at = at + c * features_channel
                if OFFSET or MASK:
                    seen = tl.load(_along(maps, at, PLANAR), mask=inside & (c < CHANNELS), other=0.0).to(REAL)
                    agreement = tl.sum(columns * seen, axis=3 - PLACE, keep_dims=True)
                    for_mask += row_share * column_share * agreement
                    for_y += (column_share if corner // 2 == 1 else -column_share) * agreement
                    for_x += (row_share if corner % 2 == 1 else -row_share) * agreement
                if FEATURES:
                    share = amount * row_share * column_share
                    added = inside & (c < CHANNELS) & (share != 0)
                    if FIXED_POINT:
                        whole = (columns * share * unit * other_unit).to(tl.int64)
                        tl.atomic_add(_along(grad_maps, at, PLANAR), whole, mask=added, sem="relaxed")
                    else:
                        tl.atomic_add(_along(grad_maps, at, PLANAR), columns * share, mask=added, sem="relaxed")
        if OFFSET:
            at = image * grad_offset_image + 2 * tap * grad_offset_axis + place * grad_offset_place
            tl.store(_along(grad_offset, at, PLANAR), amount * for_y, mask=taken)
            tl.store(_along(grad_offset + grad_offset_axis, at, PLANAR), amount * for_x, mask=taken)
        if MASK:
            at = image * grad_mask_image + tap * grad_mask_tap + place * grad_mask_place
            tl.store(_along(grad_mask, at, PLANAR), for_mask, mask=taken)


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
    offset_place,
    mask_image,
    mask_tap,
    mask_place,
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
    PLACE: tl.constexpr = 2 if PLANAR else 1
    c_blocks: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    t_blocks: tl.constexpr = (TAPS + BLOCK_T - 1) // BLOCK_T
    o_blocks: tl.constexpr = (OUTPUTS + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    channel = (program % c_blocks) * BLOCK_C
    first = (program // c_blocks % t_blocks) * BLOCK_T
    o = (program // (c_blocks * t_blocks) % o_blocks) * BLOCK_O + tl.arange(0, BLOCK_O)
    split = program // (c_blocks * t_blocks * o_blocks)
    c = channel + _axis(tl.arange(0, BLOCK_C), 3 - PLACE)
    tap = first + _axis(tl.arange(0, BLOCK_T), 0)
    total = tl.full((BLOCK_O, BLOCK_T * BLOCK_C), 0, REAL)
    for start in range(0, positions, SPLITS * BLOCK_P):
        p = start + split * BLOCK_P + tl.arange(0, BLOCK_P)
        image, place, row, column, live = _positions(p, positions, area, columns_out, PLACE)
        taken = live & (tap < TAPS)
        y, x = _where(
            offset, tap, image, place, row, column, taken, offset_image, offset_axis, offset_place,
            top, left, KERNEL_WIDTH, PLANAR, REAL,
        )  # fmt: skip
        amount = _amount(mask, tap, image, place, taken, mask_image, mask_tap, mask_place, MASKED, PLANAR, REAL)
        maps = features + image * features_image + c * features_channel
        values = amount * _sample(maps, c < CHANNELS, y, x, taken, height, width, features_row, features_column, PLANAR)
        given = tl.load(
            grad_output + p.to(tl.int64)[None, :] * OUTPUTS + o[:, None],
            mask=(p < positions)[None, :] & (o < OUTPUTS)[:, None],
            other=0.0,
        )
        flat = _flat(values, BLOCK_P, BLOCK_T * BLOCK_C, PLANAR).to(given.dtype)
        total = tl.dot(given, flat, total, input_precision=PRECISION, out_dtype=REAL)
    k = tl.arange(0, BLOCK_T * BLOCK_C)
    tap_k, c_k = first + k // BLOCK_C, channel + k % BLOCK_C
    at = (split.to(tl.int64) * OUTPUTS + o)[:, None] * (TAPS * CHANNELS) + (tap_k * CHANNELS + c_k)[None, :]
    stored = (o < OUTPUTS)[:, None] & ((tap_k < TAPS) & (c_k < CHANNELS))[None, :]
    tl.store(grad_weight + at, total, mask=stored)


@triton.jit
def _axis(vector, AXIS: tl.constexpr):
    """(N,) as axis 0, 1 or 2 of three."""
    if AXIS == 0:
        spread = vector[:, None, None]
    elif AXIS == 1:
        spread = vector[None, :, None]
    else:
        spread = vector[None, None, :]
    return spread


@triton.jit
def _along(start, at, PLANAR: tl.constexpr):
    """start + at, in planes marked as near each other along the positions: Triton 3.6 else lays threads along the taps.

    Numbers that are neighbours in the tile need not be so in memory. Marked as not aligned, they are read and written
    one by one, so that nothing but the order of the threads depends on it.
    """
    pointers = start + at
    return tl.multiple_of(tl.max_contiguous(pointers, (1, 1, 2)), (1, 1, 1)) if PLANAR else pointers


@triton.jit
def _flat(tile, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, PLANAR: tl.constexpr):
    """A tile of three axes as (positions, taps × channels)."""
    return tl.trans(tl.reshape(tile, (BLOCK_K, BLOCK_P))) if PLANAR else tl.reshape(tile, (BLOCK_P, BLOCK_K))


@triton.jit
def _upright(flat, BLOCK_P: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr, PLANAR: tl.constexpr):
    """The inverse of `_flat`."""
    if PLANAR:
        tile = tl.reshape(tl.trans(flat), (BLOCK_T, BLOCK_C, BLOCK_P))
    else:
        tile = tl.reshape(flat, (BLOCK_T, BLOCK_P, BLOCK_C))
    return tile


@triton.jit
def _positions(p, positions, area, columns_out, PLACE: tl.constexpr):
    """Image (64 bits), place within the map, its row and column, and whether there is such a position, of each p."""
    p = _axis(p, PLACE)
    image = p // area
    place = p - image * area
    row = place // columns_out
    return image.to(tl.int64), place, row, place - row * columns_out, p < positions


@triton.jit
def _where(
    offset,
    tap,
    image,
    place,
    row,
    column,
    taken,
    offset_image,
    offset_axis,
    offset_place,
    top,
    left,
    KERNEL_WIDTH: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
):
    """p0 + p_m + Δp_m: the row and the column at which the tap looks."""
    at = image * offset_image + 2 * tap * offset_axis + place * offset_place
    down = tl.load(_along(offset, at, PLANAR), mask=taken, other=0.0).to(REAL)
    across = tl.load(_along(offset + offset_axis, at, PLANAR), mask=taken, other=0.0).to(REAL)
    return (row + tap // KERNEL_WIDTH - top).to(REAL) + down, (column + tap % KERNEL_WIDTH - left).to(REAL) + across


@triton.jit
def _amount(
    mask,
    tap,
    image,
    place,
    taken,
    mask_image,
    mask_tap,
    mask_place,
    MASKED: tl.constexpr,
    PLANAR: tl.constexpr,
    REAL: tl.constexpr,
):
    """What the sampled value is multiplied by: 0 where there is no position or tap."""
    if MASKED:
        at = image * mask_image + tap * mask_tap + place * mask_place
        amount = tl.load(_along(mask, at, PLANAR), mask=taken, other=0.0).to(REAL)
    else:
        amount = tl.where(taken, 1.0, 0.0).to(REAL)
    return amount


@triton.jit
def _corner(CORNER: tl.constexpr, y, x, taken, height, width, row_stride, column_stride):
    """One of the four grid points around (y, x): whether it is in the map, where in memory, and its two shares.

    Beyond one step outside the map nothing is seen, so no position, however far or not a number, is read from there.
    The shares of a position that is not a number are none either, so that it shows in the result.
    """
    y = tl.where(y < -1, -1.0, tl.where(y > height, height, y))
    x = tl.where(x < -1, -1.0, tl.where(x > width, width, x))
    seen = taken & (y > -1) & (y < height) & (x > -1) & (x < width)
    below, right = y - tl.floor(y), x - tl.floor(x)
    row = tl.where(seen, tl.floor(y), 0.0).to(tl.int32) + CORNER // 2
    column = tl.where(seen, tl.floor(x), 0.0).to(tl.int32) + CORNER % 2
    inside = seen & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row_share = below if CORNER // 2 == 1 else 1 - below
    column_share = right if CORNER % 2 == 1 else 1 - right
    return inside, row * row_stride + column * column_stride, row_share, column_share


@triton.jit
def _sample(maps, channels, y, x, taken, height, width, row_stride, column_stride, PLANAR: tl.constexpr):
    """The bilinear value at (y, x) of each channel; grid points that have no share are not read."""
    for corner in tl.static_range(4):
        inside, at, row_share, column_share = _corner(corner, y, x, taken, height, width, row_stride, column_stride)
        share = row_share * column_share
        read = inside & channels & (share != 0)
        seen = tl.load(_along(maps, at, PLANAR), mask=read, other=0.0).to(share.dtype)
        if corner == 0:
            value = share * seen
        else:
            value += share * seen
    return value
