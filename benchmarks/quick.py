"""What a GPU is worth here, in eight minutes at most: `make bench ARGS=quick=true`.

    machine    what it is, its matrix products and copies a second
    tests      those marked `gpu`
    layer 1-4  a deformable convolution of Table 1, forward and backward, beside torchvision's
    step       a training step with none, Late and All: ours, ours with torchvision's operator, the straightforward way
    epochs     two epochs of Late on as many clips as the paper has, of noise
    paper      the hours of `make paper` from nothing, estimated from a few steps of each network

Each part is a process of its own and hands over each row as it comes: an error, a crash or a hang costs its part alone.
Errors are in the JSON and on the page, and the exit status is 1. Without CUDA it is a rehearsal, its sizes cut.
"""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import torch

from benchmarks import convolution, scaling, straightforward
from benchmarks.counts import ARRANGEMENTS, INPUT, N_FFT, SAMPLES, Count, deformable, layers
from benchmarks.counts import step as step_count
from benchmarks.machine import PRECISIONS, SETTINGS, Machine, interleaved, measured
from benchmarks.quick_page import errors, render
from singtech.cli.config import read_commit
from singtech.cli.plan import PAPER_EXPERIMENTS, UnpreparedCorpus, compose_runs
from singtech.models.deformable import backend_for, backends_on, choose_backend
from singtech.models.network import oblong_network, parameter_count

ROOT = Path(__file__).parent.parent
LIMIT = 465  # seconds of all parts on a GPU
PATIENCE = 10  # times as long for a rehearsal, which a busy processor only delays
GAIN = 1.5  # over torchvision, below which a Triton kernel is not worth its lines
VERSIONED = ("torch", "torchvision", "triton", "pytorch-lightning", "numpy", "numba")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        batch: clips a step.
        clips: of an epoch.
        samples, rate: of a clip, and its samples a second.
        front_end: arguments of the spectrograms that differ from the paper's.
        shape: of a clip's spectrograms: windows, bins, frames.
        settings: with which the paper is planned.
        side: of the matrices that are multiplied; None for as large as the device needs.
        rounds: of a median.
    """

    batch: int = 64
    clips: int = 3615
    samples: int = SAMPLES
    rate: int = 44100
    front_end: Mapping = field(default_factory=dict)
    shape: tuple[int, int, int] = INPUT
    settings: tuple[str, ...] = ()
    side: int | None = None
    rounds: int = 5


SMALL = {"n_fft": 512, "win_lengths": (512, 256, 128), "hop_length": 375}  # conf/front_end/small.yaml
REHEARSAL = Size(2, 20, 36_000, 12_000, SMALL, (3, 257, 97), ("data=demo",), 256, 1)


def size_for(device: torch.device) -> Size:
    """The paper's sizes on a GPU, with fewer clips a step if it has less than 22 GB; cut ones elsewhere."""
    if device.type != "cuda":
        return REHEARSAL
    return Size(batch=64 if torch.cuda.get_device_properties(device).total_memory > 22e9 else 16)


