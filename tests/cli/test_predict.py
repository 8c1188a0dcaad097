"""Predicting: windows and timelines by hand, files of all kinds, and a model folder that is enough."""

import csv
import io
import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import tgt
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from singtech.cli.predict import Options, find_recordings, main, predict_recordings
from singtech.errors import Damaged, InvalidValue
from singtech.inference import recordings
from singtech.inference.labels import format_text_grid
from singtech.inference.predictor import (
    Predictor,
    Segment,
    Timeline,
    count_hop,
    cut_windows,
    load,
    resample,
    technique_shares,
)
from singtech.inference.recordings import GATE, LevelMeter, is_recording, open_recording
from singtech.inference.saved import Description, write_model
from singtech.models.network import oblong_network

RATE = 1000
FRONT_END = {"n_fft": 256, "win_lengths": [256, 128], "hop_length": 40}
ARGUMENTS = {"front_end": FRONT_END, "dc": [4], "features": 6, "hidden": 5}
PARTS = {
    "front_end": {"is": "MultiResolutionSpectrogram", **FRONT_END},
    "extractor": {"is": "OblongExtractor", "dc": [4], "features": 6, "hidden": 5},
    "head": {"is": "Linear"},
}
TWO = Description(PARTS, ("low", "high"), RATE, RATE)  # clips of one second


class Sign(nn.Module):
    """Sure of `high` where a window's mean is above 0."""

    def forward(self, waveform):
        mean = 10 * waveform.mean(dim=1, keepdim=True)
        return torch.cat([-mean, mean], dim=1)


@pytest.fixture
def predictor():
    return Predictor(Sign(), TWO)


