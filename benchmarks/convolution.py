"""The deformable convolution alone, forward and backward: every backend of the device beside torchvision's."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d as straightforward

from benchmarks.counts import Layer, deformable, layers
from benchmarks.machine import Machine, interleaved
from benchmarks.report import Measurement, Target
from singtech.models.deformable import backends_on, deform_conv2d, paddings

SPREAD = 1.5  # deviation of the offsets, in positions
TARGETS = {("cpu", "float32"): (5, 5, 10, 10), ("cuda", "float32"): (3,) * 4, ("cuda", "bf16"): (5,) * 4}


def measure(machine: Machine) -> Iterator[Measurement]:
    """The four layers' real shapes, all four gradients. The target is the fastest backend's.

    torchvision takes maps as torch lays them out, ours as the network does, channels last. In bf16 (on a GPU) the maps
    are in half precision under autocast, as in a network trained so, and torchvision, which has no bf16, stays in
    float32.
    """
    is_gpu = machine.device.type == "cuda"
    for precision in ("float32", "bf16") if is_gpu else ("float32",):
        for layer, bound in zip(layers(), TARGETS[machine.device.type, precision], strict=True):
            batch = 64 if is_gpu or layer.number > 2 else 4  # of 64 clips the first layers' maps take gigabytes
            yield from of_layer(layer, batch, machine.device, precision, bound)


def of_layer(
    layer: Layer, batch: int, device: torch.device, precision: str, bound: float, rounds: int = 3
) -> Iterator[Measurement]:
    """Each backend at one layer's shape.

    Args:
        bound: how many times torchvision's speed the fastest is to have.
    """
    seconds = interleaved(ways_of(layer, batch, device, precision, backends_on(device)), device, rounds)
    beside = seconds.pop("straightforward")
    count = deformable(layer, batch, 2 if precision == "bf16" else 4)
    for backend, taken in seconds.items():
        target = Target("ratio", bound) if taken == min(seconds.values()) else None
        what = f"layer {layer.number}, {precision}, batch {batch}: {backend}"
        yield Measurement("operator", what, taken, beside, "s", count, precision, target)


def ways_of(
    layer: Layer, batch: int, device: torch.device, precision: str, backends: Sequence[str]
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """Forward and backward at a layer's shape, `straightforward` and by each of the backends but torchvision's."""
    example = inputs(layer, batch, device)
    ways = {"straightforward": both_ways(lambda *given: reference(*given, layer.kernel), example)}
    left, _, top, _ = paddings(layer.kernel, "same")
    features, *others = example
    features = features.to(memory_format=torch.channels_last)
    features = features.bfloat16() if precision == "bf16" else features
    for backend in backends:
        if backend == "torchvision":  # which is what stands beside
            continue

        def ours(*given: Tensor, backend: str = backend) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                return deform_conv2d(*given, (top, left), backend)

        ways[backend] = both_ways(ours, (features, *others))
    return ways


def inputs(layer: Layer, batch: int, device: torch.device) -> tuple[Tensor, ...]:
    """Features, offsets, mask and weights of a layer, each of which wants its gradient."""
    draw = torch.Generator().manual_seed(0)
    taps = layer.taps
    features = torch.randn(batch, layer.channels, *layer.grid, generator=draw)
    offset = SPREAD * torch.randn(batch, 2 * taps, *layer.grid, generator=draw)
    mask = 2 * torch.sigmoid(torch.randn(batch, taps, *layer.grid, generator=draw))
    weight = 0.1 * torch.randn(layer.outputs, layer.channels, *layer.kernel, generator=draw)
    return tuple(part.to(device).requires_grad_() for part in (features, offset, mask, weight))


def reference(features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, kernel: tuple[int, int]) -> Tensor:
    """torchvision's, its zeros put around the map beforehand."""
    return straightforward(F.pad(features, paddings(kernel, "same")), offset, weight, mask=mask)


def both_ways(operation: Callable[..., Tensor], example: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Forward, and backward to all of the example, as one call; gives the gradients."""
    leaves = [part.detach().requires_grad_() for part in example]
    gradient: list[Tensor] = []  # made by the first call, so that an operation that fails does so there

    def call() -> tuple[Tensor, ...]:
        output = operation(*leaves)
        if not gradient:
            gradient.append(torch.ones_like(output))
        return torch.autograd.grad(output, leaves, gradient)

    return call
