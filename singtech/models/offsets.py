"""Where the deformable kernels of a network look: offsets and masks of clips, and places on the input's spectrogram.

A tap of a layer samples that layer's own input map, one cell of which stands for many bins and frames of the
spectrogram. Going back through the blocks before it, position x of a map is, in positions of the map a block earlier,
p·x + (p - 1)/2 + (k - 1)/2 - b: the middle of the p positions that were pooled, and the middle of a kernel of k taps
that begins b before its place (an even kernel, padded on one side, looks half a position ahead).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network


@dataclass(frozen=True, eq=False)
class Look:
    """What one deformable layer does with B clips, its M taps and its map of F' by T'.

    Attributes:
        layer: its number, from 1.
        kernel_size: taps along frequency and time.
        grid: (M, 2) where each tap would look without offsets, in cells from its place: frequency, time.
        offset: (B, M, 2, F', T') in cells of the map: frequency, time.
        mask: (B, M, F', T') between 0 and 2; 1 where the layer has none.
        scale, origin: (frequency, time): cell x of its input map lies at scale·x + origin in bins and frames of the
            spectrogram.
        sides: bins and frames of its input map in cells.
    """

    layer: int
    kernel_size: tuple[int, int]
    grid: Tensor
    offset: Tensor
    mask: Tensor
    scale: tuple[float, float]
    origin: tuple[float, float]
    sides: tuple[int, int]

    def matters(self) -> Tensor:
        """(B, M, F', T') whether a tap meets the map where it looks, or would without its offset.

        Interpolation reaches a cell that is less than one away. The others read zeros in both places: their offsets,
        which nothing ever taught, change nothing. In layer 4, whose 16 taps are wider than its map, they are most.
        """
        rows, columns = (torch.arange(side, dtype=torch.float32) for side in self.offset.shape[-2:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, F', T')
        rigid = self.grid[:, :, None, None] + places
        return self._meets(rigid) | self._meets(rigid + self.offset)

    def _meets(self, places: Tensor) -> Tensor:
        """Whether places (…, 2, F', T') in cells touch the map."""
        sides = torch.tensor(self.sides)[:, None, None]
        return ((places > -1) & (places < sides)).all(dim=-3)

    def points(self, clip: int, cell: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Where the kernel at a cell looks: (M, 2) rigid and (M, 2) deformed, in bins and frames; (M,) its mask."""
        place = torch.tensor(cell, dtype=torch.float32)
        scale, origin = torch.tensor(self.scale), torch.tensor(self.origin)
        rigid = (place + self.grid) * scale + origin
        moved = rigid + self.offset[clip, :, :, cell[0], cell[1]] * scale
        return rigid, moved, self.mask[clip, :, cell[0], cell[1]]

    def cell_of(self, bin_: float, frame: float) -> tuple[int, int]:
        """The cell whose kernel is centred nearest to a place on the spectrogram."""
        middle = self.grid.mean(dim=0)
        sides = self.offset.shape[-2:]
        cells = [
            round((place - origin) / scale - float(ahead))
            for place, origin, scale, ahead in zip((bin_, frame), self.origin, self.scale, middle, strict=True)
        ]
        return tuple(min(max(cell, 0), side - 1) for cell, side in zip(cells, sides, strict=True))


def deformable_layers(network: Network) -> dict[int, DeformableConv2d]:
    """The deformable layers of a network by number; empty where there are none."""
    blocks = getattr(network.extractor, "convolutions", [])
    return {n: block.conv for n, block in enumerate(blocks, 1) if isinstance(block.conv, DeformableConv2d)}


@torch.inference_mode()
def look(network: Network, waveforms: Tensor) -> list[Look]:
    """What each deformable layer does with (B, S) waveforms; the network is in eval mode, as it is tested."""
    layers, places = deformable_layers(network), input_places(network)
    with _inputs_of(layers) as inputs:
        network.features(waveforms)
    looks = []
    for number, layer in layers.items():
        offset, mask = layer.offset_and_mask(inputs[number])
        batch, _, *sides = offset.shape
        offset = offset.reshape(batch, layer.taps, 2, *sides)
        mask = torch.ones(batch, layer.taps, *sides) if mask is None else mask
        scale, origin = places[number]
        grid = kernel_grid(layer.kernel_size, layer.pads)
        given = tuple(inputs[number].shape[-2:])
        looks.append(Look(number, layer.kernel_size, grid, offset.cpu(), mask.cpu(), scale, origin, given))
    return looks


def kernel_grid(kernel_size: tuple[int, int], pads: tuple[int, int, int, int]) -> Tensor:
    """(M, 2) cells from a kernel's place to its taps, frequency then time, in the order of the offsets."""
    left, _, top, _ = pads
    rows, columns = torch.meshgrid(torch.arange(kernel_size[0]), torch.arange(kernel_size[1]), indexing="ij")
    return torch.stack([rows.flatten() - top, columns.flatten() - left], dim=1).float()


def input_places(network: Network) -> dict[int, tuple[tuple[float, float], tuple[float, float]]]:
    """(scale, origin) of each layer's input map, each for frequency and time (see the module)."""
    scale, origin = (1.0, 1.0), (0.0, 0.0)
    places = {}
    for number, block in enumerate(network.extractor.convolutions, 1):
        places[number] = scale, origin
        kernel, pads = block.conv.kernel_size, block.conv.pads
        begins = (pads[2], pads[0])
        pool = block.pool.kernel_size if hasattr(block, "pool") else (1, 1)
        origin = tuple(
            s * ((p - 1) / 2 + (k - 1) / 2 - b) + o
            for s, o, p, k, b in zip(scale, origin, pool, kernel, begins, strict=True)
        )
        scale = tuple(s * p for s, p in zip(scale, pool, strict=True))
    return places


@contextmanager
def _inputs_of(layers: dict[int, nn.Module]) -> Iterator[dict[int, Tensor]]:
    """The input of each layer, once the network has run."""
    inputs: dict[int, Tensor] = {}

    def keep(number: int):
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs[number] = arguments[0]

        return hook

    handles = [layer.register_forward_pre_hook(keep(number)) for number, layer in layers.items()]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
