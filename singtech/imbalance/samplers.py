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
