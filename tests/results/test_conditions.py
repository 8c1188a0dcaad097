"""A condition is one file: what it says, what it leaves to its model and the defaults, and its one label."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from singtech.config_paths import CONF, HOME
from singtech.results import conditions
from singtech.results.conditions import against, column_heads, printed_label, read_condition, retrains
from singtech.results.experiments import read_experiment
from singtech.results.settings import Settings
from singtech.results.summaries import answer

PAPERS_CONDITIONS = {  # Tables 2 and 3
    "cnn1d_plain": ("cnn1d", "none", "joint", 0.0),
    "cnn1d_weighted": ("cnn1d", "none", "joint", 0.2),
    "forest_plain": ("oblong_forest", "none", "joint", 0.0),
    "forest_weighted": ("oblong_forest", "none", "joint", 0.2),
    "none_plain": ("oblong", "none", "crt_wfc", 0.0),
    "none_weighted": ("oblong", "none", "crt_wfc", 0.2),
    "all": ("oblong", "all", "crt_wfc", 0.2),
    "early": ("oblong", "early", "crt_wfc", 0.2),
    "late": ("oblong", "late", "crt_wfc", 0.2),
    "last": ("oblong", "last", "crt_wfc", 0.2),
    "late_joint": ("oblong", "late", "joint", 0.2),
    "late_crt_wc": ("oblong", "late", "crt_wc", 0.2),
}


def test_the_files_say_the_papers_conditions():
    found = {name: read_condition(name) for name in PAPERS_CONDITIONS}
    assert {name: condition.key for name, condition in found.items()} == PAPERS_CONDITIONS
    assert all(condition.settings == Settings() for condition in found.values())


ABLATIONS = {  # what each sets; the alpha of Late cRT-WC stays 0.2 but where it is named
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
        **{"retraining.extractor": "train", "retraining.learning_rate": 1e-5, "retraining.init": "warm"},
        "schedule.classifier": 10,
    },
    "sampler": {"sampler": "balanced"},
    "trim_silence": {"data.trim_silence": 40.0},
    "remainder_pad": {"data.remainder": "pad"},
    "averaged": {"schedule.average": 0.99},
    "last_epochs": {"schedule.last_epochs": 3},
    "validation_singers": {"data.split.validation": ["female3", "male2", "male6"]},
    "best_epoch": {"data.split.validation": ["female3", "male2", "male6"], "selection": "best"},
    "adamw": {"optimizer": "adamw"},
    "warmup": {"schedule.decay": "warmup_cosine"},
    "smoothing": {"schedule.label_smoothing": 0.1},
    "dropout_late": {"model.dropout": 0.0},
    "augmented": {"augment": "singtech"},
}


def test_each_ablation_sets_what_it_says_and_nothing_else():  # dropout_head is tested by the ladder
    assert {path.stem for path in (CONF / "ablation").glob("*.yaml")} == {*ABLATIONS, "default", "dropout_head"}
    for name, settings in ABLATIONS.items():
        found = read_condition("late_crt_wc", ablation=name)
        assert found.settings == found.changes == Settings.of(settings)
        assert found.key == ("oblong", "late", "crt_wc", 0.0 if name == "sampler" else 0.2)
        assert (found.label, found.reference) == (f"Late, cRT-WC, {name}", f"late_crt_wc+{name}")
        assert found.overrides == f"condition=late_crt_wc ablation={name}"
    assert read_condition("late_crt_wc", ablation="default") == read_condition("late_crt_wc")


@pytest.mark.parametrize(
    ("row", "reference", "label", "overrides"),
    [
        (("late_crt_wc", None, 0.5), "late_crt_wc@0.5", "Late, cRT-WC, α = 0.5", "alpha=0.5"),
        (("late_crt_wc", None, 0.2), "late_crt_wc", "Late, cRT-WC", ""),
        (("none_weighted", "joint"), "none_weighted/joint", "w/o DC weighted, joint", "strategy=joint"),
        (
            ("none_plain", "joint", 0.5),
            *("none_plain/joint@0.5", "w/o DC weighted, joint, α = 0.5", "strategy=joint alpha=0.5"),
        ),
        (("late", "joint"), "late/joint", "Late, joint", "strategy=joint"),  # which is what late_joint is
        (
            ("late", None, 1, "no_hidden"),
            *("late@1+no_hidden", "Late, cRT-WFC, α = 1, no_hidden", "alpha=1.0 ablation=no_hidden"),
        ),
    ],
)
def test_a_row_is_a_condition_with_one_reference_and_one_label(row, reference, label, overrides):
    found = read_condition(*row)
    assert (found.reference, found.label) == (reference, label)
    assert found.overrides == f"condition={row[0]} {overrides}".rstrip()
    if not found.ablation:
        assert printed_label(*found.key) == label


def test_columns_are_headed_by_what_differs():
    def heads(*rows):
        return list(column_heads([read_condition(*row) for row in rows]).values())

    assert heads(["late"], ["late", None, 1]) == ["α = 0.2", "α = 1"]
    assert heads(["last"], ["late"]) == ["last", "late"]
    assert heads(["late"], ["late_joint"]) == ["Late, cRT-WFC", "Late, joint"]


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (["late_crt_wc"], ["late_joint"], "Late: cRT-WC against joint"),
        (["late_crt_wc"], ["late_crt_wc", None, 1], "Late, cRT-WC: α 0.2 against 1"),
        (["late_joint", None, 0.5], ["late_joint", None, 1], "Late, joint: α 0.5 against 1"),
        (["all"], ["none_weighted"], "All (1,2,3,4) against w/o DC weighted"),
        (["late_joint_balanced_softmax"], ["late_joint"], "Late, joint, balanced softmax against Late, joint"),
    ],
)
def test_what_two_conditions_share_is_named_once(first, second, name):
    assert against(read_condition(*first), read_condition(*second)) == name


def test_only_joint_training_has_no_retraining():
    strategies = [path.stem for path in (CONF / "strategy").glob("*.yaml")]
    assert {name: retrains(name) for name in strategies if name in ("joint", "crt_wfc", "crt_wc")} == {
        "joint": False,
        "crt_wfc": True,
        "crt_wc": True,
    }


def test_late_crt_wfc_at_0_2_stands_in_its_file_alone():
    """In experiments and Python no condition is spelled out again."""
    places = [*(HOME / "experiments").glob("*"), *(Path(conditions.__file__).parents[1]).rglob("*.py")]
    spelled = re.compile(r"dc: *late\b.*strategy: *crt_wfc|[\"']late[\"'], *[\"']crt_wfc[\"']")
    assert not [path for path in places if spelled.search(path.read_text(encoding="utf-8"))]


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A copy of conf/ with a condition of a person's own: a wider network, with a number that only OmegaConf reads."""
    import shutil

    shutil.copytree(CONF, tmp_path / "conf")
    text = "# @package _global_\nlabel: Wide\ndefaults:\n  - override /dc: all\nmodel: {features: 60}\n"
    (tmp_path / "conf" / "condition" / "wide.yaml").write_text(text + "optimizer: {lr: 1e-3}\nseed: 3\n")
    monkeypatch.setattr(conditions, "CONF", tmp_path / "conf")
    monkeypatch.setattr("singtech.config_paths.CONF", tmp_path / "conf")
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    asked = {"kind": "table", "title": "Mine", "caption": "c", "header": "h"}
    asked["rows"] = [{"condition": "wide"}, {"condition": "all", "strategy": "crt_wc"}]
    (experiments / "mine.yaml").write_text(yaml.safe_dump({"experiment": asked}))
    monkeypatch.setattr("singtech.config_paths.EXPERIMENTS", experiments)
    return experiments / "mine.yaml"


def test_a_condition_of_ones_own_is_a_row_with_its_settings(own_conf, run, collated):
    wide = read_condition("wide")
    assert wide.key == ("oblong", "all", "crt_wc", 0.2)
    assert wide.settings == Settings.of({"model.features": 60, "optimizer.lr": 0.001})
    run(0.6, dc="all", settings={"model.features": 60, "optimizer.lr": 0.001})
    run(0.5, dc="all")
    run(0.7, dc="all", settings={"model.features": 60})
    found = answer(read_experiment(own_conf), collated(), "vocalset", Settings())
    means = found.frame[found.frame["metric"] == "f1"].set_index("label")["mean"]
    assert means.to_dict() == {"Wide": 0.6, "All (1,2,3,4), crt_wc": 0.5}


def test_a_condition_without_a_label_says_so(own_conf):
    path = conditions.CONF / "condition" / "wide.yaml"
    path.write_text("alpha: 0.5\n")
    with pytest.raises(ValueError, match="wide.yaml has no label"):
        read_condition("wide")


def test_every_pair_of_conditions_differs():
    found = [read_condition(name) for name in PAPERS_CONDITIONS]
    assert all(one.key != other.key and one.label != other.label for one, other in itertools.combinations(found, 2))
