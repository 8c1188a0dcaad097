"""The experiments ask for the paper's conditions, and paper.csv holds the paper's numbers, typed here once more."""

import csv
import itertools

import pytest
import yaml

from singtech.config_paths import CONF, EXPERIMENTS
from singtech.results.experiments import read_experiment, read_experiments, read_paper_numbers

METRICS = ("f1", "accuracy", "balanced_accuracy", "top2_accuracy", "top3_accuracy")
TABLE2 = """
cnn1d_plain      0.488 0.584 0.484 0.764 0.863
cnn1d_weighted   0.306 0.439 0.352 0.643 0.753
forest_plain     0.540 0.600 0.597 0.757 0.838
forest_weighted  0.548 0.590 0.613 0.759 0.852
none_plain       0.404 0.492 0.472 0.686 0.805
none_weighted    0.513 0.554 0.575 0.743 0.858
all              0.553 0.604 0.59  0.799 0.896
early            0.554 0.593 0.598 0.776 0.862
late             0.582 0.623 0.641 0.806 0.894
last             0.517 0.572 0.607 0.764 0.846
"""
TABLE3 = """
late_joint       0.559 0.610 0.635 0.774 0.874
late             0.582 0.623 0.641 0.806 0.894
late_crt_wc      0.620 0.656 0.655 0.815 0.887
"""


def typed(table):
    lines = [line.rsplit(maxsplit=5) for line in table.strip().splitlines()]
    return {(name, metric): float(v) for name, *values in lines for metric, v in zip(METRICS, values, strict=True)}


def published(artefact):
    with (EXPERIMENTS / "paper.csv").open(newline="") as file:
        return [line for line in csv.DictReader(file) if line["artefact"] == artefact]


@pytest.mark.parametrize(("artefact", "table"), [("table2", TABLE2), ("table3", TABLE3)])
def test_tables_hold_the_printed_numbers(artefact, table):
    assert {(line["condition"], line["metric"]): float(line["value"]) for line in published(artefact)} == typed(table)
    assert len(published(artefact)) == len(typed(table))


def test_figure_3_is_known_where_table_3_prints_it():
    found = {(line["condition"], line["metric"]): float(line["value"]) for line in published("figure3")}
    assert found == {(name, "f1"): value for (name, metric), value in typed(TABLE3).items() if metric == "f1"}


def test_parameter_counts_are_those_of_section_4_3():
    found = {line["condition"]: float(line["value"]) / 1000 for line in published("table1")}
    assert found == {"none_weighted": 337.5, "all": 463.3, "early": 362.2, "late": 438.7, "last": 435.7}


def test_scores_by_technique_are_those_of_section_5_3():
    found = {(line["metric"], line["condition"]): float(line["value"]) for line in published("techniques")}
    printed = {"inhaled": (0.293, 0.268), "trill": (0.544, 0.495), "straight": (0.69, 0.645), "vibrato": (0.648, 0.623)}
    assert found == {
        (f"f1_{t}", name): v
        for t, pair in printed.items()
        for name, v in zip(("late_crt_wc", "late_crt_wc@1"), pair, strict=True)
    }


def test_only_the_conditions_that_the_paper_names_count_as_printed():
    basis = {(artefact, line["basis"]) for artefact in ("table2", "table3", "figure3") for line in published(artefact)}
    assert basis == {("table2", "inferred"), ("table3", "printed"), ("figure3", "printed")}


def test_late_of_table_2_and_crt_wfc_of_table_3_are_one_condition_with_the_same_numbers():
    late = [line for line in published("table2") if line["condition"] == "late"]
    crt_wfc = [line for line in published("table3") if line["condition"] == "late"]
    for line in (*late, *crt_wfc):
        del line["artefact"], line["basis"]
    assert late == crt_wfc


@pytest.mark.parametrize("artefact", ["table1", "table2", "table3", "techniques", "figure3"])
def test_the_papers_numbers_are_of_rows_that_are_asked_for(artefact):
    asked = [row.published for row in read_experiment(EXPERIMENTS / f"{artefact}.yaml").conditions]
    printed = {line["condition"] for line in published(artefact)}
    assert printed <= set(asked)
    assert artefact == "figure3" or printed == set(asked)


