"""The weighted cross-entropy of Section 3.2, and other losses for imbalanced data.

A loss is built with `class_counts`, the (K,) training clips of each technique, beside its own settings, and called with
(B, K) logits and (B,) targets. `singtech.training.protocols.Loss` defines its interface.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import InvalidValue
from singtech.imbalance.smoothing import checked_alpha

REDUCTIONS = ("weights", "clips")


def class_weights(counts: Tensor, alpha: float, techniques: Sequence[str] | None = None) -> Tensor:
    """Loss weight of each technique: its training-clip count to the power -alpha (Eq. 2).

    Args:
        counts: (K,) training clips per technique.
        alpha: smoothing; 0 weighs all techniques alike, 1 by inverse frequency.
        techniques: the K names, for the message.
    Returns:
        (K,) weights, not normalised.
    Raises:
        InvalidValue: alpha is negative or not a finite number, or a technique has no training clip.
    """
    alpha = checked_alpha(alpha)
    missing = [str(techniques[k] if techniques else k) for k in (counts == 0).nonzero().flatten().tolist()]
    if missing:
        raise InvalidValue(f"no training clip of {', '.join(missing)}: is data.split right?")
    return counts.float().pow(-alpha)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, reduction: str = "weights") -> Tensor:
    """Mean of Eq. 1 over a batch.

    The paper does not say how to average a batch's losses. `weights` divides their sum by that of the clips' weights,
    like torch and probably the authors. `clips` divides it by the number of clips, as Eq. 1 says.

    Args:
        logits: (B, K).
        targets: (B,) technique indices.
        weights: (K,) the w_c of Eq. 2.
        reduction: `weights` or `clips`.
    Returns:
        () the loss.
    """
    if reduction == "weights":
        return F.cross_entropy(logits, targets, weights)
    return F.cross_entropy(logits, targets, weights, reduction="sum") / len(targets)


class WeightedCrossEntropy(nn.Module):
    """Eq. 1 with the weights of Eq. 2; without weights at alpha 0.

    Args:
        class_counts: (K,) training clips per technique.
        alpha: smoothing of the weights.
        reduction: see `weighted_cross_entropy`.
        techniques: the K names, for the message.
    Raises:
        InvalidValue: as `class_weights`, or an unknown reduction.
    """

    weights: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        alpha: float = 0.0,
        reduction: str = "weights",
        techniques: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise InvalidValue(f"loss.reduction={reduction}: expected one of {', '.join(REDUCTIONS)}.")
        self.reduction = reduction
        self.register_buffer("weights", class_weights(class_counts, alpha, techniques), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        return weighted_cross_entropy(logits, targets, self.weights, self.reduction)

    def normalizer(self, targets: Tensor) -> Tensor:
        """() the divisor of the mean over a batch of (B,) targets, for devices that share a batch."""
        if self.reduction == "clips":
            return self.weights.new_tensor(len(targets))
        return self.weights[targets].sum()
