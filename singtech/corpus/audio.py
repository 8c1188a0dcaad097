"""Decode one recording and cut it into clips: mix, resample, optionally trim, round to 16-bit samples, cut.

Waveforms are (S,) float32, full scale at 1. Error messages do not name the file, because the caller does.
"""

import io
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from singtech.errors import Damaged

MAX_SECONDS = 3600  # of a recording
MAX_SAMPLES = 1 << 29  # of all its channels: a damaged header must not fill the memory
SAMPLE_RATES = range(1_000, 1_000_001)
MAX_AMPLITUDE = 2.0**31  # times full scale, for floats that hold 32-bit integers; larger sums and squares overflow
MAGIC_BYTES = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC")  # riff is W64's


class Header(NamedTuple):
    """Header of a recording, and whether its end is missing (up to 1 % of the length in the header)."""

    samples: int
    sample_rate: int
    channels: int
    ends_early: bool


class Stream(soundfile.SoundFile):
    """A recording that is read from its beginning to its end."""

    def seekable(self) -> bool:
        """Say no: soundfile would seek after each block, and libsndfile then finds only zeros in an MP3."""
        return False


def read_channels(data: bytes) -> tuple[np.ndarray, Header]:
    """Decode a WAV or FLAC recording to (S, C) float32 samples; return them and the header.

    Raises:
        Damaged: see `open_recording` and `read_blocks`; or it is too long.
    """
    recording, header = open_recording(io.BytesIO(data))
    hours = header.samples / max(header.sample_rate, 1) / 3600
    if hours > MAX_SECONDS / 3600 or header.samples * header.channels > MAX_SAMPLES:
        raise Damaged(
            f"its header has {header.channels} x {header.samples:,} samples ({hours:,.1f} h); "
            f"at most {MAX_SECONDS // 3600} h and {MAX_SAMPLES:,} samples are read at once"
        )
    (channels,) = read_blocks(recording, header, header.samples)
    return channels, header


def open_recording(file: BinaryIO) -> tuple[soundfile.SoundFile, Header]:
    """Open a WAV or FLAC recording, and read its header.

    Raises:
        Damaged: it is no such recording, or is cut short.
    """
    magic = file.read(4)
    if not magic:
        raise Damaged("it is empty (0 bytes)")
    if magic not in MAGIC_BYTES:  # other decoders write to the terminal
        raise Damaged("it is no readable WAV or FLAC recording")
    file.seek(0)
    try:
        recording = Stream(file)
    except RuntimeError as error:
        raise Damaged("it is no readable WAV or FLAC recording") from error
    missing_bytes, promised_bytes = _count_missing_bytes(file)
    if missing_bytes > promised_bytes / 100:
        raise Damaged(f"it is cut short: {missing_bytes:,} of its {promised_bytes:,} bytes of sound are missing")
    return recording, Header(recording.frames, recording.samplerate, recording.channels, missing_bytes > 0)


def read_blocks(
    recording: soundfile.SoundFile, header: Header, block_samples: int, may_miss: float = 0.0
) -> Iterator[np.ndarray]:
    """Decode an opened recording; yield blocks of (`block_samples`, C) float32 samples, of which the last is shorter.

    Args:
        may_miss: the share of the header's samples that may be absent.
    Raises:
        Damaged: it is empty, is cut short, has a sample rate outside `SAMPLE_RATES`, or holds NaN, infinity or sounds
            louder than `MAX_AMPLITUDE`.
    """
    if header.samples == 0:
        raise Damaged("it holds no samples")
    if header.sample_rate not in SAMPLE_RATES:
        raise Damaged(
            f"its header has {header.sample_rate:,} samples a second; "
            f"{SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} are read"
        )
    missing, is_whole = header.samples, True
    while missing and is_whole:
        wanted = min(block_samples, missing)
        try:
            channels = recording.read(wanted, dtype="float32", always_2d=True)
        except (RuntimeError, ValueError) as error:
            raise Damaged("it is damaged or cut short: it cannot be decoded to its end") from error
        missing, is_whole = missing - len(channels), len(channels) == wanted
        peak = max(channels.max(initial=0), -channels.min(initial=0))  # NaN if one sample is NaN
        if not np.isfinite(peak):
            raise Damaged("it holds NaN or infinite samples")
        if peak > MAX_AMPLITUDE:
            raise Damaged(f"its loudest sample is {peak:.0e} times full scale")
        if len(channels):
            yield channels
    if missing > may_miss * header.samples:
        raise Damaged(f"it is cut short: {missing:,} of its {header.samples:,} samples miss")


