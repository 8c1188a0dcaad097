"""Resampling on the device, against soxr and scipy."""

import numpy as np
import pytest
import scipy.signal
import soxr
import torch

from singtech.models.resampling import Resampler

RATES = [(12000, 16000), (44100, 16000), (44100, 24000), (8000, 16000), (16000, 12000)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_tones_keep_frequency_and_phase_as_in_soxr(source, target):
    draw = np.random.default_rng(source)
    time = np.arange(source) / source
    nyquist = min(source, target) / 2
    tones = [np.sin(2 * np.pi * draw.uniform(50, 0.85 * nyquist) * time + draw.uniform(0, 6)) for _ in range(20)]
    clip = np.sum(tones, axis=0).astype(np.float32) / 10
    ours = Resampler(source, target)(torch.from_numpy(clip)[None])[0].numpy()
    theirs = soxr.resample(clip.astype(np.float64), source, target, quality="VHQ")
    assert len(ours) == len(theirs) == target
    inner = slice(target // 20, -target // 20)  # the ends are another guess
    assert np.abs(ours - theirs)[inner].max() < 2e-4


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_periodic_clip_is_what_scipys_fourier_method_gives(source, target):
    time = np.arange(source) / source
    clip = np.cos(2 * np.pi * 300 * time) + 0.5 * np.sin(2 * np.pi * 1300 * time)
    ours = Resampler(source, target)(torch.from_numpy(clip).float()[None])[0].numpy()
    theirs = scipy.signal.resample(clip, target)
    assert np.abs(ours - theirs)[target // 20 : -target // 20].max() < 2e-4


def test_what_the_lower_rate_cannot_hold_is_removed():
    time = torch.arange(44100).double() / 44100
    tone = torch.sin(2 * torch.pi * 9500 * time).float()[None]  # would be 6.5 kHz at 16 kHz
    assert Resampler(44100, 16000)(tone)[0, 200:-200].abs().max() < 1e-4


def test_the_same_rate_changes_nothing_and_a_length_is_rounded_up():
    clip = torch.randn(2, 1001)
    assert Resampler(16000, 16000)(clip) is clip
    assert Resampler(12000, 16000)(clip).shape == (2, 1335)  # 1001 · 4 / 3 = 1334.7
