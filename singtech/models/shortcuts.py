"""Numbers that tell recordings apart without telling how they are sung: what a network could use instead of the voice.

A head on these numbers is a baseline: what it scores needs no technique to be heard.
"""

import librosa
import numpy as np
import torch
from torch import Tensor, nn

from singtech.errors import require
from singtech.models.encoders import Encoder

SILENCE = 1e-8  # power 80 dB below full scale; less counts as this
BANDS = (0.0, 500.0, 1000.0, 2000.0, 4000.0)  # Hz, the lower edges
QUIETEST = 0.05  # share of frames
PITCH_RANGE = (65.0, 1000.0)  # Hz, from C2 to B5
WIDTHS = {"level": 2, "noise_floor": len(BANDS), "pitch": 2, "length": 1}


class Shortcuts(Encoder):
    """(B, 1, S) waveforms, whose level was not changed, to (B, D) numbers, standardised over the training clips.

    - `level`: peak and root mean square, dB below full scale;
    - `noise_floor`: power of the quietest 5 % of the frames in five bands, dB below the clip's peak;
    - `pitch`: its 10 % and 90 % quantile, in semitones (YIN, de Cheveigné and Kawahara 2002);
    - `length`: seconds before the zeros that pad a short recording.

    Args:
        shape, sample_rate: see `Encoder`.
        numbers: which of these.
    Raises:
        InvalidValue: there is no such number.
    """

    def __init__(self, shape: tuple[int, ...], sample_rate: int, numbers: tuple[str, ...] = tuple(WIDTHS)) -> None:
        is_some = len(numbers) > 0 and {*numbers} <= {*WIDTHS}
        require(is_some, "model.numbers", list(numbers), f"some of {', '.join(WIDTHS)}")
        super().__init__(shape, sample_rate, sample_rate, nn.Identity(), 1, sum(WIDTHS[name] for name in numbers))
        self.numbers, self.sample_rate = tuple(numbers), sample_rate

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, 1, D)."""
        columns = {"level": level, "noise_floor": noise_floor, "pitch": pitch, "length": length}
        return torch.cat([columns[name](waveform, self.sample_rate) for name in self.numbers], dim=1).unsqueeze(1)


def level(waveform: Tensor, sample_rate: int) -> Tensor:
    """(B, S) -> (B, 2) dB of peak and root mean square."""
    powers = torch.stack([waveform.abs().amax(dim=1).square(), waveform.square().mean(dim=1)], dim=1)
    return _decibels(powers)


def noise_floor(waveform: Tensor, sample_rate: int) -> Tensor:
    """(B, S) -> (B, 5) dB below the peak, of the mean power of the quietest frames of 50 ms in each band."""
    size = int(0.05 * sample_rate)
    peak = waveform.abs().amax(dim=1, keepdim=True).clamp(min=SILENCE)
    frames = (waveform / peak).unfold(1, size, size // 2)  # (B, T, size)
    powers = torch.fft.rfft(frames * torch.hann_window(size, device=waveform.device)).abs().square() / size**2
    quiet = max(1, round(QUIETEST * frames.shape[1]))
    order = powers.sum(dim=2).argsort(dim=1)[:, :quiet]
    mean = powers.gather(1, order[:, :, None].expand(-1, -1, powers.shape[2])).mean(dim=1)
    band = np.digitize(np.fft.rfftfreq(size, 1 / sample_rate), BANDS) - 1
    return _decibels(torch.stack([mean[:, band == k].sum(dim=1) for k in range(len(BANDS))], dim=1))


def pitch(waveform: Tensor, sample_rate: int) -> Tensor:
    """(B, S) -> (B, 2) semitones above 1 Hz, quantiles over the frames."""
    low, high = PITCH_RANGE
    hertz = librosa.yin(waveform.cpu().numpy(), fmin=low, fmax=high, sr=sample_rate, frame_length=2048)
    semitones = 12 * np.log2(np.quantile(hertz, [0.1, 0.9], axis=-1))
    return torch.from_numpy(semitones.T).to(waveform)


def length(waveform: Tensor, sample_rate: int) -> Tensor:
    """(B, S) -> (B, 1) seconds up to the last sample that is not 0."""
    positions = torch.arange(1, waveform.shape[1] + 1, device=waveform.device)
    return ((waveform != 0) * positions).amax(dim=1, keepdim=True) / sample_rate


def _decibels(power: Tensor) -> Tensor:
    return 10 * power.clamp(min=SILENCE).log10()
