"""One recording's bytes: WAV and FLAC are read, all else is one sentence, and no number in them does harm."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from singtech.corpus import audio
from singtech.corpus.audio import read_channels, read_header
from singtech.corpus.cutting import slice_recording

SETTINGS = {"sample_rate": 8000, "clip_seconds": 0.01, "remainder": "drop", "trim_silence": 40.0}


def packed(samples, rate=8000, **kind):
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, **kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "FLAC"])
def test_every_kind_of_wav_and_flac_is_read(kind):
    samples = np.round(np.linspace(-0.5, 0.5, 100) * 32768) / 32768
    channels, rate = read_channels(packed(samples, format=kind, subtype="PCM_16"))
    assert rate == 8000
    assert np.array_equal(channels[:, 0], samples.astype(np.float32))


def test_flac_behind_a_tag_for_mp3_is_read():
    tag = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)  # its length is 2 * 128 bytes
    assert read_header(tag + packed(np.zeros(100), format="FLAC")).samples == 100


@pytest.mark.parametrize("kind", ["AIFF", "OGG", "AU", "CAF"])
def test_another_format_is_no_recording(kind):
    with pytest.raises(ValueError, match=r"no readable WAV or FLAC recording \(Format not recognised\)"):
        read_header(packed(np.zeros(1000), format=kind))


def test_damaged_mp3_is_one_sentence_and_nothing_on_the_terminal(capfd):
    whole = packed(np.sin(np.arange(8000)), format="MP3")
    for data in (whole[:500] + bytes(500), b"\xff\xfd\x90\xc4" + b"\xff" * 500, b"ID3\x04" + bytes(6) + whole[300:]):
        with pytest.raises(ValueError, match="no readable WAV or FLAC recording"):
            read_header(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("value", "said"), [(1e38, "1e.38 times full scale"), (3e9, "3e.09 times full scale")])
@pytest.mark.parametrize("channels", [1, 2])
def test_floats_that_overflow_are_refused_without_a_warning(value, said, channels):
    samples = np.full((1000, channels), 0.1)
    samples[500:] = -value
    with pytest.raises(ValueError, match=f"its loudest sample is {said}"):
        slice_recording(packed(samples, format="WAV", subtype="FLOAT"), SETTINGS)


def test_floats_meant_as_integers_are_clipped_at_full_scale():
    loud = np.tile([1.0, -1.0], 500) * 2**31
    clips, _, beyond = slice_recording(packed(loud, format="WAV", subtype="FLOAT"), SETTINGS)
    assert beyond == 1000
    assert set(np.unique(clips)) == {-32768, 32767}


@pytest.mark.parametrize(("rate", "said"), [(1, "1 samples"), (999, "999"), (2_000_000, "2,000,000")])
def test_a_sample_rate_that_no_recording_has_is_refused(rate, said, sounds):
    with pytest.raises(ValueError, match=f"speaks of {said}.*; 1,000 to 1,000,000 are read"):
        read_header(sounds.pcm(np.ones(100), rate))


def test_of_all_threads_one_at_a_time_decodes_a_long_recording(sounds, monkeypatch):
    monkeypatch.setattr(audio, "LONG_SAMPLES", 50)
    at_once, most, lock = 0, 0, threading.Lock()
    decode = audio.read_channels

    def watched(data):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return decode(data)

    monkeypatch.setattr(audio, "read_channels", watched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda data: slice_recording(data, SETTINGS), [sounds.pcm(np.ones(100))] * 4))
        assert most == 1
        list(pool.map(lambda data: slice_recording(data, SETTINGS), [sounds.pcm(np.ones(25), 16000)] * 4))
        assert most > 1
