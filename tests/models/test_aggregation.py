"""Aggregations against NumPy and SciPy, and by hand: what tells a modulated voice from a steady one."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from singtech.errors import InvalidValue
from singtech.models.aggregation import BANDS, Modulation, Statistics, aggregate

FRAMES, SECONDS = 259, 3.0


def sinusoid(hertz, amplitude=1.0, mean=2.0):
    """(1, 1, 1, T) one channel that is modulated."""
    time = np.arange(FRAMES) * SECONDS / FRAMES
    return torch.tensor(mean + amplitude * np.sin(2 * math.pi * hertz * time + 0.3)).float().reshape(1, 1, 1, FRAMES)


def test_statistics_are_numpys_mean_and_deviation_over_frames():
    maps = torch.randn(2, 3, 4, 50, generator=torch.Generator().manual_seed(0))
    envelopes = maps.numpy().mean(axis=2)
    expected = np.concatenate([envelopes.mean(axis=2), envelopes.std(axis=2)], axis=1)
    np.testing.assert_allclose(Statistics()(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("hertz", "band"), [(3, 0), (5, 1), (7, 2), (12, 3)])
def test_a_sinusoid_is_in_its_band_with_its_root_mean_square(hertz, band):
    mean, *sizes = Modulation(FRAMES, SECONDS)(sinusoid(hertz, amplitude=0.8))[0].tolist()
    assert mean == pytest.approx(2.0, abs=0.01)
    assert sizes[band] == pytest.approx(0.8 / math.sqrt(2), rel=0.02)
    assert all(size < 0.02 for number, size in enumerate(sizes) if number != band)


def test_a_steady_or_slowly_rising_channel_has_no_modulation():
    ramp = torch.linspace(0, 0.1, FRAMES).reshape(1, 1, 1, FRAMES)
    assert Modulation(FRAMES, SECONDS)(ramp)[0, 1:].max() < 0.01
    steady = Modulation(FRAMES, SECONDS)(torch.full((1, 1, 4, FRAMES), 3.0))[0]
    assert steady.tolist() == pytest.approx([3.0, *[0.001] * len(BANDS)], abs=1e-4)


def test_power_of_noise_is_scipys_periodogram_summed_over_the_bands():
    maps = torch.randn(2, 3, 4, FRAMES, generator=torch.Generator().manual_seed(0))
    envelopes = maps.double().numpy().mean(axis=2)
    hertz, density = scipy.signal.periodogram(envelopes, FRAMES / SECONDS, "hann", detrend="constant")
    hertz, width = hertz.round(6), hertz[1]  # 1.9999999 is 2
    expected = [np.sqrt(density[..., (low <= hertz) & (hertz < high)].sum(axis=-1) * width) for low, high in BANDS]
    sizes = Modulation(FRAMES, SECONDS)(maps).reshape(2, 1 + len(BANDS), 3)[:, 1:]
    np.testing.assert_allclose(sizes, np.stack(expected, axis=1), rtol=1e-3)


def test_constant_maps_have_finite_gradients():
    for module in (Statistics(), Modulation(FRAMES, SECONDS)):
        maps = torch.ones(1, 2, 3, FRAMES, requires_grad=True)
        module(maps).sum().backward()
        assert torch.isfinite(maps.grad).all()


def test_too_few_frames_for_16_hertz_are_one_clear_error():
    with pytest.raises(
        InvalidValue, match=r"the last maps have 10\.7 frames a second, expected 32 or more for 16 Hz: use"
    ):
        aggregate("modulation", (128, 10, 32), SECONDS)
    assert aggregate("modulation", (128, 10, 97), SECONDS)[1] == 640
    assert aggregate("statistics", (128, 10, 97), SECONDS)[1] == 256
