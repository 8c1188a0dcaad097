"""The experiments ask for the paper's conditions, and paper.csv holds the paper's numbers, typed here once more."""

import csv
import itertools

import pytest
import yaml

from singtech.places import CONF, EXPERIMENTS
from singtech.results.experiments import read_experiment, read_experiments, read_published

METRICS = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy")
TABLE2 = """
1DCNN plain      0.488 0.584 0.484 0.764 0.863
1DCNN weighted   0.306 0.439 0.352 0.643 0.753
Oblong plain     0.540 0.600 0.597 0.757 0.838
Oblong weighted  0.548 0.590 0.613 0.759 0.852
w/o DC plain     0.404 0.492 0.472 0.686 0.805
w/o DC weighted  0.513 0.554 0.575 0.743 0.858
All (1,2,3,4)    0.553 0.604 0.59  0.799 0.896
Early (1,2)      0.554 0.593 0.598 0.776 0.862
Late (3,4)       0.582 0.623 0.641 0.806 0.894
Last (4)         0.517 0.572 0.607 0.764 0.846
"""
TABLE3 = """
Joint-training   0.559 0.610 0.635 0.774 0.874
cRT-WFC          0.582 0.623 0.641 0.806 0.894
cRT-WC           0.620 0.656 0.655 0.815 0.887
"""


def typed(table):
    lines = [line.rsplit(maxsplit=5) for line in table.strip().splitlines()]
    return {(label, metric): float(v) for label, *values in lines for metric, v in zip(METRICS, values, strict=True)}


def published(artefact):
    with (EXPERIMENTS / "paper.csv").open(newline="") as file:
        return [line for line in csv.DictReader(file) if line["artefact"] == artefact]


@pytest.mark.parametrize(("artefact", "table"), [("table2", TABLE2), ("table3", TABLE3)])
def test_tables_hold_the_printed_numbers(artefact, table):
    assert {(line["label"], line["metric"]): float(line["value"]) for line in published(artefact)} == typed(table)
    assert len(published(artefact)) == len(typed(table))


def test_figure_3_is_known_where_table_3_prints_it():
    found = {(line["label"], line["alpha"], line["metric"]): float(line["value"]) for line in published("figure3")}
    expected = {("Joint-training", 0.559), ("cRT-WFC", 0.582), ("cRT-WC", 0.620)}
    assert found == {(label, "0.2", "f1"): value for label, value in expected}


def test_parameter_counts_are_those_of_section_4_3():
    found = {line["dc"]: float(line["value"]) / 1000 for line in published("table1")}
    assert found == {"none": 337.5, "all": 463.3, "early": 362.2, "late": 438.7, "last": 435.7}


def test_scores_by_technique_are_those_of_section_5_3():
    found = {(line["metric"], line["alpha"]): float(line["value"]) for line in published("techniques")}
    printed = {"inhaled": (0.293, 0.268), "trill": (0.544, 0.495), "straight": (0.69, 0.645), "vibrato": (0.648, 0.623)}
    assert found == {
        (f"f1_{t}", a): v for t, pair in printed.items() for a, v in zip(("0.2", "1.0"), pair, strict=True)
    }


def test_only_the_conditions_that_the_paper_names_count_as_printed():
    basis = {(artefact, line["basis"]) for artefact in ("table2", "table3", "figure3") for line in published(artefact)}
    assert basis == {("table2", "inferred"), ("table3", "printed"), ("figure3", "printed")}


def test_late_of_table_2_and_crt_wfc_of_table_3_are_one_condition_with_the_same_numbers():
    late = [line for line in published("table2") if line["label"] == "Late (3,4)"]
    crt_wfc = [line for line in published("table3") if line["label"] == "cRT-WFC"]
    for line in (*late, *crt_wfc):
        del line["artefact"], line["label"], line["basis"]
    assert late == crt_wfc


def test_every_row_that_is_asked_for_has_its_numbers_under_the_same_condition():
    numbers = {}
    for artefact in ("table2", "table3", "techniques"):
        for line in published(artefact):
            numbers[artefact, line["label"]] = (line["model"], line["dc"], line["strategy"], float(line["alpha"]))
        asked = read_experiment(EXPERIMENTS / f"{artefact}.yaml").conditions
        for row in asked:
            assert numbers[artefact, row.label] == (row.model, row.dc, row.strategy, row.alpha)
    counts = {(line["label"], line["model"], line["dc"]) for line in published("table1")}
    assert counts == {(c.label, c.model, c.dc) for c in read_experiment(EXPERIMENTS / "table1.yaml").conditions}
    figure = read_experiment(EXPERIMENTS / "figure3.yaml")
    in_figure = {(c.label, c.alpha) for c in figure.conditions}
    assert in_figure >= {(line["label"], float(line["alpha"])) for line in published("figure3")}


