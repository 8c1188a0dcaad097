"""The machine that is measured: what it is, how fast it multiplies and copies, and how work on it is timed."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

import torch

from benchmarks.counts import Count

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
SETTINGS = {"float32": "32-true", "bf16": "bf16-mixed"}  # of a run


@dataclass(frozen=True)
class Machine:
    """Where is measured, and the two speeds that set its floors.

    Attributes:
        device: of torch.
        name: the processor and its cores.
        device_name: the GPU, or how many threads of the processor torch takes.
        flops: by precision, most floating-point operations a second.
        bandwidth: most bytes a second to and from memory.
    """

    device: torch.device
    name: str
    device_name: str
    flops: Mapping[str, float]
    bandwidth: float

    def floor(self, count: Count, precision: str = "float32") -> float:
        """Seconds below which so many operations and bytes cannot be done, one beside the other."""
        return max(count.flops / self.flops[precision], count.bytes / self.bandwidth)


def measured(device: torch.device, side: int | None = None) -> Machine:
    """This machine, multiplying large matrices and copying a large tensor on a device, at its best of a few times.

    Args:
        side: of the matrices; the tensor has eight times as many numbers or more. None: as large as the device needs.
    """
    is_gpu = device.type == "cuda"
    side, numbers = (side, 8 * side**2) if side else (8192, 2**29) if is_gpu else (2048, 2**26)
    flops = {name: 2 * side**3 / _product_seconds(side, dtype, device) for name, dtype in PRECISIONS.items()}
    source = torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    (seconds,) = interleaved({"copy": lambda: target.copy_(source)}, device, rounds=7, of=min).values()
    bandwidth = 2 * source.numel() * source.element_size() / seconds
    used = torch.cuda.get_device_name(device) if is_gpu else f"cpu, {torch.get_num_threads()} threads"
    return Machine(device, f"{_processor()}, {cores()} cores", used, flops, bandwidth)


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = 3,
    least_seconds: float = 0.1,
    of: Callable[[list[float]], float] = median,
) -> dict[str, float]:
    """Median seconds of each of several ways to do the same, taken in turn so that what disturbs one disturbs all.

    Each is called once beforehand; a turn calls it as often as it takes for `least_seconds`, and waits for the device.
    """
    repeats, times = {}, {name: [] for name in ways}
    for name, way in ways.items():
        _seconds(way, 1, device)
        repeats[name] = max(1, min(1000, ceil(least_seconds / _seconds(way, 1, device))))
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_seconds(way, repeats[name], device))
    return {name: of(each) for name, each in times.items()}


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fresh(module: str, *arguments: str) -> list:
    """What a module of the benchmarks prints, as JSON, when it is run in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def peak_megabytes() -> float:
    """Most memory that this process has held. Linux counts that of whoever started it into `ru_maxrss`, too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(float(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _seconds(way: Callable[[], object], repeats: int, device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        way()
    _wait(device)
    return max(time.perf_counter() - started, 1e-9) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _product_seconds(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Of a matrix product; on a GPU in TF32 where torch lets convolutions take it, or floors would lie too high."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        product = torch.empty_like(left)
        return interleaved({"product": lambda: torch.mm(left, right, out=product)}, device, rounds=7, of=min)["product"]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
