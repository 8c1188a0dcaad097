"""Cut one recording to clips: decode, mix, resample, trim if wanted, cut into spans, as 16-bit samples."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from singtech.corpus.audio import read_waveform, to_int16
from singtech.errors import Damaged


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

    clips: np.ndarray
    spans: list[tuple[int, int]]
    beyond: int


def cut_recording(data: bytes, settings: Mapping) -> CutRecording:
    """Decode, mix, resample, trim and cut one recording.

    Raises:
        Damaged: it cannot be decoded, holds NaN, or is silent.
    """
    waveform = read_waveform(data, settings["sample_rate"])
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
    return CutRecording(clips, [(int(first) + start, valid) for start, valid in spans], beyond)


def clip_length(settings: Mapping) -> int:
    """Return S, the samples of a clip (`clip_seconds` at `sample_rate`)."""
    return round(settings["clip_seconds"] * settings["sample_rate"])
