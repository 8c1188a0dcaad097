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
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import InvalidValue
from singtech.models.level import normalise_level, require_level

FLOOR = 1e-5  # for `log`: a normalised magnitude, the rounding noise of 16-bit audio
DB_FLOOR = 1e-10  # for `db`, as in torchaudio

SCALES = ("log", "linear", "db")


class MultiResolutionSpectrogram(nn.Module):
    """(B, S) waveform to (B, W, n_fft // 2 + 1, S // hop_length + 1) spectrograms, one channel per window length.

    Args:
        n_fft: length of the transform in samples; shorter windows are padded with zeros.
        win_lengths: the W window lengths in samples (Hann).
        hop_length: samples from one frame to the next.
        scale: `log`, decades above the floor (0 is silence, 5 is a magnitude of 1), `linear` or `db` (see the module).
            The transform is divided by sqrt(n_fft), for `db` by the root of the window's energy.
        level: see `singtech.models.level.normalise_level`.
    Raises:
        InvalidValue: a window is longer than the transform, or the scale or level is unknown.
    """

    windows: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        win_lengths: tuple[int, ...] = (2048, 1024, 512),
        hop_length: int = 512,
        scale: str = "log",
        level: str = "peak",
    ) -> None:
        super().__init__()
        lengths = [("n_fft", n_fft), ("hop_length", hop_length), *(("win_lengths", length) for length in win_lengths)]
        for setting, value in lengths:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidValue(f"front_end.{setting}={value}: expected whole samples from 1 up.")
        if not win_lengths:
            raise InvalidValue("front_end.win_lengths=[]: expected at least one window length in samples.")
        if max(win_lengths) > n_fft:
            raise InvalidValue(f"front_end.win_lengths={list(win_lengths)}: none may be longer than n_fft={n_fft}.")
        if scale not in SCALES:
            raise InvalidValue(f"front_end.scale={scale}: expected {' or '.join(SCALES)}.")
        self.n_fft, self.win_lengths, self.hop_length = n_fft, tuple(win_lengths), hop_length
        self.scale, self.level = scale, require_level(level)
        self.register_buffer("windows", torch.stack([self._window(w) for w in self.win_lengths]), persistent=False)

    def shape(self, samples: int) -> tuple[int, int, int]:
        """(W, F, T) for a clip of `samples` samples."""
        return len(self.win_lengths), self.n_fft // 2 + 1, samples // self.hop_length + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, W, F, T), always in float32: half precision lacks a Fourier transform on some devices.

        Frames are centred on multiples of the hop; the signal is mirrored at its ends.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            waveform, half = normalise_level(waveform.float(), self.level), self.n_fft // 2
            signal = F.pad(waveform.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
            frames = signal.unfold(-1, self.n_fft, self.hop_length)  # (B, T, n_fft), the same for all windows
            magnitudes = torch.fft.rfft(frames.unsqueeze(2) * self.windows).abs()  # (B, T, W, F)
            channels_last = magnitudes.permute(0, 3, 1, 2).contiguous()  # the network's memory layout
            spectrogram = channels_last.permute(0, 3, 1, 2)
            if self.scale == "log":
                return torch.log10(spectrogram.clamp(min=FLOOR) / FLOOR)
            return 10 * torch.log10(spectrogram.clamp(min=DB_FLOOR)) if self.scale == "db" else spectrogram

    def _window(self, win_length: int) -> Tensor:
        """(n_fft,) Hann window in the middle of the frame, divided by the root of n_fft, or for `db` of its energy."""
        window = torch.hann_window(win_length)
        norm = window.square().sum().sqrt() if self.scale == "db" else self.n_fft**0.5
        left = (self.n_fft - win_length) // 2
        return F.pad(window / norm, (left, self.n_fft - win_length - left))
