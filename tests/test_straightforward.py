"""The straightforward way computes what ours does: spectrograms, features, logits, loss and every gradient."""

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from benchmarks.straightforward import Clip, ClipDataset, OblongCNN, loader, named_as_here, training_step
from singtech.imbalance.losses import WeightedCrossEntropy
from singtech.models.network import oblong_network, parameter_count
from singtech.models.spectrogram import MultiResolutionSpectrogram

SMALL = {"n_fft": 256, "win_lengths": (256, 128, 64), "hop_length": 40}  # 129 bins by 121 frames of 0.6 s at 8 kHz
SAMPLES, SAMPLE_RATE = 4800, 8000
ARRANGEMENTS = {"none": (), "late": (3, 4), "all": (1, 2, 3, 4)}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Three clips' worth of a wobbling tone in noise, at 16 bits."""
    draw = np.random.default_rng(0)
    time = 2 * np.pi * np.arange(3 * SAMPLES) / SAMPLE_RATE
    waveform = 0.3 * np.sin(440 * time + 3 * np.sin(5 * time)) + 0.05 * draw.normal(size=len(time))
    path = tmp_path_factory.mktemp("corpus") / "tone.wav"
    soundfile.write(path, waveform, SAMPLE_RATE)
    return path


def pair(dc, dropout=0.0):
    """Our network with moved offsets, and the straightforward one with the same weights."""
    layers = ARRANGEMENTS[dc]
    ours = oblong_network(SAMPLES, 10, SMALL, 0, dc=layers, dropout=dropout, hidden_dropout=dropout)
    draw = torch.Generator().manual_seed(1)
    for name, parameter in ours.named_parameters():
        if ".shift." in name:  # which start at zero, where torchvision's gradient of the offsets is one-sided
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=draw)
    plain = OblongCNN(layers, dropout=dropout, hidden_dropout=dropout)
    plain.load_state_dict(named_as_here(ours.state_dict(), layers))
    return ours, plain


@pytest.mark.parametrize("front_end", [SMALL, {}], ids=["small", "the paper's"])
def test_spectrograms_of_a_clip_are_ours(recording, front_end):
    samples = SAMPLES if front_end else 3 * SAMPLES
    dataset = ClipDataset([Clip(recording, 0.0, 0)], samples / SAMPLE_RATE, SAMPLE_RATE, **front_end)
    spectrograms, _ = dataset[0]
    waveform, _ = soundfile.read(recording, samples, dtype="float32")
    ours = MultiResolutionSpectrogram(**front_end)(torch.from_numpy(waveform)[None])[0]
    torch.testing.assert_close(torch.from_numpy(spectrograms), ours, rtol=0, atol=1e-3)


def test_a_clip_is_read_from_its_start_in_the_recording(recording):
    clips = [Clip(recording, start, target) for target, start in enumerate((0.0, 0.6, 1.2))]
    dataset = ClipDataset(clips, 0.6, SAMPLE_RATE, **SMALL)
    waveform, _ = soundfile.read(recording, dtype="float32")
    for clip, (spectrograms, target) in zip(clips, (dataset[k] for k in range(3)), strict=True):
        start = round(clip.start * SAMPLE_RATE)
        assert target == clip.target
        np.testing.assert_array_equal(spectrograms, dataset.spectrograms(waveform[start : start + SAMPLES]))


@pytest.mark.parametrize("dc", ARRANGEMENTS)
def test_features_logits_loss_and_all_gradients_are_ours(dc):
    ours, plain = (network.double() for network in pair(dc))
    waveforms = torch.randn(4, SAMPLES, generator=torch.Generator().manual_seed(2))
    spectrograms = ours.front_end(waveforms).double()
    targets, counts = torch.tensor([0, 3, 9, 3]), torch.arange(1, 11)
    weights = counts.float().pow(-0.2).double()  # Eq. 2
    features, plain_features = ours.extractor(spectrograms), plain.features(spectrograms)
    logits, plain_logits = ours.classifier(features), plain.classifier(plain_features)
    loss = WeightedCrossEntropy(counts, alpha=0.2).double()(logits, targets)
    plain_loss = F.cross_entropy(plain_logits, targets, weights)
    loss.backward()
    plain_loss.backward()
    torch.testing.assert_close(features, plain_features)
    torch.testing.assert_close(logits, plain_logits)
    torch.testing.assert_close(loss, plain_loss)
    gradients = named_as_here({name: p.grad for name, p in ours.named_parameters()}, ARRANGEMENTS[dc])
    assert gradients.keys() == dict(plain.named_parameters()).keys()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_dropout_lies_where_ours_does():
    ours, plain = pair("late", dropout=0.5)
    spectrograms = ours.front_end(torch.randn(4, SAMPLES))
    drops = [[m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)] for network in (ours, plain)]
    assert drops[0] == drops[1] == [0.5] * 5
    assert not torch.equal(plain(spectrograms), plain(spectrograms))
    assert parameter_count(ours) == parameter_count(plain)


def test_a_step_on_batches_of_the_loader_lowers_the_loss(recording):
    clips = [Clip(recording, start, target) for target, start in enumerate((0.0, 0.6, 1.2))]
    batches = loader(ClipDataset(clips, 0.6, SAMPLE_RATE, **SMALL), batch_size=3, workers=0)
    torch.manual_seed(0)
    network = OblongCNN((4,), techniques=3, dropout=0.0, hidden_dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = [float(training_step(network, optimizer, batch, torch.ones(3))) for _ in range(12) for batch in batches]
    assert losses[-1] < 0.8 * losses[0]
