"""Deformable convolution in plain PyTorch, for any device."""

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv2d_gather(
    features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    """Sum the four grid points around each tap by their bilinear shares, then multiply by the weights in one product.

    One `embedding_bag` over the channels-last map computes all sums. It reads and writes whole rows of C channels, so
    memory access is fast for any offsets.
    """
    with torch.autocast(features.device.type, enabled=False):
        dtype = weight.dtype
        batch, channels, height, width = features.shape
        out_channels, _, *kernel = weight.shape
        rows = features.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)  # (B·F·T, C)
        points, shares = _corners(offset.to(dtype), kernel, padding, (height, width))
        if mask is not None:
            shares = shares * mask.to(dtype).permute(0, 2, 3, 1).unsqueeze(-1)
        first = torch.arange(batch, device=rows.device).view(-1, 1, 1, 1, 1) * (height * width)
        columns = F.embedding_bag(
            (points + first).reshape(-1, 4), rows, per_sample_weights=shares.reshape(-1, 4), mode="sum"
        )
        columns = columns.view(-1, kernel[0] * kernel[1] * channels)  # (B·F'·T', M·C)
        outputs = columns @ weight.permute(2, 3, 1, 0).reshape(-1, out_channels)
        return outputs.view(batch, *offset.shape[2:], out_channels).permute(0, 3, 1, 2)


def _corners(
    offset: Tensor, kernel: list[int], padding: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Compute the four grid points around each sampling position p0 + p_m + Δp_m, and their bilinear shares.

    Args:
        offset: (B, 2·M, F', T').
        kernel: kh, kw.
        padding: rows above and columns left of the map.
        size: F, T of the map.
    Returns:
        (B, F', T', M, 4) indices into the map's F·T positions; (B, F', T', M, 4) shares, 0 for points outside the map.
    """
    height, width = size
    batch, _, *grid = offset.shape
    taps = kernel[0] * kernel[1]
    offset = offset.view(batch, taps, 2, *grid).permute(0, 3, 4, 1, 2)  # (B, F', T', M, 2)
    device, dtype = offset.device, offset.dtype
    tap = torch.arange(taps, device=device)
    vertical = torch.arange(grid[0], device=device).view(-1, 1, 1) + tap // kernel[1] - padding[0]
    horizontal = torch.arange(grid[1], device=device).view(1, -1, 1) + tap % kernel[1] - padding[1]
    # a position more than one step outside the map reads nothing; clamping it prevents integer overflow
    y = (vertical.to(dtype) + offset[..., 0]).clamp(-1, height)
    x = (horizontal.to(dtype) + offset[..., 1]).clamp(-1, width)
    top, left = y.detach().floor(), x.detach().floor()
    below, right = y - top, x - left
    points, shares = [], []
    for row, row_share in ((top, 1 - below), (top + 1, below)):
        for column, column_share in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            points.append(torch.where(inside, row * width + column, 0).long())
            shares.append(row_share * column_share * inside)
    return torch.stack(points, dim=-1), torch.stack(shares, dim=-1)
