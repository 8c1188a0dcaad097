"""Any system's predictions are scored like a run's; what does not fit the clips is named, with an example."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from singtech.cli.tables import main as tables
from singtech.errors import Conflict, InvalidValue
from singtech.results.collate import collate
from singtech.results.experiments import find_experiment
from singtech.results.packing import merge, pack
from singtech.results.predictions import read_predictions
from singtech.results.rows import write_row
from singtech.results.scored import Protocol, read_system, store_system

NEEDS_PROBABILITIES = ("top2_accuracy", "top3_accuracy", "auc", "calibration_error")


@pytest.fixture
def protocol():
    """Two training clips, and twelve test clips of three singers: two of each of two techniques by each."""
    rows = [("ann/scales/belt/a", 0.0, "belt", "ann", "scales", "train"), ("ann/b", 0.0, "trill", "ann", "", "train")]
    for singer in ("ben", "cid", "dot"):
        for technique in ("belt", "trill"):
            for start in (0.0, 3.0):
                rows.append((f"{singer}/scales/{technique}/x", start, technique, singer, "scales", "test"))
    clips = pd.DataFrame(rows, columns=["recording", "start", "technique", "singer", "context", "subset"])
    return Protocol("vocalset", "", ("belt", "trill"), clips, {}, {})


@pytest.fixture
def labels(protocol):
    """The predictions of a system that names one clip of each singer wrong, as a frame."""
    named = protocol.test["technique"].tolist()
    named[0] = named[4] = named[8] = "trill"
    return protocol.test[["recording", "start"]].assign(technique=named)


@pytest.fixture
def file(tmp_path):
    """Write a frame as a CSV; its path."""

    def write(frame, name="system.csv"):
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def test_labels_score_as_scikit_learn_scores_them(protocol, labels, file):
    predictions, note = read_system(file(labels), protocol)
    scores, true = predictions.score(), protocol.test["technique"]
    assert scores["accuracy"] == accuracy_score(true, labels["technique"]) == 0.75
    assert scores["f1"] == pytest.approx(f1_score(true, labels["technique"], average="macro"))
    assert all(math.isnan(scores[name]) for name in (*NEEDS_PROBABILITIES, "auc_belt"))
    assert note == ""


def test_order_and_suffixes_of_rows_and_columns_of_others_do_not_count(protocol, labels, file):
    plain, _ = read_system(file(labels), protocol)
    other = labels.assign(recording=labels["recording"] + ".wav", remark="x")[::-1]
    shuffled, _ = read_system(file(other), protocol)
    assert np.array_equal(plain.logits, shuffled.logits)


def test_clips_that_do_not_test_do_not_count(protocol, labels, file):
    more = pd.concat([labels, protocol.clips[protocol.clips["subset"] == "train"][labels.columns]])
    predictions, note = read_system(file(more), protocol)
    assert len(predictions.clips) == 12
    assert note == "2 rows do not count: their clips are not test clips."


def test_probabilities_and_logits_score_alike_and_above_labels_have_ranks(protocol, file):
    logits = np.random.default_rng(0).normal(size=(12, 2))
    odds = np.exp(logits)
    shares = odds / odds.sum(axis=1, keepdims=True)
    names = protocol.test[["recording", "start"]]
    frames = [
        names.assign(logit_trill=logits[:, 1], logit_belt=logits[:, 0]),
        names.assign(probability_trill=shares[:, 1], probability_belt=shares[:, 0]),
    ]
    of_logits, of_probabilities = (read_system(file(frame), protocol)[0].score() for frame in frames)
    assert of_logits == pytest.approx(of_probabilities, abs=1e-6)
    assert of_logits["top2_accuracy"] == 1


def test_with_logits_the_true_technique_may_stand_beside_them(protocol, file):
    frame = protocol.test.assign(logit_belt=1.0, logit_trill=0.0)
    assert read_system(file(frame), protocol)[0].score()["accuracy"] == 0.5


def test_labels_that_are_all_true_are_remarked(protocol, file):
    _, note = read_system(file(protocol.test), protocol)
    assert note == "Every label is the true one: `technique` must be what the system named."


def test_missing_doubled_and_foreign_clips_are_one_sentence(protocol, labels, file):
    wrong = pd.concat([labels[2:], labels[10:], labels[:1].assign(recording="eve/x"), labels[:1].assign(start=9.0)])
    with pytest.raises(InvalidValue) as refused:
        read_system(file(wrong), protocol)
    assert str(refused.value).split("system.csv ")[1] == (
        "does not fit the 12 test clips of vocalset: 2 missing, such as ben/scales/belt/x at 0 s; 2 doubled, such as "
        "dot/scales/trill/x at 0 s; 2 foreign, such as eve/x at 0 s. `singtech protocol` lists the clips."
    )


LOGITS = {"logit_belt": 1.0, "logit_trill": 0.0}
WRONG = [
    ({"technique": "tril"}, "the technique is unknown in 12 of 12 rows, such as 'tril' of ben/scales/belt/x at 0 s"),
    (LOGITS | {"logit_belt": "loud"}, "a logit is not a finite number in 12 of 12 rows, such as 'loud' of ben"),
    (LOGITS | {"logit_trill": "nan"}, "a logit is not a finite number in 12 of 12 rows, such as 'nan' of ben"),
    (LOGITS | {"logit_trill": "inf"}, "a logit is not a finite number"),
    (LOGITS | {"logit_trill": "1e39"}, "a logit is not a finite number"),  # beyond float32
    (LOGITS | {"logit_hum": 0.0}, "it has the unknown column logit_hum. The techniques are belt, trill."),
    ({"logit_belt": 1.0}, "it lacks logit_trill."),
    (LOGITS | {"probability_belt": 1.0}, "found both probability_… and logit_…; keep one of them."),
    ({}, "expected a column technique, or probability_… or logit_… for every technique, found neither."),
    ({"probability_belt": 0.5, "probability_trill": 0.4}, "do not sum to 1 in 12 of 12 rows, such as 0.9 of ben"),
    ({"probability_belt": 1.5, "probability_trill": -0.5}, "a probability is below 0 in 12 of 12 rows, such as -0.5"),
    ({"technique": "belt", "start": "early"}, "start is not a number of seconds in 12 of 12 rows, such as 'early'"),
]


@pytest.mark.parametrize(("columns", "sentence"), WRONG)
def test_impossible_values_are_named(protocol, file, columns, sentence):
    frame = protocol.test[["recording", "start"]].assign(**columns)
    with pytest.raises(InvalidValue) as refused:
        read_system(file(frame), protocol)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"recording;start;technique\na;0;belt\n", b"\xff\xfe", b"a,b\n1,2,3\n4,5,6,7\n"]
)
def test_a_file_that_is_no_such_table_is_a_sentence(protocol, tmp_path, content):
    (tmp_path / "system.csv").write_bytes(content)
    with pytest.raises(InvalidValue, match="expected the columns recording|expected UTF-8|it is no CSV"):
        read_system(tmp_path / "system.csv", protocol)


def test_the_same_predictions_change_nothing_and_others_are_refused(protocol, labels, file, tmp_path):
    def score(frame, **options):
        predictions, _ = read_system(file(frame), protocol)
        return store_system("A b", 1, predictions, protocol, tmp_path, {"command": "c"}, **options)

    row, is_new = score(labels)
    folder = tmp_path / "runs" / row["run"]
    assert is_new
    assert row["run"].startswith("vocalset-A_b-scored-seed_1-")
    assert (row["model"], row["strategy"], row["alpha"], row["made_by"]) == ("A b", "scored", None, "A b")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert score(labels[::-1]) == (row, False)
    with pytest.raises(Conflict, match="has other predictions: give this system another name=…, or another seed=…"):
        score(labels.assign(technique="belt"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    replaced, is_new = score(labels.assign(technique="belt"), is_replacing=True)
    assert (replaced["run"], replaced["accuracy"], is_new) == (row["run"], 0.5, True)


@pytest.mark.parametrize("name", ["row.json", "predictions.csv"])
def test_a_damaged_file_is_named_and_the_run_is_scored_again(protocol, labels, file, tmp_path, name, caplog):
    predictions, _ = read_system(file(labels), protocol)
    row, _ = store_system("a", 0, predictions, protocol, tmp_path, {})
    path = tmp_path / "runs" / row["run"] / name
    path.write_bytes(path.read_bytes() + b"\xff")
    again, is_new = store_system("a", 0, predictions, protocol, tmp_path, {})
    assert (again["f1"], is_new) == (row["f1"], True)
    assert f"{path} is damaged (" in caplog.text
    assert list((tmp_path / "runs").glob(".*.damaged-*"))


@pytest.mark.parametrize("name", ["a/b", "..", "", "a" * 81, "a\nb"])
def test_a_name_that_no_folder_can_have_is_refused(protocol, labels, file, tmp_path, name):
    predictions, _ = read_system(file(labels), protocol)
    with pytest.raises(InvalidValue, match="expected up to 80 letters"):
        store_system(name, 0, predictions, protocol, tmp_path, {})


def test_stored_labels_are_read_as_labels(protocol, labels, file, tmp_path):
    predictions, _ = read_system(file(labels), protocol)
    row, _ = store_system("a", 0, predictions, protocol, tmp_path, {})
    path = tmp_path / "runs" / row["run"] / "predictions.csv"
    assert path.read_text().splitlines()[:2] == [
        "recording,singer,technique,context,start,label_belt,label_trill",
        "ben/scales/belt/x,ben,belt,scales,0.0,0.0,1.0",
    ]
    stored = read_predictions(path)
    assert stored.has_labels_only
    assert stored.probabilities[:2].tolist() == [[0, 1], [1, 0]]


@pytest.fixture
def scored(protocol, labels, file, tmp_path):
    """Two systems below `tmp_path`: Late, with labels, and Other, with logits and two seeds."""
    predictions, _ = read_system(file(labels), protocol)
    store_system("Late", 0, predictions, protocol, tmp_path, {})
    for seed in (0, 1):
        logits = protocol.test.assign(logit_belt=np.arange(12.0) - 5 - seed, logit_trill=0.0)
        predictions, _ = read_system(file(logits), protocol)
        store_system("Other", seed, predictions, protocol, tmp_path, {})
    return tmp_path


def lines(folder, page):
    """The cells of each line of a page's tables that has a name."""
    text = (folder / "tables/vocalset" / f"{page}.md").read_text()
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0]], text


