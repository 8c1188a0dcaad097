"""From the maps of the last convolution to one vector a clip.

A mean over the frames (Section 3.1, footnote 1) cannot tell a steady voice from one that is modulated around the same
mean. `statistics` adds how much each channel varies, `modulation` how fast.
"""

import torch
from torch import Tensor, nn

from singtech.errors import InvalidValue, require_choice

BANDS = ((2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 16.0))  # Hz; vibrato and trill modulate at 4 to 8 Hz
SMALLEST = 1e-6  # variance under the root, whose gradient is infinite at 0


def aggregate(name: str, shape: tuple[int, int, int], seconds: float) -> tuple[nn.Sequential, int]:
    """Build an aggregation, and count its outputs.

    Args:
        name: `average`, `flatten`, `statistics` or `modulation`.
        shape: (C, F, T) of the maps of one clip.
        seconds: length of a clip.
    Raises:
        InvalidValue: there is no such aggregation, or there are too few frames for the modulation.
    """
    require_choice("model.aggregation", name, ("average", "flatten", "statistics", "modulation"))
    channels, bins, frames = shape
    if name == "average":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels
    if name == "flatten":
        return nn.Sequential(nn.Flatten()), channels * bins * frames
    if name == "statistics":
        return nn.Sequential(Statistics()), 2 * channels
    return nn.Sequential(Modulation(frames, seconds)), (1 + len(BANDS)) * channels


class Statistics(nn.Module):
    """Mean and standard deviation over the frames of each channel's mean over the bins."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, 2·C), means first."""
        envelopes = maps.mean(dim=2)
        mean = envelopes.mean(dim=2)
        variance = (envelopes - mean.unsqueeze(2)).square().mean(dim=2)
        return torch.cat([mean, (variance + SMALLEST).sqrt()], dim=1)


class Modulation(nn.Module):
    """Mean over the frames of each channel's mean over the bins, and the size of its modulation in `BANDS`.

    The size is the root of the power in a band of a Hann-windowed Fourier transform. A sinusoid of amplitude a
    within a band has the size a/√2, its root mean square, whatever its frequency and phase.

    Args:
        frames: T.
        seconds: length of a clip; with T it gives the frame rate.
    Raises:
        InvalidValue: the frames are too few for the highest band.
    """

    waves: Tensor
    membership: Tensor

    def __init__(self, frames: int, seconds: float) -> None:
        super().__init__()
        highest = BANDS[-1][1]
        if frames / seconds < 2 * highest:
            raise InvalidValue(
                f"model.aggregation=modulation: the last maps have {frames / seconds:.1f} frames a second, expected "
                f"{2 * highest:g} or more for {highest:g} Hz: use model.pooling=bins or a shorter front_end.hop_length."
            )
        window = torch.hann_window(frames, periodic=True, dtype=torch.float64)
        spectra = torch.fft.rfft(torch.eye(frames, dtype=torch.float64) * window)  # (T, N) of a unit impulse each
        hertz = torch.arange(spectra.shape[1]) / seconds
        # one-sided power of a windowed signal, so that it is that of the signal (Parseval)
        waves = torch.cat([spectra.real, spectra.imag], dim=1) * (2 / (frames * window.square().sum())).sqrt()
        membership = torch.stack([(low <= hertz) & (hertz < high) for low, high in BANDS], dim=1)
        self.register_buffer("waves", waves.float(), persistent=False)
        self.register_buffer("membership", membership.repeat(2, 1).float(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, 5·C), means first, then the channels band by band."""
        envelopes = maps.mean(dim=2)
        mean = envelopes.mean(dim=2, keepdim=True)
        power = ((envelopes - mean) @ self.waves).square() @ self.membership  # (B, C, bands)
        size = (power + SMALLEST).sqrt()
        return torch.cat([mean, size], dim=2).transpose(1, 2).flatten(1)
