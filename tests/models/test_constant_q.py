"""The constant-Q transform against librosa and by hand."""

import librosa
import numpy as np
import pytest
import torch

from singtech.models.constant_q import ConstantQ
from singtech.models.spectrogram import normalise_energy, standardise_bands

SMALL = {"bands": 152, "hop_length": 375, "sample_rate": 12000, "level": "none"}


def tone(hertz, sample_rate=12000):
    """(1, 3 s) a sine."""
    return torch.sin(2 * torch.pi * hertz * torch.arange(3 * sample_rate).double() / sample_rate).float()[None]


def test_it_is_librosas():
    noise = np.random.default_rng(0).normal(size=36000)
    clip = (0.1 * noise + tone(220)[0].numpy() + tone(1234)[0].numpy()).astype(np.float32)
    ours = ConstantQ(**SMALL, scale="linear")
    channel = ours(torch.from_numpy(clip)[None])[0, 0].numpy()
    settings = {"sr": 12000, "hop_length": 375, "fmin": 65.4064, "n_bins": 152, "bins_per_octave": 24}
    theirs = np.abs(librosa.cqt(clip, **settings, pad_mode="reflect", sparsity=0))
    assert ours.shape(36000) == (3, *theirs.shape) == (3, 152, 97)
    middle = slice(12, -12)  # librosa resamples the clip for low octaves, so that its ends differ
    np.testing.assert_allclose(channel[:, middle], theirs[:, middle], atol=2e-3 * theirs.max())


@pytest.mark.parametrize("band", [24, 70, 119])
def test_a_tone_in_the_middle_of_a_band_gives_half_the_root_of_its_windows_length(band):
    hertz = 65.4064 * 2 ** (band / 24)
    magnitudes = ConstantQ(**SMALL, scale="linear")(tone(hertz))[0, :, :, 40:50]  # (3, 152, 10)
    assert (magnitudes.argmax(dim=1) == band).all()
    periods = (2 ** (1 / 12) + 1) / (2 ** (1 / 12) - 1)  # that part neighbours, 1/24 octave away
    for channel, filter_scale in zip(magnitudes, (1.0, 0.5, 0.25), strict=True):
        length = filter_scale * periods / hertz * 12000
        torch.testing.assert_close(channel[band], torch.full((10,), 0.5 * length**0.5), rtol=1e-2, atol=0)


def test_a_semitone_moves_all_harmonics_by_two_bands():
    low, high = (sum(tone(n * hertz) / n for n in range(1, 6)) for hertz in (220.0, 220.0 * 2 ** (1 / 12)))
    transform = ConstantQ(**SMALL)
    below, above = (transform(clip)[0, 0, :, 48] for clip in (low, high))
    peaks = [k for k in range(1, 150) if below[k] > 4 and below[k] > below[k - 1] and below[k] > below[k + 1]]
    assert len(peaks) == 5
    torch.testing.assert_close(above[2:][peaks], below[peaks], atol=0.02, rtol=0)


def test_scales_and_standards_are_those_of_spectrograms():
    linear, pcen = (ConstantQ(**SMALL, scale=scale)(tone(220)) for scale in ("linear", "pcen"))
    torch.testing.assert_close(pcen, normalise_energy(linear, 32.0))  # 12,000 / 375 frames a second
    log, standard = (ConstantQ(**SMALL, standardise=standard)(tone(220)) for standard in ("none", "bands"))
    torch.testing.assert_close(standard, standardise_bands(log))
    assert ConstantQ(**SMALL)(torch.zeros(1, 36000)).count_nonzero() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 157}, "the highest reaches .* Hz, above half the sample rate of 12000 Hz"),
        ({"bands": 0}, r"front_end\.bands=0: expected whole bands from 1 up"),
        ({"filter_scales": ()}, "at least one of filter_scales"),
        ({"lowest": 0.0}, "lowest above 0"),
        ({"scale": "mel"}, r"front_end\.scale=mel: expected log or"),
        ({"level": "loud"}, r"front_end\.level=loud"),
    ],
)
def test_what_it_cannot_do_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ConstantQ(**SMALL | settings)


def test_a_clip_that_is_too_short_for_the_lowest_band_is_named():
    with pytest.raises(ValueError, match="a clip has 3000 samples, too few for filters of 6355"):
        ConstantQ(**SMALL).shape(3000)
