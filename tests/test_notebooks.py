"""The notebooks run from top to bottom on results.csv alone, and come to its numbers."""

import json
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "figure3.ipynb"


def run(path):
    """What the code cells of a notebook leave behind, run one after the other."""
    left = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), left)
    return left


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder beside outputs/results.csv: two seeds of cRT-WC at two alphas, and rows that must not count."""
    rows = [
        {"seed": seed, "alpha": alpha, "f1": 0.5 + 0.1 * seed + alpha, "strategy": "crt_wc"}
        for seed in (0, 1)
        for alpha in (0.0, 0.2)
    ]
    rows += [{"f1": 0.0, "settings": '{"batch_size": 8}'}, {"f1": 0.0, "fold": "0"}, {"f1": None, "status": "failed"}]
    usual = {"data": "demo", "model": "oblong", "dc": "late", "strategy": "joint", "alpha": 0.2, "seed": 0}
    usual |= {"settings": "{}", "fold": "", "status": "complete"}
    frame = pd.DataFrame([usual | row for row in rows])
    for metric in ("accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy"):
        frame[metric] = frame["f1"]
    (tmp_path / "outputs").mkdir()
    frame.to_csv(tmp_path / "outputs" / "results.csv", index=False)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(before)


def test_figure_3_is_remade_from_the_rows_that_count(place):
    left = run(NOTEBOOK)
    assert left["points"]["mean"].to_dict() == pytest.approx({("crt_wc", 0.0): 0.55, ("crt_wc", 0.2): 0.75})
    assert left["points"]["std"].to_list() == pytest.approx([0.1 / 2**0.5] * 2)
    assert left["table3"].loc["cRT-WC", "accuracy"] == pytest.approx(0.75)
    assert "not VocalSet" in left["axes"].get_title()
    drawn = left["axes"].containers[0].lines[0].get_ydata()
    assert list(drawn) == pytest.approx([0.55, 0.75])


def test_notebooks_are_kept_without_their_outputs():
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
