"""results.csv: one row a run, the same bytes from the same runs, types that survive."""

import csv
import errno
import functools
import json
import math
import os
import re
import shutil
import threading

import pandas as pd
import pytest

from singtech import metrics
from singtech.config_paths import HOME
from singtech.errors import Damaged, Newer
from singtech.io.lock import hold
from singtech.results import collate as collating
from singtech.results.collate import collate, read_collated, read_results
from singtech.results.packing import pack
from singtech.results.predictions import read_predictions
from singtech.results.rows import digests, read_row, write_row
from singtech.results.schema import SCHEMA
from singtech.techniques import TECHNIQUES
from singtech.training.inventory import check, survey


def header(path):
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_one_row_a_run_sorted_by_condition_and_seed(tmp_path, run):
    run(alpha=0.2, seed=0, fold="1")
    for alpha, seed in [(0.5, 0), (0.2, 10), (0.2, 2), (0, 1)]:
        run(alpha=alpha, seed=seed)
    run(data="demo", seed=7)
    frame = collate(tmp_path).results
    found = list(zip(frame["data"], frame["alpha"], frame["seed"], strict=True))
    later = [(0.0, 1), (0.2, 2), (0.2, 10), (0.2, 0), (0.5, 0)]
    assert found == [("demo", 0.2, 7), *(("vocalset", *each) for each in later)]
    assert frame["fold"].tolist() == ["", "", "", "", "1", ""]


def test_columns_stand_in_a_fixed_order(tmp_path, run):
    run(f1_yodel=0.1, f1_growl=0.2, recall_growl=0.3, gpu_hours=1.5)
    collate(tmp_path)
    first = (
        "run condition data fold model dc strategy alpha seed rounding settings "
        "f1 accuracy balanced_accuracy top2_accuracy top3_accuracy auc calibration_error"
    )
    last = (
        "validation_f1 head_gap parameters epochs seconds seconds_shared clips_train training_counts clips_test "
        "singers_test device threads precision torch commit status reason protocol data_fingerprint "
        "corpus_fingerprint recipe phases made_by finished versions command variant schema"
    )
    f1 = [*(f"f1_{technique}" for technique in TECHNIQUES), "f1_growl", "f1_yodel"]
    recall = [*(f"recall_{technique}" for technique in TECHNIQUES), "recall_growl"]
    auc = [f"auc_{technique}" for technique in TECHNIQUES]
    expected = [*first.split(), *f1, *recall, *auc, *last.split(), "gpu_hours"]
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
    rows = [make_row(0.1 * seed, seed=seed, alpha=alpha) for seed in range(3) for alpha in (0, 0.2, 1.0)]
    for name, ordered in (("one", rows), ("two", rows[::-1])):
        for row in ordered:
            write_row(tmp_path / name / "runs" / row["run"], row)
        collate(tmp_path / name)
    assert (tmp_path / "one" / "results.csv").read_bytes() == (tmp_path / "two" / "results.csv").read_bytes()


def test_types_survive_the_file(tmp_path, run):
    run(0.1 + 0.2, alpha=0, commit="1e10", f1_trillo=None, dc="none")
    frame = collate(tmp_path).results
    row = frame.iloc[0]
    assert (row["alpha"], row["f1"], row["seed"]) == (0.0, 0.1 + 0.2, 0)
    assert (row["commit"], row["settings"], row["dc"]) == ("1e10", "{}", "none")
    assert row["f1_trillo"] != row["f1_trillo"]  # nan
    assert (frame["alpha"].dtype, frame["seed"].dtype) == ("float64", "int64")
    assert ",0.0,0,0,{}," in (tmp_path / "results.csv").read_text()


def test_a_removed_run_leaves_the_file(tmp_path, run):
    run(seed=0)
    (run(seed=1) / "row.json").unlink()
    run(seed=2)
    assert collate(tmp_path).results["seed"].tolist() == [0, 2]


def test_a_file_brought_without_its_runs_is_kept(tmp_path, run):
    run(0.25)
    collate(tmp_path)
    brought = tmp_path / "laptop"
    brought.mkdir()
    (tmp_path / "results.csv").rename(brought / "results.csv")
    assert collate(brought).results["f1"].tolist() == [0.25]
    (brought / "runs").mkdir()
    assert collate(brought).results["f1"].tolist() == [0.25]


