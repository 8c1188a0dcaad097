"""The same sound in other bytes is found; two takes of the same song are not the same sound."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singtech.corpus.archive import open_source
from singtech.corpus.near_copies import CORRELATION, RATE, correlate, find_candidates, make_fingerprint, resample
from singtech.corpus.splits import Split
from singtech.corpus.verify import report, verify

RATE_OF_FILES = 16000
REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent")) / "FULL"


def take(number, seconds=4.0):
    """(S,) a voice that sings the same three notes; tremor, loudness and noise are another for every number."""
    draw = np.random.default_rng(number)
    time = np.arange(round(seconds * RATE_OF_FILES)) / RATE_OF_FILES
    knots = np.linspace(0, seconds, 40)
    tremor = np.interp(time, knots, draw.normal(0, 0.01, 40))
    note = 220 * 2 ** (np.floor(3 * time / seconds) * 4 / 12) * (1 + tremor)
    phase, loudness = 2 * np.pi * np.cumsum(note) / RATE_OF_FILES, np.interp(time, knots, draw.uniform(0.2, 1, 40))
    voice = sum(np.sin(k * phase) * np.interp(time, knots, draw.uniform(0.2, 1, 40)) / k for k in range(1, 9))
    return 0.2 * loudness * voice + 0.002 * draw.normal(size=len(time))


def as_wav(waveform, rate=RATE_OF_FILES, **form):
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, **{"format": "WAV", "subtype": "PCM_16"} | form)
    return file.getvalue()


def copies(waveform, rate):
    """The same sound: softer, rounded to 8 bits less, 0.1 s shorter, both, inverted, and a piece of 3 s."""
    start = round(0.1 * rate) + 37
    return {
        "softer": 0.05 * waveform,
        "rounded": np.rint(waveform * 2**14) / 2**15,
        "shorter": waveform[start:],
        "softer and shorter": np.rint(waveform[start:] * 2**13) / 2**15,
        "inverted": -waveform,
        "a piece": waveform[rate : 4 * rate],
    }


@pytest.mark.parametrize("kind", copies(np.zeros(RATE_OF_FILES), RATE_OF_FILES))
def test_a_copy_is_found_with_its_place(kind):
    copy = copies(take(0), RATE_OF_FILES)[kind]
    sounds = [resample(each, RATE_OF_FILES) for each in (take(0), take(1), copy, take(2))]
    (candidate,) = find_candidates([make_fingerprint(sound) for sound in sounds])
    assert candidate[:2] == (0, 2)
    correlation, seconds = correlate(sounds[0], sounds[2], candidate.lag)
    later = {"shorter": 0.1 + 37 / 16000, "softer and shorter": 0.1 + 37 / 16000, "a piece": 1.0}.get(kind, 0.0)
    assert correlation > 0.95
    assert seconds == pytest.approx(later, abs=0.5 / RATE)


def test_takes_of_the_same_notes_are_not_copies():
    assert find_candidates([make_fingerprint(resample(take(n), RATE_OF_FILES)) for n in range(30)]) == []


def test_silence_steady_tones_and_what_is_shorter_than_a_frame_are_no_candidates():
    time = np.arange(20000) / RATE
    tones = [0.5 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 225, 440)]
    sounds = [np.zeros(20000), np.zeros(20000), *tones, np.ones(100), np.empty(0)]
    for candidate in find_candidates([make_fingerprint(sound.astype(np.float32)) for sound in sounds]):
        assert correlate(sounds[candidate.first], sounds[candidate.second], candidate.lag)[0] < CORRELATION
    assert find_candidates([]) == []


@pytest.fixture
def leaking(folder_of):
    """A corpus of three singers; d has a sound of a's, softer, as FLAC, 0.1 s shorter and under another technique."""
    files = {f"{singer}/belt/{n}.wav": as_wav(take(10 * k + n)) for k, singer in enumerate("abd") for n in range(2)}
    files["d/trill/x.flac"] = as_wav(0.3 * take(0)[1600:], format="FLAC")
    files["a/belt/again.wav"] = as_wav(0.5 * take(1))
    files["a/belt/bytes.wav"] = files["a/belt/0.wav"]
    return folder_of(files)


def test_verify_names_the_pairs_and_what_they_cross(leaking):
    with open_source(leaking) as source:
        found = verify(source, RATE_OF_FILES, subsets=Split(["d"], []).subsets)
    pairs = found.findings[found.findings["finding"] == "near copy"][["where", "detail"]].to_numpy().tolist()
    assert sorted(pairs) == [
        ["a/belt/again.wav", "the sound of a/belt/1.wav"],
        [
            "d/trill/x.flac",
            "the sound of a/belt/0.wav, 0.10 s after its start; singers a and d; techniques belt and trill; "
            "subsets train and test: leakage",
        ],
    ]
    lines = report(found).splitlines()
    assert "of the sound of another one, in other bytes; prepare keeps both: 2 recordings" in lines
    assert "byte for byte another one: 1 recording" in lines


def test_the_command_knows_the_split(call, leaking, tmp_path):
    own = ["data=folder", f"data.root={leaking}", "data.sample_rate=16000", f"output_dir={tmp_path / 'out'}"]
    for split, words in (("[d]", "subsets train and test: leakage"), ("[b]", "techniques belt and trill: leakage")):
        done = call("verify", *own, f"data.split.test={split}")
        assert done.status == 0, done.err
        assert f"{words}\n" in done.out


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="SINGTECH_REAL_VOCALSET names no folder with FULL/")
def test_of_real_recordings_every_copy_is_found_and_no_other_pair():
    waveforms = [soundfile.read(path, dtype="float32") for path in sorted(REAL.rglob("*.flac"))]
    sounds = [resample(*each) for each in waveforms]
    originals = [make_fingerprint(sound) for sound in sounds]
    assert find_candidates(originals) == []
    for kind in copies(np.zeros(RATE_OF_FILES), RATE_OF_FILES):
        copied = [resample(copies(*each)[kind], each[1]) for each in waveforms]
        pairs = find_candidates([*originals, *map(make_fingerprint, copied)])
        assert sorted(pair[:2] for pair in pairs) == [(n, n + len(sounds)) for n in range(len(sounds))]
        for first, second, lag in pairs:
            assert correlate(sounds[first], copied[second - len(sounds)], lag)[0] > 0.9
