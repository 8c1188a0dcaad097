"""Which runs count for a condition, what they say together, and what is said of those that are missing."""

import statistics

import pytest

from singtech.results import summaries
from singtech.results.collate import collate
from singtech.results.experiments import Condition, Experiment
from singtech.results.summaries import answer, command

JOINT = Condition("Joint-training", "oblong", "late", "joint", 0.2)
WC = Condition("cRT-WC", "oblong", "late", "crt_wc", 0.2)
TABLE = Experiment("table3", "Table 3", "", "Methods", {"f1": "F1"}, (JOINT, WC), is_figure=False)


@pytest.fixture
def answered(tmp_path):
    return lambda data="vocalset": answer(TABLE, collate(tmp_path), data)


def test_mean_and_deviation_are_over_seeds(run, answered):
    values = [0.5, 0.6, 0.7]
    for seed, f1 in enumerate(values):
        run(f1, seed=seed)
    joint, wc = answered().summaries
    assert (wc.seeds, wc.values["f1"]) == ((0, 1, 2), tuple(values))
    assert wc.mean("f1") == pytest.approx(0.6)
    assert wc.deviation("f1") == pytest.approx(0.1) == pytest.approx(statistics.stdev(values))
    assert (joint.seeds, joint.mean("f1"), joint.deviation("f1")) == ((), None, None)


def test_one_seed_has_no_deviation_and_the_reader_is_told(run, answered):
    run(0.5)
    found = answered()
    assert found.summaries[1].mean("f1") == 0.5
    assert found.summaries[1].deviation("f1") is None
    assert "Ours: one seed, so no deviation." in found.notes


def test_an_unknown_metric_is_no_number(run, answered):
    run(0.5)
    assert answered().summaries[1].mean("f1_yodel") is None


def test_runs_with_other_settings_or_unfinished_are_left_out_and_counted(run, answered):
    run(0.5, seed=0)
    run(0.9, seed=1, variant="schedule.features=1")
    run(0.9, seed=2, variant="schedule.features=1")
    run(0.9, seed=3, status="failed")
    run(0.9, seed=4, alpha=1.0, variant="schedule.features=1")  # not asked for by this table
    found = answered()
    assert found.summaries[1].values["f1"] == (0.5,)
    left_out = "Runs left out: 2 with other settings than the default (schedule.features=1), 1 not complete."
    assert left_out in found.notes


def test_runs_on_an_earlier_state_of_the_corpus_are_never_averaged_in(run, answered):
    for seed in (0, 1):
        run(0.9, seed=seed, run=f"old{seed}", data_fingerprint="old", finished="2026-01-01")
    run(0.5, seed=0, run="new0", data_fingerprint="new", finished="2026-02-01")
    found = answered()
    assert found.summaries[1].values["f1"] == (0.5,)
    assert "Runs left out: 2 on an earlier state of the corpus." in found.notes


def test_a_seed_run_twice_counts_once_the_later(run, answered):
    run(0.9, run="zz", finished="2026-01-01")
    run(0.5, run="aa", finished="2026-02-01")
    found = answered()
    assert (found.summaries[1].seeds, found.summaries[1].values["f1"]) == ((0,), (0.5,))
    assert "Runs left out: 1 made anew since." in found.notes


def test_another_corpus_is_another_answer(run, answered):
    run(0.5)
    run(0.9, data="demo")
    assert answered("demo").summaries[1].values["f1"] == (0.9,)
    assert answered("vocalset").title == "Table 3"
    demo = "Table 3 — demo corpus (synthetic voices): not VocalSet, not comparable with the paper"
    assert answered("demo").title == demo
    assert "corpus choir: not VocalSet" in answered("choir").title


def test_missing_cells_are_named_with_the_command_that_fills_them(run, answered):
    run(0.5, seed=0)
    run(0.5, seed=3)
    run(0.5, seed=3, strategy="joint")
    found = answered()
    joint = "python -m singtech.run dc=late strategy=joint alpha=0.2 seed=0"
    assert found.missing == (("Joint-training, seed 0", joint),)
    assert found.sweep == "python -m singtech.run -m experiments=table3 seed=0,3"
    assert "Seeds are uneven, so the means do not pair: seeds 0, 3, but Joint-training has seed 3." in found.notes


def test_where_nothing_was_run_seed_0_is_missing(answered):
    assert [what for what, _ in answered().missing] == ["Joint-training, seed 0", "cRT-WC, seed 0"]
    assert answered().notes == ()


def test_a_command_names_all_that_is_not_the_default(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.yaml").write_text("")
    monkeypatch.setattr(summaries, "CONF", tmp_path)
    assert command(WC, "demo", [0]).endswith("run dc=late strategy=crt_wc alpha=0.2 seed=0 data=demo")
    several = command(Condition("", "cnn1d", "none", "joint", 0.0), "vocalset", [1, 2])
    assert several == "python -m singtech.run -m model=cnn1d dc=none strategy=joint alpha=0.0 seed=1,2"
    assert command(WC, "choir", [0]).endswith(
        'data=folder data.name=choir data.root=FOLDER "data.split.test=[SINGERS]"'
    )


def test_the_reader_sees_what_the_runs_were_made_with(run, answered):
    run(seed=0, device="NVIDIA H200", commit="abc")
    run(seed=1, device="cpu", commit="abc+dirty")
    made = "Runs made with device NVIDIA H200 | cpu; precision 32-true; torch 2.14.1; commit abc | abc+dirty."
    assert made in answered().notes