def test_rows_whose_runs_are_not_here_are_kept_and_told_once(tmp_path, run, caplog):
    for seed in range(3):
        run(seed=seed)
    collate(tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in ("results.csv", "layers.csv", "confusions.csv")}
    for seed in range(2):  # of a copy that stopped half way; or a colleague's results.csv, and one run here
        shutil.rmtree(run(seed=seed))
    for _ in range(2):
        assert collate(tmp_path).results["seed"].tolist() == [2]
    (record,) = caplog.records
    said = rf"results\.csv had 2 rows of runs that are not in \S+/runs: it is kept in {tmp_path / 'before-1'};"
    assert re.search(said, record.getMessage())
    run(seed=3)
    collate(tmp_path)
    shutil.rmtree(run(seed=3))
    collate(tmp_path)
    assert [len(pd.read_csv(tmp_path / f"before-{number}" / "results.csv")) for number in (1, 2)] == [3, 2]
    assert {path.name: path.read_bytes() for path in (tmp_path / "before-1").iterdir()} == whole
    assert len(read_results(tmp_path / "before-1")) == 3


def test_a_file_that_cannot_be_read_is_set_aside_before_another_is_written(tmp_path, run, caplog):
    run()
    (tmp_path / "results.csv").write_text("run;data\na;b\n")
    collate(tmp_path)
    assert "(its fields are separated by semicolons, expected commas)" in caplog.text
    assert "The file is set aside as .results.csv.damaged-1." in caplog.text
    assert (tmp_path / ".results.csv.damaged-1").read_text() == "run;data\na;b\n"
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1


def test_where_nothing_was_run_there_is_nothing_and_no_file(tmp_path):
    assert len(collate(tmp_path / "absent").results) == 0
    assert list(tmp_path.iterdir()) == []


def test_collating_waits_for_another(tmp_path, run):
    run()
    thread = threading.Thread(target=collate, args=[tmp_path])
    with hold(tmp_path / "results.csv", "results are being collated"):
        thread.start()
        thread.join(0.2)
        assert not (tmp_path / "results.csv").exists()
    thread.join(20)
    assert (tmp_path / "results.csv").exists()


def test_half_a_collated_file_that_a_killed_process_left_is_cleared_away(tmp_path, run):
    run()
    (tmp_path / ".results.csv.x1y2z3.tmp").write_text("run,")
    collate(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(FileNotFoundError, match=r"results\.csv: no results yet\. Make some with `make demo`"):
        read_results(tmp_path)
    for text in ("", "run,data\na,b\n", 'run,"data\n'):
        path.write_text(text)
        with pytest.raises(Damaged, match=r"results\.csv is damaged .*copy it again from where it was made"):
            read_results(tmp_path)


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding", "said"),
    [
        (";", ".", "utf-8", "separated by semicolons, expected commas"),
        (";", ",", "utf-8-sig", "separated by semicolons, expected commas"),
        ("\t", ".", "utf-8", "separated by tabs, expected commas"),
        ("\t", ",", "utf-16", "it is UTF-16, as some spreadsheets write, expected UTF-8"),
        (",", ".", "utf-16-be", "can't decode|no column|damaged"),
    ],
)
def test_a_file_that_a_spreadsheet_saved_otherwise_is_named_so(brought, separator, decimal, encoding, said):
    text = brought.read_text().replace(",", separator).replace(".", decimal)
    brought.write_bytes(text.encode(encoding))
    with pytest.raises(Damaged, match=rf"results\.csv is damaged \(.*({said}).*; copy it again from where it was made"):
        read_results(brought.parent)


def test_a_byte_order_mark_is_no_damage(brought):
    before = read_results(brought.parent)
    brought.write_bytes(brought.read_text().encode("utf-8-sig"))
    assert read_results(brought.parent).equals(before)


