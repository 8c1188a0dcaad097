"""Seconds and peak memory of training over clips, batch and epochs: a figure with straight lines fitted.

Late at 385 bins by 121 frames, each point a fresh process: `python -m benchmarks.scaling CLIPS BATCH EPOCHS`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import Machine, fresh, peak_megabytes
from benchmarks.report import Measurement

POINTS = {  # what varies: (clips, batch, epochs) of its points
    "clips": [(clips, 16, 1) for clips in (64, 128, 256, 384, 512)],
    "batch": [(128, batch, 1) for batch in (4, 8, 16, 32, 64)],
    "epochs": [(64, 16, epochs) for epochs in (1, 2, 4, 6, 8)],
}
FRONT_END = {"n_fft": 768, "win_lengths": (768, 384, 192), "hop_length": 300}
SAMPLES, RATE = 36_000, 12_000  # 3 s at 12 kHz


def measure(machine: Machine, folder: Path) -> Iterator[Measurement]:
    """Each point, then of each line how far the point farthest from it lies, in per cent of the largest; the figure."""
    found = {}
    fresh("scaling", "32", "16", "1", machine.device.type)  # which finds files and compiled loops cold
    for points in POINTS.values():
        for point in points:
            if point not in found:
                seconds, megabytes = found[point] = fresh("scaling", *map(str, point), machine.device.type)
                clips, batch, epochs = point
                said = f"{clips} clips, batch {batch}, {epochs} epochs"
                yield Measurement("scaling", f"{said}: seconds", seconds)
                yield Measurement("scaling", f"{said}: memory", megabytes, unit="MB")
    draw(found, folder / "scaling.png")
    for varied, points in POINTS.items():
        along = [point[list(POINTS).index(varied)] for point in points]
        for k, measured in enumerate(("seconds", "memory")):
            values = np.array([found[point][k] for point in points])
            residual = np.abs(values - line(along, values)(np.array(along))).max() / values.max()
            yield Measurement("scaling", f"{measured} over {varied}: off the line", 100 * residual, unit="%")


def line(along: list[int], values: np.ndarray) -> np.poly1d:
    """The straight line of least squares."""
    return np.poly1d(np.polyfit(along, values, 1))


def draw(found: dict, path: Path) -> None:
    """The figure: a column for each of clips, batch and epochs, a row for seconds and for memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, len(POINTS), sharex="col")
    for column, (varied, points) in enumerate(POINTS.items()):
        along = [point[column] for point in points]
        for row, label in enumerate(("seconds", "peak memory, MB")):
            values = np.array([found[point][row] for point in points])
            fitted, ends = line(along, values), np.array([0, max(along)])
            axes[row, column].plot(ends, fitted(ends), color="0.6", label=f"{fitted[1]:.3g} each + {fitted[0]:.3g}")
            axes[row, column].plot(along, values, "o")
            axes[row, column].set_ylim(0, 1.25 * values.max())
            axes[row, column].legend(loc="upper left", frameon=False)
            axes[row, column].set_ylabel(label if column == 0 else "")
        axes[1, column].set_xlabel(varied)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def train(clips: int, batch: int, epochs: int, device: str) -> None:
    """Train on noise, and print the seconds without the start, and the peak megabytes (a GPU's, on a GPU)."""
    import torch

    from singtech.training.fit import train_phase

    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        task = task_on(noise_corpus(clips, Path(name)), Path(name), batch, epochs, device)
        started = time.perf_counter()
        train_phase(task)
        seconds = time.perf_counter() - started
    megabytes = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_megabytes()
    print(json.dumps([seconds, megabytes]))


def task_on(corpus, folder: Path, batch: int, epochs: int, device: str, front_end=FRONT_END, precision="32-true"):
    """Late's features to train on a corpus."""
    import torch

    from singtech.models.network import Architecture
    from singtech.models.oblong import OblongExtractor
    from singtech.models.spectrogram import MultiResolutionSpectrogram
    from singtech.training.fit import Run, Setup, Task
    from singtech.training.phases import TrainNetwork
    from singtech.training.trainer import Machine as Place

    parts = partial(MultiResolutionSpectrogram, **front_end), partial(OblongExtractor, dc=(3, 4))
    network = Architecture(*parts)
    setup = Setup(network=network, seed=0, training_clips="noise", batch_size=batch, precision=precision)
    phase = TrainNetwork(epochs=epochs, optimizer=partial(torch.optim.Adam, lr=1e-3))
    names = {"data": "noise", "fold": "", "model": "oblong", "dc": "late", "strategy": "joint", "alpha": 0.0}
    run = Run(names, setup, (phase,), corpus.waveforms.shape[1], len(corpus.techniques), corpus.sample_rate)
    place = Place("gpu" if device == "cuda" else "cpu", precision=precision, progress=False)
    return Task(run, 0, (), corpus, folder, place)


def noise_corpus(clips: int, folder: Path, samples: int = SAMPLES, rate: int = RATE):
    """So many training clips of noise in a store on the disk."""
    import pandas as pd

    from singtech.corpus.clip_store import WAVEFORMS, Corpus
    from singtech.techniques import TECHNIQUES

    draw = np.random.default_rng(0)
    waveforms = np.lib.format.open_memmap(folder / WAVEFORMS, "w+", np.int16, (clips, samples))
    for row in waveforms:
        row[:] = draw.integers(-8000, 8000, samples, np.int16)
    waveforms.flush()
    table = pd.DataFrame({"recording": [f"noise{n}" for n in range(clips)], "start": 0.0, "split": "train"})
    table["digest"] = [f"{n:032x}" for n in range(clips)]
    table["technique"] = [TECHNIQUES[n % len(TECHNIQUES)] for n in range(clips)]
    opened = np.load(folder / WAVEFORMS, mmap_mode="r")
    settings = {"name": "noise", "sample_rate": rate, "clip_seconds": 3.0}
    return Corpus(folder, "", settings, tuple(TECHNIQUES), [], [], [], table, opened, pd.DataFrame())


if __name__ == "__main__":
    train(*map(int, sys.argv[1:4]), sys.argv[4])
