"""The interface of each kind of component. A user's own class needs nothing else, and no base class.

A component is built with its own settings, and with those arguments named here that are in its signature.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Loss(Protocol):
    """Built with `class_counts`, (K,) training clips of each technique, and `techniques`, their K names."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss.

        It may also have `normalizer(targets)`, see `normalizer`, and `begin_epoch(progress)`, called before each epoch
        with a number that goes from 0 to 1 over the phase.
        """


class Sampler(Protocol):
    """Built with `targets`, the (N,) technique index of each training clip."""

    def __call__(self, generator: torch.Generator, progress: float) -> Tensor | Sequence[int]:
        """N indices of the clips that an epoch trains on, in order; clips may be repeated or left out.

        Args:
            generator: the only source of random numbers, seeded by the run's seed and the epoch.
            progress: goes from 0 to 1 over the phase's epochs.
        """


class Augmentation(Protocol):
    """Built with `sample_rate` in Hz. It is used while the network is trained, not on a head's stored features.

    Attributes:
        acts_on: optional; `spectrograms` to change the front end's output, instead of `waveforms`.
        margin: optional; the share of a clip that it reads of the recording before and after each clip, at most 1. It
            is then called with (B, M + S + M) waveforms, the generators and `singtech.corpus.datamodule.Margins`.
    """

    def __call__(self, clips: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """(B, S) waveforms, or (B, *shape) spectrograms, on any device -> the same shape.

        Clip i draws from `generators[i]` alone. This generator, on the CPU, is seeded by the run's seed, the epoch and
        the clip's place in the epoch, so its numbers depend neither on the batch nor on the devices that share it. An
        argument called `generator` instead is one generator for the batch, seeded by epoch, batch and device.
        """


class Mixture(Protocol):
    """Built with `class_counts`, (K,) training clips of each technique."""

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, …) waveforms or features and (B,) targets -> mixed inputs, and (B, K) shares of the techniques.

        The generator, on the CPU, is the only source of random numbers.
        """


class FrontEnd(Protocol):
    """A module built with `sample_rate` in Hz."""

    def shape(self, samples: int) -> tuple[int, ...]:
        """The shape of its output for one clip of `samples` samples."""

    def __call__(self, waveforms: Tensor) -> Tensor:
        """(B, S) waveforms -> (B, *shape)."""


class Extractor(Protocol):
    """The network between front end and head: a module.

    It is built with `shape`, that of one input, `seconds`, the length of a clip, and `sample_rate` in Hz.

    Attributes:
        out_features: D.
        pretrained: optional; True keeps its weights, otherwise they are drawn by the seed.
        layers: optional; L, if its features are L vectors of layers.
    It may also have `parts()` for Table 1: the (name, module) pairs that it applies one after the other.
    """

    out_features: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, *shape) -> (B, D) features."""


class Head(Protocol):
    """A module built by position with D and K, and with `layers`, the extractor's number of them."""

    def __call__(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits."""


@runtime_checkable
class Learnable(Protocol):
    """A module built with `head`, trained by a head phase in place of the head's own weights."""

    def __call__(self, features: Tensor) -> Tensor:
        """(B, D) features -> (B, K) logits."""

    def fold(self, head: nn.Module) -> None:
        """Write its effect into the head's weights."""


Optimizer = Callable[..., torch.optim.Optimizer]  # called with the parameters; its state is tensors and plain values
# called with `head` and `class_counts`, changes the head in place; if it has `needs_features`, also called with
# (N, D) `features` and (N,) `targets` of the training clips
Rewrite = Callable[..., None]
Constraint = Callable[..., None]  # built with `head`; called with `head` after every step, changes it in place


def normalizer(loss: Loss, targets: Tensor) -> Tensor:
    """() the divisor in a loss's mean over a batch: from its own `normalizer`, or else the number of clips."""
    function = getattr(loss, "normalizer", None)
    return function(targets) if function is not None else torch.tensor(float(len(targets)), device=targets.device)
