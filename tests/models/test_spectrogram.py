"""The spectrograms (Section 4.2) against librosa, and what a clip's level is before them."""

import librosa
import numpy as np
import pytest
import torch

from singtech.models.level import normalise_level
from singtech.models.spectrogram import (
    FLOOR,
    MultiResolutionSpectrogram,
    normalise_energy,
    scale_magnitudes,
    standardise_bands,
)

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
    with pytest.raises(ValueError, match=r"front_end\.level=loud: expected peak or rms or none"):
        MultiResolutionSpectrogram(level="loud")
    with pytest.raises(ValueError, match="none may be longer than n_fft=1024"):
        MultiResolutionSpectrogram(n_fft=1024)
    with pytest.raises(ValueError, match=r"front_end\.axis=bark: expected linear or mel"):
        MultiResolutionSpectrogram(axis="bark")
    with pytest.raises(ValueError, match=r"front_end\.standardise=clip: expected none or bands"):
        MultiResolutionSpectrogram(standardise="clip")


SMALL = {"n_fft": 512, "win_lengths": (512, 256, 128), "hop_length": 375, "sample_rate": 12000}


@pytest.mark.parametrize(
    ("settings", "bands"),
    [({"sample_rate": 44100}, 128), ({"sample_rate": 44100}, 256), (SMALL, 128), (SMALL | {"n_fft": 1024}, 256)],
)
def test_mel_bands_are_librosas(settings, bands):
    ours = MultiResolutionSpectrogram(**settings, axis="mel", bands=bands, scale="linear", level="none")
    channels, size = ours(torch.from_numpy(NOISE)[None])[0], {"n_fft": ours.n_fft, "hop_length": ours.hop_length}
    assert channels.shape == ours.shape(len(NOISE)) == (3, bands, len(NOISE) // ours.hop_length + 1)
    filters = librosa.filters.mel(sr=ours.sample_rate, n_fft=ours.n_fft, n_mels=bands, norm=None)
    assert (filters.max(axis=1) > 0).all()
    filters /= filters.sum(axis=1, keepdims=True)
    for channel, win_length in zip(channels, ours.win_lengths, strict=True):
        magnitude = np.abs(librosa.stft(NOISE, win_length=win_length, pad_mode="reflect", **size))
        np.testing.assert_allclose(channel.numpy(), filters @ magnitude / np.sqrt(ours.n_fft), atol=1e-5)


def test_a_band_without_a_bin_is_named_with_what_helps():
    with pytest.raises(ValueError, match=r"bands=256: 9 of the bands are narrower than a bin.*n_fft=1024"):
        MultiResolutionSpectrogram(**SMALL, axis="mel", bands=256)
    with pytest.raises(ValueError, match=r"front_end\.bands=None: expected whole mel bands from 1 up"):
        MultiResolutionSpectrogram(axis="mel")
    with pytest.raises(ValueError, match=r"front_end\.bands=128: only a mel axis has bands"):
        MultiResolutionSpectrogram(bands=128)


@pytest.mark.parametrize(("sample_rate", "hop_length"), [(44100, 512), (12000, 375)])
def test_pcen_is_librosas(sample_rate, hop_length):
    magnitudes = np.random.default_rng(1).gamma(1.0, size=(2, 5, 259))
    magnitudes[1, :, :100] *= 1e-5  # a loud start of what was silent
    constant = 0.4 * sample_rate / hop_length
    s = (np.sqrt(1 + 4 * constant**2) - 1) / (2 * constant**2)
    rates = {"sr": sample_rate, "hop_length": hop_length}
    expected = librosa.pcen(magnitudes, **rates, eps=FLOOR, zi=(1 - s) * magnitudes[..., :1])  # as if it began before
    ours = normalise_energy(torch.from_numpy(magnitudes).float(), sample_rate / hop_length)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_pcen_follows_the_rates_of_its_front_end():
    ours = MultiResolutionSpectrogram(**SMALL, scale="pcen", level="none")(torch.from_numpy(NOISE)[None])
    linear = MultiResolutionSpectrogram(**SMALL, scale="linear", level="none")(torch.from_numpy(NOISE)[None])
    torch.testing.assert_close(ours, normalise_energy(linear, 32.0))  # 12,000 / 375 frames a second
    assert MultiResolutionSpectrogram(scale="pcen")(torch.zeros(1, 20000)).count_nonzero() == 0


def test_standardised_bands_have_no_mean_and_a_deviation_of_one_unless_they_are_constant():
    bands = torch.tensor([[1.0, 2.0, 3.0], [-100.0, -100.0, -100.0], [0.1, 0.1, 0.1], [5.0, 5.0, 8.0]])
    expected = [[-(1.5**0.5), 0, 1.5**0.5], [0.0] * 3, [0.0] * 3, [-(0.5**0.5), -(0.5**0.5), 2**0.5]]
    torch.testing.assert_close(standardise_bands(bands), torch.tensor(expected))


def test_standardised_bands_do_not_tell_a_recordings_equalisation():
    magnitudes = torch.from_numpy(np.random.default_rng(1).gamma(1.0, size=(5, 97)) + 0.01)
    equalised = magnitudes * torch.tensor([1.0, 0.1, 10.0, 3.0, 0.01])[:, None]
    plain, changed = (scale_magnitudes(m, "log", 32.0) for m in (magnitudes, equalised))
    assert not torch.allclose(plain, changed, atol=0.1)
    torch.testing.assert_close(standardise_bands(plain), standardise_bands(changed))
    standard = MultiResolutionSpectrogram(**SMALL, standardise="bands")(torch.from_numpy(NOISE)[None])
    torch.testing.assert_close(standard.mean(dim=-1), torch.zeros(1, 3, 257), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=-1, correction=0), torch.ones(1, 3, 257))
