"""Name the techniques in a recording with a trained network: overlapping windows, then a timeline.

    from singtech.inference.predictor import load
    timeline = load("outputs/models/late").predict(waveform, sample_rate)

It needs only an exported folder, and runs no code from it.
"""

import functools
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from singtech.components import import_file
from singtech.corpus.audio import SAMPLE_RATES, mix_to_mono
from singtech.errors import InvalidValue
from singtech.inference.saved import Description, read_model
from singtech.models.network import Network

OVERLAP = 0.5


@dataclass(frozen=True)
class Segment:
    """A part of a recording with one technique: start and end in seconds, mean probability."""

    start: float
    end: float
    technique: str
    probability: float


@dataclass(frozen=True, eq=False)
class Timeline:
    """The techniques of one recording over time.

    Attributes:
        techniques: K names.
        starts, ends: (N,) times of each window in seconds; the last window ends with the recording.
        logits: (N, K) one row for each window.
        seconds: length of the recording.
    """

    techniques: tuple[str, ...]
    starts: np.ndarray
    ends: np.ndarray
    logits: np.ndarray
    seconds: float

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) probabilities of each window."""
        return softmax(self.logits.astype(np.float64), axis=1)

    @property
    def overall(self) -> np.ndarray:
        """(K,) probabilities of the whole recording, from the mean of its windows' logits."""
        return softmax(self.logits.mean(axis=0, dtype=np.float64))

    @property
    def technique(self) -> str:
        """The most probable technique of the whole recording."""
        return self.techniques[int(self.overall.argmax())]

    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (M + 1,) times at which windows begin or end, and (M, K) mean probabilities between them."""
        edges = np.unique(np.concatenate([self.starts, self.ends]))
        changes = np.zeros((len(edges), 1 + len(self.techniques)))  # of the number of windows and of their sum
        contributions = np.hstack([np.ones((len(self.starts), 1)), self.probabilities])
        np.add.at(changes, np.searchsorted(edges, self.starts), contributions)
        np.subtract.at(changes, np.searchsorted(edges, self.ends), contributions)
        sums = changes[:-1].cumsum(axis=0).clip(min=0)
        return edges, sums[:, 1:] / sums[:, :1].round()

    def segments(self) -> list[Segment]:
        """Return the timeline: one segment for adjacent pieces with the same most probable technique."""
        edges, probabilities = self.pieces()
        segments = []
        for technique, group in groupby(range(len(probabilities)), key=probabilities.argmax(axis=1).__getitem__):
            pieces = list(group)
            lengths = np.diff(edges)[pieces]
            probability = float(np.average(probabilities[pieces, technique], weights=lengths))
            start, end = float(edges[pieces[0]]), float(edges[pieces[-1] + 1])
            segments.append(Segment(start, end, self.techniques[technique], probability))
        return segments


class Predictor:
    """A trained network that names techniques in recordings of any length and sample rate.

    Args:
        network: (B, S) -> (B, K), in eval mode.
        description: its techniques, sample rate and clip length.
        device: of the computation.
        batch_size: windows in one batch.
    """

    def __init__(
        self, network: Network, description: Description, device: str | torch.device = "cpu", batch_size: int = 16
    ) -> None:
        self.network, self.description = network.eval().to(device), description
        self.device, self.batch_size = torch.device(device), batch_size

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights and description. Equal predictors predict the same, except for rounding."""
        digest = hashlib.sha256(repr(self.description).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def predict(self, waveform: np.ndarray | torch.Tensor, sample_rate: int, overlap: float = OVERLAP) -> Timeline:
        """Predict the timeline of a waveform.

        It is mixed to one channel, resampled to the network's rate and cut into windows as long as the training clips.
        A shorter recording is padded with zeros. The last window ends with the recording.

        Args:
            waveform: (S,), or (S, C) with channels as soundfile reads them; floats with full scale at 1.
            sample_rate: in Hz.
            overlap: share of a window that the next one repeats, from 0 to 0.99.
        Raises:
            InvalidValue: no samples, samples that are not finite, or an argument out of range.
        """
        samples = self._resample(_check_waveform(waveform), sample_rate)
        size, rate = self.description.samples, self.description.sample_rate
        starts = find_window_starts(len(samples), size, overlap)
        padded = np.pad(samples, (0, max(0, size - len(samples))))
        logits = []
        with torch.inference_mode():
            for first in range(0, len(starts), self.batch_size):
                windows = np.stack([padded[start : start + size] for start in starts[first : first + self.batch_size]])
                logits.append(self.network(torch.from_numpy(windows).to(self.device)).float().cpu().numpy())
        seconds = len(waveform) / sample_rate  # resampling may add or lose a sample
        begins = np.array(starts)  # in samples, so that equal times are equal numbers
        ends = np.where(begins + size < len(samples), (begins + size) / rate, seconds)
        return Timeline(self.description.techniques, begins / rate, ends, np.concatenate(logits), seconds)

    def _resample(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        if sample_rate != int(sample_rate) or int(sample_rate) not in SAMPLE_RATES:
            raise InvalidValue(f"sample_rate={sample_rate}: expected {SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} Hz.")
        if int(sample_rate) == self.description.sample_rate:
            return waveform
        import librosa

        rates = int(sample_rate), self.description.sample_rate
        resampled = librosa.resample(waveform, orig_sr=rates[0], target_sr=rates[1], res_type="soxr_hq")
        return np.ascontiguousarray(resampled, dtype=np.float32)


def load(folder: str | os.PathLike, device: str = "cpu", code: str | os.PathLike | None = None) -> Predictor:
    """Load the predictor of a model folder, which `singtech export` wrote.

    Args:
        code: your own file or package with the network's classes, if it has some. No other code is run.
    Raises:
        SingtechError: see `singtech.inference.saved.read_model`.
    """
    return Predictor(*read_model(Path(folder), import_file(Path(code)) if code else None), device)


def find_window_starts(samples: int, size: int, overlap: float = OVERLAP) -> list[int]:
    """Return the first sample of each window of `size` samples. The last window ends with the recording.

    Raises:
        InvalidValue: the overlap is not from 0 to 0.99, the value for a hundred times as many windows.
    """
    if not 0 <= overlap <= 0.99:
        raise InvalidValue(f"overlap={overlap}: expected a share of a window from 0 to 0.99, such as 0.5.")
    hop = max(1, round(size * (1 - overlap)))
    last = max(0, samples - size)
    return [*range(0, last, hop), last]


def _check_waveform(waveform: np.ndarray | torch.Tensor) -> np.ndarray:
    """Check a waveform, and return (S,) float32 samples, mixed to one channel."""
    samples = waveform.detach().cpu().numpy() if isinstance(waveform, torch.Tensor) else np.asarray(waveform)
    if samples.ndim not in (1, 2) or not samples.size:
        raise InvalidValue(f"waveform of shape {samples.shape}: expected (S,) or (S, channels) with samples in it.")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise InvalidValue(f"waveform of shape {samples.shape}: expected (S, channels), samples first; transpose it.")
    if not np.issubdtype(samples.dtype, np.floating):
        raise InvalidValue(f"waveform of {samples.dtype}: expected floats with full scale at 1.")
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise InvalidValue("waveform holds NaN or infinite samples.")
    return mix_to_mono(samples) if samples.ndim == 2 else samples


def technique_shares(segments: Sequence[Segment]) -> dict[str, float]:
    """Return the share of the recording's time for each technique, the largest first."""
    total = math.fsum(segment.end - segment.start for segment in segments)
    times: dict[str, float] = {}
    for segment in segments:
        times[segment.technique] = times.get(segment.technique, 0.0) + segment.end - segment.start
    return {name: times[name] / total for name in sorted(times, key=times.__getitem__, reverse=True)}