@pytest.mark.parametrize(
    ("samples", "overlap", "starts"),
    [
        (10, 0, [0]),
        (7, 0.5, [0]),  # shorter than a window
        (20, 0, [0, 10]),
        (25, 0, [0, 10, 15]),  # the last one ends with the recording
        (25, 0.5, [0, 5, 10, 15]),
        (27, 0.5, [0, 5, 10, 15, 17]),
        (13, 0.99, [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("blocks", [1, 4])
def test_windows_by_hand(samples, overlap, starts, blocks):
    windows = list(
        cut_windows(iter(np.array_split(np.arange(samples, dtype="f4"), blocks)), 10, count_hop(10, overlap))
    )
    assert [start for start, _ in windows] == starts
    expected = np.pad(np.arange(samples), (0, max(0, 10 - samples)))
    for start, window in windows:
        np.testing.assert_array_equal(window, expected[start : start + 10])


def test_a_change_in_the_middle_is_found(predictor):
    waveform = np.concatenate([np.full(2000, -0.5), np.full(2000, 0.5)]).astype("f4")
    first, second = predictor.predict(waveform, RATE, overlap=0).segments()
    assert (first.start, first.end, first.technique) == (0, 2, "low")
    assert (second.start, second.end, second.technique) == (2, 4, "high")
    assert second.probability == pytest.approx(1 / (1 + np.exp(-10)), abs=1e-6)
    assert technique_shares([first, second]) == {"low": 0.5, "high": 0.5}


def test_overlapping_windows_are_averaged_by_hand():
    logits = np.log([[0.8, 0.2], [0.4, 0.6]])
    timeline = Timeline(("low", "high"), np.array([0, 1.0]), np.array([2.0, 3.0]), logits, 3.0)
    edges, probabilities = timeline.pieces()
    np.testing.assert_allclose(edges, [0, 1, 2, 3])
    np.testing.assert_allclose(probabilities, [[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]])
    assert timeline.segments() == [
        Segment(0.0, 2.0, "low", pytest.approx(0.7)),
        Segment(2.0, 3.0, "high", pytest.approx(0.6)),
    ]
    np.testing.assert_allclose(timeline.overall, [0.6, 0.4])
    assert (timeline.technique, timeline.probability) == ("low", pytest.approx(0.7))


def test_the_headline_is_a_technique_that_the_timeline_names():
    """In the mean, `middle` is the most probable, but it is second in each window, so that no segment is named so."""
    techniques, probabilities = ("low", "middle", "high"), [[0.5, 0.4, 0.1], [0.1, 0.41, 0.49], [0.48, 0.39, 0.13]]
    starts = np.arange(3.0)
    timeline = Timeline(techniques, starts, starts + 1, np.log(probabilities), 3.0)
    np.testing.assert_allclose(timeline.overall, [0.36, 0.4, 0.24])
    assert (timeline.technique, timeline.probability) == ("low", pytest.approx(0.49))


def test_silence_is_named_as_such_and_counts_in_no_headline(predictor):
    """2 s of zeros, 1 s at -80 dBFS, then 1 s at -40 dBFS, which is `high`."""
    waveform = np.repeat([0, 1e-4, 1e-2], [2 * RATE, RATE, RATE]).astype("f4")
    silence, sound = predictor.predict(waveform, RATE, overlap=0).segments()
    assert (silence.start, silence.end, silence.technique, np.isnan(silence.probability)) == (0, 3, "silence", True)
    assert (sound.start, sound.end, sound.technique) == (3, 4, "high")
    timeline = predictor.predict(waveform, RATE, overlap=0)
    assert (timeline.technique, timeline.probability) == ("high", pytest.approx(1 / (1 + np.exp(-0.2))))
    np.testing.assert_allclose(timeline.overall, timeline.probabilities[3])
    assert technique_shares(timeline.segments()) == {"silence": 0.75, "high": 0.25}
    assert [s.technique for s in predictor.predict(waveform, RATE, 0, gate=-90).segments()] == ["silence", "high"]
    assert "silence" not in {s.technique for s in predictor.predict(waveform, RATE, 0, gate=None).segments()}
    nothing = predictor.predict(waveform[:2000], RATE)
    assert (nothing.technique, np.isnan(nothing.probability), np.isnan(nothing.overall).all()) == (
        "silence",
        True,
        True,
    )


def measure(waveform, rate, edges):
    """The levels between edges, of a recording that comes in seven blocks."""
    meter = LevelMeter(rate)
    for _ in meter.listen(np.array_split(waveform, 7)):
        meter.measure(np.array(edges), meter.samples / rate - 0.5)
    meter.measure(np.array(edges))
    return meter.levels


def test_levels_by_hand():
    """A full-scale square wave has 0 dBFS, a tenth of it -20; a piece of 10 ms is measured over 400 ms."""
    waveform = np.repeat([1, -0.1, 0.0], 1000)
    np.testing.assert_allclose(measure(waveform, 1000, [0, 1, 2, 3.0]), [0, -20, -200])
    short = measure(waveform, 1000, [0, 2.0, 2.01, 3.0])[1]  # 1.805 to 2.205 s: 195 of 400 samples at -0.1
    assert short == pytest.approx(-20 + 10 * np.log10(195 / 400), abs=1e-9)


@pytest.mark.parametrize("rates", [(44100, 16000), (48000, 44100), (22050, 16000), (8000, 8000), (11025, 44100)])
@pytest.mark.parametrize("samples", [1, 100, 70_001])
def test_resampled_in_blocks_is_as_librosa_resamples_the_whole(rates, samples):
    noise = np.random.default_rng(0).normal(size=samples).astype("f4")
    expected = librosa.resample(noise, orig_sr=rates[0], target_sr=rates[1], res_type="soxr_hq")
    np.testing.assert_array_equal(np.concatenate(list(resample(np.array_split(noise, 9), *rates))), expected)


@pytest.mark.parametrize("overlap", [0, 0.5, 0.9])
def test_a_recording_in_blocks_is_named_as_in_one(model, overlap, monkeypatch):
    """16 s of noise that is silent here and there, at another rate; the meter measures whenever it has a second."""
    noise = np.random.default_rng(0).normal(size=16 * 11025) / 10 * np.repeat([1, 0, 1e-5, 1], 4 * 11025)
    predictor, noise = load(model), noise.astype("f4")
    whole = predictor.predict(noise, 11025, overlap)
    monkeypatch.setattr(recordings, "BLOCK", 11025 // 4)
    parts = predictor.predict(iter(np.array_split(noise, 50)), 11025, overlap)
    assert parts.segments() == whole.segments()
    assert "silence" in technique_shares(whole.segments())
    np.testing.assert_array_equal(parts.logits, whole.logits)
    np.testing.assert_array_equal(parts.silent, whole.silent)


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("rate", "size"), [(12000, 14400), (44100, 132300), (8000, 4800), (22050, 24255)])
def test_every_moment_is_under_one_technique(rate, size, overlap):
    """Edges that are fractions of a second leave no gap and no sliver, whatever the rate and the length of a window."""
    predictor = Predictor(Sign(), Description(PARTS, ("low", "high"), rate, size))
    signs = np.repeat(np.random.default_rng(0).choice([-0.5, 0.5], 12), size)
    segments = predictor.predict(signs.astype("f4"), rate, overlap).segments()
    assert segments[0].start == 0
    assert segments[-1].end == pytest.approx(12 * size / rate)
    for before, after in itertools.pairwise(segments):
        assert before.end == after.start
        assert before.technique != after.technique
    assert all(segment.end - segment.start > 1e-3 and 0.5 <= segment.probability <= 1 for segment in segments)


def test_another_rate_is_resampled_and_channels_are_mixed(predictor):
    tone = np.sin(2 * np.pi * 50 * np.arange(4800) / 4000).astype("f4") + 0.3
    seen = []
    predictor.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    timeline = predictor.predict(np.stack([tone, tone], axis=1), 4000, overlap=0)
    assert timeline.seconds == pytest.approx(1.2)
    expected = librosa.resample(tone, orig_sr=4000, target_sr=RATE, res_type="soxr_hq")
    np.testing.assert_allclose(seen[0][0].numpy(), expected[:RATE], atol=1e-6)
    assert timeline.starts.tolist() == [0, pytest.approx(0.2)]


def test_channels_come_first_or_last_and_halves_are_read(predictor):
    tone = np.sin(2 * np.pi * 50 * np.arange(4096) / RATE).astype("f4")
    both = np.stack([tone, tone], axis=1)
    for waveform in (both.T, torch.from_numpy(both.T), torch.from_numpy(both).bfloat16()):
        timeline = predictor.predict(waveform, RATE)
        assert timeline.seconds == pytest.approx(4096 / RATE)
        np.testing.assert_allclose(timeline.logits, predictor.predict(both, RATE).logits, atol=0.05)


def test_a_short_recording_is_padded_and_ends_where_it_ends(predictor):
    timeline = predictor.predict(torch.full((400,), 0.5), RATE)
    (segment,) = timeline.segments()
    assert (segment.start, segment.end, segment.technique) == (0, 0.4, "high")
    assert timeline.logits[0, 1] == pytest.approx(10 * 0.5 * 0.4)


def test_zeros_follow_a_short_recording(predictor):
    seen = []
    predictor.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    predictor.predict(np.full(400, 0.5, "f4"), RATE)
    np.testing.assert_array_equal(seen[0].numpy(), [[0.5] * 400 + [0] * 600])


@pytest.mark.parametrize(
    ("waveform", "options", "why"),
    [
        (np.zeros(0, "f4"), {}, "or .channels, S."),
        (np.zeros((0, 2), "f4"), {}, "or .channels, S."),
        (np.zeros((2, 2, 2), "f4"), {}, "or .channels, S."),
        (np.full(9, 1e30, "f4"), {}, "reaches 1e[+]30: expected floats with full scale at 1"),
        (np.full(9, 1e300), {}, "reaches 1e[+]300: expected floats with full scale at 1"),
        (np.zeros(9, "i2"), {}, "floats with full scale at 1"),
        (np.zeros((16, 36000), "f4"), {}, "16, 36000.: .* with up to 8 channels, no batch"),
        ([np.zeros(9, "f4")] * 2, {}, "waveform is a list: expected an array; of blocks, iter.blocks"),
        (np.array([np.nan], "f4"), {}, "NaN"),
        (np.zeros(9, "f4"), {"sample_rate": 0}, "sample_rate=0"),
        (np.zeros(9, "f4"), {"overlap": 1}, "overlap=1"),
        (np.zeros(9, "f4"), {"overlap": None}, "overlap=None"),
        *((np.zeros(9, "f4"), {"gate": gate}, f"gate={gate}: expected a level") for gate in (np.nan, np.inf, 5, "-70")),
        (np.zeros(9, "f4"), {"overlap": 0.9999}, "from 0 to 0.99"),
    ],
)
def test_what_is_no_waveform_is_one_sentence(predictor, waveform, options, why):
    with pytest.raises(ValueError, match=why):
        predictor.predict(waveform, **({"sample_rate": RATE} | options))


def test_a_generator_may_give_empty_blocks_and_none_alone_is_refused(predictor):
    tone, nothing = np.full(400, 0.5, "f4"), np.zeros(0, "f4")
    timeline = predictor.predict(iter([nothing, tone, nothing]), np.int64(RATE))
    assert (timeline.technique, timeline.seconds) == ("high", 0.4)
    for blocks in ([], [nothing]):
        with pytest.raises(ValueError, match="holds no block with samples"):
            predictor.predict(iter(blocks), RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_whose_logits_are_no_numbers_names_nothing(predictor, value):
    predictor.network.register_forward_hook(lambda module, inputs, output: output * value)
    with pytest.raises(Damaged, match="NaN or infinite logits"):
        predictor.predict(np.full(400, 0.5, "f4"), RATE)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    network = oblong_network(samples=4800, techniques=2, seed=0, **ARGUMENTS)
    write_model(folder, network, Description(PARTS, ("trill", "straight"), 8000, 4800))
    return folder


def test_a_device_that_is_not_here_is_one_sentence(model):
    device = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(InvalidValue, match=f"^device={device}: expected cpu.*, which this machine has"):
        load(model, device=device)


@pytest.fixture
def takes(tmp_path):
    folder = tmp_path / "takes"
    (folder / "more").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=16000) / 10
    soundfile.write(folder / "a.wav", noise, 16000)
    soundfile.write(folder / "a.flac", noise, 8000)
    soundfile.write(folder / "more" / "a.wav", np.stack([noise, noise], axis=1), 8000)
    (folder / "broken.wav").write_bytes(b"RIFF of nothing")
    (folder / "notes.txt").write_text("no recording")
    return folder


def test_a_folder_is_named_file_by_file_and_what_cannot_be_read_is_told(model, takes, tmp_path, capsys):
    to = tmp_path / "heard"
    assert main([f"network={model}", f"input={takes}", f"to={to}", "overlap=0.25"]) == 1
    said = capsys.readouterr()
    assert "broken.wav: it is no readable WAV or FLAC recording" in said.err
    assert "1 of 4 recordings have no timeline" in said.err
    names = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    stems, suffixes = ("a.flac", "a.wav", "more/a"), ("csv", "json", "png", "txt", "TextGrid")
    assert names == {"summary.csv", *(f"{stem}.{suffix}" for stem in stems for suffix in suffixes)}
    summary = list(csv.DictReader((to / "summary.csv").read_text().splitlines()))
    assert [bool(line["problem"]) for line in summary] == [False, False, True, False]
    told = json.loads((to / "a.wav.json").read_text())
    assert told["seconds"] == 1.0  # 16,000 samples at 16 kHz
    assert told["windows"][-1]["end"] == 1.0
    assert sum(told["mean_probabilities"].values()) == pytest.approx(1, abs=1e-3)
    rows = list(csv.DictReader((to / "a.wav.csv").read_text().splitlines()))
    assert [float(rows[0]["start"]), float(rows[-1]["end"])] == [0.0, 1.0]


@pytest.mark.parametrize("name", ["a.TextGrid", "a.txt", "a.json"])
def test_what_a_person_wrote_beside_a_recording_stays(model, takes, tmp_path, capsys, name):
    (takes / "a.flac").unlink()
    mine = takes / name
    mine.write_text('{"mine": 1}')
    for _ in range(2):
        assert main([f"network={model}", f"input={takes / 'a.wav'}", f"to={takes}"]) == 1
        assert f"{name} exists, and predict did not write it" in capsys.readouterr().err
    assert mine.read_text() == '{"mine": 1}'


ENTRIES = ["", "recording", "made_of", "seconds", "technique", "probability", "note", "shares"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=9), values, max_size=2),
    max_leaves=4,
)


@example(entry="", value=b"{")
@example(entry="", value=b"")
@given(entry=st.sampled_from(ENTRIES), value=JSON)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_result_that_somebody_edited_is_made_again_or_one_sentence(predictor, takes, entry, value):
    take, to = takes / "a.flac", takes / "to"
    table = predict_recordings(predictor, [take], to, 0.5, GATE, ())
    result, files = to / "a.json", {path: path.read_bytes() for path in to.iterdir()}
    changed = json.loads(result.read_text()) | {entry: value} if entry else value
    result.write_bytes(value if isinstance(value, bytes) else json.dumps(changed).encode())
    edited = result.read_bytes()
    summary = predict_recordings(predictor, [take], to, 0.5, GATE, ())
    if problem := summary["problem"][0]:
        assert str(result) in problem
        assert "name another folder with to=FOLDER" in problem
        assert result.read_bytes() == edited
    else:
        assert summary.equals(table)
    for path, content in files.items():
        path.write_bytes(content)


@pytest.mark.parametrize("suffix", ["json", "csv", "txt", "TextGrid", "png"])
def test_a_result_that_is_not_what_was_written_is_predicted_again(predictor, takes, tmp_path, suffix):
    """A name and a probability that no network gave, without a digest as in earlier versions; and half files."""
    arguments = [predictor, [takes / "a.flac"], tmp_path, 0.5, GATE, ("png",)]
    table = predict_recordings(*arguments)
    path = tmp_path / f"a.{suffix}"
    whole = path.read_bytes()
    changed = whole[: len(whole) // 2]
    if suffix == "json":
        values = json.loads(whole) | {"technique": "belt", "probability": np.nan, "shares": {"belt": 1}}
        changed = json.dumps({name: value for name, value in values.items() if name != "digest"}).encode()
    path.write_bytes(changed)
    assert predict_recordings(*arguments).equals(table)
    assert path.read_bytes() == whole


def packed(kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(size=8000) / 9, 8000, format=kind, subtype=subtype)
    return file.getvalue()


WAV, FLAC, MP3 = packed("WAV", "PCM_16"), packed("FLAC", "PCM_16"), packed("MP3", "MPEG_LAYER_III")
UNREADABLE, TOO_FEW = "it is no readable WAV or FLAC recording", "its header has 8,000 samples, too few for its 20.0 GB"


@pytest.mark.parametrize(
    ("beginning", "why"),
    [
        *((beginning, UNREADABLE) for beginning in (b"RIFF", WAV[:12], WAV[:36], b"fLaC", b"RF64", b"riff")),
        *((beginning, TOO_FEW) for beginning in (WAV[:44], WAV, FLAC, FLAC[: len(FLAC) // 2], MP3)),
        *((packed(kind, "PCM_16"), TOO_FEW) for kind in ("RF64", "AIFF", "AU")),
        (packed("W64", "PCM_16")[:128], "it is longer than 24 h; cut it into parts"),
        *(
            (beginning, "cannot read it; install ffmpeg, which may")
            for beginning in (b"", b"ID3\x04", b"\0\0\0 ftypM4A ")
        ),
    ],
)
def test_a_file_of_20_gb_is_skipped_before_it_is_read(model, tmp_path, capsys, monkeypatch, beginning, why):
    monkeypatch.setenv("PATH", "")
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.write(beginning)
        file.truncate(20_000_000_000)  # without a block on the disk
    monkeypatch.setattr("singtech.cli.predict.hash_file", None)  # which reads all
    assert main([f"network={model}", f"input={huge}", f"to={tmp_path / 'heard'}"]) == 1
    skipped, error = capsys.readouterr().err.splitlines()
    assert skipped.startswith(f"skipped {huge}: ")
    assert skipped.endswith(why)
    assert error == "error: 1 of 1 recordings have no timeline."


def test_stopped_and_given_again_it_goes_on_with_what_is_not_done(model, takes, tmp_path, monkeypatch, capsys):
    (takes / "broken.wav").unlink()
    whole, again = tmp_path / "whole", tmp_path / "again"
    command = [f"network={model}", f"input={takes}"]
    assert main([*command, f"to={whole}", "pictures=false"]) == 0
    computed, predict = [], Predictor.predict

    def counted(*arguments):
        if len(computed) == stop_at:
            raise KeyboardInterrupt
        computed.append(1)
        return predict(*arguments)

    def now_computed(*more):
        computed.clear()
        pictures = [] if "pictures=true" in more else ["pictures=false"]
        assert main([*command, f"to={again}", *pictures, *more]) == 0
        return len(computed)

    monkeypatch.setattr(Predictor, "predict", counted)
    stop_at = 2
    assert main([*command, f"to={again}", "pictures=false"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len((again / "summary.csv").read_text().splitlines()) == 3  # what was done till then
    stop_at = None
    assert now_computed() == 1
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert all((whole / name).read_bytes() == (again / name).read_bytes() for name in files)
    assert now_computed() == 0
    assert now_computed("pictures=true") == 3
    (again / "a.wav.png").unlink()
    assert now_computed() == 0
    assert now_computed("pictures=true") == 1
    soundfile.write(takes / "a.flac", np.zeros(8000), 8000)
    assert now_computed() == 1
    assert now_computed("overlap=0.1") == 3
    network = oblong_network(samples=4800, techniques=2, seed=1, **ARGUMENTS)
    write_model(model, network, Description(PARTS, ("trill", "straight"), 8000, 4800))
    assert now_computed("overlap=0.1") == 3


def test_what_is_no_recording_among_recordings_leaves_the_others_in_peace(model, takes, tmp_path, capsys):
    """Links without a target or in a circle, a pipe, and a name too long for the names of its timelines."""
    (takes / "gone.wav").symlink_to("nowhere.wav")
    (takes / "turn.wav").symlink_to("turn.wav")
    os.mkfifo(takes / "pipe.wav")
    shutil.copy(takes / "a.wav", takes / f"{'n' * 249}.wav")
    to, options = tmp_path / "to", [f"network={model}", "pictures=false"]
    for input in (takes, takes / "*.*"):
        assert main([*options, f"input={input}", f"to={to}"]) == 1
        said = dict(
            line.removeprefix(f"skipped {takes}/").split(": ", 1) for line in capsys.readouterr().err.splitlines()
        )
        assert said.pop(f"{'n' * 249}.wav") == "its name is too long for those of its timelines"
        assert said.pop("gone.wav") == "No such file or directory"
        assert said.pop("turn.wav") == "Too many levels of symbolic links"
        assert said.pop("pipe.wav") == "it is a pipe, no file"
        assert said.pop("notes.txt", "").startswith("it is text") == (input != takes)
        assert set(said) == {"broken.wav", "error"}
        assert (to / "a.wav.json").exists()
    assert main([*options, f"input={takes / 'gone.wav'}", f"to={to}"]) == 1
    assert "gone.wav: No such file or directory" in capsys.readouterr().err


def test_a_recording_that_vanishes_leaves_the_others_in_peace(predictor, takes, tmp_path):
    paths = [takes / "a.wav", takes / "vanished.wav", takes / "a.flac"]
    summary = predict_recordings(predictor, paths, tmp_path / "to", 0.5, GATE, ())
    assert summary["problem"].tolist() == ["", "No such file or directory", ""]


def test_a_bug_is_no_fault_of_a_recording(predictor, takes, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("singtech.cli.predict._write_note", fail)
    with pytest.raises(ValueError, match="a bug"):
        predict_recordings(predictor, [takes / "a.wav"], tmp_path / "to", 0.5, GATE, ())


def test_linked_folders_are_followed_and_circles_end(takes, tmp_path):
    more = tmp_path / "elsewhere"
    more.mkdir()
    (more / "far.wav").touch()
    (more / "back").symlink_to(takes)
    (takes / "more" / "self").symlink_to(".")
    (takes / "link").symlink_to(more)
    names = ["a.flac", "a.wav", "broken.wav", "link/far.wav", "more/a.wav"]
    assert find_recordings(str(takes)) == [takes / name for name in names]


def test_a_moment_of_sound_leaves_the_others_in_peace(model, takes, tmp_path):
    soundfile.write(takes / "click.wav", np.array([0.5]), 48000)
    (takes / "broken.wav").unlink()
    for _ in range(2):
        assert main([f"network={model}", f"input={takes}", f"to={tmp_path / 'to'}", "pictures=false"]) == 0
    lines = list(csv.DictReader((tmp_path / "to" / "summary.csv").read_text().splitlines()))
    assert len(lines) == 4
    assert all(line["timeline"] for line in lines)
    (click,) = [line for line in lines if line["note"]]
    assert click["note"] == "Shorter than a window of 0.6 s: padded with silence."
    assert click["recording"].endswith("click.wav")


def test_no_timeline_takes_the_place_of_anothers(model, takes, tmp_path, capsys):
    noise = np.random.default_rng(0).normal(size=8000) / 10
    soundfile.write(takes / "a_wav.wav", noise, 8000)
    three = ",".join(str(takes / name) for name in ("a_wav.wav", "a.flac", "a.wav"))
    options = [f"network={model}", f"to={tmp_path / 'to'}", "pictures=false"]
    assert main([*options, f"input=[{three}]"]) == 0
    told = [json.loads(path.read_text())["recording"] for path in (tmp_path / "to").glob("*.json")]
    assert sorted(told) == sorted(three.split(","))
    capsys.readouterr()
    soundfile.write(takes / "more" / "a_wav.wav", noise, 8000)
    assert main([*options, f"input={takes / 'more' / 'a_wav.wav'}"]) == 1
    assert f"a_wav.json is of {takes / 'a_wav.wav'}; name another folder with to=FOLDER" in capsys.readouterr().err


def test_a_name_that_utf_8_cannot_encode_is_escaped(model, takes, tmp_path, capsys):
    odd = os.fsencode(takes) + b"/caf\xe9.wav"
    (takes / "a.wav").rename(os.fsdecode(odd))
    to = tmp_path / "to"
    for _ in range(2):
        assert main([f"network={model}", f"input={os.fsdecode(odd)}", f"to={to}"]) == 0
    assert r"caf\udce9.wav" in (to / "summary.csv").read_text()
    assert capsys.readouterr().out.count(r"caf\udce9.wav") == 2
    (result,) = to.glob("*.json")
    assert json.loads(result.read_text())["recording"] == rf"{takes}/caf\udce9.wav"


@pytest.mark.parametrize("room", range(0, 14, 2))
def test_a_full_disk_is_no_fault_of_a_recording(model, takes, tmp_path, capsys, fill_disk, room):
    """At any of the files of a recording, or at the summary."""
    command = [f"network={model}", f"input={takes / 'a.wav'}", f"to={tmp_path / 'to'}"]
    with fill_disk(room):
        assert main(command) == 1
    said = capsys.readouterr().err.splitlines()
    (error,) = [line for line in said if "error" in line]
    assert error.startswith("error: no room on the disk")
    assert error.endswith(
        "(No space left on device): make room there and run the same command again; it "
        "continues where this one stopped."
    )
    assert not list((tmp_path / "to").glob(".*"))
    assert main(command) == 0


def test_from_python_as_from_the_command(model, takes, tmp_path):
    samples, rate = soundfile.read(takes / "a.flac", dtype="float32")
    timeline = load(model).predict(samples, rate)
    to = tmp_path / "heard"
    assert main([f"network={model}", f"input={takes / 'a.flac'}", f"to={to}", "pictures=false"]) == 0
    told = json.loads((to / "a.json").read_text())
    assert told["technique"] == timeline.technique
    assert not (to / "a.png").exists()


def test_headline_summary_json_and_every_timeline_agree(model, takes, tmp_path):
    """0.6 s of silence, then 1.2 s of noise: all files say so; the TextGrid is read by tgt."""
    noise = np.random.default_rng(0).normal(size=9600) / 10
    soundfile.write(takes / "more" / "a.wav", np.concatenate([np.zeros(4800), noise]), 8000)
    to = tmp_path / "to"
    assert main([f"network={model}", f"input={takes / 'more'}", f"to={to}", "overlap=0", "pictures=false"]) == 0
    told = json.loads((to / "a.json").read_text())
    rows = list(csv.DictReader((to / "a.csv").read_text().splitlines()))
    segments = [(float(row["start"]), float(row["end"]), row["technique"]) for row in rows]
    assert segments[0] == (0, 0.6, "silence")
    assert (rows[0]["probability"], told["segments"][0]["probability"]) == ("", None)
    (summary,) = csv.DictReader((to / "summary.csv").read_text().splitlines())
    times = {name: sum(b - a for a, b, other in segments[1:] if other == name) for _, _, name in segments[1:]}
    assert summary["technique"] == told["technique"] == max(times, key=times.get)
    assert float(summary["probability"]) == told["probability"]
    labels = [line.split("\t") for line in (to / "a.txt").read_text().splitlines()]
    assert [(float(a), float(b), name) for a, b, name in labels] == segments
    (tier,) = tgt.io.read_textgrid(to / "a.TextGrid").tiers
    assert [(i.start_time, i.end_time, i.text) for i in tier.intervals] == segments
    assert (tier.name, tier.start_time, tier.end_time) == ("technique", 0, 1.8)


def test_a_text_grid_doubles_quotes_and_has_the_form_that_praat_writes():
    """The example of Praat's manual (TextGrid file formats), with the technique `say "a"`."""
    assert format_text_grid([Segment(0, 2.3, 'say "a"', 0.5)]).splitlines() == [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        "xmax = 2.300000",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "technique"',
        "        xmin = 0",
        "        xmax = 2.300000",
        "        intervals: size = 1",
        "        intervals [1]:",
        "            xmin = 0.000000",
        "            xmax = 2.300000",
        '            text = "say ""a"""',
    ]


@pytest.mark.parametrize("kind", [*soundfile.available_formats(), "3gp", "mp4", "avi", "webm", "ape", "m4a"])
def test_in_a_folder_no_recording_is_passed_over_in_silence(kind):
    """All formats that libsndfile reads, and others of sound and video."""
    suffixes = {"WAVEX": ".wav", "NIST": ".sph", "IRCAM": ".sf"}  # where the name of the format is none
    others = ("RAW", "MAT4", "MAT5", "MPC2K")  # samples without a header, and files that are mostly no sound
    assert is_recording(Path(f"a{suffixes.get(kind, f'.{kind}')}")) == (kind not in others)
    assert not is_recording(Path(f"._a.{kind}"))


def read(path):
    """All samples of a recording, and its rate."""
    with open_recording(path) as (rate, _, blocks):
        return np.concatenate(list(blocks)), rate


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "GSM610"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("AIFF", "PCM_16"),
        ("CAF", "ALAC_16"),
    ],
)
def test_what_libsndfile_reads_is_read(tmp_path, kind, subtype, monkeypatch):
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000) / 2
    path = tmp_path / f"tone.{kind.lower()}"
    channels = tone if subtype == "GSM610" else np.stack([tone, tone], axis=1)
    soundfile.write(path, channels, 48000, format=kind, subtype=subtype)
    assert is_recording(path)
    monkeypatch.setattr(recordings, "BLOCK", 2000)  # of 24 blocks of two channels
    samples, rate = read(path)
    assert rate == 48000
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1))


@pytest.mark.parametrize(
    "text",
    [
        b"<!DOCTYPE html>\n<title>404</title>",
        b"\xef\xbb\xbf<html lang='fr'>\r\n<title>T\xc3\xa9l\xc3\xa9chargement</title>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        b"#EXTM3U\n#EXTINF:3,a\nhttp://example.org/a.wav\n",
    ],
)
def test_a_text_that_is_called_a_recording_is_named_as_text(tmp_path, monkeypatch, text):
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "take.wav"
    path.write_bytes(text)
    with pytest.raises(Damaged, match="^it is text, no sound$"):
        read(path)


def test_a_damaged_mp3_is_one_sentence_and_its_decoder_is_quiet(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "take.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(size=48000) / 9, 48000, format="MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Damaged, match="it is cut short"):
        read(path)
    path.write_bytes(b"ID3" + bytes(range(256)) * 20)
    with pytest.raises(Damaged, match="libsndfile .* cannot read it; install ffmpeg, which may"):
        read(path)
    assert capfd.readouterr().err == ""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Stand in for ffmpeg: a script that notes its arguments, and does what its test says."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(action):
        (folder / "ffmpeg").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\n{action}\n')
        (folder / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder / "arguments"

    return write


def test_what_libsndfile_does_not_read_is_left_to_ffmpeg(tmp_path, ffmpeg):
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype("f4") / 2
    soundfile.write(tmp_path / "tone.wav", tone, 8000, subtype="FLOAT")
    data = (tmp_path / "tone.wav").read_bytes()
    position = data.index(b"data") + 4
    (tmp_path / "piped.wav").write_bytes(data[:position] + b"\xff" * 4 + data[position + 4 :])  # of unknown length
    take = tmp_path / "-take.m4a"
    take.write_bytes(b"\0\0\0 ftypM4A ")
    arguments = ffmpeg(f"cat {tmp_path / 'piped.wav'}")
    samples, rate = read(take)
    np.testing.assert_array_equal(samples, tone)
    assert rate == 8000
    words = arguments.read_text().splitlines()
    assert words[words.index("-i") + 1] == f"file:{take}"
    ffmpeg("echo 'take.m4a: Invalid data found when processing input' >&2; exit 1")
    with pytest.raises(Damaged, match=r"neither .* can read it \(Invalid data found when processing input\)$"):
        read(take)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("exit 0", "can read it .no sound."),
        ("echo take.m4a: moov atom not found >&2; exit 1", "can read it .moov atom not found."),
        ("cat {sound}; echo Conversion failed >&2; exit 1", "can read it .Conversion failed."),
        ("cat {sound} /dev/zero", "it is longer than 0 h; cut it into parts"),
    ],
)
def test_what_ffmpeg_cannot_decode_to_its_end_is_one_sentence(tmp_path, ffmpeg, monkeypatch, action, why):
    monkeypatch.setattr(recordings, "MAX_SECONDS", 10)
    sound = tmp_path / "sound.au"
    sound.write_bytes(struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 6, 1000, 1) + np.zeros(1000, ">f4").tobytes())
    take = tmp_path / "take.m4a"
    take.write_bytes(b"\0\0\0 ftypM4A ")
    ffmpeg(action.format(sound=sound))
    with pytest.raises(Damaged, match=why):
        read(take)


def test_ffmpeg_ends_when_its_reader_stops(tmp_path, ffmpeg):
    take = tmp_path / "take.m4a"
    take.write_bytes(b"\0\0\0 ftypM4A ")
    header = "printf '.snd\\0\\0\\0\\030\\377\\377\\377\\377\\0\\0\\0\\006\\0\\0\\037\\100\\0\\0\\0\\001'"
    ffmpeg(f"echo $$ > {tmp_path / 'pid'}; {header}; exec cat /dev/zero")
    with open_recording(take) as (_, _, blocks):
        assert not next(blocks).any()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_ffmpeg_itself(tmp_path):
    soundfile.write(tmp_path / "tone.wav", np.sin(2 * np.pi * 440 * np.arange(44100) / 44100) / 2, 44100)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "tone.wav", tmp_path / "tone.m4a"]
    subprocess.run(command, check=True)
    samples, rate = read(tmp_path / "tone.m4a")
    assert rate == 44100
    assert len(samples) == pytest.approx(44100, abs=3000)  # AAC pads


def test_many_recordings_have_no_pictures_unless_these_are_wanted(model, takes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("singtech.cli.predict.MOST_PICTURES", 1)
    options = [f"network={model}", f"input={takes / 'a.wav'}", f"to={tmp_path / 'to'}"]
    assert main(options) == 0
    assert (tmp_path / "to" / "a.png").exists()
    options[1] = f"input=[{takes / 'a.wav'},{takes / 'more'}]"
    options[2] += "2"
    assert main(options) == 0
    assert "more than 1 recordings: no pictures; pictures=true draws them" in capsys.readouterr().out
    assert not list((tmp_path / "to2").rglob("*.png"))
    assert main([*options, "pictures=[pdf,svg]"]) == 0
    assert "no pictures" not in capsys.readouterr().out
    assert {path.suffix for path in (tmp_path / "to2" / "more").iterdir()} >= {".pdf", ".svg"}


def test_the_gate_is_an_option(model, takes, tmp_path):
    """Noise of a tenth of full scale is at -20 dBFS."""
    for gate, expected in (("-10", {"silence"}), ("-30", {"trill", "straight"}), ("null", {"trill", "straight"})):
        options = [f"network={model}", f"input={takes / 'a.flac'}", f"to={tmp_path / 'to'}", "pictures=false"]
        assert main([*options, f"gate={gate}"]) == 0
        told = json.loads((tmp_path / "to" / "a.json").read_text())
        assert {told["technique"]} <= expected
        assert set(told["shares"]) <= expected
    assert Options(network="", input="").gate == GATE


def test_files_globs_and_lists_are_understood(takes, monkeypatch):
    monkeypatch.chdir(takes)
    assert [str(path) for path in find_recordings("*.flac")] == ["a.flac"]
    Path("[take 1].wav").touch()
    assert find_recordings("[take 1].wav") == [Path("[take 1].wav")]
    assert find_recordings(f"[{','.join(['a.wav'] * 400)}]") == [Path("a.wav")]
    assert {str(path) for path in find_recordings("[a.wav, '**/a.wav', more]")} == {"a.wav", "more/a.wav"}
    assert find_recordings(str(takes / "*" / "a.wav")) == [takes / "more" / "a.wav"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["network={model}"], "input is not set: give it a value"),
        (["network={model}", "input=nowhere"], "input=nowhere: no recording there"),
        (["network={model}", "input={takes}", "overlap=1"], "overlap=1"),
        (["network={model}", "input={takes}", "pictures=gif"], "pictures=gif: expected png, pdf, svg"),
        (["network={model}", "input={takes}", "gate=low"], "gate=low: expected a number"),
        (["network={model}", "input={takes}", "overlap=much"], "overlap=much: expected a number"),
        (["network={model}", "input={takes}", "device=tpu"], "device=tpu"),
        (["network={takes}", "input={takes}"], "no model, because config.json is missing"),
        (["network=nobody", "input={takes}", "output_dir={takes}"], "has no complete run"),
        (["network={model}/nowhere", "input={takes}"], "has no complete run"),
        (["netwrok={model}"], "no such option (is network meant?)"),
        (["--network={model}", "input=a.wav"], "no such option (is network meant?)"),
        (["network={model}", "song.wav"], "song.wav: no such option"),
        (["network={model}", "input=[]"], """input=[]: expected a list, as in "input=[a,'b c']"."""),
        (["network={model}", "input={takes}/**.wav"], "**.wav: expected ** between slashes alone, as in b/**/*.wav."),
        (["network={model}", "input={takes}", "gate=nan"], "gate=nan: expected a level in dBFS up to 0"),
        (["network={model}", "input={takes}", "gate=inf"], "gate=inf: expected a level in dBFS up to 0"),
        (["network={model}", "input={takes}", "gate=5"], "gate=5.0: expected a level in dBFS up to 0"),
        (["network={model}", "input=a,b"], "several of these in brackets, as in"),
    ],
)
def test_a_mistake_is_one_sentence(model, takes, capsys, arguments, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the checkout may have results in outputs/
    said = [argument.format(model=model, takes=takes) for argument in arguments]
    assert main([*said, f"to={tmp_path / 'to'}"]) == 1
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert not (tmp_path / "to").exists()


def test_help_says_what_it_takes(capsys):
    assert main(["--help"]) == 0
    assert "overlap=" in capsys.readouterr().out


def test_a_resampled_recording_ends_when_it_ends(model):
    """10 s at 44.1 kHz, of which resampling makes a sample more or less."""
    told = load(model).predict(np.zeros(441_001, dtype=np.float32), 44_100)
    assert told.seconds == told.ends[-1] == told.segments()[-1].end == 441_001 / 44_100


def test_a_network_that_is_not_there_is_told_before_torch_is_loaded(takes, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for network, why in (("nobody", "no complete run"), ("no/where", "no complete run")):
        assert main([f"network={network}", f"input={takes}", f"output_dir={takes}"]) == 1
        assert why in capsys.readouterr().err
