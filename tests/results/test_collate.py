"""results.csv: one row a run, the same bytes from the same runs, types that survive."""

import csv
import threading

import pytest
from filelock import FileLock

from singtech.results.collate import collate, read_results
from singtech.techniques import TECHNIQUES


def header(path):
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_one_row_a_run_sorted_by_condition_and_seed(tmp_path, run):
    for alpha, seed in [(0.5, 0), (0.2, 10), (0.2, 2), (0, 1)]:
        run(alpha=alpha, seed=seed)
    run(data="demo", seed=7)
    frame = collate(tmp_path)
    found = list(zip(frame["data"], frame["alpha"], frame["seed"], strict=True))
    later = [("vocalset", 0.0, 1), ("vocalset", 0.2, 2), ("vocalset", 0.2, 10), ("vocalset", 0.5, 0)]
    assert found == [("demo", 0.2, 7), *later]


def test_columns_stand_in_a_fixed_order(tmp_path, run):
    run(f1_yodel=0.1, f1_growl=0.2, gpu_hours=1.5)
    collate(tmp_path)
    first = "run data model dc strategy alpha seed variant f1 accuracy balanced_accuracy top2_accuracy top3_accuracy"
    last = (
        "parameters epochs seconds clips_train clips_test singers_test device precision torch commit status "
        "data_fingerprint phases finished"
    )
    techniques = [f"f1_{technique}" for technique in TECHNIQUES]
    expected = [*first.split(), *techniques, "f1_growl", "f1_yodel", *last.split(), "gpu_hours"]
    assert header(tmp_path / "results.csv") == expected


def test_collating_again_changes_no_byte_and_does_not_write(tmp_path, run):
    run(1 / 3, seed=1)
    run(2 / 3, seed=0)
    collate(tmp_path)
    path = tmp_path / "results.csv"
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    collate(tmp_path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, written)


def test_the_order_in_which_runs_end_leaves_no_trace(tmp_path, make_row):
    from singtech.results.rows import write_row

    rows = [make_row(0.1 * seed, seed=seed, alpha=alpha) for seed in range(3) for alpha in (0, 0.2, 1.0)]
    for name, ordered in (("one", rows), ("two", rows[::-1])):
        for row in ordered:
            write_row(tmp_path / name / "runs" / row["run"], row)
        collate(tmp_path / name)
    assert (tmp_path / "one" / "results.csv").read_bytes() == (tmp_path / "two" / "results.csv").read_bytes()


def test_types_survive_the_file(tmp_path, run):
    run(0.1 + 0.2, alpha=0, commit="1e10", variant="", f1_trillo=None, dc="none")
    frame = collate(tmp_path)
    row = frame.iloc[0]
    assert (row["alpha"], row["f1"], row["seed"]) == (0.0, 0.1 + 0.2, 0)
    assert (row["commit"], row["variant"], row["dc"]) == ("1e10", "", "none")
    assert row["f1_trillo"] != row["f1_trillo"]  # nan
    assert (frame["alpha"].dtype, frame["seed"].dtype) == ("float64", "int64")
    assert ",0.0,0,," in (tmp_path / "results.csv").read_text()


def test_a_removed_run_leaves_the_file(tmp_path, run):
    run(seed=0)
    (run(seed=1) / "row.json").unlink()
    run(seed=2)
    assert collate(tmp_path)["seed"].tolist() == [0, 2]


def test_a_file_brought_without_its_runs_is_kept(tmp_path, run):
    run(0.25)
    collate(tmp_path)
    brought = tmp_path / "laptop"
    brought.mkdir()
    (tmp_path / "results.csv").rename(brought / "results.csv")
    assert collate(brought)["f1"].tolist() == [0.25]
    (brought / "runs").mkdir()
    assert collate(brought)["f1"].tolist() == [0.25]


def test_where_nothing_was_run_there_is_nothing_and_no_file(tmp_path):
    assert len(collate(tmp_path / "absent")) == 0
    assert list(tmp_path.iterdir()) == []


def test_collating_waits_for_another(tmp_path, run):
    run()
    thread = threading.Thread(target=collate, args=[tmp_path])
    with FileLock(tmp_path / ".results.csv.lock"):
        thread.start()
        thread.join(0.2)
        assert not (tmp_path / "results.csv").exists()
    thread.join(20)
    assert (tmp_path / "results.csv").exists()


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(FileNotFoundError, match=r"results\.csv: no results yet\. Make some with `make demo`"):
        read_results(path)
    for text in ("", "run,data\na,b\n", 'run,"data\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"results\.csv is damaged .* remove it and run `make tables`"):
            read_results(path)


def test_a_file_cut_short_says_what_to_do(tmp_path, run):
    run()
    collate(tmp_path)
    path = tmp_path / "results.csv"
    path.write_text(path.read_text().replace(",0.5,", ",half,", 1))
    with pytest.raises(ValueError, match="damaged .*half"):
        read_results(path)