@pytest.fixture
def brought(tmp_path, run):
    """results.csv of one run, without the run."""
    run()
    collate(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    return tmp_path / "results.csv"


def test_a_file_cut_short_says_what_to_do(brought):
    brought.write_text(brought.read_text().replace(",0.5,", ",half,", 1))
    with pytest.raises(Damaged, match="damaged .*half"):
        read_results(brought.parent)


@pytest.mark.parametrize(
    ("said", "forged", "why"),
    [
        (b"\nvocalset-", b"\nx,vocalset-", "its lines have more fields than names"),
        (b",2026-01-01T00:00:00+00:00,,,,1\n", b"\n", "''"),
        (b",oblong,", b",obl\xffng,", "'utf-8' codec can't decode byte 0xff"),
        (b",vocalset,", b",../elsewhere,", "data is '../elsewhere', expected a name that a folder can have"),
        (b",0.2,0,", b",0.2,0.5,", "int64"),
        (b",0.5,0.5,", b",0.5,7.3,", "accuracy is 7.3, expected a number between 0 and 1"),
        (b",0.5,0.5,", b",inf,0.5,", "f1 is inf, expected a number between 0 and 1"),
    ],
)
def test_a_file_that_says_what_cannot_be_says_why(said, forged, why, brought):
    assert said in brought.read_bytes()
    brought.write_bytes(brought.read_bytes().replace(said, forged, 1))
    with pytest.raises(Damaged, match=rf"results\.csv is damaged \(.*{re.escape(why)}.*copy it again"):
        read_results(brought.parent)


def test_a_run_that_a_file_has_twice_is_named(brought):
    brought.write_text(brought.read_text() + brought.read_text().splitlines()[1] + "\n")
    with pytest.raises(Damaged, match="it has the run vocalset--oblong-late-crt_wc-0.2-0- twice"):
        read_results(brought.parent)


def test_a_file_of_schema_0_has_no_folds_conditions_and_shared_seconds(brought):
    whole = read_results(brought.parent)
    names = ["fold", "condition", "seconds_shared", "protocol", "schema", "variant"]
    pd.read_csv(brought).drop(columns=names).to_csv(brought, index=False)
    (row,) = read_results(brought.parent).to_dict("records")
    assert list(row) == list(whole)
    assert [row[name] for name in ("fold", "condition", "protocol", "schema")] == ["", "late_crt_wc", "", 0]
    assert math.isnan(row["seconds_shared"])


def test_the_frame_of_runs_is_the_frame_of_their_files(tmp_path, run, put_layers, put_confusion):
    folder = run(gpu_hours=1.5, reason='a, "b"\nc', f1_trillo=None)
    put_layers(folder, "late")
    put_confusion(folder, ("trill", "trillo"), [[5, 0], [2, 3]])
    run(variant="old", seed=-1, parameters=None)
    run(settings={"schedule": "demo", "optimizer.lr": 0.001}, alpha=1 / 3, fold="2", data="choir")
    of_runs = collate(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    of_files = read_collated(tmp_path)
    for name in ("results", "layers", "confusions"):
        pd.testing.assert_frame_equal(getattr(of_runs, name), getattr(of_files, name))


def test_a_plain_groupby_by_condition_mixes_no_schedules_folds_settings_or_corpora(tmp_path, run):
    for seed in (0, 1):
        run(0.6 + 0.1 * seed, seed=seed)
        run(0.9, seed=seed, alpha=0.5)
    run(0.1, settings={"schedule": "smoke"})
    run(0.2, settings={"model.hidden": None, "schedule": "demo"})
    run(0.3, fold="2")
    run(0.4, data="demo")
    run(0.5, variant="schedule.features=1")
    run(0.6, dc="none", model="mine", strategy="joint", settings={"loss": "focal", "loss.gamma": 2.0})
    results = read_results(tmp_path)
    means = results.groupby("condition")["f1"].mean().round(9).to_dict()
    assert means == {
        "late_crt_wc": 0.65,
        "late_crt_wc@0.5": 0.9,
        "late_crt_wc schedule=smoke": 0.1,
        "late_crt_wc+no_hidden schedule=demo": 0.2,
        "late_crt_wc data.fold=2": 0.3,
        "late_crt_wc data=demo": 0.4,
        "late_crt_wc (stored by an earlier version, schedule.features=1)": 0.5,
        "model=mine dc=none strategy=joint alpha=0.2 loss=focal loss.gamma=2.0": 0.6,
    }
    of = results.set_index("condition")["differences"]
    assert of["late_crt_wc data=demo"] == {}
    assert of["late_crt_wc+no_hidden schedule=demo"] == {"model.hidden": None, "schedule": "demo"}
    assert repr(of[next(name for name in of.index if "focal" in name)]) == "{'loss': 'focal', 'loss.gamma': 2.0}"


def test_a_plain_groupby_mixes_no_states_of_a_corpus_or_of_the_code(tmp_path, run):
    """Other test singers, techniques or recordings, and another file of one's own, under one condition's settings."""
    for seed, (f1, data_fingerprint) in enumerate([(0.1, "f"), (0.3, "f"), (0.5, "g")]):
        run(f1, seed=seed, data_fingerprint=data_fingerprint)
    run(0.6, fold="1", data_fingerprint="h")
    for seed, recipe in enumerate("aab"):
        run(0.7 + 0.1 * seed, seed=seed, alpha=0.5, recipe=recipe)
    means = read_results(tmp_path).groupby("condition")["f1"].mean().round(9).to_dict()
    assert means == {
        "late_crt_wc data_fingerprint=f": 0.2,
        "late_crt_wc data_fingerprint=g": 0.5,
        "late_crt_wc data.fold=1": 0.6,
        "late_crt_wc@0.5 recipe=a": 0.75,
        "late_crt_wc@0.5 recipe=b": 0.9,
    }


def test_the_documented_line_of_pandas_gives_the_rows_of_table_3(tmp_path, run):
    for k, strategy in enumerate(("joint", "crt_wfc", "crt_wc")):
        run(0.1 * k, strategy=strategy, seed=0)
        run(0.1 * k + 0.2, strategy=strategy, seed=1)
        run(0.9, strategy=strategy, settings={"schedule": "smoke"})
    text = (HOME / "docs/how-to/results.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^table3 = .*$", text, re.M)
    names = {"results": read_results(tmp_path)}
    exec(line, names)
    assert names["table3"]["f1"].round(9).to_dict() == {"late_joint": 0.1, "late": 0.2, "late_crt_wc": 0.3}


def test_a_row_of_a_newer_version_is_left_alone_and_named(tmp_path, run, caplog):
    run(seed=0)
    path = run(seed=1) / "row.json"
    newer = json.loads(path.read_text()) | {"schema": SCHEMA + 1, "scores": [1, 2]}
    path.write_text(json.dumps(newer))
    assert collate(tmp_path).results["seed"].tolist() == [0]
    assert f"{path.parent.name}/row.json has schema {SCHEMA + 1}, this version of singtech reads" in caplog.text
    assert json.loads(path.read_text()) == newer
    check(tmp_path)
    assert json.loads(path.read_text()) == newer


def test_a_results_file_of_a_newer_version_is_never_overwritten(tmp_path, brought, run, caplog):
    text = re.sub(rf",{SCHEMA}$", f",{SCHEMA + 1}", brought.read_text(), flags=re.M)
    brought.write_text(text)
    with pytest.raises(Newer, match=rf"results\.csv has schema {SCHEMA + 1}, this version"):
        read_results(tmp_path)
    run(seed=5)
    assert collate(tmp_path).results["seed"].tolist() == [5]
    assert brought.read_text() == text
    assert "is left as it is" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("f1_trill", 0.9), ("alpha", 0.5), ("phases", '"fedcba9876543210"')])
