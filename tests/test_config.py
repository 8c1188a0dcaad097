"""The configuration is the paper's by default, and a condition is the difference that its name says."""

import functools
import subprocess

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from singtech import config
from singtech.config import _flat, commit, scientific
from singtech.places import CONF, EXPERIMENTS
from singtech.training.phases import read_phases

# Every named condition written out: model, deformable layers, then each phase as (trains, epochs, alpha, start).
JOINT_PLAIN = [("network", 100, 0.0, "on"), ("network", 100, 0.0, "on")]
JOINT = [("network", 100, 0.2, "on"), ("network", 100, 0.2, "on")]
WFC = [("network", 100, 0.2, "on"), ("classifier", 100, 0.2, "anew")]
WC = [("network", 100, 0.0, "on"), ("classifier", 100, 0.2, "anew")]
PLAIN = [("network", 100, 0.0, "on"), ("classifier", 100, 0.0, "anew")]
CONDITIONS = {
    "cnn1d_plain": ("cnn1d", [], JOINT_PLAIN),
    "cnn1d_weighted": ("cnn1d", [], JOINT),
    "forest_plain": ("oblong_forest", [], JOINT_PLAIN),
    "forest_weighted": ("oblong_forest", [], JOINT),
    "none_plain": ("oblong", [], PLAIN),
    "none_weighted": ("oblong", [], WFC),
    "all": ("oblong", [1, 2, 3, 4], WFC),
    "early": ("oblong", [1, 2], WFC),
    "late": ("oblong", [3, 4], WFC),
    "last": ("oblong", [4], WFC),
    "late_joint": ("oblong", [3, 4], JOINT),
    "late_crt_wc": ("oblong", [3, 4], WC),
}


FLIPPED = ("alpha", "batch_size", "keep_last", "precision", "batch_norm", "loss_reduction", "selection", "schedule")
FLIPPED += ("optimizer", "retraining", "front_end", "data", "dc", "model")


@functools.cache
def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"hydra.searchpath=[file://{EXPERIMENTS.parent}]", *overrides])
        return OmegaConf.to_container(cfg, resolve=True)


def phases_of(settings):
    return [(p.trains, p.epochs, p.alpha, p.start) for p in read_phases(settings["strategy"]["phases"])]


def test_every_condition_file_is_written_out_here():
    assert {path.stem for path in (CONF / "condition").glob("*.yaml")} == set(CONDITIONS)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_composes_to_what_it_says(name):
    settings = composed(f"condition={name}")
    model, layers, phases = CONDITIONS[name]
    assert settings["model"]["name"] == model
    assert settings["dc"]["layers"] == settings["model"]["build"].get("dc", []) == layers
    assert phases_of(settings) == phases


def test_the_baselines_are_what_is_published_of_them():
    wave, forest = composed("condition=cnn1d_plain"), composed("condition=forest_plain")
    assert wave["optimizer"] == {"name": "RMSprop", "lr": 1e-4, "weight_decay": 1e-3}
    assert forest["optimizer"] == {"name": "Adam", "lr": 1e-4}
    assert forest["model"]["build"] == composed("dc=none")["model"]["build"] | {"aggregation": "flatten"}
    assert forest["model"]["forest"] == {"trees": 100, "balanced": True}


CHOICES = {  # what each choice flips, written out; the alpha of Late cRT-WC stays 0.2 but where it is named
    "default": {},
    "dcn_v1": {"model.build.modulated": False},
    "along": {"model.build.directions": "along"},
    "unpooled": {"model.build.pool_deformable": False},
    "padding_both": {"model.build.padding": "both"},
    "flatten": {"model.build.aggregation": "flatten"},
    "no_hidden": {"model.build.hidden": None},
    "scale_linear": {"front_end.scale": "linear"},
    "scale_db": {"front_end.scale": "db"},
    "level_rms": {"front_end.level": "rms"},
    "level_none": {"front_end.level": "none"},
    "lr_published": {"optimizer.lr": 1e-3},
    "loss_clips": {"loss_reduction": "clips"},
    "running": {"batch_norm": "running"},
    "drop_last": {"keep_last": False},
    "start_on": {"retraining.start": "on"},
    "rate_1e5": {"retraining.learning_rate": 1e-5},
    "extractor_train": {"retraining.extractor": "train"},
    "published_retraining": {
        "retraining.extractor": "train",
        "retraining.learning_rate": 1e-5,
        "retraining.start": "on",
        "schedule.classifier": 10,
    },
    "sampler": {"alpha": 0.0, "retraining.sampler": "balanced"},
    "trim_silence": {"data.trim_silence": 40.0},
    "remainder_pad": {"data.remainder": "pad"},
    "validation_singers": {"data.split.validation": ["female3", "male2", "male6"]},
    "best_epoch": {"data.split.validation": ["female3", "male2", "male6"], "selection": "best"},
}


