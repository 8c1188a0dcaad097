"""Heads other than torch's linear layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import require


class Cosine(nn.Linear):
    """Logits are cosines between features and weights, times a scale (Cao et al. 2019).

    Args:
        features: D.
        techniques: K.
        scale: of the cosines.
    """

    def __init__(self, features: int, techniques: int, scale: float = 30.0) -> None:
        super().__init__(features, techniques, bias=False)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits."""
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


class MLP(nn.Sequential):
    """One hidden layer, as MARBLE's probe has it (Yuan et al. 2023).

    Args:
        features: D.
        techniques: K.
        hidden: its width.
        dropout: probability to drop one of its units.
    """

    def __init__(self, features: int, techniques: int, hidden: int = 512, dropout: float = 0.0) -> None:
        require(hidden > 0, "head.hidden", hidden, "a whole number from 1 up")
        super().__init__(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, techniques))


class LayerMixture(nn.Module):
    """One vector from the layers of an encoder by learned weights that sum to 1, then a linear layer (SUPERB, 2021).

    Args:
        features: L · D, layer after layer.
        techniques: K.
        layers: L, of the network before the head; one layer gives a linear head.
    """

    def __init__(self, features: int, techniques: int, layers: int = 1) -> None:
        super().__init__()
        self.layers = layers
        self.mixture = nn.Parameter(torch.zeros(layers))
        self.linear = nn.Linear(features // layers, techniques)

    def reset_parameters(self) -> None:
        """Weigh all layers alike."""
        nn.init.zeros_(self.mixture)

    def forward(self, features: Tensor) -> Tensor:
        """(B, L · D) features -> (B, K) logits."""
        vectors = features.unflatten(1, (self.layers, -1))  # (B, L, D)
        return self.linear(self.mixture.softmax(dim=0) @ vectors)
