"""Changed test clips, against SciPy and by hand."""

import numpy as np
import pytest
import scipy.signal
import torch

from singtech.errors import InvalidValue
from singtech.training.corruptions import Codec, Gain, LowPass, Reversed, Shuffled

RATE = 12000


def tone(hertz, seconds=1.0):
    time = torch.arange(int(RATE * seconds), dtype=torch.float64) / RATE
    return torch.sin(2 * torch.pi * hertz * time).float().unsqueeze(0)


def generators(number=1):
    return [torch.Generator().manual_seed(seed) for seed in range(number)]


def test_a_low_pass_keeps_what_is_below_its_edge_and_removes_what_is_above():
    change = LowPass(RATE)  # a quarter of the rate
    torch.testing.assert_close(change(tone(1000), generators()), tone(1000), atol=1e-4, rtol=0)
    assert change(tone(4000), generators()).abs().max() < 1e-4
    noise = torch.randn(1, 8 * RATE, generator=torch.Generator().manual_seed(0))
    hertz, power = scipy.signal.welch(change(noise, generators()).numpy()[0], RATE, nperseg=1024)
    _, before = scipy.signal.welch(noise.numpy()[0], RATE, nperseg=1024)
    assert (power / before)[(hertz > 100) & (hertz < 2800)] == pytest.approx(1, abs=0.05)
    assert (power / before)[hertz > 3050].max() < 1e-3


def test_a_gain_is_in_decibels():
    torch.testing.assert_close(Gain(-20.0)(tone(440), generators()), tone(440) / 10)


def test_frames_are_reversed_and_shuffled_by_each_clips_own_generator():
    spectrograms = torch.randn(2, 3, 5, 40)
    np.testing.assert_array_equal(Reversed()(spectrograms, generators(2)), spectrograms.numpy()[..., ::-1])
    shuffled = Shuffled()(spectrograms, generators(2))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(shuffled[1], spectrograms[1][..., order])
    torch.testing.assert_close(shuffled.sort(-1).values, spectrograms.sort(-1).values)
    assert not torch.equal(shuffled[0], shuffled[1])
    with pytest.raises(InvalidValue, match=r"Shuffled needs a front end with .*, not \(1, 100\)"):
        Shuffled()(torch.zeros(2, 1, 100), generators(2))


def test_an_mp3_is_nearly_the_clip_in_time_and_loses_what_is_masked():
    audio = 0.4 * tone(440) + 1e-4 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    coded = Codec(RATE)(audio, generators())
    assert coded.shape == audio.shape
    middle = slice(2000, 10000)
    assert np.corrcoef(coded[0, middle], audio[0, middle])[0, 1] > 0.99  # no delay: half a period would give -1
    assert not torch.equal(coded, audio)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LowPass(RATE, 8000), r"corruption\.cutoff=8000: expected Hz above 0, below 6000"),
        (lambda: Codec(RATE, "MP4"), r"corruption\.format=MP4: libsndfile cannot write it"),
        (lambda: Codec(RATE, compression=2.0), r"corruption\.compression=2\.0: expected a number from 0 to 1"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_done_is_one_sentence(make, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        make()
