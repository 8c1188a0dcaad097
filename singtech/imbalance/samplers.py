"""Samplers: they choose the clips of an epoch and their order.

A sampler is built with its settings and the (N,) targets of the training clips. It is called once per epoch with a
random generator. `singtech.training.protocols.Sampler` defines its interface.
"""

import torch
from torch import Tensor


class Natural:
    """Every clip once per epoch, in random order."""

    def __init__(self, targets: Tensor) -> None:
        self.clips = len(targets)

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips."""
        return torch.randperm(self.clips, generator=generator)


class Power:
    """N draws with replacement; techniques are as likely as n_c^q (Mahajan et al. 2018; q = 1/2 in Kang et al. 2020).

    Args:
        targets: (N,) technique index of each training clip.
        q: 1 makes all clips equally likely, 0 all techniques.
    """

    def __init__(self, targets: Tensor, q: float = 0.5) -> None:
        self.likelihood = torch.bincount(targets).double()[targets] ** (q - 1)

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips, with repetitions."""
        return torch.multinomial(self.likelihood, len(self.likelihood), replacement=True, generator=generator)


class Balanced(Power):
    """N draws with replacement, all techniques equally likely: the class-aware sampler of Kang et al. (2020)."""

    def __init__(self, targets: Tensor) -> None:
        super().__init__(targets, q=0.0)


class Progressive:
    """N draws with replacement, a technique with probability (1 - t) n_c / N + t / K (Kang et al. 2020, Eq. 2).

    t goes from 0, natural, to 1, balanced, over the phase's epochs.

    Args:
        targets: (N,) technique index of each training clip.
    """

    def __init__(self, targets: Tensor) -> None:
        counts = torch.bincount(targets).double()
        self.balanced = 1 / ((counts > 0).sum() * counts[targets])

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips, with repetitions."""
        likelihood = (1 - progress) * (1 / len(self.balanced)) + progress * self.balanced
        return torch.multinomial(likelihood, len(likelihood), replacement=True, generator=generator)
