"""Thin the training recordings of a corpus to a long tail of a chosen ratio, with the same total at every ratio.

Imbalance then does not change the amount of data. The profile is exponential, as in CIFAR-LT (Cui et al. 2019).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from singtech.errors import InvalidValue, require
from singtech.streams import derive_seed

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (1, 4, 16)  # that the default total must allow


def make_profile(total: float, ratio: float, techniques: int) -> np.ndarray:
    """Return (K,) clips of each technique, the most common first: n_k = n_0 * ratio^(-k / (K - 1)), with this sum."""
    shares = ratio ** -np.linspace(0, 1, techniques)
    return total * shares / shares.sum()


def find_largest_total(available: Sequence[float], ratio: float) -> int:
    """Return the largest total for which every technique has enough clips.

    Args:
        available: (K,) clips of the techniques, in the order of the profile.
    """
    return int((np.asarray(available) / make_profile(1, ratio, len(available))).min() + 1e-9)


def thin_recordings(
    recordings: "pd.DataFrame", ratio: float, seed: int = 0, order: Sequence[str] = (), total: int | None = None
) -> "pd.DataFrame":
    """Keep recordings so that the clips of the techniques follow an exponential profile.

    The recordings of a technique are added in a random order. A recording that would give the technique more clips than
    its share is omitted.

    Args:
        recordings: of the training singers: recording, technique, clips.
        ratio: clips of the most common technique over those of the rarest, at least 1.
        seed: of the random order.
        order: the techniques, most common first; () for the order of their clips.
        total: approximate clips to keep; None for the largest total that all `RATIOS` and this ratio allow.
    Returns:
        The remaining rows, in their order.
    Raises:
        InvalidValue: the ratio is below 1, the order names other techniques, or a technique has too few clips.
    """
    require(ratio >= 1, "data.long_tail", ratio, "a number from 1 up")
    available: Mapping[str, int] = recordings.groupby("technique")["clips"].sum().to_dict()
    order = order or sorted(available, key=lambda name: (-available[name], name))
    if sorted(order) != sorted(available):
        raise InvalidValue(f"data.long_tail_order: expected each of {', '.join(sorted(available))} once.")
    clips = [available[name] for name in order]
    largest = find_largest_total(clips, ratio)
    total = min(find_largest_total(clips, each) for each in (*RATIOS, ratio)) if total is None else total
    shares = dict(zip(order, np.rint(make_profile(total, ratio, len(order))).astype(int), strict=True))
    if total > largest or min(shares.values()) < 1:
        raise InvalidValue(
            f"data.long_tail_total={total}: a long tail of {ratio:g} needs at least one clip of each technique, and "
            f"this corpus has enough clips for at most {largest}."
        )
    labels = []
    for name, rows in recordings.groupby("technique", sort=True):
        rng = np.random.default_rng(derive_seed(seed, f"long tail/{name}"))
        rest = shares[str(name)]
        for position in rng.permutation(len(rows)):
            if rows["clips"].iloc[position] <= rest:
                rest -= rows["clips"].iloc[position]
                labels.append(rows.index[position])
    return recordings.loc[sorted(labels, key=recordings.index.get_loc)]
