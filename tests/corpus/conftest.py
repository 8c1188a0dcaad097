"""Small recordings and sources, made on the spot."""

import io
import resource
import wave
import zipfile

import numpy as np
import pytest

RATE = 8000


def wav(seconds=1.0, pitch=220.0, rate=RATE, channels=1, level=0.5):
    """The bytes of a 16-bit WAV with a tone, written by Python's own `wave`."""
    time = np.arange(round(seconds * rate)) / rate
    tone = np.rint(level * 32767 * np.sin(2 * np.pi * pitch * time)).astype("<i2")
    return pcm(np.repeat(tone[:, None], channels, axis=1), rate)


def pcm(samples, rate=RATE):
    """The bytes of a 16-bit WAV with (S, C) or (S,) int16 samples."""
    samples = np.asarray(samples, dtype="<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def choir(seconds=1.0):
    """Three singers, two techniques, two recordings each, no two alike: {path: bytes}."""
    files = {}
    for s, singer in enumerate(("female1", "male1", "male10")):
        for t, technique in enumerate(("straight", "vibrato")):
            for vowel in range(2):
                name = f"{singer}/scales/{technique}/{singer[0]}{singer.lstrip('femal')}_{technique}_{'ae'[vowel]}.wav"
                files[name] = wav(seconds, pitch=200 + 100 * s + 40 * t + 15 * vowel)
    return files


@pytest.fixture
def sounds():
    """The functions that make recordings: `sounds.wav`, `sounds.pcm`, `sounds.choir`."""
    from types import SimpleNamespace

    return SimpleNamespace(wav=wav, pcm=pcm, choir=choir, rate=RATE)


@pytest.fixture
def folder_of(tmp_path):
    """A function that writes {path: bytes} to a folder and gives it."""

    def write(files, name="source"):
        for path, data in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return tmp_path / name

    return write


@pytest.fixture
def zip_of(tmp_path):
    """A function that writes {path or ZipInfo: bytes} to a zip and gives it."""

    def write(files, name="source.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        return tmp_path / name

    return write


@pytest.fixture
def no_file_beyond():
    """A function that lets no file grow beyond some bytes, as a full disk or a quota would; undone after the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
