"""The random forest on a network's features (Yamamoto et al. 2021), Table 2's baseline "Oblong".

The network is trained jointly with alpha, which smooths the weights of its loss (Eq. 2) and so changes the features.
The forest replaces the last layer. There alpha has this effect:

- balanced (imbalanced-learn's, as in the authors' published code): none. Every tree is trained on the same number of
  clips of each technique, the number of the rarest one, drawn with replacement (Chen et al. 2004).
- not balanced (scikit-learn's): each clip has the weight of its technique (Eq. 2); alpha 0 is the plain forest.

Training a forest takes seconds, so it is not stored. The same features and seed give the same forest, bit for bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from singtech.errors import require
from singtech.streams import derive_seed

MIN_PROBABILITY = 1e-6  # added before the logarithm: a forest's probability may be 0


@dataclass(frozen=True)
class Forest:
    """The settings of a forest.

    Args:
        trees: number of trees.
        balanced: whether every tree is trained on the same number of clips of each technique.
    Raises:
        InvalidValue: the number of trees is not a whole number from 1 up.
    """

    trees: int = 100
    balanced: bool = True

    def __post_init__(self) -> None:
        require(isinstance(self.trees, int) and self.trees >= 1, "forest.trees", self.trees, "a whole number from 1 up")


def forest_logits(
    forest: Forest,
    features: np.ndarray,
    targets: np.ndarray,
    test_features: np.ndarray,
    techniques: int,
    alpha: float,
    seed: int,
) -> np.ndarray:
    """Train a forest on the training clips and classify the test clips.

    Args:
        forest: its settings.
        features: (M, D) of the training clips.
        targets: (M,) their technique indices.
        test_features: (N, D).
        techniques: K.
        alpha: of Eq. 2; a balanced forest ignores it.
        seed: of the run.
    Returns:
        (N, K) float32 log(p + 1e-6); p is 0 for a technique without training clips.
    Raises:
        InvalidValue: alpha is not a number from 0 up.
    """
    # on one thread: with several, the order of the sums would differ between runs
    options: dict[str, Any] = {
        "n_estimators": forest.trees,
        "n_jobs": 1,
        "random_state": derive_seed(seed, "forest") % 2**32,
    }
    if forest.balanced:
        from imblearn.ensemble import BalancedRandomForestClassifier

        options |= {"sampling_strategy": "all", "replacement": True, "bootstrap": False}
        classifier = BalancedRandomForestClassifier(**options)
    else:
        import torch
        from sklearn.ensemble import RandomForestClassifier

        from singtech.imbalance.losses import class_weights

        labels, counts = np.unique(targets, return_counts=True)
        weights = dict(zip(labels.tolist(), class_weights(torch.from_numpy(counts), alpha).tolist(), strict=True))
        classifier = RandomForestClassifier(class_weight=weights, **options)
    classifier.fit(features, targets)
    probabilities = np.zeros((len(test_features), techniques))
    probabilities[:, classifier.classes_] = classifier.predict_proba(test_features)
    return np.log(probabilities + MIN_PROBABILITY).astype(np.float32)
