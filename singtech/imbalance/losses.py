"""The weighted cross-entropy of Section 3.2, and other losses for imbalanced data.

A loss is built with its settings and `class_counts`, the (K,) training clips of each technique. It is called with
(B, K) logits and (B,) targets. `singtech.training.protocols.Loss` defines its interface.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from singtech.errors import InvalidValue, require, require_choice
from singtech.imbalance.smoothing import require_alpha


def class_weights(counts: Tensor, alpha: float, techniques: Sequence[str] | None = None) -> Tensor:
    """Loss weight of each technique: its training-clip count to the power -alpha (Eq. 2).

    Args:
        counts: (K,) training clips per technique.
        alpha: smoothing; 0 weighs all techniques equally, 1 by inverse frequency.
        techniques: the K names, for the message.
    Returns:
        (K,) weights, not normalised.
    Raises:
        InvalidValue: alpha is negative or not a finite number, or a technique has no training clip.
    """
    alpha = require_alpha(alpha)
    missing = [str(techniques[k] if techniques else k) for k in (counts == 0).nonzero().flatten().tolist()]
    if missing:
        raise InvalidValue(f"no training clip of {', '.join(missing)}: is data.split right?")
    return counts.float().pow(-alpha)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, reduction: str = "weights") -> Tensor:
    """Mean of Eq. 1 over a batch.

    The paper does not say how to average a batch's losses. `weights` divides their sum by that of the clips' weights,
    like torch and probably the authors. `clips` divides it by the number of clips, as in Eq. 1.

    Args:
        logits: (B, K).
        targets: (B,) technique indices, or (B, K) shares of the techniques in mixed clips.
        weights: (K,) the w_c of Eq. 2.
        reduction: `weights` or `clips`.
    Returns:
        () the loss.
    """
    if reduction == "weights" and targets.ndim == 1:
        return F.cross_entropy(logits, targets, weights)
    divisor = (targets @ weights).sum() if reduction == "weights" else len(targets)
    return F.cross_entropy(logits, targets, weights, reduction="sum") / divisor


class WeightedCrossEntropy(nn.Module):
    """Eq. 1 with the weights of Eq. 2; without weights at alpha 0.

    Args:
        class_counts: (K,) training clips per technique.
        alpha: smoothing of the weights.
        reduction: see `weighted_cross_entropy`.
        techniques: the K names, for the message.
    Raises:
        InvalidValue: see `class_weights`; or the reduction is unknown.
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
        require_choice("loss.reduction", reduction, ("weights", "clips"))
        self.reduction = reduction
        self.register_buffer("weights", class_weights(class_counts, alpha, techniques), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        return weighted_cross_entropy(logits, targets, self.weights, self.reduction)

    def normalizer(self, targets: Tensor) -> Tensor:
        """() the divisor of the mean over a batch of (B,) targets, for devices that share a batch."""
        if self.reduction == "clips":
            return self.weights.new_tensor(len(targets))
        return (self.weights[targets] if targets.ndim == 1 else targets @ self.weights).sum()


class ClassBalanced(WeightedCrossEntropy):
    """Cross-entropy weighted by the effective number of clips, w_c = (1 - beta) / (1 - beta^n_c) (Cui et al. 2019).

    Beta 0 weighs all techniques equally; near 1 the weights become inverse frequencies. Between VocalSet's rarest and
    most common technique (56 and 920 training clips), beta .99 weighs like alpha .30 and beta .999 like alpha .86.

    Args:
        class_counts: (K,) training clips per technique.
        beta: at least 0, below 1.
        reduction: see `weighted_cross_entropy`.
        techniques: the K names, for the message.
    Raises:
        InvalidValue: beta is out of range; see also `WeightedCrossEntropy`.
    """

    def __init__(
        self,
        class_counts: Tensor,
        beta: float = 0.999,
        reduction: str = "weights",
        techniques: Sequence[str] | None = None,
    ) -> None:
        super().__init__(class_counts, 0.0, reduction, techniques)
        self.weights = effective_number_weights(class_counts, beta)


def effective_number_weights(class_counts: Tensor, beta: float) -> Tensor:
    """(K,) weights (1 - beta) / (1 - beta^n_c) of Cui et al. (2019), not normalised.

    Raises:
        InvalidValue: beta is below 0, or not below 1.
    """
    require(0 <= beta < 1, "loss.beta", beta, "a number from 0 up and below 1")
    return ((1 - beta) / (1 - beta ** class_counts.double())).float()


class Focal(nn.Module):
    """Cross-entropy times (1 - p)^gamma, p the probability of the true technique (Lin et al. 2017).

    Args:
        gamma: from 0 (cross-entropy) up.
    Raises:
        InvalidValue: gamma is negative.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        require(gamma >= 0, "loss.gamma", gamma, "a number from 0 up")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        cross_entropy = F.cross_entropy(logits, targets, reduction="none")
        return ((1 - (-cross_entropy).exp()) ** self.gamma * cross_entropy).mean()


class LogitAdjusted(nn.Module):
    """Cross-entropy of z + tau log pi, pi_c = n_c / N (Menon et al. 2021, Eq. 10).

    With tau 1 it is the balanced softmax of Ren et al. (2020). The prior is added only in training.

    Args:
        class_counts: (K,) training clips per technique.
        tau: 0 is cross-entropy.
    """

    shift: Tensor

    def __init__(self, class_counts: Tensor, tau: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("shift", tau * log_prior(class_counts), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        return F.cross_entropy(logits + self.shift, targets)


def log_prior(class_counts: Tensor) -> Tensor:
    """(K,) log pi_c, the log of each technique's share of the training clips."""
    return (class_counts / class_counts.sum()).log().float()


class LDAM(nn.Module):
    """Label-distribution-aware margins with deferred re-weighting, LDAM-DRW (Cao et al. 2019).

    The true technique's logit is lowered by scale * margin_c with margin_c = max_margin * (n_min / n_c)^(1/4). The
    logits are those of a cosine head with the same scale (`head=cosine head.scale=30`). After the share `defer` of
    the phase's epochs, clips are weighted by the effective number of clips of their technique.

    Args:
        class_counts: (K,) training clips per technique.
        max_margin: margin of the rarest technique, between cosines.
        scale: of the cosine head.
        beta: of the deferred weights, see `ClassBalanced`; 0 for none.
        defer: share of the phase's epochs without weights, at its start.
    Raises:
        InvalidValue: beta is out of range.
    """

    margins: Tensor
    weights: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        defer: float = 0.8,
    ) -> None:
        super().__init__()
        self.scale, self.defer = scale, defer
        self.is_weighted = False
        margins = max_margin * (class_counts.min() / class_counts) ** 0.25
        self.register_buffer("margins", margins.float(), persistent=False)
        self.register_buffer("weights", effective_number_weights(class_counts, beta), persistent=False)

    def begin_epoch(self, progress: float) -> None:
        """Switch on the weights after the share `defer` of the epochs."""
        self.is_weighted = progress >= self.defer

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        adjusted = logits - self.scale * self.margins[targets, None] * F.one_hot(targets, logits.shape[1])
        return F.cross_entropy(adjusted, targets, self.weights if self.is_weighted else None)

    def normalizer(self, targets: Tensor) -> Tensor:
        """() the divisor of the mean over a batch of (B,) targets."""
        return self.weights[targets].sum() if self.is_weighted else self.weights.new_tensor(len(targets))


