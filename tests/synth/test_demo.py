"""What a musician would check on the demo corpus, measured by librosa and scipy on freshly sung notes."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
import pytest
from scipy import linalg, signal
from scipy.io import wavfile

from singtech.synth import demo
from singtech.synth.demo import (
    CONTEXTS,
    SINGERS,
    TEST_SINGERS,
    Recording,
    make_notes,
    make_stream,
    plan_recordings,
    synthesise,
)
from singtech.synth.voice import FORMANTS, VOWELS, Note, Singer, sing
from singtech.techniques import TECHNIQUES

RATE = 16000  # Hz
SOME_SINGERS = ("female1", "female5", "male2", "male7")


def virtual_singer(name, seed, **changes):
    """One of the twenty singers, some of its properties changed."""
    singer = Singer(name, make_stream(seed, name))
    vars(singer).update(changes)
    return singer


def sung(technique, singer, vowel="a", seconds=3.0, semitones=4, sample_rate=RATE):
    """One long note between two rests; `singer` is a name, or a Singer made to measure."""
    singer = virtual_singer(singer, seed=0) if isinstance(singer, str) else singer
    rest = Note(0.1, singer.tonic, "")
    notes = [rest, Note(seconds, singer.tonic + semitones, vowel), rest]
    return sing(notes, technique, singer, make_stream(0, f"{technique} {singer.name} {vowel}"), sample_rate)


def pitch(waveform, singer, semitones=4):
    """Cents about the median, 100 times a second, onset and release left out; sought within half an octave."""
    singer = virtual_singer(singer, seed=0) if isinstance(singer, str) else singer
    around = librosa.midi_to_hz(singer.tonic + semitones)
    hertz = librosa.yin(waveform, fmin=around * 0.7, fmax=around * 1.4, sr=RATE, frame_length=1024, hop_length=160)
    hertz = hertz[40:-40]
    return 1200 * np.log2(hertz / np.median(hertz))


def envelope(waveform):
    """dB, 200 times a second, onset and release left out."""
    rms = librosa.feature.rms(y=waveform, frame_length=160, hop_length=80)[0][60:-60]
    return 20 * np.log10(rms + 1e-4)


def fastest(curve, rate, low, high):
    """Frequency in Hz of the strongest movement of a curve between `low` and `high`."""
    frequencies, power = signal.periodogram(signal.detrend(curve), rate, window="hann", nfft=8192)
    band = (frequencies >= low) & (frequencies <= high)
    return frequencies[band][power[band].argmax()]


def swing(curve):
    """Between its 5th and 95th percentile."""
    return np.percentile(curve, 95) - np.percentile(curve, 5)


def harmonics_above_noise(waveform, low=1500, high=4500):
    """dB by which the comb of harmonics stands out of the spectrum there: its peak in the spectrum's own spectrum."""
    frequencies = librosa.fft_frequencies(sr=RATE, n_fft=2048)
    spectrum = np.abs(librosa.stft(waveform, n_fft=2048, win_length=1024, hop_length=320))[:, 15:-15]
    band = (frequencies >= low) & (frequencies < high)
    decibels = signal.detrend(20 * np.log10(spectrum[band] + 1e-6), axis=0) * np.hanning(band.sum())[:, None]
    cepstrum = np.abs(np.fft.rfft(decibels, 4096, axis=0))
    seconds = np.arange(len(cepstrum)) / (4096 * frequencies[1])
    voices = (seconds > 1 / 600) & (seconds < 1 / 90)
    return np.median(20 * np.log10(cepstrum[voices].max(axis=0) / np.median(cepstrum[voices], axis=0)))


