"""The command that runs and sweeps, as a person calls it."""

import errno
import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys

import pandas as pd
import pytest
import torch

from singtech.results.collate import collate
from singtech.techniques import TECHNIQUES
from tests.conftest import call_command, own_settings

COLUMNS = (
    "run data model dc strategy alpha seed settings f1 accuracy balanced_accuracy top2_accuracy top3_accuracy "
    "parameters epochs seconds device precision torch commit status"
).split()


def results(tmp_path):
    return pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)


def phases(tmp_path):
    return sorted(path for path in (tmp_path / "outputs" / "phases").glob("[0-9a-f]*") if path.is_dir())


def of_waveforms(settings):
    """Them without those of spectrograms."""
    return [setting for setting in settings if not setting.startswith("front_end.")]


def said(tmp_path):
    """The status that each row says itself, whoever works on it."""
    rows = sorted((tmp_path / "outputs" / "runs").glob("*/row.json"))
    return [json.loads(row.read_text())["status"] for row in rows]


def settings(tmp_path):
    """What each row differs in."""
    return [json.loads(text) for text in results(tmp_path)["settings"]]


def trained(output):
    return output.count(" trained ("), output.count(" taken from the store (")


def test_the_sweep_of_the_readme_makes_four_rows_from_one_feature_phase(call, own, tmp_path):
    sweep = ("-m", "dc=late", "strategy=crt_wc", "alpha=0,0.2,0.5,1")
    first = call("run", *sweep, *own)
    assert first.status == 0, first.err
    rows = results(tmp_path)
    assert rows["alpha"].tolist() == [0.0, 0.2, 0.5, 1.0]
    assert set(rows["status"]) == {"complete"}
    assert set(COLUMNS) <= set(rows.columns)
    assert {f"f1_{name}" for name in ("straight", "trill", "vibrato")} <= set(rows.columns)
    assert trained(first.out) == (5, 3)
    before = (tmp_path / "outputs" / "results.csv").read_bytes()
    again = call("run", *sweep, *own)
    assert again.status == 0
    assert trained(again.out) == (0, 0)
    assert again.out.count("nothing had to be trained") == 4
    assert (tmp_path / "outputs" / "results.csv").read_bytes() == before


@pytest.mark.long
def test_three_strategies_at_four_alphas_train_eight_network_and_seven_head_phases(call, own, tmp_path):
    done = call("run", "-m", "experiments=figure3", *own)
    assert done.status == 0, done.err
    assert len(results(tmp_path)) == 12
    parts = [json.loads((phase / "phase.json").read_text())["phase"]["trains"] for phase in phases(tmp_path)]
    assert sorted(parts) == ["head"] * 7 + ["network"] * 8
    assert trained(done.out) == (15, 9)