class LabelAwareSmoothing(nn.Module):
    """Cross-entropy with label smoothing that grows with a technique's clips (MiSLAS, Zhong et al. 2021, Eq. 6).

    The smoothing of a technique is tail + (head - tail) sin(pi/2 (n_c - n_min) / (n_max - n_min)), the paper's concave
    form. It is spread over all K techniques, as in the authors' code.

    Args:
        class_counts: (K,) training clips per technique.
        head: smoothing of the most common technique.
        tail: smoothing of the rarest.
    Raises:
        InvalidValue: a smoothing is below 0, or not below 1.
    """

    smoothing: Tensor

    def __init__(self, class_counts: Tensor, head: float = 0.3, tail: float = 0.0) -> None:
        super().__init__()
        for name, value in {"head": head, "tail": tail}.items():
            require(0 <= value < 1, f"loss.{name}", value, "a number from 0 up and below 1")
        counts = class_counts.double()
        rank = (counts - counts.min()) / (counts.max() - counts.min()).clamp(min=1)
        smoothing = tail + (head - tail) * (math.pi / 2 * rank).sin()
        self.register_buffer("smoothing", smoothing.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits, (B,) targets -> () loss."""
        log_p = F.log_softmax(logits, dim=1)
        smoothing = self.smoothing[targets]
        target_log_p = log_p.gather(1, targets[:, None])[:, 0]
        return -((1 - smoothing) * target_log_p + smoothing * log_p.mean(dim=1)).mean()