def mix_to_mono(channels: np.ndarray) -> np.ndarray:
    """Return the (S,) mean of (S, C) channels."""
    return channels.mean(axis=1) if channels.shape[1] > 1 else channels[:, 0]


def to_int16(waveform: np.ndarray) -> tuple[np.ndarray, int]:
    """Round a waveform to (S,) 16-bit samples; return them and the number of clipped samples beyond full scale.

    A 16-bit recording does not change. There is no dither, so that a clip store is always the same.
    """
    scaled = np.rint(waveform * 32768)
    clipped = int(((scaled > 32768) | (scaled < -32768)).sum())  # 1.0 itself is full scale
    return scaled.clip(-32768, 32767).astype(np.int16), clipped


def find_clip_spans(samples: int, clip_samples: int, remainder: str = "drop") -> list[tuple[int, int]]:
    """Return (start, valid samples) of each clip of a recording, without overlap (Section 4.1).

    The rest after the last whole clip is dropped, as in the authors' published code (the paper does not say), or padded
    to a clip. A recording shorter than a clip gives one padded clip, because otherwise the recording would be lost.
    """
    full_clips = [(start, clip_samples) for start in range(0, samples - clip_samples + 1, clip_samples)]
    rest = samples - len(full_clips) * clip_samples
    return [*full_clips, (samples - rest, rest)] if rest and (remainder == "pad" or not full_clips) else full_clips


class CutRecording(NamedTuple):
    """A recording's clips: (n, S) int16, start and valid samples of each, and the number of clipped samples."""

    header: Header
    clips: np.ndarray
    spans: list[tuple[int, int]]
    clipped_samples: int


def cut_recording(data: bytes, settings: Mapping) -> CutRecording:
    """Decode, mix, resample, trim and cut one recording.

    Raises:
        Damaged: it cannot be decoded, holds NaN, or is silent.
    """
    channels, header = read_channels(data)
    waveform = mix_to_mono(channels)
    if header.sample_rate != settings["sample_rate"]:
        import librosa

        rates = {"orig_sr": header.sample_rate, "target_sr": settings["sample_rate"]}
        waveform = librosa.resample(waveform, **rates, res_type="soxr_hq")
    samples, clipped = to_int16(waveform)
    if not samples.any():
        raise Damaged("it is silent: at 16 bits every sample is 0")
    first = 0
    if settings["trim_silence"] is not None:
        import librosa

        _, (first, last) = librosa.effects.trim(waveform, top_db=settings["trim_silence"])
        samples = samples[first:last]
    spans = find_clip_spans(len(samples), count_clip_samples(settings), settings["remainder"])
    clips = np.zeros((len(spans), count_clip_samples(settings)), dtype=np.int16)
    for row, (start, valid) in zip(clips, spans, strict=True):
        row[:valid] = samples[start : start + valid]
    return CutRecording(header, clips, [(int(first) + start, valid) for start, valid in spans], clipped)


def count_clip_samples(settings: Mapping) -> int:
    """Return S, the samples of a clip (`clip_seconds` at `sample_rate`)."""
    return round(settings["clip_seconds"] * settings["sample_rate"])


def _count_missing_bytes(file: BinaryIO) -> tuple[int, int]:
    """Return the bytes of sound that are missing at the end of a WAV file, and the bytes in its header.

    libsndfile reads a shortened WAV as if it were whole. A program that streams sound does not know the length and
    writes an impossible one into the header; then nothing is missing.
    """
    place, size = file.tell(), file.seek(0, os.SEEK_END)  # the decoder goes on at its place
    file.seek(0)
    start, position, name, length = file.read(12), 12, b"", 0
    while start[:4] == b"RIFF" and start[8:] == b"WAVE" and name != b"data" and position + 8 <= size:
        file.seek(position)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        position += 8 + length + length % 2
    file.seek(place)
    if name != b"data":
        return 0, 0
    return (max(0, position - length % 2 - size) if length < 0x7FFF0000 else 0), length
