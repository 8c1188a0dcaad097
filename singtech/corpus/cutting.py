"""One recording to clips: decoded, mixed, resampled, trimmed if asked to, cut into spans, as 16-bit samples."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from singtech.corpus.audio import alone_if_long, read_header, read_waveform, to_int16


def clip_spans(samples: int, clip_samples: int, remainder: str = "drop") -> list[tuple[int, int]]:
    """(start, valid samples) of each clip of a recording: one after the other, none overlapping (Section 4.1).

    What is left after the last whole clip is dropped, as the authors' published code does (the paper does not say), or
    padded to a clip. A recording shorter than a clip is one clip, to be padded: dropping it would lose the recording.
    """
    whole = [(start, clip_samples) for start in range(0, samples - clip_samples + 1, clip_samples)]
    left = samples - len(whole) * clip_samples
    return [*whole, (samples - left, left)] if left and (remainder == "pad" or not whole) else whole


class Sliced(NamedTuple):
    """A recording's clips: (n, S) int16, the start and valid samples of each, and samples beyond full scale."""

    clips: np.ndarray
    spans: list[tuple[int, int]]
    beyond: int


def slice_recording(data: bytes, settings: Mapping) -> Sliced:
    """Decode, mix, resample, trim and cut one recording.

    Raises:
        ValueError: it cannot be decoded, holds NaN, or is silent.
    """
    header = read_header(data)
    resampled = header.samples * settings["sample_rate"] // header.sample_rate
    with alone_if_long(max(header.samples * header.channels, resampled)):
        return _sliced(data, settings)


def _sliced(data: bytes, settings: Mapping) -> Sliced:
    sample_rate, clip_samples = settings["sample_rate"], clip_length(settings)
    waveform = read_waveform(data, sample_rate)
    samples, beyond = to_int16(waveform)
    if not samples.any():
        raise ValueError("it is silent: at 16 bits every sample is 0")
    first = 0
    if settings["trim_silence"] is not None:
        import librosa

        _, (first, last) = librosa.effects.trim(waveform, top_db=settings["trim_silence"])
        samples = samples[first:last]
    spans = clip_spans(len(samples), clip_samples, settings["remainder"])
    clips = np.zeros((len(spans), clip_samples), dtype=np.int16)
    for row, (start, valid) in zip(clips, spans, strict=True):
        row[:valid] = samples[start : start + valid]
    return Sliced(clips, [(int(first) + start, valid) for start, valid in spans], beyond)


def clip_length(settings: Mapping) -> int:
    """S, the samples of a clip (`clip_seconds` at `sample_rate`)."""
    return round(settings["clip_seconds"] * settings["sample_rate"])