def brightness(waveform):
    return librosa.feature.spectral_centroid(y=waveform, sr=RATE)[0][10:-10].mean()


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_vibrato_swings_the_pitch_at_the_singers_rate(name):
    waveform = sung("vibrato", name)
    assert fastest(pitch(waveform, name), 100, 2, 12) == pytest.approx(virtual_singer(name, 0).vibrato_rate, rel=0.1)
    assert 40 < swing(pitch(waveform, name)) < 240


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_straight_holds_the_pitch_that_vibrato_swings(name):
    singer = virtual_singer(name, 0, vibrato_extent=70.0)
    assert swing(pitch(sung("straight", singer), singer)) < 0.6 * swing(pitch(sung("vibrato", singer), singer))


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_a_trill_alternates_between_two_notes_wider_apart_than_vibrato_swings(name):
    singer = virtual_singer(name, 0, trill_interval=2.0, vibrato_extent=50.0)
    cents = pitch(sung("trill", singer), singer, semitones=5)
    assert fastest(cents, 100, 2, 12) == pytest.approx(singer.trill_rate, rel=0.12)
    assert swing(cents) > 1.3 * swing(pitch(sung("vibrato", singer), singer))
    low, middle, high = np.histogram(cents, bins=3, range=np.percentile(cents, [5, 95]))[0]
    assert middle < low
    assert middle < high


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_trillo_interrupts_a_steady_pitch_5_to_9_times_a_second(name):
    waveform = sung("trillo", name)
    rate = fastest(envelope(waveform), 200, 3, 40)
    assert 4.7 < rate < 9.3
    assert rate == pytest.approx(virtual_singer(name, 0).trillo_rate, rel=0.15)
    assert swing(envelope(waveform)) > 8
    cents = pitch(waveform, name)
    level = librosa.feature.rms(y=waveform, frame_length=1024, hop_length=160)[0][40:-40]
    assert swing(cents[level > np.median(level)]) < 50


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_lips_flap_15_to_30_times_a_second_over_a_steady_pitch(name):
    waveform = sung("lip_trill", name)
    rate = fastest(envelope(waveform), 200, 3, 40)
    assert 15 < rate < 30
    assert rate == pytest.approx(virtual_singer(name, 0).flap_rate, rel=0.12)
    assert swing(pitch(waveform, name)) < 60


def test_belt_is_brighter_and_louder_than_straight_and_straight_than_breathy():
    for measure in (brightness, lambda waveform: np.abs(waveform).max()):
        belt, straight, breathy = (
            np.mean([measure(sung(technique, name)) for name in SOME_SINGERS])
            for technique in ("belt", "straight", "breathy")
        )
        assert belt > 1.05 * straight > 1.05 * breathy


def test_harmonics_drown_in_breath_from_belt_to_straight_to_breathy_to_inhaled():
    heights = [
        np.mean([harmonics_above_noise(sung(technique, name)) for name in SOME_SINGERS])
        for technique in ("belt", "straight", "breathy", "inhaled")
    ]
    assert all(clearer > noisier + 1.5 for clearer, noisier in pairwise(heights))


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_inhaled_has_no_comb_of_harmonics_and_swells_until_it_breaks_off(name):
    waveform = sung("inhaled", name)
    noise = np.random.default_rng(0).standard_normal(len(waveform))
    assert harmonics_above_noise(waveform) < harmonics_above_noise(noise) + 2
    level = envelope(waveform)
    assert level[-150:].mean() > level[:150].mean() + 1


@pytest.mark.parametrize("name", SOME_SINGERS)
def test_fry_is_sparse_irregular_pulses_with_silence_between(name):
    strength, depth = signal.butter(2, 100, fs=RATE, output="sos"), {}
    for technique in ("vocal_fry", "straight"):
        smooth = signal.sosfiltfilt(strength, np.abs(sung(technique, name)[RATE : 3 * RATE]))
        depth[technique] = np.percentile(smooth, 95) / np.percentile(smooth, 5)
        if technique == "vocal_fry":
            pulses = signal.find_peaks(smooth, prominence=0.15 * smooth.max())[0] / RATE
            assert 15 < len(pulses) / 2 < 75
            assert np.std(np.diff(pulses)) / np.mean(np.diff(pulses)) > 0.1
    assert depth["vocal_fry"] > 4 > 2 > depth["straight"]


