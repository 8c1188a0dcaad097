"""Settings: what is equal, what is taken away, and how a shell and Hydra read them."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from singtech.results.settings import Settings, read_settings


def test_equal_values_are_equal_settings_however_they_are_written():
    assert read_settings('{"batch_size": 2, "optimizer.lr": 0.001}') == Settings.of(
        {"optimizer.lr": 1e-3, "batch_size": 2.0}
    )
    assert Settings.of({"drop_last": True}) != Settings.of({"drop_last": 1})
    assert Settings.of({"loss": "1"}) != Settings.of({"loss": 1})


def test_settings_are_taken_away_and_joined_but_where_they_contradict():
    both = Settings.of({"schedule": "demo", "model.hidden": None})
    hidden = Settings.of({"model.hidden": None})
    assert both.includes(hidden)
    assert both.without(hidden) == Settings.of({"schedule": "demo"})
    assert Settings.of({"schedule": "demo"}).join(hidden) == both
    assert both.join(Settings.of({"model.hidden": 50})) is None
    assert Settings.of({"retraining.init": "warm", "loss": "focal"}).without_group("retraining") == Settings.of(
        {"loss": "focal"}
    )


def test_words_begin_with_groups():
    assert Settings.of({"optimizer.lr": 0.001, "schedule": "demo"}).words == "schedule=demo, optimizer.lr=0.001"
    assert read_settings("", "model.build.hidden=None").words == "stored by an earlier version, model.build.hidden=None"
    assert read_settings("").words == "stored by an earlier version"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        2,
        0.001,
        1e-05,
        "focal",
        "on",
        "true",
        "null",
        "12",
        "1e-3",
        "",
        "a b",
        "it's, so",
        "[x]",
        "a=b",
        ["female3", "male2"],
        [1, 2.5],
        [],
        {"a": 1},
        "x:y",
        "/my folder/x",
        "back\\slash",
        "end\\",
    ],
)
def test_hydra_reads_from_a_shell_what_was_set(value):
    (argument,) = shlex.split(Settings.of({"name": value}).command)
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert override.value() == value
    assert type(override.value()) is type(value)


@pytest.mark.parametrize("text", ["[1]", "loss=focal", "{", "2"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ValueError, match="expected a JSON object"):
        read_settings(text)
