"""Augmentations of training waveforms that do not change the technique."""

import torch
from torch import Tensor

from singtech.errors import InvalidValue


class WhiteNoise:
    """Add white noise at a random signal-to-noise ratio per clip.

    Args:
        snr_low, snr_high: in dB; the ratio is uniform between them.
    Raises:
        InvalidValue: the lower is above the higher.
    """

    def __init__(self, snr_low: float = 20.0, snr_high: float = 60.0) -> None:
        if not snr_low <= snr_high:
            raise InvalidValue(f"augment.snr_low={snr_low}: expected at most augment.snr_high={snr_high}.")
        self.snr_low, self.snr_high = snr_low, snr_high

    def __call__(self, waveforms: Tensor, generator: torch.Generator) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        share = torch.rand(len(waveforms), 1, generator=generator)
        snr = self.snr_low + share * (self.snr_high - self.snr_low)
        noise = torch.randn(waveforms.shape, generator=generator).to(waveforms)
        power = waveforms.square().mean(dim=1, keepdim=True)
        return waveforms + noise * (power * (10 ** (-snr / 10)).to(waveforms)).sqrt()
