"""Where kernels look: offsets as they were set, and places on the spectrogram by hand and by gradient."""

import pytest
import torch
from torch import nn

from singtech.models.deformable import paddings
from singtech.models.network import oblong_network
from singtech.models.oblong import LAYERS, PaddedConv2d
from singtech.models.offsets import deformable_layers, input_coordinates, kernel_grid, predict_offsets

FRONT_END = {"n_fft": 256, "win_lengths": [256, 128], "hop_length": 40}


@pytest.fixture
def network():
    return oblong_network(samples=4800, techniques=2, front_end=FRONT_END, seed=0, dc=(3, 4)).eval()


def test_an_untrained_network_looks_at_the_rigid_grid(network):
    third, fourth = predict_offsets(network, torch.randn(2, 4800))
    assert (third.layer, third.kernel_size, fourth.layer, fourth.kernel_size) == (3, (1, 4), 4, (1, 16))
    for seen in (third, fourth):
        assert not seen.offset.any()
        assert torch.equal(seen.mask, torch.ones_like(seen.mask))
        rigid, moved, _ = seen.tap_positions(0, (1, 0))
        assert torch.equal(rigid, moved)


def test_offsets_that_are_set_by_hand_are_reported_frequency_first(network):
    """The bias of the offset convolution is the offset itself: vertical, then horizontal, tap by tap; then the mask."""
    layer = deformable_layers(network)[3]
    with torch.no_grad():
        layer.shift.bias[:8] = torch.tensor([0.5, -1, 0, 2, 0, 0, 3, 0.25])
        layer.shift.bias[8:] = torch.tensor([0.0, 100, -100, 0])
    seen = predict_offsets(network, torch.randn(1, 4800))[0]
    rigid, moved, mask = seen.tap_positions(0, (4, 1))
    shift = (moved - rigid) / torch.tensor(seen.scale)
    torch.testing.assert_close(shift, torch.tensor([[0.5, -1], [0, 2], [0, 0], [3, 0.25]]))
    torch.testing.assert_close(mask, torch.tensor([1.0, 2, 0, 1]))


def test_the_mean_offset_counts_the_taps_that_meet_the_map(network):
    """The taps of layer 3 lie at -1, 0, 1 and 2. In its first column the first tap is off the map and stays there."""
    layer = deformable_layers(network)[3]
    with torch.no_grad():
        layer.shift.bias[:8] = torch.tensor([0.0, -1, 0, 2, 0.5, 0, 0, 0.25])
    seen = predict_offsets(network, torch.randn(1, 4800))[0]
    cells, shifts = seen.mean_shifts(0)
    scale, origin = torch.tensor(seen.scale), torch.tensor(seen.origin)
    torch.testing.assert_close(cells[4, 1], torch.tensor([4.0, 1]) * scale + origin)
    torch.testing.assert_close(shifts[4, 1], torch.tensor([0.5 / 4, (-1 + 2 + 0.25) / 4]) * scale)
    torch.testing.assert_close(shifts[4, 0], torch.tensor([0.5 / 3, (2 + 0.25) / 3]) * scale)


def test_the_grid_of_an_even_kernel_by_hand():
    assert kernel_grid((1, 4), paddings((1, 4), "same")).tolist() == [[0, -1], [0, 0], [0, 1], [0, 2]]
    assert kernel_grid((2, 2), paddings((2, 2), "same")).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_places_on_the_spectrogram_by_hand(network):
    """Layer 1 pools 4 bins, their middle 1.5 on, behind a kernel of 4, its middle 0.5 on: 4 x + 2, and so on."""
    places = input_coordinates(network)
    assert places[1] == ((1, 1), (0, 0))
    assert places[2] == ((4, 4), (2, 1.5))
    assert places[3] == ((16, 16), (4 * 2 + 2, 4 * 1.5 + 1.5))
    assert places[4] == ((48, 48), (16 * 1 + 10, 16 * (1 + 0.5) + 7.5))


def test_places_are_the_middle_of_what_a_cell_depends_on(network):
    """With all weights alike and averages for maxima, the gradient of a cell is symmetrical around its middle."""
    parts, channels = [], 1
    for _, kernel, pool in LAYERS[:3]:
        conv = PaddedConv2d(channels, 1, kernel, paddings(kernel, "same"))
        nn.init.ones_(conv.weight)
        parts += [conv, nn.AvgPool2d(pool)]
    spectrogram = torch.zeros(1, 1, 900, 900, requires_grad=True)
    maps = nn.Sequential(*parts)(spectrogram)
    maps[0, 0, 9, 8].backward()
    gradient = spectrogram.grad[0, 0]
    along = torch.arange(900.0)
    middle = [float((gradient.sum(dim=1 - axis) * along).sum() / gradient.sum()) for axis in (0, 1)]
    (scale, origin) = input_coordinates(network)[4]
    assert middle == pytest.approx([9 * scale[0] + origin[0], 8 * scale[1] + origin[1]], abs=1e-2)


def test_the_cell_nearest_to_a_place_is_found_and_stays_on_the_map(network):
    seen = predict_offsets(network, torch.randn(1, 4800))[0]
    (scale, origin) = input_coordinates(network)[3]
    middle = seen.grid.mean(dim=0)
    place = [(c + float(m)) * s + o for c, m, s, o in zip((5, 2), middle, scale, origin, strict=True)]
    assert seen.nearest_cell(*place) == (5, 2)
    assert seen.nearest_cell(-1000, 1e6) == (0, seen.offset.shape[-1] - 1)


def test_a_tap_matters_that_meets_the_map_with_or_without_its_offset(network):
    """Layer 4's map is 2 by 2, and 16 taps stand from 7 before a cell to 8 after it: two of them meet the map."""
    layer = deformable_layers(network)[4]
    seen = predict_offsets(network, torch.randn(1, 4800))[1]
    assert seen.map_size == tuple(seen.offset.shape[-2:]) == (2, 2)
    assert seen.reaches_map[0, :, 0, 0].nonzero().flatten().tolist() == [7, 8]
    assert seen.reaches_map[0, :, 1, 1].nonzero().flatten().tolist() == [6, 7]
    with torch.no_grad():
        layer.shift.bias[0:2] = torch.tensor([0.0, 6.5])  # tap 0 of cell (0, 0): from -7 to -0.5, half on the map
        layer.shift.bias[14:16] = torch.tensor([50.0, 0.0])  # tap 7: off the map, where it looked at the cell itself
        layer.shift.bias[2:4] = torch.tensor([0.0, 5.0])  # tap 1: from -6 to -1, just off
    moved = predict_offsets(network, torch.randn(1, 4800))[1]
    assert moved.reaches_map[0, :, 0, 0].nonzero().flatten().tolist() == [0, 7, 8]


def test_networks_without_deformable_layers_have_nothing_to_show():
    plain = oblong_network(samples=4800, techniques=2, front_end=FRONT_END, seed=0)
    assert deformable_layers(plain) == {}
