"""What a table's numbers are to be read against: guessing, computed exactly from the clips of a corpus."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reference:
    """A way to answer without listening, and the scores of it."""

    label: str
    values: dict[str, float]  # metric -> score


def references(names: tuple[str, ...], lengths: "pd.DataFrame") -> tuple[Reference, ...]:
    """The references of these names on a corpus; none where its clips are not known.

    Args:
        names: of `chance` and `majority`.
        lengths: technique, split, recordings, minutes, clips.
    """
    techniques = list(dict.fromkeys(lengths["technique"]))
    train, test = (_clips(lengths, techniques, split) for split in ("train", "test"))
    if not test.sum() or not train.sum():
        return ()
    made = {"chance": lambda: chance(test, techniques), "majority": lambda: majority(train, test, techniques)}
    labels = {"chance": "Chance", "majority": "Majority"}
    return tuple(Reference(labels[name], made[name]()) for name in names)


def chance(test: np.ndarray, techniques: list[str]) -> dict[str, float]:
    """Expected scores of naming techniques in uniformly random order, each clip for itself.

    Of a technique with n of the N clips, the right guesses R are binomial in n and the wrong ones W in N - n, both
    with probability 1/K, and independent: its F1 is the mean of 2R / (n + R + W), which has no closed form.

    Args:
        test: (K,) test clips of each technique.
        techniques: the K names.
    Returns:
        The metrics of `metrics.scores`; nan for a technique without a test clip.
    """
    each = {name: _chance_f1(int(n), int(test.sum()), len(test)) for name, n in zip(techniques, test, strict=True)}
    there = test > 0
    return {
        "f1": float(np.mean(np.array(list(each.values()))[there])),
        "accuracy": 1 / len(test),
        "balanced_accuracy": 1 / len(test),
        "top2_accuracy": min(2 / len(test), 1.0),
        "top3_accuracy": min(3 / len(test), 1.0),
        **{f"f1_{name}": value for name, value in each.items()},
        **{f"recall_{name}": 1 / len(test) if n else np.nan for name, n in zip(techniques, test, strict=True)},
    }


def majority(train: np.ndarray, test: np.ndarray, techniques: list[str]) -> dict[str, float]:
    """Scores of ranking the techniques by their training clips, whatever is sung.

    Args:
        train: (K,) training clips of each technique.
        test: (K,) test clips.
        techniques: the K names.
    """
    order = np.argsort(-train, kind="stable")
    first, there, clips = order[0], test > 0, int(test.sum())
    recall = np.where(there, 0.0, np.nan)
    f1 = recall.copy()
    if there[first]:
        recall[first], f1[first] = 1.0, 2 * test[first] / (clips + test[first])  # all are found; n of N are right
    return {
        "f1": float(np.nanmean(f1)),
        "accuracy": float(test[first] / clips),
        "balanced_accuracy": float(np.nanmean(recall)),
        "top2_accuracy": float(test[order[:2]].sum() / clips),
        "top3_accuracy": float(test[order[:3]].sum() / clips),
        **{f"f1_{name}": float(value) for name, value in zip(techniques, f1, strict=True)},
        **{f"recall_{name}": float(value) for name, value in zip(techniques, recall, strict=True)},
    }


def _chance_f1(n: int, clips: int, techniques: int) -> float:
    """Expected F1 of a technique with n of the clips under uniform guessing."""
    if n == 0:
        return float("nan")
    (right, is_right), (wrong, is_wrong) = (_binomial(trials, 1 / techniques) for trials in (n, clips - n))
    return float((np.outer(is_right, is_wrong) * (2 * right[:, None] / (n + right[:, None] + wrong))).sum())


def _binomial(trials: int, probability: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of successes that are worth counting, and how likely each is, without `scipy.stats`' slow import."""
    from scipy.special import gammaln, xlog1py, xlogy

    counts = np.arange(trials + 1)
    ways = gammaln(trials + 1) - gammaln(counts + 1) - gammaln(trials - counts + 1)
    likely = np.exp(ways + xlogy(counts, probability) + xlog1py(trials - counts, -probability))
    worth = likely > 1e-18
    return counts[worth], likely[worth]


def _clips(lengths: "pd.DataFrame", techniques: list[str], split: str) -> np.ndarray:
    """(K,) clips of each technique in a split."""
    rows = lengths[lengths["split"] == split]
    counts = dict(zip(rows["technique"], rows["clips"], strict=True))
    return np.array([counts.get(name, 0) for name in techniques], dtype=int)
