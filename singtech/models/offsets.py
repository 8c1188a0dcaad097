"""Sampling positions of a network's deformable kernels: offsets and masks of clips, and positions on the spectrogram.

A tap samples its layer's input map. One cell of this map covers many bins and frames of the spectrogram. Position x of
a map is p·x + (p - 1)/2 + (k - 1)/2 - b on the map one block before: the middle of the p pooled positions, plus the
middle of a kernel of k taps that starts b cells before its own position. (The middle of an even kernel, padded on one
side, is half a cell after its position.)
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network


@dataclass(frozen=True, eq=False)
class LayerOffsets:
    """Sampling positions of one deformable layer for B clips, M taps and an output of F' by T' cells.

    Attributes:
        layer: its number, from 1.
        kernel_size: taps along frequency and time.
        grid: (M, 2) distance in cells from the kernel's position to each tap without offsets: frequency, time.
        offset: (B, M, 2, F', T') cells: frequency, time.
        mask: (B, M, F', T') between 0 and 2; 1 if the layer has none.
        scale, origin: (frequency, time): cell x of the input map is at scale·x + origin, in bins and frames of the
            spectrogram.
        map_size: cells of the input map: frequency, time.
    """

    layer: int
    kernel_size: tuple[int, ...]
    grid: Tensor
    offset: Tensor
    mask: Tensor
    scale: tuple[float, ...]
    origin: tuple[float, ...]
    map_size: tuple[int, ...]

    @functools.cached_property
    def reaches_map(self) -> Tensor:
        """(B, M, F', T') whether a tap samples the map, with or without its offset.

        Interpolation reaches a cell at a distance below one. All other taps read zeros in both cases, so training never
        changed their offsets. In layer 4, with 16 taps on a narrower map, most taps are of this kind.
        """
        rows, columns = (torch.arange(side, dtype=torch.float32) for side in self.offset.shape[-2:])
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, F', T')
        rigid = self.grid[:, :, None, None] + positions
        return self._is_near_map(rigid) | self._is_near_map(rigid + self.offset)

    def _is_near_map(self, positions: Tensor) -> Tensor:
        """Whether positions (…, 2, F', T') in cells are on the map or less than one cell outside."""
        sides = torch.tensor(self.map_size)[:, None, None]
        return ((positions > -1) & (positions < sides)).all(dim=-3)

    def tap_positions(self, clip: int, cell: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The taps' positions at a cell: (M, 2) without and (M, 2) with offsets, in bins and frames; (M,) mask."""
        position = torch.tensor(cell, dtype=torch.float32)
        scale, origin = torch.tensor(self.scale), torch.tensor(self.origin)
        rigid = (position + self.grid) * scale + origin
        moved = rigid + self.offset[clip, :, :, cell[0], cell[1]] * scale
        return rigid, moved, self.mask[clip, :, cell[0], cell[1]]

    def mean_shifts(self, clip: int) -> tuple[Tensor, Tensor]:
        """Each cell's position and the mean offset of its kernel's taps: both (F', T', 2), in bins and frames.

        Taps that cannot meet the map do not count (see `reaches_map`); NaN where none does.
        """
        rows, columns = (torch.arange(side, dtype=torch.float32) for side in self.offset.shape[-2:])
        cells = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
        valid = self.reaches_map[clip][:, None]  # (M, 1, F', T')
        means = (self.offset[clip] * valid).sum(dim=0) / valid.sum(dim=0)
        scale, origin = torch.tensor(self.scale), torch.tensor(self.origin)
        return cells * scale + origin, means.permute(1, 2, 0) * scale

    def nearest_cell(self, bin_: float, frame: float) -> tuple[int, ...]:
        """Find the cell whose kernel has its middle nearest to a position on the spectrogram."""
        middle = self.grid.mean(dim=0)
        sides = self.offset.shape[-2:]
        cells = [
            round((position - origin) / scale - float(center))
            for position, origin, scale, center in zip((bin_, frame), self.origin, self.scale, middle, strict=True)
        ]
        return tuple(min(max(cell, 0), side - 1) for cell, side in zip(cells, sides, strict=True))


def deformable_layers(network: Network) -> dict[int, DeformableConv2d]:
    """Map the number of each deformable layer of a network to the layer."""
    return {n: block.conv for n, block in enumerate(_blocks(network), 1) if isinstance(block.conv, DeformableConv2d)}


def _blocks(network: Network) -> list:
    """List the convolutional blocks of the oblong CNN or the 1DCNN; empty for other extractors."""
    return list(getattr(network.extractor, "convolutions", []))


@torch.inference_mode()
def predict_offsets(network: Network, waveforms: Tensor) -> list[LayerOffsets]:
    """Predict the offsets of each deformable layer for (B, S) waveforms, by a network in eval mode."""
    layers, coordinates = deformable_layers(network), input_coordinates(network)
    inputs: dict[int, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, arguments, number=number: inputs.update({number: arguments[0]}))
        for number, layer in layers.items()
    ]
    try:
        network.features(waveforms)
    finally:
        for hook in hooks:
            hook.remove()
    results = []
    for number, layer in layers.items():
        offset, mask = layer.offset_and_mask(inputs[number])
        batch, _, *sides = offset.shape
        offset = offset.reshape(batch, layer.taps, 2, *sides)
        mask = torch.ones(batch, layer.taps, *sides) if mask is None else mask
        grid, size = kernel_grid(layer.kernel_size, layer.pads), tuple(inputs[number].shape[-2:])
        fields = grid, offset.cpu(), mask.cpu(), *coordinates[number], size
        results.append(LayerOffsets(number, layer.kernel_size, *fields))
    return results


def kernel_grid(kernel_size: tuple[int, ...], pads: tuple[int, ...]) -> Tensor:
    """(M, 2) cells from a kernel's position to each tap, frequency then time, in the order of the offsets."""
    left, _, top, _ = pads
    rows, columns = torch.meshgrid(torch.arange(kernel_size[0]), torch.arange(kernel_size[1]), indexing="ij")
    return torch.stack([rows.flatten() - top, columns.flatten() - left], dim=1).float()


def input_coordinates(network: Network) -> dict[int, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Compute each layer's (scale, origin) of its input map, both for frequency and time (see the module)."""
    scale: tuple[float, ...] = (1.0, 1.0)
    origin: tuple[float, ...] = (0.0, 0.0)
    coordinates = {}
    for number, block in enumerate(_blocks(network), 1):
        coordinates[number] = scale, origin
        kernel, starts = block.conv.kernel_size, block.conv.pads[2::-2]  # top and left
        pool = block.pool.kernel_size if hasattr(block, "pool") else (1, 1)
        origin = tuple(
            s * ((p - 1) / 2 + (k - 1) / 2 - b) + o
            for s, o, p, k, b in zip(scale, origin, pool, kernel, starts, strict=True)
        )
        scale = tuple(s * p for s, p in zip(scale, pool, strict=True))
    return coordinates
