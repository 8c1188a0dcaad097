"""Decode singer, gender, context and technique from a run's features with a linear probe (Alain and Bengio 2017).

Features from which singers are decoded well hold much of the voice, and not only of the technique. The probe is
scikit-learn's logistic regression, with its defaults, on features standardised by the clips that it learns from.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from singtech.metrics import divide
from singtech.results.intervals import jackknife, without_each
from singtech.results.names import read_gender

if TYPE_CHECKING:
    import pandas as pd

SPLITS = 5  # of the recordings into halves
STEPS = 1000  # of the regression, at most
SAME, NEW = "same", "new"
COLUMNS = ["target", "singers", "classes", "clips", "recordings"]
COLUMNS += ["accuracy", "accuracy_low", "accuracy_high", "majority"]
COLUMNS += ["balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "chance"]
TARGETS: Mapping[str, Callable[["pd.DataFrame"], "pd.Series"]] = {
    "singer": lambda clips: clips["singer"],
    "gender": lambda clips: clips["singer"].map(read_gender),
    "context": lambda clips: clips["context"],
    "technique": lambda clips: clips["technique"],
}


def probe(features: Mapping[str, np.ndarray], clips: Mapping[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Decode each target from features, within the training singers and, all but the singer, for the test singers.

    Same singers: learn from half of the recordings, name the clips of the other half, and the other way round, in
    `SPLITS` divisions of each class's recordings into halves; intervals delete a recording at a time. New singers:
    learn from all training clips, name the test clips of known classes; intervals delete a singer at a time.

    Args:
        features: (N, D) of "train" and "test".
        clips: N rows of each: recording, singer, technique, context.
    Returns:
        A row for each target with two classes or more: `COLUMNS`. majority is the accuracy of naming the commonest
        class, chance the balanced accuracy of naming any. Clips whose class is not told are left out, and within the
        same singers also classes of one recording.
    """
    import pandas as pd

    rows = []
    for target, read in TARGETS.items():
        labels = {subset: read(table).to_numpy(dtype=str) for subset, table in clips.items()}
        known, new = clips["train"]["recording"].to_numpy(dtype=str), clips["test"]["singer"].to_numpy(dtype=str)
        each = pd.DataFrame({"label": labels["train"], "recording": known}).drop_duplicates()["label"].value_counts()
        told = np.isin(labels["train"], [name for name in each.index if name and each[name] > 1])
        if len(set(labels["train"][told])) < 2:
            continue
        rows.append([target, SAME, *within(features["train"][told], labels["train"][told], known[told])])
        told, tested = labels["train"] != "", np.isin(labels["test"], [*set(labels["train"]) - {""}])
        if target == "singer" or not tested.any():
            continue
        learned = features["train"][told], labels["train"][told]
        recordings = clips["test"]["recording"][tested].nunique()
        rows.append(
            [target, NEW, *across(*learned, features["test"][tested], labels["test"][tested], new[tested], recordings)]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def within(features: np.ndarray, labels: np.ndarray, recordings: np.ndarray) -> list:
    """Decode the labels of each half of the recordings by the other half; the numbers of a row, see `COLUMNS`.

    Args:
        features: (N, D).
        labels, recordings: (N,) texts; each class has two recordings or more.
    """
    named = np.empty((SPLITS, len(labels)), dtype=labels.dtype)
    for split in range(SPLITS):
        half = halve(labels, recordings, split)
        for side in (half, ~half):
            named[split, ~side] = decode(features[side], labels[side], features[~side])
    return _score(named, labels, labels, recordings, len(set(recordings)))


def across(
    features: np.ndarray,
    labels: np.ndarray,
    others: np.ndarray,
    other_labels: np.ndarray,
    singers: np.ndarray,
    recordings: int,
) -> list:
    """Decode the labels of other singers' clips; the numbers of a row, see `COLUMNS`.

    Args:
        features, labels: (N, D), (N,) to learn from.
        others, other_labels, singers: (M, D), (M,), (M,) to name.
        recordings: their number.
    """
    return _score(decode(features, labels, others)[None], other_labels, labels, singers, recordings)


def halve(labels: np.ndarray, recordings: np.ndarray, split: int) -> np.ndarray:
    """(N,) whether a clip is in the first half: of each class, half of the recordings at random.

    Args:
        labels, recordings: (N,); a recording has one label.
        split: the seed.
    """
    draw, chosen = np.random.default_rng(split), []
    for label in np.unique(labels):
        members = draw.permutation(np.unique(recordings[labels == label]))
        chosen += members[: (len(members) + int(draw.integers(2))) // 2].tolist()  # of an odd number, either part
    return np.isin(recordings, chosen)


def decode(features: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(M,) labels of other (M, D) features, by logistic regression on (N, D) features with (N,) labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(labels)) == 1:
        return np.repeat(labels[:1], len(others))
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS)).fit(features, labels).predict(others)


def _score(named: np.ndarray, labels: np.ndarray, known: np.ndarray, groups: np.ndarray, recordings: int) -> list:
    """Score labels that a probe gave; the numbers of a row, see `COLUMNS`.

    Args:
        named: (S, N) labels of S splits.
        labels: (N,) true ones.
        known: (M,) labels that the probe learned from.
        groups: (N,) one is left out at a time for the intervals.
        recordings: their number.
    """
    weights = without_each(groups)  # (1 + n, N)
    right = (named == labels).T.astype(float)  # (N, S)
    accuracy = divide(weights @ right, weights.sum(axis=1, keepdims=True))
    classes = (labels[:, None] == np.unique(labels)).astype(float)  # (N, K)
    hits = np.stack([(weights * one) @ right for one in classes.T])  # (K, 1 + n, S)
    recalls = divide(hits, (weights @ classes).T[..., None])
    balanced = divide(np.nansum(recalls, axis=0), np.isfinite(recalls).sum(axis=0))
    estimates = [jackknife(scores) for scores in (accuracy, balanced)]
    scores = [(estimate.value, *estimate.interval()) for estimate in estimates]
    learned, counts = np.unique(known, return_counts=True)
    majority = float(np.mean(labels == learned[counts.argmax()]))
    return [len(learned), len(labels), recordings, *scores[0], majority, *scores[1], 1 / len(learned)]
