"""Singers are on one side only; who trains and who is tested is a view that errors explain."""

import pandas as pd
import pytest

from singtech.data.splits import absences, checked_split, require_singers, resolved, sides

THERE = ["female1", "male1", "male10"]


def sung(*pairs):
    """A row for each "singer technique"."""
    return pd.DataFrame([pair.split() for pair in pairs], columns=["singer", "technique"])


def side_of(table, **split):
    return sides(checked_split(split), table, ["straight"], "clip", [])


def test_singers_of_the_split_are_on_their_side_and_all_others_train():
    table = sung("male10 straight", "female1 straight", "male1 straight", "male10 straight")
    assert side_of(table, test=["male10"], validation=["female1"]) == ["test", "validation", "train", "test"]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"test": ["male2"]}, "data.split.test names male2, found are female1, male1, male10. Did you mean male1"),
        ({"test": ["Male10"]}, "data.split.test names Male10, .* Did you mean male10"),
        (
            {"test": ["male1"], "validation": ["bob"]},
            "data.split.validation names bob, found are female1, male1, male10. A singer is a folder in data.root",
        ),
        ({"test": ["male1"], "validation": ["male1"]}, "names male1 as a test and as a validation singer"),
        ({"test": []}, "data.split.test names no singer: name at least one of female1, male1, male10"),
        ({"validation": ["male1"]}, "data.split.test names no singer"),
        ({"test": ["male1"], "train": ["male10"]}, "data.split.train: a split names test and validation singers"),
        ({"test": "male1"}, r"data.split.test=male1: expected a list, \[male1\]"),
        (None, "data.split=None: expected test"),
    ],
)
def test_a_wrong_split_is_said(split, said):
    with pytest.raises(ValueError, match=said):
        require_singers(checked_split(split), THERE)


def test_a_technique_without_a_training_row_is_an_error_with_what_could_not_be_used():
    table = sung("male1 straight", "male10 straight", "male10 trill")
    split = checked_split({"test": ["male10"]})
    with pytest.raises(ValueError, match="no training clip of trill: leave it out of data.techniques, or .*split..$"):
        sides(split, table, ["straight", "trill"], "clip", [])
    with pytest.raises(ValueError, match="2 recordings could not be used, first: a.wav: it is empty.$"):
        sides(split, table, ["straight", "trill"], "clip", ["a.wav: it is empty", "b.wav: it is empty"])


def test_a_split_without_a_test_row_is_an_error():
    with pytest.raises(ValueError, match="no test recording of these techniques: choose other singers"):
        sides(checked_split({"test": ["male7"]}), sung("male1 straight"), ["straight"], "recording", [])


def test_what_the_test_lacks_is_said():
    table = sung("male1 straight", "male1 trill", "male10 straight").assign(split=["train", "train", "test"])
    assert absences(checked_split({"test": ["male10", "male7"]}), table, ["straight", "trill"]) == [
        "test singer male7 has no recording of the techniques asked for",
        "no test recording of trill: its scores will not be defined",
    ]


def test_a_folds_singers_are_the_test_singers_whatever_the_split_names():
    table = sung("ann straight", "ben straight")
    tested = [resolved(checked_split({"test": ["eve"]}, fold, 2), table).test for fold in range(2)]
    assert sorted(tested) == [["ann"], ["ben"]]
    with pytest.raises(ValueError, match="data.split.validation names ann: with data.fold=1 none validates"):
        checked_split({"validation": ["ann"]}, 1, 2)
