"""Runs with a frozen encoder: what is stored, what is shared, which strategies there are.

A tiny wav2vec 2.0 with random weights on the disk stands in for the Hub (tests/models/tiny.py); no test asks it.
"""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from singtech.errors import Damaged, InvalidValue
from singtech.imbalance.losses import WeightedCrossEntropy
from singtech.imbalance.rewrites import NearestMean, TauNormalized
from singtech.inference.predictor import load
from singtech.models.encoders import HubEncoder
from singtech.training.phases import FitHead, RewriteHead, TrainHead, TrainNetwork, freeze
from tests.conftest import own_settings
from tests.models.tiny import LAYERS, WIDTH, write_tiny

ADAM = functools.partial(torch.optim.Adam, lr=1e-4)
NETWORK = TrainNetwork(epochs=3, optimizer=ADAM, name="features", decay="cosine")
WARM = TrainHead(epochs=2, optimizer=ADAM)
SCRATCH = TrainHead(epochs=2, optimizer=ADAM, init="scratch")
HEAD_ALONE = TrainHead(epochs=3, optimizer=ADAM, name="features", decay="cosine")
TAU, MEANS = RewriteHead(rewrite=TauNormalized), RewriteHead(rewrite=NearestMean)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([NETWORK, SCRATCH], [SCRATCH]),
        ([NETWORK, FitHead()], [FitHead()]),
        ([NETWORK, MEANS], [MEANS]),
        ([NETWORK, WARM], [HEAD_ALONE, WARM]),
        ([NETWORK, TAU], [HEAD_ALONE, TAU]),
        ([NETWORK, NETWORK, TAU], [HEAD_ALONE, HEAD_ALONE, TAU]),
        ([NETWORK, SCRATCH, TAU], [SCRATCH, TAU]),
        ([WARM], [WARM]),
    ],
)
def test_what_trains_the_network_trains_the_head_or_is_left_out(phases, expected):
    assert freeze(phases) == expected


def test_what_a_frozen_network_cannot_do_is_refused():
    with pytest.raises(InvalidValue, match="all of its phases train the network, and this one is frozen"):
        freeze([NETWORK, NETWORK])
    with pytest.raises(InvalidValue, match=r"augment=none"):
        freeze([TrainNetwork(epochs=1, optimizer=ADAM, augment=WeightedCrossEntropy), SCRATCH])
    with pytest.raises(InvalidValue, match="extractor=dropout"):
        freeze([NETWORK, TrainHead(epochs=1, optimizer=ADAM, extractor="dropout")])


@pytest.fixture
def tiny(tmp_path):
    pytest.importorskip("transformers", reason='needs pip install "singtech[encoders]"')
    return write_tiny(tmp_path / "tiny")


@pytest.fixture
def own(own_corpus, tmp_path, tiny):
    settings = [s for s in own_settings(own_corpus, tmp_path / "outputs") if not s.startswith("front_end.")]
    return [*settings, "model=encoder", f"model.name={tiny}"]


@pytest.fixture
def encoded(monkeypatch):
    """Clips that went through the encoder for their features, as counted in its batches on the corpus."""
    counts = []
    raw = HubEncoder.raw
    monkeypatch.setattr(HubEncoder, "raw", lambda self, waves: counts.append(len(waves)) or raw(self, waves))
    return counts


def rows(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "outputs/runs").glob("*/row.json"))]


def test_seeds_heads_folds_and_layers_share_features_that_are_computed_once(call, own, tmp_path, encoded):
    def run(*more):
        encoded.clear()
        done = call("run", *own, *more)
        assert done.status == 0, done.err
        return sum(size for size in encoded if size > 2)  # the trial has two clips

    assert run() == 24  # all clips, of all four singers
    for more in (
        ["seed=1"],
        ["head=mlp"],
        ["head=layers"],
        ["model.layer=2"],
        ["data.fold=0", "data.folds=2"],
        ["strategy=crt_minimum"],
    ):
        assert run(*more) == 0, more
    keys = [row["phases"].split() for row in rows(tmp_path)]
    assert len({key for key, *_ in keys}) == 1
    assert len({key for *_, key in keys}) == 7
    (stored,) = (tmp_path / "outputs/phases" / keys[0][0] / "features").glob("*.npy")
    assert np.load(stored).shape == (24, LAYERS * WIDTH)


