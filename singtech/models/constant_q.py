"""Waveforms to constant-Q transforms, computed on the device, inside the network.

The bands are geometric: a fixed number to the octave, each with a window as long as a fixed number of its periods
(Brown 1991). Vibrato moves all harmonics of a voice by as many bands. Low bands are slow: vibrato shows in those above
about 500 Hz.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from singtech.errors import InvalidValue
from singtech.models.spectrogram import Spectrogram, require_room, require_whole

HANN_BANDWIDTH = 1.5  # of the window, in bins of its own length


class ConstantQ(Spectrogram):
    """(B, S) waveform to (B, R, bands, S // hop_length + 1) constant-Q transforms, one channel per filter scale.

    It has the magnitudes of `librosa.cqt`, from librosa's filters. It convolves the waveform itself, an octave of bands
    at a time, where librosa resamples it for lower octaves. nnAudio pads all filters to the longest, which takes
    five times as long, and stores them with the weights.

    Args:
        bands: number of bands.
        bands_per_octave: of them in an octave.
        lowest: frequency of the first band in Hz.
        filter_scales: the R lengths of the windows, 1 for those that just separate neighbouring bands.
        hop_length: samples from one frame to the next.
        scale, level, standardise: see `singtech.models.spectrogram.MultiResolutionSpectrogram`.
        sample_rate: in Hz.
    Raises:
        InvalidValue: the bands reach above half the sample rate, or a choice is unknown.
    """

    def __init__(
        self,
        bands: int = 192,
        bands_per_octave: int = 24,
        lowest: float = 65.4064,
        filter_scales: tuple[float, ...] = (1.0, 0.5, 0.25),
        hop_length: int = 512,
        scale: str = "log",
        level: str = "peak",
        standardise: str = "none",
        sample_rate: int = 44100,
    ) -> None:
        super().__init__(hop_length, scale, level, standardise, sample_rate)
        require_whole("bands", bands, "bands")
        require_whole("bands_per_octave", bands_per_octave, "bands")
        if not filter_scales or min(filter_scales) <= 0 or lowest <= 0:
            raise InvalidValue("front_end: expected lowest above 0, and at least one of filter_scales, all above 0.")
        require_room("bands", bands)
        self.bands, self.filter_scales = bands, tuple(filter_scales)
        frequencies = lowest * 2 ** (torch.arange(bands).double() / bands_per_octave)
        self.octaves = range(0, bands, bands_per_octave)
        for channel, filter_scale in enumerate(self.filter_scales):
            for first in self.octaves:
                octave = frequencies[first : first + bands_per_octave]
                filters = _make_filters(octave, 1 / bands_per_octave, filter_scale, sample_rate)
                self.register_buffer(f"filters_{channel}_{first}", filters, persistent=False)

    def shape(self, samples: int) -> tuple[int, int, int]:
        """(R, bands, T) for a clip of `samples` samples.

        Raises:
            InvalidValue: the clip is shorter than half of the longest filter: it cannot be mirrored at its ends.
        """
        longest = max(filters.shape[-1] for filters in self.buffers())
        if samples <= longest - longest // 2:
            raise InvalidValue(
                f"a clip has {samples} samples, too few for filters of {longest}: use longer clips "
                "(data.clip_seconds), a higher front_end.lowest or lower front_end.filter_scales."
            )
        return len(self.filter_scales), self.bands, samples // self.hop_length + 1

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, R, bands, T)."""
        channels = [
            torch.cat([self._convolve(waveform, f"filters_{channel}_{first}") for first in self.octaves], dim=1)
            for channel in range(len(self.filter_scales))
        ]
        return torch.stack(channels, dim=1)

    def _convolve(self, waveform: Tensor, name: str) -> Tensor:
        """(B, S) -> (B, bands of an octave, T) magnitudes."""
        filters = self.get_buffer(name)
        length = filters.shape[-1]
        padded = F.pad(waveform.unsqueeze(1), (length // 2, length - length // 2), mode="reflect")
        # a matrix product, because a convolution on CUDA would round to TF32
        frames = padded[:, 0].unfold(-1, length, self.hop_length)  # (B, T, taps)
        real, imaginary = (filters[:, 0] @ frames.transpose(1, 2)).chunk(2, dim=1)
        return (real.square() + imaginary.square()).sqrt()


def _make_filters(frequencies: Tensor, octaves: float, filter_scale: float, sample_rate: int) -> Tensor:
    """(2N, 1, L) real and then imaginary parts of the filters of N bands, scaled as `librosa.cqt` does.

    Args:
        frequencies: (N,) in Hz.
        octaves: from one band to the next.
    Raises:
        InvalidValue: a filter reaches above half the sample rate.
    """
    import librosa
    import numpy as np

    width = (4**octaves - 1) / (4**octaves + 1)  # of a band, as a share of its frequency
    highest = float(frequencies[-1]) * (1 + HANN_BANDWIDTH / 2 * width / filter_scale)
    if highest > sample_rate / 2:
        raise InvalidValue(
            f"front_end.bands: the highest reaches {highest:.0f} Hz, above half the sample rate of {sample_rate} Hz, "
            "so use fewer."
        )
    require_room("lowest", len(frequencies), filter_scale * sample_rate / (width * float(frequencies[0])))
    filters, lengths = librosa.filters.wavelet(
        freqs=frequencies.numpy(), sr=sample_rate, filter_scale=filter_scale, alpha=width, pad_fft=False
    )
    filters = filters * np.sqrt(lengths)[:, None]
    return torch.from_numpy(np.concatenate([filters.real, filters.imag]).astype(np.float32)).unsqueeze(1)
