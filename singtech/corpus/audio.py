"""Decode one recording: from a file's bytes to its header, its waveform and 16-bit samples.

Waveforms are (S,) float32, full scale at 1. The error sentences do not name the file; the caller does.
"""

import io
from typing import NamedTuple

import numpy as np
import soundfile

from singtech.errors import Damaged

LONGEST_SECONDS = 3600  # of a recording, and
MOST_SAMPLES = 1 << 29  # over its channels: a damaged header must not fill the memory
SAMPLE_RATES = range(1_000, 1_000_001)
LOUDEST = 2.0**31  # times full scale: floats that were meant as 32-bit integers; beyond, sums and squares overflow
BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC")  # riff is W64's


class Header(NamedTuple):
    """Length and form of a recording, and whether its end (up to 1 % of what the header says) is missing."""

    samples: int
    sample_rate: int
    channels: int
    ends_early: bool


def read_header(data: bytes) -> Header:
    """Read the header of a recording.

    Raises:
        Damaged: it is empty, no recording, cut short, too long to read at once, or of an impossible sample rate.
    """
    with _open(data) as recording:
        return _checked_header(recording, data)


def read_channels(data: bytes) -> tuple[np.ndarray, Header]:
    """Decode a recording to (S, C) float32 samples; return them and the header.

    Raises:
        Damaged: as `read_header`; or it cannot be decoded to its end, or holds NaN, infinity or sounds beyond
            `LOUDEST`.
    """
    with _open(data) as recording:
        header = _checked_header(recording, data)
        try:
            channels = recording.read(dtype="float32", always_2d=True)
        except (RuntimeError, ValueError) as error:
            raise Damaged("it is damaged or cut short: it cannot be decoded to its end") from error
    if len(channels) < header.samples:
        raise Damaged(f"it is cut short: {header.samples - len(channels):,} of its {header.samples:,} samples miss")
    loudest = max(channels.max(), -channels.min())  # NaN if one sample is
    if not np.isfinite(loudest):
        raise Damaged("it holds NaN or infinite samples")
    if loudest > LOUDEST:
        raise Damaged(f"its loudest sample is {loudest:.0e} times full scale")
    return channels, header


def read_waveform(data: bytes, sample_rate: int) -> np.ndarray:
    """Decode a recording to a waveform: mix its channels by their mean, resample it to `sample_rate`.

    Raises:
        Damaged: as `read_channels`.
    """
    channels, header = read_channels(data)
    waveform = mixed(channels)
    if header.sample_rate == sample_rate:
        return waveform
    import librosa

    return librosa.resample(waveform, orig_sr=header.sample_rate, target_sr=sample_rate, res_type="soxr_hq")


def mixed(channels: np.ndarray) -> np.ndarray:
    """Return the (S,) mean of (S, C) channels."""
    return channels.mean(axis=1) if channels.shape[1] > 1 else channels[:, 0]


def to_int16(waveform: np.ndarray) -> tuple[np.ndarray, int]:
    """Round a waveform to (S,) 16-bit samples; return them and how many lay beyond full scale and were clipped.

    A 16-bit recording stays as it was. There is no dither: the clip store is to be the same every time.
    """
    scaled = np.rint(waveform * 32768)
    beyond = int(((scaled > 32768) | (scaled < -32768)).sum())  # 1.0 itself is full scale
    return scaled.clip(-32768, 32767).astype(np.int16), beyond


def _open(data: bytes) -> soundfile.SoundFile:
    """Open a WAV or FLAC recording. Other formats are refused first: their decoders write to the terminal."""
    if not data:
        raise Damaged("it is empty (0 bytes)")
    try:
        if not data.startswith(BEGINNINGS):
            raise Damaged("it is no readable WAV or FLAC recording (Format not recognised)")
        return soundfile.SoundFile(io.BytesIO(data))
    except RuntimeError as error:
        reason = " ".join(getattr(error, "error_string", "").split()).rstrip(".")
        raise Damaged(f"it is no readable WAV or FLAC recording{f' ({reason})' if reason else ''}") from error


def _checked_header(recording: soundfile.SoundFile, data: bytes) -> Header:
    missing, promised = _missing_bytes(data)
    if missing > promised / 100:
        raise Damaged(f"it is cut short: {missing:,} of its {promised:,} bytes of sound are missing")
    header = Header(recording.frames, recording.samplerate, recording.channels, missing > 0)
    if header.samples == 0:
        raise Damaged("it holds no samples")
    seconds = header.samples / max(header.sample_rate, 1)
    if seconds > LONGEST_SECONDS or header.samples * header.channels > MOST_SAMPLES:
        raise Damaged(
            f"its header speaks of {header.channels} x {header.samples:,} samples ({seconds / 3600:,.1f} h); "
            f"at most {LONGEST_SECONDS // 3600} h and {MOST_SAMPLES:,} samples are read at once"
        )
    if header.sample_rate not in SAMPLE_RATES:
        raise Damaged(
            f"its header speaks of {header.sample_rate:,} samples a second; "
            f"{SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} are read"
        )
    return header


def _missing_bytes(data: bytes) -> tuple[int, int]:
    """Return the bytes of sound that a WAV's header promises beyond the end of the file, and all that it promises.

    libsndfile reads a shortened WAV as if it were whole. A stream's writer does not know the length and writes one
    that no file has; then nothing is missing.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0, 0
    position = 12
    while position + 8 <= len(data):
        promised = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"data":
            return (max(0, position + 8 + promised - len(data)), promised) if promised < 0x7FFF0000 else (0, promised)
        position += 8 + promised + promised % 2
    return 0, 0
