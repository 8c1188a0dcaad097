"""One recording's bytes: WAV and FLAC are read, all else is one sentence, and no number in them does harm."""

import io

import numpy as np
import pytest
import soundfile

from singtech.corpus.audio import cut_recording, read_channels

SETTINGS = {"sample_rate": 8000, "clip_seconds": 0.01, "remainder": "drop", "trim_silence": 40.0}


def packed(samples, rate=8000, **kind):
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, **kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "FLAC"])
def test_every_kind_of_wav_and_flac_is_read(kind):
    samples = np.round(np.linspace(-0.5, 0.5, 100) * 32768) / 32768
    channels, header = read_channels(packed(samples, format=kind, subtype="PCM_16"))
    assert header.sample_rate == 8000
    assert np.array_equal(channels[:, 0], samples.astype(np.float32))


@pytest.mark.parametrize("kind", ["AIFF", "OGG", "AU", "CAF"])
def test_another_format_is_no_recording(kind):
    with pytest.raises(ValueError, match="no readable WAV or FLAC recording"):
        read_channels(packed(np.zeros(1000), format=kind))


def test_damaged_mp3_is_one_sentence_and_nothing_on_the_terminal(capfd):
    whole = packed(np.sin(np.arange(8000)), format="MP3")
    for data in (whole[:500] + bytes(500), b"\xff\xfd\x90\xc4" + b"\xff" * 500, b"ID3\x04" + bytes(6) + whole[300:]):
        with pytest.raises(ValueError, match="no readable WAV or FLAC recording"):
            read_channels(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("value", "said"), [(1e38, "1e.38 times full scale"), (3e9, "3e.09 times full scale")])
@pytest.mark.parametrize("channels", [1, 2])
def test_floats_that_overflow_are_refused_without_a_warning(value, said, channels):
    samples = np.full((1000, channels), 0.1)
    samples[500:] = -value
    with pytest.raises(ValueError, match=f"its loudest sample is {said}"):
        cut_recording(packed(samples, format="WAV", subtype="FLOAT"), SETTINGS)


def test_floats_meant_as_integers_are_clipped_at_full_scale():
    loud = np.tile([1.0, -1.0], 500) * 2**31
    _, clips, _, beyond = cut_recording(packed(loud, format="WAV", subtype="FLOAT"), SETTINGS)
    assert beyond == 1000
    assert set(np.unique(clips)) == {-32768, 32767}


@pytest.mark.parametrize(("rate", "said"), [(1, "1 samples"), (999, "999"), (2_000_000, "2,000,000")])
def test_a_sample_rate_that_no_recording_has_is_refused(rate, said, sounds):
    with pytest.raises(ValueError, match=f"header has {said}.*; 1,000 to 1,000,000 are read"):
        read_channels(sounds.pcm(np.ones(100), rate))
