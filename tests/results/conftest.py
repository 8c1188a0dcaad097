"""Runs as training writes them, with numbers that the test chooses."""

import pytest

from singtech.results.rows import write_row
from singtech.techniques import TECHNIQUES


@pytest.fixture
def make_row():
    """A row; each metric is `f1` unless it is given."""

    def make(f1=0.5, **given):
        condition = {"data": "vocalset", "model": "oblong", "dc": "late", "strategy": "crt_wc", "alpha": 0.2, "seed": 0}
        condition |= {"variant": ""} | {name: given[name] for name in given if name in (*condition, "variant")}
        metrics = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy")
        row = {"run": "-".join(map(str, condition.values())).replace(" ", "_"), **condition}
        row |= dict.fromkeys([*metrics, *(f"f1_{technique}" for technique in TECHNIQUES)], f1)
        row |= {"parameters": 438690, "epochs": 200, "seconds": 12.5, "clips_train": 3615, "clips_test": 1318}
        row |= {"singers_test": "female2 female8", "device": "cpu", "precision": "32-true", "torch": "2.14.1"}
        row |= {"commit": "0012345", "status": "complete", "data_fingerprint": "f", "phases": "a b"}
        return row | {"finished": "2026-01-01T00:00:00+00:00"} | given

    return make


@pytest.fixture
def run(tmp_path, make_row):
    """Put a run with its row below `tmp_path/runs`; its folder."""

    def put(f1=0.5, **given):
        row = make_row(f1, **given)
        folder = tmp_path / "runs" / row["run"]
        write_row(folder, row)
        return folder

    return put