def test_the_tables_and_the_figure_ask_for_what_the_paper_compares():
    found = {experiment.name: experiment for experiment in read_experiments()}
    rows = {name: [condition.reference for condition in found[name].conditions] for name in found}
    assert rows["table3"] == [line.split()[0] for line in TABLE3.strip().splitlines()]
    assert rows["table2"] == [line.split()[0] for line in TABLE2.strip().splitlines()]
    assert found["table2"].references == ("chance", "majority")
    jointly = found["table2_joint"]
    assert (rows["table2_joint"], jointly.published) == ([f"{name}/joint" for name in rows["table2"][4:]], "table2")
    assert {c.strategy for c in jointly.conditions} == {"joint"}
    assert [(c.dc, c.alpha) for c in jointly.conditions] == [(c.dc, c.alpha) for c in found["table2"].conditions[4:]]
    assert {c.alpha for c in found["table3"].conditions} == {0.2}
    points = {(c.strategy, c.alpha) for c in found["figure3"].conditions}
    assert points == set(itertools.product(("joint", "crt_wfc", "crt_wc"), (0.0, 0.2, 0.5, 1.0)))
    assert {c.dc for c in found["figure3"].conditions} == {"late"}


def test_experiments_stand_in_the_order_of_the_paper():
    names = [experiment.name for experiment in read_experiments()]
    of_the_paper = "figure2 table1 table2 late_last table3 figure3 techniques confusion".split()
    others = "ablations table2_joint folds verdicts breakdown select_dc select_alpha".split()
    gains = "rounding floor ladder batch_norm imbalance imbalance_auc frontier tuning long_tail"
    beyond = "resolution candidates recipe encoders encoder_layers shortcuts"
    assert names == [*of_the_paper, *others, *gains.split(), *beyond.split()]


def test_sections_5_1_and_5_3_ask_for_the_conditions_that_they_speak_of():
    found = {experiment.name: experiment for experiment in read_experiments()}
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


def test_the_conditions_of_a_sweep_are_known_so_that_a_page_offers_it_only_if_nothing_stays_missing():
    found = {experiment.name: experiment for experiment in read_experiments()}
    names = {name: {c.reference for c in each.conditions} for name, each in found.items()}
    assert found["table3"].swept == names["table3"]
    assert names["ladder"] - found["ladder"].swept == {
        "late_crt_wc@0+dropout_head",
        "late_minimum@0+dropout_head",
        "late_minimum@1",
        "late_balanced_sampler",
    }


def swept(name):
    """Every combination of what an experiment sweeps over, as {group: choice}."""
    params = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
    products = itertools.product(*(value.split(",") for value in params.values()))
    return [dict(zip(params, product, strict=True)) for product in products]


def rows_of(name):
    asked = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))["experiment"]
    return asked.get("rows", asked.get("series"))


@pytest.mark.parametrize(
    "name",
    "table1 table2 table2_joint table3 late_last techniques figure3 confusion folds breakdown ablations select_dc "
    "select_alpha".split(),
)
def test_a_sweep_makes_exactly_the_rows_of_its_table(name):
    """By the settings of each run of the sweep, a condition's own alpha written out."""
    asked = [
        dict(zip(("condition", "strategy", "alpha", "ablation"), values, strict=True))
        for row in rows_of(name)
        for values in itertools.product(
            [row["condition"]],
            [row.get("strategy")],
            row["alpha"] if isinstance(row.get("alpha"), list) else [row.get("alpha", "own")],
            [row.get("ablation")],
        )
    ]
    for row in asked:
        own = yaml.safe_load((CONF / "condition" / f"{row['condition']}.yaml").read_text())["alpha"]
        row["alpha"] = own if row["alpha"] == "own" else row["alpha"]
    made = []
    for each in swept(name):
        own = yaml.safe_load((CONF / "condition" / f"{each['condition']}.yaml").read_text())["alpha"]
        run = {"condition": each["condition"], "strategy": each.get("strategy"), "ablation": each.get("ablation")}
        made.append(run | {"alpha": float(each.get("alpha", own)), "fold": each.get("data.fold")})
    folds = [str(k) for k in range(5)] if name == "folds" else [None]
    assert sorted(made, key=str) == sorted((row | {"fold": fold} for row in asked for fold in folds), key=str)


