"""Changes of test clips that ask what a network hears: each removes something and leaves the technique.

They have the interface of augmentations, so an augmentation can be one too, unless it reads beyond the clip. Clip i
draws from a generator that depends on its place among the test clips alone, so all networks hear the same clips.
"""

import io

import soundfile
import torch
from torch import Tensor

from singtech.errors import InvalidValue, require
from singtech.training.augmentation import Generators, require_spectrograms

SLOPE = 0.05  # of the low-pass, as a share of its cutoff: a sharper edge would ring


class LowPass:
    """Remove frequencies above a cutoff, with a raised-cosine edge below it.

    Args:
        sample_rate: in Hz.
        cutoff: in Hz, above 0 and below half the sample rate; None for 8 kHz, or a quarter of the rate if that is less.
    Raises:
        InvalidValue: the cutoff is out of range, so that nothing would change.
    """

    def __init__(self, sample_rate: int, cutoff: float | None = None) -> None:
        cutoff = min(8000.0, sample_rate / 4) if cutoff is None else cutoff
        is_inside = 0 < cutoff < sample_rate / 2
        require(is_inside, "corruption.cutoff", f"{cutoff:g}", f"Hz above 0, below {sample_rate / 2:g}, half the rate")
        self.sample_rate, self.cutoff = sample_rate, cutoff

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        hertz = torch.fft.rfftfreq(waveforms.shape[1], 1 / self.sample_rate, device=waveforms.device)
        share = ((self.cutoff - hertz) / (SLOPE * self.cutoff)).clamp(0, 1)
        gain = (1 - torch.cos(torch.pi * share)) / 2
        return torch.fft.irfft(torch.fft.rfft(waveforms) * gain, n=waveforms.shape[1])


class Gain:
    """Make clips louder or softer. A front end that normalises the level does not hear it.

    Args:
        decibels: of the gain.
    """

    def __init__(self, decibels: float = -20.0) -> None:
        self.decibels = decibels

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        return waveforms * 10 ** (self.decibels / 20)


class Codec:
    """Encode and decode each clip as an MP3 (or another format of libsndfile), which removes what is masked.

    Args:
        sample_rate: in Hz.
        format: of libsndfile: MP3, or OGG for Vorbis.
        compression: from 0, the best quality, to 1.
    Raises:
        InvalidValue: libsndfile has no such format, or not at this rate.
    """

    def __init__(self, sample_rate: int, format: str = "MP3", compression: float = 0.8) -> None:
        require(0 <= compression <= 1, "corruption.compression", compression, "a number from 0 to 1")
        self.sample_rate, self.format, self.compression = sample_rate, format, compression
        try:
            self._transcode(torch.zeros(sample_rate))
        except (soundfile.LibsndfileError, ValueError, TypeError) as problem:
            raise InvalidValue(
                f"corruption.format={format}: libsndfile cannot write it at this rate ({problem})."
            ) from None

    def __call__(self, waveforms: Tensor, generators: Generators) -> Tensor:
        """(B, S) waveforms -> (B, S)."""
        return torch.stack([self._transcode(waveform.cpu()) for waveform in waveforms]).to(waveforms)

    def _transcode(self, waveform: Tensor) -> Tensor:
        file = io.BytesIO()
        options = {"format": self.format, "compression_level": self.compression}
        soundfile.write(file, waveform.clamp(-1, 1).numpy(), self.sample_rate, **options)
        file.seek(0)
        decoded = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[: len(waveform)]
        return torch.nn.functional.pad(decoded, (0, len(waveform) - len(decoded)))


class Reversed:
    """Play the frames of each spectrogram backwards: what is left is what does not depend on the order of time."""

    acts_on = "spectrograms"

    def __call__(self, spectrograms: Tensor, generators: Generators) -> Tensor:
        """(B, C, F, T) -> (B, C, F, T)."""
        require_spectrograms(self, spectrograms)
        return spectrograms.flip(-1)


class Shuffled:
    """Put the frames of each spectrogram into a random order: no modulation is left."""

    acts_on = "spectrograms"

    def __call__(self, spectrograms: Tensor, generators: Generators) -> Tensor:
        """(B, C, F, T) -> (B, C, F, T)."""
        require_spectrograms(self, spectrograms)
        orders = [torch.randperm(spectrograms.shape[-1], generator=generator) for generator in generators]
        return torch.stack([clip[..., order.to(clip.device)] for clip, order in zip(spectrograms, orders, strict=True)])
