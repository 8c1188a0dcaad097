"""Figures of where kernels look: points in their units, whole points at the edge, and no offset left out in silence."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from PIL import Image

from singtech.results.look_figure import ARROW, Sampling, _interpolate, animate_sampling, draw_density, draw_sampling


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


ARROWS = np.array([[1000, 0.2], [2000, 0.4]]), np.array([[500, -0.1], [0, 0]])  # where they begin, how far they go


def draw(*samplings):
    """Draw them over a spectrogram of 1 s and 4 kHz."""
    return draw_sampling("trill", np.zeros((129, 101)), 0.01, 31.25, samplings, [ARROWS] * len(samplings), "CC BY 4.0")


def test_points_stand_in_seconds_and_khz_with_the_mask_as_their_area():
    figure = draw(sampling())
    (axes,) = figure.axes
    _, rigid, moved = axes.collections
    np.testing.assert_allclose(rigid.get_offsets(), [[0.1, 1], [0.5, 1]])
    np.testing.assert_allclose(moved.get_offsets(), [[0.2, 1.2], [0.5, -0.8]])
    assert moved.get_sizes()[1] == pytest.approx(3 * moved.get_sizes()[0])
    assert axes.get_title() == "layer 4, kernel 1×3, mask 0.50 to 1.50; 1 of 3 taps off the map"
    assert figure.get_supxlabel().endswith("\nCC BY 4.0")


def test_arrows_are_drawn_true_to_scale():
    (axes,) = draw(sampling()).axes
    quiver = axes.collections[0]
    np.testing.assert_allclose(quiver.XY, [[0.2, 1], [0.4, 2]])
    np.testing.assert_allclose([quiver.U, quiver.V], [[-0.1, 0], [0.5, 0]], atol=1e-12)
    np.testing.assert_allclose(quiver.get_facecolor(), [to_rgba(ARROW)])
    assert (quiver.angles, quiver.scale_units, quiver.scale) == ("xy", "xy", 1)


def test_layers_share_a_time_axis_and_end_with_the_spectrogram_as_wide_as_a_page():
    figure = draw(sampling(layer=3), sampling())
    limits = [(*axes.get_xlim(), *axes.get_ylim()) for axes in figure.axes]
    np.testing.assert_allclose(limits, [(-0.005, 1.005, -0.015625, 4.015625)] * 2)
    assert figure.axes[0].get_shared_x_axes().joined(*figure.axes)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(178)
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert {text.get_fontsize() for text in texts} <= {7, 8}


def test_frames_and_bins_are_centred_on_their_time_and_frequency():
    image = draw(sampling()).axes[0].images[0]
    assert image.get_extent() == pytest.approx((-0.005, 1.005, -0.015625, 4.015625))


def test_a_kernel_that_meets_no_map_has_a_figure_too():
    figure = draw(sampling(matters=np.zeros(3, dtype=bool)))
    assert "3 of 3 taps off the map" in figure.axes[0].get_title()


def test_the_animation_moves_and_stays_small(tmp_path):
    """Two kernels at 30 places: 48 frames over 2 s, twice as long as the sound; frames differ where the kernels are."""
    noise, still = (
        np.random.default_rng(0).normal(size=(129, 101)),
        sampling(rigid=sampling().rigid.clip(max=[1000, 0.9])),
    )
    places = []
    for k in range(30):
        right, up = [0, k / 40], [1500, 0]
        low = sampling(rigid=still.rigid + right, moved=still.moved + right)
        places.append([low, sampling(rigid=low.rigid + up, moved=low.moved + up)])
    path = animate_sampling(tmp_path / "trill.gif", "trill", noise, 0.01, 31.25, places)
    frames = []
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (48, 0)
        for number in range(48):
            image.seek(number)
            assert image.info["duration"] == pytest.approx(2020 / 48, abs=10)  # GIF counts hundredths of a second
            frames.append(np.asarray(image.convert("RGB")).astype(int))
    changed = (frames[0] != frames[24]).any(axis=2)
    assert 0 < changed.mean() < 0.1
    for colour in ((86, 180, 233), (255, 255, 255), (213, 94, 0)):  # grid, points, playhead
        assert (abs(frames[24] - colour).max(axis=2) <= 2)[60:-60].any()
    assert path.stat().st_size < 800_000


def test_between_two_places_taps_are_interpolated():
    still = sampling()
    moved = sampling(rigid=still.rigid + 4, mask=still.mask + 1, matters=np.array([False, False, True]))
    between = _interpolate(still, moved, 0.25)
    np.testing.assert_allclose(between.rigid, still.rigid + 1)
    np.testing.assert_allclose(between.mask, [0.75, 1.75, 1.25])
    assert between.matters.all()
    np.testing.assert_array_equal(_interpolate(still, moved, 0).matters, still.matters)


def test_the_density_shows_as_far_as_offsets_reach_and_says_what_lies_beyond():
    shares = np.zeros((21, 21))  # a pixel a cell
    shares[10, 10], shares[10 - 6, 10 + 2] = 0.5, 0.25
    axes = draw_density("offsets", {3: shares}, 10.5).axes[0]
    image = axes.images[0]
    assert image.get_extent() == pytest.approx((-6.5, 6.5, -6.5, 6.5))
    assert image.get_array()[6, 6] == 0.5
    assert image.get_array()[0, 8] == 0.25
    assert axes.get_title() == "layer 3, 25.0 % of taps beyond"
