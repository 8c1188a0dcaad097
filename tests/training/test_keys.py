"""The keys of composed runs: what changes them, what does not, and those of six conditions, written down."""

import dataclasses
import functools
import inspect
import sys
from types import ModuleType

import numpy as np
import pytest
import sklearn
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from sklearn.preprocessing import StandardScaler

from singtech import components
from singtech.components import identify_code
from singtech.config_paths import CONF
from singtech.imbalance import rewrites
from singtech.imbalance.losses import (
    LDAM,
    ClassBalanced,
    Focal,
    LabelAwareSmoothing,
    LogitAdjusted,
    WeightedCrossEntropy,
)
from singtech.imbalance.mixing import Mixup, Remix
from singtech.imbalance.rewrites import MaxNorm, NearestMean, TauNormalized
from singtech.imbalance.samplers import Natural, Power
from singtech.models.cnn1d import Waveform, WaveformExtractor
from singtech.models.constant_q import ConstantQ
from singtech.models.encoders import Crepe, HubEncoder, Resemblyzer
from singtech.models.heads import MLP, Cosine, LayerMixture
from singtech.models.network import Architecture
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.run import build_run
from singtech.training.augmentation import (
    Chain,
    Equaliser,
    Excerpt,
    FrequencyMasks,
    FrequencyMixStyle,
    NoiseFloor,
    Room,
    WhiteNoise,
)
from singtech.training.fit import Setup
from singtech.training.phases import (
    SCHEMA,
    Encode,
    FitHead,
    Pretrained,
    RewriteHead,
    Standardise,
    TrainHead,
    TrainNetwork,
    phase_keys,
)

TECHNIQUES = (
    "belt",
    "breathy",
    "inhaled",
    "lip_trill",
    "spoken",
    "straight",
    "trill",
    "trillo",
    "vibrato",
    "vocal_fry",
)


@dataclasses.dataclass(frozen=True)
class NamedCorpus:
    """What a run asks of VocalSet before anything is trained; its fingerprints are no real corpus's."""

    mark: str = "0123456789abcdef"
    name: str = "vocalset"
    fold: None = None
    sample_rate: int = 44100
    techniques: tuple = TECHNIQUES

    @property
    def waveforms(self):
        return np.empty((0, 3 * 44100), np.int16)

    def fingerprint(self, split):
        return f"{split}-{self.mark}"