def test_every_ablation_has_a_row():
    rows = [row["ablation"] for row in rows_of("ablations")]
    others = ("ladder", "floor", "resolution", "recipe")
    rows += [row["ablation"] for name in others for row in rows_of(name) if "ablation" in row]
    assert {path.stem for path in (CONF / "ablation").glob("*.yaml")} == set(rows)


def test_every_condition_says_which_number_of_the_paper_it_makes_and_how_it_is_printed():
    paths = sorted((CONF / "condition").glob("*.yaml"))
    of_paper = {row["condition"] for name in ("table2", "table3") for row in rows_of(name)}
    assert of_paper <= {path.stem for path in paths}
    labels = set()
    for path in paths:
        first, second = path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "# @package _global_"
        assert second.startswith("# Table ") == (path.stem in of_paper)
        file = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert type(file["alpha"]) is float
        labels.add(file["label"])
    assert len(labels) == len(paths)


def test_the_papers_numbers_are_found_by_condition():
    assert read_paper_numbers(EXPERIMENTS / "paper.csv")["table1", "late", "parameters"] == 438_700


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment: {title: t, caption: c, header: h, metrics: {f1: F1}}", "needs 'kind'"),
        ("experiment: {kind: table, title: t, caption: c, header: h, metrics: {f1: F1}}", "needs 'rows'"),
        ("experiment: {kind: table, rows: [{alpha: 0.2}]}", "needs 'condition'"),
        (
            "experiment: {kind: table, rows: [{condition: late, label: mine}]}",
            "a row sets: 'label', expected one of condition, st",
        ),
        ("experiment: {kind: table, title: t, header: h, metrics: {f1: F1}, rows: []}", "needs 'caption'"),
        ("title: x", "needs 'experiment'"),
        ("just words", "needs 'experiment'"),
        ("a: [", "not an experiment"),
        ("experiment: {kind: table, rows: [{condition: late, alpha: x}]}", "could not convert"),
        (
            "experiment: {kind: table, rows: [{condition: lately}]}",
            "lately.yaml is not there, which condition=lately na",
        ),
        (
            "experiment: {kind: table, rows: [{condition: late, ablation: nil}]}",
            "nil.yaml is not there, which ablation=nil",
        ),
        (
            "experiment: {kind: table, TEXT, rows: [{condition: late}, {condition: late, alpha: 0.2}]}",
            "two rows are the same: late, late",
        ),
        (
            "experiment: {kind: selection, TEXT, rows: [], metrics: [f1]}",
            "a selection has 2 metrics, not 1",
        ),
        (
            "experiment: {kind: table, TEXT, rows: [], claims: [{CLAIM, pairs: [[late, all]]}]}",
            "claims: 'late', expected one of",
        ),
        ("experiment: {kind: tuning, TEXT, metrics: [validation_f1, f1]}", "needs 'methods'"),
        ("experiment: {kind: tuning, TEXT, methods: []}", "a tuning has methods, and metrics, of which the first sel"),
        ("experiment: {kind: pie, TEXT, rows: []}", "kind: 'pie', expected one of table, curve, layers"),
        ("experiment: {kind: curve, TEXT, series: [], metrics: [f1, accuracy]}", "a curve has 1 metrics, not 2"),
        ("experiment: {kind: confusion, TEXT, rows: []}", "a confusion has one row, not 0"),
        (
            "experiment: {kind: table, TEXT, rows: [], references: [luck]}",
            "references: 'luck', expected one of chance, maj",
        ),
        ("experiment: {kind: table, TEXT, rows: [], baseline: late}", "baseline: 'late', expected one of"),
    ],
)
def test_an_experiment_that_lacks_something_says_what(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    text = text.replace("TEXT", "title: t, caption: c, header: h")
    path.write_text(text.replace("CLAIM", "family: f, section: s, says: t"))
    with pytest.raises(ValueError, match=message) as error:
        read_experiment(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
