"""Decoding and cutting recordings on all cores, beside a loop of librosa.load; and memory as the corpus grows."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import librosa

from benchmarks.corpus import SAMPLE_RATE, prepared, write_recordings
from benchmarks.machine import Machine, fresh, peak_megabytes
from benchmarks.report import Measurement, Target

RECORDINGS, SECONDS = 90, 10.0
ROUNDS = 2
GROWTH = 4


def measure(machine: Machine) -> Iterator[Measurement]:
    """Times real time from WAV and from FLAC; peak memory of a fresh process on a corpus and on four times as much."""
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        folder = Path(name)
        for suffix in ("wav", "flac"):
            paths = write_recordings(folder / suffix, RECORDINGS, SECONDS, suffix)
            audio = len(paths) * SECONDS
            ours, beside = _in_turn(lambda s=suffix: _prepare(folder / s), lambda p=paths: _load(p))
            said = f"{audio / 60:.0f} min of {suffix}, decoded and cut"
            yield Measurement("prepare", said, audio / ours, audio / beside, "x real time")
        memory = []
        for factor in (1, GROWTH):
            root = folder / f"{factor}x"
            write_recordings(root, factor * RECORDINGS, SECONDS)
            seconds, megabytes = fresh("preparing", str(root), str(folder / f"{factor}x store"))
            memory.append(megabytes)
            target = Target("ours", 1.1 * memory[0]) if factor > 1 else None
            said = f"peak memory, {factor * RECORDINGS * SECONDS / 60:.0f} min of wav ({seconds:.1f} s)"
            yield Measurement("prepare", said, megabytes, unit="MB", target=target)


def _prepare(root: Path) -> None:
    with tempfile.TemporaryDirectory() as store:
        prepared(root, Path(store))


def _load(paths: list[Path]) -> None:
    for path in paths:
        librosa.load(path, sr=SAMPLE_RATE)


def _in_turn(*ways: Callable[[], None]) -> list[float]:
    """Median seconds of each, once beforehand and then in turn."""
    times = [[] for _ in ways]
    for number in range(ROUNDS + 1):
        for way, each in zip(ways, times, strict=True):
            started = time.perf_counter()
            way()
            if number:
                each.append(time.perf_counter() - started)
    return [median(each) for each in times]


if __name__ == "__main__":
    started = time.perf_counter()
    prepared(*map(Path, sys.argv[1:]))
    print(json.dumps([time.perf_counter() - started, peak_megabytes()]))