@pytest.mark.usefixtures("undrawn")
def test_every_table_has_the_systems_as_a_last_group(scored, run, monkeypatch, capsys):
    experiments = [find_experiment(name) for name in ("table3", "table2", "ablations", "late_last", "verdicts")]
    monkeypatch.setattr("singtech.cli.tables.read_experiments", lambda: experiments)
    run(0.6, singers_test="ben cid dot", clips_test=12)
    assert tables([f"output_dir={scored}"]) == 0
    for page, columns in (("table3", 5), ("table2", 5), ("ablations", 5)):
        rows, text = lines(scored, page)
        names = [row[0] for row in rows]
        at = names.index("Scored systems")
        assert names[at + 1 : at + 3] == ["Late", "Other"]
        late, other = rows[at + 1], rows[at + 2]
        assert late[1:6] == ["scored", "1", "0.733", "0.750", "0.750"]  # F1: (2 * 3 / 9 + 2 * 6 / 15) / 2
        assert late[6 : 3 + columns] == ["—", "—"]  # top-2 and top-3 need ranks
        assert other[1:3] == ["scored", "2"]
        assert "Scored systems were trained elsewhere" in text
    assert "| Late, scored |" in " ".join(lines(scored, "late_last")[1].split())  # a column of its transposed table
    assert "Scored systems" not in (scored / "tables/vocalset/verdicts.md").read_text()


