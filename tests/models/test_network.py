"""The network's shapes and parameter counts (Table 1, Section 4.3)."""

import pytest
import torch

from singtech.errors import InvalidValue
from singtech.models.layers import describe
from singtech.models.network import initialise, oblong_network, parameter_count

SAMPLES = 3 * 44100
ARRANGEMENTS = {"none": (), "all": (1, 2, 3, 4), "early": (1, 2), "late": (3, 4), "last": (4,)}
COUNTS = {  # with the hidden layer of 50, and Table 1 read literally
    "none": (337_510, 333_300),
    "all": (463_374, 459_164),
    "early": (362_194, 357_984),
    "late": (438_690, 434_480),
    "last": (435_734, 431_524),
}
PAPER_COUNTS = {"none": 337.5, "all": 463.3, "early": 362.2, "late": 438.7, "last": 435.7}  # thousands, Section 4.3


def network(dc="none", seed=0, samples=SAMPLES, **extractor):
    return oblong_network(samples, 10, {}, seed, dc=ARRANGEMENTS[dc], **extractor)


@pytest.mark.parametrize("dc", ARRANGEMENTS)
def test_parameter_counts_are_the_papers(dc):
    assert parameter_count(network(dc)) == COUNTS[dc][0]
    assert parameter_count(network(dc, hidden=None)) == COUNTS[dc][1]
    assert parameter_count(network(dc)) / 1000 == pytest.approx(PAPER_COUNTS[dc], abs=0.1)


@pytest.mark.parametrize(("padding", "frames"), [("same", 2), ("both", 3)])
def test_a_clip_of_three_seconds_ends_as_a_map_of_ten_by_two(padding, frames):
    oblong = network("late", padding=padding).eval()
    clip = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    spectrogram = oblong.front_end(clip)
    assert spectrogram.shape == (1, 3, 1025, 259) == (1, *oblong.front_end.shape(SAMPLES))
    with torch.no_grad():
        maps = oblong.extractor.convolutions(spectrogram)
        assert maps.shape == (1, 128, 10, frames) == (1, *oblong.extractor.map_shape)
        assert oblong.features(clip).shape == (1, 30)
        assert oblong(clip).shape == (1, 10)


def test_flatten_keeps_every_position_of_the_map():
    flat = network(aggregation="flatten")
    assert flat.extractor.projection.hidden.in_features == 2560  # Yamamoto et al. (2021), size-keeping padding
    assert network(aggregation="flatten", padding="both").extractor.projection.hidden.in_features == 3840


def test_networks_of_one_seed_begin_alike_but_for_their_deformable_layers():
    plain, late = network("none").state_dict(), network("late").state_dict()
    shared = [name for name in plain if name in late]
    assert len(shared) == len(plain) - 2  # the two biases that deformable layers do not have
    assert all(torch.equal(plain[name], late[name]) for name in shared)
    assert not torch.equal(network(seed=1).classifier.weight, network(seed=0).classifier.weight)


def test_layers_of_one_kind_begin_differently():
    class Twins(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    twins, head = Twins(), torch.nn.Linear(4, 4)
    initialise(twins, seed=0)
    assert not torch.equal(twins.first.weight, twins.second.weight)
    initialise(head, seed=0, prefix="first")
    assert torch.equal(head.weight, twins.first.weight)  # a stream is the layer's name and the seed
    initialise(head, seed=0, prefix="anew/first")
    assert not torch.equal(head.weight, twins.first.weight)


def test_drawing_the_weights_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    network("late")
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("samples", [16000, 48639])  # 95 hops of 512 give 96 frames
def test_a_clip_too_short_for_the_pooling_is_one_clear_error(samples):
    with pytest.raises(InvalidValue, match="too few for model.pooling=table1, which needs 96 by 96: use longer"):
        network(samples=samples)


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="dc names layer 5: the network has layers 1 to 4"):
        oblong_network(SAMPLES, 10, {}, 0, dc=(3, 5))
    with pytest.raises(ValueError, match=r"model\.aggregation=max: expected average or flatten or statistics"):
        network(aggregation="max")
    for pooling in ("coarse", [[4, 4]] * 3, [[4, 0]] * 4, [[4, 4, 4]] * 4, [4, 4, 4, 4], 4, None):
        with pytest.raises(
            ValueError, match=r"model\.pooling=.*: expected table1, fine, bins, or \[bins,frames\] for each"
        ):
            network(pooling=pooling)


@pytest.mark.parametrize(("pooling", "frames"), [("table1", 2), ("fine", 32), ("bins", 259), ([[4, 2]] * 4, 16)])
def test_pooling_changes_the_map_and_no_number_of_parameters(pooling, frames):
    oblong = network("late", pooling=pooling)
    assert parameter_count(oblong) == COUNTS["late"][0]
    assert oblong.extractor.map_shape[2] == frames
    assert oblong.eval()(torch.randn(1, SAMPLES)).shape == (1, 10)


def test_kernels_in_time_see_43_and_21_frames_a_second_with_fine_pooling():
    layers = describe(network(pooling="fine"), SAMPLES)
    assert [int(layer.output.split("×")[-1]) for layer in layers[1:3]] == [129, 64]  # in 3 s
