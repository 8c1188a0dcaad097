"""Guessing, against values by hand and against scikit-learn's DummyClassifier."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score

from singtech.metrics import list_overall, score_clips
from singtech.results.references import chance, majority, references
from singtech.techniques import TECHNIQUES

# VocalSet's clips by technique, in the techniques' order.
TRAIN = np.array([333, 360, 109, 267, 56, 920, 230, 189, 775, 376])
TEST = np.array([90, 95, 48, 109, 17, 318, 93, 53, 284, 211])


def lengths(*rows):
    return pd.DataFrame(rows, columns=["technique", "split", "clips"])


def test_guessing_one_of_two_techniques_by_hand():
    found = chance(np.array([1, 1]), ["trill", "trillo"])
    # a technique's only clip is found half of the time; then F1 is 1, or 2/3 where the other clip is named so too
    assert found["f1_trill"] == found["f1_trillo"] == found["f1"] == pytest.approx((1 + 2 / 3) / 4)
    assert (found["accuracy"], found["balanced_accuracy"], found["recall_trill"]) == (0.5, 0.5, 0.5)
    assert (found["top2_accuracy"], found["top3_accuracy"]) == (1.0, 1.0)


def test_chance_is_what_uniform_guesses_give_on_average():
    test = np.array([30, 12, 5, 3])
    targets = np.repeat(np.arange(4), test)
    found = chance(test, ["a", "b", "c", "d"])
    drawn = []
    for seed in range(800):
        guess = DummyClassifier(strategy="uniform", random_state=seed).fit(np.zeros((4, 1)), np.arange(4))
        named = guess.predict(np.zeros((len(targets), 1)))
        drawn.append([*f1_score(targets, named, average=None), balanced_accuracy_score(targets, named)])
    mean, error = np.mean(drawn, axis=0), np.std(drawn, axis=0) / np.sqrt(len(drawn))
    expected = np.array([*(found[f"f1_{name}"] for name in "abcd"), found["balanced_accuracy"]])
    assert (abs(mean - expected) < 4 * error).all()
    assert found["f1"] == pytest.approx(np.mean(expected[:4]))


def test_chance_on_vocalset_is_a_tenth_and_two_and_three_of_ten():
    found = chance(TEST, list(TECHNIQUES))
    expected = [0.1, 0.1, 0.2, 0.3, 0.5, np.nan]
    assert [found[name] for name in list_overall()[1:]] == pytest.approx(expected, nan_ok=True)
    assert 0.08 < found["f1"] < 0.1  # below the recall of 0.1, for precision is below it on rare techniques
    assert found["f1_straight"] > found["f1_spoken"]


def test_the_majority_on_vocalset_is_straight_then_vibrato_then_vocal_fry():
    found = majority(TRAIN, TEST, list(TECHNIQUES))
    assert found["accuracy"] == pytest.approx(318 / 1318)
    assert found["top2_accuracy"] == pytest.approx((318 + 284) / 1318)
    assert found["top3_accuracy"] == pytest.approx((318 + 284 + 211) / 1318)
    assert found["balanced_accuracy"] == pytest.approx(0.1)
    assert found["recall_straight"] == 1.0
    assert found["recall_vibrato"] == 0.0
    assert found["f1"] == pytest.approx(2 * 318 / (1318 + 318) / 10)


def test_the_majority_is_scikit_learns_most_frequent():
    guess = DummyClassifier(strategy="most_frequent").fit(np.zeros((TRAIN.sum(), 1)), np.repeat(np.arange(10), TRAIN))
    targets = np.repeat(np.arange(10), TEST)
    named = guess.predict(np.zeros((len(targets), 1)))
    found = majority(TRAIN, TEST, list(TECHNIQUES))
    assert found["f1"] == pytest.approx(f1_score(targets, named, average="macro", zero_division=0))
    assert found["accuracy"] == pytest.approx((named == targets).mean())


def test_references_have_every_score_that_runs_have():
    known = score_clips(np.array([0, 1]), np.eye(2), ["trill", "belt"])
    rows = [("trill", "train", 3), ("trill", "test", 2), ("belt", "train", 1), ("belt", "test", 1)]
    scored = references(("chance", "majority"), lengths(*rows))
    assert list(scored) == ["Chance", "Majority"]
    assert all(set(scores_of) == set(known) for scores_of in scored.values())


def test_a_technique_without_a_test_clip_counts_in_no_average():
    found = chance(np.array([2, 0]), ["trill", "belt"])
    assert np.isnan([found["f1_belt"], found["recall_belt"], found["auc_belt"]]).all()
    assert np.isnan(found["auc_trill"])  # without a clip of another technique
    assert found["f1"] == found["f1_trill"]


def test_where_the_clips_are_not_known_there_is_no_reference():
    assert references(("chance",), lengths()) == {}
    assert references(("chance",), lengths(("trill", "train", 3))) == {}


@pytest.mark.parametrize(("train", "test"), [(TRAIN, TEST), ([5, 9, 9, 1], [3, 0, 2, 4]), ([5, 9, 2, 1], [3, 0, 2, 4])])
def test_the_majority_is_what_the_metrics_make_of_always_the_same_ranking(train, test):
    train, test = np.array(train), np.array(test)
    names = [f"technique {k}" for k in range(len(train))]
    logits = np.tile(train.astype(float), (test.sum(), 1))
    expected = score_clips(np.repeat(np.arange(len(test)), test), logits, names)
    assert majority(train, test, names) == pytest.approx(expected, nan_ok=True)
