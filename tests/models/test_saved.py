"""A model folder: what is written comes back, and what is not what it should be is refused without running anything."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from singtech.models.network import oblong_network
from singtech.models.saved import Description, read_model, write_model

FRONT_END = {"n_fft": 256, "win_lengths": [256, 128], "hop_length": 40, "scale": "log", "level": "peak"}
ARGUMENTS = {"front_end": FRONT_END, "dc": [3, 4], "features": 6, "hidden": 5}
TOLD = Description("oblong", ARGUMENTS, ("trill", "straight"), 8000, 4800, {"run": "r"})


@pytest.fixture
def folder(tmp_path):
    network = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS)
    write_model(tmp_path, network, TOLD)
    return tmp_path


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_is_written_comes_back(folder):
    network, description = read_model(folder)
    assert description == TOLD
    assert not network.training
    again = oblong_network(samples=4800, techniques=2, seed=3, **ARGUMENTS).eval()
    waveform = torch.randn(2, 4800)
    torch.testing.assert_close(network(waveform), again(waveform), rtol=0, atol=0)


def test_a_folder_holds_weights_and_words_and_nothing_that_could_run(folder):
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}
    assert "singtech." not in (folder / "config.json").read_text()  # no import path


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"model": "os.system"}, "expected one of oblong, cnn1d"),
        ({"format": 2}, "format 1"),
        ({"samples": 10**12}, "samples is 1000000000000"),
        ({"samples": True}, "samples is True"),
        ({"sample_rate": "8000"}, "sample_rate is '8000'"),
        ({"techniques": "trill"}, "techniques"),
        ({"techniques": ["trill", "trill"]}, "twice"),
        ({"techniques": [1, 2]}, "techniques"),
        ({"techniques": ["trill", "\x1b[2Jstraight"]}, "techniques"),  # which would clear a terminal
        ({"arguments": {"features": 10**9}}, "expected whole numbers from 0 to 4096"),
        ({"arguments": {**ARGUMENTS, "seed": 1}}, "stand elsewhere"),
        ({"arguments": {**ARGUMENTS, "_target_": "os.system"}}, "no network can be built"),
        ({"arguments": {"front_end": {"a": {"b": {"c": {"d": {"e": 1}}}}}}}, "nested too deeply"),
        ({"arguments": [1]}, "no object"),
        ({"arguments": {**ARGUMENTS, "dc": [1] * 65}}, "more than 64"),
        ({"samples": 300}, "too few for the pooling"),
    ],
)
def test_a_description_that_is_wrong_or_hostile_is_one_sentence(folder, values, why):
    changed(folder, **values)
    with pytest.raises(ValueError, match="is no description of a model: ") as problem:
        read_model(folder)
    assert why in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "[" * 100_000])
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
    with pytest.raises(FileNotFoundError, match="fetch the model's folder whole"):
        read_model(folder)


def test_a_description_of_a_giant_is_refused_before_any_memory_is_taken(folder, monkeypatch):
    """Its 1.18 thousand million parameters would be 5 GB."""
    front_end = FRONT_END | {"n_fft": 4096, "hop_length": 64}
    arguments = {"front_end": front_end, "dc": [1, 2, 3, 4], "aggregation": "flatten", "pool_deformable": False}
    changed(folder, arguments={**arguments, "hidden": 12}, samples=24000)
    made = []
    real = torch.empty

    def watched(*sizes, **options):
        value = real(*sizes, **options)
        if value.device.type != "meta":
            made.append(value.numel())
        return value

    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(ValueError, match="names or shapes differ"):
        read_model(folder)
    assert sum(made) < 1e6


def test_weights_that_are_not_numbers_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match="not finite"):
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
    with pytest.raises(FileNotFoundError, match="no model, for it has no config.json"):
        read_model(tmp_path)
