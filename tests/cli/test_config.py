"""The configuration is the paper's by default, and a condition is the difference that its name says."""

import functools
import re
import subprocess

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from singtech.cli import config
from singtech.cli.config import check_settings, drop_neutral, list_differences, quote_letters, read_commit, read_words
from singtech.cli.problems import describe_error
from singtech.components import build, import_component
from singtech.config_paths import CONF, EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.settings import flatten
from singtech.training.phases import FitHead, read_phases

# Every named condition written out: model, deformable layers, then each phase as (trains, epochs, alpha, init).
JOINT_PLAIN = [("network", 100, 0.0, "warm"), ("network", 100, 0.0, "warm")]
JOINT = [("network", 100, 0.2, "warm"), ("network", 100, 0.2, "warm")]
WFC = [("network", 100, 0.2, "warm"), ("head", 100, 0.2, "scratch")]
WC = [("network", 100, 0.0, "warm"), ("head", 100, 0.2, "scratch")]
PLAIN = [("network", 100, 0.0, "warm"), ("head", 100, 0.0, "scratch")]
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


FLIPPED = ("alpha", "batch_size", "drop_last", "precision", "batch_norm", "selection", "schedule", "retraining", "data")
FLIPPED += ("optimizer", "loss", "sampler", "augment", "front_end", "dc", "model", "head", "scoring")


