"""Recordings are cut once into an int16 store that is whole or absent, and opened without decoding ever after."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as some

from singtech.corpus import clip_store as clips_module
from singtech.corpus.archive import FolderSource
from singtech.corpus.audio import cut_recording, find_clip_spans, to_int16
from singtech.corpus.clip_store import check_clips, prepare, read_store, report
from singtech.errors import Damaged, InvalidValue, Newer

REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent")) / "FULL"
SETTINGS = {
    "name": "choir",
    "techniques": ["straight", "vibrato"],
    "split": {"test": ["male10"], "validation": []},
    "clip_seconds": 0.5,
    "sample_rate": 8000,
}


@pytest.fixture
def ready(tmp_path):
    """A function that prepares a source below `tmp_path`, with changes to the settings."""

    def run(root, **changes):
        return prepare(root, tmp_path / "data", **{**SETTINGS, **changes})

    return run


@pytest.mark.parametrize(
    ("seconds", "remainder", "spans"),
    [
        (9.0, "drop", [(0, 3), (3, 3), (6, 3)]),
        (8.9, "drop", [(0, 3), (3, 3)]),
        (8.9, "pad", [(0, 3), (3, 3), (6, 2.9)]),
        (3.0, "drop", [(0, 3)]),
        (3.0, "pad", [(0, 3)]),
        (2.9, "drop", [(0, 2.9)]),
        (2.9, "pad", [(0, 2.9)]),
        (0.0, "pad", []),
    ],
)
def test_clips_follow_one_another_and_a_short_recording_is_one(seconds, remainder, spans):
    expected = [(round(start * 1000), round(valid * 1000)) for start, valid in spans]
    assert find_clip_spans(round(seconds * 1000), 3000, remainder) == expected


@given(some.integers(1, 10**7), some.integers(1, 10**6), some.sampled_from(["drop", "pad"]))
def test_clips_never_overlap_nor_leave_a_gap(samples, clip_samples, remainder):
    if samples / clip_samples > 1000:
        clip_samples += samples // 1000
    spans = find_clip_spans(samples, clip_samples, remainder)
    covered = sum(valid for _, valid in spans)
    assert [start for start, _ in spans] == [n * clip_samples for n in range(len(spans))]
    assert covered == samples if remainder == "pad" else samples - covered < clip_samples
    assert all(valid == clip_samples for _, valid in spans[:-1])


def test_store_holds_the_samples_of_the_files(sounds, folder_of, ready):
    noise = np.random.default_rng(0).integers(-32768, 32768, 9000)
    root = folder_of(sounds.choir() | {"male1/scales/straight/m1_noise.wav": sounds.pcm(noise)})
    corpus = ready(root)
    ours = corpus.clips[corpus.clips["recording"] == "male1/scales/straight/m1_noise"]
    assert ours["start"].tolist() == [0.0, 0.5]
    assert ours["samples"].tolist() == [4000, 4000]
    assert np.array_equal(corpus.waveforms[ours.index], noise[:8000].reshape(2, 4000))
    assert isinstance(corpus.waveforms, np.memmap)
    assert corpus.waveforms.dtype == np.int16
    assert not corpus.waveforms.flags.writeable


def test_targets_and_counts_follow_the_order_of_the_techniques(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    corpus = ready(root, techniques=["vibrato", "straight"])
    assert corpus.techniques == ("vibrato", "straight")
    assert set(corpus.clips["singer"].iloc[corpus.rows("test")]) == {"male10"}
    names = corpus.clips["technique"].iloc[corpus.rows("train")]
    assert corpus.targets("train").tolist() == [["vibrato", "straight"].index(name) for name in names]
    assert corpus.targets("train").dtype == np.int64
    assert corpus.counts("train").tolist() == [8, 8]
    assert corpus.counts("validation").tolist() == [0, 0]
    with pytest.raises(ValueError, match="dev: expected a split, one of train, validation, test"):
        corpus.rows("dev")


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa.load's audioread imports them
@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (22050, 2), (8000, 3), (11025, 1)])
def test_any_rate_and_channel_count_becomes_what_librosa_loads(rate, channels, tmp_path):
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, (rate // 2, channels))
    soundfile.write(tmp_path / "a.wav", noise, rate, "PCM_24")
    asked = 8000 if rate == 8000 else 16000
    settings = {"sample_rate": asked, "clip_seconds": 0.5, "remainder": "drop", "trim_silence": None}
    ours = cut_recording((tmp_path / "a.wav").read_bytes(), settings).clips
    theirs, _ = librosa.load(tmp_path / "a.wav", sr=asked, mono=True)
    assert np.abs(ours[0] - theirs * 32768).max() <= 0.51  # rounded


def test_sixteen_bits_round_and_stop_at_full_scale():
    samples, beyond = to_int16(np.array([0, 0.4, 0.6, -1, 1, 1.5, -1.5]) * [1, *[1 / 32768] * 2, 1, 1, 1, 1])
    assert samples.tolist() == [0, 0, 1, -32768, 32767, 32767, -32768]
    assert beyond == 2


def test_corrections_of_the_sound_are_counted(sounds, folder_of, ready):
    loud = io.BytesIO()
    soundfile.write(loud, np.sin(np.arange(8000) / 5) * 1.5, 8000, "FLOAT", format="WAV")
    half_silent = np.r_[np.zeros(4000), np.ones(4000)]
    root = folder_of(
        sounds.choir()
        | {
            "male1/scales/straight/m1_loud.wav": loud.getvalue(),
            "male1/scales/straight/m1_high.wav": sounds.wav(rate=16000, pitch=333),
            "male1/scales/straight/m1_wide.wav": sounds.wav(channels=2, pitch=334),
            "male1/scales/straight/m1_short.wav": sounds.wav(0.25, pitch=335),
            "male1/scales/straight/m1_pause.wav": sounds.pcm(half_silent),
        }
    )
    corpus = ready(root)
    assert corpus.notes == [
        "1 recording mixed from 2 channels to mono",
        "1 recording resampled from 16,000 Hz to 8,000 Hz",
        "1 recording shorter than a clip of 0.5 s, padded with zeros to one",
        "1 recording beyond full scale at 16 bits, clipped",
        "1 clip of digital silence in recordings that are not silent",
    ]
    (short,) = corpus.clips.index[corpus.clips["recording"] == "male1/scales/straight/m1_short"]
    assert corpus.clips.loc[short, "samples"] == 2000
    assert corpus.waveforms[short, :2000].any()
    assert not corpus.waveforms[short, 2000:].any()


def test_what_fills_no_clip_is_padded_if_asked(sounds, folder_of, ready):
    root = folder_of(sounds.choir(seconds=1.2))
    assert len(ready(root).clips) == 24
    padded = ready(root, remainder="pad")
    assert len(padded.clips) == 36
    assert padded.clips["samples"].tolist() == [4000, 4000, 1600] * 12
    assert "12 recordings whose end was padded with zeros to a clip" in padded.notes


def test_silence_at_both_ends_is_left_out_if_asked(sounds, folder_of, ready):
    tone = np.rint(16000 * np.sin(np.arange(8000) / 3))
    files = sounds.choir() | {
        "male1/scales/straight/m1_late.wav": sounds.pcm(np.r_[np.zeros(8000), tone, np.zeros(6000)])
    }
    root = folder_of(files)
    for trim, starts in ((None, [0.0, 0.5, 1.0, 1.5, 2.0]), (40, [0.87, 1.37])):
        corpus = ready(root, trim_silence=trim)
        ours = corpus.clips[corpus.clips["recording"] == "male1/scales/straight/m1_late"]
        assert ours["start"].to_numpy() == pytest.approx(starts, abs=0.15)
        first = round(ours["start"].iloc[0] * 8000)
        assert np.array_equal(corpus.waveforms[ours.index[0]], np.r_[np.zeros(8000), tone][first : first + 4000])


def test_a_store_is_opened_without_reading_a_recording_again(sounds, folder_of, ready, monkeypatch):
    root = folder_of(sounds.choir())
    first = ready(root)

    def read(*_):
        raise AssertionError("a recording was read")

    monkeypatch.setattr(FolderSource, "read", read)
    again = ready(root, split={"test": ["male10"]})
    assert again.folder == first.folder
    pd.testing.assert_frame_equal(again.clips, first.clips)
    assert again.notes == first.notes


def test_a_changed_source_or_setting_is_prepared_anew(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    folders = {ready(root).folder, ready(root, clip_seconds=0.25).folder}
    (root / "male1/scales/straight/m1_straight_a.wav").write_bytes(sounds.wav(2.0, pitch=901))
    changed = ready(root)
    assert len({*folders, changed.folder}) == 3
    assert len(changed.clips) == 26


def test_a_split_or_fold_is_another_view_of_the_same_store(sounds, folder_of, ready, monkeypatch):
    root = folder_of(sounds.choir())
    first = ready(root)
    monkeypatch.setattr(FolderSource, "read", None)  # no recording is read again
    views = [
        ready(root, split={"test": ["male1"], "validation": ["female1"]}),
        *(ready(root, fold=fold, folds=3) for fold in range(3)),
    ]
    for view in views:
        assert view.folder == first.folder
        assert view.state == first.state
        pd.testing.assert_frame_equal(view.clips.drop(columns="split"), first.clips.drop(columns="split"))
        assert np.array_equal(view.waveforms, first.waveforms)
    assert set(views[0].clips["singer"].iloc[views[0].rows("validation")]) == {"female1"}
    tested = [set(view.clips["singer"].iloc[view.rows("test")]) for view in views[1:]]
    assert sorted(map(sorted, tested)) == [["female1"], ["male1"], ["male10"]]
    assert [view.fold for view in (first, *views)] == [None, None, 0, 1, 2]
    by_hand = views[1 + tested.index({"male10"})]  # a fold is the split that names its singers
    assert [by_hand.fingerprint(side) for side in ("train", "test")] == [
        first.fingerprint(side) for side in ("train", "test")
    ]


def test_an_inner_fold_validates_within_the_training_singers(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    plain = [ready(root, fold=fold, folds=3) for fold in range(3)]
    tested = [set(each.clips["singer"].iloc[each.rows("test")]) for each in plain]
    for fold in range(3):
        for inner in (1, 2):
            corpus = ready(root, fold=fold, folds=3, inner_fold=inner)
            singers = {name: set(corpus.clips["singer"].iloc[corpus.rows(name)]) for name in ("test", "validation")}
            assert singers == {"test": tested[fold], "validation": tested[(fold + inner) % 3]}
            assert corpus.fingerprint("test") == plain[fold].fingerprint("test")
    # who validates where the other tests: one network serves both
    pair = ready(root, fold=0, folds=3, inner_fold=1), ready(root, fold=1, folds=3, inner_fold=2)
    assert pair[0].fingerprint("train") == pair[1].fingerprint("train")


def test_folds_can_leave_the_official_test_singers_out(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    corpora = [ready(root, split={"test": ["male10"]}, fold=fold, folds=2, fold_singers="train") for fold in (0, 1)]
    tested = [set(each.clips["singer"].iloc[each.rows("test")]) for each in corpora]
    trained = [set(each.clips["singer"].iloc[each.rows("train")]) for each in corpora]
    assert sorted(map(sorted, tested)) == [["female1"], ["male1"]]
    assert trained == tested[::-1]
    assert corpora[0].state == ready(root).state


@pytest.fixture
def contexts(sounds, folder_of):
    """The choir's scales, and its long tones: straight by all three singers, trill by two."""
    files = sounds.choir()
    for number, singer in enumerate(("female1", "male1", "male10")):
        files[f"{singer}/long_tones/straight/{singer}_long.wav"] = sounds.wav(1, pitch=700 + number)
    for number, singer in enumerate(("female1", "male10")):
        files[f"{singer}/long_tones/trill/{singer}_trill.wav"] = sounds.wav(1, pitch=800 + number)
    return folder_of(files)


