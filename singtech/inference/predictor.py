"""Name the techniques in a recording with a trained network: overlapping windows, then a timeline.

    from singtech.inference.predictor import load
    timeline = load("outputs/models/late").predict(waveform, sample_rate)

It needs only an exported folder, and runs no code from it.
"""

import functools
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from singtech.components import import_file
from singtech.corpus.audio import MAX_AMPLITUDE, SAMPLE_RATES, mix_to_mono
from singtech.errors import Damaged, InvalidValue, require
from singtech.inference.recordings import BLOCK, GATE, GATE_SECONDS, LevelMeter
from singtech.inference.saved import Description, read_model
from singtech.io.stored import one_line
from singtech.models.network import Network

OVERLAP = 0.5
SILENCE = "silence"
MAX_CHANNELS = 8  # of an array; a batch of recordings must not be mixed


@dataclass(frozen=True)
class Segment:
    """A part of a recording with one technique: start and end in seconds, mean probability (NaN in silence)."""

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
        silent: (M,) whether a piece (see `pieces`) is silent, or one value for all.
    """

    techniques: tuple[str, ...]
    starts: np.ndarray
    ends: np.ndarray
    logits: np.ndarray
    seconds: float
    silent: np.ndarray | np.bool_ = np.False_

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) probabilities of each window."""
        return softmax(self.logits.astype(np.float64), axis=1)

    @property
    def technique(self) -> str:
        """The technique that is named for most of the recording's time; "silence" if all is silent.

        Silence does not count. At equal times the more probable technique is taken.
        """
        return self._headline()[0]

    @property
    def probability(self) -> float:
        """The mean probability of `technique` over the time for which it is named; NaN if all is silent."""
        return self._headline()[1]

    def _headline(self) -> tuple[str, float]:
        times: dict[str, list[float]] = {}
        for segment in self.segments():
            if not math.isnan(segment.probability):
                seconds = segment.end - segment.start
                total = times.setdefault(segment.technique, [0.0, 0.0])
                total[0] += seconds
                total[1] += seconds * segment.probability
        if not times:
            return SILENCE, math.nan
        name = max(times, key=lambda technique: (round(times[technique][0], 6), times[technique][1]))
        return name, times[name][1] / times[name][0]

    @property
    def overall(self) -> np.ndarray:
        """(K,) mean probabilities over the time that is not silent; NaN if all is silent.

        Their largest need not be that of `technique`: one that is often second, and never first, has no segment.
        """
        edges, probabilities = self.pieces()
        seconds = np.diff(edges) * ~self.silent
        return seconds @ probabilities / seconds.sum() if seconds.any() else np.full(len(self.techniques), np.nan)

    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (M + 1,) times at which windows begin or end, and (M, K) mean probabilities between them."""
        edges = find_edges(self.starts, self.ends)
        changes = np.zeros((len(edges), 1 + len(self.techniques)))  # of the number of windows and of their sum
        contributions = np.hstack([np.ones((len(self.starts), 1)), self.probabilities])
        np.add.at(changes, np.searchsorted(edges, self.starts), contributions)
        np.subtract.at(changes, np.searchsorted(edges, self.ends), contributions)
        sums = changes[:-1].cumsum(axis=0).clip(min=0)
        return edges, sums[:, 1:] / sums[:, :1].round()

    def segments(self) -> list[Segment]:
        """Return the timeline: one segment for adjacent pieces with the same most probable technique, or in silence."""
        edges, probabilities = self.pieces()
        named = np.where(self.silent, -1, probabilities.argmax(axis=1))
        segments = []
        for technique, group in groupby(range(len(named)), key=named.__getitem__):
            pieces = list(group)
            start, end = float(edges[pieces[0]]), float(edges[pieces[-1] + 1])
            if technique < 0:
                segments.append(Segment(start, end, SILENCE, math.nan))
                continue
            probability = float(np.average(probabilities[pieces, technique], weights=np.diff(edges)[pieces]))
            segments.append(Segment(start, end, self.techniques[technique], probability))
        return segments


class Predictor:
    """A trained network that names techniques in recordings of any length and sample rate.

    Args:
        network: (B, S) -> (B, K), in eval mode.
        description: its techniques, sample rate and clip length.
        device: of the computation; `InvalidValue` is raised if this machine has no such device.
        batch_size: windows in one batch.
    """

    def __init__(
        self, network: Network, description: Description, device: str | torch.device = "cpu", batch_size: int = 16
    ) -> None:
        kinds = sorted({"cpu", getattr(torch.accelerator.current_accelerator(check_available=True), "type", "cpu")})
        expected = f"{' or '.join(kinds)}, which this machine has"
        require(str(device).partition(":")[0] in kinds, "device", device, expected)
        try:
            self.network, self.description = network.eval().to(device), description
        except RuntimeError as problem:
            raise InvalidValue(f"device={device}: {one_line(problem)}.") from None
        self.device, self.batch_size = torch.device(device), batch_size

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights and description. Equal predictors predict the same, except for rounding."""
        digest = hashlib.sha256(repr(self.description).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def predict(
        self,
        waveform: np.ndarray | torch.Tensor | Iterator[np.ndarray],
        sample_rate: int,
        overlap: float = OVERLAP,
        gate: float | None = GATE,
    ) -> Timeline:
        """Predict the timeline of a waveform.

        It is mixed to one channel, resampled to the network's rate and cut into windows as long as the training clips.
        A shorter recording is padded with zeros. The last window ends with the recording.

        Args:
            waveform: one recording, no batch: an array or tensor (S,), (S, C) as soundfile reads it, or (C, S) as
                torchaudio does; the longer axis holds the samples, the other up to 8 channels. Floats with full scale
                at 1. Or an iterator of blocks of (n,) samples, for a recording that the memory does not hold.
            sample_rate: in Hz.
            overlap: share of a window that the next one repeats, from 0 to 0.99.
            gate: level in dBFS (RMS; a full-scale square wave has 0) below which a piece is silence; None for no gate.
        Raises:
            InvalidValue: no samples, samples that are not finite, or an argument out of range.
            Damaged: the network's logits are not finite.
        """
        check_options(overlap, gate)
        rates = f"{SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} Hz"
        require(sample_rate in SAMPLE_RATES, "sample_rate", sample_rate, rates)
        sample_rate = int(sample_rate)
        size, rate, meter = self.description.samples, self.description.sample_rate, LevelMeter(sample_rate)
        if not isinstance(waveform, Iterator):
            whole = _check_waveform(waveform)
            waveform = (whole[first : first + BLOCK] for first in range(0, len(whole), BLOCK))
        blocks = map(_check_waveform, filter(len, waveform))
        windows = cut_windows(resample(meter.listen(blocks), sample_rate, rate), size, count_hop(size, overlap))
        starts: list[int] = []
        logits = []
        with torch.inference_mode():
            while batch := list(islice(windows, self.batch_size)):
                starts += [start for start, _ in batch]
                waveforms = torch.from_numpy(np.stack([window for _, window in batch]))
                logits.append(self.network(waveforms.to(self.device)).float().cpu().numpy())
                if not np.isfinite(logits[-1]).all():
                    raise Damaged("the network gives NaN or infinite logits: it names nothing")
                if len(meter.recent) > 4 * BLOCK:
                    begins = np.array(starts)
                    meter.measure(find_edges(begins / rate, (begins + size) / rate), begins[-1] / rate - GATE_SECONDS)
        if not meter.samples:
            raise InvalidValue("waveform holds no block with samples.")
        seconds = meter.samples / sample_rate  # resampling may add or lose a sample
        begins = np.array(starts)  # in samples, so that equal times are equal numbers
        ends = np.where(begins < begins[-1], (begins + size) / rate, seconds)
        begins = begins / rate
        meter.measure(find_edges(begins, ends))
        silent = meter.levels < (-np.inf if gate is None else gate)
        return Timeline(self.description.techniques, begins, ends, np.concatenate(logits), seconds, silent)


def load(folder: str | os.PathLike, device: str = "cpu", code: str | os.PathLike | None = None) -> Predictor:
    """Load the predictor of a model folder, which `singtech export` wrote.

    Args:
        code: your own file or package with the network's classes, if it has some. No other code is run.
    Raises:
        SingtechError: see `singtech.inference.saved.read_model`.
    """
    return Predictor(*read_model(Path(folder), import_file(Path(code)) if code else None), device)


def resample(blocks: Iterator[np.ndarray], source: int, target: int) -> Iterator[np.ndarray]:
    """Yield blocks of (n,) float32 samples at another rate in Hz, as `librosa.resample` would give them in one."""
    if source == target:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(source, target, num_channels=1, dtype="float32", quality="HQ")
    samples = missing = 0
    for block in blocks:
        samples += len(block)
        chunk = stream.resample_chunk(block)
        missing -= len(chunk)
        yield chunk
    missing += math.ceil(samples * (target / source))
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
    yield np.pad(rest, (0, missing - len(rest)))


def check_options(overlap: float, gate: float | None) -> None:
    """Raise `InvalidValue` unless `Predictor.predict` takes this overlap and this gate."""
    is_share = isinstance(overlap, Real) and 0 <= overlap <= 0.99  # which makes a hundred times as many windows
    require(is_share, "overlap", overlap, "a share of a window from 0 to 0.99, such as 0.5")
    is_level = gate is None or (isinstance(gate, Real) and -math.inf < gate <= 0)
    require(is_level, "gate", gate, f"a level in dBFS up to 0, such as {GATE:g}, or none (null, in Python None)")


def count_hop(size: int, overlap: float) -> int:
    """Return the samples from one window to the next.

    Args:
        size: samples of a window.
        overlap: the share of it that the next one repeats.
    """
    return max(1, round(size * (1 - overlap)))


def cut_windows(blocks: Iterator[np.ndarray], size: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first sample of each window, and its (size,) samples. The last window ends with the recording.

    A recording shorter than a window is padded with zeros.

    Args:
        blocks: of (n,) samples.
        size, hop: samples of a window, and from one window to the next.
    """
    samples, first, start = np.zeros(0, np.float32), 0, 0  # of the next windows; the place of the first; the next start
    for block in blocks:
        samples = np.concatenate([samples, block])
        while start + size < first + len(samples):  # it does not end with the recording
            yield start, samples[start - first : start - first + size]
            start += hop
        unused = max(0, min(start - first, len(samples) - size))
        samples, first = samples[unused:], first + unused
    yield max(0, first + len(samples) - size), np.pad(samples[-size:], (0, max(0, size - len(samples))))


def find_edges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the (M + 1,) times at which windows begin or end; M pieces lie between them."""
    return np.unique(np.concatenate([starts, ends]))


def _check_waveform(waveform: np.ndarray | torch.Tensor) -> np.ndarray:
    """Check a waveform, and return (S,) float32 samples, mixed to one channel."""
    if isinstance(waveform, torch.Tensor):
        waveform = waveform.detach().cpu()
        waveform = waveform.float() if waveform.is_floating_point() else waveform  # NumPy has no bfloat16
    if isinstance(waveform, list | tuple):
        raise InvalidValue(f"waveform is a {type(waveform).__name__}: expected an array; of blocks, iter(blocks).")
    samples = np.asarray(waveform)
    channels = sorted((1, 1, *samples.shape))[-2]  # the shorter of two axes
    if samples.ndim not in (1, 2) or not samples.size or channels > MAX_CHANNELS:
        expected = f"(S,), or (S, channels) or (channels, S) with up to {MAX_CHANNELS} channels, no batch"
        raise InvalidValue(f"waveform of shape {samples.shape}: expected {expected}.")
    if not np.issubdtype(samples.dtype, np.floating):
        raise InvalidValue(f"waveform of {samples.dtype}: expected floats with full scale at 1.")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T  # as torchaudio reads them
    peak = np.abs(samples).max()  # NaN if one sample is NaN
    if not np.isfinite(peak):
        raise InvalidValue("waveform holds NaN or infinite samples.")
    if peak > MAX_AMPLITUDE:
        raise InvalidValue(f"waveform reaches {peak:.3g}: expected floats with full scale at 1.")
    samples = samples.astype(np.float32)
    return mix_to_mono(samples) if samples.ndim == 2 else samples


def technique_shares(segments: Sequence[Segment]) -> dict[str, float]:
    """Return the share of the recording's time for each technique and for silence, the largest first."""
    total = math.fsum(segment.end - segment.start for segment in segments)
    times: dict[str, float] = {}
    for segment in segments:
        times[segment.technique] = times.get(segment.technique, 0.0) + segment.end - segment.start
    return {name: times[name] / total for name in sorted(times, key=times.__getitem__, reverse=True)}
