"""Waveforms to multi-resolution spectrograms (Section 4.2), computed on the device, inside the network.

Three short-time Fourier transforms of one clip, alike but for the window's length, are stacked as channels. Choices
that the paper leaves open: the transform is normalised by sqrt(n_fft) and the magnitude taken in logarithm, as in the
authors' published code; a clip's mean is removed and its peak set to 1, as there, since VocalSet's recordings were not
made at one level. The logarithm counts from its floor, so that silence is 0: what a convolution's padding, and a
deformable kernel that looks outside the map, then see is silence.
"""

import torch
from torch import Tensor, nn

# Magnitude below which nothing is told apart, after the normalisation: the rounding noise of 16 bit audio.
FLOOR = 1e-5

LEVELS = ("peak", "rms", "none")
SCALES = ("log", "linear")


class MultiResolutionSpectrogram(nn.Module):
    """(B, S) waveform to (B, W, n_fft // 2 + 1, S // hop_length + 1) spectrograms, one channel a window length.

    Args:
        n_fft: length of the transform in samples; shorter windows are padded with zeros.
        win_lengths: the W window lengths in samples (Hann).
        hop_length: samples from one frame to the next.
        scale: `log`, decades above the floor (0 is silence, 5 is a magnitude of 1), or `linear` magnitude.
        level: `peak`, `rms` or `none`: what is set to 1 in each clip after its mean is removed (`none` leaves it all).
    Raises:
        ValueError: a window longer than the transform, or an unknown scale or level.
    """

    def __init__(
        self,
        n_fft: int = 2048,
        win_lengths: tuple[int, ...] = (2048, 1024, 512),
        hop_length: int = 512,
        scale: str = "log",
        level: str = "peak",
    ) -> None:
        super().__init__()
        for setting, value in (
            ("n_fft", n_fft),
            ("hop_length", hop_length),
            *(("win_lengths", w) for w in win_lengths),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"front_end.{setting}={value}: expected whole samples from 1 up.")
        if not win_lengths:
            raise ValueError("front_end.win_lengths=[]: expected at least one window length in samples.")
        if max(win_lengths) > n_fft:
            raise ValueError(f"front_end.win_lengths={list(win_lengths)}: none may be longer than n_fft={n_fft}.")
        if scale not in SCALES:
            raise ValueError(f"front_end.scale={scale}: expected {' or '.join(SCALES)}.")
        if level not in LEVELS:
            raise ValueError(f"front_end.level={level}: expected one of {', '.join(LEVELS)}.")
        self.n_fft, self.win_lengths, self.hop_length = n_fft, tuple(win_lengths), hop_length
        self.scale, self.level = scale, level
        for win_length in self.win_lengths:
            self.register_buffer(f"window_{win_length}", torch.hann_window(win_length), persistent=False)

    def shape(self, samples: int) -> tuple[int, int, int]:
        """(W, F, T) of a clip of `samples` samples."""
        return len(self.win_lengths), self.n_fft // 2 + 1, samples // self.hop_length + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, W, F, T), always in float32: half precision has no Fourier transform everywhere."""
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = self._levelled(waveform.float())
            magnitudes = [self._magnitude(waveform, getattr(self, f"window_{w}")) for w in self.win_lengths]
            spectrogram = torch.stack(magnitudes, dim=-1).permute(0, 3, 1, 2)  # channels last, as the network wants it
            return torch.log10(spectrogram.clamp(min=FLOOR) / FLOOR) if self.scale == "log" else spectrogram

    def _magnitude(self, waveform: Tensor, window: Tensor) -> Tensor:
        """(B, S) -> (B, F, T), frames centred on multiples of the hop, the signal mirrored at its ends."""
        return torch.stft(
            waveform,
            self.n_fft,
            self.hop_length,
            len(window),
            window,
            center=True,
            normalized=True,
            return_complex=True,
        ).abs()

    def _levelled(self, waveform: Tensor) -> Tensor:
        """Without its mean and at a common level; a silent clip stays silent."""
        if self.level == "none":
            return waveform
        waveform = waveform - waveform.mean(dim=1, keepdim=True)
        if self.level == "peak":
            size = waveform.abs().amax(dim=1, keepdim=True)
        else:
            size = waveform.square().mean(dim=1, keepdim=True).sqrt()
        return waveform / size.clamp(min=FLOOR)
