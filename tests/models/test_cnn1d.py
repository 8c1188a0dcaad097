"""The 1DCNN baseline (Wilkins et al. 2018): shapes, parameters and the shortest clip."""

import functools

import pytest
import torch

from singtech.errors import InvalidValue
from singtech.models.cnn1d import Waveform, WaveformExtractor
from singtech.models.network import Architecture, parameter_count

SAMPLES = 3 * 44100
SHORTEST = 21551  # three times back: 1 -> 64 + 255 = 319 -> 318 · 8 + 64 + 63 = 2671 -> 2670 · 8 + 64 + 127 = 21551


def cnn1d_network(samples, techniques, seed, level="peak"):
    front_end = functools.partial(Waveform, level=level)
    return Architecture(front_end, WaveformExtractor).build(samples, techniques, 44100, seed)


def test_parameters_are_those_of_its_layers_by_hand():
    convolutions = (16 * 1 * 128 + 16) + (8 * 16 * 64 + 8) + (32 * 8 * 256 + 32)
    norms = 2 * (16 + 8 + 32)
    dense = (32 * 217 * 32 + 32) + (32 * 10 + 10)
    assert parameter_count(cnn1d_network(SAMPLES, 10, 0)) == convolutions + norms + dense == 298_514


def test_a_clip_of_three_seconds_is_flattened_to_6944_values():
    network = cnn1d_network(SAMPLES, 10, 0).eval()
    assert network.extractor.projection.features.in_features == 6944
    clip = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    assert network.front_end(clip).shape == (1, 1, SAMPLES)
    assert network.extractor.convolutions(network.front_end(clip)).shape == (1, 32, 217)
    assert network.features(clip).shape == (1, 32)
    assert network(clip).shape == (1, 10)


def test_each_block_is_convolution_batch_norm_relu_and_then_the_maximum():
    network = cnn1d_network(SHORTEST, 3, 0)  # in train mode: batch norm by the batch
    waveform = torch.randn(4, 1, 500, generator=torch.Generator().manual_seed(0))
    block = network.extractor.convolutions.layer1
    maps = torch.nn.functional.conv1d(waveform, block.conv.weight, block.conv.bias)
    maps = (
        (maps - maps.mean((0, 2), keepdim=True)) / (maps.var((0, 2), correction=0, keepdim=True) + 1e-5).sqrt()
    ).relu()
    expected = torch.stack([maps[:, :, start : start + 64].amax(2) for start in range(0, 373 - 64 + 1, 8)], dim=2)
    torch.testing.assert_close(block(waveform), expected, atol=1e-5, rtol=1e-4)


def test_the_features_are_not_negative_and_dropout_is_on_in_training_only():
    network = cnn1d_network(SHORTEST, 3, 0)
    clips = torch.randn(8, SHORTEST, generator=torch.Generator().manual_seed(0))
    assert network.extractor.projection.dropout.p == 0.4
    assert (network.features(clips) >= 0).all()
    assert not torch.equal(network.features(clips), network.features(clips))
    network.eval()
    assert torch.equal(network.features(clips), network.features(clips))


def test_the_shortest_clip_leaves_one_position_and_a_shorter_one_is_one_clear_error():
    assert cnn1d_network(SHORTEST, 10, 0).extractor.projection.features.in_features == 32
    with pytest.raises(InvalidValue, match=r"takes waveforms, found inputs of shape \(3, 257, 97\)"):
        WaveformExtractor((3, 257, 97))
    message = "a clip has 21550 samples, too few for the poolings of the 1DCNN, which need 21551: use longer clips"
    with pytest.raises(ValueError, match=message):
        cnn1d_network(SHORTEST - 1, 10, 0)


def test_a_clips_level_does_not_matter_but_to_level_none():
    clip = torch.randn(1, SHORTEST, generator=torch.Generator().manual_seed(0))
    for level, same in (("peak", True), ("rms", True), ("none", False)):
        network = cnn1d_network(SHORTEST, 3, 0, level=level).eval()
        assert torch.allclose(network(clip), network(0.1 * clip + 0.05), atol=1e-4) is same
    with pytest.raises(ValueError, match=r"front_end\.level=loud: expected peak or rms or none"):
        cnn1d_network(SHORTEST, 3, 0, level="loud")


def test_its_initial_weights_come_from_the_seed_alone():
    state = torch.random.get_rng_state()
    first, again, other = (cnn1d_network(SHORTEST, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
