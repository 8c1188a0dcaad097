"""One recording, from a file's bytes to clips: decode, mix, resample, trim if wanted, cut, as 16-bit samples.

Waveforms are (S,) float32, full scale at 1. The error sentences do not name the file; the caller does.
"""

import io
from collections.abc import Mapping
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


def read_channels(data: bytes) -> tuple[np.ndarray, Header]:
    """Decode a WAV or FLAC recording to (S, C) float32 samples; return them and the header.

    Raises:
        Damaged: it is no such recording, is cut short, is too long to read at once, or holds NaN, infinity or sounds
            beyond `LOUDEST`.
    """
    if not data:
        raise Damaged("it is empty (0 bytes)")
    if not data.startswith(BEGINNINGS):  # decoders of other formats write to the terminal
        raise Damaged("it is no readable WAV or FLAC recording")
    missing, promised = _missing_bytes(data)
    try:
        recording = soundfile.SoundFile(io.BytesIO(data))
    except RuntimeError as error:
        raise Damaged("it is no readable WAV or FLAC recording") from error
    if missing > promised / 100:
        raise Damaged(f"it is cut short: {missing:,} of its {promised:,} bytes of sound are missing")
    header = Header(recording.frames, recording.samplerate, recording.channels, missing > 0)
    _check(header)
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


def clip_spans(samples: int, clip_samples: int, remainder: str = "drop") -> list[tuple[int, int]]:
    """Return (start, valid samples) of each clip of a recording, one after the other (Section 4.1).

    What is left after the last whole clip is dropped, as the authors' published code does (the paper does not say), or
    padded to a clip. A recording shorter than a clip gives one padded clip: dropping it would lose the recording.
    """
    whole = [(start, clip_samples) for start in range(0, samples - clip_samples + 1, clip_samples)]
    left = samples - len(whole) * clip_samples
    return [*whole, (samples - left, left)] if left and (remainder == "pad" or not whole) else whole


class CutRecording(NamedTuple):
    """A recording's clips: (n, S) int16, the start and valid samples of each, and samples beyond full scale."""

    header: Header
    clips: np.ndarray
    spans: list[tuple[int, int]]
    beyond: int


def cut_recording(data: bytes, settings: Mapping) -> CutRecording:
    """Decode, mix, resample, trim and cut one recording.

    Raises:
        Damaged: it cannot be decoded, holds NaN, or is silent.
    """
    channels, header = read_channels(data)
    waveform = mixed(channels)
    if header.sample_rate != settings["sample_rate"]:
        import librosa

        rates = {"orig_sr": header.sample_rate, "target_sr": settings["sample_rate"]}
        waveform = librosa.resample(waveform, **rates, res_type="soxr_hq")
    samples, beyond = to_int16(waveform)
    if not samples.any():
        raise Damaged("it is silent: at 16 bits every sample is 0")
    first = 0
    if settings["trim_silence"] is not None:
        import librosa

        _, (first, last) = librosa.effects.trim(waveform, top_db=settings["trim_silence"])
        samples = samples[first:last]
    spans = clip_spans(len(samples), clip_length(settings), settings["remainder"])
    clips = np.zeros((len(spans), clip_length(settings)), dtype=np.int16)
    for row, (start, valid) in zip(clips, spans, strict=True):
        row[:valid] = samples[start : start + valid]
    return CutRecording(header, clips, [(int(first) + start, valid) for start, valid in spans], beyond)


def clip_length(settings: Mapping) -> int:
    """Return S, the samples of a clip (`clip_seconds` at `sample_rate`)."""
    return round(settings["clip_seconds"] * settings["sample_rate"])


def _check(header: Header) -> None:
    """Refuse a header of no samples, of more than fit the memory, or of an impossible sample rate."""
    if header.samples == 0:
        raise Damaged("it holds no samples")
    hours = header.samples / max(header.sample_rate, 1) / 3600
    if hours > LONGEST_SECONDS / 3600 or header.samples * header.channels > MOST_SAMPLES:
        raise Damaged(
            f"its header speaks of {header.channels} x {header.samples:,} samples ({hours:,.1f} h); "
            f"at most {LONGEST_SECONDS // 3600} h and {MOST_SAMPLES:,} samples are read at once"
        )
    if header.sample_rate not in SAMPLE_RATES:
        raise Damaged(
            f"its header speaks of {header.sample_rate:,} samples a second; "
            f"{SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} are read"
        )


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
