"""Phases are typed, and their keys share what may be shared and nothing else."""

import functools
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from singtech.components import ComponentError
from singtech.imbalance.losses import WeightedCrossEntropy
from singtech.imbalance.rewrites import LearnableScaling, TauNormalized
from singtech.models.network import initialise
from singtech.training.phases import (
    Pretrained,
    RewriteHead,
    TrainHead,
    TrainNetwork,
    digest,
    phase_keys,
    read_phases,
)

KINDS = "singtech.training.phases"
SGD = {"_target_": "torch.optim.SGD", "lr": 0.1}


@dataclass(frozen=True)
class Shared:
    seed: int = 0


def keys(*phases, seed=0):
    return phase_keys(Shared(seed), phases)


def adam(lr=1e-4):
    return functools.partial(torch.optim.Adam, lr=lr)


def loss(alpha):
    return functools.partial(WeightedCrossEntropy, alpha=alpha)


def network(alpha=0.2, epochs=100, **options):
    return TrainNetwork(epochs=epochs, **{"loss": loss(alpha), "optimizer": adam(), **options})


def classifier(alpha=0.2, epochs=100, **options):
    return TrainHead(epochs=epochs, **{"loss": loss(alpha), "optimizer": adam(), "init": "scratch", **options})


def test_all_alphas_of_crt_wc_share_one_feature_phase():
    first, second = keys(network(0.0), classifier(0.2)), keys(network(0.0), classifier(1.0))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_joint_goes_on_from_crt_wfcs_feature_phase_at_the_same_alpha():
    joint, decoupled = keys(network(), network()), keys(network(), classifier())
    assert joint[0] == decoupled[0]
    assert joint[1] != decoupled[1]
    assert joint[0] != joint[1]


def test_twelve_runs_of_three_strategies_and_four_alphas_are_eight_network_and_seven_head_phases():
    made = {}
    for alpha in (0, 0.2, 0.5, 1):
        for phases in (
            (network(alpha), network(alpha)),
            (network(alpha), classifier(alpha)),
            (network(0.0), classifier(alpha)),
        ):
            made |= dict(zip(keys(*phases), (phase.trains for phase in phases), strict=True))
    assert sorted(made.values()) == ["head"] * 7 + ["network"] * 8


def test_zero_is_zero_however_it_is_typed():
    assert keys(network(0)) == keys(network(0.0)) == keys(network(-0.0))
    assert digest({"a": [1, 2.0]}) == digest({"a": (1.0, 2)})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({"a": True}) != digest({"a": 1})


def test_a_phases_name_is_for_people_only():
    assert keys(network(name="features")) == keys(network(name="something else"))
    same = {"loss": WeightedCrossEntropy, "optimizer": adam(), "epochs": 1}
    assert TrainNetwork(name="features", **same) == TrainNetwork(**{**same, "optimizer": same["optimizer"]})


@pytest.mark.parametrize(
    "other",
    [
        keys(network(), seed=1),
        keys(network(optimizer=adam(1e-3))),
        keys(network(optimizer=functools.partial(torch.optim.SGD, lr=1e-4))),
        keys(network(0.5)),
        keys(network(epochs=50)),
        keys(network(learning_rate=1e-5)),
        keys(classifier()),
    ],
)
def test_whatever_decides_the_outcome_changes_the_key(other):
    assert other != keys(network())


@pytest.mark.parametrize(
    "other",
    [
        classifier(init="warm"),
        classifier(extractor="train"),
        classifier(epochs=10),
        classifier(learns=LearnableScaling),
        RewriteHead(rewrite=TauNormalized),
    ],
)
def test_whatever_decides_the_retraining_changes_its_key_alone(other):
    ours, theirs = keys(network(), classifier()), keys(network(), other)
    assert ours[0] == theirs[0]
    assert ours[1] != theirs[1]


