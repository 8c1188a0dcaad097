"""A training step, its batch included: what `singtech.run` does beside the straightforward way, each in a process.

Ours is `train_phase` as a run calls it, and its epochs' own seconds; between two of them the straightforward way trains
some steps in its process, so that they take turns but neither has the other's settings of torch and the allocator.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.corpus import prepared, write_recordings
from benchmarks.counts import ARRANGEMENTS, step
from benchmarks.machine import SETTINGS, Machine, cores
from benchmarks.report import Measurement, Target
from benchmarks.straightforward import Clip, serve
from singtech.cli.plan import compose_runs
from singtech.corpus.clip_store import Corpus
from singtech.models.network import oblong_network, parameter_count
from singtech.run import build_machine, build_run
from singtech.training.fit import Run, Task, train_phase

TARGETS = {"late": 4, "all": 5}  # times the straightforward way's speed, two cores
FLOORS = 2  # times the floor, a GPU, Late
CLIPS = 3615  # the paper's training clips


@dataclass(frozen=True)
class Size:
    """How much is trained: clips there are, clips a batch, steps of a turn, turns."""

    clips: int
    batch: int
    steps: int
    turns: int


def measure(machine: Machine) -> Iterator[Measurement]:
    """None, Late and All; on a GPU in both precisions.

    On a GPU it is the paper's batch and number of clips, on a processor a few clips: their time is theirs alone.
    """
    is_gpu = machine.device.type == "cuda"
    size = Size(CLIPS, 64, 2 * cores(), 2) if is_gpu else Size(30, 4, 2, 2)
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        folder = Path(name)
        write_recordings(folder / "recordings", -(-size.clips // 3))
        corpus = prepared(folder / "recordings", folder / "data")
        for precision in ("float32", "bf16") if is_gpu else ("float32",):
            for dc in ARRANGEMENTS:
                yield _said(dc, *of_network(dc, corpus, folder, size, machine, precision), size, machine, precision)


def of_network(
    dc: str, corpus: Corpus, folder: Path, size: Size, machine: Machine, precision: str
) -> tuple[float, float]:
    """Median seconds of a step, ours and the straightforward way's."""
    beside: list[float] = []
    options = (clips_of(corpus), ARRANGEMENTS[dc], size.batch, cores(), str(machine.device))
    with elsewhere(*options) as seconds_a_step:

        def watch() -> None:
            if len(beside) < size.turns:
                beside.append(seconds_a_step(size.steps))

        run, place = run_for(dc, corpus, size, machine, precision)
        work = Path(tempfile.mkdtemp(dir=folder))
        task = Task(run, 0, (), corpus, work, place, require_lease=watch)  # called after every epoch
        seconds = [entry["seconds"] for entry in train_phase(task).curve]
    return median(seconds[1:]) / batches(corpus, size), median(beside)


def run_for(dc: str, corpus: Corpus, size: Size, machine: Machine, precision: str) -> tuple[Run, object]:
    """A run of a warm-up epoch and as many as there are turns; and the machine as `singtech.run` has it."""
    settings = [f"dc={dc}", f"batch_size={size.batch}", f"schedule.features={size.turns + 1}"]
    if machine.device.type == "cpu":
        settings.append(f"schedule.max_batches={size.steps}")
    settings += [f"precision={SETTINGS[precision]}", "trainer.progress=false"]
    settings.append(f"trainer.accelerator={'gpu' if machine.device.type == 'cuda' else 'cpu'}")
    (run,) = (
        (build_run(cfg, corpus), build_machine(cfg))
        for _, cfg in compose_runs(["table3"], ["condition=late_crt_wc", *settings])
    )
    return run


def batches(corpus: Corpus, size: Size) -> int:
    """Steps of one of our epochs."""
    there = -(-len(corpus.rows("train")) // size.batch)
    return there if size.clips == CLIPS else min(there, size.steps)


def clips_of(corpus: Corpus) -> list[Clip]:
    """The training clips, where they lie in the recordings."""
    rows = corpus.clips.iloc[corpus.rows("train")]
    root = corpus.folder.parent.parent / "recordings"
    targets = corpus.targets("train").tolist()
    return [
        Clip(root / f"{clip.recording}.wav", clip.start, target)
        for clip, target in zip(rows.itertuples(), targets, strict=True)
    ]


@contextmanager
def elsewhere(*options) -> Iterator[Callable[[int], float]]:
    """The straightforward way in a process of its own: seconds of a step, of so many."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve, args=(there, *options))
    process.start()
    there.close()

    def seconds_a_step(steps: int) -> float:
        here.send(steps)
        return here.recv()

    try:
        yield seconds_a_step
        here.send(None)
        process.join()
    finally:
        here.close()
        process.kill()
        process.join()


def _said(dc: str, ours: float, beside: float, size: Size, machine: Machine, precision: str) -> Measurement:
    """The step; on a GPU also Late's distance from the floor, where the target is another."""
    parameters = parameter_count(oblong_network(132_300, 10, {}, 0, dc=ARRANGEMENTS[dc]))
    count = step(ARRANGEMENTS[dc], size.batch, parameters, 2 if precision == "bf16" else 4)
    target = Target("ratio", TARGETS[dc]) if dc in TARGETS else None
    if machine.device.type == "cuda":
        target = Target("times_floor", FLOORS) if dc == "late" else None
    said = f"{dc}, {precision}, batch {size.batch}"
    return Measurement("step", said, ours, beside, "s", count, precision, target)
