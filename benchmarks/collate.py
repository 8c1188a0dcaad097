"""How long collating and rendering many runs takes, and in how much memory: `python benchmarks/collate.py [RUNS]`.

It makes that many synthetic runs (10,000 unless told otherwise, and a tenth of them, to see the growth) in a temporary
folder, with noise for scores: several corpora, arrangements, strategies, alphas, seeds and folds; one in fifty is not
complete. Every measurement is a process of its own, three times; the median is told. Seconds depend on the machine.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice, product
from pathlib import Path

ROOT = Path(__file__).parent.parent
TECHNIQUES = "belt breathy inhaled lip_trill spoken straight trill trillo vibrato vocal_fry".split()
SCORES = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy", "auc", "calibration_error")
STRATEGIES, ALPHAS, ARRANGEMENTS = (
    ("joint", "crt_wfc", "crt_wc"),
    (0.0, 0.2, 0.5, 1.0),
    "none all early late last".split(),
)
LAYERS = ("Conv(4×1), MP(4×4)", "Conv(16×1), MP(4×4)", "Conv(1×4), MP(3×3)", "Conv(1×16), MP(2×2)", "Global AP", "FC")
REPEATS = 3
COLLATE = "import sys; from singtech.results.collate import collate; collate(sys.argv[1])"


def main(runs: int) -> None:
    """Measure a tenth of the runs and all of them, and print a line a measurement."""
    print(f"{'runs':>7}  {'what':<28}{'seconds':>9}{'peak MB':>9}", flush=True)
    for number in sorted({max(runs // 10, 1), runs}):
        with tempfile.TemporaryDirectory(prefix="singtech-benchmark-") as name:
            measure(Path(name), number)


def measure(folder: Path, number: int) -> None:
    """Print how long each way to collate takes with this many runs, and rendering everything."""
    more = conditions()
    for condition in islice(more, number):
        write_run(folder, condition)
    write_corpora(folder)
    files = ("results.csv", "layers.csv", "confusions.csv")

    def forget() -> None:
        for path in folder.iterdir():
            if path.name not in ("runs", "corpora"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    collate, render = ["-c", COLLATE, str(folder)], ["-m", "singtech", "tables", f"output_dir={folder}"]
    for what, before, arguments in (
        ("collate from nothing", forget, collate),
        ("collate again", lambda: None, collate),
        ("collate after one new run", lambda: write_run(folder, next(more)), collate),
        ("collate and render all", lambda: None, render),
    ):
        each = []
        for _ in range(REPEATS):
            before()
            each.append(spent(arguments))
        seconds, megabytes = (statistics.median(values) for values in zip(*each, strict=True))
        print(f"{number:>7,}  {what:<28}{seconds:>9.2f}{megabytes:>9.0f}", flush=True)
    sizes = ", ".join(f"{name} {(folder / name).stat().st_size / 1e6:.1f} MB" for name in files)
    print(f"{'':>7}  {sizes}", flush=True)


def spent(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a Python process with these arguments, its start included."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed.")
    return seconds, used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kilobytes on Linux


def conditions() -> Iterator[dict]:
    """Endlessly many conditions with their seeds: 60 arrangements, strategies and alphas, 15 on folds, 17 elsewhere."""
    grid = [("vocalset", "", *each) for each in product(ARRANGEMENTS, STRATEGIES, ALPHAS)]
    grid += [("vocalset", str(fold), "late", strategy, 0.2) for fold in range(5) for strategy in STRATEGIES]
    grid += [("demo", "", "late", *each) for each in product(STRATEGIES, ALPHAS)]
    grid += [("choir", "", dc, "joint", 0.2) for dc in ARRANGEMENTS]
    names = ("data", "fold", "dc", "strategy", "alpha")
    for seed in count():
        for condition in grid:
            yield dict(zip(names, condition, strict=True)) | {"seed": seed}


def write_run(folder: Path, condition: dict) -> None:
    """A run's folder as training leaves it, but for its predictions, with random scores."""
    draw = random.Random(repr(condition))
    data, fold, dc, strategy, alpha, seed = condition.values()
    slug = f"{data}{f'-fold_{fold}' if fold else ''}-oblong-dc_{dc}-{strategy}-alpha_{alpha:g}-seed_{seed}"
    run = folder / "runs" / f"{slug}-{draw.getrandbits(32):08x}"
    run.mkdir(parents=True)
    row = {"run": run.name, "data": data, "fold": fold, "model": "oblong"} | condition | {"settings": "{}"}
    is_complete = draw.random() > 0.02
    row |= {"parameters": 438690, "epochs": 200, "seconds": round(draw.uniform(100, 4000), 3)}
    row |= {"clips_train": 3615, "clips_test": 1318, "singers_test": "female2 female8 male3 male5 male7"}
    row |= {"device": "cpu", "precision": "32-true", "torch": "2.14.1", "commit": f"{draw.getrandbits(28):07x}"}
    row |= {"status": "complete" if is_complete else "failed"}
    row |= {"data_fingerprint": f"{data}{fold}", "corpus_fingerprint": data}
    row |= {"phases": f"{draw.getrandbits(64):016x} {draw.getrandbits(64):016x}"}
    row |= {"finished": f"2026-01-{1 + seed % 28:02}T{draw.randrange(24):02}:{draw.randrange(60):02}:00+00:00"}
    if is_complete:
        row |= {name: draw.random() for name in SCORES}
        row |= {f"{prefix}{name}": draw.random() for prefix in ("f1_", "recall_", "auc_") for name in TECHNIQUES}
        matrix = [[draw.randrange(200) if k == j else draw.randrange(20) for j in range(10)] for k in range(10)]
        lines = [[name, *map(str, counts)] for name, counts in zip(TECHNIQUES, matrix, strict=True)]
        write_lines(run / "confusion.csv", [["technique", *TECHNIQUES], *lines])
        layers = [[str(k), f'"{layer}"', "32", "32×256×64", "True", "480"] for k, layer in enumerate(LAYERS, 1)]
        write_lines(
            run / "layers.csv", [["number", "layer", "channels", "output", "deformable", "parameters"], *layers]
        )
    (run / "row.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def write_corpora(folder: Path) -> None:
    """What the corpora and their folds hold."""
    (folder / "corpora").mkdir()
    header = "technique split recordings minutes clips data_fingerprint corpus_fingerprint settings".split()
    for data, fold in (*product(["vocalset"], ["", *"01234"]), ("demo", ""), ("choir", "")):
        said = [f"{data}{fold}", data, f"data={data}"]
        lines = [[name, split, "100", "15.5", "300", *said] for name in TECHNIQUES for split in ("train", "test")]
        write_lines(folder / "corpora" / f"{data}{f'-fold_{fold}' if fold else ''}.csv", [header, *lines])


def write_lines(path: Path, lines: list[list[str]]) -> None:
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 10_000)