def contexts_of(corpus):
    return {split: set(corpus.clips["context"].iloc[corpus.rows(split)]) for split in ("train", "validation", "test")}


def test_a_corpus_can_train_on_one_context_and_test_on_another(contexts, ready):
    options = {"techniques": ["straight", "vibrato"], "split": {"test": ["male10"], "validation": ["male1"]}}
    whole = ready(contexts, **options)
    corpus = ready(contexts, **options, train_contexts=["scales"], test_contexts=["long_tones"])
    assert contexts_of(whole)["test"] == {"scales", "long_tones"}
    assert contexts_of(corpus) == {"train": {"scales"}, "validation": {"scales"}, "test": {"long_tones"}}
    assert (corpus.folder, corpus.state) == (whole.folder, whole.state)
    assert set(zip(corpus.recordings["split"], corpus.recordings["context"], strict=True)) == {
        *(("train", "scales"), ("validation", "scales"), ("test", "long_tones"))
    }
    assert corpus.notes[len(whole.notes) :] == [
        "left out 6 recordings with 12 clips of other contexts: "
        "data.train_contexts=[scales], data.test_contexts=[long_tones]",
        "no test recording of vibrato: its scores will not be defined",
    ]
    tested = ready(contexts, **options, test_contexts=["scales"])
    assert tested.fingerprint("train") == whole.fingerprint("train") != corpus.fingerprint("train")
    assert tested.fingerprint("test") not in (whole.fingerprint("test"), corpus.fingerprint("test"))
    everything = ready(contexts, **options, train_contexts=["scales", "long_tones"])
    assert everything.identity() == whole.identity()


