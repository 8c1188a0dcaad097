"""A model folder: what is written comes back, and what is not what it should be is refused without running anything."""

import json
import os
import resource
import sys

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from singtech.components import import_file
from singtech.errors import Damaged, Diverged, Newer
from singtech.inference.saved import Description, describe_parts, read_model, write_model
from singtech.models.network import oblong_network

FRONT_END = {"n_fft": 256, "win_lengths": [256, 128], "hop_length": 40, "scale": "log", "level": "peak"}
EXTRACTOR = {"dc": [3, 4], "features": 6, "hidden": 5}
ARGUMENTS = {"front_end": FRONT_END, **EXTRACTOR}
PARTS = {
    "front_end": {"is": "MultiResolutionSpectrogram", **FRONT_END},
    "extractor": {"is": "OblongExtractor", **EXTRACTOR},
    "head": {"is": "Linear"},
}
DESCRIPTION = Description(PARTS, ("trill", "straight"), 8000, 4800, {"run": "r"})
OWN = """
from os import system

from torch import nn


class Pitchless(nn.Module):
    def __init__(self, shape, width: int = 4):
        super().__init__()
        self.out_features = width
        self.dense = nn.Linear(shape[0] * shape[1] * shape[2], width)

    def forward(self, spectrograms):
        return self.dense(spectrograms.flatten(1))
"""


@pytest.fixture
def folder(tmp_path):
    network = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS)
    write_model(tmp_path, network, DESCRIPTION)
    return tmp_path


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_network_that_diverged_is_not_written(tmp_path, value):
    network = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS)
    next(network.parameters()).data[0] = value
    with pytest.raises(Diverged, match="weights hold NaN or infinite numbers"):
        write_model(tmp_path, network, DESCRIPTION)
    assert not list(tmp_path.iterdir())
    network = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS)
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))  # as for attention
    write_model(tmp_path, network, DESCRIPTION)


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_part(part, **settings):
    """The parts with some settings of one changed."""
    return {"parts": PARTS | {part: PARTS[part] | settings}}


def test_what_is_written_comes_back(folder):
    network, description = read_model(folder)
    assert description == DESCRIPTION
    assert not network.training
    again = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS).eval()
    waveform = torch.randn(2, 4800)
    torch.testing.assert_close(network(waveform), again(waveform), rtol=0, atol=0)


def test_a_runs_configuration_is_described_with_every_setting():
    targets = ("singtech.models.spectrogram.MultiResolutionSpectrogram", "singtech.models.oblong.OblongExtractor")
    front_end, extractor = FRONT_END | {"scale": "db", "level": "rms"}, EXTRACTOR | {"aggregation": "flatten"}
    settings = {"front_end": {"_target_": targets[0], **front_end}, "model": {"_target_": targets[1], **extractor}}
    assert describe_parts(settings | {"head": {"_target_": "torch.nn.Linear", "bias": False}}) == {
        "front_end": {"is": "MultiResolutionSpectrogram", **front_end},
        "extractor": {"is": "OblongExtractor", **extractor},
        "head": {"is": "Linear", "bias": False},
    }


def test_a_folder_holds_weights_and_words_and_nothing_that_could_run(folder):
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}
    assert "singtech." not in (folder / "config.json").read_text()  # no import path


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (with_part("extractor", **{"is": "os.system"}), "extractor is 'os.system', a class that is not singtech's"),
        (with_part("head", **{"is": None}), "head names no class"),
        ({"parts": PARTS | {"head": "Linear"}}, "head names no class"),
        ({"parts": {"extractor": PARTS["extractor"]}}, "front_end"),
        ({"parts": [1]}, "indices"),
        ({"format": "2"}, "not supported"),
        ({"techniques": None}, "not iterable"),
        (with_part("extractor", seed=1), "no network can be built"),
        (with_part("extractor", _target_="os.system"), "no network can be built"),
        (with_part("front_end", **{"is": "OblongExtractor"}), "no network can be built"),
        (with_part("front_end", a={"b": {"c": {"d": {"e": 1}}}}), "no network can be built"),
        (with_part("extractor", hidden={"is": "os.system"}), "extractor.hidden is 'os.system'"),
        (with_part("extractor", hidden={"is": "torch.nn.init.zeros_"}), "extractor.hidden is 'torch.nn.init.zeros_'"),
        ({"samples": 300}, "too few for model.pooling"),
    ],
)
def test_a_description_that_is_wrong_or_hostile_is_one_sentence(folder, values, why):
    changed(folder, **values)
    with pytest.raises(ValueError, match="is no description of a model ") as problem:
        read_model(folder)
    assert why in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "values",
    [
        {"techniques": ["straight", "trill"]},
        {"techniques": ["trill", "trill"]},
        {"sample_rate": 16000},
        {"origin": {"run": "another"}},
        {"more": 1},
    ],
)
def test_a_description_that_fits_but_was_changed_is_refused(folder, values):
    changed(folder, **values)
    with pytest.raises(Damaged, match="config.json is no description of a model .it has changed"):
        read_model(folder)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    with pytest.raises(Damaged, match="config.json is no description of a model .it has changed"):
        read_model(folder)
    path.write_text(json.dumps(content | {"format": 2}))  # as those of earlier versions
    assert read_model(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}', "[" * 100_000])