def asked(*overrides, corpus=None):
    """The run that `singtech.run` makes of these settings."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        return build_run(cfg, corpus or NamedCorpus())


@functools.cache
def keys(*overrides):
    return asked(*overrides).keys


PINNED = {
    "late_crt_wc": ["ca78f470ab1ce610", "0eb7bda46024f186"],
    "late": ["f6b2fd1645656da5", "60d34ab731be2a95"],
    "late_joint": ["f6b2fd1645656da5", "e74266052353fb15"],
    "none_plain": ["df3a7dcc1a9ce093", "e074042c56778c13"],
    "cnn1d_weighted": ["21474e5b45cefb0e", "2ac1856090398157"],
    "all": ["af343d01f47d236c", "e1ebb68d4f587b67"],
}


@pytest.mark.parametrize("condition", PINNED)
def test_the_keys_of_known_conditions_stay_as_they_are(condition):
    """A change here orphans every phase that anybody has stored: it is trained anew, and the old one is never used.

    If the change is one of meaning (a default, what a setting does), raise SCHEMA in singtech/training/phases.py and
    write the new keys down here. If it is not, find what has changed the key and take it back.
    """
    assert list(keys(f"condition={condition}")) == PINNED[condition]


def test_no_two_of_them_are_one_but_the_shared_phases():
    assert PINNED["late"][0] == PINNED["late_joint"][0]
    assert len({key for pair in PINNED.values() for key in pair}) == 11


# Keys hold what differs from these, so a stored phase means them. Whoever changes one raises SCHEMA.
DEFAULTS = {
    Setup: {
        "validation_clips": "",
        "batch_size": 64,
        "drop_last": False,
        "max_batches": None,
        "selection": "last",
        "precision": "32-true",
        "devices": 1,
        "rounding": 0,
    },
    TrainNetwork: {
        "epochs": 0,
        "loss": WeightedCrossEntropy,
        "sampler": Natural,
        "learning_rate": None,
        "decay": "none",
        "mix": None,
        "last_epochs": None,
        "augment": None,
        "offset_rate": 1.0,
        "average": None,
        "label_smoothing": 0.0,
    },
    TrainHead: {
        "epochs": 0,
        "loss": WeightedCrossEntropy,
        "sampler": Natural,
        "learning_rate": None,
        "decay": "none",
        "mix": None,
        "last_epochs": None,
        "init": "warm",
        "extractor": "eval",
        "learns": None,
        "constraint": None,
    },
    FitHead: {"epochs": 0, "loss": WeightedCrossEntropy, "penalty": 1e-3, "extractor": "eval"},
    RewriteHead: {"epochs": 0},
    Pretrained: {"epochs": 0},
    Encode: {"epochs": 0},
    Standardise: {"epochs": 0},
    WeightedCrossEntropy: {"alpha": 0.0, "reduction": "weights", "techniques": None},
    ClassBalanced: {"beta": 0.999, "reduction": "weights", "techniques": None},
    Focal: {"gamma": 2.0},
    LogitAdjusted: {"tau": 1.0},
    LDAM: {"max_margin": 0.5, "scale": 30.0, "beta": 0.9999, "defer": 0.8},
    LabelAwareSmoothing: {"head": 0.3, "tail": 0.0},
    Power: {"q": 0.5},
    Mixup: {"alpha": 1.0},
    Remix: {"alpha": 1.0, "kappa": 3.0, "tau": 0.5},
    TauNormalized: {"tau": 1.0},
    rewrites.LogitAdjusted: {"tau": 1.0},
    NearestMean: {"distance": "euclidean"},
    MaxNorm: {"threshold": 0.1},
    Cosine: {"scale": 30.0},
    MLP: {"hidden": 512, "dropout": 0.0},
    LayerMixture: {"layers": 1},
    HubEncoder: {"revision": None, "layer": None, "pooling": "mean", "remote_code": False},
    Resemblyzer: {"layer": None},
    Crepe: {"layer": None, "capacity": "tiny", "hop_length": 320, "pooling": "statistics"},
    WhiteNoise: {"snr_low": 20.0, "snr_high": 60.0},
    Excerpt: {"shift": 0.5, "speed": 0.0},
    NoiseFloor: {"snr_low": 20.0, "snr_high": 60.0, "slope_low": -1.0, "slope_high": 2.0},
    Equaliser: {"decibels": 6.0, "bands": 6},
    Room: {"rt60_low": 0.1, "rt60_high": 0.5, "ratio_low": 5.0, "ratio_high": 20.0},
    FrequencyMixStyle: {"alpha": 0.3},
    FrequencyMasks: {"masks": 2, "width": 0.1},
    Chain: {"probability": None},
    MultiResolutionSpectrogram: {
        "n_fft": 2048,
        "win_lengths": (2048, 1024, 512),
        "hop_length": 512,
        "scale": "log",
        "level": "peak",
        "axis": "linear",
        "bands": None,
        "standardise": "none",
        "sample_rate": 44100,
    },
    ConstantQ: {
        "bands": 192,
        "bands_per_octave": 24,
        "lowest": 65.4064,
        "filter_scales": (1.0, 0.5, 0.25),
        "hop_length": 512,
        "scale": "log",
        "level": "peak",
        "standardise": "none",
        "sample_rate": 44100,
    },
    Waveform: {"level": "peak"},
    OblongExtractor: {
        "dc": (),
        "features": 30,
        "hidden": 50,
        "dropout": 0.3,
        "hidden_dropout": 0.4,
        "aggregation": "average",
        "pooling": "table1",
        "seconds": 3.0,
        "padding": "same",
        "modulated": True,
        "directions": "both",
        "pool_deformable": True,
    },
    WaveformExtractor: {"features": 32, "dropout": 0.4},
}


def test_the_defaults_that_stored_phases_mean_are_those_of_this_schema():
    """A default that changes in silence would give old phases to runs that mean something else."""
    assert SCHEMA == 2
    for target, expected in DEFAULTS.items():
        parameters = inspect.signature(target).parameters.items()
        defaults = {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}
        assert {name: defaults[name] for name in expected} == expected, target.__name__
        added = set(defaults) - set(expected) - {"name", "network"}
        assert not added, f"{target.__name__}: write the defaults of {added} down here too"


def wider(kind, **options):
    """A dataclass of the package with one more setting, `extra`, whose default is 0."""
    return dataclasses.make_dataclass(
        kind.__name__,
        [("extra", int, 0)],
        bases=(kind,),
        namespace={"__module__": kind.__module__},
        frozen=True,
        kw_only=True,
    )(**options)


SETUP = {"seed": 0, "training_clips": "0" * 16}
ADAM = functools.partial(torch.optim.Adam, lr=1e-4)


@pytest.mark.parametrize("kind", [TrainNetwork, TrainHead])
def test_a_setting_added_to_a_kind_of_phase_with_a_default_changes_no_key(kind):
    options = {"epochs": 3, "optimizer": ADAM}
    plain = phase_keys(Setup(**SETUP), [kind(**options)])
    assert phase_keys(Setup(**SETUP), [wider(kind, **options)]) == plain
    assert phase_keys(Setup(**SETUP), [wider(kind, **options, extra=1)]) != plain


def test_a_setting_added_to_the_setup_with_a_default_changes_no_key():
    phases = [TrainNetwork(epochs=3, optimizer=ADAM)]
    plain = phase_keys(Setup(**SETUP), phases)
    assert phase_keys(wider(Setup, **SETUP), phases) == plain
    assert phase_keys(wider(Setup, **SETUP, extra=1), phases) != plain


def test_a_setting_added_to_the_extractor_with_a_default_changes_no_key(monkeypatch):
    phases = [TrainNetwork(epochs=3, optimizer=ADAM)]

    def key(**options):
        extractor = functools.partial(OblongExtractor, dc=[3, 4], **options)
        return phase_keys(Setup(network=Architecture(extractor=extractor), **SETUP), phases)

    plain = key()
    signature = inspect.signature(OblongExtractor)
    extra = inspect.Parameter("extra", inspect.Parameter.KEYWORD_ONLY, default=0)
    wide = signature.replace(parameters=[*signature.parameters.values(), extra])
    monkeypatch.setattr(OblongExtractor, "__signature__", wide, raising=False)
    assert key() == key(extra=0) == plain
    assert key(extra=1) != plain


def test_a_setting_at_its_default_is_no_difference():
    """Whoever writes a default out in a YAML file asks for the same phase."""
    phases = [TrainNetwork(epochs=3, optimizer=ADAM)]
    shorter = Architecture(extractor=functools.partial(OblongExtractor, dc=(3, 4)))
    longer = Architecture(extractor=functools.partial(OblongExtractor, dc=[3, 4], features=30, dropout=0.3))
    first, second = (phase_keys(Setup(network=network, **SETUP), phases) for network in (shorter, longer))
    assert first == second


def test_a_class_that_moves_to_another_module_keeps_its_key(monkeypatch):
    before = keys("condition=late_crt_wc")
    elsewhere = ModuleType("singtech.elsewhere")
    monkeypatch.setitem(sys.modules, "singtech.elsewhere", elsewhere)
    for kind in (OblongExtractor, WeightedCrossEntropy, TrainHead):
        setattr(elsewhere, kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", "singtech.elsewhere")
    groups = {"model": "OblongExtractor", "loss": "WeightedCrossEntropy", "strategy.phases.1": "TrainHead"}
    targets = [f"{group}._target_=singtech.elsewhere.{name}" for group, name in groups.items()]
    assert asked("condition=late_crt_wc", *targets).keys == before


OWN = """
class Loss:
    def __init__(self, class_counts, gamma=2.0):
        self.gamma = gamma

    def __call__(self, logits, targets):
        return logits.sum()


