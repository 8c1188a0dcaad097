"""Thin the training recordings of a corpus to a long tail of a chosen ratio, with the same total at every ratio.

So imbalance can be studied apart from the amount of data. The profile is exponential, as in CIFAR-LT (Cui et al. 2019).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from singtech.errors import InvalidValue
from singtech.streams import stream_seed

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (1, 4, 16)  # that the default total must allow


def profile(total: float, ratio: float, techniques: int) -> np.ndarray:
    """(K,) clips of each technique, the most common first: n_k = n_0 * ratio^(-k / (K - 1)), with this sum."""
    shares = ratio ** -np.linspace(0, 1, techniques)
    return total * shares / shares.sum()


def largest_total(available: Sequence[float], ratio: float) -> int:
    """The largest sum of a profile of which every technique has enough clips.

    Args:
        available: (K,) clips of the techniques, in the order of the profile.
    """
    return int((np.asarray(available) / profile(1, ratio, len(available))).min() + 1e-9)


def thin(
    recordings: "pd.DataFrame", ratio: float, seed: int = 0, order: Sequence[str] = (), total: int | None = None
) -> "pd.DataFrame":
    """Keep recordings so that the clips of the techniques follow an exponential profile.

    A technique's recordings are taken in an order that the seed decides. One that would give the technique more clips
    than its share is left out.

    Args:
        recordings: of the training singers: recording, technique, clips.
        ratio: clips of the most common technique over those of the rarest, from 1 up.
        seed: of the recordings that stay.
        order: the techniques, most common first; () for the order of their clips.
        total: clips that stay, about; None for as many as each of `RATIOS` and this ratio allow.
    Returns:
        The rows that stay, in their order.
    Raises:
        InvalidValue: the ratio is below 1, the order names other techniques, or a technique has too few clips.
    """
    if not ratio >= 1:
        raise InvalidValue(f"data.long_tail.ratio={ratio}: expected a number from 1 up.")
    available: Mapping[str, int] = recordings.groupby("technique")["clips"].sum().to_dict()
    order = order or sorted(available, key=lambda name: (-available[name], name))
    if sorted(order) != sorted(available):
        raise InvalidValue(f"data.long_tail.order: expected each of {', '.join(sorted(available))} once.")
    clips = [available[name] for name in order]
    most = largest_total(clips, ratio)
    total = min(largest_total(clips, each) for each in (*RATIOS, ratio)) if total is None else total
    shares = dict(zip(order, np.rint(profile(total, ratio, len(order))).astype(int), strict=True))
    if total > most or min(shares.values()) < 1:
        raise InvalidValue(
            f"data.long_tail.total={total}: a long tail of {ratio:g} needs at least one clip of each technique, and "
            f"this corpus has enough clips for at most {most}."
        )
    kept = []
    for name, rows in recordings.groupby("technique", sort=True):
        draw = np.random.default_rng(stream_seed(seed, f"long tail/{name}"))
        left = shares[str(name)]
        for position in draw.permutation(len(rows)):
            if rows["clips"].iloc[position] <= left:
                left -= rows["clips"].iloc[position]
                kept.append(rows.index[position])
    return recordings.loc[sorted(kept, key=recordings.index.get_loc)]