def test_a_changed_row_is_left_out_and_named(tmp_path, run, name, value, caplog):
    run(seed=1)
    path = run(seed=0, f1_trill=0.25, phases="0123456789abcdef") / "row.json"
    path.write_text(re.sub(f'"{name}": [^,]+', f'"{name}": {value}', path.read_text()))
    assert collate(tmp_path).results["seed"].tolist() == [1]
    assert f"{path.parent.name}/row.json is damaged (it has changed since it was written)" in caplog.text
    assert f"{path} is damaged (it has changed since it was written); set aside" in check(tmp_path)[1][0]


def test_changed_counts_are_taken_from_the_predictions(tmp_path, run, put_predictions, put_confusion, caplog):
    folder = run(0.0)
    put_predictions(folder, [("ann", "trill", "trill", "scales", 0), ("ben", "belt", "trill", "scales", 1)])
    predictions = read_predictions(folder / "predictions.csv")
    put_confusion(folder, TECHNIQUES, metrics.count_confusions(predictions.targets, predictions.logits).tolist())
    row = read_row(folder) | metrics.score_clips(predictions.targets, predictions.logits, TECHNIQUES)
    write_row(folder, row | {"files": digests(folder, ("predictions.csv", "confusion.csv"))})
    whole = collate(tmp_path)
    assert (check(tmp_path)[1], caplog.text) == ([], "")
    (folder / "confusion.csv").write_text((folder / "confusion.csv").read_text().replace(",1", ",77", 1))
    assert collate(tmp_path).confusions.equals(whole.confusions)
    (folder / "predictions.csv").unlink()
    assert not len(collate(tmp_path).confusions)
    assert "confusion.csv is damaged (it has changed since the run ended). The run is left out" in caplog.text


