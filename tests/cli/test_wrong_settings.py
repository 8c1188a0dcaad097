"""Wrong settings are refused in a sentence before anything is made; a sweep with wrong values runs nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singtech.cli.sweep import find_wrong_values
from singtech.errors import InvalidValue
from tests.fuzz.contract import bounded

# A right value, a wrong one, and what is said of it.
WRONG = [
    ("alpha=0", "alpha=nan", "alpha=nan: expected a number from 0"),
    ("alpha=-0.0", "alpha=-1e-3", "alpha=-0.001: expected a number from 0"),
    ("alpha=+1", "alpha=abc", "alpha=abc: expected a number."),
    ("seed=1", "seed=1.5", "seed=1.5: expected a whole number."),
    ("seed=0", "seed=abc", "seed=abc: expected a whole number."),
    ("batch_size=8", "batch_size=0", "batch_size=0: expected two clips or more"),
    ("optimizer.lr=1e-3", "optimizer.lr=abc", "optimizer.lr=abc: expected a number, such as 0.001."),
    ("optimizer.lr=0.001", "optimizer.lr=-1", "Invalid learning rate: -1"),
    (
        "optimizer=adam",
        "optimizer=AdamX",
        "optimizer=AdamX: no such choice; there are adam, adamw,",
    ),
    ("optimizer=adamw", "optimizer.name=AdamX", "optimizer.name: no such setting"),
    ("strategy=crt_wc", "strategy=crt_wx", "strategy=crt_wx: no such choice; there are crt_minimum,"),
    ("dc=late", "dc=middle", "dc=middle: no such choice; there are all, early, last, late, none."),
    ("data.fold=0", "data.fold=7", "data.fold=7, data.folds=5: expected null or a fold from 0"),
    ("data.split.by=singer", "data.split.by=song", "data.split.by=song: expected singer or recording."),
    ("data.clip_seconds=0.6", "data.clip_seconds=0", "data.clip_seconds=0.0: expected seconds, such as 3.0."),
    ("data.remainder=pad", "data.remainder=cut", "data.remainder=cut: expected drop or pad."),
    ("data.name=choir", "data.name=demo", "data.name=demo: this name belongs to data=demo"),
    ("schedule.max_batches=1", "schedule.max_batches=0", "schedule.max_batches=0: expected a whole number from 1 up"),
    ("schedule.features=1", "schedule.features=0", "epochs=0: expected a whole number from 1 up."),
    ("precision=32-true", "precision=16", "precision=16: expected 32-true or bf16-mixed or 16-mixed."),
    ("selection=last", "selection=best", "selection=best: there is no validation clip"),
    ("scoring.hop=0.5", "scoring.hop=2", "scoring.hop=2.0: expected a share of a clip"),
    ("retraining.init=warm", "retraining.init=over", "init=over: expected warm or scratch."),
    ("model.hidden=10", "model.hidden=abc", "model.hidden=abc: expected a number, such as 50."),
    ("front_end.scale=db", "front_end.scale=mel", "front_end.scale=mel: expected log or linear"),
    ("front_end.hop_length=50", "front_end.hop_length=4000", "too few for model.pooling=table1"),
    ("trainer.accelerator=cpu", "trainer.accelerator=abacus", "accelerator='abacus'"),
    ("seed=-1", "seed=99999999999999999999", "seed=99999999999999999999: expected a whole number below 2**63."),
    ("rounding=1", "rounding=-9223372036854775808", "expected a whole number below 2**63."),
    ("optimizer.lr=0.1", "optimizer.lr=inf", "optimizer.lr=inf: expected a finite number."),
    ("loss.alpha=0.1", "loss.alpha=nan", "loss.alpha=nan: expected a finite number."),
    ("model.features=1", "model.features=0", "model.features=0: expected a whole number from 1 up."),
    ("schedule=smoke", "schedule=10", "schedule=10: no such choice; there are demo, paper, rehearsal, smoke."),
    ("dc=late", "dc=[3,4]", "dc=[3,4]: no such choice; there are all, early, last, late, none."),
    ("data.techniques=[straight,trill]", "data.techniques=[]", "data.techniques=[]: expected each one once"),
    ("data.techniques=[straight,trill]", "data.techniques=[trill,trill]", "expected each one once, and at least one."),
    ("head=mlp", "head.hidden=0", "head.hidden: no such setting"),
    ("trainer.deformable=auto", "trainer.deformable=cudnn", "trainer.deformable=cudnn: expected auto or torchvision"),
    (
        "seed=0",
        "experiment=table3",
        "experiment: it holds settings and takes no value; here experiment is experiments.",
    ),
    ("seed=0", "~seed", "~seed: no setting; a setting is written name=value, such as seed=1."),
    ("logger=none", "logger=paper", "logger=paper: no such choice; there are"),
]


def refused(call, folder, *settings):
    """The sentence with which a command ends; nothing was made and no run began."""
    done = call("run", *settings)
    assert done.status == 1
    assert "Traceback" not in done.out + done.err
    assert "\n== " not in done.out
    assert not folder.exists()
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def name(setting):
    return setting.partition("=")[0]


SWEPT = list({name(wrong): entry for entry in WRONG if name(entry[0]) == name(wrong := entry[1])}.values())
GROUPS = [SWEPT[start::5] for start in range(5)]
SINGLE = [entry for entry in WRONG if entry not in SWEPT or entry is SWEPT[-1]]  # the sweeps below have the others


@pytest.mark.parametrize(("wrong", "said"), [entry[1:] for entry in SINGLE], ids=[wrong for _, wrong, _ in SINGLE])
def test_a_wrong_value_is_refused_before_a_folder_is_made(call, own, tmp_path, wrong, said):
    assert said in refused(call, tmp_path / "outputs", *own, wrong)


@pytest.mark.parametrize("group", GROUPS, ids=[" ".join(name(wrong) for _, wrong, _ in group) for group in GROUPS])
def test_a_sweep_names_each_wrong_value_once_and_runs_nothing(call, own, tmp_path, group):
    settings = [s for s in own if name(s) not in [name(wrong) for _, wrong, _ in group]]
    for number, values in enumerate(group):
        first, second = values[number % 2], values[1 - number % 2]  # now the right one first, now the wrong one
        settings.append(f"{first},{second.partition('=')[2]}")
    line = refused(call, tmp_path / "outputs", "-m", *settings)
    assert [line.count(said) for _, _, said in group] == [1] * len(group), line


def test_the_values_are_checked_whatever_launches_the_runs(call, own, tmp_path, monkeypatch):
    monkeypatch.setattr("singtech.cli.sweep.is_local", lambda: False)  # as with Slurm
    line = refused(call, tmp_path / "outputs", "-m", *own, "alpha=nan,0,inf", "seed=0,abc,1.5")
    values = ("alpha=nan: ", "alpha=inf: ", "seed=abc: ", "seed=1.5: ", "alpha=0", "seed=0")
    assert [line.count(value) for value in values] == [1, 1, 1, 1, 0, 0]
    line = refused(
        call, tmp_path / "outputs", "-m", *own, "trainer.accelerator=gpu", "precision=16-mixed", "seed=0,abc"
    )
    assert line == "error: seed=abc: expected a whole number."  # the jobs may have the GPU that is not here


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["dc.layers=3"], "error: dc.layers: expected a list in brackets, such as [3,4] or [belt,trill]."),
        (["head=mlp", "head.hidden=0"], "error: head.hidden=0: expected a whole number from 1 up."),
        (["corruption=noise", "corruption.decibels=1"], "error: corruption.decibels: no such setting"),
        (["-m", "seed=range(0,0)"], "error: seed=range(0,0): expected one value or more."),
        (["alpha=interval(0,1)"], "error: alpha=interval(0,1): several values; add -m before the settings"),
        (["-m", "alpha=interval(0,1)"], "error: interval(): expected values one by one, as in alpha=0,0.5,1"),
        (["-m", "optimizer=glob(a*)", "optimizer.lr=abc"], "error: optimizer.lr=abc: expected a number"),
    ],
)
def test_a_list_and_several_values(call, own, tmp_path, settings, said):
    assert refused(call, tmp_path / "outputs", *own, *settings).startswith(said)


def test_the_sweep_of_an_experiment_is_checked_with_the_settings_of_the_command(call, own, tmp_path):
    line = refused(call, tmp_path / "outputs", "-m", "experiments=table3", *own, "batch_size=8,0")
    assert line == "error: batch_size=0: expected two clips or more for each of trainer.devices."


def test_a_setting_of_all_runs_is_named_once(call, own, tmp_path):
    line = refused(call, tmp_path / "outputs", "-m", *own, "alpha=0,0.5,1", "seed=0,1", "optimizer.lr=abc")
    assert line == "error: optimizer.lr=abc: expected a number, such as 0.001."


AXES = st.lists(st.lists(st.booleans(), min_size=1, max_size=4).filter(any), min_size=1, max_size=5)


@bounded(150)
@given(AXES, st.randoms(use_true_random=False))
def test_every_wrong_value_is_found_among_right_ones_in_few_runs(is_right, random):
    axes = [[f"s{place}={number}" for number in range(len(each))] for place, each in enumerate(is_right)]
    pairs = zip(itertools.chain(*axes), itertools.chain(*is_right), strict=True)
    wrong = {value for value, is_good in pairs if not is_good}
    order = random.sample(range(len(axes)), len(axes))  # which of several mistakes a run reports
    checked = []

    def check(job):
        checked.append(job)
        assert [value in axis for value, axis in zip(job, axes, strict=True)] == [True] * len(axes)
        return next((f"{job[place]}: no." for place in order if job[place] in wrong), "")

    assert set(find_wrong_values(axes, check)) == {f"{value}: no." for value in wrong}
    assert len(checked) <= 5 * sum(map(len, axes))


@bounded(100)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_right_values_are_checked_in_as_many_runs_as_the_longest_axis_has(sizes):
    axes = [[f"s{place}={number}" for number in range(size)] for place, size in enumerate(sizes)]
    checked = []
    assert find_wrong_values(axes, lambda job: checked.append(job) or "") == []
    assert len(checked) == max(sizes)
    assert {value for job in checked for value in job} == {value for axis in axes for value in axis}


def test_values_that_are_wrong_only_together_are_left_to_their_run():
    axes = [["model=cnn1d", "model=oblong"], ["dc=late", "dc=none"]]
    assert find_wrong_values(axes, lambda job: "no." * (job == ("model=cnn1d", "dc=late"))) == []


@pytest.mark.parametrize(
    "spellings",
    [
        ["optimizer.lr=0.002", "optimizer.lr=2e-3", "optimizer.lr=.002", "optimizer.lr=+2E-3"],
        ["alpha=0", "alpha=-0.0"],
        ["seed=10", "seed=1_0", "seed=+10"],
    ],
    ids=["lr", "alpha", "seed"],
)
def test_a_number_is_one_however_it_is_spelled(call, own, tmp_path, monkeypatch, spellings):
    names = []

    def execute(run, corpus, *_, **__):
        names.append(run.name(corpus.fingerprint("test")))
        raise InvalidValue("enough")

    monkeypatch.setattr("singtech.training.run.execute", execute)
    for spelling in spellings:
        call("run", *own, spelling)
    assert len(names) == len(spellings)
    assert len(set(names)) == 1
