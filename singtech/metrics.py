"""The paper's five metrics (Section 4.1), computed once from the predictions of the whole test set by scikit-learn
(the top-k accuracies by counting, since scikit-learn breaks ties the other way round).

This is the only definition of a final number. Curves drawn while training are not.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

METRICS = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy")


def scores(targets: np.ndarray, logits: np.ndarray, techniques: Sequence[str]) -> dict[str, float]:
    """Macro F1, accuracy, balanced accuracy, top-2 and top-3 accuracy, and of each technique F1 and recall.

    The macro averages run over the techniques that the targets hold; a technique without a test clip has nan. Its
    recall, the share of its clips that are named right, is the class-wise accuracy of Section 5.1.

    Args:
        targets: (N,) technique indices.
        logits: (N, K) one row a clip.
        techniques: the K names.
    Returns:
        The five metrics by the names in `METRICS`, then `f1_<technique>` and `recall_<technique>` for each technique.
    Raises:
        ValueError: no clips, shapes that do not fit, targets outside 0..K-1, or logits that are not finite.
    """
    targets, logits = np.asarray(targets), np.asarray(logits)
    _validate(targets, logits, len(techniques))
    labels = np.arange(len(techniques))
    present = np.isin(labels, targets)
    predictions = logits.argmax(axis=1)
    each = {
        "f1": f1_score(targets, predictions, labels=labels, average=None, zero_division=0),
        "recall": recall_score(targets, predictions, labels=labels, average=None, zero_division=0),
    }
    return {
        "f1": float(each["f1"][present].mean()),
        "accuracy": float((predictions == targets).mean()),
        "balanced_accuracy": _balanced_accuracy(targets, predictions),
        "top2_accuracy": _top_accuracy(targets, logits, 2),
        "top3_accuracy": _top_accuracy(targets, logits, 3),
        **{
            f"{metric}_{name}": float(values[k]) if present[k] else float("nan")
            for metric, values in each.items()
            for k, name in enumerate(techniques)
        },
    }


def confusion(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Clips by true technique (rows) and predicted technique (columns).

    Args:
        targets: (N,) technique indices.
        logits: (N, K).
    Returns:
        (K, K) counts.
    """
    logits = np.asarray(logits)
    return confusion_matrix(targets, logits.argmax(axis=1), labels=np.arange(logits.shape[1]))


def _balanced_accuracy(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Mean recall over the techniques that the targets hold."""
    with warnings.catch_warnings():  # a prediction of a technique without a test clip is no mistake of the caller's
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        return float(balanced_accuracy_score(targets, predictions))


def _top_accuracy(targets: np.ndarray, logits: np.ndarray, k: int) -> float:
    """Share of clips whose technique is among the k largest logits, the first of equal ones first, as argmax has it."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((order == targets[:, None]).any(axis=1).mean())


def _validate(targets: np.ndarray, logits: np.ndarray, techniques: int) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or logits.shape[1] != techniques:
        raise ValueError(
            f"targets of shape {targets.shape} and logits of shape {logits.shape} for {techniques} techniques: "
            f"expected (N,) and (N, {techniques})."
        )
    if not len(targets):
        raise ValueError("no test clip to score: does the split name a test singer?")
    if not np.isfinite(logits).all():
        raise ValueError(
            f"{np.sum(~np.isfinite(logits).all(axis=1))} of {len(logits)} clips have logits that are not finite."
        )
    if targets.min() < 0 or targets.max() >= techniques:
        raise ValueError(f"targets run from {targets.min()} to {targets.max()}, expected 0 to {techniques - 1}.")