@functools.cache
def whole(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def composed(*overrides):
    """The settings, every reference resolved."""
    return OmegaConf.to_container(without_hydra(*overrides), resolve=True)


def without_hydra(*overrides):
    cfg = whole(*overrides).copy()
    HydraConfig.instance().set_config(cfg.copy())  # as `hydra.main` does
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def choices(*overrides):
    """Group -> choice."""
    return whole(*overrides).hydra.runtime.choices


def differing(*overrides):
    """What `list_differences` says of a run, as `singtech run` composes it."""
    cfg = without_hydra(*overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return list_differences(cfg)


def alpha_of(phase):
    """Of the loss; one without weights has none."""
    return getattr(phase.loss, "keywords", {}).get("alpha", 0.0)


def phases_of(settings):
    phases = read_phases(settings["strategy"]["phases"])
    return [(p.trains, p.epochs, alpha_of(p), getattr(p, "init", "warm")) for p in phases]


ENCODERS = ("crepe", "map_music2vec", "mert", "resemblyzer", "wav2vec2", "wavlm")
SHORTCUTS = {
    "shortcut_level": ["level"],
    "shortcut_noise_floor": ["noise_floor"],
    "shortcut_pitch": ["pitch", "length"],
    "shortcut_all": ["level", "noise_floor", "pitch", "length"],
}
CANDIDATES = {"fine": [], "fine_augmented": [], "fine_standardised": [], "fine_late": [3, 4], "singtech": []}
OTHERS = sorted(
    {path.stem for path in (CONF / "condition").glob("*.yaml")} - {*CONDITIONS, *ENCODERS, *SHORTCUTS, *CANDIDATES}
)


@pytest.mark.parametrize("name", OTHERS)
def test_a_condition_that_is_not_the_papers_is_late_with_phases_that_can_be_built(name):
    settings = composed(f"condition={name}", "data=demo")
    assert settings["dc"]["layers"] == [3, 4]
    assert settings["alpha"] == (0.2 if name == "late_minimum" else 0)
    assert read_phases(settings["strategy"]["phases"])[0].trains == "network"


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_has_fine_pooling_and_a_head_at_the_minimum(name):
    settings = composed(f"condition={name}", "data=demo", "schedule=demo")
    assert (settings["dc"]["layers"], settings["alpha"]) == (CANDIDATES[name], 0.2)
    model = {setting: settings["model"][setting] for setting in ("pooling", "aggregation", "dropout")}
    assert model == {"pooling": "fine", "aggregation": "statistics", "dropout": 0.0}
    network, head = read_phases(settings["strategy"]["phases"])
    assert (network.trains, type(head)) == ("network", FitHead)
    assert network.decay == ("cosine" if settings["augment"]["_target_"] is None else "warmup_cosine")


@pytest.mark.parametrize("name", SHORTCUTS)
def test_a_shortcut_hears_the_level_and_has_a_head_alone(name):
    settings = composed(f"condition={name}", "data=demo")
    assert settings["front_end"] == {"_target_": "singtech.models.cnn1d.Waveform", "level": "none"}
    assert settings["model"]["numbers"] == SHORTCUTS[name]
    assert [phase.trains for phase in read_phases(settings["strategy"]["phases"], is_frozen=True)] == ["", "", ""]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_frozen_encoder_gets_waveforms_at_one_level_and_a_head_alone(name):
    settings = composed(f"condition={name}", "data=demo")
    assert settings["front_end"] == {"_target_": "singtech.models.cnn1d.Waveform", "level": "peak"}
    encoder, statistics, head = read_phases(settings["strategy"]["phases"], is_frozen=True)
    assert (encoder.trains, statistics.trains, head.trains) == ("", "", "head")
    assert encoder.stores_weights is False
    assert settings["head"]["_target_"].endswith("Linear" if name in ("crepe", "resemblyzer") else "LayerMixture")


def test_only_the_person_allows_the_code_of_an_encoder_and_that_names_no_other_run():
    assert not any(composed(f"condition={name}")["model"].get("remote_code") for name in ENCODERS)
    settings = [composed("condition=mert", *more) for more in ((), ("model.remote_code=true",))]
    assert settings[0] != settings[1]
    assert drop_neutral(settings[0]) == drop_neutral(settings[1])


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_composes_to_what_it_says(name):
    settings = composed(f"condition={name}")
    model, layers, phases = CONDITIONS[name]
    assert choices(f"condition={name}")["model"] == model
    assert settings["dc"]["layers"] == settings["model"].get("dc", []) == layers
    assert phases_of(settings) == phases


def test_the_baselines_are_what_is_published_of_them():
    wave, forest = composed("condition=cnn1d_plain"), composed("condition=forest_plain")
    assert wave["optimizer"] == {"_target_": "torch.optim.RMSprop", "lr": 1e-4, "weight_decay": 1e-3}
    assert wave["front_end"] == {"_target_": "singtech.models.cnn1d.Waveform", "level": "peak"}
    assert forest["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 1e-4}
    assert forest["model"] == composed("dc=none")["model"] | {"aggregation": "flatten"}
    assert forest["forest"] == {"trees": 100, "balanced": True}
    assert composed()["forest"] is wave["forest"] is None


AUGMENTATIONS = "singtech.training.augmentation."
PARTS = {
    "excerpt._target_": f"{AUGMENTATIONS}Excerpt",
    "excerpt.shift": 0.5,
    "excerpt.speed": 0.06,
    "equaliser._target_": f"{AUGMENTATIONS}Equaliser",
    "equaliser.decibels": 6.0,
    "equaliser.bands": 6,
    "room._target_": f"{AUGMENTATIONS}Room",
    "room.rt60_low": 0.1,
    "room.rt60_high": 0.5,
    "room.ratio_low": 5.0,
    "room.ratio_high": 20.0,
    "noise_floor._target_": f"{AUGMENTATIONS}NoiseFloor",
    "noise_floor.snr_low": 20.0,
    "noise_floor.snr_high": 60.0,
    "noise_floor.slope_low": -1.0,
    "noise_floor.slope_high": 2.0,
    "mixstyle._target_": f"{AUGMENTATIONS}FrequencyMixStyle",
    "mixstyle.alpha": 0.3,
    "frequency_masks._target_": f"{AUGMENTATIONS}FrequencyMasks",
    "frequency_masks.masks": 2,
    "frequency_masks.width": 0.1,
}
ABLATIONS = {  # what each one flips, written out; the alpha of Late cRT-WC stays 0.2 but where it is named
    "default": {},
    "dcn_v1": {"model.modulated": False},
    "along": {"model.directions": "along"},
    "unpooled": {"model.pool_deformable": False},
    "padding_both": {"model.padding": "both"},
    "flatten": {"model.aggregation": "flatten"},
    "fine": {"model.pooling": "fine"},
    "by_recording": {"scoring.unit": "recording"},
    "statistics": {"model.pooling": "fine", "model.aggregation": "statistics"},
    "modulation": {"model.pooling": "bins", "model.aggregation": "modulation"},
    "no_hidden": {"model.hidden": None},
    "scale_linear": {"front_end.scale": "linear"},
    "scale_db": {"front_end.scale": "db"},
    "level_rms": {"front_end.level": "rms"},
    "level_none": {"front_end.level": "none"},
    "mel": {"front_end.axis": "mel", "front_end.bands": 128},
    "pcen": {"front_end.scale": "pcen"},
    "standardised": {"front_end.standardise": "bands"},
    "lr_published": {"optimizer.lr": 1e-3},
    "loss_clips": {"loss.reduction": "clips"},
    "running": {"batch_norm": "running"},
    "drop_last": {"drop_last": True},
    "warm_start": {"retraining.init": "warm"},
    "rate_1e5": {"retraining.learning_rate": 1e-5},
    "extractor_train": {"retraining.extractor": "train"},
    "published_retraining": {
        "retraining.extractor": "train",
        "retraining.learning_rate": 1e-5,
        "retraining.init": "warm",
        "schedule.classifier": 10,
    },
    "sampler": {"alpha": 0.0, "loss.alpha": 0.0, "sampler._target_": "singtech.imbalance.samplers.Balanced"},
    "trim_silence": {"data.trim_silence": 40.0},
    "remainder_pad": {"data.remainder": "pad"},
    "validation_singers": {"data.split.validation": ["female3", "male2", "male6"]},
    "dropout_head": {"retraining.extractor": "dropout"},
    "averaged": {"schedule.average": 0.99},
    "last_epochs": {"schedule.last_epochs": 3},
    "best_epoch": {"data.split.validation": ["female3", "male2", "male6"], "selection": "best"},
    "adamw": {"optimizer._target_": "torch.optim.AdamW", "optimizer.weight_decay": 0.01},
    "warmup": {"schedule.decay": "warmup_cosine"},
    "smoothing": {"schedule.label_smoothing": 0.1},
    "dropout_late": {"model.dropout": 0.0},
    "augmented": {
        "augment._target_": "singtech.training.augmentation.Chain",
        "augment.order": ["excerpt", "equaliser", "room", "noise_floor", "mixstyle", "frequency_masks"],
        **{f"augment.probability.{name}": 0.5 for name in ("equaliser", "noise_floor", "mixstyle", "frequency_masks")},
        **{"augment.probability.excerpt": 1.0, "augment.probability.room": 0.3},
        **{f"augment.parts.{name}": value for name, value in PARTS.items()},
    },
}


def test_every_ablation_is_written_out_here():
    assert {path.stem for path in (CONF / "ablation").glob("*.yaml")} == set(ABLATIONS)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_flips_what_it_says_and_nothing_else(name):
    def flat(settings):
        return flatten({group: settings[group] for group in FLIPPED})

    ours, theirs = flat(composed(f"ablation={name}")), flat(composed())
    assert ours.keys() >= theirs.keys()
    assert {key: value for key, value in ours.items() if key not in theirs or value != theirs[key]} == ABLATIONS[name]


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_row_says_what_its_ablation_flips(name):
    """By the overrides that ask for it; alpha is a column of its own, and another sampler is another choice."""
    flipped = dict(ABLATIONS[name])
    flipped = {  # other choices
        "sampler": {"sampler": "balanced"},
        "adamw": {"optimizer": "adamw"},
        "augmented": {"augment": "singtech"},
    }.get(name, flipped)
    assert differing(f"ablation={name}") == flipped


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), {}),
        (("dc=none", "strategy=joint", "alpha=0.5", "seed=3"), {}),  # columns of their own
        (("condition=cnn1d_weighted",), {}),  # the front end and optimizer are its model's
        (("condition=forest_plain",), {}),
        (("data=demo",), {}),
        (("data=demo", "schedule=demo"), {"schedule": "demo"}),  # one difference, not one a setting
        (("schedule=demo", "optimizer.lr=1e-4"), {"schedule": "demo", "optimizer.lr": 1e-4}),
        (("schedule=smoke", "schedule.classifier=2"), {"schedule": "smoke", "schedule.classifier": 2}),
        (("model=cnn1d", "optimizer=adam"), {"optimizer": "adam"}),
        (("data=demo", "front_end=paper"), {"front_end": "paper"}),
        (("loss=own", "loss._target_=mine.Loss", "+loss.gamma=2"), {"loss": "own", "loss._target_": "mine.Loss"}),
        (("model.features=60",), {"model.features": 60}),
        (("+model.width=2",), {"+model.width": 2}),
        (("forest.trees=50", "model=oblong_forest"), {"forest.trees": 50}),
        (("data.fold=0",), {}),
        (("data.fold=0", "data.folds=2"), {"data.folds": 2}),
        (("data.folds=2",), {}),  # of which none is taken
        (("data.train_contexts=[scales]",), {"data.train_contexts": ["scales"]}),
        (
            ("data=folder", "data.name=choir", "data.test_contexts=[scales]", "data.clip_seconds=2"),
            {"data.test_contexts": ["scales"]},
        ),
        (("strategy=joint", "retraining.init=warm"), {}),  # of a re-training that does not happen
        (("output_dir=elsewhere", "data.root=/x", "trainer.progress=false", "logger=csv", "label=mine"), {}),
    ],
)
def test_a_row_says_what_differs_from_the_papers_and_nothing_else(overrides, said):
    said = said | ({"+loss.gamma": 2} if "loss=own" in overrides else {})
    assert differing(*overrides) == said


