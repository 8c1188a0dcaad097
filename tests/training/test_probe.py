"""The probe finds what features hold, and no more: hand-made features of known content, and intervals by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from singtech.training.probe import SPLITS, across, halve, probe, within

SINGERS = ("female1", "female2", "male1", "male2")


def make_clips(singers, recordings=6, clips=2):
    """Clips of these singers: recordings alternate between two techniques, and between two contexts by pairs."""
    rows = [
        (f"{singer}/{r}", singer, ("belt", "breathy")[r % 2], ("scales", "excerpts")[r // 2 % 2])
        for singer in singers
        for r in range(recordings)
        for _ in range(clips)
    ]
    return pd.DataFrame(rows, columns=["recording", "singer", "technique", "context"])


def one_hot(labels):
    names = sorted(set(labels))
    return np.array([[float(label == name) for name in names] for label in labels])


def found(features, clips):
    frame = probe(features, clips).set_index(["target", "singers"])
    return frame["accuracy"].to_dict(), frame


@pytest.fixture(scope="module")
def clips():
    return {"train": make_clips(SINGERS), "test": make_clips(("female3", "male3"))}


def test_features_of_the_singer_alone_tell_singer_and_gender_and_nothing_else(clips):
    accuracy, frame = found(
        {"train": one_hot(clips["train"]["singer"]), "test": np.zeros((len(clips["test"]), len(SINGERS)))}, clips
    )
    assert (accuracy["singer", "same"], accuracy["gender", "same"]) == (1, 1)
    assert accuracy["technique", "same"] <= 0.6
    assert accuracy["technique", "new"] == accuracy["gender", "new"] == 0.5  # all new features are alike
    assert ("singer", "new") not in accuracy
    assert frame.loc[("singer", "same"), ["classes", "clips", "recordings", "majority", "chance"]].tolist() == [
        *(4, 48, 24),
        *(0.25, 0.25),
    ]


def test_features_of_the_technique_alone_tell_it_for_new_singers_too(clips):
    accuracy, frame = found({subset: one_hot(each["technique"]) for subset, each in clips.items()}, clips)
    assert (accuracy["technique", "same"], accuracy["technique", "new"]) == (1, 1)
    assert accuracy["singer", "same"] <= 0.4
    assert frame.loc[("technique", "new"), ["clips", "recordings", "majority", "chance"]].tolist() == [24, 12, 0.5, 0.5]


def test_features_of_noise_are_at_chance():
    draw = np.random.default_rng(0)
    clips = {"train": make_clips(SINGERS, 50, 1), "test": make_clips(("female3", "male3"), 50, 1)}
    _, frame = found({subset: draw.normal(size=(len(each), 8)) for subset, each in clips.items()}, clips)
    assert len(frame) == 7
    for name in ("accuracy", "balanced_accuracy"):
        assert (abs(frame[name] - frame["chance"]) < 0.1).all()


def test_a_recording_that_tells_itself_tells_nothing(clips):
    """Were halves of clips, a clip's recording would give its singer away."""
    features = {subset: one_hot(each["recording"]) for subset, each in clips.items()}
    features["test"] = np.zeros((len(clips["test"]), features["train"].shape[1]))
    accuracy, _ = found(features, clips)
    assert accuracy["singer", "same"] < 0.5


def test_halves_share_no_recording_and_hold_half_of_each_class():
    clips = make_clips(SINGERS, recordings=5)
    for split in range(SPLITS):
        half = halve(clips["singer"].to_numpy(dtype=str), clips["recording"].to_numpy(dtype=str), split)
        assert (clips.assign(half=half).groupby("recording")["half"].nunique() == 1).all()
        sizes = clips[half].groupby("singer")["recording"].nunique()
        assert len(sizes) == 4
        assert set(sizes) <= {2, 3}
    halves = [halve(*(clips[c].to_numpy(dtype=str) for c in ("singer", "recording")), split) for split in range(2)]
    assert (halves[0] != halves[1]).any()


def test_what_is_not_told_or_has_one_class_is_left_out():
    clips = {"train": make_clips(("ann", "ben")).assign(context=""), "test": make_clips(("cid",)).assign(context="")}
    lone = clips["train"].iloc[:1].assign(recording="ann/only", singer="dot")
    clips["train"] = pd.concat([clips["train"], lone], ignore_index=True)
    features = {subset: np.ones((len(each), 2)) for subset, each in clips.items()}
    frame = probe(features, clips)
    assert list(zip(frame["target"], frame["singers"], strict=True)) == [
        *(("singer", "same"), ("technique", "same"), ("technique", "new"))
    ]
    assert frame["clips"].tolist() == [24, 25, 12]  # a singer of one recording cannot be in both halves
    assert frame["classes"].tolist() == [2, 2, 2]


def test_numbers_of_new_singers_and_their_interval_by_hand():
    """Of three singers 3 of 4, 2 of 2 and 0 of 2 clips are right; five clips are a's, of which three are right."""
    learned, labels = np.array([[-1.0], [1.0]] * 4), np.array(["a", "b"] * 4)
    named = np.array(["a", "a", "b", "b", "b", "b", "b", "b"])
    truth = np.array(["a", "a", "b", "a", "b", "b", "a", "a"])
    singers = np.array(["x"] * 4 + ["y"] * 2 + ["z"] * 2)
    others = np.where(named == "a", -1.0, 1.0)[:, None]
    classes, clips, recordings, accuracy, low, high, majority, balanced, *_, chance = across(
        learned, labels, others, truth, singers, 8
    )
    assert (classes, clips, recordings, chance) == (2, 8, 8, 0.5)
    assert (accuracy, majority, balanced) == (5 / 8, 5 / 8, pytest.approx((2 / 5 + 1) / 2))
    without = np.array([2 / 4, 3 / 6, 5 / 6])
    half = t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum())
    assert (low, high) == (pytest.approx(5 / 8 - half), pytest.approx(5 / 8 + half))


def test_the_interval_of_the_same_singers_is_that_of_recordings():
    """A feature tells the class but for one clip of one recording of 20: without it all others are right."""
    labels = np.repeat(np.array(["a", "b"] * 10), 2)
    recordings = np.repeat(np.array([f"{number:02}" for number in range(20)]), 2)
    features = np.where(labels == "a", -1.0, 1.0)[:, None]
    features[0] = 1.0
    *_, accuracy, low, high, _, _, _, _, _ = within(features, labels, recordings)
    assert accuracy == 39 / 40
    without = np.array([1.0] + [37 / 38] * 19)
    half = t.ppf(0.975, 19) * np.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
    assert (low, high) == (pytest.approx(39 / 40 - half), pytest.approx(39 / 40 + half))
