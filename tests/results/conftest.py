"""Runs as training writes them and corpora as preparing writes them, with numbers that the test chooses."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from singtech.corpus.clip_store import Corpus
from singtech.results.collate import collate, read_collated
from singtech.results.rows import write_row
from singtech.techniques import TECHNIQUES

# FACTS of Table 1: layer, channels, output of one clip, parameters plain and deformable, which arrangements deform it.
LAYERS = [
    ("Conv(4×1), MP(4×4)", 32, "32×256×64", 480, 3012, "all early"),
    ("Conv(16×1), MP(4×4)", 64, "64×64×16", 32960, 55112, "all early"),
    ("Conv(1×4), MP(3×3)", 128, "128×21×5", 33152, 36108, "all late"),
    ("Conv(1×16), MP(2×2)", 128, "128×10×2", 262528, 360752, "all late last"),
    ("Global AP", 128, "128", 0, 0, ""),
    ("FC (Softmax)", 10, "10", 8390, 8390, ""),
]


def make_a_row(f1=0.5, **given):
    """A row; each metric is `f1` unless it is given; settings are a dictionary, with a variant there are none."""
    if isinstance(given.get("settings"), dict):
        given["settings"] = json.dumps(given["settings"], sort_keys=True)
    condition = {"data": "vocalset", "fold": "", "model": "oblong", "dc": "late", "strategy": "crt_wc"}
    condition |= {"alpha": 0.2, "seed": 0}
    condition |= {"variant": given["variant"]} if "variant" in given else {"settings": "{}"}
    condition |= {name: given[name] for name in given if name in condition}
    metrics = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy", "auc", "calibration_error")
    row = {"run": re.sub('["{} ]+', "", "-".join(map(str, condition.values())).replace(":", "=")), **condition}
    row |= dict.fromkeys([*metrics, *(f"{m}_{t}" for m in ("f1", "recall", "auc") for t in TECHNIQUES)], f1)
    row["run"] = "earlier-" * ("variant" in given) + row["run"]
    row |= {"parameters": 438690, "epochs": 200, "seconds": 12.5, "clips_train": 3615, "clips_test": 1318}
    row |= {"singers_test": "female2 female8", "device": "cpu", "precision": "32-true", "torch": "2.14.1"}
    row |= {"commit": "0012345", "status": "complete", "data_fingerprint": "f", "corpus_fingerprint": "c"}
    row |= {"rounding": 0, "phases": "a b", "made_by": "0.1.0@0012345 0.1.0@0012345"}
    return row | {"finished": "2026-01-01T00:00:00+00:00"} | given


@pytest.fixture
def make_row():
    """Makes a row, see `make_a_row`."""
    return make_a_row


@pytest.fixture
def run(tmp_path, make_row):
    """Put a run with its row below `tmp_path/runs`; its folder. One with a variant is of an earlier version."""

    def put(f1=0.5, **given):
        row = make_row(f1, **given)
        folder = tmp_path / "runs" / row["run"]
        if "variant" in row:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "row.json").write_text(json.dumps(row), encoding="utf-8")
        else:
            write_row(folder, row)
        return folder

    return put


@pytest.fixture
def put_layers():
    """Put Table 1's layers into a run's folder, deformable as its arrangement says."""

    def put(folder, dc):
        with (folder / "layers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["number", "layer", "channels", "output", "deformable", "parameters"])
            for number, (name, channels, output, plain, deformable, arrangements) in enumerate(LAYERS, 1):
                is_deformable = dc in arrangements.split()
                count = deformable if is_deformable else plain
                writer.writerow([number, name, channels, output, is_deformable, count])

    return put


@pytest.fixture
def put_confusion():
    """Put a confusion matrix (lines of counts) of these techniques into a run's folder."""

    def put(folder, techniques, counts):
        lines = [",".join(["technique", *techniques])]
        lines += [",".join([name, *map(str, line)]) for name, line in zip(techniques, counts, strict=True)]
        (folder / "confusion.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return put


def write_predictions(folder, clips, techniques=TECHNIQUES):
    """Write what a run named each clip (singer, technique, named, context, recording) into its folder: a logit of 1."""
    lines = [",".join(["recording", "singer", "technique", "context", "start", *(f"logit_{t}" for t in techniques)])]
    for number, (singer, technique, named, context, recording) in enumerate(clips):
        path = f"{singer}/{context}/{technique}/{recording}.wav"
        lines.append(",".join([path, singer, technique, context, str(3.0 * number)]))
        lines[-1] += "".join(f",{1.0 if name == named else 0.0}" for name in techniques)
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def put_predictions():
    """Puts predictions into a run's folder, see `write_predictions`."""
    return write_predictions


def make_store(clips, rate=8000, seconds=1.0):
    """The stored clips of those of `write_predictions`, of noise."""
    paths = [f"{singer}/{context}/{technique}/{name}.wav" for singer, technique, _, context, name in clips]
    table = pd.DataFrame({"recording": paths, "start": 3.0 * np.arange(len(clips)), "samples": int(rate * seconds)})
    noise = np.random.default_rng(0).integers(-3000, 3000, (len(clips), int(rate * seconds))).astype("<i2")
    table["digest"] = [row.tobytes().hex()[:32] for row in noise]
    settings = {"name": "vocalset", "sample_rate": rate, "clip_seconds": seconds}
    return Corpus(Path("store"), "", settings, TECHNIQUES, [], [], [], table, noise, pd.DataFrame())


@pytest.fixture
def put_corpus(tmp_path):
    """Put a corpus's lengths, of each technique and split (recordings, minutes, clips); and what tells the corpus."""

    def put(data, lengths, **identity):
        path = tmp_path / "corpora" / f"{data}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["technique", "split", "recordings", "minutes", "clips", *identity])
            writer.writerows([*key, *values, *identity.values()] for key, values in lengths.items())
        return path

    return put


@pytest.fixture
def fits_print():
    """Check that a figure is one or two columns of a paper wide, and that its text, of 7 or 8 points, lies in it."""

    def check(figure):
        figure.draw_without_rendering()
        assert round(25.4 * figure.get_figwidth()) in (85, 178)
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert {text.get_fontsize() for text in texts} <= {7, 8}
        drawn = figure.get_tightbbox()
        assert min(drawn.x0, drawn.y0) >= 0
        assert drawn.x1 <= figure.get_figwidth()
        assert drawn.y1 <= figure.get_figheight()

    return check


@pytest.fixture
def collated(tmp_path):
    """Collate what was put below `tmp_path`, and read it as if it were in `outputs`."""

    def read(folder=tmp_path):
        collate(folder)
        return replace(read_collated(folder), output_dir=Path("outputs"))

    return read