def test_folds_are_the_same_whatever_the_contexts(contexts, ready):
    options = {"techniques": ["straight", "vibrato"], "fold": 0, "folds": 3}
    plain, cut = ready(contexts, **options), ready(contexts, **options, test_contexts=["scales"])
    assert cut.fingerprint("train") == plain.fingerprint("train")
    assert set(cut.clips["singer"].iloc[cut.rows("test")]) == set(plain.clips["singer"].iloc[plain.rows("test")])


def test_contexts_that_do_not_serve_are_one_sentence(contexts, ready, sounds, folder_of):
    cases = [
        ({"train_contexts": ["scale"]}, r"^data.train_contexts names scale: there are long_tones, scales\.$"),
        ({"test_contexts": []}, "expected null, or a list of at least one context"),
        ({"test_contexts": "scales"}, r"data.test_contexts=scales: expected a list, \[scales\]"),
        (
            {"train_contexts": ["long_tones"]},
            r"^data.train_contexts=\[long_tones\]: no training clip of vibrato is left; leave out what has none, with "
            r"'data.techniques=\[straight,trill\]'\.$",
        ),
    ]
    for options, said in cases:
        with pytest.raises(ValueError, match=said):
            ready(contexts, techniques=["straight", "trill", "vibrato"], split={"test": ["male10"]}, **options)
    with pytest.raises(ValueError, match=r"data.test_contexts=\[long_tones\]: no test clip is left"):
        ready(contexts, techniques=["vibrato", "trill"], split={"test": ["male1"]}, test_contexts=["long_tones"])
    files = {path.replace("/scales", ""): data for path, data in sounds.choir().items()}
    with pytest.raises(ValueError, match="data.test_contexts names scales: this corpus tells no contexts"):
        ready(folder_of(files, "flat"), techniques=None, split={"test": ["male1"]}, test_contexts=["scales"])