def test_a_stored_phase_has_a_head_and_statistics_of_the_training_clips_and_no_encoder(call, own, tmp_path):
    assert call("run", *own).status == 0
    (row,) = rows(tmp_path)
    encoder, statistics, head = (tmp_path / "outputs/phases" / key for key in row["phases"].split())
    assert load_file(encoder / "weights.safetensors") == {}
    names = {"classifier.weight", "classifier.bias", "extractor.mean", "extractor.deviation"}
    assert set(load_file(statistics / "weights.safetensors")) == set(load_file(head / "weights.safetensors")) == names
    (stored,) = (encoder / "features").glob("*.npy")
    predictions = pd.read_csv(tmp_path / "outputs/runs" / row["run"] / "predictions.csv")
    features = np.load(stored).astype(float)
    (clips,) = (tmp_path / "outputs").rglob("clips.csv")
    is_test = pd.read_csv(clips)["singer"] == "dot"
    weights = load_file(head / "weights.safetensors")
    np.testing.assert_allclose(weights["extractor.mean"], features[~is_test].mean(0), atol=1e-5)
    np.testing.assert_allclose(weights["extractor.deviation"], features[~is_test].std(0), rtol=1e-4)
    scaled = (features[is_test] - features[~is_test].mean(0)) / features[~is_test].std(0)
    logits = scaled @ weights["classifier.weight"].numpy().T + weights["classifier.bias"].numpy()
    np.testing.assert_allclose(predictions.filter(like="logit_"), logits, atol=1e-3)
    assert row["parameters"] == 3 * LAYERS * WIDTH + 3


@pytest.mark.parametrize("strategy", "crt_wc crt_mixup tau_norm lws marc mislas nearest_mean logit_adjusted".split())
def test_every_strategy_with_a_phase_of_the_head_runs(call, own, strategy):
    done = call("run", *own, f"strategy={strategy}")
    assert done.status == 0, done.err


def test_joint_training_is_refused_in_a_sentence(call, own):
    done = call("run", *own, "strategy=joint")
    assert done.status == 1
    assert "this one is frozen; use strategy=head" in done.err


def test_an_exported_folder_names_its_encoder_and_predicts_as_the_run(call, own, own_corpus, tmp_path):
    assert call("run", *own).status == 0
    (row,) = rows(tmp_path)
    folder = tmp_path / "model"
    done = call("export", f"run={row['run']}", f"to={folder}", f"output_dir={tmp_path / 'outputs'}")
    assert done.status == 0, done.err
    assert (folder / "model.safetensors").stat().st_size < 5000
    waveform, rate = soundfile.read(own_corpus / "dot/scales/trill/dot_trill_0.wav")
    predictions = pd.read_csv(tmp_path / "outputs/runs" / row["run"] / "predictions.csv")
    clip = predictions[predictions["recording"].str.contains("dot_trill_0") & (predictions["start"] == 0)]
    logits = load(folder).predict(waveform, rate).logits[0]
    np.testing.assert_allclose(logits, clip.filter(like="logit_").to_numpy()[0], atol=1e-2)


def test_a_folder_of_a_model_runs_no_code_of_an_encoder(call, own, tmp_path):
    assert call("run", *own).status == 0
    folder = tmp_path / "model"
    done = call("export", f"run={rows(tmp_path)[0]['run']}", f"to={folder}", f"output_dir={tmp_path / 'outputs'}")
    assert done.status == 0, done.err
    description = json.loads((folder / "config.json").read_text())
    description["parts"]["extractor"]["remote_code"] = True
    (folder / "config.json").write_text(json.dumps(description))
    with pytest.raises(Damaged, match="code of an encoder, which no folder of a model may run"):
        load(folder)
