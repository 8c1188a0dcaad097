"""Phases are typed, and their keys share what may be shared and nothing else."""

import pytest

from singtech.training.phases import Phase, digest, phase_keys, read_phases

SETUP = {"model": {"dc": [3, 4]}, "seed": 0, "lr": 1e-4}


def keys(*phases, **changes):
    return phase_keys(SETUP | changes, phases)


def network(alpha=0.2, epochs=100, **options):
    return Phase("network", epochs, alpha, **options)


def classifier(alpha=0.2, epochs=100, start="anew", **options):
    return Phase("classifier", epochs, alpha, start, **options)


def test_all_alphas_of_crt_wc_share_one_feature_phase():
    first, second = keys(network(0.0), classifier(0.2)), keys(network(0.0), classifier(1.0))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_joint_goes_on_from_crt_wfcs_feature_phase_at_the_same_alpha():
    joint, decoupled = keys(network(), network()), keys(network(), classifier())
    assert joint[0] == decoupled[0]
    assert joint[1] != decoupled[1]
    assert joint[0] != joint[1]


def test_twelve_runs_of_three_strategies_and_four_alphas_are_eight_network_and_seven_classifier_phases():
    made = {}
    for alpha in (0, 0.2, 0.5, 1):
        for phases in (
            (network(alpha), network(alpha)),
            (network(alpha), classifier(alpha)),
            (network(0.0), classifier(alpha)),
        ):
            made |= dict(zip(keys(*phases), (phase.trains for phase in phases), strict=True))
    assert sorted(made.values()) == ["classifier"] * 7 + ["network"] * 8


def test_zero_is_zero_however_it_is_typed():
    assert keys(network(0)) == keys(network(0.0)) == keys(network("0"))
    assert digest({"a": [1, 2.0]}) == digest({"a": (1.0, 2)})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({"a": True}) != digest({"a": 1})


def test_a_phases_name_is_for_people_only():
    assert keys(network(name="features")) == keys(network(name="something else"))
    assert network(name="features") == network()


@pytest.mark.parametrize(
    "other",
    [
        keys(network(), seed=1),
        keys(network(), lr=1e-3),
        keys(network(), model={"dc": [4]}),
        keys(network(0.5)),
        keys(network(epochs=50)),
        keys(network(learning_rate=1e-5)),
    ],
)
def test_whatever_decides_the_outcome_changes_the_key(other):
    assert other != keys(network())


@pytest.mark.parametrize("other", [classifier(start="on"), classifier(extractor="train"), classifier(epochs=10)])
def test_whatever_decides_the_retraining_changes_its_key_alone(other):
    ours, theirs = keys(network(), classifier()), keys(network(), other)
    assert ours[0] == theirs[0]
    assert ours[1] != theirs[1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "begins with a phase that trains the network"),
        ([{"trains": "classifier", "epochs": 1, "alpha": 0}], "begins with a phase that trains the network"),
        ([{"trains": "net", "epochs": 1, "alpha": 0}], "trains=net in a phase: expected network or classifier"),
        ([{"trains": "network", "epochs": 0, "alpha": 0}], "epochs=0 in a phase: expected a whole number"),
        ([{"trains": "network", "epochs": 1.5, "alpha": 0}], "epochs=1.5 in a phase"),
        ([{"trains": "network", "epochs": 1, "alpha": -1}], "alpha=-1: expected a number from 0"),
        ([{"trains": "network", "epochs": 1, "alpha": 0, "momentum": 1}], "is no phase .*momentum"),
        ([{"trains": "network", "alpha": 0}], "is no phase .*epochs"),
        (
            [{"trains": "network", "epochs": 1, "alpha": 0, "start": "anew"}],
            "choices of a phase that trains the classifier",
        ),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(entries, message):
    with pytest.raises(ValueError, match=message):
        read_phases(entries)