def test_the_tables_and_the_figure_ask_for_what_the_paper_compares():
    found = {experiment.name: experiment for experiment in read_experiments(EXPERIMENTS)}
    assert [c.label for c in found["table3"].conditions] == [line.split()[0] for line in TABLE3.strip().splitlines()]
    labels = [line.rsplit(maxsplit=5)[0] for line in TABLE2.strip().splitlines()]
    assert [c.label for c in found["table2"].conditions] == labels
    assert found["table2"].references == ("chance", "majority")
    jointly = found["table2_joint"]
    assert ([c.label for c in jointly.conditions], jointly.published) == (labels[4:], "table2")
    assert {c.strategy for c in jointly.conditions} == {"joint"}
    assert [(c.dc, c.alpha) for c in jointly.conditions] == [(c.dc, c.alpha) for c in found["table2"].conditions[4:]]
    assert {c.alpha for c in found["table3"].conditions} == {0.2}
    points = {(c.strategy, c.alpha) for c in found["figure3"].conditions}
    assert points == set(itertools.product(("joint", "crt_wfc", "crt_wc"), (0.0, 0.2, 0.5, 1.0)))
    assert {c.dc for c in found["figure3"].conditions} == {"late"}


def test_experiments_stand_in_the_order_of_the_paper():
    names = [experiment.name for experiment in read_experiments(EXPERIMENTS)]
    of_the_paper = "figure2 table1 table2 late_last table3 figure3 techniques confusion".split()
    assert names == [*of_the_paper, *"choices table2_joint folds verdicts breakdown choose_dc choose_alpha".split()]


def test_sections_5_1_and_5_3_ask_for_the_conditions_that_they_speak_of():
    found = {experiment.name: experiment for experiment in read_experiments(EXPERIMENTS)}
    late_last = found["late_last"]
    assert [(c.dc, c.strategy, c.alpha) for c in late_last.conditions] == [
        ("last", "crt_wfc", 0.2),
        ("late", "crt_wfc", 0.2),
    ]
    assert list(late_last.metrics) == ["recall_lip_trill", "recall_vocal_fry", "recall_*"]
    assert {c.alpha for c in found["techniques"].conditions} == {0.2, 1.0}
    (best,) = found["confusion"].conditions
    assert (best.dc, best.strategy, best.alpha) == ("late", "crt_wc", 0.2)
    assert found["confusion"].techniques == ("vibrato", "trill", "trillo")


def swept(name):
    """Every combination of what an experiment sweeps over, as {group: choice}."""
    params = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
    products = itertools.product(*(value.split(",") for value in params.values()))
    return [dict(zip(params, product, strict=True)) for product in products]


def rows_of(name):
    return yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))["experiment"]["rows"]


def chosen(condition):
    """What a file of conf/condition sets: model, dc, strategy and alpha."""
    given = yaml.safe_load((CONF / "condition" / f"{condition}.yaml").read_text(encoding="utf-8"))
    groups = {name.removeprefix("override /"): value for entry in given["defaults"] for name, value in entry.items()}
    baseline = {"dc": "none", "strategy": "joint"} if "model" in groups else {}
    return {"model": "oblong", **baseline, **groups, "alpha": given["alpha"]}


@pytest.mark.parametrize("name", ["table1", "table2", "late_last", "table3", "confusion", "folds"])
def test_a_sweep_over_conditions_makes_exactly_the_rows_of_its_table(name):
    rows = rows_of(name)
    fold = [{"data.fold": str(k)} for k in range(5)] if name == "folds" else [{}]
    assert swept(name) == [{"condition": row["condition"], **k} for row in rows for k in fold]
    for row in rows:
        assert chosen(row["condition"]) == {key: row[key] for key in ("model", "dc", "strategy", "alpha")}


def test_the_joint_reading_sweeps_the_conditions_of_table_2_with_another_strategy():
    found = [chosen(each["condition"]) | {"strategy": each["strategy"]} for each in swept("table2_joint")]
    assert found == [{key: row[key] for key in ("model", "dc", "strategy", "alpha")} for row in rows_of("table2_joint")]


def test_the_sweep_of_figure_3_makes_exactly_its_points():
    given = yaml.safe_load((EXPERIMENTS / "figure3.yaml").read_text(encoding="utf-8"))
    points = [(each["strategy"], float(each["alpha"])) for each in swept("figure3")]
    assert points == [(series["strategy"], a) for series in given["experiment"]["series"] for a in series["alpha"]]
    assert given["defaults"] == [{"override /dc": "late"}]


