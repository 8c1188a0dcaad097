"""Deformable convolution (Section 3.1): a convolution whose every tap looks where the input tells it to.

`deform_conv2d` is the operation, with two interchangeable backends; `DeformableConv2d` is the layer that also predicts
the offsets and the mask. Stride and dilation are 1, as everywhere in the paper.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BACKENDS = ("gather", "torchvision")


def deform_conv2d(
    features: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    padding: tuple[int, int],
    backend: str = "auto",
) -> Tensor:
    """y(p0) = sum over the taps m of w(p_m) · mask_m(p0) · x(p0 + p_m + Δp_m(p0)), Section 3.1 and Zhu et al. (2019).

    x between grid points is interpolated bilinearly and is 0 outside the map. The result is as large as `offset` says,
    so that rows and columns that an even kernel lacks are those after the map's end.

    Args:
        features: (B, C, F, T) the input map x.
        offset: (B, 2·M, F', T') Δp for each of the M = kh·kw taps: vertical (bins), then horizontal (frames).
        mask: (B, M, F', T') modulation of each tap, or None for 1 (DCNv1).
        weight: (O, C, kh, kw).
        padding: rows above and columns left of the map at which the kernel starts.
        backend: `gather`, `torchvision`, or `auto`: torchvision's fused kernel on CUDA (less memory there, but an input
            gradient that does not repeat to the bit), gather elsewhere (several times faster on a CPU).
    Returns:
        (B, O, F', T').
    Raises:
        ValueError: an unknown backend, or shapes that do not fit each other.
    """
    _validate(features, offset, mask, weight)
    if backend == "auto":
        backend = "torchvision" if features.device.type == "cuda" else "gather"
    if backend == "gather":
        return _gather(features, offset, mask, weight, padding)
    if backend == "torchvision":
        return _torchvision(features, offset, mask, weight, padding)
    raise ValueError(f"backend={backend}: expected auto, {' or '.join(BACKENDS)}.")


class DeformableConv2d(nn.Conv2d):
    """A size-keeping convolution with offsets and a mask predicted from its own input by one more convolution.

    That convolution has the layer's own kernel size and starts at zero, so that training starts from the plain
    convolution: no offset, and a mask of 2·sigmoid(0) = 1. The deformable convolution itself has no bias. (The paper
    names only offsets; its parameter counts ask for the mask as well, and for no bias.)

    Args:
        in_channels, out_channels, kernel_size: as for `torch.nn.Conv2d`.
        padding: `same` keeps the map's size, with the odd row or column of an even kernel after the map's end; `both`
            pads k//2 on both sides, so that an even kernel makes the map one larger.
        modulated: also predict the mask (DCNv2); without it the layer is DCNv1.
        directions: `both`, or `along` to move the taps of an oblong kernel along its long side only.
        backend: see `deform_conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        padding: str = "same",
        modulated: bool = True,
        directions: str = "both",
        backend: str = "auto",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=False)
        if directions not in ("both", "along"):
            raise ValueError(f"directions={directions}: expected both or along.")
        self.taps = kernel_size[0] * kernel_size[1]
        self.pads = paddings(kernel_size, padding)
        self.modulated, self.directions, self.backend = modulated, directions, backend
        axes = 2 if directions == "both" else 1
        self.shift = ZeroConv2d(in_channels, (axes + modulated) * self.taps, kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, O, F, T), each axis one longer where `both` pads an even kernel."""
        offset, mask = self.offset_and_mask(features)
        top_left = (self.pads[2], self.pads[0])
        return deform_conv2d(features, offset, mask, self.weight, top_left, self.backend)

    def offset_and_mask(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where each tap looks, and how much it counts.

        Args:
            features: (B, C, F, T).
        Returns:
            (B, 2·M, F', T') offsets, vertical then horizontal for each tap, in bins and frames; (B, M, F', T') mask
            between 0 and 2, or None where the layer is not modulated.
        """
        with torch.autocast(features.device.type, enabled=False):  # half precision is too coarse for positions
            field = self.shift(F.pad(features.to(self.weight.dtype), self.pads))
        if self.directions == "both":
            offset = field[:, : 2 * self.taps]
        else:
            along = field[:, : self.taps]
            pair = (along, torch.zeros_like(along))
            if self.kernel_size[1] > self.kernel_size[0]:
                pair = pair[::-1]
            offset = torch.stack(pair, dim=2).flatten(1, 2)
        return offset, 2 * torch.sigmoid(field[:, -self.taps :]) if self.modulated else None


class ZeroConv2d(nn.Conv2d):
    """A convolution whose weights and biases start at zero."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def paddings(kernel_size: tuple[int, int], padding: str) -> tuple[int, int, int, int]:
    """Zeros before and after the map, as `F.pad` wants them: left, right, top, bottom.

    `same` keeps the size; an even kernel's odd row goes after the end, as in torch's own "same", so that a layer keeps
    its grid when it is made deformable. `both` is k//2 on both sides.
    """
    if padding not in ("same", "both"):
        raise ValueError(f"padding={padding}: expected same or both.")
    pads = []
    for size in reversed(kernel_size):
        pads += [(size - 1) // 2, size // 2] if padding == "same" else [size // 2, size // 2]
    return tuple(pads)


def _validate(features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor) -> None:
    batch, channels = features.shape[:2]
    taps = weight.shape[2] * weight.shape[3]
    if weight.shape[1] != channels:
        raise ValueError(f"weight of {weight.shape[1]} input channels for features of {channels}.")
    if offset.shape[0] != batch or offset.shape[1] != 2 * taps:
        raise ValueError(f"offset of shape {tuple(offset.shape)}: expected ({batch}, {2 * taps}, F', T').")
    if mask is not None and mask.shape != (batch, taps, *offset.shape[2:]):
        raise ValueError(f"mask of shape {tuple(mask.shape)}: expected ({batch}, {taps}, *{tuple(offset.shape[2:])}).")


def _torchvision(features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple) -> Tensor:
    """torchvision's operator, which pads alike on both sides: the input is padded here, as far as the result needs."""
    from torchvision.ops import deform_conv2d as reference

    top, left = padding
    bottom = offset.shape[2] - 1 + weight.shape[2] - top - features.shape[2]
    right = offset.shape[3] - 1 + weight.shape[3] - left - features.shape[3]
    with torch.autocast(features.device.type, enabled=False):
        mask = None if mask is None else mask.float().to(weight.dtype)
        offset, padded = offset.to(weight.dtype), F.pad(features.to(weight.dtype), (left, right, top, bottom))
        return reference(padded, offset, weight, mask=mask)


def _gather(features: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, padding: tuple) -> Tensor:
    """Each tap as a weighted sum of the four grid points around it, then one matrix product over taps and channels.

    The sums are one `embedding_bag` over the map laid out position by position, which reads and writes whole rows of C
    channels, so memory is touched in order whichever way the offsets point.
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
    """The four grid points around each sampling position p0 + p_m + Δp_m, and their bilinear shares.

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
    # beyond one step outside, nothing is seen; the clamp keeps far offsets within the integers
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
