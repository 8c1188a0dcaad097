"""Intervals: what is drawn, what is computed from it, and how wide it comes out where that is known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from singtech.metrics import scores
from singtech.results.predictions import Predictions, read_predictions
from singtech.results.resampling import Draws, draw_weights

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
    expected = scores(told.targets, told.logits, TECHNIQUES)
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected)


def test_a_technique_without_a_drawn_clip_has_no_score_and_no_part_in_the_mean():
    clips = clips_of(1, 1, 2).assign(technique=["trill", "vibrato"])
    told = Predictions(clips, TECHNIQUES, np.array([[0, 1, 0], [0, 1, 0]], "f4"))
    found = told.scores(np.array([[1, 0], [0, 1]], "f4"))
    np.testing.assert_allclose(found["f1_vibrato"], [np.nan, 0])
    np.testing.assert_allclose(found["f1"], [1, 0])


def test_every_resample_has_as_many_singers_recordings_and_clips():
    clips = clips_of(4, 3, 5)
    weights = draw_weights(clips, 200, seed=0)
    assert weights.shape == (200, 60)
    np.testing.assert_array_equal(weights.sum(axis=1), 60)
    assert weights.mean() == 1
    by_singer = weights.reshape(200, 4, 15).sum(axis=2)
    np.testing.assert_array_equal(by_singer % 15, 0)  # a singer comes with as many clips each time
    np.testing.assert_array_equal(weights.reshape(200, 12, 5).sum(axis=2) % 5, 0)  # and a recording


def test_variance_is_that_of_three_stages_by_hand():
    """Mean 1; by the law of total variance, with S singers of R recordings of C clips, multinomials give
    (1 - 1/S) + (1 - 1/R) + (1 - 1/C)."""
    weights = draw_weights(clips_of(5, 4, 3), 20_000, seed=3)
    assert weights.var(axis=0).mean() == pytest.approx((1 - 1 / 5) + (1 - 1 / 4) + (1 - 1 / 3), rel=0.03)


def test_clips_of_one_recording_are_no_independent_draws(tmp_path):
    """All clips of a singer right, or all wrong: the interval is that of five singers, however many clips they have."""
    for name, clips in (("few", clips_of(5, 1, 1)), ("many", clips_of(5, 10, 10))):
        right = clips["singer"].isin(["s0", "s1", "s2"])
        logits = np.where(right.to_numpy()[:, None], [1, 0, 0], [0, 1, 0]).astype("f4")
        write(Predictions(clips.assign(technique="straight"), TECHNIQUES, logits), tmp_path / name / "predictions.csv")
    draws = Draws(tmp_path)
    few, many = (draws.interval([""], [name], "accuracy") for name in ("few", "many"))
    assert few == many == (0.2, 1.0)  # 2.5 and 97.5 % of a binomial of 5 at 0.6, over 5


def test_seeds_that_differ_widen_the_interval(tmp_path):
    clips = clips_of(5, 2, 2).assign(technique="straight")
    for name, logits in (("right", [1, 0, 0]), ("wrong", [0, 1, 0])):
        told = Predictions(clips, TECHNIQUES, np.tile(np.array(logits, "f4"), (len(clips), 1)))
        write(told, tmp_path / name / "predictions.csv")
    draws = Draws(tmp_path)
    assert draws.interval([""], ["right"], "accuracy") == (1, 1)
    assert draws.interval(["", ""], ["right", "wrong"], "accuracy") == (0, 1)
    both_folds = draws.interval(["0", "1"], ["right", "wrong"], "accuracy")
    assert both_folds == (0.5, 0.5)  # folds are not drawn: each singer is in one of them


def test_runs_without_predictions_have_no_interval(tmp_path, caplog):
    draws = Draws(tmp_path)
    assert np.isnan(draws.interval([""], ["gone"], "f1")).all()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "predictions.csv").write_text("recording,singer\n")
    assert np.isnan(draws.interval([""], ["damaged"], "f1")).all()
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
    monkeypatch.setattr("singtech.results.resampling.read_predictions", lambda path: read.append(path))
    draws = Draws(tmp_path)
    for _ in range(3):
        draws.predictions("one")
    assert read == [tmp_path / "one" / "predictions.csv"]