def test_speech_glides_and_stops_where_song_holds():
    for name in SOME_SINGERS:
        singer = virtual_singer(name, 0)
        moving, silent = {}, {}
        for technique in ("spoken", "straight"):
            recording = Recording("", name, "excerpts", technique, "row", 4.0)
            notes = make_notes(recording, singer, make_stream(0, name))
            waveform = sing(notes, technique, singer, make_stream(0, technique + name))
            moving[technique] = np.median(
                np.abs(np.diff(pitch(waveform, singer, 1 if technique == "straight" else -2)))
            )
            level = librosa.feature.rms(y=waveform, frame_length=320, hop_length=160)[0][40:-40]
            silent[technique] = np.mean(level < 0.1 * level.max())
        assert moving["spoken"] > 2 * moving["straight"]
        assert silent["spoken"] > 0.04


@pytest.mark.parametrize("name", ["female5", "male7"])
def test_formants_follow_the_vowel(name):
    singer = virtual_singer(name, 0, room_level=-40.0, ring=0.0)
    first, second = {}, {}
    for vowel in VOWELS:  # lower than they sing, so that harmonics lie close enough to show the formants
        waveform = signal.decimate(np.diff(sung("straight", singer, vowel, seconds=1.5, semitones=-18)), 2)
        waveform = waveform[2000:10000] * np.hamming(8000)
        correlation = signal.correlate(waveform, waveform, method="fft")[7999 : 7999 + 13]
        roots = np.roots([1, *-linalg.solve_toeplitz(correlation[:12], correlation[1:])])  # linear prediction
        hertz = np.sort(np.angle(roots[(roots.imag > 0) & (np.abs(roots) > 0.9)])) * RATE / 2 / (2 * np.pi)
        first[vowel], second[vowel] = hertz[hertz > 200][:2]
        expected = np.array(FORMANTS[singer.voice][vowel][:2]) * singer.tract
        assert [first[vowel], second[vowel]] == pytest.approx(expected, rel=0.15)
    assert first["a"] > first["e"] > first["i"]
    assert second["i"] > second["e"] > second["a"] > second["u"]


def test_the_twenty_singers_are_two_voice_types_each_their_own():
    singers = [virtual_singer(name, seed=0) for name in SINGERS]
    assert Counter(singer.voice for singer in singers) == {"female": 9, "male": 11}
    assert min(s.tonic for s in singers if s.voice == "female") > max(s.tonic for s in singers if s.voice == "male")
    for trait in ("tonic", "tract", "vibrato_rate", "jitter"):
        assert len({getattr(singer, trait) for singer in singers}) == 20
    assert all(5.0 <= singer.vibrato_rate <= 6.5 for singer in singers)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_repertoire_is_as_long_tailed_and_confounded_as_vocalset(seed):
    recordings = plan_recordings(seed, clips_train=400, clips_test=400)
    clips = {"train": Counter(), "test": Counter()}
    for recording in recordings:
        split = "test" if recording.singer in TEST_SINGERS else "train"
        clips[split][recording.technique] += max(1, int(recording.seconds / 3.0))
        assert recording.context in CONTEXTS[recording.technique]
    # Section 4.1's Figure 2 and the counts of the real clips: the order of the classes, most to fewest
    order = "straight vibrato vocal_fry breathy belt lip_trill trill trillo inhaled spoken"
    assert " ".join(technique for technique, _ in clips["train"].most_common()) == order
    assert clips["train"].total() == pytest.approx(405, abs=3)
    assert clips["test"].total() == pytest.approx(424, abs=3)
    assert min(clips["train"].values()) >= 10
    assert min(clips["test"].values()) >= 20
    assert {recording.singer for recording in recordings} == set(SINGERS)
    sings = Counter(singer for singer, _ in {(r.singer, r.technique) for r in recordings})
    assert min(sings.values()) >= 6
    assert len({recording.path for recording in recordings}) == len(recordings)
    assert sum(recording.seconds < 3.0 for recording in recordings if recording.technique == "inhaled") >= 1


