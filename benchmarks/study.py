"""A made-up study to try tables, figures and the report at its size: `python -m benchmarks.study FOLDER [SEEDS]`.

It writes 17 conditions, Figure 3's twelve and five arrangements of Table 2, with nine seeds each unless told otherwise:
rows, predictions for 200 clips of five singers, confusions and layers, as training leaves them. Skills are drawn once a
condition and once a seed, so that some differences are large and others are not. `singtech report output_dir=FOLDER`
makes its page.
"""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.collate import ALPHAS, LAYERS, STRATEGIES, TECHNIQUES, write_lines
from singtech.results.predictions import PREDICTIONS, read_predictions

DATA, SEEDS = "made-up", 9
SINGERS = ("female2", "female8", "male3", "male5", "male10")
OTHERS = (("none", 0.0), ("none", 0.2), ("all", 0.2), ("early", 0.2), ("last", 0.2))  # Table 2's, with cRT-WFC
CONDITIONS = [("late", *each) for each in product(STRATEGIES, ALPHAS)] + [(dc, "crt_wfc", a) for dc, a in OTHERS]
CLIPS = [(singer, k, n) for singer in SINGERS for k in range(len(TECHNIQUES)) for n in range(4)]
SKILLS = {"none": 0.0, "early": 0.1, "all": 0.2, "last": 0.3, "late": 0.4, "joint": -0.4, "crt_wfc": 0.0, "crt_wc": 0.2}


def write_study(folder: Path, seeds: int = SEEDS, conditions: list[tuple[str, str, float]] = CONDITIONS) -> None:
    """Write the runs of conditions (dc, strategy, alpha) and the lengths of their corpus."""
    draw = np.random.default_rng(0)
    difficulty, ease = draw.normal(0, 1, len(CLIPS)), dict(zip(SINGERS, draw.normal(0, 0.5, len(SINGERS)), strict=True))
    for dc, strategy, alpha in conditions:
        skill = 1.3 + SKILLS[dc] + SKILLS[strategy] - 0.5 * abs(alpha - 0.2) + draw.normal(0, 0.1)
        for seed in range(seeds):
            logits = draw.normal(0, 1, (len(CLIPS), len(TECHNIQUES)))
            for row, (singer, k, _) in enumerate(CLIPS):
                logits[row, k] += skill + draw.normal(0, 0.1) + ease[singer] - 0.8 * difficulty[row]
                logits[row, (k + 1) % len(TECHNIQUES)] += 0.8
            write_run(folder, {"dc": dc, "strategy": strategy, "alpha": alpha, "seed": seed}, logits)
    header = "technique split recordings minutes clips data_fingerprint corpus_fingerprint settings".split()
    lengths = [[name, split, "40", "6.5", "120", DATA, DATA, ""] for name in TECHNIQUES for split in ("train", "test")]
    (folder / "corpora").mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpora" / f"{DATA}.csv", [header, *lengths])


def write_run(folder: Path, setup: dict, logits: np.ndarray) -> None:
    """Write a run's folder: its row, predictions from (clips, techniques) logits, confusions and layers."""
    run = folder / "runs" / "-".join(f"{name}_{value}" for name, value in setup.items())
    run.mkdir(parents=True)
    lines = [["recording", "singer", "technique", "context", "start", *(f"logit_{name}" for name in TECHNIQUES)]]
    for (singer, k, n), row in zip(CLIPS, logits, strict=True):
        recording = f"{singer}/scales/{TECHNIQUES[k]}/{n}.wav"
        lines.append([recording, singer, TECHNIQUES[k], "scales", "0.0", *(f"{value:.3f}" for value in row)])
    write_lines(run / PREDICTIONS, lines)
    predictions = read_predictions(run / PREDICTIONS)
    counts = np.zeros((len(TECHNIQUES),) * 2, dtype=int)
    np.add.at(counts, (predictions.targets, predictions.logits.argmax(axis=1)), 1)
    matrix = [[name, *map(str, row)] for name, row in zip(TECHNIQUES, counts, strict=True)]
    write_lines(run / "confusion.csv", [["technique", *TECHNIQUES], *matrix])
    layers = [[str(k), f'"{layer}"', "32", "32×256×64", "True", "480"] for k, layer in enumerate(LAYERS, 1)]
    write_lines(run / "layers.csv", [["number", "layer", "channels", "output", "deformable", "parameters"], *layers])
    row = {"run": run.name, "data": DATA, "fold": "", "model": "oblong", **setup, "settings": "{}"}
    row |= {"parameters": 438690, "epochs": 200, "seconds": 1234.5, "device": "cpu", "precision": "32-true"}
    row |= {"clips_train": 3615, "clips_test": len(CLIPS), "singers_test": " ".join(SINGERS), "torch": "2.14.1"}
    row |= {"commit": "0012345", "status": "complete", "data_fingerprint": DATA, "corpus_fingerprint": DATA}
    row |= {"rounding": 0, "phases": "", "finished": "2026-01-01T00:00:00+00:00"} | predictions.score()
    (run / "row.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_study(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
