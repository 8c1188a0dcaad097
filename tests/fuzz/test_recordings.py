"""WAV and FLAC, damaged and hostile: samples that the header promises, or one sentence; nothing on the terminal."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from singtech.corpus.audio import (
    MAX_AMPLITUDE,
    MAX_SAMPLES,
    MAX_SECONDS,
    SAMPLE_RATES,
    count_clip_samples,
    cut_recording,
    read_channels,
)
from singtech.corpus.verify import find_clipped_runs
from tests.fuzz.contract import bounded, damaged, kept

DROP = {"sample_rate": 8000, "clip_seconds": 0.02, "remainder": "drop", "trim_silence": None}
PAD = {"sample_rate": 11025, "clip_seconds": 0.02, "remainder": "pad", "trim_silence": 40.0}


def packed(kind, subtype, channels=1):
    tone = 0.3 * np.sin(np.arange(400) / 5)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(tone[:, None], channels, axis=1), 8000, format=kind, subtype=subtype)
    return file.getvalue()


WAV = [
    *(packed("WAV", subtype) for subtype in ("PCM_16", "PCM_U8", "FLOAT", "DOUBLE", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(packed("WAV", "PCM_24", 2), packed("WAVEX", "PCM_16", 2), packed("RF64", "PCM_16"), packed("W64", "PCM_16")),
]
FLAC = [packed("FLAC", "PCM_16"), packed("FLAC", "PCM_24", 2)]


@pytest.fixture(scope="module", autouse=True)
def _imported_before_it_is_measured():
    cut_recording(WAV[0], PAD)


@pytest.fixture(autouse=True)
def _nothing_on_the_terminal(capfd):
    yield
    assert capfd.readouterr() == ("", "")


def read(data):
    """That a recording is read whole or refused, in its samples and as clips."""
    decoded = kept(read_channels, data)
    clips = [kept(cut_recording, data, settings) for settings in (DROP, PAD)]
    if decoded is None:
        assert clips == [None, None]
        return
    channels, header = decoded
    assert 0 < header.samples <= MAX_SAMPLES // header.channels
    assert header.sample_rate in SAMPLE_RATES
    assert header.samples <= MAX_SECONDS * header.sample_rate
    assert channels.shape == (header.samples, header.channels)
    assert channels.dtype == np.float32
    assert np.isfinite(channels).all()
    assert np.abs(channels).max() <= MAX_AMPLITUDE
    assert all(3 <= run <= header.samples for run in find_clipped_runs(channels))
    for sliced, settings in zip(clips, (DROP, PAD), strict=True):
        if sliced is not None:
            assert sliced.clips.dtype == np.int16
            assert sliced.clips.shape == (len(sliced.spans), count_clip_samples(settings))
            samples = -(-header.samples * settings["sample_rate"] // header.sample_rate)
            assert all(start >= 0 and valid > 0 and start + valid <= samples for start, valid in sliced.spans)


@bounded(250)
@given(damaged(WAV, hot=80))
def test_a_damaged_wav_is_whole_or_refused(data):
    read(data)


@bounded(120)
@given(damaged(FLAC, hot=60))
def test_a_damaged_flac_is_whole_or_refused(data):
    read(data)


@bounded(80)
@given(st.sampled_from([b"", *(data[:length] for data in (*WAV, *FLAC) for length in (4, 12, 44))]), st.binary())
@example(b"", b"\xff\xfb\x90\x64" + bytes(500))  # how an MP3 begins
@example(b"ID3\x04\0\0\0\0\0\0", b"\xff\xfb\x90\x64" + bytes(500))
def test_arbitrary_bytes_behind_any_beginning_are_refused_or_read(beginning, rest):
    read(beginning + rest)


@bounded(80)
@given(
    st.sampled_from((1, 3, 6, 7, 17, 0xFFFE)),
    st.integers(0, 0xFFFF),
    st.sampled_from((0, 1, 999, 1000, 8000, 1_000_000, 1_000_001, 0x7FFFFFFF, 0xFFFFFFFF)),
    st.integers(0, 0xFFFF),
    st.sampled_from((0, 1, 8, 16, 24, 32, 64, 0xFFFF)),
    st.sampled_from((0, 1, 400, 800, 0x7FFEFFFF, 0xFFFFFFFF)),
)
def test_a_wav_of_any_format_is_whole_or_refused(code, channels, rate, block, bits, promised):
    fields = [(code, 2), (channels, 2), (rate, 4), (rate * block % 2**32, 4), (block, 2), (bits, 2)]
    form = b"".join(value.to_bytes(width, "little") for value, width in fields)
    data = b"fmt \x10\0\0\0" + form + b"data" + promised.to_bytes(4, "little") + bytes(range(256)) * 3
    read(b"RIFF" + (len(data) + 4).to_bytes(4, "little") + b"WAVE" + data)


@bounded(40)
@given(st.integers(0, 2**36 - 1), st.integers(0, 2**20 - 1))
@example(28_000_000, 8000)
@example(2**29 + 1, 655_350)
def test_a_flac_that_promises_any_length_takes_no_memory_for_it(samples, rate):
    data = bytearray(FLAC[0])
    told = int.from_bytes(data[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of bits, 36 of samples
    data[18:26] = (rate << 44 | told & (0xFF << 36) | samples).to_bytes(8, "big")
    read(bytes(data))