def test_the_defaults_are_section_4s():
    settings = composed()
    assert settings["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 1e-4}
    assert settings["batch_size"] == 64
    assert settings["model"]["dropout"] == 0.3
    assert settings["front_end"]["n_fft"] == 2048
    assert settings["front_end"]["win_lengths"] == [2048, 1024, 512]
    assert settings["front_end"]["hop_length"] == 512
    assert (settings["data"]["sample_rate"], settings["data"]["clip_seconds"]) == (44100, 3.0)
    assert settings["data"]["split"]["test"] == ["female2", "female8", "male3", "male5", "male10"]
    assert settings["data"]["split"]["validation"] == []
    assert phases_of(settings) == WC


@pytest.mark.parametrize("strategy", ["joint", "crt_wfc", "crt_wc"])
@pytest.mark.parametrize("schedule", ["paper", "demo"])
def test_every_strategy_has_as_many_epochs_as_any_other_of_the_same_schedule(strategy, schedule):
    phases = phases_of(composed(f"strategy={strategy}", f"schedule={schedule}"))
    assert sum(phase[1] for phase in phases) == {"paper": 200, "demo": 12}[schedule]


@pytest.mark.parametrize("data", ["demo", "folder"])
def test_a_corpus_changes_its_data_and_front_end_alone(data):
    ours, theirs = (flatten(composed(*overrides)) for overrides in ([f"data={data}", "data.name=x"], []))
    changed = {name.partition(".")[0] for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert changed == {"data", "front_end"} - ({"front_end"} if data == "folder" else set())


RATES = dict.fromkeys(("paper", "mel", "pcen", "constant_q"), 44100)
RATES |= dict.fromkeys(("small", "mel_small", "pcen_small", "constant_q_small"), 12000)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("ablation", ["default", "mel", "pcen", "standardised"])
def test_a_front_end_gives_the_network_enough_of_a_clip_at_its_rate(name, ablation):
    if ablation == "mel" and "constant_q" in name:
        ablation = "default"  # it has no mel axis
    settings, samples = composed(f"front_end={name}", f"ablation={ablation}"), 3 * RATES[name]
    front_end = build(import_component(settings["front_end"], "front_end"), sample_rate=RATES[name])
    spectrograms = front_end(torch.rand(1, samples))
    assert spectrograms.shape == (1, *front_end.shape(samples))
    assert min(spectrograms.shape[2:]) >= 96  # what the pooling of Table 1 needs
    assert spectrograms.isfinite().all()


def test_each_experiment_sweeps_exactly_the_conditions_that_its_table_shows():
    for name in ("table2", "table3"):
        file = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())
        swept = file["hydra"]["sweeper"]["params"]["condition"].split(",")
        assert [row["condition"] for row in file["experiment"]["rows"]] == swept
        assert set(swept) <= set(CONDITIONS)


CONSTANT = {
    "decay": "none",
    "offset_rate": 1.0,
    "average": None,
    "last_epochs": None,
    "joint_rate": None,
    "label_smoothing": 0.0,
}  # the paper's


def test_smoke_shortens_the_schedule_of_every_corpus():
    for data in ("vocalset", "demo"):
        settings = composed(f"data={data}", "schedule=smoke")
        assert settings["schedule"] == {"features": 1, "classifier": 1, "max_batches": 2} | CONSTANT
        assert settings["optimizer"]["lr"] == 1e-4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["alpha=abc"], "alpha=abc: expected a number."),
        (["batch_size=1.5"], "batch_size=1.5: expected a whole number."),
        (["schedule.features=x"], "schedule.features=x: expected a whole number."),
        (["drop_last=maybe"], "drop_last=maybe: expected true or false"),
        (["dc.layers=[3,x]"], "dc.layers[1]=x: expected a whole number."),
        (["data.split.tset=[ann]"], "data.split.tset: no such setting (is data.split.test meant?)"),
        (["trainer.devcies=2"], "trainer.devcies: no such setting (is trainer.devices meant?)"),
        (["model.dropuot=0.1"], "model.dropuot: no such setting (is model.dropout meant?); +model.dropuot passes it"),
        (["loss.gamma=2"], "loss.gamma: no such setting"),
        (["alhpa=0.1"], "alhpa: no such setting (is alpha meant?)"),
    ],
)
def test_names_and_types_are_checked_at_composition(overrides, message):
    with pytest.raises((HydraException, OmegaConfBaseException)) as problem:
        whole(*overrides)
    assert message in describe_error(problem.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["batch_size=${label}", "label=many"], "batch_size=many: expected a whole number."),
        (["schedule.features=${label}", "label=x"], "schedule.features=x: expected a whole number."),
        (["data.clip_seconds=${precision}"], "data.clip_seconds=32-true: expected a number."),
        (["+alhpa=0.1"], "alhpa: no such setting (is alpha meant?)"),
        (["+data.split.tset=[ann]"], "data.split.tset: no such setting (is data.split.test meant?)"),
        (["+trainer.x=1"], "trainer.x: no such setting"),
    ],
)
def test_a_command_checks_references_and_added_names_before_its_work(overrides, message):
    with pytest.raises(OmegaConfBaseException) as problem:
        check_settings(without_hydra(*overrides))
    assert describe_error(problem.value).startswith(message)