def test_who_is_in_no_list_is_in_no_subset_and_counted(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    first = ready(root, split={"test": ["male10"]})
    corpus = ready(root, split={"test": ["male10"], "train": ["male1"]})
    assert corpus.folder == first.folder
    assert corpus.state == first.state
    assert set(corpus.clips["singer"].iloc[corpus.rows("train")]) == {"male1"}
    assert sorted(corpus.recordings["singer"].unique()) == ["male1", "male10"]
    assert corpus.lengths()[["split", "recordings", "clips"]].to_numpy().tolist() == 2 * [
        ["train", 2, 4],
        ["test", 2, 4],
    ]
    assert corpus.notes == ["left out 4 recordings with 8 clips: data.split names them in no subset"]
    assert corpus.fingerprint("test") == first.fingerprint("test")
    assert corpus.fingerprint("train") != first.fingerprint("train")


def test_a_split_by_recording_is_a_view_of_the_same_store(sounds, folder_of, ready):
    root = folder_of(sounds.choir() | {"male1/scales/messa/m1_messa.wav": sounds.wav(pitch=901)})
    first, tested = ready(root), "male1/scales/vibrato/m1_vibrato_a"
    others = ["female1/scales/straight/f1_straight_e.wav", "male1/scales/messa/m1_messa"]
    corpus = ready(root, split={"by": "recording", "test": [tested, *others]})
    assert corpus.folder == first.folder
    assert set(corpus.clips["recording"].iloc[corpus.rows("test")]) == {tested, others[0][: -len(".wav")]}
    assert len(corpus.rows("train")) == 20
    assert corpus.notes[-2:] == [
        "1 test recording of data.split without a clip: of other techniques, a copy or not usable",
        "2 singers are in both train and test: scores are no evidence about new singers",
    ]
    with pytest.raises(ValueError, match="data.split.test names m1_vibrato_a; .* Did you mean male1/scales"):
        ready(root, split={"by": "recording", "test": ["m1_vibrato_a"]})


def test_state_changes_with_any_clip(sounds, folder_of, ready):
    files = sounds.choir()
    before = ready(folder_of(files))
    files["male10/scales/straight/m10_straight_a.wav"] = sounds.wav(pitch=901)
    assert ready(folder_of(files, "other")).state != before.state
    assert before.state != before.fingerprint("train")


def test_a_wrong_split_of_a_store_that_is_there_is_one_sentence_and_leaves_it(sounds, folder_of, ready, tmp_path):
    messa = {"male7/scales/messa/m7_messa.wav": sounds.wav(pitch=998)}
    root = folder_of(sounds.choir() | messa | {"male1/long_tones/trill/m1_trill.wav": sounds.wav(pitch=999)})
    techniques = ["straight", "trill"]
    place = ready(root, techniques=techniques).folder
    for view, said in (
        ({"split": {"test": ["male2"]}}, "data.split.test names male2; there are female1, male1, male7, male10"),
        ({"split": {"test": ["male1"]}}, "no training clip of trill: leave it out of data.techniques"),
        ({"split": {"test": ["male7"]}}, "no test clip of these techniques"),
        ({"fold": 0, "folds": 4}, "data.folds=4: more folds than singers, of whom the corpus has 3"),
        ({"fold": 0, "split": {"validation": ["male1"]}}, "data.split names validation singers: with data.fold=0"),
        ({"fold": 5}, "data.fold=5, data.folds=5: expected null or a fold from 0"),
        ({"inner_fold": 1}, "data.inner_fold=1, data.fold=None: expected null, or a data.fold and 1 to 4"),
        (
            {"fold": 0, "folds": 3, "inner_fold": 3},
            "data.inner_fold=3, data.fold=0: expected null",
        ),
        ({"fold": 0, "fold_singers": "some"}, "data.fold_singers=some: expected all, or train"),
    ):
        with pytest.raises(ValueError, match=said):
            ready(root, techniques=techniques, **view)
    assert stores(tmp_path) == [place.name]
    notes = ready(root, techniques=techniques, split={"test": ["male10", "male7"]}).notes
    assert notes[-2:] == [
        "test singer male7 has no recording of the chosen techniques",
        "no test recording of trill: its scores will not be defined",
    ]


def test_lengths_are_those_of_each_technique_and_split_that_occurs(sounds, folder_of, ready):
    files = sounds.choir(seconds=6) | {"female1/long_tones/trill/x.wav": sounds.wav(9, pitch=901)}
    split = {"test": ["male10"], "validation": ["male1"]}
    corpus = ready(folder_of(files), techniques=["vibrato", "trill", "straight"], split=split, clip_seconds=3.0)
    lengths = corpus.lengths()
    assert lengths.columns.tolist() == ["technique", "split", "context", "recordings", "minutes", "clips"]
    assert lengths.to_numpy().tolist() == [
        ["vibrato", "train", "scales", 2, pytest.approx(0.2), 4],
        ["vibrato", "validation", "scales", 2, pytest.approx(0.2), 4],
        ["vibrato", "test", "scales", 2, pytest.approx(0.2), 4],
        ["trill", "train", "long_tones", 1, pytest.approx(0.15), 3],
        ["straight", "train", "scales", 2, pytest.approx(0.2), 4],
        ["straight", "validation", "scales", 2, pytest.approx(0.2), 4],
        ["straight", "test", "scales", 2, pytest.approx(0.2), 4],
    ]


def test_wav_or_flac_zip_or_folder_are_one_corpus(sounds, folder_of, zip_of, ready):
    flac = {}
    for name, data in sounds.choir().items():
        samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="FLAC")
        flac[f"FULL/{name.replace('.wav', '.flac')}"] = file.getvalue()
    corpora = [
        ready(folder_of(sounds.choir())),
        ready(zip_of(sounds.choir())),
        ready(folder_of(flac, "flac")),
        ready(zip_of(flac, "flac.zip")),
    ]
    assert len({corpus.folder for corpus in corpora}) == 4
    assert len({corpus.fingerprint("train") for corpus in corpora}) == 1
    assert len({corpus.fingerprint("test") for corpus in corpora}) == 1
    for corpus in corpora[1:]:
        pd.testing.assert_frame_equal(corpus.clips, corpora[0].clips)