class Sampler:
    def __init__(self, targets):
        pass


class Augment:
    def __init__(self, sample_rate):
        pass


class Head:
    def __init__(self, features, techniques):
        pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A person's own file, importable as `mine_of_keys`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_of_keys", raising=False)
    path = tmp_path / "mine_of_keys.py"
    path.write_text(OWN)
    yield path
    sys.modules.pop("mine_of_keys", None)


def own(group, name, strategy="crt_wc"):
    return asked(f"{group}=own", f"{group}._target_=mine_of_keys.{name}", f"strategy={strategy}").keys


@pytest.mark.parametrize(
    ("group", "name", "strategy", "changes"),
    [
        ("loss", "Loss", "crt_wc", [False, True]),
        ("loss", "Loss", "crt_wfc", [True, True]),
        ("sampler", "Sampler", "crt_wc", [False, True]),
        ("augment", "Augment", "crt_wc", [True, True]),
        ("head", "Head", "crt_wc", [True, True]),
    ],
)
def test_a_persons_own_file_is_in_the_keys_of_the_phases_that_use_it(mine, group, name, strategy, changes):
    before = own(group, name, strategy)
    assert own(group, name, strategy) == before
    mine.write_text(OWN.replace("logits.sum()", "logits.mean()"))
    assert own(group, name, strategy) == before  # what runs is what was imported
    sys.modules.pop("mine_of_keys")  # as in the next process
    after = own(group, name, strategy)
    assert [one != other for one, other in zip(before, after, strict=True)] == changes
    mine.write_text(OWN)
    sys.modules.pop("mine_of_keys")
    assert own(group, name, strategy) == before


