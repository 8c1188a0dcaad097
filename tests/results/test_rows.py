"""A run's row: what is written is read again, and what is damaged is named and left out."""

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest

from singtech.results.collate import read_results
from singtech.results.rows import read_rows, write_row


def test_a_row_is_read_as_it_was_written(tmp_path, run, make_row):
    run(0.61, seed=3, alpha=0.5)
    (row,) = read_rows(tmp_path / "runs")
    assert {name: row[name] for name in row if name not in ("schema", "digest")} == make_row(0.61, seed=3, alpha=0.5)


def test_a_row_from_before_perturbed_runs_is_intact_and_counts_as_unperturbed(tmp_path, run):
    path = run(0.61) / "row.json"
    row = json.loads(path.read_text())
    del row["rounding"], row["digest"]
    digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]
    path.write_text(json.dumps(row | {"digest": digest}))
    assert list(read_results(tmp_path)["rounding"]) == [0]


def test_numbers_of_numpy_and_a_technique_without_clips_become_plain_json(tmp_path, make_row):
    path = write_row(tmp_path, make_row(np.float32(0.5), seed=np.int64(2), f1_trillo=float("nan")))
    row = json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN is not JSON
    assert (row["f1"], row["seed"], row["f1_trillo"]) == (0.5, 2, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": None}, "it has no alpha"),
        ({"alpha": "0.2"}, "alpha holds '0.2', expected a number"),
        ({"seed": 0.5}, "seed holds 0.5, expected a number"),
        ({"seed": True}, "seed holds True"),
        ({"f1": "good"}, "f1 holds 'good'"),
        ({"dc": 4}, "dc holds 4, expected text"),
        ({"fold": 4}, "fold holds 4, expected text"),
        ({"recall_belt": "all"}, "recall_belt holds 'all', expected a number"),
        ({"phases": ["a", "b"]}, "expected text"),
        ({"settings": "loss=focal"}, "settings hold 'loss=focal', expected a JSON object"),
        ({"settings": "[1]"}, "expected a JSON object"),
        ({"settings": ""}, "expected a JSON object"),
        ({"data": "../elsewhere"}, "expected a name that a folder can have"),
        ({"run": "../elsewhere"}, "expected a name that a folder can have"),
    ],
)
def test_an_unusable_row_is_not_written(tmp_path, make_row, given, message):
    with pytest.raises(ValueError, match=message):
        write_row(tmp_path, make_row(**given))
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_names_no_fold_is_of_the_corpus_s_own_split(tmp_path, make_row):
    row = make_row()
    del row["fold"]
    (tmp_path / row["run"]).mkdir()
    (tmp_path / row["run"] / "row.json").write_text(json.dumps(row))
    assert read_rows(tmp_path) == [make_row() | {"schema": 0}]
    assert json.loads(write_row(tmp_path / "newer", row).read_text())["fold"] == ""


def test_no_runs_are_no_rows(tmp_path):
    assert read_rows(tmp_path / "runs") == []


def test_runs_still_being_made_are_passed_over_in_silence(tmp_path, run, caplog):
    run()
    (tmp_path / "runs" / "unfinished").mkdir()
    run(seed=1).rename(tmp_path / "runs" / ".being-written.tmp")
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    assert len(read_rows(tmp_path / "runs")) == 1
    assert caplog.records == []


def test_damaged_rows_are_left_out_and_named_in_one_line(tmp_path, run, make_row, caplog):
    whole = run()
    damaged = {
        "half": (whole / "row.json").read_text()[:100],
        "empty": "",
        "list": "[1]",
        "bytes": b"\xff\xfe",
        "other": json.dumps({"run": "x"}),
        "changed": (whole / "row.json").read_text().replace('"alpha": 0.2', '"alpha": 0.5'),
    }
    for name, content in damaged.items():
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "row.json").write_bytes(content if name == "bytes" else content.encode())
    with caplog.at_level(logging.WARNING):
        assert [row["run"] for row in read_rows(tmp_path / "runs")] == [make_row()["run"]]
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "6 unusable rows left out" in record.getMessage()
    assert all(f"{name}/row.json is damaged (" in record.getMessage() for name in sorted(damaged)[:5])
    assert "changed/row.json is damaged (it has changed since it was written); " in record.getMessage()
    assert record.getMessage().endswith(" and 1 more")


@pytest.mark.parametrize("name", ["a copy", "zcopy"])
def test_a_copied_run_does_not_count_twice_and_a_renamed_one_not_without_its_files(tmp_path, run, caplog, name):
    folder = run()
    shutil.copytree(folder, tmp_path / "runs" / name)
    assert len(read_rows(tmp_path / "runs")) == 1
    assert (
        f"{name}/row.json is the row of the run {folder.name}: rename the folder back, or remove this copy"
        in caplog.text
    )
    shutil.rmtree(folder)
    assert read_rows(tmp_path / "runs") == []