def test_a_phase_says_what_it_trains_and_whether_features_computed_before_it_are_stale():
    head, moving, rewrite = classifier(), classifier(extractor="train"), RewriteHead(rewrite=TauNormalized)
    stages = (network(), head, moving, rewrite, Pretrained())
    assert [phase.trains for phase in stages] == ["network", "head", "head", "", ""]
    assert [phase.changes_extractor for phase in stages] == [True, False, True, False, False]
    assert [phase.epochs for phase in stages] == [100, 100, 100, 0, 0]


def test_a_head_from_scratch_has_other_weights_than_before_and_at_first_and_a_warm_one_keeps_its_own():
    trained, first = nn.Linear(30, 3), nn.Linear(30, 3)
    initialise(first, 0, prefix="classifier")
    weight = trained.weight.detach().clone()
    classifier(init="warm").begin(SimpleNamespace(classifier=trained), seed=0)
    assert torch.equal(trained.weight, weight)
    classifier(init="scratch").begin(SimpleNamespace(classifier=trained), seed=0)
    assert not torch.isclose(trained.weight, weight).all(dim=1).any()
    assert not torch.isclose(trained.weight, first.weight).all(dim=1).any()


def test_a_phases_own_learning_rate_takes_the_place_of_the_optimizers():
    weights = [torch.zeros(1, requires_grad=True)]
    for rate, expected in ((None, 1e-4), (0.5, 0.5)):
        assert classifier(learning_rate=rate).optimizer_settings(weights).param_groups[0]["lr"] == expected


def test_a_strategy_that_begins_with_the_head_begins_with_the_network_as_it_was_built():
    phases = read_phases([{"_target_": f"{KINDS}.TrainHead", "epochs": 2, "optimizer": SGD}])
    assert [type(phase) for phase in phases] == [Pretrained, TrainHead]
    assert phases[1].init == "warm"
    trained = read_phases([{"_target_": f"{KINDS}.TrainNetwork", "epochs": 2, "optimizer": SGD}])
    assert [type(phase) for phase in trained] == [TrainNetwork]


def entry(kind="TrainNetwork", **settings):
    return {"_target_": f"{KINDS}.{kind}", "epochs": 1, "optimizer": SGD} | settings


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "strategy.phases: expected a list of at least one phase"),
        ([{"epochs": 1}], r"strategy.phases\[0\]: expected a phase with a _target_"),
        (
            [entry("Train")],
            r"strategy.phases\[0\]._target_=.*: module 'singtech.training.phases' has no attribute 'Train'",
        ),
        ([entry(_target_="torch.nn.Linear")], "unexpected keyword argument 'epochs'"),
        ([{"_target_": "singtech.imbalance.rewrites.TauNormalized"}], "TauNormalized is no subclass of"),
        ([entry(epochs=0)], "epochs=0: expected a whole number"),
        ([entry(learning_rate=0)], "learning_rate=0: expected a number above 0"),
        ([entry(momentum=1)], "TrainNetwork.* unexpected keyword argument 'momentum'"),
        ([entry(), entry("TrainHead", init="anew")], "init=anew: expected warm or scratch"),
        ([entry(), entry("TrainHead", extractor="off")], "extractor=off: expected eval or train"),
        ([{"_target_": f"{KINDS}.TrainNetwork", "epochs": 1}], r"strategy.phases\[0\]: .*optimizer"),
        ([entry(), {"_target_": f"{KINDS}.RewriteHead"}], r"strategy.phases\[1\]: .*rewrite"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(entries, message):
    with pytest.raises(ValueError, match=message):
        read_phases(entries)


def test_an_optimizer_that_torch_does_not_have_is_named():
    with pytest.raises(
        (ValueError, ComponentError),
        match=r"optimizer._target_=torch.optim.Adm: module 'torch.optim' has no attribute 'Adm'",
    ):
        read_phases([entry(optimizer={"_target_": "torch.optim.Adm"})])