def test_a_persons_own_file_may_move_and_be_renamed(mine):
    before = own("loss", "Loss")
    moved = mine.with_name("moved_mine_of_keys.py")
    moved.write_text(OWN)
    assert asked("loss=own", "loss._target_=moved_mine_of_keys.Loss", "strategy=crt_wc").keys == before


def test_a_setting_of_a_persons_own_class_changes_the_key_where_it_is_not_the_default(mine):
    before = own("loss", "Loss")
    target = ("loss=own", "loss._target_=mine_of_keys.Loss", "strategy=crt_wc")
    assert asked(*target, "+loss.gamma=2").keys == before
    assert asked(*target, "+loss.gamma=1").keys[1] != before[1]


def test_a_class_of_an_installed_package_stands_with_its_name_and_version(monkeypatch):
    assert identify_code(StandardScaler) == f"scikit-learn=={sklearn.__version__}"

    def key():
        components._find_distribution.cache_clear()
        return phase_keys(Setup(**SETUP), [TrainNetwork(epochs=1, optimizer=ADAM, loss=StandardScaler)])

    before = key()
    assert key() == before
    monkeypatch.setattr(components.metadata, "version", lambda name: "0.0.1")
    after = key()
    components._find_distribution.cache_clear()
    assert after != before


def test_zero_alpha_is_one_run_however_it_is_typed():
    typed = [asked("strategy=crt_wc", f"alpha={zero}") for zero in ("0", "0.0", "-0.0")]
    assert len({run.keys for run in typed}) == 1
    assert len({run.name("test") for run in typed}) == 1
    assert "alpha_0-" in typed[0].name("test")
    assert asked("strategy=crt_wc", "alpha=0.1").keys != typed[0].keys