def test_changed_predictions_are_named(run, put_predictions):
    folder = run()
    put_predictions(folder, [("ann", "trill", "trill", "scales", 0)])
    write_row(folder, read_row(folder) | {"files": digests(folder, ["predictions.csv"])})
    put_predictions(folder, [("ann", "trill", "belt", "scales", 0)])
    with pytest.raises(Damaged, match=r"predictions\.csv is damaged \(it has changed since the run ended\)"):
        read_predictions(folder / "predictions.csv")


def test_a_read_only_folder_is_read_as_it_is_now(tmp_path, run, monkeypatch):
    run(seed=0)
    collate(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    run(seed=1)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(collating, "hold", refuse)
    assert collate(tmp_path).results["seed"].tolist() == [0, 1]
    assert read_results(tmp_path)["seed"].tolist() == [0, 1]
    assert len(sorted(tmp_path.rglob("*"))) == len(before) + 2


def test_layers_are_those_of_the_newest_complete_run_of_each_network(tmp_path, run, put_layers, collated):
    put_layers(run(dc="late", seed=0, finished="2026-01-01"), "none")
    put_layers(run(dc="late", seed=1, finished="2026-02-01"), "late")
    put_layers(run(dc="late", seed=2, finished="2026-03-01", status="failed"), "all")
    run(dc="late", seed=3, finished="2026-04-01")  # from before runs wrote their layers
    put_layers(run(dc="early"), "early")
    put_layers(run(dc="late", settings={"model.hidden": None}), "late")
    layers = collated().layers
    networks = layers[["data", "model", "dc", "settings"]].drop_duplicates().itertuples(index=False)
    assert [tuple(network) for network in networks] == [
        ("vocalset", "oblong", "early", "{}"),
        ("vocalset", "oblong", "late", '{"model.hidden": null}'),
        ("vocalset", "oblong", "late", "{}"),
    ]
    late = layers[(layers["dc"] == "late") & (layers["settings"] == "{}")]
    assert late["number"].tolist() == [1, 2, 3, 4, 5, 6]
    assert late["deformable"].tolist() == ["False", "False", "True", "True", "False", "False"]
    assert late["parameters"].tolist() == [480, 32960, 36108, 360752, 0, 8390]
    assert late["layer"].iloc[0] == "Conv(4×1), MP(4×4)"


def test_confusions_are_long_and_without_zeros(tmp_path, run, put_confusion, collated):
    put_confusion(run(seed=1), ("trill", "trillo"), [[5, 0], [2, 3]])
    put_confusion(run(seed=0), ("trill", "trillo"), [[4, 1], [0, 5]])
    run(seed=2)
    rows = collated().confusions.itertuples(index=False)
    name = "vocalset--oblong-late-crt_wc-0.2-{}-".format
    assert [tuple(row) for row in rows] == [
        (name(0), "trill", "trill", 4),
        (name(0), "trill", "trillo", 1),
        (name(0), "trillo", "trillo", 5),
        (name(1), "trill", "trill", 5),
        (name(1), "trillo", "trill", 2),
        (name(1), "trillo", "trillo", 3),
    ]


def test_layers_and_confusions_brought_without_their_runs_are_kept(tmp_path, run, put_layers, put_confusion, collated):
    folder = run()
    put_layers(folder, "late")
    put_confusion(folder, ("trill",), [[5]])
    collated()
    brought = tmp_path / "laptop"
    brought.mkdir()
    for name in ("results.csv", "layers.csv", "confusions.csv"):
        (tmp_path / name).rename(brought / name)
    there = collated(brought)
    assert (len(there.results), len(there.layers), len(there.confusions)) == (1, 6, 1)


def test_corpora_are_those_prepared_and_those_with_runs_and_no_folds(run, put_corpus, collated):
    run(data="choir")
    put_corpus("demo", {("trill", "test"): (2, 0.25, 5)})
    put_corpus("demo-fold_3", {("trill", "test"): (1, 0.1, 2)})
    there = collated()
    assert there.corpora == ["choir", "demo"]
    (line,) = there.lengths_by_technique("demo").to_dict("records")
    assert [line[name] for name in ("technique", "split", "recordings", "minutes", "clips")] == [
        *("trill", "test", 2, 0.25, 5)
    ]
    assert len(there.lengths_by_technique("choir")) == 0


def test_a_corpus_and_each_fold_say_their_state_and_how_a_command_names_them(put_corpus, collated):
    lengths = {("trill", "train"): (2, 0.25, 5), ("trill", "test"): (2, 0.25, 5)}
    choir = "data=folder data.name=choir 'data.split.test=[dot,ann]'"
    put_corpus("choir", lengths, corpus_fingerprint="0012", data_fingerprint="1e10", settings=choir)
    put_corpus("choir-fold_3", lengths, corpus_fingerprint="0012", data_fingerprint="7", settings="data=folder")
    put_corpus("demo-fold_3", lengths, corpus_fingerprint="5", data_fingerprint="6", settings="data=demo")
    put_corpus("vocalset", lengths)  # from before corpora said it
    there = collated()
    assert (there.state("choir"), there.state("choir", "3")) == (("0012", "1e10"), ("0012", "7"))
    assert (there.state("choir", "2"), there.state("vocalset"), there.state("none")) == (None, None, None)
    assert (there.settings("choir"), there.settings("choir", folds=5)) == (choir, choir)
    assert (there.settings("demo"), there.settings("demo", folds=5)) == ("", "data=demo")
    assert there.settings("vocalset") == ""


def test_a_damaged_list_of_clips_says_how_to_make_it_anew(tmp_path, put_corpus):
    put_corpus("demo", {("trill", "test"): ("two", 0.25, 5)})
    with pytest.raises(ValueError, match=r"demo\.csv is damaged .*two.*run `singtech prepare`"):
        read_collated(tmp_path)


def test_nothing_collated_is_nothing_to_read(tmp_path):
    there = read_collated(tmp_path / "absent")
    assert (there.corpora, len(there.results), len(there.layers), len(there.confusions)) == ([], 0, 0, 0)


def test_a_hidden_file_beside_the_corpora_is_left_out(tmp_path, run, put_corpus):
    run()
    put_corpus("choir", {("trill", "train"): (1, 1.5, 9)})
    (tmp_path / "corpora" / "._choir.csv").write_bytes(b"\x00\x05\x16\x07")  # as macOS writes
    assert list(read_collated(tmp_path).lengths) == ["choir"]


def test_runs_that_may_not_be_read_are_no_reason_to_take_the_file(tmp_path, run, monkeypatch):
    run()
    collate(tmp_path)

    def refuse(path, listing):
        if str(path) == str(tmp_path / "runs"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, functools.partial(refuse, listing=getattr(os, name)))
    for read in (read_results, collate, lambda folder: pack(folder, folder / "packed.zip"), survey):
        with pytest.raises(PermissionError, match="runs"):
            read(tmp_path)
