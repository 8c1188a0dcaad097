"""Scores without each singer: what is computed from predictions, and how wide intervals are where that is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from singtech.metrics import score_clips
from singtech.results.jackknife import Jackknife
from singtech.results.predictions import PREDICTIONS, Predictions, read_predictions

TECHNIQUES = ("straight", "trill", "vibrato")


def clips_of(singers, recordings, clips):
    """Clips of so many recordings of so many singers each."""
    rows = [
        {"recording": f"s{s}/scales/straight/{r}.wav", "singer": f"s{s}", "start": 3.0 * c, "context": "scales"}
        for s in range(singers)
        for r in range(recordings)
        for c in range(clips)
    ]
    return pd.DataFrame(rows)


def predicted(clips, seed=0):
    draw = np.random.default_rng(seed)
    technique = draw.choice(TECHNIQUES, len(clips))
    return Predictions(clips.assign(technique=technique), TECHNIQUES, draw.normal(size=(len(clips), 3)).astype("f4"))


def write(predictions, path):
    path.parent.mkdir(parents=True)
    logits = pd.DataFrame(predictions.logits, columns=[f"logit_{name}" for name in predictions.techniques])
    pd.concat([predictions.clips, logits], axis=1).to_csv(path, index=False)


def test_weighted_scores_are_scikit_learns_with_sample_weights():
    told = predicted(clips_of(3, 2, 4))
    weights = np.random.default_rng(1).integers(0, 4, size=(5, 24)).astype("f4")
    found = told.scores(weights)
    named = told.logits.argmax(axis=1)
    for k, weight in enumerate(weights):
        options = {"sample_weight": weight}
        assert found["f1"][k] == pytest.approx(f1_score(told.targets, named, average="macro", **options))
        assert found["accuracy"][k] == pytest.approx(accuracy_score(told.targets, named, **options))
        assert found["balanced_accuracy"][k] == pytest.approx(balanced_accuracy_score(told.targets, named, **options))


def test_with_every_clip_once_they_are_the_final_metrics():
    told = predicted(clips_of(3, 2, 4), seed=2)
    found = told.scores(np.ones((1, 24), "f4"))
    expected = score_clips(told.targets, told.logits, TECHNIQUES)
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected)


def test_a_technique_without_a_drawn_clip_has_no_score_and_no_part_in_the_mean():
    clips = clips_of(1, 1, 2).assign(technique=["trill", "vibrato"])
    told = Predictions(clips, TECHNIQUES, np.array([[0, 1, 0], [0, 1, 0]], "f4"))
    found = told.scores(np.array([[1, 0], [0, 1]], "f4"))
    np.testing.assert_allclose(found["f1_vibrato"], [np.nan, 0])
    np.testing.assert_allclose(found["f1"], [1, 0])


def right_and_wrong(clips, folder, **right):
    """Write a run a name: each clip's technique is straight, and named so where it is right."""
    for name, hits in right.items():
        logits = np.where(np.asarray(hits)[:, None], [1, 0, 0], [0, 1, 0]).astype("f4")
        write(Predictions(clips.assign(technique="straight"), TECHNIQUES, logits), folder / name / "predictions.csv")
    return Jackknife(folder)


def test_clips_of_one_recording_are_no_independent_draws(tmp_path):
    """All clips of a singer right, or all wrong: the interval is that of five singers, however many clips they have."""
    for number in (1, 10):
        clips = clips_of(5, number, number)
        here = right_and_wrong(clips, tmp_path / str(number), run=clips["singer"].isin(["s0", "s1", "s2"]))
        expected = ttest_1samp([1, 1, 1, 0, 0], 0).confidence_interval(0.95)
        assert here.estimate("accuracy", ["run"]).interval() == pytest.approx(expected)


def test_seeds_that_differ_widen_the_interval(tmp_path):
    clips = clips_of(3, 1, 2)
    first, second = [1, 1, 1, 0, 1, 0], [1, 0, 1, 0, 0, 0]
    here = right_and_wrong(clips, tmp_path, first=first, second=second)
    one, both = (here.estimate("accuracy", runs) for runs in (["first"], ["first", "second"]))
    assert (one.value, one.error) == pytest.approx((4 / 6, math.sqrt(1 / 12 / 3)))  # of 1, 1/2 and 1/2
    # means over seeds are 3/4, 1/2 and 1/4, of variance 1/16; the seeds are at 2/3 and 1/3, of variance 1/18
    assert (both.value, both.error, both.seeds) == pytest.approx((1 / 2, math.sqrt(1 / 16 / 3 + 1 / 18 / 2), 2))


def test_a_difference_is_paired_by_singer(tmp_path):
    """Each singer has one more of four clips right with the second run, but for one: so do the differences vary."""
    clips = clips_of(3, 1, 4)
    worse = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]])
    better = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 1]])
    here = right_and_wrong(clips, tmp_path, worse=worse.ravel(), better=better.ravel())
    estimate = here.estimate("accuracy", ["better"], ["worse"])
    assert estimate.interval() == pytest.approx(ttest_1samp([1 / 4, 1 / 4, 0], 0).confidence_interval(0.95))


def test_singers_who_do_not_sing_a_technique_are_no_evidence_on_it(tmp_path):
    """Of four singers two sing trill, one has it right: t of 1 degree over these."""
    technique = ["trill", "trill", "vibrato", "vibrato"]
    logits = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]], "f4")
    write(Predictions(clips_of(4, 1, 1).assign(technique=technique), TECHNIQUES, logits), tmp_path / "a" / PREDICTIONS)
    estimate = Jackknife(tmp_path).estimate("recall_trill", ["a"])
    assert (estimate.units, estimate.value) == (2, 0.5)
    assert estimate.interval() == pytest.approx(ttest_1samp([1, 0], 0).confidence_interval(0.95))
    assert not Jackknife(tmp_path).estimate("recall_straight", ["a"]).is_defined


def test_runs_without_predictions_have_no_interval(tmp_path, caplog):
    here = Jackknife(tmp_path)
    assert np.isnan(here.estimate("f1", ["gone"]).interval()).all()
    assert not here.estimate("f1", []).is_defined
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "predictions.csv").write_text("recording,singer\n")
    assert not here.estimate("f1", ["damaged"]).is_defined
    assert "is damaged" in caplog.text


def test_predictions_come_back_as_they_were_written(tmp_path):
    told = predicted(clips_of(2, 2, 2))
    write(told, tmp_path / "run" / "predictions.csv")
    again = read_predictions(tmp_path / "run" / "predictions.csv")
    np.testing.assert_array_equal(again.logits, told.logits)
    np.testing.assert_array_equal(again.targets, [TECHNIQUES.index(name) for name in told.clips["technique"]])
    np.testing.assert_allclose(again.probabilities.sum(axis=1), 1)


def test_a_runs_predictions_are_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("singtech.results.jackknife.read_predictions", lambda path: read.append(path))
    here = Jackknife(tmp_path)
    for _ in range(3):
        here.predictions("one")
    assert read == [tmp_path / "one" / "predictions.csv"]