@pytest.mark.usefixtures("table3_alone")
def test_a_label_that_a_row_has_already_is_told_apart(scored, protocol, labels, file, run, capsys):
    predictions, _ = read_system(file(labels), protocol)
    store_system("Late, cRT-WC", 0, predictions, protocol, scored, {})
    run(0.6, singers_test="ben cid dot", clips_test=12)
    assert tables([f"output_dir={scored}"]) == 0
    rows, _ = lines(scored, "table3")
    assert [row[0] for row in rows][-4:] == ["Scored systems", "Late", "Late, cRT-WC (scored)", "Other"]


@pytest.mark.usefixtures("table3_alone")
@pytest.mark.parametrize("given", [{"clips_test": 13}, {"singers_test": "ben cid eve"}])
def test_systems_on_other_test_clips_than_the_runs_are_not_beside_them(scored, run, capsys, given):
    run(0.6, **{"singers_test": "ben cid dot", "clips_test": 12} | given)
    assert tables([f"output_dir={scored}"]) == 0
    assert "Scored systems" not in lines(scored, "table3")[1]


@pytest.mark.usefixtures("table3_alone")
def test_systems_alone_have_tables_and_are_packed_and_merged(scored, capsys):
    assert pack(scored, scored / "all.zip") == (3, 0)
    assert merge(scored / "all.zip", scored / "theirs") == (3, 0)
    assert tables([f"output_dir={scored / 'theirs'}"]) == 0
    names = [row[0] for row in lines(scored / "theirs", "table3")[0]]
    assert names[-3:] == ["Scored systems", "Late", "Other"]


def test_results_csv_has_no_alpha_of_a_system_and_is_read_again(scored):
    collated = collate(scored)
    late = collated.results[collated.results["model"] == "Late"].iloc[0]
    assert (late["condition"], late["strategy"]) == ("Late", "scored")
    assert math.isnan(late["alpha"])
    assert math.isnan(late["auc"])
    read = pd.read_csv(scored / "results.csv").set_index("model")
    assert read.loc["Late", "accuracy"] == 0.75
    assert collated.confusions["clips"].sum() == 36


def test_a_row_of_a_network_still_needs_its_alpha(tmp_path, make_row):
    with pytest.raises(ValueError, match="it has no alpha"):
        write_row(tmp_path / "x", make_row(0.5, alpha=None))
    assert json.loads(write_row(tmp_path / "x", make_row(0.5, alpha=None, strategy="scored")).read_text())["f1"] == 0.5
