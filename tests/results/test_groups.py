"""Runs are shown with those that share their settings, whatever these are, and never mixed."""

import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from singtech.cli.tables import main, render
from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.groups import list_groups, main_group
from singtech.results.report import answer_everything
from singtech.results.settings import Settings
from singtech.results.summaries import answer

TABLE3, ABLATIONS = (read_experiment(EXPERIMENTS / f"{name}.yaml") for name in ("table3", "ablations"))
DEMO = {"schedule": "demo"}


def words(collated, data="vocalset"):
    return [(group.settings.words, group.runs) for group in list_groups(collated, data)]


def cells(page):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]


def values(found):
    return found.runs.groupby("condition")["f1"].agg(tuple).to_dict()


@pytest.mark.parametrize("rate", [3e-3, 1e-3])  # the second is what an ablation sets too
@pytest.mark.usefixtures("table3_alone")
def test_own_recordings_with_an_own_learning_rate_are_in_the_tables(run, tmp_path, capsys, rate):
    run(0.6, data="choir", settings={"optimizer.lr": rate})
    assert main([f"output_dir={tmp_path}"]) == 0
    page = (tmp_path / "tables" / "choir" / "table3.md").read_text()
    assert ["Late, cRT-WC", "ours", "1", "0.600"] in [line[:4] for line in cells(page)]
    assert f"- Settings that differ from the paper's: optimizer.lr={rate}." in page
    command = "condition=late seed=0 data=folder data.name=choir data.root=FOLDER"
    assert command in page
    assert f" optimizer.lr={rate} output_dir=" in page
    assert "0.600" in capsys.readouterr().out


def test_groups_are_apart_and_the_one_of_most_runs_is_shown(run, collated):
    for seed in (0, 1):
        run(0.5, seed=seed)
    for seed in (0, 1, 2):
        run(0.7, seed=seed, settings=DEMO, finished="2025-01-01")
    run(0.9, settings={"schedule": "smoke"})
    there = collated()
    assert words(there) == [("schedule=demo", 3), ("", 2), ("schedule=smoke", 1)]
    assert values(answer(TABLE3, there, "vocalset")) == {"late_crt_wc": (0.7,) * 3}
    assert values(answer(TABLE3, there, "vocalset", Settings())) == {"late_crt_wc": (0.5,) * 2}


def test_of_as_many_runs_the_most_recent_are_shown(run, collated):
    run(0.5, finished="2026-01-01")
    run(0.7, settings=DEMO, finished="2026-02-01")
    assert main_group(collated(), "vocalset") == Settings.of(DEMO)


def test_a_run_of_an_ablation_is_in_its_row_and_makes_no_group(run, collated):
    run(0.5, settings=DEMO)
    run(0.6, settings=DEMO | {"model.hidden": None})
    run(0.7, settings=DEMO | {"sampler": "balanced"}, alpha=0.0)
    published = {"retraining.extractor": "train", "retraining.init": "warm", "retraining.learning_rate": 1e-05}
    run(0.8, settings=DEMO | published | {"schedule.classifier": 10})
    there = collated()
    assert words(there) == [("schedule=demo", 4)]
    found = answer(ABLATIONS, there, "vocalset")
    rows = {"late_crt_wc": 0.5, "late_crt_wc+no_hidden": 0.6, "late_crt_wc+sampler": 0.7}
    rows["late_crt_wc+published_retraining"] = 0.8
    assert values(found) == {name: (f1,) for name, f1 in rows.items()}
    assert values(answer(TABLE3, there, "vocalset")) == {"late_crt_wc": (0.5,)}
    assert {condition.label for condition in answer_everything(there, "vocalset").experiment.conditions} == {
        *("Late, cRT-WC", "Late, cRT-WC, no_hidden", "Late, cRT-WC, sampler"),
        "Late, cRT-WC, published_retraining",
    }


