"""A clip's level: VocalSet's recordings were not made at one, and the paper does not say what becomes of it.

By default a clip's mean is removed and its peak set to 1. The authors' published code removes the mean, divides by the
deviation and then by the peak, which comes to the same: the deviation drops out.
"""

from torch import Tensor

LEVELS = ("peak", "rms", "none")
SILENCE = 1e-5  # a clip with a lower peak (or root mean square) is rounding noise, and is not raised to 1


def checked_level(level: str) -> str:
    """`level`, if it is one.

    Raises:
        ValueError: it is not.
    """
    if level not in LEVELS:
        raise ValueError(f"front_end.level={level}: expected one of {', '.join(LEVELS)}.")
    return level


def levelled(waveform: Tensor, level: str) -> Tensor:
    """(B, S) -> (B, S) without its mean and with its peak or root mean square at 1; a silent clip stays silent.

    Args:
        waveform: (B, S).
        level: `peak`, `rms`, or `none`, which leaves the mean too.
    """
    if level == "none":
        return waveform
    waveform = waveform - waveform.mean(dim=1, keepdim=True)
    if level == "peak":
        size = waveform.abs().amax(dim=1, keepdim=True)
    else:
        size = waveform.square().mean(dim=1, keepdim=True).sqrt()
    return waveform / size.clamp(min=SILENCE)