def main(device: str, folder: Path) -> None:
    """Run all parts, and write the JSON and its page after each.

    Raises:
        SystemExit: a part, or something in it, failed.
    """
    is_gpu = device.startswith("cuda")
    started, patience = time.monotonic(), 1 if is_gpu else PATIENCE
    record = {"rehearsal": not is_gpu, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    record |= {"commit": read_commit(), "versions": versions(), "parts": {}}
    for name, part in PARTS.items():
        left = patience * LIMIT - (time.monotonic() - started)
        print(f"{name} …", end=" ", flush=True)
        found = run_part([sys.executable, "-m", "benchmarks.quick", name, device], min(patience * part.limit, left))
        record["parts"][name] = found
        derive(record)
        print(f"{found['wall_seconds']:.0f} s", *errors(record, name), sep="\n  ", flush=True)
        page = write(record, folder)
    print(f"\n{render(record)}\n{page.with_suffix('.json')}, {page}")
    if errors(record):
        raise SystemExit(f"{len(errors(record))} errors, see the end of {page}")


def versions() -> dict[str, str]:
    """Of Python, of what computes and of CUDA; those that are there."""
    there = {"python": platform.python_version(), "platform": platform.platform(), "cuda": torch.version.cuda or ""}
    for name in VERSIONED:
        with suppress(metadata.PackageNotFoundError):
            there[name] = metadata.version(name)
    return there


def run_part(command: Sequence[str], limit: float) -> dict:
    """Run a command that appends JSON rows to the file it is given last.

    Returns:
        The rows, also of one that fails or is stopped after `limit` seconds; wall_seconds; and its error if any.
    """
    if limit < 5:
        return {"rows": [], "wall_seconds": 0.0, "error": "no time left"}
    started, error = time.monotonic(), ""
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        rows, complaints = Path(name) / "rows", Path(name) / "stderr"
        rows.touch()
        with complaints.open("w") as file:
            process = subprocess.Popen(
                [*command, str(rows)], cwd=ROOT, stdout=file, stderr=file, start_new_session=True
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                status, error = 0, f"stopped after {limit:.0f} s"
            finally:
                with suppress(ProcessLookupError):  # those that it started, too
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status:
            lines = [line for line in complaints.read_text(errors="replace").splitlines() if line.strip()]
            how = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
            error = ": ".join([how, *lines[-1:]])
        lines = rows.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
    return {"rows": found, "wall_seconds": time.monotonic() - started} | ({"error": error} if error else {})


def derive(record: Mapping) -> None:
    """Add to rows what follows from their seconds: gains, verdicts and the distance from the floor."""
    about = next(iter(record["parts"]["machine"]["rows"]), None)
    for part in record["parts"].values():
        for row in part["rows"]:
            ours = row.get("ours_seconds")
            if ours is None:
                continue
            for beside in ("torchvision", "straightforward"):
                if f"{beside}_seconds" in row:
                    row[f"gain_over_{beside}"] = row[f"{beside}_seconds"] / ours
            if "layer" in row and "gain_over_torchvision" in row:
                row["verdict"] = "keep" if row["gain_over_torchvision"] >= GAIN else "remove"
            if about:
                machine = Machine(torch.device("cpu"), "", "", about["flops"], about["bandwidth"])
                row["floor_seconds"] = machine.floor(Count(row["flops"], row["bytes"]), row["precision"])
                row["times_floor"] = ours / row["floor_seconds"]


def write(record: Mapping, folder: Path) -> Path:
    """Write the JSON and its page, under the device's name, below `bench/`. Return the page's path."""
    names = [row["device"] for row in record["parts"]["machine"]["rows"]] or ["unknown device"]
    stem = "rehearsal" if record["rehearsal"] else re.sub(r"[^a-z0-9]+", "-", names[0].lower()).strip("-")
    page = folder / "bench" / f"{stem}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    page.write_text(render(record), encoding="utf-8")
    return page


def measure_machine(size: Size, device: torch.device) -> Iterator[dict]:
    """Its name, memory and two speeds; and the sizes that are measured."""
    found = measured(device, size.side)
    row = {"processor": found.name, "device": found.device_name, "flops": dict(found.flops)}
    row |= {"bandwidth": found.bandwidth, "size": asdict(size)}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        row |= {"memory_bytes": about.total_memory, "capability": f"{about.major}.{about.minor}"}
    yield row


def run_tests(size: Size, device: torch.device) -> Iterator[dict]:
    """Those marked `gpu`. On a GPU none may be left out."""
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        results = Path(name) / "results.xml"
        options = ["-n", "0", "-m", "gpu", f"--junitxml={results}", "tests/models"]
        status = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT).returncode
        yield count_tests(ElementTree.parse(results), status, device.type == "cuda")


def count_tests(results: ElementTree.ElementTree, status: int, must_run: bool) -> dict:
    """How many passed, failed and were skipped, of pytest's XML; what failed, as an error."""
    suite = results.getroot().find("testsuite")
    cases = list(suite.iter("testcase"))
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    row = {"passed": len(cases) - len(failed) - skipped, "failed": len(failed), "skipped": skipped}
    if failed:
        row["error"] = "failed: " + ", ".join(failed)
    elif must_run and (skipped or not row["passed"]):
        row["error"] = "not all GPU tests ran"
    elif status not in (0, 5):  # 5: without Triton there are none
        row["error"] = f"pytest: exit status {status}"
    return row


def measure_layer(number: int, size: Size, device: torch.device) -> Iterator[dict]:
    """Triton's kernels and torchvision's, in both precisions; torchvision has float32 alone."""
    layer = list(layers(size.shape))[number - 1]
    ours = ours_on(device)
    for precision in PRECISIONS:
        count = deformable(layer, size.batch, 2 if precision == "bf16" else 4)
        row = {"layer": number, "precision": precision, "batch": size.batch, "backend": ours} | asdict(count)

        def measure(precision: str = precision) -> dict:
            ways = convolution.ways_of(layer, size.batch, device, precision, [ours])
            ways = {"torchvision": ways["straightforward"], "ours": ways[ours]}
            return timed(ways, device, size.rounds)

        yield attempt(row, measure)


def measure_step(precision: str, size: Size, device: torch.device) -> Iterator[dict]:
    """A step on clips that are on the device; the straightforward way, in float32, is given their spectrograms."""
    for name, dc in ARRANGEMENTS.items():
        row = {"dc": name, "precision": precision, "batch": size.batch}
        yield attempt(row, lambda dc=dc: of_step(dc, precision, size, device))


def of_step(dc: tuple[int, ...], precision: str, size: Size, device: torch.device) -> dict:
    """Seconds and memory of each way to take a step, with operations and bytes that it takes."""
    draw = torch.Generator().manual_seed(0)
    waveforms = torch.randn(size.batch, size.samples, generator=draw).to(device)
    targets = (torch.arange(size.batch) % 10).to(device)
    weights = torch.ones(10, device=device)

    def way(network: torch.nn.Module, inputs: torch.Tensor, precision: str = precision) -> Callable[[], object]:
        network = network.to(device).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

        def take() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                straightforward.training_step(network, optimizer, (inputs, targets), weights)

        return take

    ways = {}
    for name, backend in {"ours": ours_on(device), **({"torchvision": "torchvision"} if dc else {})}.items():
        network = oblong_network(size.samples, 10, dict(size.front_end), 0, dc=dc)
        choose_backend(network, backend)
        ways[name] = way(network, waveforms)
    with torch.no_grad():
        spectrograms = network.front_end(waveforms).contiguous()
    ways["straightforward"] = way(straightforward.OblongCNN(dc), spectrograms, "float32")
    n_fft = size.front_end.get("n_fft", N_FFT)
    number_bytes, parameters = 2 if precision == "bf16" else 4, parameter_count(network)
    count = step_count(dc, size.batch, parameters, number_bytes, size.shape, size.samples, n_fft)
    return asdict(count) | timed(ways, device, size.rounds)


def measure_epochs(size: Size, device: torch.device) -> Iterator[dict]:
    """Two epochs of Late as a run trains them, in both precisions."""
    from singtech.training.fit import train_phase

    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        corpus = scaling.noise_corpus(size.clips, Path(name), size.samples, size.rate)
        for precision in PRECISIONS:
            row = {"precision": precision, "clips": size.clips, "batch": size.batch, "backend": backend_for(device)}

            def train(precision: str = precision) -> dict:
                reset_peak(device)
                work = Path(tempfile.mkdtemp(dir=name))
                options = (size.batch, 2, device.type, dict(size.front_end), SETTINGS[precision])
                task = scaling.task_on(corpus, work, *options)
                outcome = train_phase(task)
                seconds = [entry["seconds"] for entry in outcome.curve]
                steps = -(-size.clips // size.batch)
                return {
                    "epoch_seconds": seconds,
                    "step_seconds": seconds[-1] / steps,
                    "whole_seconds": outcome.record["seconds"],
                    "peak_bytes": peak(device),
                }

            yield attempt(row, train)


def plan_paper(size: Size, device: torch.device) -> Iterator[dict]:
    """The hours of all the paper's phases, one after the other, in both precisions."""
    for precision in PRECISIONS:
        yield attempt({"precision": precision}, lambda p=precision: paper_hours(p, size, device))


def paper_hours(precision: str, size: Size, device: torch.device) -> dict:
    """The hours, the epochs that they have, and the seconds a clip of each network."""
    from singtech.run import build_machine, build_run
    from singtech.training.planning import Plan

    accelerator = "gpu" if device.type == "cuda" else "cpu"
    settings = [f"precision={SETTINGS[precision]}", f"trainer.accelerator={accelerator}", *size.settings]
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        plan = Plan(Path(name))
        for _, cfg in compose_runs(PAPER_EXPERIMENTS, settings):
            corpus, machine = UnpreparedCorpus(cfg, False), build_machine(cfg)
            plan.add(build_run(cfg, corpus), corpus, machine)
        speeds = plan.measure_speeds(machine)
        return {
            "hours": plan.seconds(speeds) / 3600,
            "network_epochs": plan.epochs("network"),
            "head_epochs": plan.epochs("head"),
            "clip_seconds": {speed.condition: speed.network for speed in speeds.values()},
        }


def ours_on(device: torch.device) -> str:
    """The backend that is measured beside torchvision's: Triton's, even where it fails; the fastest on a processor."""
    return "triton" if device.type == "cuda" else backends_on(device)[0]


def timed(ways: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict:
    """Median seconds and peak memory of each way, taken in turn; what a way raises, as an error."""
    found, works, failed = {}, {}, []
    for name, way in ways.items():
        try:
            way()  # compiles kernels
            if device.type == "cuda":
                before = reset_peak(device)
                way()
                found[f"{name}_peak_bytes"] = peak(device) - before
            works[name] = way
        except Exception as error:
            failed.append(f"{name}: {said(error)}")
    for name, seconds in interleaved(works, device, rounds).items():
        found[f"{name}_seconds"] = seconds
    return found | ({"error": "; ".join(failed)} if failed else {})


def attempt(row: dict, work: Callable[[], dict]) -> dict:
    """The row with what the work gives, or with its error."""
    try:
        return row | work()
    except Exception as error:
        return row | {"error": said(error)}
    finally:
        if torch.cuda.is_initialized():
            with suppress(RuntimeError):  # after a crash of the device
                torch.cuda.empty_cache()


def said(error: Exception) -> str:
    """Kind and text of an error, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def reset_peak(device: torch.device) -> int:
    """Begin to measure the most memory; the bytes that are taken now."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak(device: torch.device) -> int | None:
    """Most bytes of a GPU's memory since `reset_peak`; None for a processor's."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


@dataclass(frozen=True)
class Part:
    """What gives a part's rows, and the seconds that it may take."""

    rows: Callable[[Size, torch.device], Iterator[dict]]
    limit: float


PARTS = {
    "machine": Part(measure_machine, 60),
    "tests": Part(run_tests, 150),
    **{
        f"layer {number}": Part(lambda size, device, n=number: measure_layer(n, size, device), 90)
        for number in range(1, 5)
    },
    **{
        f"step {precision}": Part(lambda size, device, p=precision: measure_step(p, size, device), 90)
        for precision in PRECISIONS
    },
    "epochs": Part(measure_epochs, 200),
    "paper": Part(plan_paper, 120),
}


def run_here(name: str, device: torch.device, path: Path) -> None:
    """Append a part's rows to a file as they come."""
    with path.open("a") as file:
        for row in PARTS[name].rows(size_for(device), device):
            print(json.dumps(row), file=file, flush=True)


if __name__ == "__main__":
    run_here(sys.argv[1], torch.device(sys.argv[2]), Path(sys.argv[3]))
