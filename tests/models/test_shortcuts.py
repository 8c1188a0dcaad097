"""Numbers that are no technique, by hand and against librosa."""

import librosa
import numpy as np
import pytest
import torch

from singtech.errors import InvalidValue
from singtech.models.shortcuts import Shortcuts, length, level, noise_floor, pitch

RATE = 12000


def tone(hertz, seconds=3.0, amplitude=1.0):
    time = np.arange(int(RATE * seconds)) / RATE
    return torch.tensor(amplitude * np.sin(2 * np.pi * hertz * time)).float().unsqueeze(0)


def test_the_level_of_a_sinusoid_is_its_peak_and_three_decibels_less():
    np.testing.assert_allclose(level(tone(440, amplitude=0.1), RATE), [[-20.0, -23.01]], atol=0.02)
    assert level(torch.zeros(1, RATE), RATE).tolist() == [[-80.0, -80.0]]


def test_the_length_is_where_the_padding_begins():
    clips = torch.cat([tone(440), torch.cat([tone(440, 1.0), torch.zeros(1, 2 * RATE)], dim=1)])
    np.testing.assert_allclose(length(clips, RATE)[:, 0], [3.0, 1.0], atol=0.01)


def test_the_pitch_is_the_range_of_a_glide():
    steps = torch.cat([tone(220, 1.5), tone(440, 1.5)], dim=1)
    low, high = pitch(steps, RATE)[0].tolist()
    assert (low, high) == pytest.approx((12 * np.log2(220), 12 * np.log2(440)), abs=0.1)


def test_the_noise_floor_is_that_of_the_quietest_frames_relative_to_the_peak():
    draw = torch.Generator().manual_seed(0)
    noise = 0.001 * torch.randn(1, 3 * RATE, generator=draw)
    clip = noise.clone()
    clip[:, : 2 * RATE] += tone(440, 2.0, amplitude=0.5)
    floor = noise_floor(clip, RATE)
    torch.testing.assert_close(noise_floor(0.1 * clip, RATE), floor, atol=1e-3, rtol=0)  # the level tells nothing
    assert noise_floor(10 * noise + clip - noise, RATE)[0, 0] == pytest.approx(floor[0, 0] + 20, abs=1.5)
    # the power of white noise is spread evenly: 4 to 6 kHz has four times that of 500 to 1000 Hz
    assert floor[0, 4] - floor[0, 1] == pytest.approx(6.0, abs=1.5)
    frames = np.abs(librosa.stft(noise.numpy()[0] / 0.501, n_fft=600, hop_length=300, center=False)) ** 2 / 600**2
    powers = np.sort(frames.sum(axis=0))[: round(0.05 * 119)]  # its quietest frames
    assert 10 * np.log10((10 ** (floor[0].numpy() / 10)).sum()) == pytest.approx(10 * np.log10(powers.mean()), abs=1.5)


def test_the_ten_numbers_are_the_columns_in_order_and_others_are_refused():
    waveform = tone(440)
    shortcuts = Shortcuts((1, 3 * RATE), RATE)
    parts = [Shortcuts((1, 3 * RATE), RATE, (name,)).raw(waveform[:, None]) for name in shortcuts.numbers]
    torch.testing.assert_close(shortcuts.raw(waveform[:, None]), torch.cat(parts, dim=1))
    assert shortcuts.out_features == 10
    with pytest.raises(InvalidValue, match=r"model\.numbers=\['vibrato'\]: expected some of level, noise_floor, pitch"):
        Shortcuts((1, 3 * RATE), RATE, ("vibrato",))
