"""Long tails of a chosen ratio."""

import numpy as np
import pandas as pd
import pytest

from singtech.corpus.clip_store import prepare
from singtech.corpus.long_tail import find_largest_total, make_profile, thin_recordings
from singtech.errors import InvalidValue


def recordings(**clips):
    """One recording of one clip for each clip of each technique."""
    rows = [(f"{name}/{n}", name, 1) for name, number in clips.items() for n in range(number)]
    return pd.DataFrame(rows, columns=["recording", "technique", "clips"])


CORPUS = recordings(belt=40, trill=200, vibrato=90)


def counts(frame):
    return frame.groupby("technique")["clips"].sum().to_dict()


def test_a_profile_falls_by_equal_factors_to_one_over_the_ratio():
    np.testing.assert_allclose(make_profile(21, 4, 3), [12, 6, 3])
    np.testing.assert_allclose(make_profile(30, 1, 3), [10, 10, 10])


def test_the_total_is_bounded_by_the_technique_that_runs_out_first():
    assert find_largest_total([200, 90, 40], 4) == 280  # 160, 80, 40
    assert find_largest_total([200, 90, 40], 1) == 120
    assert find_largest_total([200, 90, 40], 16) == 262  # 200 * (1 + 1/4 + 1/16)


@pytest.mark.parametrize(("ratio", "expected"), [(1, (40, 40, 40)), (4, (69, 34, 17)), (16, (91, 23, 6))])
def test_the_total_is_the_same_at_every_ratio(ratio, expected):
    kept = counts(thin_recordings(CORPUS, ratio))
    assert (kept["trill"], kept["vibrato"], kept["belt"]) == expected
    assert sum(kept.values()) == 120


def test_the_order_of_the_techniques_can_be_chosen():
    kept = counts(thin_recordings(CORPUS, 4, order=["belt", "vibrato", "trill"], total=70))
    assert (kept["belt"], kept["vibrato"], kept["trill"]) == (40, 20, 10)


def test_the_seed_decides_which_recordings_stay():
    first, again, other = (list(thin_recordings(CORPUS, 4, seed=seed)["recording"]) for seed in (0, 0, 1))
    assert first == again != other


def test_whole_recordings_stay_and_none_beyond_the_share():
    long = pd.DataFrame({"recording": list("abcd"), "technique": ["belt"] * 2 + ["trill"] * 2, "clips": [3, 2, 9, 2]})
    assert counts(thin_recordings(long, 1, total=8)) in ({"belt": 3, "trill": 2}, {"belt": 2, "trill": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.5}, "long_tail=0.5: expected a number from 1 up"),
        ({"ratio": 4, "order": ["belt"]}, "expected each of belt, trill, vibrato once"),
        ({"ratio": 4, "total": 300}, "enough clips for at most 280"),
        ({"ratio": 1000, "total": 100}, "at least one clip of each technique"),
    ],
)
def test_what_a_corpus_cannot_give_is_refused(options, message):
    with pytest.raises(InvalidValue, match=message):
        thin_recordings(CORPUS, **options)


def test_a_corpus_keeps_its_test_clips_and_loses_training_recordings(own_corpus, tmp_path):
    options = {
        "split": {"test": ["dot"]},
        "name": "choir",
        "techniques": None,
        "sample_rate": 8000,
        "clip_seconds": 0.6,
    }
    whole, thinned, again = (
        prepare(own_corpus, tmp_path, long_tail=ratio, long_tail_total=9, **options) for ratio in (None, 4, 4)
    )
    assert whole.counts("train").tolist() == [6, 6, 6]
    assert thinned.counts("train").tolist() == [5, 3, 1]
    assert thinned.fingerprint("train") == again.fingerprint("train") != whole.fingerprint("train")
    assert thinned.fingerprint("test") == whole.fingerprint("test")
    assert thinned.notes[-1] == "long tail: 9 of 18 training recordings stay"
