"""The configuration is the paper's by default, and a condition is the difference that its name says."""

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from singtech.config import scientific
from singtech.places import CONF, EXPERIMENTS
from singtech.training.phases import read_phases

# Every named condition written out: deformable layers, then each phase as (trains, epochs, alpha, start).
JOINT = [("network", 100, 0.2, "on"), ("network", 100, 0.2, "on")]
WFC = [("network", 100, 0.2, "on"), ("classifier", 100, 0.2, "anew")]
WC = [("network", 100, 0.0, "on"), ("classifier", 100, 0.2, "anew")]
PLAIN = [("network", 100, 0.0, "on"), ("classifier", 100, 0.0, "anew")]
CONDITIONS = {
    "none_plain": ([], PLAIN),
    "none_weighted": ([], WFC),
    "all": ([1, 2, 3, 4], WFC),
    "early": ([1, 2], WFC),
    "late": ([3, 4], WFC),
    "last": ([4], WFC),
    "late_joint": ([3, 4], JOINT),
    "late_crt_wc": ([3, 4], WC),
}


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
    layers, phases = CONDITIONS[name]
    assert settings["model"]["build"]["dc"] == layers
    assert phases_of(settings) == phases


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
