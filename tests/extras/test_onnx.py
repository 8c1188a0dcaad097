"""The ONNX file of any network that can be built gives PyTorch's logits in onnxruntime, and says its names."""

import json

import numpy as np
import pytest
import soundfile
import torch

from singtech.inference.saved import Description
from singtech.models.deformable import DeformableConv2d
from tests.conftest import SMALL, call_command, own_settings, write_corpus

onnx = pytest.importorskip("onnx", reason='needs pip install "singtech[onnx]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "singtech[onnx]"')
pytest.importorskip("onnxscript", reason='needs pip install "singtech[onnx]"')

pytestmark = pytest.mark.long

FRONT_END = {"n_fft": 256, "win_lengths": [256, 128], "hop_length": 40}
OBLONG = {
    "plain": {},
    "late": {"dc": [3, 4]},
    "all": {"dc": [1, 2, 3, 4]},
    "dcn_v1": {"dc": [3, 4], "modulated": False},
    "along": {"dc": [3, 4], "directions": "along"},
    "padding_both": {"dc": [3, 4], "padding": "both"},
    "unpooled": {"dc": [4], "pool_deformable": False},
    "flatten": {"dc": [4], "aggregation": "flatten", "hidden": None},
    "linear": {"dc": [4], "front_end": FRONT_END | {"scale": "linear", "level": "none"}},
    "db": {"dc": [4], "front_end": FRONT_END | {"scale": "db", "level": "rms"}},
    "mel": {"dc": [4], "front_end": FRONT_END | {"axis": "mel", "bands": 96}},
    "pcen": {"dc": [4], "front_end": FRONT_END | {"scale": "pcen"}},
    "standardised": {"dc": [4], "front_end": FRONT_END | {"standardise": "bands"}},
    "constant q": {"dc": [4], "front_end": {"is": "ConstantQ", "lowest": 200.0, "bands": 96, "hop_length": 40}},
    "odd transform": {"dc": [4], "front_end": {"n_fft": 210, "win_lengths": [210, 99], "hop_length": 40}},
}

CNN1D = {"front_end": {"is": "Waveform"}, "extractor": {"is": "WaveformExtractor"}, "head": {"is": "Linear"}}


def oblong(front_end=FRONT_END, **extractor):
    """The parts of an oblong network."""
    parts = {"front_end": {"is": "MultiResolutionSpectrogram", **front_end}}
    return parts | {"extractor": {"is": "OblongExtractor", **extractor}, "head": {"is": "Linear"}}


def stirred(network, waveforms):
    """With offsets neither 0 nor whole, and batch norm's statistics of these waveforms, so that logits vary."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, DeformableConv2d):
                layer.shift.weight.normal_(0, 0.05, generator=draw)
                layer.shift.bias.normal_(0, 1.5, generator=draw)
            if hasattr(layer, "running_var"):
                layer.momentum = 1.0
        network.train()(waveforms)
    return network.eval()


def tones(samples, clips):
    """(clips, samples) of one pitch, loudness and noisiness each."""
    draw = np.random.default_rng(1)
    pitches, noise = draw.uniform(100, 2000, (clips, 1)), draw.normal(size=(clips, samples))
    waveforms = np.sin(2 * np.pi * pitches * np.arange(samples) / 8000) + draw.uniform(0.01, 0.5, (clips, 1)) * noise
    return (draw.uniform(0.01, 0.5, (clips, 1)) * waveforms).astype("f4")


@pytest.mark.parametrize("name", [*OBLONG, "cnn1d"])
def test_any_network_gives_its_logits_in_onnxruntime(name, tmp_path):
    from singtech.inference.onnx import write_onnx

    samples = 40000 if name == "cnn1d" else 4800
    parts = CNN1D if name == "cnn1d" else oblong(**OBLONG[name])
    description = Description(parts, ("straight", "trill", "vibrato"), 8000, samples)
    waveforms = tones(samples, 7)  # a number that it is not traced with
    network = stirred(description.build(), torch.from_numpy(waveforms))
    write_onnx(tmp_path / "model.onnx", network, description)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    with torch.inference_mode():
        expected = network(torch.from_numpy(waveforms)).numpy()
    (found,) = session.run(None, {"waveform": waveforms})
    heard = np.ptp(expected, axis=0).max()
    assert heard > 0.02  # differences from clip to clip, beside which that of the two programs is nothing
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2 * heard)


def test_onnx_s_own_reference_agrees_on_the_deformable_convolution(tmp_path):
    """Against the standard's reference implementation, which shares nothing with onnxruntime or torchvision."""
    from onnx.reference.ops.op_deform_conv import _deform_conv_implementation

    from singtech.models.deformable import deform_conv2d

    draw = np.random.default_rng(2)
    features, weight = draw.normal(size=(2, 3, 6, 7)), draw.normal(size=(4, 3, 2, 3))
    offset, mask = 2 * draw.normal(size=(2, 12, 6, 7)), draw.uniform(0, 2, (2, 6, 6, 7))
    told = _deform_conv_implementation(features, weight, offset, None, mask, [1, 1], 1, [2, 3], 1, [0, 1, 1, 1], [1, 1])
    ours = deform_conv2d(*map(torch.from_numpy, (features, offset, mask, weight)), padding=(0, 1))
    np.testing.assert_allclose(ours.numpy(), told, atol=1e-5)  # it interpolates in float32


def test_export_writes_it_beside_the_weights_and_the_card_says_how_near(tmp_path, call):
    place, corpus = tmp_path / "outputs", write_corpus(tmp_path / "corpus")
    assert call_command("run", "condition=late_crt_wc", *own_settings(corpus, place)) == 0
    model = tmp_path / "model"
    said = call("export", "run=late", "onnx=true", f"to={model}", f"output_dir={place}")
    assert (said.status, said.err) == (0, "")
    names = {"README.md", "config.json", "confusion.png", "model.onnx", "model.safetensors"}
    assert {path.name for path in model.iterdir()} == names
    assert "(clips, 4800) at 8,000 Hz" in (model / "README.md").read_text()
    told = {entry.key: entry.value for entry in onnx.load(model / "model.onnx").metadata_props}
    assert json.loads(told["techniques"]) == ["straight", "trill", "vibrato"]
    assert (told["sample_rate"], told["samples"]) == ("8000", "4800")
    assert "data.sample_rate=8000" in SMALL
    from singtech.inference.predictor import load

    take, rate = soundfile.read(next((corpus / "dot").rglob("*.wav")), dtype="float32")
    timeline = load(model).predict(take[:4800], rate)
    (logits,) = onnxruntime.InferenceSession(model / "model.onnx").run(None, {"waveform": take[None, :4800]})
    np.testing.assert_allclose(logits, timeline.logits, rtol=0, atol=1e-2 * np.ptp(logits))


def test_a_file_that_does_not_agree_is_not_written(tmp_path, monkeypatch):
    import singtech.inference.onnx as module

    description = Description(oblong(), ("a", "b"), 8000, 4800)
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="logits differ by"):
        module.write_onnx(tmp_path / "model.onnx", description.build(), description)
    assert not (tmp_path / "model.onnx").exists()
