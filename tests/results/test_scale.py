"""Ten thousand runs: the same bytes whatever happened before, a bounded cost, and unfinished runs count nowhere."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from benchmarks.collate import conditions, write_run
from singtech.cli.tables import render
from singtech.results import collate as collating
from singtech.results.collate import Collated, collate, read_collated, rebuild, rebuild_if_due
from singtech.results.experiments import read_experiments
from singtech.results.rows import write_row
from singtech.results.summaries import answer

FILES = ("results.csv", "layers.csv", "confusions.csv")
DOCUMENTED = ["data", "model", "dc", "strategy", "alpha", "settings", "fold", "seed", "run"]
COUNTING = """
import json, sys, tracemalloc
import pandas
opened, listed = [], []
def note(event, arguments):
    if event == "open" and str(arguments[0]).startswith(sys.argv[1]):
        opened.append((str(arguments[0]), arguments[1]))
    elif event in ("os.scandir", "os.listdir"):
        listed.append(str(arguments[0]))
from singtech.results.collate import rebuild
sys.addaudithook(note)
tracemalloc.start()
rebuild(sys.argv[1])
print(json.dumps({"opened": opened, "listed": listed, "peak": tracemalloc.get_traced_memory()[1]}))
"""


def contents(folder):
    return [(folder / name).read_bytes() for name in FILES]


def from_nothing(folder, elsewhere, seed=0):
    """The collated files of the same runs, copied elsewhere in another order, where nothing was collated before."""
    shutil.rmtree(elsewhere, ignore_errors=True)
    (elsewhere / "runs").mkdir(parents=True)
    runs = sorted((folder / "runs").iterdir())
    for run in random.Random(seed).sample(runs, len(runs)):
        shutil.copytree(run, elsewhere / "runs" / run.name)
    rebuild(elsewhere)
    return contents(elsewhere)


@pytest.fixture
def some_runs(tmp_path):
    """Put the benchmark's first runs into a folder below `tmp_path`, in an order of their own."""

    def put(name, number, seed=0):
        asked = list(islice(conditions(), number))
        for condition in random.Random(seed).sample(asked, number):
            write_run(tmp_path / name, condition)
        return tmp_path / name

    return put


def test_the_order_in_which_folders_were_made_or_come_leaves_no_trace(some_runs, monkeypatch):
    one, two = some_runs("one", 120, seed=1), some_runs("two", 120, seed=2)
    assert collate(one).results.equals(collate(two).results)
    assert contents(one) == contents(two)
    read_rows = collating.read_rows
    monkeypatch.setattr(collating, "read_rows", lambda runs: random.Random(3).sample(read_rows(runs), 120))
    rebuild(two)
    assert contents(one) == contents(two)


def test_two_processes_at_once_leave_the_bytes_of_one_and_no_reader_sees_half(some_runs, tmp_path):
    folder = some_runs("both", 60)
    expected = from_nothing(folder, tmp_path / "alone")
    loop = (
        "import sys; from pathlib import Path; from singtech.results.collate import rebuild\n"
        "for _ in range(6):\n    rebuild(sys.argv[1]); Path(sys.argv[1], 'results.csv').unlink(missing_ok=True)\n"
        "rebuild(sys.argv[1])"
    )
    both = [subprocess.Popen([sys.executable, "-c", loop, str(folder)], stderr=subprocess.PIPE) for _ in range(2)]
    seen = set()
    while any(process.poll() is None for process in both):
        time.sleep(0.0005)  # leaves them the processor, and looks hundreds of times nevertheless
        try:
            seen.add((folder / "results.csv").read_bytes())
        except FileNotFoundError:
            continue
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert contents(folder) == expected
    assert seen == {expected[0]}


def test_an_older_view_never_comes_last(tmp_path, run, monkeypatch):
    run(seed=0)
    reading, may_go_on = threading.Event(), threading.Event()
    read_rows = collating.read_rows

    def slow(runs):
        rows = read_rows(runs)
        if not reading.is_set():  # the first to come is slow, and has seen one run only
            reading.set()
            may_go_on.wait(20)
        return rows

    monkeypatch.setattr(collating, "read_rows", slow)
    first = threading.Thread(target=rebuild, args=[tmp_path])
    first.start()
    reading.wait(20)
    run(seed=1)
    second = threading.Thread(target=rebuild, args=[tmp_path])
    second.start()
    second.join(0.3)
    may_go_on.set()
    first.join(20)
    second.join(20)
    assert read_collated(tmp_path).results["seed"].tolist() == [0, 1]


