"""A singer, or recording, is in one subset only; a wrong split is explained in one sentence."""

import pandas as pd
import pytest

from singtech.corpus.splits import assign_subsets, make_split, note_split, require_names

THERE = ["female1", "male1", "male10"]


def sung(*pairs):
    """A row for each "singer technique"."""
    return pd.DataFrame([pair.split() for pair in pairs], columns=["singer", "technique"])


def subset_of(table, **split):
    return assign_subsets(make_split(split), table, ["straight"], "clip", [])


def taken(*paths):
    """A row for each recording's path; its first folder is the singer."""
    rows = [(path, path.split("/")[0], "straight") for path in paths]
    return pd.DataFrame(rows, columns=["path", "singer", "technique"])


def test_singers_of_the_split_are_in_their_subset_and_all_others_train():
    table = sung("male10 straight", "female1 straight", "male1 straight", "male10 straight")
    assert subset_of(table, test=["male10"], validation=["female1"]) == ["test", "validation", "train", "test"]


def test_where_training_singers_are_named_all_others_are_in_no_subset():
    table = sung("male10 straight", "female1 straight", "male1 straight")
    assert subset_of(table, test=["male10"], train=["male1"]) == ["test", "", "train"]
    assert subset_of(table, test=["male10"], train=None) == ["test", "train", "train"]


def test_a_split_by_recording_names_paths_with_or_without_their_suffix():
    table = taken("ann/straight/a.wav", "ann/straight/b.flac", "ben/straight/a.1.wav", "ben/straight/c.wav")
    split = {"by": "recording", "test": ["ann/straight/a", "ben/straight/a.1"], "validation": ["ann/straight/b.flac"]}
    assert subset_of(table, **split) == ["test", "validation", "test", "train"]


def test_an_official_list_is_a_text_file_with_a_name_a_line(tmp_path, monkeypatch):
    (tmp_path / "test.txt").write_text("\ufeff# official list\nmale10\n\n  female1  \r\n", encoding="utf-8")
    table = sung("male10 straight", "female1 straight", "male1 straight")
    monkeypatch.chdir(tmp_path)
    assert subset_of(table, test="test.txt") == ["test", "test", "train"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert subset_of(table, test="~/test.txt", train=["male1"]) == ["test", "test", "train"]
    with pytest.raises(
        FileNotFoundError, match=r"data.split.test=male1: there is no such file; .* \[male1\], or a text"
    ):
        make_split({"test": "male1"})


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"test": ["male2"]}, "data.split.test names male2; there are female1, male1, male10. Did you mean male1"),
        ({"test": ["Male10"]}, "data.split.test names Male10; .* Did you mean male10"),
        (
            {"test": ["male1"], "validation": ["bob"]},
            "data.split.validation names bob; there are female1, male1, male10.$",
        ),
        ({"test": ["male1"], "validation": ["male1"]}, "data.split names male1 in validation and in test: choose one"),
        ({"test": []}, "data.split.test names no singer; there are female1, male1, male10"),
        ({"validation": ["male1"]}, "data.split.test names no singer"),
        ({"test": ["male1"], "train": ["male1", "male10"]}, "data.split names male1 in train and in test: choose one"),
        ({"test": ["male1"], "train": ["male2"]}, "data.split.train names male2; .* Did you mean male1"),
        ({"test": ["male1"], "train": []}, "data.split.train names no singer; there are"),
        ({"test": THERE}, "data.split leaves no singer to train: it names all of them"),
        ({"test": {"male1": 1}}, "data.split.test={'male1': 1}: expected a list"),
        ({"test": ["male1"], "by": "song"}, "data.split.by=song: expected singer or recording"),
    ],
)
def test_a_wrong_split_is_said(split, said):
    with pytest.raises(ValueError, match=said):
        require_names(make_split(split), THERE)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"test": ["m1_A"]}, "data.split.test names m1_A; there are male1/a/m1_a and others. .* mean male1/a/m1_a"),
        ({"test": []}, "data.split.test names no recording; there are male1/a/m1_a and others"),
        ({"test": ["male1/a/m1_a", "male1/a/m1_b"]}, "data.split leaves no recording to train: it names all of them"),
    ],
)
def test_a_wrong_split_by_recording_is_said_without_listing_all_of_them(split, said):
    with pytest.raises(ValueError, match=said):
        require_names(make_split({"by": "recording", **split}), ["male1/a/m1_a", "male1/a/m1_b"])


def test_a_technique_without_a_training_row_is_an_error_with_what_could_not_be_used():
    table = sung("male1 straight", "male10 straight", "male10 trill")
    split = make_split({"test": ["male10"]})
    with pytest.raises(ValueError, match="no training clip of trill: leave it out of data.techniques, or .*split..$"):
        assign_subsets(split, table, ["straight", "trill"], "clip", [])
    with pytest.raises(ValueError, match="2 recordings could not be used, first: a.wav: it is empty.$"):
        assign_subsets(split, table, ["straight", "trill"], "clip", ["a.wav: it is empty", "b.wav: it is empty"])


def test_a_split_without_a_test_row_is_an_error():
    with pytest.raises(ValueError, match="no test recording of these techniques: choose other singers"):
        assign_subsets(make_split({"test": ["male7"]}), sung("male1 straight"), ["straight"], "recording", [])


def test_what_the_test_lacks_is_said():
    table = sung("male1 straight", "male1 trill", "male10 straight").assign(split=["train", "train", "test"])
    assert note_split(make_split({"test": ["male10", "male7"]}), table, table, ["straight", "trill"]) == [
        "test singer male7 has no recording of the chosen techniques",
        "no test recording of trill: its scores will not be defined",
    ]


def test_a_singer_in_train_and_test_and_what_is_left_out_are_said():
    split = {"by": "recording", "test": ["ann/a", "ben/x"], "train": ["ann/b", "ben/a"]}
    recordings = taken("ann/a.wav", "ann/b.wav", "ben/a.wav", "cid/a.wav", "cid/b.wav")
    recordings["split"] = ["test", "train", "train", "", ""]
    clips = pd.DataFrame({"split": ["test", "train", "train", "", "", ""]})
    assert note_split(make_split(split), recordings, clips, ["straight"]) == [
        "left out 2 recordings with 3 clips: data.split names them in no subset",
        "1 test recording of data.split without a clip: of other techniques, a copy or not usable",
        "1 singer is in both train and test: scores are no evidence about new singers",
    ]


def test_with_a_fold_no_list_names_who_validates_or_trains():
    with pytest.raises(ValueError, match="data.split names validation singers: with data.fold=1 none validates"):
        make_split({"validation": ["ann"]}, 1, 2)
    with pytest.raises(ValueError, match="data.split names training singers: .* all others train; leave"):
        make_split({"train": ["ann"]}, 1, 2)


def test_a_text_file_of_names_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "names.txt").write_bytes("béla\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"^data.split.test=\S+names.txt: expected UTF-8; save it as UTF-8.$"):
        make_split({"test": str(tmp_path / "names.txt")})
