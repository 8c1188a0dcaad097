"""Rewrites of a trained head, and modules that learn only a part of it.

A rewrite is called with the head, a linear layer, and the (K,) training clips of each technique, and changes the head
in place. The module that a head phase `learns` is built from the head; the phase folds it into the head at its end.
"""

import torch
from torch import Tensor, nn

from singtech.errors import InvalidValue


class TauNormalized:
    """Divide each technique's weights by their norm to the power tau, and remove the bias (Kang et al. 2020).

    Args:
        tau: 0 changes the bias alone, 1 gives all techniques weights of norm 1.
    Raises:
        InvalidValue: tau is negative.
    """

    def __init__(self, tau: float = 1.0) -> None:
        if not tau >= 0:
            raise InvalidValue(f"tau={tau}: expected a number from 0 up.")
        self.tau = tau

    @torch.no_grad()
    def __call__(self, head: nn.Linear, class_counts: Tensor) -> None:
        """Rewrite (K, D) weights and (K,) biases."""
        head.weight.div_(head.weight.norm(dim=1, keepdim=True).clamp(min=1e-12) ** self.tau)
        if head.bias is not None:
            head.bias.zero_()


class LearnableScaling(nn.Module):
    """Learn only one factor per technique, z_c = f_c · (w_c x) (LWS, Kang et al. 2020).

    Args:
        head: gives the (K, D) weights, which stay as they are; its bias is dropped.
    """

    weight: Tensor

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", head.weight.detach().clone(), persistent=False)
        self.scale = nn.Parameter(torch.ones(len(self.weight), dtype=self.weight.dtype))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits."""
        return self.scale * (features @ self.weight.T)

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Write the scaled weights into the head."""
        head.weight.copy_(self.scale[:, None] * self.weight)
        if head.bias is not None:
            head.bias.zero_()