def test_a_strategy_without_retraining_is_in_every_group_that_differs_in_it_only(run, collated):
    run(0.4, strategy="joint", settings=DEMO)
    for strategy in ("crt_wfc", "crt_wc"):
        run(0.5, strategy=strategy, settings=DEMO | {"retraining.learning_rate": 0.5})
        run(0.6, strategy=strategy, settings=DEMO | {"retraining.extractor": "other"})
    there = collated()
    assert sorted(words(there)) == [
        ("schedule=demo, retraining.extractor=other", 3),
        ("schedule=demo, retraining.learning_rate=0.5", 3),
    ]
    for group in list_groups(there, "vocalset"):
        assert values(answer(TABLE3, there, "vocalset", group.settings))["late_joint"] == (0.4,)


def test_runs_of_an_earlier_version_are_read_and_stand_apart(run, collated):
    run(0.5)
    for seed in (0, 1):
        run(0.7, seed=seed, variant="")
        run(0.8, seed=seed, variant="model.build.hidden=None")
    there = collated()
    assert dict(words(there)) == {
        "stored by an earlier version": 2,
        "stored by an earlier version, model.build.hidden=None": 2,
        "": 1,
    }
    assert set(there.results["settings"]) == {"", "{}"}
    group = next(g.settings for g in list_groups(there, "vocalset") if g.settings.variant == "")
    found = answer(TABLE3, there, "vocalset", group)
    assert values(found) == {"late_crt_wc": (0.7, 0.7)}
    assert (found.missing, found.sweep, found.page().progress) == ((), "", "2 of 6 runs")
    assert "These runs were stored by an earlier version" in found.notes["settings"]
    assert values(answer(TABLE3, there, "vocalset", Settings())) == {"late_crt_wc": (0.5,)}


@pytest.mark.usefixtures("table3_alone")
def test_an_earlier_results_file_alone_is_rendered(run, collated, tmp_path):
    run(0.7, variant="")
    collated()
    frame = pd.read_csv(tmp_path / "results.csv").drop(columns=["settings", "f1_belt", "made_by"])
    brought = tmp_path / "brought"
    brought.mkdir()
    frame.drop(columns="top3_accuracy").to_csv(brought / "results.csv", index=False)
    render(brought)
    page = (brought / "tables" / "vocalset" / "table3.md").read_text()
    assert ["Late, cRT-WC", "ours", "1", "0.700"] in [line[:4] for line in cells(page)]


def test_commands_repeat_the_settings_quoted(run, collated):
    run(settings={"loss": "focal", "loss.gamma": 2.0, "front_end.win_lengths": [64, 32, 16]}, data="demo")
    found = answer(TABLE3, replace(collated(), output_dir=Path("my runs")), "demo")
    overrides = ["data=demo", "loss=focal", "front_end.win_lengths=[64,32,16]", "loss.gamma=2.0", "output_dir=my runs"]
    for command in (found.sweep, *(made for _, made in found.missing)):
        assert shlex.split(command)[-5:] == overrides


@pytest.mark.usefixtures("undrawn")
def test_every_other_group_has_a_folder_and_the_index_names_all(run, tmp_path):
    for seed in (0, 1):
        run(0.5, seed=seed)
    run(0.7, settings=DEMO)
    render(tmp_path)
    folder = tmp_path / "tables" / "vocalset"
    (other,) = [path for path in folder.iterdir() if path.is_dir()]
    assert other.name.startswith("schedule=demo-")
    index = (folder / "README.md").read_text()
    assert f"[schedule=demo]({other.name}/README.md)" in index
    assert "**none**, on this page" in index
    below = (other / "README.md").read_text()
    assert "[none](../README.md)" in below
    assert "**schedule=demo**, on this page" in below
    assert "Settings that differ from the paper's: schedule=demo." in (other / "table3.md").read_text()
    assert not (other / "figure2.md").exists()  # which is of no run
    assert not (other / "table2.md").exists()  # of which the group has no run


@pytest.mark.usefixtures("table3_alone")
def test_a_group_that_is_no_more_leaves_no_folder_and_a_persons_own_stays(run, tmp_path):
    for seed in (0, 1):
        run(0.5, seed=seed)
    folder = run(0.7, settings=DEMO)
    render(tmp_path)
    (tmp_path / "tables" / "vocalset" / "mine").mkdir()
    (folder / "row.json").unlink()
    render(tmp_path)
    assert [path.name for path in (tmp_path / "tables" / "vocalset").iterdir() if path.is_dir()] == ["mine"]