@pytest.mark.parametrize(
    "added", ["+model.width=1", "+loss.gamma=2", "+optimizer.betas=[0.9,0.99]", "+data.source.x=1"]
)
def test_a_component_may_have_settings_that_we_do_not_know(added):
    check_settings(without_hydra(added))


def test_a_reference_has_the_type_of_where_it_stands():
    assert composed("batch_size=${seed}", "seed=7")["batch_size"] == 7
    assert composed("label=${seed}", "seed=7")["label"] == "7"


def test_places_are_no_part_of_the_science():
    settings = drop_neutral(
        composed("data.root=/somewhere", "output_dir=/else", "trainer.progress=false", "data.strict=true")
    )
    assert settings == drop_neutral(composed())
    assert settings != drop_neutral(composed("data.trim_silence=40"))


def test_a_row_names_its_commit_and_which_changes_its_code_had(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "__file__", str(tmp_path / "singtech" / "cli" / "config.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_commit() == ""  # installed, not checked out

    def git(*words):
        named = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        return subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    code = tmp_path / "singtech" / "loss.py"
    code.parent.mkdir()
    code.write_text("1")
    (tmp_path / "README.md").write_text("one")
    git("add", ".")
    git("commit", "--message", "Begin")
    head = git("rev-parse", "HEAD").strip()
    assert read_commit() == head[:12]
    (tmp_path / "README.md").write_text("two")
    assert read_commit() == head[:12]
    changed = []
    for text in ("2", "3", "2"):
        code.write_text(text)
        changed.append(read_commit())
    assert changed[0] == changed[2] != changed[1]
    assert all(re.fullmatch(rf"{head[:12]}\+dirty\.[0-9a-f]{{8}}", commit) for commit in changed)


@pytest.mark.parametrize("name", ["resolution", "candidates", "recipe", "shortcuts"])
def test_the_rows_beyond_the_paper_have_front_ends_and_changes_that_can_be_built(name):
    for row in read_experiment(EXPERIMENTS / f"{name}.yaml").conditions:
        settings = composed(*row.overrides.split(), "data=demo")
        for group in ("front_end", "corruption"):
            component = import_component(settings[group], group)
            assert component is None or build(component, sample_rate=12000) is not None


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("output_dir=ergebnisse/höhe", "output_dir='ergebnisse/höhe'"),
        ("data.root=/山本/Vocal Set", "data.root='/山本/Vocal Set'"),
        ("data.name=a,ü", "data.name=a,'ü'"),
        ("data.techniques=[béla, straight, 'trïll']", "data.techniques=['béla', straight, 'trïll']"),
        ('data.root="/a,ü"', 'data.root="/a,ü"'),
        ("alpha=0,0.2", "alpha=0,0.2"),
        ("--multirun", "--multirun"),
    ],
)
def test_letters_beyond_ascii_are_quoted_for_hydra(word, quoted):
    assert quote_letters(word) == quoted


