"""Figures of where kernels look: points in their units, whole points at the edge, and no offset left out in silence."""

import numpy as np
import pytest

from singtech.results.look_figure import Sampling, draw_density, draw_sampling


def sampling(**changed):
    """Three taps in a row at 1 kHz; the second looks below the map, the third is off it either way."""
    given = {
        "layer": 4,
        "kernel_size": (1, 3),
        "rigid": np.array([[1000, 0.1], [1000, 0.5], [1000, 9.0]]),
        "moved": np.array([[1200, 0.2], [-800, 0.5], [1000, 9.0]]),
        "mask": np.array([0.5, 1.5, 1.0]),
        "matters": np.array([True, True, False]),
    }
    return Sampling(**given | changed)


def test_points_stand_in_seconds_and_khz_with_the_mask_as_their_area():
    figure = draw_sampling("trill", np.zeros((129, 101)), 0.01, 31.25, [sampling()], "CC BY 4.0")
    (axes,) = figure.axes
    rigid, moved = axes.collections
    np.testing.assert_allclose(rigid.get_offsets(), [[0.1, 1], [0.5, 1]])
    np.testing.assert_allclose(moved.get_offsets(), [[0.2, 1.2], [0.5, -0.8]])
    assert moved.get_sizes()[1] == pytest.approx(3 * moved.get_sizes()[0])
    assert axes.get_title() == "layer 4, kernel 1×3, area: mask, 0.50 to 1.50\n1 of 3 taps off the map, not drawn"
    assert axes.get_ylim()[0] < -0.8  # the whole point is seen
    assert figure.get_supxlabel() == "CC BY 4.0"


def test_frames_and_bins_are_centred_on_their_time_and_frequency():
    image = draw_sampling("trill", np.zeros((129, 101)), 0.01, 31.25, [sampling()]).axes[0].images[0]
    assert image.get_extent() == pytest.approx((-0.005, 1.005, -0.015625, 4.015625))


def test_a_kernel_that_meets_no_map_has_a_figure_too():
    figure = draw_sampling("trill", np.zeros((129, 101)), 0.01, 31.25, [sampling(matters=np.zeros(3, dtype=bool))])
    assert "3 of 3 taps off the map" in figure.axes[0].get_title()


def test_the_density_shows_as_far_as_offsets_reach_and_says_what_lies_beyond():
    shares = np.zeros((21, 21))  # a pixel a cell
    shares[10, 10], shares[10 - 6, 10 + 2] = 0.5, 0.25
    axes = draw_density("offsets", {3: shares}, 10.5).axes[0]
    image = axes.images[0]
    assert image.get_extent() == pytest.approx((-6.5, 6.5, -6.5, 6.5))
    assert image.get_array()[6, 6] == 0.5
    assert image.get_array()[0, 8] == 0.25
    assert axes.get_title() == "layer 3, 25.0 % of taps beyond"