def test_fingerprint_of_a_split_follows_its_own_clips_only(sounds, folder_of, ready):
    files = sounds.choir()
    before = ready(folder_of(files))
    files["male10/scales/straight/m10_straight_a.wav"] = sounds.wav(pitch=901)
    after = ready(folder_of(files, "other"))
    assert before.fingerprint("train") == after.fingerprint("train")
    assert before.fingerprint("test") != after.fingerprint("test")
    reordered = ready(folder_of(files, "other"), techniques=["vibrato", "straight"])
    assert reordered.fingerprint("train") != after.fingerprint("train")


def test_names_that_look_like_missing_values_stay_names(sounds, folder_of, ready):
    files = {}
    for singer in ("NA", "null", "007"):
        for number, technique in enumerate(("nan", "None")):
            files[f"{singer}/{technique}/1.wav"] = sounds.wav(pitch=300 + 20 * len(files) + number)
    corpus = ready(folder_of(files), techniques=None, split={"test": ["NA"]})
    assert corpus.techniques == ("None", "nan")
    assert sorted(corpus.clips["singer"].unique()) == ["007", "NA", "null"]
    assert corpus.counts("train").tolist() == [4, 4]
    assert "nan" in report(corpus)


def bad_sounds(sounds):
    """{what is wrong: (file, bytes, what is said)} of recordings that only decoding shows to be bad."""

    def floats(values):
        file = io.BytesIO()
        soundfile.write(file, np.array(values), 8000, "FLOAT", format="WAV")
        return file.getvalue()

    flac = io.BytesIO()
    soundfile.write(flac, np.random.default_rng(0).normal(0, 0.1, 20000), 8000, format="FLAC")
    tone = np.sin(np.arange(8000) / 9)
    return {
        "truncated": (
            "m1_x.flac",
            flac.getvalue()[:9000],
            "it is damaged or cut short: it cannot be decoded to its end",
        ),
        "nan": ("m1_x.wav", floats([*tone, np.nan]), "it holds NaN or infinite samples"),
        "infinite": ("m1_x.wav", floats([*tone, np.inf]), "it holds NaN or infinite samples"),
        "silent": ("m1_x.wav", sounds.pcm(np.zeros(8000)), "it is silent: at 16 bits every sample is 0"),
        "faint": ("m1_x.wav", floats(tone * 1e-6), "it is silent: at 16 bits every sample is 0"),
        "cancelling": ("m1_x.wav", floats(np.stack([tone, -tone], 1)), "it is silent: at 16 bits every sample is 0"),
    }


