"""The minimum of a penalised cross-entropy over linear heads. It does not depend on an optimizer or a number of epochs.

Without a penalty there is no minimum: the features of a trained network separate its training clips. So during training
the loss always falls, the weights always grow, and loss weights lose their effect (Byrd and Lipton 2019).
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PENALTY = 1e-3
TOLERANCE = 1e-6  # for the largest entry of the gradient
MAX_STEPS = 10_000


@torch.no_grad()
def fit_to_minimum(head: nn.Linear, features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> None:
    """Set a head to the minimum of `objective`, by scikit-learn's L-BFGS in double precision.

    The weights of the minimum are unique, because the objective is strictly convex in them.

    Args:
        head: linear, with (K, D) weights and (K,) biases, K at least 2.
        features: (N, D) of the training clips, at least one of each technique.
        targets: (N,) technique indices.
        weights: (K,) loss weight of each technique.
        penalty: lambda, above 0.
    """
    from sklearn.linear_model import LogisticRegression

    clip_weights = weights[targets].double()
    clip_weights = clip_weights / clip_weights.sum()
    # scikit-learn minimises |W|^2 / 2 + C times the sum; for two techniques it fits one row, w_2 - w_1
    is_binary = len(head.weight) == 2
    inverse = (2 if is_binary else 1) / (2 * penalty)
    model = LogisticRegression(C=inverse, tol=TOLERANCE, max_iter=MAX_STEPS)
    model.fit(features.double().numpy(), targets.numpy(), sample_weight=clip_weights.numpy())
    rows, biases = model.coef_, model.intercept_
    if is_binary:
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    head.weight.copy_(torch.from_numpy(rows))
    head.bias.copy_(torch.from_numpy(biases - biases.mean()))


@torch.no_grad()
def above_minimum(head: nn.Linear, features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> float:
    """How much a head's `objective` is above its minimum; 0 for a head at the minimum.

    Args: see `fit_to_minimum`; the head does not change.
    """
    fitted = copy.deepcopy(head)
    fit_to_minimum(fitted, features, targets, weights, penalty)
    values = [objective(each, features, targets, weights, penalty) for each in (head, fitted)]
    return float(values[0] - values[1])


def objective(head: nn.Linear, features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """() the weighted mean cross-entropy plus penalty * |W|^2, without the biases, in double precision.

    Args: see `fit_to_minimum`.
    """
    logits = F.linear(features.double(), head.weight.double(), head.bias.double())
    loss = F.cross_entropy(logits, targets, weights.double())
    return loss + penalty * head.weight.double().square().sum()