def test_all_losses_alphas_and_samplers_share_one_feature_phase_of_crt_wc(mine):
    others = [
        keys("strategy=crt_wc", "alpha=1.0"),
        keys("strategy=crt_wc", "loss.reduction=clips"),
        keys("strategy=crt_wc", "sampler=balanced"),
        own("loss", "Loss"),
        keys("strategy=tau_norm"),
        keys("strategy=lws"),
    ]
    first = keys("strategy=crt_wc")
    assert {features for features, _ in others} == {first[0]}
    assert len({classifier for _, classifier in [first, *others]}) == 7


def test_joint_training_shares_the_feature_phase_of_crt_wfc_under_the_same_loss():
    for settings in ((), ("alpha=1.0",), ("loss.reduction=clips",), ("sampler=balanced",)):
        joint, decoupled = keys("strategy=joint", *settings), keys("strategy=crt_wfc", *settings)
        assert joint[0] == decoupled[0]
        assert joint[1] != decoupled[1]
    assert keys("strategy=joint")[0] != keys("strategy=joint", "alpha=1.0")[0]


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1",
        "precision=bf16-mixed",
        "trainer.devices=2",
        "batch_size=32",
        "drop_last=true",
        "schedule.max_batches=5",
        "selection=best",
        "dc=none",
        "model.features=20",
        "front_end.level=rms",
        "optimizer.lr=0.001",
        "augment=noise",
        "augment=singtech",
        "schedule.label_smoothing=0.1",
        "schedule.features=50",
    ],
)
def test_what_decides_the_outcome_changes_the_key_of_every_phase(setting):
    assert not set(keys(setting)) & set(keys())


def test_the_order_and_the_probabilities_of_a_chain_are_in_the_key():
    plain = keys("augment=singtech")
    assert keys("augment=singtech", "augment.probability.room=0.3") == plain
    swapped = "augment.order=[excerpt,room,equaliser,noise_floor,mixstyle,frequency_masks]"
    for change in (swapped, "augment.probability.room=0.0", "augment.parts.excerpt.speed=0.0"):
        assert not set(keys("augment=singtech", change)) & set(plain)


def test_other_clips_change_every_key():
    assert not set(asked(corpus=NamedCorpus(mark="fedcba9876543210")).keys) & set(keys())


def test_the_clips_that_select_an_epoch_are_in_the_key_and_other_validation_clips_are_not():
    class Validated(NamedCorpus):
        def fingerprint(self, split):
            return f"{split}-other" if split == "validation" else super().fingerprint(split)

    assert asked(corpus=Validated()).keys == keys()
    assert not set(asked("selection=best", corpus=Validated()).keys) & set(keys("selection=best"))


@pytest.mark.parametrize(
    "setting", ["schedule.classifier=50", "retraining.init=warm", "retraining.extractor=train", "loss.reduction=clips"]
)
def test_what_decides_the_retraining_alone_leaves_the_feature_phase(setting):
    first, second = keys(setting)
    assert first == keys()[0]
    assert second != keys()[1]


@pytest.mark.parametrize(
    ("strategy", "setting"),
    [
        ("crt_wc", "retraining.learning_rate=1e-5"),
        ("crt_wfc", "retraining.extractor=train"),
        ("head", "sampler=balanced"),
        ("lws", "alpha=1.0"),
    ],
)
def test_every_strategy_that_retrains_does_so_as_it_is_told(strategy, setting):
    assert keys(f"strategy={strategy}")[-1] != keys(f"strategy={strategy}", setting)[-1]


def test_a_row_says_alpha_as_it_was_given():
    assert asked("alpha=0.123456789").names["alpha"] == 0.123456789


@pytest.mark.parametrize(
    "setting",
    [
        "output_dir=elsewhere",
        "label=mine",
        "data.root=elsewhere",
        "trainer.accelerator=cpu",
        "trainer.deformable=gather",
        "trainer.resident=false",
        "trainer.progress=false",
        "logger=csv",
        "strategy.phases.0.name=other",
    ],
)
def test_places_and_the_machine_change_no_key(setting):
    assert keys(setting) == keys()
