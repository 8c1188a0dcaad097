"""Resample waveforms on their device, between the rate of a corpus and that of an encoder."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import require

CROSSINGS = 32  # zero crossings of the filter on each side
ROLLOFF = 0.95  # pass band, as a share of the lower Nyquist frequency
BETA = 9.0  # of the Kaiser window: 90 dB in the stop band


class Resampler(nn.Module):
    """(B, S) waveforms at one rate to (B, S') at another, by a sinc filter under a Kaiser window.

    Args:
        source, target: sample rates in Hz, whole numbers.
    Raises:
        InvalidValue: their greatest common divisor is so small that the filter would not fit the memory.
    """

    kernel: Tensor

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        divisor = math.gcd(source, target)
        self.stride, self.phases = source // divisor, target // divisor
        cutoff = ROLLOFF * min(source, target) / 2
        self.reach = math.ceil(CROSSINGS * source / (2 * cutoff))  # samples on each side
        fits = self.phases * (self.stride + 2 * self.reach) <= 1 << 26  # the memory
        require(fits, "data.sample_rate", source, f"a large common divisor with {target}")
        inputs = torch.arange(-self.reach, self.stride + self.reach, dtype=torch.float64) / source
        outputs = torch.arange(self.phases, dtype=torch.float64) / target
        time = outputs[:, None] - inputs  # (phases, taps), in seconds
        position = (time * source / self.reach).clamp(-1, 1)
        window = torch.special.i0(BETA * (1 - position.square()).sqrt()) / torch.special.i0(torch.tensor(BETA).double())
        kernel = 2 * cutoff / source * torch.sinc(2 * cutoff * time) * window
        self.register_buffer("kernel", kernel.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, S'), S' = S · target / source, rounded up."""
        if self.stride == self.phases:
            return waveform
        samples = math.ceil(waveform.shape[1] * self.phases / self.stride)
        padded = F.pad(waveform, (self.reach, self.reach + self.stride))
        # a matrix product, because a convolution on CUDA would round to TF32
        frames = padded.unfold(-1, self.kernel.shape[-1], self.stride)  # (B, steps, taps)
        return (frames @ self.kernel.T).flatten(1)[:, :samples]