def test_a_damaged_description_is_one_sentence(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match="is no description of a model"):
        read_model(folder)


def test_weights_of_another_network_or_cut_short_do_not_fit(folder):
    changed(folder, techniques=["trill", "straight", "belt"])
    with pytest.raises(ValueError, match="does not fit"):
        read_model(folder)
    changed(folder, techniques=["trill", "straight"])
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="does not fit"):
        read_model(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="copy the whole folder of the model"):
        read_model(folder)


def test_one_flipped_bit_is_noticed(folder):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Damaged, match="its content was changed"):
        read_model(folder)


def test_a_newer_format_asks_for_an_update(folder):
    changed(folder, format=4)
    with pytest.raises(Newer, match="has format 4, this version of singtech reads up to 3: install a newer one"):
        read_model(folder)


def test_a_pickle_in_the_place_of_weights_is_not_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"x": Trap()}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        read_model(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model, because config.json is missing"):
        read_model(tmp_path)


@pytest.fixture
def own(tmp_path):
    """A person's own file, and a model folder with a network of its class."""
    file, folder = tmp_path / "mine_saved.py", tmp_path / "own"
    file.write_text(OWN)
    folder.mkdir()
    module = import_file(file)
    parts = PARTS | {"extractor": {"is": "mine_saved.Pitchless", "width": 3}}
    description = Description(parts, ("trill", "straight"), 8000, 4800, {}, module)
    write_model(folder, description.build(), description)
    yield file, folder
    sys.modules.pop("mine_saved", None)


def test_a_class_of_ones_own_is_loaded_from_the_file_that_is_named(own):
    file, folder = own
    network, description = read_model(folder, import_file(file))
    assert network.extractor.out_features == 3
    assert network(torch.randn(2, 4800)).shape == (2, 2)
    assert description.parts["extractor"] == {"is": "mine_saved.Pitchless", "width": 3}


def test_a_class_of_ones_own_is_not_even_imported_unless_its_file_is_named(own, tmp_path, monkeypatch):
    _, folder = own
    sprung = tmp_path / "sprung"
    (tmp_path / "mine_saved.py").write_text(f"open({str(sprung)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("mine_saved", None)
    with pytest.raises(
        ValueError, match=r"'mine_saved\.Pitchless', a class that is not singtech's: name its file, code="
    ):
        read_model(folder)
    other = tmp_path / "other.py"
    other.write_text("class Pitchless: pass")
    with pytest.raises(ValueError, match="code=mine_saved.py"):
        read_model(folder, import_file(other))
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["system", "nn.Linear", "Missing", "__loader__", "OTHER"])
def test_of_the_file_that_is_named_only_what_it_defines_is_called(own, name, tmp_path):
    """`system` is `os.system`, which the file has only imported."""
    file, folder = own
    parts = PARTS | {"extractor": {"is": f"mine_saved.{name}", "command": f"touch {tmp_path / 'sprung'}"}}
    changed(folder, parts=parts)
    with pytest.raises(ValueError, match="is no description of a model"):
        read_model(folder, import_file(file))
    assert not (tmp_path / "sprung").exists()


def test_a_class_of_ones_own_may_have_any_numbers_and_classes_among_its_settings(tmp_path):
    (tmp_path / "own_helper.py").write_text("SCALE = 2.0\n")
    (tmp_path / "mine_nested.py").write_text(
        """
from torch import nn

from own_helper import SCALE


class Wide(nn.Module):
    def __init__(self, shape, activation, layers, fmax=0, floor=0):
        super().__init__()
        self.out_features = 3
        self.dense = nn.Linear(shape[0] * shape[1] * shape[2], 3)
        self.activation, self.layers = activation(), [layer() for layer in layers]
        self.settings = fmax, floor, SCALE

    def forward(self, spectrograms):
        return self.activation(self.dense(spectrograms.flatten(1)))
"""
    )
    relu = {"_target_": "torch.nn.ReLU"}
    settings = {"_target_": "mine_nested.Wide", "activation": relu, "layers": [relu], "fmax": 8000, "floor": -80}
    front_end = {"_target_": "singtech.models.spectrogram.MultiResolutionSpectrogram", **FRONT_END}
    parts = describe_parts({"front_end": front_end, "model": settings, "head": {"_target_": "torch.nn.Linear"}})
    code, before = import_file(tmp_path / "mine_nested.py"), list(sys.path)
    try:
        description = Description(parts, ("trill", "straight"), 8000, 4800, {}, code)
        write_model(tmp_path, description.build(), description)
        network, _ = read_model(tmp_path, code)
    finally:
        sys.path[:] = [path for path in before if path != str(tmp_path)]
        for name in ("mine_nested", "own_helper"):
            sys.modules.pop(name, None)
    assert network.extractor.settings == (8000, -80, 2.0)
    assert [type(part).__name__ for part in (network.extractor.activation, *network.extractor.layers)] == ["ReLU"] * 2


@pytest.mark.parametrize("target", ["own_package.Pitchless", "own_package.net.Pitchless"])
@pytest.mark.parametrize("file", ["", "__init__.py"])
def test_a_class_of_a_package_is_loaded_from_its_folder(tmp_path, target, file):
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .net import Pitchless\n")
    (package / "net.py").write_text(OWN)
    before = list(sys.path)
    parts = PARTS | {"extractor": {"is": target}}
    with pytest.raises(ValueError, match="or its package's folder"):
        Description(parts, ("trill", "straight"), 8000, 4800).build()
    try:
        description = Description(parts, ("trill", "straight"), 8000, 4800, {}, import_file(package / file))
        assert type(description.build().extractor).__name__ == "Pitchless"
    finally:
        sys.path[:] = before
        for name in ("own_package", "own_package.net"):
            sys.modules.pop(name, None)


MANY = (10**8, 10**10, 2**40, 2**70)
CQT, WIDE = {"is": "ConstantQ", "hop_length": 80}, {"is": "MultiResolutionSpectrogram", "hop_length": 40}
HUGE = [
    *(("samples", number, {}) for number in MANY),
    *(("sample_rate", number, {}) for number in MANY),
    *((f"extractor.{name}", number, PARTS["extractor"]) for name in ("features", "hidden") for number in MANY),
    *(("head.hidden", number, {"is": "MLP"}) for number in MANY),
    *((f"front_end.{name}", number, WIDE) for name in ("n_fft",) for number in MANY),
    *(("front_end.win_lengths", value, WIDE) for value in ([10**10], [2048] * 10**6)),
    *(("front_end.bands", number, WIDE | {"axis": "mel", "n_fft": 2**20, "win_lengths": [512]}) for number in MANY),
    *((f"front_end.{name}", number, CQT) for name in ("bands", "bands_per_octave") for number in MANY),
    *(("front_end.lowest", number, CQT) for number in (1e-3, 1e-300)),
    *(("front_end.filter_scales", [number], CQT) for number in (1e6, 1e300)),
]


@pytest.mark.parametrize(
    ("name", "value", "settings"), HUGE, ids=[f"{name}={str(value)[:9]}" for name, value, _ in HUGE]
)
def test_what_asks_for_absurd_sizes_is_refused_before_memory_is_taken(folder, name, value, settings):
    part, _, setting = name.partition(".")
    changed(folder, **({"parts": PARTS | {part: settings | {setting: value}}} if setting else {name: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Damaged, match="is no description of a model|other sizes") as problem:
        read_model(folder)
    assert "\n" not in str(problem.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@example(b"", 0, 10**10)
@example(b"", 0, -100)
@given(st.binary(max_size=40), st.integers(0, 2**64 - 1), st.integers(-200, 10**10))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_of_any_header_and_length_are_one_sentence(folder, start, length, more):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    assume(start or more)
    try:
        weights.write_bytes((length.to_bytes(8, "little") if start else whole[:8]) + start + whole[8:])
        os.truncate(weights, max(0, weights.stat().st_size + more))  # longer, without a block on the disk
        with pytest.raises(Damaged, match="does not fit its config.json") as problem:
            read_model(folder)
        assert "\n" not in str(problem.value)
    finally:
        weights.write_bytes(whole)
