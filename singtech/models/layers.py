"""A network layer by layer, as in Table 1: names, channels, output shapes, parameters."""

import copy
from typing import Any, NamedTuple

import torch
from torch import nn

from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network, parameter_count


class Layer(NamedTuple):
    """One line of Table 1.

    Attributes:
        number: from 1.
        layer: its name in Table 1, or one in the same style.
        channels: of its output; its width if it is dense.
        output: shape for one clip, such as 128×10×2.
        deformable: whether Table 1 has a check mark there.
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
    """List a network's layers in order. Their parameters sum to those of the network; the front end has none.

    Args:
        network: is not changed.
        samples: S, samples per clip.
    """
    network, layers = copy.deepcopy(network).eval(), []
    device = next((parameter.device for parameter in network.parameters()), None)
    values = network.front_end(torch.zeros(1, samples, device=device))
    extractor: Any = network.extractor
    parts = extractor.parts() if hasattr(extractor, "parts") else [(type(extractor).__name__, extractor)]
    head = "FC (Softmax)" if type(network.classifier) is nn.Linear else type(network.classifier).__name__
    for number, (name, part) in enumerate([*parts, (head, network.classifier)], 1):
        values = part(values)
        shape = values.shape[1:]
        deformable = any(isinstance(module, DeformableConv2d) for module in part.modules())
        layers.append(Layer(number, name, shape[0], "×".join(map(str, shape)), deformable, parameter_count(part)))
    return layers