def test_every_choice_is_written_out_here():
    assert {path.stem for path in (CONF / "choice").glob("*.yaml")} == set(CHOICES)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_flips_what_it_says_and_nothing_else(name):
    def flat(settings):
        entries = [entry for group in FLIPPED for entry in _flat(settings[group], group)]
        return {name: value for name, value in entries if not name.startswith("model.build.front_end")}  # a reference

    ours, theirs = flat(composed(f"choice={name}")), flat(composed())
    assert {key: value for key, value in ours.items() if value != theirs[key]} == CHOICES[name]


def test_the_defaults_are_section_4s():
    settings = composed()
    assert settings["optimizer"] == {"name": "Adam", "lr": 1e-4}
    assert settings["batch_size"] == 64
    assert settings["model"]["build"]["dropout"] == 0.3
    assert settings["front_end"]["n_fft"] == 2048
    assert settings["front_end"]["win_lengths"] == [2048, 1024, 512]
    assert settings["front_end"]["hop_length"] == 512
    assert (settings["data"]["sample_rate"], settings["data"]["clip_seconds"]) == (44100, 3.0)
    assert settings["data"]["split"]["test"] == ["female2", "female8", "male3", "male5", "male10"]
    assert settings["data"]["split"]["validation"] == []
    assert phases_of(settings) == WC


@pytest.mark.parametrize("strategy", ["joint", "crt_wfc", "crt_wc"])
@pytest.mark.parametrize("data", ["vocalset", "demo", "folder"])
def test_every_strategy_has_as_many_epochs_as_any_other_on_the_same_data(strategy, data):
    epochs = sum(phase[1] for phase in phases_of(composed(f"strategy={strategy}", f"data={data}")))
    assert epochs == (200 if data != "demo" else sum(phase[1] for phase in phases_of(composed("data=demo"))))


def test_each_experiment_sweeps_exactly_the_conditions_that_its_table_shows():
    for name in ("table2", "table3"):
        file = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())
        swept = file["hydra"]["sweeper"]["params"]["condition"].split(",")
        rows = {row["condition"]: row for row in file["experiment"]["rows"]}
        assert list(rows) == swept
        for condition, row in rows.items():
            settings = composed(f"condition={condition}", f"experiments={name}")
            found = {key: settings[key]["name"] for key in ("model", "dc", "strategy")} | {"alpha": settings["alpha"]}
            assert found == {key: row[key] for key in found}


def test_smoke_shortens_the_schedule_of_every_corpus():
    for data in ("vocalset", "demo"):
        settings = composed(f"data={data}", "trainer=smoke")
        assert settings["schedule"] == {"features": 1, "classifier": 1, "max_batches": 2}
        assert settings["trainer"]["accelerator"] == "auto"


def test_places_are_no_part_of_the_science():
    settings = scientific(
        composed("data.root=/somewhere", "output_dir=/else", "trainer.progress=false", "data.strict=true")
    )
    assert settings == scientific(composed())
    assert settings != scientific(composed("data.trim_silence=40"))


def test_a_row_names_its_commit_and_whether_the_checkout_had_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "__file__", str(tmp_path / "singtech" / "config.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == ""  # installed, not checked out

    def git(*words):
        named = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        return subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "README.md").write_text("one")
    git("add", ".")
    git("commit", "--message", "Begin")
    head = git("rev-parse", "HEAD").strip()
    assert commit() == head[:12]
    (tmp_path / "README.md").write_text("two")
    assert commit() == f"{head[:12]}+dirty"
