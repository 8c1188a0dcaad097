"""The four-layer oblong CNN (Yamamoto et al. 2021) of Table 1, any of its layers deformable."""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from singtech.errors import InvalidValue, require
from singtech.models.aggregation import aggregate
from singtech.models.conv_block import Block
from singtech.models.deformable import DeformableConv2d, paddings

# Table 1: channels, kernel (bins, frames), pooling (bins, frames) of the four layers.
LAYERS = (
    (32, (4, 1), (4, 4)),
    (64, (16, 1), (4, 4)),
    (128, (1, 4), (3, 3)),
    (128, (1, 16), (2, 2)),
)
# Pooling (bins, frames) of the four layers. At 86 frames a second, Table 1's leaves 5.4 to the first kernel with an
# extent in time, too few for the 4 to 8 Hz of vibrato and trill. `fine` leaves 43 and 21.5 to these two kernels, `bins`
# all.
POOLINGS = {
    "table1": tuple(pool for _, _, pool in LAYERS),
    "fine": ((4, 1), (4, 2), (3, 2), (2, 2)),
    "bins": ((4, 1), (4, 1), (3, 1), (2, 1)),
}


class OblongExtractor(nn.Module):
    """(B, C, F, T) spectrograms to (B, D) features: convolution, batch norm, ReLU, max pooling and dropout, four times.

    The paper's parameter counts imply a layer before the 30 features that Table 1 does not show. A hidden layer of 50
    with batch norm, ReLU and dropout 0.4, as in the authors' published code, gives four of the five counts exactly
    (337.5k, 362.2k, 438.7k, 435.7k), and that of All within 0.1k. `hidden=None` is Table 1 as printed.

    Args:
        shape: (C, F, T) of one input.
        dc: numbers, 1 to 4, of the deformable layers.
        features: D.
        hidden: width of the layer before the features, or None for none.
        dropout, hidden_dropout: probability to drop a unit after each convolutional block, and after the hidden layer.
        aggregation: `average` over the map (Section 3.1, footnote 1), `flatten`, `statistics` or `modulation`, see
            `singtech.models.aggregation`.
        pooling: one of `POOLINGS`, or (bins, frames) for each layer.
        seconds: length of a clip, for the modulation.
        padding, modulated, directions: see `DeformableConv2d`.
        pool_deformable: whether to pool deformable layers too (Table 1: yes).
    Raises:
        InvalidValue: the input is too small for the pooling; a layer number, aggregation or pooling is unknown.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dc: tuple[int, ...] = (),
        features: int = 30,
        hidden: int | None = 50,
        dropout: float = 0.3,
        hidden_dropout: float = 0.4,
        aggregation: str = "average",
        padding: str = "same",
        modulated: bool = True,
        directions: str = "both",
        pool_deformable: bool = True,
        pooling: str | tuple[tuple[int, int], ...] = "table1",
        seconds: float = 3.0,
    ) -> None:
        super().__init__()
        require(features >= 1, "model.features", features, "a whole number from 1 up")
        unknown = sorted(set(dc) - set(range(1, len(LAYERS) + 1)))
        if unknown:
            raise InvalidValue(f"dc names layer {unknown[0]}: the network has layers 1 to {len(LAYERS)}.")
        pools = _read_pooling(pooling)
        channels, *grid = shape
        blocks = []
        for number, ((out_channels, kernel, _), pool) in enumerate(zip(LAYERS, pools, strict=True), start=1):
            deformable = number in dc
            is_pooled = pool_deformable or not deformable
            pads = paddings(kernel, padding)
            conv: nn.Conv2d
            if deformable:
                conv = DeformableConv2d(channels, out_channels, kernel, padding, modulated, directions)
            else:
                conv = PaddedConv2d(channels, out_channels, kernel, pads)
            blocks.append((f"layer{number}", Block(conv, out_channels, pool if is_pooled else None, dropout)))
            grid = [
                side + start + end - k + 1
                for side, k, start, end in zip(grid, kernel, pads[2::-2], pads[3::-2], strict=True)
            ]
            if is_pooled:
                grid = [side // p for side, p in zip(grid, pool, strict=True)]
            channels = out_channels
        if min(grid) < 1:
            bins, frames = (math.prod(sides) for sides in zip(*pools, strict=True))
            raise InvalidValue(
                f"a clip gives {shape[1]} bins by {shape[2]} frames, too few for model.pooling={pooling}, which needs "
                f"{bins} by {frames}: use longer clips (data.clip_seconds) or a shorter hop (front_end.hop_length)."
            )
        self.convolutions = nn.Sequential(OrderedDict(blocks)).to(memory_format=torch.channels_last)
        self.aggregation, pooled_features = aggregate(aggregation, (channels, grid[0], grid[1]), seconds)
        self.projection = _projection(pooled_features, hidden, features, hidden_dropout)
        self.map_shape = (channels, *grid)
        self.out_features = features

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, D)."""
        spectrogram = spectrogram.contiguous(memory_format=torch.channels_last)
        maps = self.convolutions(spectrogram)  # (B, 128, 10, 2) for 3 s at 44.1 kHz
        return self.projection(self.aggregation(maps))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """List the parts in order, with the names of Table 1 (which does not show the hidden layer)."""
        parts: list[tuple[str, nn.Module]] = []
        for block, (_, kernel, _) in zip(self.convolutions, LAYERS, strict=True):
            window: Any = block.window
            pooling = f", MP({window[0]}×{window[1]})" if window else ""
            parts.append((f"Conv({kernel[0]}×{kernel[1]}){pooling}", block))
        name = type(self.aggregation[0]).__name__
        parts.append(("Global AP" if name == "AdaptiveAvgPool2d" else name, self.aggregation))
        *hidden, features = self.projection
        if hidden:
            parts.append((f"FC {hidden[0].out_features} (hidden)", nn.Sequential(*hidden)))
        return [*parts, ("FC (Feature)", features)]


def _read_pooling(pooling: Any) -> tuple[tuple[int, int], ...]:
    """Return (bins, frames) of each layer's pooling window.

    Raises:
        InvalidValue: it is no name of `POOLINGS`, and no list of whole numbers from 1 up, two for each layer.
    """
    named = POOLINGS.get(pooling, ()) if isinstance(pooling, str) else pooling
    entries = named if isinstance(named, list | tuple) else ()
    windows: list = [tuple(window) for window in entries if isinstance(window, list | tuple)]
    numbers = [number for window in windows if len(window) == 2 for number in window]
    if len(windows) != len(LAYERS) or len(numbers) != 2 * len(LAYERS) or not all(n in range(1, 1000) for n in numbers):
        raise InvalidValue(f"model.pooling={pooling}: expected {', '.join(POOLINGS)}, or [bins,frames] for each layer.")
    return tuple(windows)


class PaddedConv2d(nn.Conv2d):
    """A convolution with the zeros of `paddings`, which may differ between the sides of the map."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], pads: tuple[int, ...]
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.pads = pads

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, O, F', T')."""
        return super().forward(nn.functional.pad(features, self.pads))


def _projection(channels: int, hidden: int | None, features: int, dropout: float) -> nn.Sequential:
    """Pooled channels to features, without a final activation: a linear classifier follows."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if hidden is not None:
        layers |= {"hidden": nn.Linear(channels, hidden), "norm": nn.BatchNorm1d(hidden)}
        layers |= {"activation": nn.ReLU(), "dropout": nn.Dropout(dropout)}
    layers["features"] = nn.Linear(channels if hidden is None else hidden, features)
    return nn.Sequential(layers)
