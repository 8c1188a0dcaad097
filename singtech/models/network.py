"""The whole network: front end, extractor and classifier, and its initial weights, drawn layer by layer."""

import torch
from torch import Tensor, nn

from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.streams import stream_seed


class Network(nn.Module):
    """(B, S) waveform to (B, K) logits, cut where Section 3.3 cuts it: before the last fully connected layer.

    Args:
        front_end: (B, S) -> (B, C, F, T).
        extractor: (B, C, F, T) -> (B, D).
        classifier: (B, D) -> (B, K).
    """

    def __init__(self, front_end: nn.Module, extractor: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.front_end, self.extractor, self.classifier = front_end, extractor, classifier

    def features(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, D): what the classifier is re-trained on (Section 3.3)."""
        return self.extractor(self.front_end(waveform))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, K) logits."""
        return self.classifier(self.features(waveform))


def oblong_network(samples: int, techniques: int, front_end: dict, seed: int, **extractor) -> Network:
    """The oblong CNN of Table 1 behind its multi-resolution spectrograms, with its initial weights.

    Args:
        samples: S, samples a clip.
        techniques: K.
        front_end: arguments of `MultiResolutionSpectrogram`.
        seed: see `initialise`.
        extractor: arguments of `OblongExtractor` but for the input's shape.
    Raises:
        ValueError: as those two say.
    """
    with torch.random.fork_rng(devices=[]):  # what the layers draw when they are made is drawn anew below
        front = MultiResolutionSpectrogram(**front_end)
        body = OblongExtractor(front.shape(samples), **extractor)
        network = Network(front, body, nn.Linear(body.projection.features.out_features, techniques))
    initialise(network, seed)
    return network


def initialise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Draw every layer's initial weights from a stream of its own, made of the seed and the layer's name.

    Two networks that differ in one layer so begin alike in all others, a layer made deformable begins with its plain
    twin's weights, and conditions are paired over seeds. The distributions are torch's own.
    """
    for name, layer in module.named_modules():
        if hasattr(layer, "reset_parameters"):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(stream_seed(seed, f"{prefix}{name}"))
                layer.reset_parameters()


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers, as Section 4.3 counts them."""
    return sum(p.numel() for p in module.parameters())
