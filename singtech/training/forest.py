"""The random forest on a network's features (Yamamoto et al. 2021), Table 2's baseline "Oblong".

The network is trained jointly under alpha, which smooths the weights of its loss (Eq. 2) and so shapes the features. In
the forest, which takes the place of the last layer, alpha does this:

- balanced (imbalanced-learn's, as in the authors' published code): nothing. Every tree sees equally many clips of each
  technique, as many as the rarest has, drawn with replacement (Chen et al. 2004).
- not balanced (scikit-learn's): a clip has its technique's weight of Eq. 2; alpha 0 is the plain forest.

A forest is grown in seconds and not stored: features and seed give the same forest again, bit for bit.
"""

from dataclasses import dataclass

import numpy as np

from singtech.errors import InvalidValue
from singtech.streams import derive_seed

SMALLEST = 1e-6  # added before the logarithm: a forest's probability may be 0


@dataclass(frozen=True)
class Forest:
    """How a forest is grown.

    Args:
        trees: how many.
        balanced: whether every tree sees equally many clips of each technique.
    Raises:
        InvalidValue: no whole number of trees from 1 up.
    """

    trees: int = 100
    balanced: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.trees, int) or self.trees < 1:
            raise InvalidValue(f"forest.trees={self.trees}: expected a whole number from 1 up.")


def forest_logits(
    forest: Forest,
    features: np.ndarray,
    targets: np.ndarray,
    test_features: np.ndarray,
    techniques: int,
    alpha: float,
    seed: int,
) -> np.ndarray:
    """Grow a forest on the training clips and classify the test clips.

    Args:
        forest: how it is grown.
        features: (M, D) of the training clips.
        targets: (M,) their technique indices.
        test_features: (N, D).
        techniques: K.
        alpha: of Eq. 2; a balanced forest ignores it.
        seed: of the run.
    Returns:
        (N, K) float32 log(p + 1e-6), a technique without training clips at p = 0.
    Raises:
        InvalidValue: alpha is not a number from 0 up.
    """
    classifier = _classifier(forest, targets, alpha, derive_seed(seed, "forest") % 2**32)
    classifier.fit(features, targets)
    probabilities = np.zeros((len(test_features), techniques))
    probabilities[:, classifier.classes_] = classifier.predict_proba(test_features)
    return np.log(probabilities + SMALLEST).astype(np.float32)


def _classifier(forest: Forest, targets: np.ndarray, alpha: float, seed: int):
    """The library's forest, on one thread: several threads add up the trees in another order each time."""
    if forest.balanced:
        from imblearn.ensemble import BalancedRandomForestClassifier

        return BalancedRandomForestClassifier(
            forest.trees, sampling_strategy="all", replacement=True, bootstrap=False, n_jobs=1, random_state=seed
        )
    import torch
    from sklearn.ensemble import RandomForestClassifier

    from singtech.imbalance.losses import class_weights

    present, counts = np.unique(targets, return_counts=True)
    weights = dict(zip(present.tolist(), class_weights(torch.from_numpy(counts), alpha).tolist(), strict=True))
    return RandomForestClassifier(forest.trees, class_weight=weights, n_jobs=1, random_state=seed)
