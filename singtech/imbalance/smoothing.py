"""Alpha, the smoothing of the loss weights (Eq. 2)."""

from singtech.errors import require


def require_alpha(alpha: float) -> float:
    """Return `alpha` as a float.

    Raises:
        InvalidValue: it is negative or not a finite number.
    """
    try:
        number = float(alpha)
    except (TypeError, ValueError):
        number = float("nan")
    is_weighting = 0 <= number < float("inf") and not isinstance(alpha, bool)
    require(is_weighting, "alpha", alpha, "a number from 0 (no weighting) up, 1 being inverse frequency")
    return number + 0.0  # -0.0 becomes 0.0
