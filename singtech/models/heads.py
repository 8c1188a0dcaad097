"""Heads other than torch's linear layer."""

import torch.nn.functional as F
from torch import Tensor, nn


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
