"""One recording: from a file's bytes to its header, its waveform and 16-bit samples. What is no good says why.

Waveforms are (S,) float32, full scale at 1. The sentences of the errors leave the file's name to the caller.
"""

import io
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import soundfile

LONGEST_SECONDS = 3600  # of a recording, and
MOST_SAMPLES = 1 << 29  # over its channels: so that a header that lies, or a hostile file, cannot fill the memory
LONG_SAMPLES = 1 << 23  # three minutes at 44.1 kHz; while it is read, each takes a dozen bytes and more
SAMPLE_RATES = range(1_000, 1_000_001)  # slower, and resampling makes gigabytes of a few bytes
LOUDEST = 2.0**31  # times full scale: floats that were meant as 32-bit integers; beyond, sums and squares overflow
BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC")  # riff is W64's


_long = threading.Lock()


class Header(NamedTuple):
    """What a recording says of itself, and whether it ends a little (up to 1 %) before it says so."""

    samples: int
    sample_rate: int
    channels: int
    ends_early: bool


def read_header(data: bytes) -> Header:
    """The header of a recording.

    Raises:
        ValueError: it is empty, no recording, cut short, too long to read at once or of no sample rate that can be.
    """
    if not data:
        raise ValueError("it is empty (0 bytes)")
    with _opened(data) as recording:
        header = Header(recording.frames, recording.samplerate, recording.channels, ends_early=False)
    missing, promised = _missing_bytes(data)
    if missing > promised / 100:
        raise ValueError(f"it is cut short: {missing:,} of its {promised:,} bytes of sound are missing")
    if header.samples == 0:
        raise ValueError("it holds no samples")
    seconds = header.samples / max(header.sample_rate, 1)
    if seconds > LONGEST_SECONDS or header.samples * header.channels > MOST_SAMPLES:
        raise ValueError(
            f"its header speaks of {header.channels} x {header.samples:,} samples ({seconds / 3600:,.1f} h); "
            f"at most {LONGEST_SECONDS // 3600} h and {MOST_SAMPLES:,} samples are read at once"
        )
    if header.sample_rate not in SAMPLE_RATES:
        raise ValueError(
            f"its header speaks of {header.sample_rate:,} samples a second; "
            f"{SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} are read"
        )
    return header._replace(ends_early=missing > 0)


def read_channels(data: bytes) -> tuple[np.ndarray, int]:
    """(S, C) float32 samples of a recording, each channel apart, and its sample rate.

    Raises:
        ValueError: as `read_header`; or it cannot be decoded to its end, or holds NaN, infinity or sounds beyond
            `LOUDEST`.
    """
    header = read_header(data)
    with _opened(data) as recording:
        try:
            channels = recording.read(dtype="float32", always_2d=True)
        except (RuntimeError, ValueError) as error:
            raise ValueError("it is damaged or cut short: it cannot be decoded to its end") from error
    if len(channels) < header.samples:
        raise ValueError(f"it is cut short: {header.samples - len(channels):,} of its {header.samples:,} samples miss")
    loudest = max(channels.max(), -channels.min())  # of NaN, NaN
    if not np.isfinite(loudest):
        raise ValueError("it holds NaN or infinite samples")
    if loudest > LOUDEST:
        raise ValueError(f"its loudest sample is {loudest:.0e} times full scale")
    return channels, header.sample_rate


def read_waveform(data: bytes, sample_rate: int) -> np.ndarray:
    """The waveform of a recording: channels mixed to one by their mean, resampled to `sample_rate`.

    Raises:
        ValueError: as `read_channels`.
    """
    channels, own_rate = read_channels(data)
    waveform = mixed(channels)
    if own_rate == sample_rate:
        return waveform
    import librosa

    return librosa.resample(waveform, orig_sr=own_rate, target_sr=sample_rate, res_type="soxr_hq")


def alone_if_long(samples: int) -> AbstractContextManager:
    """What to hold while decoding so many samples: of all threads that read long recordings, one at a time does.

    A recording may decode to a thousand times its file's bytes, so that these do not say what memory it needs.
    """
    return _long if samples > LONG_SAMPLES else nullcontext()


def mixed(channels: np.ndarray) -> np.ndarray:
    """(S,) the mean of (S, C) channels."""
    return channels.mean(axis=1) if channels.shape[1] > 1 else channels[:, 0]


def to_int16(waveform: np.ndarray) -> tuple[np.ndarray, int]:
    """(S,) 16-bit samples of a waveform, and how many lay beyond full scale and were brought back to it.

    A 16-bit recording comes back as it was. There is no dither: the store is to be the same every time.
    """
    scaled = np.rint(waveform * 32768)
    beyond = int(((scaled > 32768) | (scaled < -32768)).sum())  # 1.0 itself is full scale
    return scaled.clip(-32768, 32767).astype(np.int16), beyond


def _opened(data: bytes) -> soundfile.SoundFile:
    """A WAV or FLAC recording, opened. Other formats are not even tried: their decoders write to the terminal."""
    tag = data[:3] == b"ID3"  # that some programs put before FLAC: ten bytes, four of them its length in 7 bits each
    start = (
        10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False)) if tag else 0
    )
    if data[start : start + 4] not in BEGINNINGS:
        raise ValueError("it is no readable WAV or FLAC recording (Format not recognised)")
    try:
        return soundfile.SoundFile(io.BytesIO(data))
    except RuntimeError as error:
        reason = " ".join(getattr(error, "error_string", "").split()).rstrip(".")
        raise ValueError(f"it is no readable WAV or FLAC recording{f' ({reason})' if reason else ''}") from error


def _missing_bytes(data: bytes) -> tuple[int, int]:
    """Bytes that a WAV's sound promises beyond the end of the file, and the bytes it promises.

    libsndfile takes a shortened WAV as if it had been meant so. Lengths that no file has are those of a stream, whose
    writer did not know them.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0, 0
    place = 12
    while place + 8 <= len(data):
        promised = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"data":
            return (max(0, place + 8 + promised - len(data)), promised) if promised < 0x7FFF0000 else (0, promised)
        place += 8 + promised + promised % 2
    return 0, 0