@pytest.mark.parametrize(
    "words", ["-m data=demo seed=0,1", "data=demo -m seed=0,1", "data=demo seed=0,1 -m", "data=demo -c job seed=0,1"]
)
def test_flags_may_stand_anywhere(words):
    *flags, data, seed = read_words(words.split())
    assert (data, seed) == ("data=demo", "seed=0,1")
    assert flags in (["-m"], ["-c", "job"])


GLOBAL, UNREADABLE = b"# @package _global_\n", " is no file of settings ("


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GLOBAL + "label: café\n".encode("latin-1"), UNREADABLE),
        ("# @package _global_\nalpha: 0.5\n".encode("utf-16"), UNREADABLE),
        (GLOBAL + b"alpha: " + b"[" * 5000, UNREADABLE),
        (GLOBAL + b"optimizer:\n\tlr: 1\n", UNREADABLE),
        (GLOBAL + b"- alpha\n", UNREADABLE),
        (GLOBAL + b"defaults: 3\n", UNREADABLE),
        (b"", ": expected `# @package _global_` as its first line."),
        (b"alpha: 0.5\n", ": expected `# @package _global_` as its first line."),
    ],
)
@pytest.mark.parametrize("command", [["run", "-m", "seed=0,1"], ["plan", "data=demo"]])
def test_a_file_of_the_users_that_holds_no_settings_is_named(call, tmp_path, content, said, command):
    (tmp_path / "condition").mkdir()
    (tmp_path / "condition" / "mine.yaml").write_bytes(content)
    done = call(*command, "--config-dir", str(tmp_path), "condition=mine", f"output_dir={tmp_path / 'outputs'}")
    assert done.status == 1
    assert done.err.startswith(f"error: {tmp_path}/condition/mine.yaml{said}")
    assert done.err.count("\n") == 1
