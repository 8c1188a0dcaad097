"""Normalise the level of clips: VocalSet's recordings differ in level, and the paper does not mention it.

By default a clip's mean becomes 0 and its peak 1. The authors' published code removes the mean and divides by the
standard deviation, then by the peak. The result is the same, because the standard deviation cancels.
"""

from torch import Tensor

LEVELS = ("peak", "rms", "none")
SILENCE = 1e-5  # a clip with a lower peak (or root mean square) is rounding noise; it is not raised to 1


def normalise_level(waveform: Tensor, level: str) -> Tensor:
    """Remove each clip's mean and set its peak or root mean square to 1; a silent clip stays silent.

    Args:
        waveform: (B, S).
        level: `peak`, `rms`, or `none`, which changes nothing.
    Returns:
        (B, S).
    """
    if level == "none":
        return waveform
    waveform = waveform - waveform.mean(dim=1, keepdim=True)
    if level == "peak":
        size = waveform.abs().amax(dim=1, keepdim=True)
    else:
        size = waveform.square().mean(dim=1, keepdim=True).sqrt()
    return waveform / size.clamp(min=SILENCE)