def test_results_are_sorted_by_condition_then_fold_seed_and_run(tmp_path):
    for condition in islice(conditions(), 1100):
        if condition["seed"] in (2, 10):
            write_run(tmp_path, condition)
    results = collate(tmp_path).results
    assert results[DOCUMENTED].equals(results[DOCUMENTED].sort_values(DOCUMENTED, ignore_index=True))
    assert results["seed"].tolist()[:2] == [2, 10]  # as numbers, not as text


happenings = some.lists(
    some.tuples(
        some.sampled_from(["put", "put", "put", "fail", "remove", "set aside", "restore"]),
        some.integers(0, 2),
        some.booleans(),
    ),
    min_size=3,
    max_size=12,
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(happenings, some.integers(0, 99))
@example([("put", 0, True), ("put", 0, False)], 0)  # as many bytes as before
@example([("put", 0, False), ("put", 1, True), ("remove", 1, False)], 0)  # the last line goes
def test_whatever_happened_to_the_runs_the_files_are_those_of_a_collation_from_nothing(
    tmp_path_factory, happened, seed
):
    """Runs come, change into as many bytes of the same time, fail, vanish and are restored with their old times."""
    folder = tmp_path_factory.mktemp("history")
    aside = folder / "aside"
    aside.mkdir()
    write_run(folder, next(conditions()))  # where there is none at all, files are kept as they are
    for step, (what, number, is_collated) in enumerate(happened):
        condition = {"data": "zoo", "fold": "", "dc": "late", "strategy": "joint", "alpha": 0.2, "seed": number}
        path = folder / "runs" / f"run_{number}"
        row = {"run": path.name, "model": "oblong", "settings": "{}", "status": "complete"} | condition
        if what == "put":
            path.mkdir(exist_ok=True)
            put_row(path, row | {"f1": (step + 11) / 100})
            (path / "confusion.csv").write_text(f"technique,trill,belt\ntrill,{step + 10},0\nbelt,2,3\n")
            os.utime(path / "row.json", ns=(0, 0))
        elif what == "fail" and path.exists():
            put_row(path, row | {"status": "failed"})
        elif what == "remove":
            shutil.rmtree(path, ignore_errors=True)
        elif what == "set aside" and path.exists():
            shutil.rmtree(aside / path.name, ignore_errors=True)
            shutil.copytree(path, aside / path.name)  # which keeps the times
        elif what == "restore" and (aside / path.name).exists():
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(aside / path.name, path)
        if is_collated:
            rebuild(folder)
    rebuild(folder)
    assert contents(folder) == from_nothing(folder, folder / "elsewhere", seed)
    shutil.rmtree(folder)


def put_row(folder, row):
    """A row as it is written, but without waiting for the disk."""
    (folder / "row.json").write_text(json.dumps(row, indent=1) + "\n")


def test_each_file_is_opened_once_and_memory_stays_far_from_a_gigabyte(some_runs):
    number = 300
    folder = some_runs("many", number)

    def counted():
        command = [sys.executable, "-c", COUNTING, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return json.loads(done.stdout)

    first = counted()
    with (folder / "layers.csv").open(newline="") as file:
        networks = {tuple(line[:4]) for line in csv.reader(file)} - {("data", "model", "dc", "settings")}
    for found in (first, counted()):
        of_runs = [Path(path) for path, _ in found["opened"] if "/runs/" in path]
        counts = {name: sum(path.name == name for path in of_runs) for name in ("row.json", "confusion.csv")}
        assert counts == {"row.json": number, "confusion.csv": number}
        assert len(of_runs) <= 2 * number + 2 * len(networks)
        assert sum(path.endswith("/runs") for path in found["listed"]) == 1
        assert found["peak"] / number * 10_000 < 900e6
    written = [path for path, mode in found["opened"] if mode and set(mode) & set("wax+")]
    assert not written  # the second time nothing had changed


def test_a_tables_runs_are_asked_for_the_state_of_their_corpus_once(some_runs, monkeypatch):
    folder = some_runs("state", 300)
    collate(folder)
    there = read_collated(folder)
    asked = []
    state = Collated.state
    monkeypatch.setattr(Collated, "state", lambda self, *place: asked.append(place) or state(self, *place))
    folds = next(experiment for experiment in read_experiments() if experiment.name == "folds")
    assert len(answer(folds, there, "vocalset").runs)
    assert sorted(asked) == [("vocalset", str(fold)) for fold in range(5)]


def test_a_sweep_of_ten_thousand_runs_spends_a_twentieth_of_its_time_on_collating(tmp_path, monkeypatch):
    now, rebuilt = [0.0], []

    def slower_with_every_run(_):
        seconds = 0.0003 * number
        now[0] += seconds
        rebuilt.append(seconds)

    monkeypatch.setattr(collating.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(collating, "rebuild", slower_with_every_run)
    for number in range(1, 10_001):
        now[0] += 2.0  # a run
        assert rebuild_if_due(tmp_path) or number > 100  # few runs are collated after each
    assert sum(rebuilt) < 0.05 * now[0]
    assert len(rebuilt) > 200  # what is read meanwhile is at most a minute old
    rebuild_if_due(tmp_path / "elsewhere")
    assert not rebuild_if_due(tmp_path)


STATES = ("running", "interrupted", "failed")


def test_runs_that_are_not_complete_stand_in_the_results_and_count_in_no_table_or_figure(
    tmp_path, make_row, run, put_layers, put_confusion, put_corpus, undrawn
):
    put_corpus("vocalset", {("trill", "train"): (1, 1.5, 9), ("trill", "test"): (1, 0.5, 4)})
    for seed in (0, 1):
        for strategy in ("joint", "crt_wfc", "crt_wc"):
            folder = run(0.5 + 0.1 * seed, seed=seed, strategy=strategy, run=f"{strategy}_{seed}")
            put_layers(folder, "late")
            put_confusion(folder, ("vibrato", "trill"), [[3, 1], [0, 4]])
    for fold in range(5):
        run(0.4, fold=str(fold), data_fingerprint=str(fold))
    render(tmp_path)
    before = numbers(tmp_path)
    for k, status in enumerate(STATES):
        for seed in (0, 7):  # beside a complete run and alone; as training leaves it, and as if it had been scored
            row = make_row(0.99, seed=seed, run=f"{status}_{seed}", status=status, finished="2027-01-01")
            row["f1_yodel"] = 0.99
            if seed:
                row = {name: value for name, value in row.items() if not name.startswith(("f1", "recall", "finished"))}
                row = {name: value for name, value in row.items() if "accuracy" not in name}
                row["data_fingerprint"] = "newer"
            folder = tmp_path / "runs" / row["run"]
            write_row(folder, row)
            put_layers(folder, "all")
            put_confusion(folder, ("vibrato", "trill"), [[0, 9], [9, 0]])
        run(0.99, fold=str(k), run=f"{status}_fold", status=status, data_fingerprint="newer", finished="2027-01-01")
        run(0.99, settings={"schedule.features": 1}, run=f"{status}_settings", status=status, finished="2027-01-01")
    render(tmp_path)
    counts = collate(tmp_path).results["status"].value_counts().to_dict()
    assert counts == {"complete": 11, "failed": 4, "interrupted": 8}  # nobody works on those that say they are running
    assert numbers(tmp_path) == before
    page = (tmp_path / "tables" / "vocalset" / "table3.md").read_text()
    assert "Runs left out: 6 not complete." in page


def numbers(folder):
    """Of every table and figure its CSV."""
    return {path.name: path.read_bytes() for path in (folder / "tables" / "vocalset").glob("*.csv")}


def test_where_no_run_is_complete_every_page_says_so(tmp_path, make_row, undrawn):
    row = {name: value for name, value in make_row(status="running").items() if "accuracy" not in name}
    row = {name: value for name, value in row.items() if not name.startswith(("f1", "recall"))}
    write_row(tmp_path / "runs" / row["run"], row)
    render(tmp_path)
    page = (tmp_path / "tables" / "vocalset" / "table3.md").read_text()
    assert "Runs left out: 1 not complete." in page
    assert "| ours" in page
