"""How many floating-point operations a training step asks for, and how many bytes must move for it at the least.

A multiplication and an addition are two operations. Counted are the products of convolutions and linear layers, the
bilinear sampling of deformable ones and the Fourier transforms; what is done number by number (batch norm, ReLU,
pooling, dropout, sigmoid, logarithm, optimiser) is a few per cent of that and left out. Bytes are counted as if
everything that could be done while a map is at hand were done then: see `deformable` and `step`. Nothing that is
computed anew counts, nor anything that a kernel writes down for its own sake, such as the columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2, prod

from singtech.models.oblong import LAYERS

ARRANGEMENTS = {"none": (), "late": (3, 4), "all": (1, 2, 3, 4)}  # the deformable layers of those measured
INPUT = (3, 1025, 259)  # spectrograms of a clip of the paper: windows, bins, frames
SAMPLES, N_FFT = 132_300, 2048
PARAMETER_MOVES = 10  # forward, backward, gradient; Adam reads weight, gradient and moments and writes all but that


@dataclass(frozen=True)
class Count:
    """Floating-point operations, and bytes to and from memory."""

    flops: float
    bytes: float

    def __add__(self, other: "Count") -> "Count":
        return Count(self.flops + other.flops, self.bytes + other.bytes)


@dataclass(frozen=True)
class Layer:
    """A convolutional layer of Table 1 in its place.

    Attributes:
        number: from 1.
        channels, outputs: C and O.
        kernel: bins, frames.
        grid: F and T of its input, which its convolution keeps.
        pooled: those after its pooling.
    """

    number: int
    channels: int
    outputs: int
    kernel: tuple[int, int]
    grid: tuple[int, int]
    pooled: tuple[int, int]

    @property
    def taps(self) -> int:
        """M."""
        return prod(self.kernel)

    @property
    def positions(self) -> int:
        """F·T."""
        return prod(self.grid)


def layers(shape: tuple[int, int, int] = INPUT) -> Iterator[Layer]:
    """The four layers for an input of (C, F, T)."""
    channels, *grid = shape
    for number, (outputs, kernel, pool) in enumerate(LAYERS, start=1):
        pooled = tuple(side // p for side, p in zip(grid, pool, strict=True))
        yield Layer(number, channels, outputs, kernel, tuple(grid), pooled)
        channels, grid = outputs, pooled


def deformable(layer: Layer, batch: int, size: int = 4, needs_input_gradient: bool = True) -> Count:
    """Forward and backward of the deformable convolution alone, offsets and mask given.

    Sampling takes four multiplications and additions for each channel of each tap (the mask belongs to the shares),
    its backward pass as many for the input's gradient and as many for that of the shares, on which offsets and mask
    hang. The product with the weights is taken three times. Input, offsets, mask and weights are read forward and
    backward, the output is written, its gradient read, and the gradients of the four are written.

    Args:
        size: bytes of a number of the maps; offsets, mask and weights have 4.
        needs_input_gradient: the first layer's input needs none.
    """
    sampled = batch * layer.positions * layer.taps * layer.channels
    flops = sampled * ((3 if needs_input_gradient else 2) * 8 + 3 * 2 * layer.outputs)
    maps = batch * layer.positions * ((2 + needs_input_gradient) * layer.channels + 2 * layer.outputs)
    fields = batch * layer.positions * 3 * layer.taps
    weights = layer.taps * layer.channels * layer.outputs
    return Count(flops, size * maps + 4 * 3 * (fields + weights))


def convolution_flops(layer: Layer, outputs: int, batch: int) -> float:
    """Forward and backward of a plain convolution of the layer's kernel, without an input gradient in the first."""
    products = 2 if layer.number == 1 else 3
    return products * 2.0 * batch * layer.positions * layer.taps * layer.channels * outputs


def step(
    dc: tuple[int, ...],
    batch: int,
    parameters: int,
    size: int = 4,
    shape: tuple[int, int, int] = INPUT,
    samples: int = SAMPLES,
    n_fft: int = N_FFT,
) -> Count:
    """A training step from 16-bit samples to new weights.

    A map that a convolution makes is written once, read once to be normalised and pooled (batch norm must have seen
    all of it before), and read once backward. What is pooled is written, read by the next layer forward and backward,
    and its gradient written and read. A field of offsets and masks is written, read forward and backward, its gradient
    written and read. Samples are read and spectrograms written once.

    Args:
        dc: the deformable layers.
        batch: clips.
        parameters: of the network.
        size: bytes of a number of the maps; fields, weights and spectrograms have 4.
        shape: of a clip's spectrograms: windows, bins, frames.
        samples, n_fft: of a clip, and of a Fourier transform.
    """
    flops = 3 * 2.0 * batch * (128 * 50 + 50 * 30 + 30 * 10)
    flops += batch * shape[0] * shape[2] * 2.5 * n_fft * log2(n_fft)  # of real signals, as FFTs are counted
    moved = batch * (2.0 * samples + 4 * prod(shape)) + 4.0 * PARAMETER_MOVES * parameters
    for layer in layers(shape):
        is_first = layer.number == 1
        if layer.number in dc:
            flops += convolution_flops(layer, 3 * layer.taps, batch)
            flops += deformable(layer, batch, needs_input_gradient=not is_first).flops
            moved += 5 * 4.0 * batch * layer.positions * 3 * layer.taps
        else:
            flops += convolution_flops(layer, layer.outputs, batch)
        read = 4 * 2 if is_first else size * 2
        moved += batch * read * layer.positions * layer.channels
        moved += batch * size * layer.outputs * (3 * layer.positions + 3 * prod(layer.pooled))
    return Count(flops, moved)
