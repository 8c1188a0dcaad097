"""The spectrograms (Section 4.2) against librosa, and what a clip's level is before them."""

import librosa
import numpy as np
import pytest
import torch

from singtech.models.level import normalise_level
from singtech.models.spectrogram import FLOOR, MultiResolutionSpectrogram

NOISE = np.random.default_rng(0).normal(size=20000).astype(np.float32)
WIN_LENGTHS = (2048, 1024, 512)


def librosa_magnitude(win_length):
    return np.abs(librosa.stft(NOISE, n_fft=2048, win_length=win_length, hop_length=512, pad_mode="reflect"))


def test_the_three_channels_are_librosas_magnitudes():
    ours = MultiResolutionSpectrogram(scale="linear", level="none")(torch.from_numpy(NOISE)[None])[0]
    for channel, win_length in zip(ours, WIN_LENGTHS, strict=True):
        np.testing.assert_allclose(channel.numpy(), librosa_magnitude(win_length) / np.sqrt(2048), atol=1e-4)


def test_the_logarithm_counts_decades_from_silence():
    clip = torch.sin(torch.arange(20000) * 0.3)[None]
    linear = MultiResolutionSpectrogram(scale="linear")(clip)
    log = MultiResolutionSpectrogram()(clip)
    expected = librosa.amplitude_to_db(linear.numpy(), ref=1.0, amin=FLOOR, top_db=None) / 20 + 5
    np.testing.assert_allclose(log.numpy(), expected, atol=1e-4)
    assert MultiResolutionSpectrogram()(torch.zeros(1, 20000)).count_nonzero() == 0


def test_db_is_a_powers_decibels_of_the_magnitude_over_the_windows_energy_as_published():
    ours = MultiResolutionSpectrogram(scale="db", level="none")(torch.from_numpy(NOISE)[None])[0]
    for channel, win_length in zip(ours, WIN_LENGTHS, strict=True):
        energy = np.sum(librosa.filters.get_window("hann", win_length) ** 2)
        expected = librosa.power_to_db(librosa_magnitude(win_length) / np.sqrt(energy), ref=1.0, top_db=None)
        np.testing.assert_allclose(channel.numpy(), expected, atol=1e-3)


def test_silence_lies_at_minus_100_db_far_below_a_paddings_zeros():
    assert (MultiResolutionSpectrogram(scale="db")(torch.zeros(1, 20000)) == -100).all()


def test_the_peak_level_is_the_published_codes_mean_and_deviation_then_peak():
    clip = torch.from_numpy(3 + 0.01 * NOISE)[None]
    normal = (clip - clip.mean()) / clip.std()
    torch.testing.assert_close(normalise_level(clip, "peak"), normal / normal.abs().max(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("level", "expected"), [("peak", [0.5, -1, 0.5]), ("rms", [0.5**0.5, -(2**0.5), 0.5**0.5])])
def test_the_peak_or_the_root_mean_square_becomes_one(level, expected):
    clip = torch.tensor([[0.4, 0.1, 0.4], [0.0, 0.0, 0.0]])  # less its mean of 0.3: 0.1, -0.2, 0.1
    torch.testing.assert_close(normalise_level(clip, level), torch.tensor([expected, [0.0, 0.0, 0.0]]))
    assert torch.equal(normalise_level(clip, "none"), clip)


@pytest.mark.parametrize("level", ["peak", "rms"])
def test_a_clips_level_and_mean_do_not_matter_but_to_level_none(level):
    clip = torch.from_numpy(NOISE)[None]
    level_first, plain = MultiResolutionSpectrogram(level=level), MultiResolutionSpectrogram(level="none")
    torch.testing.assert_close(level_first(clip), level_first(0.1 * clip + 0.05), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(plain(clip), plain(0.1 * clip + 0.05), atol=0.5)


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match=r"front_end\.scale=mel: expected log or linear or db"):
        MultiResolutionSpectrogram(scale="mel")
    with pytest.raises(ValueError, match=r"front_end\.level=loud: expected one of peak, rms, none"):
        MultiResolutionSpectrogram(level="loud")
    with pytest.raises(ValueError, match="none may be longer than n_fft=1024"):
        MultiResolutionSpectrogram(n_fft=1024)
