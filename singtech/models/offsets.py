"""Where a network's deformable kernels sample: offsets and masks of clips, and their positions on the spectrogram.

A tap samples its layer's input map, one cell of which covers many bins and frames of the spectrogram. Position x of a
map is, on the map one block earlier, p·x + (p - 1)/2 + (k - 1)/2 - b: the middle of the p pooled positions, plus the
middle of a kernel of k taps that starts b cells before its own position. (An even kernel, padded on one side, is half a
cell ahead.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network


@dataclass(frozen=True, eq=False)
class Look:
    """Sampling positions of one deformable layer for B clips, M taps and an output of F' by T' cells.

    Attributes:
        layer: its number, from 1.
        kernel_size: taps along frequency and time.
        grid: (M, 2) cells from the kernel's position to each tap without offsets: frequency, time.
        offset: (B, M, 2, F', T') cells: frequency, time.
        mask: (B, M, F', T') between 0 and 2; 1 if the layer has none.
        scale, origin: (frequency, time): cell x of the input map is at scale·x + origin, in bins and frames of the
            spectrogram.
        sides: cells of the input map: frequency, time.
    """

    layer: int
    kernel_size: tuple[int, ...]
    grid: Tensor
    offset: Tensor
    mask: Tensor
    scale: tuple[float, ...]
    origin: tuple[float, ...]
    sides: tuple[int, ...]

    def matters(self) -> Tensor:
        """(B, M, F', T') whether a tap samples the map, with its offset or without.

        Interpolation reaches a cell that is less than one away. The other taps read zeros either way; training never
        changed their offsets. In layer 4, with 16 taps on a narrower map, these are most.
        """
        rows, columns = (torch.arange(side, dtype=torch.float32) for side in self.offset.shape[-2:])
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, F', T')
        rigid = self.grid[:, :, None, None] + positions
        return self._meets(rigid) | self._meets(rigid + self.offset)

    def _meets(self, positions: Tensor) -> Tensor:
        """Whether positions (…, 2, F', T') in cells are on the map or less than one cell outside."""
        sides = torch.tensor(self.sides)[:, None, None]
        return ((positions > -1) & (positions < sides)).all(dim=-3)

    def points(self, clip: int, cell: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Taps of the kernel at a cell: (M, 2) without and (M, 2) with offsets, in bins and frames; (M,) mask."""
        position = torch.tensor(cell, dtype=torch.float32)
        scale, origin = torch.tensor(self.scale), torch.tensor(self.origin)
        rigid = (position + self.grid) * scale + origin
        moved = rigid + self.offset[clip, :, :, cell[0], cell[1]] * scale
        return rigid, moved, self.mask[clip, :, cell[0], cell[1]]

    def cell_of(self, bin_: float, frame: float) -> tuple[int, ...]:
        """The cell whose kernel has its middle nearest to a position on the spectrogram."""
        middle = self.grid.mean(dim=0)
        sides = self.offset.shape[-2:]
        cells = [
            round((position - origin) / scale - float(ahead))
            for position, origin, scale, ahead in zip((bin_, frame), self.origin, self.scale, middle, strict=True)
        ]
        return tuple(min(max(cell, 0), side - 1) for cell, side in zip(cells, sides, strict=True))


def deformable_layers(network: Network) -> dict[int, DeformableConv2d]:
    """The deformable layers of a network by number; empty where there are none."""
    return {n: block.conv for n, block in enumerate(_blocks(network), 1) if isinstance(block.conv, DeformableConv2d)}


def _blocks(network: Network) -> list:
    """The convolutional blocks of the oblong CNN or the 1DCNN; none of other extractors."""
    return list(getattr(network.extractor, "convolutions", []))


@torch.inference_mode()
def look(network: Network, waveforms: Tensor) -> list[Look]:
    """Get the sampling positions of each deformable layer for (B, S) waveforms; the network is in eval mode."""
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
    looks = []
    for number, layer in layers.items():
        offset, mask = layer.offset_and_mask(inputs[number])
        batch, _, *sides = offset.shape
        offset = offset.reshape(batch, layer.taps, 2, *sides)
        mask = torch.ones(batch, layer.taps, *sides) if mask is None else mask
        scale, origin = coordinates[number]
        grid = kernel_grid(layer.kernel_size, layer.pads)
        size = tuple(inputs[number].shape[-2:])
        looks.append(Look(number, layer.kernel_size, grid, offset.cpu(), mask.cpu(), scale, origin, size))
    return looks


def kernel_grid(kernel_size: tuple[int, ...], pads: tuple[int, ...]) -> Tensor:
    """(M, 2) cells from a kernel's position to its taps, frequency then time, in the order of the offsets."""
    left, _, top, _ = pads
    rows, columns = torch.meshgrid(torch.arange(kernel_size[0]), torch.arange(kernel_size[1]), indexing="ij")
    return torch.stack([rows.flatten() - top, columns.flatten() - left], dim=1).float()


def input_coordinates(network: Network) -> dict[int, tuple[tuple[float, ...], tuple[float, ...]]]:
    """(scale, origin) of each layer's input map, each for frequency and time (see the module)."""
    scale: tuple[float, ...] = (1.0, 1.0)
    origin: tuple[float, ...] = (0.0, 0.0)
    coordinates = {}
    for number, block in enumerate(_blocks(network), 1):
        coordinates[number] = scale, origin
        kernel, pads = block.conv.kernel_size, block.conv.pads
        before = (pads[2], pads[0])
        pool = block.pool.kernel_size if hasattr(block, "pool") else (1, 1)
        origin = tuple(
            s * ((p - 1) / 2 + (k - 1) / 2 - b) + o
            for s, o, p, k, b in zip(scale, origin, pool, kernel, before, strict=True)
        )
        scale = tuple(s * p for s, p in zip(scale, pool, strict=True))
    return coordinates
