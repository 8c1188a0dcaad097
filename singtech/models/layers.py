"""A network layer by layer, as Table 1 shows it: names, channels, what comes out, parameters."""

from typing import NamedTuple

import torch
from torch import nn

from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network, parameter_count


class Layer(NamedTuple):
    """One line of Table 1.

    Attributes:
        number: from 1.
        layer: its name in Table 1, or in the manner of it.
        channels: of its output, or its width.
        output: shape for one clip, such as 128×10×2.
        deformable: whether it bears a check mark.
        parameters: trainable numbers, batch norm's and the offsets' included.
    """

    number: int
    layer: str
    channels: int
    output: str
    deformable: bool
    parameters: int


@torch.no_grad()
def describe(network: Network, samples: int) -> list[Layer]:
    """Every layer of a network, in order; their parameters add up to the network's, whose front end has none.

    Args:
        network: it is left in the mode it was in.
        samples: S, samples a clip.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    layers = []
    try:
        values = torch.zeros(1, samples, device=next((p.device for p in network.parameters()), None))
        values = network.front_end(values)
        head = "FC (Softmax)" if type(network.classifier) is nn.Linear else type(network.classifier).__name__
        for number, (name, part) in enumerate([*_parts(network.extractor), (head, network.classifier)], 1):
            values = part(values)
            shape = values.shape[1:]
            deformable = any(isinstance(module, DeformableConv2d) for module in part.modules())
            layers.append(Layer(number, name, shape[0], "×".join(map(str, shape)), deformable, parameter_count(part)))
    finally:
        for module, training in modes.items():
            module.training = training
    return layers


def _parts(extractor: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts that an extractor names; one that names none is a single part under its class's name."""
    return extractor.parts() if hasattr(extractor, "parts") else [(type(extractor).__name__, extractor)]