def test_the_sweep_of_section_5_3_makes_exactly_its_rows():
    given = yaml.safe_load((EXPERIMENTS / "techniques.yaml").read_text(encoding="utf-8"))
    assert given["defaults"] == [{"override /dc": "late"}, {"override /strategy": "crt_wc"}]
    assert [float(each["alpha"]) for each in swept("techniques")] == [row["alpha"] for row in rows_of("techniques")]


def test_every_choice_has_a_row_that_its_file_says():
    rows = {row["choice"]: row for row in rows_of("choices")}
    assert [each["choice"] for each in swept("choices")] == list(rows)
    assert {path.stem for path in (CONF / "choice").glob("*.yaml")} == set(rows)
    for name, row in rows.items():
        given = yaml.safe_load((CONF / "choice" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert row["alpha"] == given.get("alpha", 0.2)
        assert (row["model"], row["dc"], row["strategy"]) == ("oblong", "late", "crt_wc")


def test_a_choice_is_spelled_as_results_spell_it():
    found = {c.label: c for c in read_experiment(EXPERIMENTS / "choices.yaml").conditions}
    assert (found["default"].variant, found["default"].overrides) == ("", "choice=default")
    assert found["Table 1 to the letter (no hidden layer)"].variant == "model.build.hidden=None"
    assert found["learning rate 1e-3"].variant == "optimizer.lr=0.001"
    assert found["class-balanced sampler for loss weights"].variant == "retraining.sampler=balanced"
    assert found["on, at 1e-5, in train mode, 10 epochs"].variant == (
        "retraining.extractor=train retraining.learning_rate=1e-05 retraining.start=on schedule.classifier=10"
    )
    validation = "data.split.validation=['female3','male2','male6'] selection=best"
    assert found["those held out, the best epoch on them"].variant == validation


def test_every_condition_says_which_number_of_the_paper_it_makes():
    paths = sorted((CONF / "condition").glob("*.yaml"))
    assert {path.stem for path in paths} == {row["condition"] for name in ("table2", "table3") for row in rows_of(name)}
    for path in paths:
        first, second = path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "# @package _global_"
        assert second.startswith("# Table ")
        assert type(chosen(path.stem)["alpha"]) is float


def test_published_numbers_without_alpha_are_found_under_none():
    assert read_published(EXPERIMENTS / "paper.csv")["table1", "Late", None, "parameters"] == 438_700


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment: {title: t, caption: c, header: h, metrics: {f1: F1}}", "needs 'kind'"),
        ("experiment: {kind: table, title: t, caption: c, header: h, metrics: {f1: F1}}", "needs 'rows'"),
        ("experiment: {kind: table, title: t, caption: c, header: h, rows: []}", "needs 'metrics'"),
        ("experiment: {kind: table, rows: [{label: a, model: b, dc: c, strategy: d}]}", "needs 'alpha'"),
        ("experiment: {kind: table, title: t, header: h, metrics: {f1: F1}, rows: []}", "needs 'caption'"),
        ("title: x", "needs 'experiment'"),
        ("just words", "not an experiment"),
        ("a: [", "not an experiment"),
        ("experiment: {kind: table, rows: [{label: a, model: b, dc: c, strategy: d, alpha: x}]}", "could not convert"),
        ("experiment: {kind: pie, TEXT, rows: []}", "kind is 'pie', expected one of table, curve, layers"),
        ("experiment: {kind: curve, TEXT, series: [], metrics: {f1: F1, accuracy: A}}", "draws one metric, here are 2"),
        ("experiment: {kind: confusion, TEXT, rows: []}", "a confusion shows one row, here are 0"),
        ("experiment: {kind: table, TEXT, metrics: {}, rows: [], references: [luck]}", "'luck', expected chance or"),
        ("experiment: {kind: table, TEXT, metrics: {}, rows: [], baseline: late}", "baseline 'late' is no row's label"),
        ("experiment: {kind: table, rows: [{choice: none, ROW}]}", "none.yaml is not there, which choice=none names"),
    ],
)
def test_an_experiment_that_lacks_something_says_what(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    text = text.replace("TEXT", "title: t, caption: c, header: h")
    path.write_text(text.replace("ROW", "label: a, model: b, dc: c, strategy: d, alpha: 0.0"))
    with pytest.raises(ValueError, match=message) as error:
        read_experiment(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_folder_without_experiments_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="installed whole"):
        read_experiments(tmp_path)
