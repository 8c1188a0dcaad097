"""Mixtures of two clips and their techniques.

A mixture is built with its settings and `class_counts`. In a phase of the network it mixes waveforms, in a head phase
features. The loss must accept (B, K) shares of the techniques as targets, like the weighted cross-entropy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from singtech.errors import require


class Mixup:
    """Mix each clip with another of its batch, lambda x_i + (1 - lambda) x_j, and their techniques (Zhang et al. 2018).

    Lambda is drawn once per batch from Beta(alpha, alpha).

    Args:
        class_counts: (K,) training clips per technique.
        alpha: above 0; 1 draws lambda uniformly.
    Raises:
        InvalidValue: alpha is not above 0.
    """

    def __init__(self, class_counts: Tensor, alpha: float = 1.0) -> None:
        require(alpha > 0, "mix.alpha", alpha, "a number above 0")
        self.class_counts, self.alpha = class_counts, alpha

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, …) inputs and (B,) targets -> mixed inputs, and (B, K) shares of the techniques."""
        others = torch.randperm(len(targets), generator=generator).to(targets.device)
        alphas = torch.full((2,), self.alpha, dtype=torch.double)
        gammas = torch._standard_gamma(alphas, generator=generator)
        share = float(gammas[0] / gammas.sum())
        label_share = self.label_share(share, targets, targets[others])[:, None]
        one_hot = F.one_hot(targets, len(self.class_counts)).float()
        mixed = share * inputs + (1 - share) * inputs[others]
        return mixed, label_share * one_hot + (1 - label_share) * one_hot[others]

    def label_share(self, share: float, targets: Tensor, others: Tensor) -> Tensor:
        """(B,) share of each clip's own technique."""
        return torch.full(targets.shape, share, device=targets.device)


class Remix(Mixup):
    """Mixup that gives the rarer technique the whole label (Chou et al. 2020, Eq. 3).

    A clip's own technique gets none of the label if it has at least kappa times the clips of the other technique and a
    share of the mixture below tau. In the opposite case it gets the whole label.

    Args:
        class_counts: (K,) training clips per technique.
        alpha: see `Mixup`.
        kappa: at least 1.
        tau: between 0 and 1.
    """

    def __init__(self, class_counts: Tensor, alpha: float = 1.0, kappa: float = 3.0, tau: float = 0.5) -> None:
        super().__init__(class_counts, alpha)
        self.kappa, self.tau = kappa, tau

    def label_share(self, share: float, targets: Tensor, others: Tensor) -> Tensor:
        """(B,) share of each clip's own technique."""
        counts = self.class_counts.to(targets.device).float()
        ratio = counts[targets] / counts[others]
        label_share = super().label_share(share, targets, others)
        if share < self.tau:
            label_share = label_share.masked_fill(ratio >= self.kappa, 0.0)
        if 1 - share < self.tau:
            label_share = label_share.masked_fill(ratio <= 1 / self.kappa, 1.0)
        return label_share
