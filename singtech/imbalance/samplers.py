"""Which clips an epoch trains on, and in which order.

A sampler is built with the (N,) targets of the training clips beside its own settings, and called once an epoch with a
random generator. `singtech.training.protocols.Sampler` defines its interface.
"""

import torch
from torch import Tensor


class Natural:
    """Every clip once an epoch, in a new order."""

    def __init__(self, targets: Tensor) -> None:
        self.clips = len(targets)

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips."""
        return torch.randperm(self.clips, generator=generator)


class Balanced:
    """N draws with replacement, all techniques equally likely: the class-aware sampler of Kang et al. (2020)."""

    def __init__(self, targets: Tensor) -> None:
        self.likelihood = 1.0 / torch.bincount(targets).double()[targets]

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips, with repetitions."""
        return torch.multinomial(self.likelihood, len(self.likelihood), replacement=True, generator=generator)


class Power:
    """N draws with replacement, a technique as likely as n_c^q (Mahajan et al. 2018; q = 1/2 in Kang et al. 2020).

    Args:
        targets: (N,) technique index of each training clip.
        q: 1 draws clips alike, 0 techniques alike.
    """

    def __init__(self, targets: Tensor, q: float = 0.5) -> None:
        self.likelihood = torch.bincount(targets).double()[targets] ** (q - 1)

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips, with repetitions."""
        return torch.multinomial(self.likelihood, len(self.likelihood), replacement=True, generator=generator)


class Progressive:
    """N draws with replacement, from natural to balanced: (1 - t) n_c / N + t / K (Kang et al. 2020, Eq. 2).

    t goes over the phase's epochs from 0 to 1.

    Args:
        targets: (N,) technique index of each training clip.
    """

    def __init__(self, targets: Tensor) -> None:
        counts = torch.bincount(targets).double()
        self.natural = torch.full((len(targets),), 1 / len(targets), dtype=torch.double)
        self.balanced = 1 / ((counts > 0).sum() * counts[targets])

    def __call__(self, generator: torch.Generator, progress: float = 0.0) -> Tensor:
        """(N,) indices of the training clips, with repetitions."""
        likelihood = (1 - progress) * self.natural + progress * self.balanced
        return torch.multinomial(likelihood, len(likelihood), replacement=True, generator=generator)