@pytest.mark.parametrize("kind", ["truncated", "nan", "infinite", "silent", "faint", "cancelling"])
def test_a_recording_that_cannot_be_cut_is_named_and_left_out_or_stops_if_strict(
    kind, sounds, folder_of, ready, tmp_path
):
    name, data, said = bad_sounds(sounds)[kind]
    root = folder_of(sounds.choir() | {f"male1/scales/straight/{name}": data})
    line = f"male1/scales/straight/{name}: {said}"
    with pytest.raises(ValueError, match=f"{line}; repair it, or omit it with data.strict=false"):
        ready(root, strict=True)
    assert stores(tmp_path) == []
    corpus = ready(root)
    assert corpus.notes[-2:] == [f"left out {line}", "1 recording left out because they could not be used"]
    assert len(corpus.clips) == 24
    assert name not in (corpus.folder / "manifest.csv").read_text()
    with pytest.raises(ValueError, match=f"{line}; repair"):  # also when the store is there already
        ready(root, strict=True)


def stores(tmp_path):
    """What stands in the corpora's folder, locks apart."""
    return [item.name for item in (tmp_path / "data").glob("*") if not item.name.endswith(".lock")]


def test_what_could_not_be_used_is_counted_last_and_warned_of(sounds, folder_of, ready, caplog):
    bad = {f"male1/scales/straight/m1_{n}.wav": sounds.pcm(np.zeros(10 + n)) for n in range(2)}
    corpus = ready(folder_of(sounds.choir() | bad | {"male1/scales/straight/m1_text.wav": b"la la la"}))
    assert corpus.notes[-1] == "3 recordings left out because they could not be used"
    assert sum(note.startswith("left out male1/") for note in corpus.notes) == 3
    assert caplog.messages == ["3 recordings cannot be used: singtech prepare lists them."]


def test_when_nothing_of_a_technique_can_be_used_the_first_reason_is_said(sounds, folder_of, ready):
    spoilt = {name: name.encode() if "vibrato" in name else data for name, data in sounds.choir().items()}
    with pytest.raises(ValueError, match=r"no clip of vibrato: .* 6 recordings could not be used, first: "):
        ready(folder_of(spoilt))


def test_accents_compare_alike_however_they_are_composed(sounds, folder_of, ready):
    files = {"Jose\u0301/straight/a.wav": sounds.wav(), "Ann/straight/a.wav": sounds.wav(pitch=500)}
    corpus = ready(folder_of(files), techniques=None, split={"test": ["Jos\u00e9"]})
    assert corpus.recordings["split"].tolist() == ["train", "test"]


def test_a_technique_whose_every_clip_is_bad_leaves_no_store(sounds, folder_of, ready, tmp_path):
    silent = {name: sounds.pcm([0] * (100 + n)) for n, name in enumerate(sounds.choir()) if "vibrato" in name}
    with pytest.raises(ValueError, match=r"no clip of vibrato: .* 6 recordings could not be used, first: female1/"):
        ready(folder_of(sounds.choir() | silent))
    assert stores(tmp_path) == []