def test_a_job_in_a_folder_of_its_own_writes_where_output_dir_says(call, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("run", "-m", "alpha=0", *own, "output_dir=outputs", "hydra.job.chdir=true")
    assert done.status == 0, done.err
    assert list(tmp_path.rglob("results.csv")) == [tmp_path / "outputs" / "results.csv"]


def test_a_condition_by_name_and_the_same_choices_typed_out_are_one_run(call, own, tmp_path):
    call("run", "condition=late_crt_wc", "alpha=0", *own)
    call("run", "dc=late", "strategy=crt_wc", "alpha=0.0", *own)
    assert len(results(tmp_path)) == 1


def test_the_command_line_wins_over_a_condition(call, own, tmp_path):
    done = call("run", "condition=late_crt_wc", "dc=none", "alpha=0.5", *own)
    assert done.status == 0, done.err
    row = results(tmp_path).iloc[0]
    assert (row["dc"], row["strategy"], row["alpha"]) == ("none", "crt_wc", 0.5)


@pytest.fixture(scope="module")
def made(recordings, tmp_path_factory):
    """The outputs of one run: for copying."""
    folder = tmp_path_factory.mktemp("made")
    settings = [*own_settings(recordings, folder), "trainer.progress=false"]
    argv = sys.argv
    assert call_command("run", *settings) == 0
    sys.argv = argv
    return folder


@pytest.fixture
def ran(made, tmp_path):
    """That run, as if `own` had made it."""
    shutil.copytree(made, tmp_path / "outputs")
    collate(tmp_path / "outputs")


def test_a_smoke_run_says_what_it_differs_in_and_never_mixes_with_full_ones(call, ran, own, tmp_path):
    (said,) = settings(tmp_path)
    assert said["schedule"] == "smoke"
    assert not any(name.startswith(("trainer", "schedule.")) for name in said)
    longer = call("run", *own, "schedule.classifier=2")
    assert trained(longer.out) == (1, 1)
    assert sorted(said.get("schedule.classifier", 1) for said in settings(tmp_path)) == [1, 2]


def test_where_things_are_and_how_they_are_shown_makes_no_other_run(call, ran, own, own_corpus, tmp_path):
    moved = own_corpus.rename(tmp_path / "elsewhere")
    done = call("run", *own, f"data.root={moved}", "trainer.progress=false", "logger=csv")
    assert done.status == 0, done.err
    assert len(results(tmp_path)) == 1
    assert "nothing had to be trained" in done.out


def test_a_repaired_corpus_makes_new_rows_instead_of_keeping_stale_ones(call, ran, own, own_corpus, tmp_path):
    import soundfile

    from tests.conftest import tone

    soundfile.write(own_corpus / "ann/scales/trill/ann_trill_0.wav", tone("trill", 999), 8000)
    done = call("run", *own)
    assert trained(done.out) == (2, 0)
    assert len(results(tmp_path)) == 2


def test_validation_singers_are_followed_but_never_scored(call, own, tmp_path):
    done = call("run", *own, "data.split.validation=[cid]", "logger=csv")
    assert done.status == 0, done.err
    assert all((phase / "csv/version_0/metrics.csv").exists() for phase in phases(tmp_path))
    log = pd.read_csv(phases(tmp_path)[0] / "log.csv")
    assert list(log)[:4] == ["epoch", "loss", "accuracy", "f1"]
    assert {"validation_loss", "validation_f1"} <= set(log.columns)
    assert results(tmp_path)["singers_test"].tolist() == ["dot"]


def test_the_baselines_run_and_collate_like_the_rest(call, own, tmp_path):
    own = [*own, "alpha=0.0", "data.clip_seconds=3.0"]
    for model, settings in (("cnn1d", of_waveforms(own)), ("oblong_forest", own)):
        done = call("run", f"model={model}", *settings)
        assert done.status == 0, done.err
    rows = results(tmp_path).set_index("model")
    assert rows[["dc", "strategy", "alpha"]].drop_duplicates().values.tolist() == [["none", "joint", 0.0]]
    flat = call("run", "dc=none", "strategy=joint", "ablation=flatten", *own)
    assert trained(flat.out) == (0, 2)  # the forest's extractor is the flattened network trained jointly
    assert len(results(tmp_path)) == 3


def test_a_forests_settings_make_another_run_of_the_same_phases(call, own, tmp_path):
    call("run", "model=oblong_forest", *own)
    other = call("run", "model=oblong_forest", "forest.trees=50", *own)
    assert trained(other.out) == (0, 2)
    assert sorted(said.get("forest.trees", 100) for said in settings(tmp_path)) == [50, 100]


def test_folds_are_rows_of_their_own_on_one_clip_store(call, own, tmp_path):
    own = [setting for setting in own if not setting.startswith("data.split")]
    done = call("run", "-m", "data.fold=0,1", "data.folds=2", *own)
    assert done.status == 0, done.err
    rows = results(tmp_path)
    assert rows["fold"].tolist() == [0, 1]
    sides = [set(singers.split()) for singers in rows["singers_test"]]
    assert sides[0] | sides[1] == {"ann", "ben", "cid", "dot"}
    assert not sides[0] & sides[1]
    assert rows["corpus_fingerprint"].nunique() == 1
    assert rows["data_fingerprint"].nunique() == 2
    assert all(said["data.folds"] == 2 and "data.fold" not in said for said in settings(tmp_path))  # never one of five
    assert len(list((tmp_path / "outputs" / "data").glob("choir-*/clips.npy"))) == 1
    assert not list((tmp_path / "outputs" / "corpora").glob("*"))


@pytest.mark.parametrize(
    ("ablation", "flipped"),
    [
        ("published_retraining", {"retraining.init": "warm", "retraining.extractor": "train"}),
        ("padding_both", {"model.padding": "both"}),
    ],
)
def test_an_ablation_is_a_row_that_says_what_it_flips(call, own, tmp_path, ablation, flipped):
    done = call("run", f"ablation={ablation}", *own, "schedule.classifier=1")
    assert done.status == 0, done.err
    (said,) = settings(tmp_path)
    assert flipped.items() <= said.items()


def test_an_ablation_of_ones_own_corpus_is_told_apart_from_the_corpus_own_settings(call, ran, own, tmp_path):
    call("run", "ablation=remainder_pad", *own)
    assert sorted(said.get("data.remainder", "drop") for said in settings(tmp_path)) == ["drop", "pad"]
    assert not any("data.clip_seconds" in said for said in settings(tmp_path))


@pytest.mark.parametrize("singer", ["cid", None])
def test_a_run_returns_its_macro_f1_on_validation_singers_and_never_the_tests(own, tmp_path, singer):
    """For Hydra's sweepers to maximise."""
    named = [f"data.split.validation=[{singer}]"] if singer else []
    value = returned(*own, *named)
    if singer is None:
        assert value is None
        return
    last = phases_in_order(tmp_path)[-1]
    assert value == pytest.approx(pd.read_csv(last / "log.csv")["validation_f1"].iloc[-1], abs=1e-6)  # of torchmetrics
    assert returned(*own, *named) == value  # of a run that is there already, too


def test_hydras_sweepers_read_what_a_run_returns(call, own, tmp_path, monkeypatch):
    """As its sweepers for optimisation do, of which none is installed here."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeps, sweep = [], BasicSweeper.sweep
    monkeypatch.setattr(BasicSweeper, "sweep", lambda self, arguments: sweeps.extend(sweep(self, arguments)))
    done = call("run", "-m", "alpha=0,1", *own, "data.split.validation=[cid]")
    assert done.status == 0, done.err
    values = [job.return_value for batch in sweeps for job in batch]
    assert values == [row["validation_f1"] for row in rows_by_alpha(tmp_path)]
    assert all(0 <= value <= 1 for value in values)


def returned(*overrides):
    """What the command's job gives for these settings."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    from singtech.config_paths import CONF
    from singtech.run import job

    with initialize_config_dir(str(CONF), version_base="1.3", job_name="run"):
        cfg = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        return job(cfg)


def rows_by_alpha(tmp_path):
    rows = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/row.json")]
    return sorted(rows, key=lambda row: row["alpha"])


def phases_in_order(tmp_path):
    (row,) = rows_by_alpha(tmp_path)
    return [tmp_path / "outputs" / "phases" / key for key in row["phases"].split()]


def test_singers_who_chose_an_epoch_are_never_tested_by_it(call, own, tmp_path):
    best = [s for s in own if not s.startswith("data.split")] + ["selection=best"]
    first = call("run", *best, "data.split.test=[dot]", "data.split.validation=[cid]")
    assert first.status == 0, first.err
    swapped = call("run", *best, "data.split.test=[cid]", "data.split.validation=[dot]")
    assert trained(swapped.out) == (2, 0)  # the same training clips, but other singers chose


def test_a_corpus_is_written_down_with_its_state_and_the_settings_that_name_it(call, own, tmp_path):
    call("run", *own)
    lengths = pd.read_csv(tmp_path / "outputs" / "corpora" / "choir.csv", keep_default_na=False)
    row = results(tmp_path).iloc[0]
    for name in ("data_fingerprint", "corpus_fingerprint"):
        assert set(lengths[name].astype(str)) == {str(row[name])}
    (settings,) = set(lengths["settings"])
    assert settings.startswith("data=folder data.name=choir data.root=")
    assert "data.clip_seconds=0.6" in settings
    assert "front_end" not in settings


def test_a_row_follows_its_corpus_where_only_clips_that_it_does_not_use_have_changed(call, own, own_corpus, tmp_path):
    import soundfile

    from tests.conftest import tone

    own = [*own, "data.split.validation=[cid]"]
    call("run", *own)
    before = results(tmp_path)["corpus_fingerprint"].tolist()
    soundfile.write(own_corpus / "cid/scales/trill/cid_trill_0.wav", tone("trill", 999), 8000)
    again = call("run", *own)
    assert "nothing had to be trained" in again.out
    assert len(results(tmp_path)) == 1
    assert results(tmp_path)["corpus_fingerprint"].tolist() != before


def test_a_run_whose_values_are_wrong_together_does_not_stop_the_others_of_a_sweep(call, own, tmp_path):
    done = call("run", "-m", "selection=best,last", "data.split.validation=[],[cid]", *own)
    assert done.status == 1
    assert done.err.count("error: ") == 1
    assert "selection=best: there is no validation clip" in done.err
    assert len(results(tmp_path)) == 3
    end = done.err[done.err.index("1 run of this sweep failed:") :]
    assert "selection=last" not in end
    (repeated,) = [line for line in end.splitlines() if line.startswith("  singtech run ")]
    assert {"selection=best", "data.split.validation=[]"} < set(shlex.split(repeated))


def test_runs_that_fail_in_training_are_rows_with_the_reason_and_are_tried_again(call, own, tmp_path, monkeypatch):
    from singtech.imbalance import losses

    def diverge(logits, targets, weights, reduction):
        return logits.sum() * (float("nan") if weights[0] != 1 else 1.0)  # alpha 0 weighs nothing

    sweep = ("-m", "dc=late,none", "strategy=joint", "alpha=0,0.2", *own)
    with monkeypatch.context() as patch:
        patch.setattr(losses, "weighted_cross_entropy", diverge)
        done = call("run", *sweep)
    assert done.status == 1
    rows = results(tmp_path)
    assert rows["status"].value_counts().to_dict() == {"failed": 2, "complete": 2}
    assert all(
        "the loss is nan in epoch 1, batch 1 of 4 clips" in row for row in rows["reason"][rows["status"] == "failed"]
    )
    assert "2 runs of this sweep failed:" in done.err
    commands = [line for line in done.err.splitlines() if line.startswith("  singtech run ")]
    assert len(commands) == 2
    for command in commands:
        again = call("run", *shlex.split(command)[2:])
        assert again.status == 0, again.err
        assert "it failed before" in again.out
    assert set(results(tmp_path)["status"]) == {"complete"}
    assert len(results(tmp_path)) == 4


def test_a_row_says_what_made_it(call, own, tmp_path):
    call("run", "-m", "alpha=0.2,0.5", *own)
    for _, row in results(tmp_path).iterrows():
        assert re.fullmatch(r"[0-9a-f]{12}(\+dirty\.[0-9a-f]{8})?", row["commit"]) or row["commit"] == ""
        assert {"python", "torch", "torchvision", "pytorch-lightning", "librosa"} <= set(row["versions"].split())
        assert len(row["phases"].split()) == 2
        assert row["device"].startswith("cpu")
        assert row["threads"] == torch.get_num_threads()
        typed = shlex.split(row["command"])
        assert typed[:2] == ["singtech", "run"]
        assert f"alpha={row['alpha']}" in typed
        again = call("run", *typed[2:])
        assert "nothing had to be trained" in again.out
    assert len(results(tmp_path)) == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dc=middle", "dc=middle: no such choice; there are all, early, last, late, none."),
        (("model=cnn1d", "dc=late"), "dc=late: model=cnn1d does not use it; omit dc."),
        (
            ("model=oblong_forest", "strategy=crt_wc"),
            "strategy=crt_wc: a forest replaces the head, so there is none to re-train.",
        ),
        ("selection=best", "selection=best: there is no validation clip; name some singers in data.split.validation."),
        (("model=oblong_forest", "+forest.depth=3"), "expected trees and balanced"),
        ("alpha=0,0.2", "alpha=0,0.2: several values; add -m before the settings to run each of them."),
        ("data.split.test=[dot,", "not understood as name=value; does a space, a bracket or a comma in it want quotes"),
        ("data.split.test=[ann,ben,cid,dot]", "data.split leaves no singer to train: it names all of them"),
        ("experiments=figure2", "it asks for no run; `make figure2` renders it."),
        ("model=cnn1d", "too few for the poolings of the 1DCNN, which need 21551"),
        (("model=oblong_forest", "forest.trees=0"), "forest.trees=0: expected a whole number from 1 up."),
        ("alpha=abc", "alpha=abc: expected a number"),
        ("alpha=null", "alpha=null: expected a value"),
        ("seed=one", "seed=one: expected a whole number."),
        ("loss.reduction=sum", "loss.reduction=sum: expected weights or clips"),
        (
            "optimizer._target_=torch.optim.Adm",
            "optimizer._target_=torch.optim.Adm: module 'torch.optim' has no attribute 'Adm'",
        ),
        ("retraining.init=over", "init=over: expected warm or scratch."),
        ("retraining.learning_rate=0", "learning_rate=0.0: expected a number above 0"),
        ("schedule.max_batches=0", "schedule.max_batches=0: expected a whole number from 1 up"),
        ("drop_last=maybe", "drop_last=maybe: expected true or false"),
        (("batch_size=${label}", "label=many"), "batch_size=many: expected a whole number"),
        ("+alhpa=0.1", "alhpa: no such setting (is alpha meant?)"),
        ("trainer.accelerator=gpu", "No supported gpu backend"),
        ("precision=16-mixed", "precision=16-mixed needs an NVIDIA GPU"),
        ("front_end.hop_length=0", "front_end.hop_length=0: expected whole samples from 1 up"),
        ("model.hidden=abc", "model.hidden=abc: expected a number, such as 50."),
        ("+optimizer.foo=1", "optimizer Adam: TypeError: "),
        ("strategy.phases=[abc]", "strategy.phases[0]: expected a phase with a _target_"),
        ("data.name=vocalset", "data.name=vocalset: this name belongs to data=vocalset"),
        ("data.name=???", "data.name"),
        ("front_end.scale=mel", "front_end.scale=mel: expected log or linear"),
        ("trainer.accelerator=abacus", "accelerator='abacus'"),
        ("trainer.accelerator=mps", "Omit trainer.accelerator to compute on what is there."),
        ("experiments=figure3", "experiments=figure3: it sweeps condition and alpha; add -m to run all."),
        ("optimizer.lr=abc", "optimizer.lr=abc: expected a number, such as 0.001."),
        ("lr=1e-3", "lr: no such setting; here lr is optimizer.lr; --cfg job shows"),
        ("epochs=5", "epochs: no such setting; here epochs is schedule.features and"),
        ("model.dropuot=0.1", "model.dropuot: no such setting (is model.dropout meant?)"),
        ("alpha", "alpha"),
        ("data.split.test=[eve]", "eve"),
        ("data.split.validation=[dot]", "dot"),
        ("data.techniques=[straight,yodel]", "yodel"),
        ("data.clip_seconds=0.2", "too few for model.pooling=table1"),
        ("data.root=/nowhere/at/all", "/nowhere/at/all"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_leaves_nothing_half_written(call, own, tmp_path, setting, message):
    wrong = (setting,) if isinstance(setting, str) else setting
    names = [w.partition("=")[0] for w in wrong]
    own = of_waveforms(own) if "model=cnn1d" in wrong else own
    done = call("run", *(s for s in own if s.partition("=")[0] not in names), *wrong)
    assert done.status == 1
    lines = [line for line in done.err.splitlines() if line and "%|" not in line]
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert len(lines) == 1, done.err
    assert message in lines[0]
    assert "Traceback" not in done.err + done.out
    outputs = tmp_path / "outputs"
    assert not list(outputs.glob("runs/[!.]*"))
    assert not list(outputs.glob("phases/*"))
    assert not (outputs / "results.csv").exists()


@pytest.mark.parametrize("room", [100_000, 800_000], ids=["clips", "checkpoint"])
def test_a_disk_without_room_is_one_sentence_and_leaves_nothing_half_written(call, own, tmp_path, room):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))  # no file may grow larger, as on a full disk
    try:
        done = call("run", *own, "model.hidden=50")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.status == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "on the disk" in errors[0]
    assert "make room" in errors[0]
    assert "Traceback" not in done.err + done.out
    outputs = tmp_path / "outputs"
    assert not list(outputs.glob("runs/*/predictions.csv"))
    assert not list(outputs.glob("phases/[0-9a-f]*"))
    assert not list(outputs.rglob("*.tmp"))
    if room > 500_000:
        assert results(tmp_path)["status"].tolist() == ["failed"]
        assert "no room on the disk" in results(tmp_path)["reason"].item()
    mended = call("run", *own, "model.hidden=50")
    assert mended.status == 0, mended.err
    assert results(tmp_path)["status"].tolist() == ["complete"]


