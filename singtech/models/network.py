"""The whole network: front end, extractor and classifier, and its initial weights, drawn layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from singtech.components import build, list_parameters, unwrap
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.streams import derive_seed


class Network(nn.Module):
    """(B, S) waveform to (B, K) logits. Extractor and classifier are separated as in Section 3.3.

    Args:
        front_end: (B, S) -> (B, C, F, T).
        extractor: (B, C, F, T) -> (B, D).
        classifier: the head, (B, D) -> (B, K).
    """

    def __init__(self, front_end: nn.Module, extractor: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.front_end, self.extractor, self.classifier = front_end, extractor, classifier

    def features(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, D) features, on which the classifier is re-trained (Section 3.3)."""
        return self.extractor(self.front_end(waveform))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, K) logits."""
        return self.classifier(self.features(waveform))


@dataclass(frozen=True)
class Architecture:
    """The three components of a network, see `singtech.training.protocols`."""

    front_end: Callable[..., nn.Module] = MultiResolutionSpectrogram
    extractor: Callable[..., nn.Module] = OblongExtractor
    head: Callable[..., nn.Module] = nn.Linear

    def build(self, samples: int, techniques: int, sample_rate: int, seed: int) -> Network:
        """Build the network with its initial weights.

        Args:
            samples: S, samples per clip.
            techniques: K.
            sample_rate: in Hz.
            seed: of the weights, see `initialise`.
        Raises:
            ValueError: raised by a component.
        """
        with torch.random.fork_rng(devices=[]):  # for layers without `reset_parameters`; `initialise` draws the others
            torch.default_generator.manual_seed(derive_seed(seed, "layers"))
            front_end = build(self.front_end, sample_rate=sample_rate)
            extractor = self.build_extractor(front_end.shape(samples), samples, sample_rate)
            network = Network(front_end, extractor, self.build_head(extractor, techniques))
        if getattr(extractor, "pretrained", False):
            initialise(network.classifier, seed, prefix="classifier")
        else:
            initialise(network, seed)
        return network

    def build_extractor(self, shape: tuple[int, ...], samples: int, sample_rate: int) -> Any:
        """Build the extractor alone, with the arguments that its signature has.

        Args:
            shape: of one input, from the front end.
            samples, sample_rate: see `build`; their quotient is the argument `seconds`.
        """
        return build(self.extractor, shape=shape, seconds=samples / sample_rate, sample_rate=sample_rate)

    def build_head(self, extractor: nn.Module, techniques: int) -> nn.Module:
        """Build the head for an extractor; a head with an argument `layers` gets the number of the extractor's."""
        takes_layers = "layers" in list_parameters(unwrap(self.head)[0])
        layers = {"layers": getattr(extractor, "layers", 1)} if takes_layers else {}
        return self.head(extractor.out_features, techniques, **layers)

    @property
    def is_frozen(self) -> bool:
        """Whether no phase can train the extractor."""
        return bool(getattr(unwrap(self.extractor)[0], "frozen", False))

    @property
    def encoder(self) -> list:
        """Front end and extractor, without the settings that choose among the features of a frozen encoder."""
        target, settings = unwrap(self.extractor)
        selects = getattr(target, "selects", ())
        kept = {name: value for name, value in settings.items() if name not in selects}
        return [self.front_end, partial(target, **kept)]


def oblong_network(samples: int, techniques: int, front_end: dict, seed: int, **extractor) -> Network:
    """Build the oblong CNN of Table 1 from arguments of `MultiResolutionSpectrogram` and `OblongExtractor`."""
    parts = partial(MultiResolutionSpectrogram, **front_end), partial(OblongExtractor, **extractor)
    return Architecture(*parts).build(samples, techniques, 44100, seed)


def initialise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Draw each layer's initial weights from its own random stream, which depends on the seed and the layer's name.

    So two networks that differ in one layer have the same initial weights in all others. A deformable layer starts with
    the weights of the plain layer that it replaces. The distributions are torch's defaults.
    """
    for name, layer in module.named_modules():
        if hasattr(layer, "reset_parameters"):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derive_seed(seed, f"{prefix}{name}"))
                layer.reset_parameters()


@torch.no_grad()
def perturb(module: nn.Module, number: int) -> None:
    """Multiply every weight by 1 + 1e-7 or 1 - 1e-7, like a rounding error, to measure how training amplifies it.

    Args:
        number: seeds the signs, with the weight's name.
    """
    for name, parameter in module.named_parameters():
        generator = torch.Generator().manual_seed(derive_seed(number, f"rounding/{name}"))
        signs = torch.randint(2, parameter.shape, generator=generator).double() * 2 - 1
        parameter.copy_(parameter.double() * (1 + 1e-7 * signs))


def parameter_count(module: nn.Module) -> int:
    """Count the trainable numbers as in Section 4.3."""
    return sum(p.numel() for p in module.parameters())
