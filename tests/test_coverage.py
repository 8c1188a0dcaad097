"""The simulation of intervals: what it draws."""

import numpy as np
import pytest

from benchmarks.coverage import RECORDINGS, SungClips, World, singers_only, three_stages

SINGERS, EACH, CLIPS = 5, 4, 3
SINGER = np.repeat(np.arange(SINGERS), EACH * CLIPS)
CLIPS_OF = SungClips(np.zeros(60, int), np.zeros(60, int), SINGER, np.repeat(np.arange(SINGERS * EACH), CLIPS))


def test_the_bootstrap_draws_singers_then_their_recordings_then_clips():
    """Of mean 1; by the law of total variance, multinomials give (1 - 1/S) + (1 - 1/R) + (1 - 1/C)."""
    weights = three_stages(np.random.default_rng(0), CLIPS_OF, 20_000)
    np.testing.assert_array_equal(weights.reshape(-1, SINGERS, EACH * CLIPS).sum(axis=2) % (EACH * CLIPS), 0)
    np.testing.assert_array_equal(weights.reshape(-1, SINGERS * EACH, CLIPS).sum(axis=2) % CLIPS, 0)
    np.testing.assert_array_equal(weights.sum(axis=1), 60)
    assert weights.var(axis=0).mean() == pytest.approx((1 - 1 / 5) + (1 - 1 / 4) + (1 - 1 / 3), rel=0.03)


def test_the_bootstrap_of_singers_draws_them_whole():
    weights = singers_only(np.random.default_rng(0), CLIPS_OF, 20_000)
    assert (weights.reshape(-1, SINGERS, EACH * CLIPS) == weights.reshape(-1, SINGERS, EACH * CLIPS)[..., :1]).all()
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / 5, rel=0.03)


def test_stronger_effects_make_singers_differ_more_and_techniques_are_as_unbalanced_as_vocalsets():
    deviations = []
    for effect in (0.0, 0.5):
        ((clips,),) = World(effect).draw(np.random.default_rng(0), 100)
        right = (clips.target == clips.predicted).reshape(100, -1).mean(axis=1)
        deviations.append(right.std())
    assert deviations[1] > 3 * deviations[0]
    assert clips.recording[-1] + 1 == 100 * RECORDINGS.sum() == 8700
