"""What conditions make of clips, counted by hand and beside statsmodels' McNemar test."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from singtech.results.clips import ClipProbabilities, RecordingMedia, compare, describe_recordings, wrong_clips

NAMES = ("belt", "trill", "vibrato")


def make_clips(named, technique="belt"):
    """Clips of a technique, one a recording, and what each condition names them; None where it was not tested."""
    probabilities = np.full((len(named), len(named[0]), 3), np.nan)
    for k, row in enumerate(named):
        for n, name in enumerate(row):
            if name is not None:
                probabilities[k, n] = [0.8 if each == name else 0.1 for each in NAMES]
    numbers = range(len(named[0]))
    table = {"recording": [f"r{n}" for n in numbers], "singer": "ann", "technique": technique, "context": ""}
    seeds = tuple(
        np.array([[NAMES.index(name) for name in row]]) if None not in row else np.zeros((0, len(row)), int)
        for row in named
    )
    clips = pd.DataFrame(table | {"start": 0.0})
    return ClipProbabilities(("one", "two", "three")[: len(named)], clips, NAMES, probabilities, seeds)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (1, 0), (5, 5), (9, 2), (3, 30)])
def test_mcnemars_p_is_that_of_statsmodels(fixed, broken):
    alike = ["belt", "trill", "belt"]
    one = ["belt"] * fixed + ["trill"] * broken + alike
    two = ["vibrato"] * fixed + ["belt"] * broken + alike
    p = compare(make_clips([one, two]))
    expected = mcnemar([[2, fixed], [broken, 1]], exact=True).pvalue if fixed + broken else 1
    assert p[0, 1] == p[1, 0] == pytest.approx(expected, rel=1e-9)
    assert p[0, 0] == 1


def test_a_condition_that_was_not_tested_differs_from_none():
    p = compare(make_clips([["belt"] * 8, [None] * 8]))
    assert p.tolist() == [[1, 1], [1, 1]]


def test_hard_clips_are_those_that_the_mean_names_wrongly_the_hardest_first():
    """Of two conditions: both wrong in r1; in r2 one names it (0.8 + 0.1) / 2, as probable as another: the first."""
    clips = make_clips([["belt", "trill", "trill"], ["belt", "trill", "vibrato"]])
    found = wrong_clips(clips)
    assert found["recording"].tolist() == ["r1", "r2"]
    assert found["predicted"].tolist() == ["trill", "trill"]
    assert found["probability"].tolist() == pytest.approx([0.1, 0.1])
    assert found["probability_predicted"].tolist() == pytest.approx([0.8, 0.45])
    assert wrong_clips(make_clips([["belt", "belt"]])).empty


def test_a_recording_has_its_clips_and_what_conditions_and_seeds_name_them():
    clips = make_clips([["belt", "trill"], [None, None]])
    first, second = describe_recordings(clips, {"r1": RecordingMedia("sound", "picture", 9, 3.0)})
    assert (first["name"], first["audio"], first["seconds"]) == ("r0", "", 0)
    assert (second["name"], second["audio"], second["seconds"]) == ("r1", "sound", 3.0)
    assert second["clips"] == [{"start": 0.0, "by": [[100, 800, 100], None], "named": [1, None], "seeds": [[1], []]}]
