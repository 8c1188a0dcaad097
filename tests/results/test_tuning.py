"""Each method with the value that validation singers select, and what it is worth on the test singers."""

import runpy
import sys

import pytest

from singtech.cli.config import list_differences
from singtech.cli.plan import compose_runs
from singtech.config_paths import EXPERIMENTS
from singtech.results.conditions import read_condition
from singtech.results.experiments import read_experiment
from singtech.results.groups import list_groups
from singtech.results.index import render
from singtech.results.settings import Settings
from singtech.results.summaries import answer
from singtech.results.tuning import select

TUNING = read_experiment(EXPERIMENTS / "tuning.yaml")
PLAIN, FOCAL = (next(method for method in TUNING.methods if method.name == name) for name in ("plain", "focal"))
ROWS = {condition.reference: condition for condition in TUNING.conditions}


def test_every_method_has_as_many_values_and_none_is_tried_twice():
    assert {len(method.values) for method in TUNING.methods} == {4}
    assert len({(c.key, c.settings) for c in TUNING.conditions}) == len(TUNING.conditions) == 4 * len(TUNING.methods)


@pytest.mark.parametrize("method", TUNING.methods, ids=lambda method: method.name)
def test_the_sweep_of_a_method_makes_its_rows(method):
    runs = compose_runs(["figure2"], method.sweep.split())  # an experiment that sweeps over nothing
    for row, (_, cfg) in zip(method.rows, runs, strict=True):
        condition = ROWS[row]
        assert cfg.alpha == condition.alpha
        assert Settings.of(list_differences(cfg)) == condition.settings


def test_make_tuning_reads_the_sweeps_from_the_experiment(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "singtech.results.tuning")  # it runs as in a process of its own
    runpy.run_module("singtech.results.tuning", run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [method.sweep for method in TUNING.methods]


@pytest.mark.parametrize(
    ("row", "reference", "label", "overrides", "differing"),
    [
        (
            {"name": "late_focal", "ablation": "validation_singers", "settings": {"loss.gamma": 0.5}},
            "late_focal+validation_singers+loss.gamma=0.5",
            "Late, focal head, validation_singers, loss.gamma=0.5",
            "condition=late_focal ablation=validation_singers loss.gamma=0.5",
            {"loss": "focal", "loss.gamma": 0.5, "data.split.validation": ["female3", "male2", "male6"]},
        ),
        (  # at its default, a setting is no difference
            {"name": "late_focal", "settings": {"loss.gamma": 2}},
            *("late_focal+loss.gamma=2", "Late, focal head, loss.gamma=2", "condition=late_focal loss.gamma=2"),
            {"loss": "focal"},
        ),
        (
            {"name": "late_minimum", "alpha": 0.0, "settings": {"retraining.penalty": 1e-3, "batch_size": 32}},
            "late_minimum@0+batch_size=32+retraining.penalty=0.001",
            "Late, cRT-WC at the minimum, α = 0, batch_size=32, retraining.penalty=0.001",
            "condition=late_minimum alpha=0.0 batch_size=32 retraining.penalty=0.001",
            {"batch_size": 32},
        ),
        (
            {"name": "late_crt_wc", "settings": {"front_end.win_lengths": [64, 32]}},
            "late_crt_wc+front_end.win_lengths=[64,32]",
            "Late, cRT-WC, front_end.win_lengths=[64,32]",
            "condition=late_crt_wc 'front_end.win_lengths=[64,32]'",
            {"front_end.win_lengths": [64, 32]},
        ),
    ],
)
def test_a_row_can_set_any_setting(row, reference, label, overrides, differing):
    found = read_condition(**row)
    assert (found.reference, found.label, found.overrides) == (reference, label, overrides)
    assert found.settings == Settings.of(differing)


@pytest.fixture
def put(run):
    def put(scores, method, **given):
        """Runs of a method: the F1 on validation and on test singers, by value."""
        for row, (validation, test) in zip(method.rows, scores, strict=False):
            condition = ROWS[row]
            options = {"strategy": condition.strategy, "alpha": condition.alpha} | given
            run(test, validation_f1=validation, settings=dict(condition.settings.values), **options)

    return put


def test_the_value_that_is_best_on_the_validation_singers_is_tested(put, collated, tmp_path):
    for seed in (0, 1):
        put([(0.5, 0.4), (0.6, 0.5 + 0.02 * seed), (0.4, 0.9), (0.4, 0.9)], PLAIN, seed=seed)
        put([(0.5, 0.7), (0.6, 0.8), (0.7 - 0.3 * seed, 0.9), (0.5, 0.6 + 0.04 * seed)], FOCAL, seed=seed)
    there = collated()
    found = answer(TUNING, there, "vocalset")
    assert select(found)["plain"] == PLAIN.rows[1]
    assert select(found)["focal"] == FOCAL.rows[1]  # 0.6 in both seeds; the third 0.7 and 0.4
    paths, page = render(TUNING, there, {}, "vocalset", tmp_path)
    lines = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in paths[0].read_text().splitlines()
        if (cells := line.split("|")[1:-1])
    }
    assert lines["focal"][:6] == ["loss.gamma", "0.5, 1.0, 2.0, 5.0", "1.0", "2", "0.600 ± 0.000", "0.800 ± 0.000"]
    assert lines["focal against plain"][1:3] == ["2", "+0.290"]  # 0.8 less 0.50 and 0.52
    assert lines["MARC against plain"][0] == "not run"
    chosen = page.frame[page.frame["is_selected"].eq(True)]
    assert set(zip(chosen["method"], chosen["value"], strict=True)) == {("plain", "0.003"), ("focal", "1.0")}
    assert not [note for note in page.notes if "end of its values" in note]


