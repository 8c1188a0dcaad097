"""Heads at the minimum of the penalised cross-entropy."""

import pytest
import torch

from singtech.imbalance.minimum import fit_to_minimum, objective


def data(techniques, separable):
    """Features and targets of 200 clips in five dimensions."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.arange(200) % techniques
    centres = torch.randn(techniques, 5, generator=draw) * (20 if separable else 1)
    return centres[targets] + torch.randn(200, 5, generator=draw), targets


@pytest.mark.parametrize("techniques", [2, 3, 10])
@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("penalty", [1e-2, 1e-4])
def test_its_gradient_is_zero(techniques, separable, penalty):
    features, targets = data(techniques, separable)
    weights = torch.arange(1.0, techniques + 1)
    head = torch.nn.Linear(5, techniques).double()
    fit_to_minimum(head, features, targets, weights, penalty)
    objective(head, features, targets, weights, penalty).backward()
    assert head.weight.grad.abs().max() < 1e-5
    assert head.bias.grad.abs().max() < 1e-5


def test_it_is_what_another_optimizer_reaches_from_elsewhere():
    features, targets = data(4, separable=False)
    weights, penalty = torch.tensor([1.0, 2.0, 0.5, 1.0]), 1e-2
    head, other = torch.nn.Linear(5, 4), torch.nn.Linear(5, 4).double()
    fit_to_minimum(head, features, targets, weights, penalty)
    optimizer = torch.optim.LBFGS(other.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = objective(other, features, targets, weights, penalty)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(head.weight.data.double(), other.weight.data, rtol=1e-3, atol=1e-4)
    bias = other.bias.data - other.bias.data.mean()  # only their differences matter
    torch.testing.assert_close(head.bias.data.double(), bias, rtol=1e-3, atol=1e-4)