def test_a_store_that_cannot_be_written_to_is_opened(sounds, folder_of, ready, monkeypatch):
    root = folder_of(sounds.choir())
    first = ready(root)

    monkeypatch.setattr(clips_module, "hold", None)  # no lock is taken
    first.folder.parent.chmod(0o500)
    first.folder.chmod(0o500)
    assert ready(root).state == first.state
    assert list(first.folder.parent.iterdir()) == [first.folder]
    first.folder.parent.chmod(0o700)


def test_a_store_of_a_newer_version_is_named_and_left_alone(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    place = ready(root).folder
    newer = json.loads((place / "corpus.json").read_text()) | {"schema": 3, "more": []}
    (place / "corpus.json").write_text(json.dumps(newer))
    for use in (lambda: ready(root), lambda: read_store(place)):
        with pytest.raises(Newer, match="has schema 3, this version of singtech reads up to 2: install a newer one"):
            use()
    assert json.loads((place / "corpus.json").read_text()) == newer


def test_a_store_of_schema_2_that_does_not_say_so_is_opened(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    first = ready(root)
    stored = json.loads((first.folder / "corpus.json").read_text())
    del stored["schema"], stored["digest"]
    (first.folder / "corpus.json").write_text(json.dumps(stored))
    assert ready(root).state == read_store(first.folder).state == first.state


def test_a_changed_clip_is_seen_when_the_store_is_opened(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    corpus = ready(root)
    clips = corpus.folder / "clips.npy"
    (corpus.folder / "aside.npy").write_bytes(clips.read_bytes())
    (corpus.folder / "aside.npy").replace(clips)  # another time, the same clips
    assert ready(root).state == corpus.state
    with clips.open("r+b") as file:
        file.seek(-8000 * 2, os.SEEK_END)  # in the last but one of clips of 4,000 samples
        file.write(b"\x01")
    with pytest.raises(Damaged, match=rf"clip {len(corpus.clips) - 2} \(male10/scales/vibrato/m10_vibrato_e at 0 s\)"):
        read_store(corpus.folder)
    again = ready(root)
    check_clips(again)
    assert again.state == corpus.state


def test_a_damaged_store_is_made_anew_with_a_warning(sounds, folder_of, ready, caplog):
    root = folder_of(sounds.choir())
    place = ready(root).folder
    (place / "manifest.csv").write_text((place / "manifest.csv").read_text().replace(",8000\n", ",4000\n", 1))
    ready(root)
    aside = f".{place.name}.damaged-1"
    assert caplog.messages == [f"{place} is damaged; it is set aside as {aside} and made again."]
    assert (place.parent / aside).is_dir()


def test_no_space_is_said_before_anything_is_written(sounds, folder_of, ready, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10**6, 10**6, 1234))
    with pytest.raises(
        OSError, match=r"data: no space on the disk: preparing choir-\w+ needs 192.53 kB, 1.23 kB is free"
    ):
        ready(folder_of(sounds.choir()))
    assert stores(tmp_path) == []


def test_space_that_ends_midway_leaves_no_store(sounds, folder_of, ready, tmp_path, no_file_beyond):
    root = folder_of(sounds.choir())
    no_file_beyond(100_000)
    with pytest.raises(OSError, match=r"File too large: '.*/choir-\w+'"):
        ready(root)
    assert stores(tmp_path) == []


def test_what_a_killed_process_left_is_cleared_away(sounds, folder_of, ready, tmp_path):
    root = folder_of(sounds.choir())
    place = ready(root).folder
    shutil.rmtree(place)
    left = place.with_name(f".{place.name}.x1y2z3.tmp")
    left.mkdir()
    (left / "clips.npy").write_bytes(b"half")
    ready(root)
    assert stores(tmp_path) == [place.name]


def test_two_at_once_make_one_store(sounds, folder_of, ready, monkeypatch, capsys):
    root = folder_of(sounds.choir())
    made, waiting = [], threading.Event()
    write = clips_module.write_store

    def slow(*arguments):
        made.append(1)
        waiting.wait(1.5)  # a shorter wait is not worth a word
        write(*arguments)

    monkeypatch.setattr(clips_module, "write_store", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: ready(root), range(2))
    assert made == [1]
    assert first.fingerprint("train") == second.fingerprint("train")
    assert re.search(r"is being prepared by process \d+ on \S+; waiting for it\.", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip_seconds": 0}, "data.clip_seconds=0: expected seconds"),
        ({"clip_seconds": float("nan")}, "data.clip_seconds=nan"),
        ({"sample_rate": 44100.5}, "data.sample_rate=44100.5: expected whole samples a second"),
        ({"remainder": "keep"}, "data.remainder=keep: expected drop or pad"),
        ({"trim_silence": -40}, "data.trim_silence=-40: expected null, or dB below the peak"),
        ({"techniques": "straight"}, r"data.techniques=straight: expected a list, \[straight\]"),
        ({"split": {"test": []}}, "data.split.test names no singer; there are female1, male1, male10"),
        ({"split": {"test": ["Male10"]}}, "data.split.test names Male10; .* Did you mean male10"),
        (
            {"split": {"test": ["female1", "male1", "male10"]}},
            "data.split leaves no singer to train: it names all of them",
        ),
        ({"folds": 1}, "data.fold=None, data.folds=1: expected null or a fold from 0, of two or more folds"),
        ({"name": "my/choir"}, "data.name=my/choir: expected letters"),
        ({"name": ""}, "data.name=: expected letters"),
    ],
)
def test_a_wrong_setting_is_named(changes, said, sounds, folder_of, ready, tmp_path):
    with pytest.raises(ValueError, match=said):
        ready(folder_of(sounds.choir()), **changes)
    assert stores(tmp_path) == []


def test_report_counts_recordings_minutes_and_clips_and_gives_each_note_a_line(sounds, folder_of, ready):
    files = sounds.choir(seconds=6) | {"male1/scales/vibrado/m1_x.wav": sounds.wav(3, pitch=901)}
    lines = report(ready(folder_of(files), clip_seconds=3.0)).splitlines()
    assert lines[0].startswith("choir: clips of 3 s at 8,000 Hz, in ")
    table = {line.split()[0]: line.split()[1:] for line in lines[4:7]}
    #                             train              test               all
    assert table["straight"] == ["4", "0.40", "8", "2", "0.20", "4", "6", "0.60", "12"]
    assert table["vibrato"] == ["5", "0.45", "9", "2", "0.20", "4", "7", "0.65", "13"]
    assert table["all"] == ["9", "0.85", "17", "4", "0.40", "8", "13", "1.25", "25"]
    assert lines[-1] == "- 1 recording in vibrado folders counted as vibrato"


def test_progress_is_shown(sounds, folder_of, ready, capsys, monkeypatch):
    monkeypatch.setattr("singtech.io.terminal.LINE_SECONDS", 0)
    ready(folder_of(sounds.choir()))
    shown = capsys.readouterr().err
    assert "comparing: 12 of 12 recordings" in shown
    assert "cutting clips: 12 of 12 recordings" in shown


def test_data_modules_come_without_torch_and_importing_them_is_light():
    names = "archive audio clip_store download manifest sources splits verify".split()
    modules = ", ".join(f"singtech.corpus.{name}" for name in names)
    heavy = ("torch", "librosa", "requests", "sklearn", "tqdm")
    code = f"import {modules}, sys; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="SINGTECH_REAL_VOCALSET names no folder with FULL/")
def test_real_singing_is_cut_sample_for_sample(tmp_path):
    split = {"test": ["female1", "male1"], "validation": []}
    corpus = prepare(
        REAL.parent,
        tmp_path,
        **{**SETTINGS, "techniques": ["breathy"], "split": split, "clip_seconds": 3.0, "sample_rate": 44100},
    )
    assert set(corpus.clips["singer"].iloc[corpus.rows("test")]) == {"female1", "male1"}
    for row in (0, len(corpus.clips) // 2, len(corpus.clips) - 1):
        clip = corpus.clips.loc[row]
        (file,) = REAL.glob(f"{clip['recording']}.*")
        start = round(clip["start"] * 44100)
        samples, rate = soundfile.read(file, start=start, frames=132300, dtype="int16")
        assert rate == 44100
        assert np.array_equal(corpus.waveforms[row], samples)
    assert json.loads((corpus.folder / "corpus.json").read_text())["unusable"] == []


def test_who_is_left_out_of_the_folds_must_be_there(sounds, folder_of, ready):
    root = folder_of(sounds.choir())
    with pytest.raises(InvalidValue, match=r"data\.split\.test names male11; there are"):
        ready(root, split={"test": ["male11"]}, fold=0, folds=2, fold_singers="train")
    with pytest.raises(InvalidValue, match=r"data\.fold_singers=train needs data\.split\.by=singer"):
        ready(root, split={"by": "recording", "test": ["male10/a"]}, fold=0, folds=2, fold_singers="train")