@pytest.fixture
def ctrl_c_is_heard():
    """SIGINT as in a foreground process; a shell's background job ignores it, and so does what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(call, own, tmp_path, monkeypatch):
    def press(*_):
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("singtech.training.callbacks.Progress.on_train_batch_end", press)
        done = call("run", "-m", "alpha=0,0.2", *own, "trainer.progress=false")
    assert done.status == 130
    assert done.err.splitlines()[-1] == "interrupted: the same command continues where this one stopped."
    assert "Traceback" not in done.err + done.out
    assert results(tmp_path)["status"].tolist() == said(tmp_path) == ["interrupted"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = call("run", "-m", "alpha=0,0.2", *own)
    assert again.status == 0, again.err
    assert again.out.count("it was interrupted before; it goes on from what is stored.") == 1
    assert results(tmp_path)["status"].tolist() == ["complete", "complete"]


def test_sigterm_ends_in_one_line_with_its_own_status(call, own, tmp_path, monkeypatch):
    def end(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("singtech.training.callbacks.Progress.on_train_batch_end", end)
    done = call("run", *own, "trainer.progress=false")
    assert done.status == 143
    assert done.err.splitlines()[-1] == "terminated: the same command continues where this one stopped."
    assert "Traceback" not in done.err + done.out
    assert results(tmp_path)["status"].tolist() == said(tmp_path) == ["interrupted"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_a_signal_that_came_in_a_finalizer_ends_the_sweep_all_the_same(call, own, monkeypatch):
    class Finalized:
        def __del__(self):  # whatever is raised here, Python drops
            os.kill(os.getpid(), signal.SIGINT)

    step = "singtech.training.module.TechniqueModule.on_after_backward"
    monkeypatch.setattr(step, lambda module: Finalized() and None)
    done = call("run", "-m", "alpha=0,0.2", *own, "trainer.progress=false")
    assert done.status == 130
    assert done.out.count("== ") == 1
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err


def test_the_configuration_is_shown_wherever_the_option_stands(call, own):
    for typed in (["--cfg", "job", "alpha=0.5", *own], ["alpha=0.5", *own, "--cfg", "job"]):
        shown = call("run", *typed)
        assert shown.status == 0, shown.err
        assert "alpha: 0.5" in shown.out


def test_without_the_slurm_extra_one_sentence_names_it(call, own, monkeypatch):
    from hydra.core.plugins import Plugins

    known = [found for found in Plugins.instance().class_name_to_class if "submitit" in found]
    if known:
        from hydra.core.config_store import ConfigStore

        monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "submitit_slurm.yaml")
    done = call("run", "-m", "hydra/launcher=slurm", "alpha=0.2,0.5", *own)
    assert done.status == 1
    assert done.err.strip().splitlines()[-1] == (
        'error: hydra/launcher=slurm: its extra is not installed here; do so with pip install "singtech[slurm]".'
    )


def test_without_its_corpus_a_sweep_stops_at_once(call, own, tmp_path):
    done = call("run", "-m", "alpha=0,0.2,0.5", *own, "data.split.test=[eve]")
    assert done.status == 1
    assert done.err.count("error: ") == 1
    assert "eve" in done.err


def test_a_setting_that_a_strategy_has_no_use_for_makes_no_other_run(call, own, tmp_path):
    call("run", "strategy=joint", "retraining.init=warm", *own)
    assert "retraining.init" not in settings(tmp_path)[0]
    call("run", "strategy=crt_wc", "retraining.init=warm", *own)
    assert sorted("retraining.init" in said for said in settings(tmp_path)) == [False, True]


def test_a_damaged_checkpoint_is_set_aside_and_its_phase_begins_anew(call, own, tmp_path, monkeypatch):
    def stop(*_):
        raise OSError("stopped before the phase was published")

    with monkeypatch.context() as patch:
        patch.setattr("singtech.training.phase_store.PhaseStore._publish", stop)
        assert call("run", *own).status == 1
    (checkpoint,) = (tmp_path / "outputs" / "phases").glob(".*.work/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    done = call("run", *own)
    assert done.status == 0, done.err
    assert "It is set aside as .last.ckpt.damaged-1, and its phase begins again" in done.out + done.err
    assert trained(done.out) == (2, 0)


def test_a_disk_that_fills_while_a_phase_is_published_leaves_no_phase(call, own, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    call("prepare", *own)

    with monkeypatch.context() as patch:
        patch.setattr("pandas.DataFrame.to_csv", full)  # the third of a phase's four files
        done = call("run", *own)
    assert done.status == 1
    assert "no room on the disk" in done.err
    assert not phases(tmp_path)
    assert trained(call("run", *own).out) == (2, 0)


def test_the_default_is_the_papers_ten_techniques_in_our_order():
    from omegaconf import OmegaConf

    from singtech.config_paths import CONF

    for data in ("vocalset", "demo"):
        settings = OmegaConf.load(CONF / "data" / f"{data}.yaml")
        assert tuple(settings.get("data", settings).techniques) == TECHNIQUES
