"""Scores of whole recordings, cut and averaged by hand, and of changed clips."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score

from singtech.corpus.datamodule import Windows
from singtech.errors import InvalidValue
from singtech.models.cnn1d import Waveform
from singtech.models.network import Architecture
from singtech.models.shortcuts import Shortcuts
from singtech.results.predictions import read_predictions
from singtech.training.augmentation import Excerpt
from singtech.training.corruptions import Gain, LowPass, Reversed, Shuffled
from singtech.training.fit import Scoring
from singtech.training.phase_store import PhaseStore
from singtech.training.phases import Encode, FitHead, Standardise, freeze
from singtech.training.run import execute
from tests.training.conftest import TinyCorpus
from tests.training.test_run import MACHINE, a_run, classifier, network

pytestmark = pytest.mark.usefixtures("one_thread")
CLIP = 4800  # samples


class LongRecordings(TinyCorpus):
    """The tiny corpus, with test recordings of two clips."""

    def __init__(self):
        super().__init__()
        self.clips["samples"] = CLIP
        test = self.rows("test")
        self.clips.loc[test[1::2], "recording"] = list(self.clips.loc[test[0::2], "recording"])
        self.clips.loc[test[1::2], "start"] = 0.6


def test_windows_overlap_within_a_recording_and_never_beyond_it():
    corpus = LongRecordings()
    rows = corpus.rows("test")
    corpus.clips.loc[rows[1], "samples"] = (
        1200  # padded: a quarter of a clip, so one window half a clip later is too far
    )
    windows = Windows(corpus, "test", hop=0.25)
    audio, targets = windows.__getitems__(list(range(len(windows))))
    first, second = (corpus.waveforms[row] for row in rows[:2])
    assert windows.recordings.tolist() == [0] * 2 + [k for k in (2, 4, 6, 8, 10) for _ in range(5)]
    np.testing.assert_array_equal(audio[0], first)
    np.testing.assert_array_equal(audio[1], np.concatenate([first[1200:], second[:1200]]))
    np.testing.assert_array_equal(audio[6], corpus.waveforms[rows[3]])  # the last one is the last clip
    assert targets.tolist() == [corpus.targets("test")[k] for k in windows.recordings]


def test_a_recording_is_scored_by_the_mean_log_probability_of_its_windows(tmp_path):
    corpus = LongRecordings()
    clips = a_run(corpus, [network(), classifier()])
    recordings = dataclasses.replace(clips, scoring=Scoring("recording"))
    by_clip = execute(clips, corpus, tmp_path, MACHINE, say=lambda line: None)
    by_recording = execute(recordings, corpus, tmp_path, MACHINE, say=lambda line: None)
    assert by_clip.trained == (True, True)
    assert by_recording.trained == (False, False)
    assert by_clip.folder != by_recording.folder
    assert by_clip.row["recipe"] != by_recording.row["recipe"]
    assert (by_clip.row["clips_test"], by_recording.row["clips_test"]) == (12, 6)

    trained = recordings.build().eval()
    PhaseStore(tmp_path / "phases").find(recordings.keys[-1]).load_into(trained)
    rows, expected = corpus.rows("test"), []
    for one, two in zip(rows[0::2], rows[1::2], strict=True):
        audio = np.concatenate([corpus.waveforms[one], corpus.waveforms[two]]) / np.float32(32768)
        windows = np.stack([audio[start : start + CLIP] for start in (0, CLIP // 2, CLIP)])
        with torch.no_grad():
            expected.append(log_softmax(trained(torch.from_numpy(windows)).numpy(), axis=1).mean(axis=0))
    predictions = read_predictions(by_recording.folder / "predictions.csv")
    np.testing.assert_allclose(predictions.logits, expected, rtol=1e-4, atol=1e-5)
    names = [f"test/{technique}_{number}.wav" for technique in corpus.techniques for number in (0, 2)]
    assert list(predictions.clips["recording"]) == names
    right = accuracy_score(np.repeat([0, 1, 2], 2), np.argmax(expected, axis=1))
    assert by_recording.row["accuracy"] == pytest.approx(right)


def test_a_row_of_recordings_is_only_read_the_second_time(tmp_path):
    corpus = LongRecordings()
    run = dataclasses.replace(a_run(corpus, [network()]), scoring=Scoring("recording"))
    first = execute(run, corpus, tmp_path, MACHINE, say=lambda line: None)
    validation = pd.read_csv(first.folder / "validation.csv")
    assert len(validation) == 6
    stamp = (first.folder / "row.json").stat().st_mtime_ns
    assert execute(run, corpus, tmp_path, MACHINE, say=lambda line: None).row == first.row
    assert (first.folder / "row.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("wrong", [{"unit": "singer"}, {"hop": 0.0}, {"hop": 1.5}])
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(InvalidValue, match=r"^scoring\.(unit|hop)=.*: expected"):
        Scoring(**wrong)


def test_changed_clips_train_nothing_and_a_gain_is_not_heard_behind_a_normalised_level(tmp_path):
    corpus = LongRecordings()
    run = a_run(corpus, [network(), classifier()])
    changes = {"none": None, "gain": Gain, "reversed": Reversed, "shuffled": Shuffled}
    logits, results = {}, {}
    for name, corruption in changes.items():
        scoring = Scoring(corruption=corruption)
        results[name] = execute(
            dataclasses.replace(run, scoring=scoring), corpus, tmp_path, MACHINE, say=lambda line: None
        )
        logits[name] = read_predictions(results[name].folder / "predictions.csv").logits
    assert [result.trained for result in results.values()] == [(True, True), *[(False, False)] * 3]
    assert len({result.folder for result in results.values()}) == 4
    np.testing.assert_allclose(logits["gain"], logits["none"], atol=1e-4)
    for name in ("reversed", "shuffled"):
        assert np.abs(logits[name] - logits["none"]).max() > 1e-3


@pytest.mark.parametrize("scoring", [Scoring(), Scoring("recording"), Scoring(corruption=Gain)])
def test_numbers_that_are_no_technique_are_scored_like_a_network(tmp_path, scoring):
    """Loud straight clips are told by their level, and no longer once all clips have another one."""
    corpus = LongRecordings()
    loud = corpus.clips["technique"] == "straight"
    corpus.waveforms = np.where(loud.to_numpy()[:, None], corpus.waveforms, corpus.waveforms // 8).astype(np.int16)
    level = functools.partial(Shortcuts, numbers=("level",))
    architecture = Architecture(functools.partial(Waveform, level="none"), level)
    run = a_run(corpus, freeze([network(), FitHead()]), network=architecture)
    run = dataclasses.replace(run, phases=(Encode(), Standardise(), *run.phases), scoring=scoring)
    row = execute(run, corpus, tmp_path, MACHINE, say=lambda line: None).row
    if scoring.corruption is None:
        assert row["recall_straight"] == 1.0
    else:
        assert row["recall_straight"] == 0.0


@pytest.mark.parametrize(
    ("corruption", "sentence"),
    [
        (functools.partial(LowPass, cutoff=5000.0), r"corruption\.cutoff=5000: expected Hz above 0, below 4000"),
        (Excerpt, "corruption: it reads beyond the clip"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_before_anything_trains(tmp_path, corruption, sentence):
    run = dataclasses.replace(a_run(TinyCorpus(), [network()]), scoring=Scoring(corruption=corruption))
    with pytest.raises(InvalidValue, match=sentence):
        execute(run, TinyCorpus(), tmp_path, MACHINE, say=lambda line: None)
    assert not (tmp_path / "phases").exists()
