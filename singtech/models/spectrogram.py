"""Waveforms to multi-resolution spectrograms (Section 4.2), computed on the device, inside the network.

The channels are three short-time Fourier transforms of one clip with different window lengths. The level of the clip is
normalised before (`singtech.models.level`). The paper does not say how to scale magnitudes:

- `log`, the default: decades above a floor, from 0 to about 6. The ear hears loudness on such a scale, and the authors'
  published code uses a logarithm too. Silence is 0, like the padding of a convolution and the values that a deformable
  kernel samples outside the map.
- `db`: as in the published code, 10·log10 of the magnitude (torchaudio's decibels of a power, applied to a magnitude).
  Each window's transform is divided by the root of the window's energy. Silence is -100 and a magnitude of 1 is 0, so
  that a padding of zeros is a loud sound.
- `linear`: the magnitude.
- `pcen`: per-channel energy normalisation (Wang et al. 2017), the root of the magnitude over its recent mean. Slow
  changes of level and steady noise go, modulations faster than 0.4 Hz stay. Silence is 0.

The frequency axis is that of the transform (the paper's), or a mel axis: bands of equal width up to 1 kHz, where the
harmonics of a voice are apart, and logarithmic above, where vibrato moves all of them by as many bands.
"""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import InvalidValue, require, require_choice
from singtech.models.level import LEVELS, normalise_level

FLOOR = 1e-5  # for `log`, `pcen` and `standardise`: a normalised magnitude, the rounding noise of 16-bit audio
DB_FLOOR = 1e-10  # for `db`, as in torchaudio
GAIN, BIAS, POWER, SECONDS = 0.98, 2.0, 0.5, 0.4  # for `pcen`: the defaults of librosa, three of them Wang et al.'s

SCALES = ("log", "linear", "db", "pcen")
MAX_NUMBERS = 1 << 26  # in a table of windows or filters


def require_whole(setting: str, value: object, unit: str) -> None:
    """Check a count of a front end.

    Raises:
        InvalidValue: it is not a whole number from 1 up.
    """
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(is_count, f"front_end.{setting}", value, f"whole {unit} from 1 up")


def require_room(setting: str, *sizes: float) -> None:
    """Check the size of a table of a front end, before it fills the memory.

    Raises:
        InvalidValue: it has more than `MAX_NUMBERS` numbers.
    """
    if math.prod(sizes) > MAX_NUMBERS:
        raise InvalidValue(
            f"front_end.{setting}: more than {MAX_NUMBERS:,} numbers in a table, so use fewer or shorter."
        )


def scale_magnitudes(magnitudes: Tensor, scale: str, frame_rate: float) -> Tensor:
    """(…, T) magnitudes on one of `SCALES`.

    Args:
        frame_rate: frames a second.
    """
    if scale == "log":
        return torch.log10(magnitudes.clamp(min=FLOOR) / FLOOR)
    if scale == "db":
        return 10 * torch.log10(magnitudes.clamp(min=DB_FLOOR))
    return normalise_energy(magnitudes, frame_rate) if scale == "pcen" else magnitudes


def normalise_energy(magnitudes: Tensor, frame_rate: float) -> Tensor:
    """(…, T) magnitudes with per-channel energy normalisation, as `librosa.pcen` with the constants of this module.

    The mean M follows the magnitude S by M[t] = (1 - s)·M[t-1] + s·S[t] and starts at the first frame. As it is linear
    in S, it is one product with a (T, T) matrix.

    Args:
        frame_rate: frames a second, which gives s with the time constant.
    """
    constant = SECONDS * frame_rate  # in frames
    s = ((1 + 4 * constant**2) ** 0.5 - 1) / (2 * constant**2)
    frames = torch.arange(magnitudes.shape[-1], device=magnitudes.device)
    ages = frames - frames[:, None]  # (T, T): from a frame of S, in rows, to a frame of M
    weights = torch.where(frames == 0, 1.0, s)
    smoother = torch.triu((1 - s) ** ages.clamp(min=0).float()) * weights[:, None]
    mean = magnitudes @ smoother
    return (magnitudes / (mean + FLOOR) ** GAIN + BIAS) ** POWER - BIAS**POWER


def standardise_bands(spectrogram: Tensor) -> Tensor:
    """(…, T) spectrograms with mean 0 and deviation 1 over the frames of each band; a constant band is 0.

    On a logarithmic scale this removes what a recording's equalisation and noise floor add to a band. It is cepstral
    mean and variance normalisation (Viikki and Laurila 1998), known for spectrograms as frequency-wise instance
    normalisation (Kim et al. 2022). The deviation is at least `FLOOR`.
    """
    relative = spectrogram - spectrogram[..., :1]  # so that a constant band is exactly 0
    centred = relative - relative.mean(dim=-1, keepdim=True)
    return centred / centred.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=FLOOR)