def test_files_are_named_as_in_vocalset():
    paths = {recording.path for recording in plan_recordings(0, clips_train=2000, clips_test=800)}
    for path in (
        "FULL/female1/arpeggios/belt/f1_arpeggios_belt_a.wav",
        "FULL/male11/long_tones/trill/m11_long_trill_a.wav",
        "FULL/female5/excerpts/spoken/f5_row_spoken.wav",
        "FULL/male2/excerpts/vibrato/m2_caro_vibrato.wav",
    ):
        assert path in paths


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A tiny corpus, made twice: its folder, and the folder of its twin."""
    return [synthesise(tmp_path_factory.mktemp("demo"), seed=3, clips_train=10, clips_test=10) for _ in range(2)]


def files_of(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_seed_makes_the_same_bytes(corpus):
    assert files_of(corpus[0]) == files_of(corpus[1])
    assert len(files_of(corpus[0])) >= 2 * len(TECHNIQUES)


def test_a_recording_does_not_rest_on_what_else_is_made(corpus):
    recording = plan_recordings(3, clips_train=10, clips_test=10)[5]
    singer = virtual_singer(recording.singer, seed=3)
    rng = make_stream(3, recording.path)
    waveform = sing(make_notes(recording, singer, rng), recording.technique, singer, rng)
    rate, samples = wavfile.read(corpus[0] / recording.path)
    assert (rate, samples.dtype, samples.ndim) == (RATE, np.int16, 1)
    np.testing.assert_array_equal(samples, np.round(32767 * waveform))


def test_recordings_are_as_long_as_planned_never_silent_never_clipped(corpus):
    for recording in plan_recordings(3, clips_train=10, clips_test=10):
        _, samples = wavfile.read(corpus[0] / recording.path)
        assert len(samples) == pytest.approx(recording.seconds * RATE, abs=2)
        assert 300 < np.abs(samples.astype(int)).max() < 32767
        assert abs(samples.mean()) < 30


def test_asked_for_again_it_is_opened_untouched(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus[0].rglob("*.wav")}
    assert synthesise(corpus[0].parent, seed=3, clips_train=10, clips_test=10) == corpus[0]
    assert {path: path.stat().st_mtime_ns for path in corpus[0].rglob("*.wav")} == before


def test_half_a_corpus_that_a_killed_process_left_is_cleared_away(corpus, tmp_path):
    (tmp_path / f".{corpus[0].name}.x1y2z3.tmp").mkdir()
    folder = synthesise(tmp_path, seed=3, clips_train=10, clips_test=10)
    assert list(tmp_path.iterdir()) == [folder]


def test_two_who_ask_at_once_make_one_corpus(tmp_path, monkeypatch):
    made = []

    def write(folder, settings, recordings):
        made.append(folder)
        time.sleep(0.5)  # in which the other one asks
        folder.mkdir()

    monkeypatch.setattr(demo, "_write", write)
    monkeypatch.setattr(demo, "_check", lambda *_: None)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: synthesise(tmp_path), range(2))
    assert made == [first] == [second]


def test_a_damaged_corpus_is_refused(tmp_path):
    folder = synthesise(tmp_path, clips_train=10, clips_test=10)
    next(folder.rglob("*.wav")).unlink()
    with pytest.raises(ValueError, match="not the whole demo corpus"):
        synthesise(tmp_path, clips_train=10, clips_test=10)
    settings = json.loads((folder / "demo.json").read_text())
    (folder / "demo.json").write_text(json.dumps({**settings, "schema": 0}))
    with pytest.raises(ValueError, match="not the whole demo corpus of these settings"):
        synthesise(tmp_path, clips_train=10, clips_test=10)


def test_a_sample_rate_that_cannot_be_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="data.source.sample_rate=100: expected"):
        synthesise(tmp_path, sample_rate=100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_the_voice_sings_at_other_sample_rates(sample_rate):
    waveform = sung("vibrato", "male2", seconds=1.0, sample_rate=sample_rate)
    assert len(waveform) == pytest.approx(1.2 * sample_rate, abs=1)
    hertz = librosa.yin(waveform, fmin=70, fmax=700, sr=sample_rate)
    singer = virtual_singer("male2", 0)
    assert np.median(hertz) == pytest.approx(librosa.midi_to_hz(singer.tonic + 4), rel=0.03)
