"""Compute what a table's numbers are read against: the scores of guessing, exactly, from the clips of a corpus."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from singtech import metrics


def references(names: Sequence[str], lengths: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Score each way of guessing on a corpus: label -> metric -> score; nothing where its clips are unknown.

    Args:
        names: of `chance` and `majority`.
        lengths: technique, split, recordings, minutes, clips.
    """
    techniques = list(dict.fromkeys(lengths["technique"]))
    clips = lengths.pivot_table(index="technique", columns="split", values="clips", aggfunc="sum", fill_value=0)
    clips = clips.reindex(techniques, columns=["train", "test"], fill_value=0).astype(int)
    train, test = clips["train"].to_numpy(), clips["test"].to_numpy()
    if not test.sum() or not train.sum():
        return {}
    scores = {"chance": lambda: chance(test, techniques), "majority": lambda: majority(train, test, techniques)}
    return {name.title(): scores[name]() for name in names}


def chance(test: np.ndarray, techniques: list[str]) -> dict[str, float]:
    """Expected scores of naming techniques in uniformly random order, each clip for itself.

    Of a technique with n of the N clips, the right guesses R are binomial in n and the wrong ones W in N - n, both
    with probability 1/K, and independent: its F1 is the mean of 2R / (n + R + W), which has no closed form.

    Args:
        test: (K,) test clips of each technique.
        techniques: the K names.
    Returns:
        The metrics of `metrics.score_clips`; nan for a technique without a test clip, and for the calibration error,
        as an order has no probabilities.
    """
    f1 = np.array([_chance_f1(int(n), int(test.sum()), len(test)) for n in test])
    recall = np.where(test > 0, 1 / len(test), np.nan)
    area = np.where((test > 0) & (test < test.sum()), 1 / 2, np.nan)
    return {
        "f1": float(np.nanmean(f1)),
        **dict.fromkeys(("accuracy", "balanced_accuracy"), 1 / len(test)),
        **{f"top{k}_accuracy": min(k / len(test), 1.0) for k in (2, 3)},
        "auc": float(metrics.mean_finite(area[None])[0]),
        "calibration_error": float("nan"),
        **{f"f1_{name}": float(value) for name, value in zip(techniques, f1, strict=True)},
        **{f"recall_{name}": float(value) for name, value in zip(techniques, recall, strict=True)},
        **{f"auc_{name}": float(value) for name, value in zip(techniques, area, strict=True)},
    }


def majority(train: np.ndarray, test: np.ndarray, techniques: list[str]) -> dict[str, float]:
    """Scores of ranking the techniques by their training clips, whatever is sung.

    Args:
        train: (K,) training clips of each technique.
        test: (K,) test clips.
        techniques: the K names.
    """
    targets = np.repeat(np.arange(len(test)), test)
    return metrics.score_clips(targets, np.tile(train.astype(float), (len(targets), 1)), techniques)


def _chance_f1(n: int, clips: int, techniques: int) -> float:
    """Expected F1 of a technique with n of the clips under uniform guessing."""
    from scipy.stats import binom

    if n == 0:
        return float("nan")
    right, wrong = np.arange(n + 1), np.arange(clips - n + 1)
    likely = np.outer(binom.pmf(right, n, 1 / techniques), binom.pmf(wrong, clips - n, 1 / techniques))
    return float((likely * 2 * right[:, None] / (n + right[:, None] + wrong)).sum())