class Spectrogram(nn.Module):
    """(B, S) waveform to (B, C, F, T), always in float32: half precision lacks a Fourier transform on some devices.

    Args: see `MultiResolutionSpectrogram`.
    """

    def __init__(self, hop_length: int, scale: str, level: str, standardise: str, sample_rate: int) -> None:
        super().__init__()
        require_whole("hop_length", hop_length, "samples")
        require_choice("front_end.scale", scale, SCALES)
        require_choice("front_end.level", level, LEVELS)
        require_choice("front_end.standardise", standardise, ("none", "bands"))
        self.hop_length, self.sample_rate = hop_length, sample_rate
        self.scale, self.level, self.standardise = scale, level, standardise

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, C, F, T)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, C, F, T). Frames are centred on multiples of the hop; the signal is mirrored at its ends."""
        with torch.autocast(waveform.device.type, enabled=False):
            magnitudes = self.magnitudes(normalise_level(waveform.float(), self.level))
            scaled = scale_magnitudes(magnitudes, self.scale, self.sample_rate / self.hop_length)
            return standardise_bands(scaled) if self.standardise == "bands" else scaled


class MultiResolutionSpectrogram(Spectrogram):
    """(B, S) waveform to (B, W, F, S // hop_length + 1) spectrograms, one channel per window length.

    F is n_fft // 2 + 1, or the number of mel bands.

    Args:
        n_fft: length of the transform in samples; shorter windows are padded with zeros.
        win_lengths: the W window lengths in samples (Hann).
        hop_length: samples from one frame to the next.
        scale: `log`, decades above the floor (0 is silence, 5 is a magnitude of 1), `linear`, `db` or `pcen` (see the
            module). The transform is divided by sqrt(n_fft), for `db` by the root of the window's energy.
        level: see `singtech.models.level.normalise_level`.
        axis: `linear`, the bins of the transform, or `mel`.
        bands: of the mel axis, or None for the linear axis.
        standardise: `none`, or `bands`: each band of a clip to mean 0 and deviation 1 (`standardise_bands`).
        sample_rate: in Hz, for the mel axis and the time constant of `pcen`.
    Raises:
        InvalidValue: a window is longer than the transform, a mel band has no bin, or a choice is unknown.
    """

    windows: Tensor
    mel: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        win_lengths: tuple[int, ...] = (2048, 1024, 512),
        hop_length: int = 512,
        scale: str = "log",
        level: str = "peak",
        axis: str = "linear",
        bands: int | None = None,
        standardise: str = "none",
        sample_rate: int = 44100,
    ) -> None:
        super().__init__(hop_length, scale, level, standardise, sample_rate)
        for setting, value in [("n_fft", n_fft), *(("win_lengths", length) for length in win_lengths)]:
            require_whole(setting, value, "samples")
        require(len(win_lengths) > 0, "front_end.win_lengths", "[]", "at least one window length in samples")
        if max(win_lengths) > n_fft:
            raise InvalidValue(f"front_end.win_lengths={list(win_lengths)}: none may be longer than n_fft={n_fft}.")
        require_choice("front_end.axis", axis, ("linear", "mel"))
        if axis == "mel":
            require_whole("bands", bands, "mel bands")
        elif bands is not None:
            raise InvalidValue(f"front_end.bands={bands}: only a mel axis has bands, so add front_end.axis=mel.")
        require_room("n_fft", len(win_lengths) + (bands or 0), n_fft)
        self.n_fft, self.win_lengths, self.axis, self.bands = n_fft, tuple(win_lengths), axis, bands
        self.register_buffer("windows", torch.stack([self._window(w) for w in self.win_lengths]), persistent=False)
        if bands is not None:
            self.register_buffer("mel", self._mel_filters(bands), persistent=False)

    def shape(self, samples: int) -> tuple[int, int, int]:
        """(W, F, T) for a clip of `samples` samples."""
        return len(self.win_lengths), self.bands or self.n_fft // 2 + 1, samples // self.hop_length + 1

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, W, F, T)."""
        half = self.n_fft // 2
        signal = F.pad(waveform.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        frames = signal.unfold(-1, self.n_fft, self.hop_length)  # (B, T, n_fft), the same for all windows
        magnitudes = torch.fft.rfft(frames.unsqueeze(2) * self.windows).abs()  # (B, T, W, F)
        if self.bands is not None:
            magnitudes = magnitudes @ self.mel
        return magnitudes.permute(0, 3, 1, 2).contiguous().permute(0, 3, 1, 2)  # the network's memory layout

    def _window(self, win_length: int) -> Tensor:
        """(n_fft,) Hann window in the middle of the frame, divided by the root of n_fft, or for `db` of its energy."""
        window = torch.hann_window(win_length)
        norm = window.square().sum().sqrt() if self.scale == "db" else self.n_fft**0.5
        left = (self.n_fft - win_length) // 2
        return F.pad(window / norm, (left, self.n_fft - win_length - left))

    def _mel_filters(self, bands: int) -> Tensor:
        """(n_fft // 2 + 1, bands) triangles on Slaney's mel scale, from 0 to half the sample rate.

        Slaney's scale is librosa's default. HTK's has narrower low bands, some of them without a bin of the transform.
        The weights of a band sum to 1, so that it is a mean of magnitudes, and the floor means what it does on the
        linear axis.

        Raises:
            InvalidValue: a band is so narrow that it has no bin.
        """
        import librosa

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty bands, which are errors here
            filters = librosa.filters.mel(sr=self.sample_rate, n_fft=self.n_fft, n_mels=bands, norm=1)
        empty = int((filters.max(axis=1) == 0).sum())
        if empty:
            raise InvalidValue(
                f"front_end.bands={bands}: {empty} of the bands are narrower than a bin at {self.sample_rate} Hz, "
                f"so use fewer or a longer transform (front_end.n_fft={2 * self.n_fft})."
            )
        return torch.from_numpy(filters.T.copy())
