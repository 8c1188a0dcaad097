"""A plan counts what the paper asks for and what is there, and trains nothing."""

import re
import shutil

import pytest
from hydra.core.hydra_config import HydraConfig

from singtech.cli.plan import compose_runs
from singtech.results.rows import read_row, write_row
from singtech.training.planning import Plan, Speed


def numbers(out, line):
    """The numbers of the plan's line that begins with a word."""
    (found,) = (text for text in out.splitlines() if text.startswith(line))
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", found)]


@pytest.fixture
def measured(monkeypatch):
    """A machine on which every clip takes a hundredth of a second, and a head's clip a thousandth of that."""

    def measure(plan, machine):
        return {built: Speed(0.01, 1e-5, "a network", "a machine") for built in plan.sizes}

    monkeypatch.setattr(Plan, "measure_speeds", measure)


@pytest.fixture
def no_download(monkeypatch):
    """End a test that fetches VocalSet."""
    monkeypatch.setattr("singtech.corpus.archive.download", lambda *_, **__: pytest.fail("it downloads"))


@pytest.mark.usefixtures("no_download")
def test_the_papers_plan_is_1300_epochs_of_13_network_phases_for_its_oblong_rows(call, tmp_path, measured):
    plan = call("plan", "experiments=table3,figure3", f"output_dir={tmp_path}")
    assert plan.status == 0, plan.err
    assert numbers(plan.out, "figure3") == [3, 12, 12, 0, 12]  # its name's number, rows, runs, there, to make
    assert numbers(plan.out, "runs") == [12, 0]  # Table 3's rows are points of Figure 3
    assert numbers(plan.out, "phases") == [15, 0, 8, 7]
    assert numbers(plan.out, "epochs") == [800, 700]
    assert "VocalSet is absent" in plan.out
    # 800 epochs of 3,615 clips and, after each of 8 phases, a third of 3,615 + 4,933; 700 epochs of the head
    hours = (0.01 * (800 * 3615 + 8 * (3615 + 4933) / 3) + 1e-5 * 700 * 3615) / 3600
    assert f"about {hours:.1f} h on a machine" in plan.out
    assert not any(tmp_path.iterdir())


@pytest.mark.long
def test_the_ablations_are_24_runs_of_which_three_cut_vocalset_otherwise(call, tmp_path, measured):
    plan = call("plan", "experiments=ablations", f"output_dir={tmp_path}")
    assert numbers(plan.out, "runs") == [24, 0]
    assert numbers(plan.out, "disk")[0] >= 3 * 1.3  # GB: three stores of clips
    assert not any(tmp_path.iterdir())


def test_a_run_that_failed_or_was_killed_is_not_there(call, own, tmp_path):
    call("run", "-m", "alpha=0.2,0.5", *own)
    for folder, status in zip(sorted((tmp_path / "outputs" / "runs").iterdir()), ("failed", "running"), strict=True):
        write_row(folder, read_row(folder) | {"status": status})
    plan = call("plan", "experiments=table3", "alpha=0.2,0.5", "strategy=crt_wc", *own)
    assert numbers(plan.out, "runs") == [2, 0]
    assert numbers(plan.out, "phases")[:2] == [3, 3]


def test_a_plan_knows_what_is_there(call, own, tmp_path):
    before = call("plan", "experiments=table3", *own)
    assert before.status == 0, before.err
    assert numbers(before.out, "runs") == [3, 0]
    assert numbers(before.out, "phases") == [5, 0, 3, 2]
    two_seeds = call("plan", "experiments=table3", "seed=0,1", *own)
    assert numbers(two_seeds.out, "table3") == [3, 3, 6, 0, 6]
    done = call("run", "-m", "condition=late,late_crt_wc", *own)
    assert done.status == 0, done.err
    after = call("plan", "experiments=table3", *own)
    assert numbers(after.out, "runs") == [3, 2]
    assert numbers(after.out, "phases") == [2, 1, 1, 0]  # of joint training's two phases cRT-WFC has trained one
    assert call("run", "condition=late_joint", *own).status == 0
    shutil.rmtree(tmp_path / "outputs" / "phases")  # which runs that are there do not need
    nothing = call("plan", "experiments=table3", *own)
    assert numbers(nothing.out, "runs") == [3, 3]
    assert numbers(nothing.out, "epochs") == [0, 0]
    assert "time" not in nothing.out


def test_a_plan_sweeps_as_the_run_command_does():
    asked = [
        (HydraConfig.get().runtime.choices["strategy"], cfg.alpha, cfg.seed)
        for _, cfg in compose_runs(["figure3"], ["seed=0,1", "alpha=0.0"])
    ]
    expected = [(strategy, 0.0, seed) for strategy in ("joint", "crt_wfc", "crt_wc") for seed in (0, 1)]
    assert sorted(asked) == sorted(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments=table9"], "experiments=table9: no such choice; there are"),
        (["experiments=table3", "+model.foo=1", "data=demo", "+data.source.clips_train=40"], "OblongExtractor"),
        (["experiments=table3", "data=folder", "data.name=choir"], "data.root is not set"),
    ],
)
def test_a_mistake_is_one_sentence(call, tmp_path, arguments, message):
    said = call("plan", *arguments, f"output_dir={tmp_path}")
    assert said.status == 1
    assert message in said.err
    assert len([line for line in said.err.splitlines() if not line.startswith("making demo voices: ")]) == 1