def test_values_are_compared_on_the_seeds_that_all_have(put, collated):
    put([(0.5, 0.4), (0.6, 0.5), (0.4, 0.9), (0.4, 0.9)], PLAIN, seed=0)
    put([(0.9, 0.4)], PLAIN, seed=1)
    assert select(answer(TUNING, collated(), "vocalset"))["plain"] == PLAIN.rows[1]


def test_nothing_is_selected_before_every_value_was_run(put, run, collated, tmp_path):
    run()
    put([(0.5, 0.4), (0.6, 0.5), (0.4, 0.9)], FOCAL)
    put([(0.5, 0.4), (0.6, 0.5), (0.4, 0.9), (0.7, 0.9)], PLAIN)
    found = answer(TUNING, collated(), "vocalset")
    assert select(found)["focal"] == ""
    _, page = render(TUNING, collated(), {}, "vocalset", tmp_path)
    missing = dict(page.missing)
    sweep = "condition=late_focal ablation=validation_singers loss.gamma=0.5,1.0,2.0,5.0 seed=0"
    assert missing["focal, 1 of 4 runs"] == f"singtech run -m {sweep}"
    assert not [what for what in missing if what.startswith("plain")]
    assert len(missing) == len(TUNING.methods) - 1
    assert page.notes[-1] == "Selected at an end of its values, so that one beyond may be better: plain."


def test_tuned_runs_are_one_group_also_alone(put, run, collated):
    scores = [(0.5, 0.5)] * 4
    put(scores, FOCAL)
    put(scores, PLAIN)
    (alone,) = list_groups(collated(), "vocalset")
    assert alone.settings == Settings.of({"data.split.validation": ["female3", "male2", "male6"]})
    run()
    (group,) = list_groups(collated(), "vocalset")
    assert (group.settings, group.runs) == (Settings(), 9)


def test_a_learning_rate_for_everything_is_of_the_group_though_a_tuning_tries_it(run, collated):
    for alpha in (0.0, 0.2):
        run(alpha=alpha, settings={"retraining.learning_rate": 0.003})
    (group,) = list_groups(collated(), "vocalset")
    assert (group.settings.words, group.runs) == ("retraining.learning_rate=0.003", 2)


def test_other_corpora_have_other_singers(run, collated, tmp_path):
    run(data="choir")
    _, page = render(TUNING, collated(), {}, "choir", tmp_path)
    assert "VocalSet's singers" in page.lead[0]
    assert not page.missing
