"""Rewrites of a trained head, constraints on it, and modules that learn only a part of it.

A rewrite is called with the head, a linear layer, and the (K,) training clips of each technique, and changes the head
in place. If it has `needs_features`, it is also called with the training clips' features and targets. The module that a
head phase `learns` is built from the head; at its end the phase calls `fold`, which writes it into the head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import require, require_choice
from singtech.imbalance.losses import log_prior


class TauNormalized:
    """Divide each technique's weights by their norm to the power tau, and remove the bias (Kang et al. 2020).

    Args:
        tau: 0 changes only the bias, 1 gives the weights of all techniques norm 1.
    Raises:
        InvalidValue: tau is negative.
    """

    def __init__(self, tau: float = 1.0) -> None:
        require(tau >= 0, "tau", tau, "a number from 0 up")
        self.tau = tau

    @torch.no_grad()
    def __call__(self, head: nn.Linear, class_counts: Tensor) -> None:
        """Rewrite (K, D) weights and (K,) biases."""
        head.weight.div_(head.weight.norm(dim=1, keepdim=True).clamp(min=1e-12) ** self.tau)
        if head.bias is not None:
            head.bias.zero_()


class LogitAdjusted:
    """Lower each technique's bias by tau log pi, post-hoc logit adjustment (Menon et al. 2021, Eq. 9).

    Args:
        tau: 0 changes nothing.
    """

    def __init__(self, tau: float = 1.0) -> None:
        self.tau = tau

    @torch.no_grad()
    def __call__(self, head: nn.Linear, class_counts: Tensor) -> None:
        """Rewrite (K,) biases."""
        head.bias.sub_(self.tau * log_prior(class_counts))


class NearestMean:
    """Predict the technique whose mean feature is nearest (NCM, Kang et al. 2020).

    Args:
        distance: `euclidean`, W = 2 mu and b = -|mu|^2; or `cosine`, W = mu / |mu| and b = 0.
    Raises:
        InvalidValue: the distance is unknown.
    """

    needs_features = True

    def __init__(self, distance: str = "euclidean") -> None:
        require_choice("distance", distance, ("euclidean", "cosine"))
        self.distance = distance

    @torch.no_grad()
    def __call__(self, head: nn.Linear, class_counts: Tensor, features: Tensor, targets: Tensor) -> None:
        """Rewrite the head from (N, D) features and (N,) targets of the training clips."""
        sums = torch.zeros_like(head.weight).index_add_(0, targets, features.to(head.weight))
        means = sums / class_counts[:, None].to(head.weight)
        if self.distance == "cosine":
            head.weight.copy_(F.normalize(means))
            head.bias.zero_()
        else:
            head.weight.copy_(2 * means)
            head.bias.copy_(-means.square().sum(dim=1))


class MaxNorm:
    """Limit the norm of each technique's weights after every step (Alshammari et al. 2022).

    The limit is min + threshold * (max - min) over the norms of the head's rows at the phase's start, as in the
    authors' code.

    Args:
        head: the head at the phase's start.
        threshold: between 0 and 1.
    """

    def __init__(self, head: nn.Linear, threshold: float = 0.1) -> None:
        norms = head.weight.detach().norm(dim=1)
        self.limit = float(norms.min() + threshold * (norms.max() - norms.min()))

    @torch.no_grad()
    def __call__(self, head: nn.Linear) -> None:
        """Scale down the (D,) rows of (K, D) weights whose norm is above the limit."""
        norms = head.weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
        head.weight.mul_((self.limit / norms).clamp(max=1))


class LearnableScaling(nn.Module):
    """Learn only one factor per technique, z_c = f_c · (w_c x) (LWS, Kang et al. 2020).

    Args:
        head: its (K, D) weights stay fixed; its bias is not used.
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


class MarginCalibration(nn.Module):
    """Learn a factor and a margin per technique, omega_c z_c + beta_c |w_c| (MARC, Wang et al. 2022, Eq. 7).

    Args:
        head: its (K, D) weights and (K,) biases stay fixed.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", head.weight.detach().clone(), persistent=False)
        self.register_buffer("bias", head.bias.detach().clone(), persistent=False)
        self.omega = nn.Parameter(torch.ones_like(self.bias))
        self.beta = nn.Parameter(torch.zeros_like(self.bias))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits."""
        return self.omega * F.linear(features, self.weight, self.bias) + self.beta * self.weight.norm(dim=1)

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Write factors and margins into the head."""
        head.weight.copy_(self.omega[:, None] * self.weight)
        head.bias.copy_(self.omega * self.bias + self.beta * self.weight.norm(dim=1))
