"""Facts about VocalSet: its recordings by group, its copies, its official test singers, its clips.

`vocalset.csv`, beside this module, has a row for each singer, context and technique: its number of VocalSet 1.1's 3,613
recordings, with copies, and their seconds. The misspelt `vibrado` folder counts as vibrato.

`vocalset_recordings.csv` has a row for each of the 1,740 recordings of the ten techniques, without copies, in the order
of their paths: its name and its seconds. It is made from the list of VocalSet 1.1's files with their lengths: the
folders give singer, context and technique, and the seconds are the list's, to four decimals. No recording is within
half of the last decimal of a whole number of clips, so that these lengths decide the clips.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from singtech.corpus.audio import find_clip_spans
from singtech.techniques import CORRECT_SPELLINGS, TECHNIQUES

TEST_SINGERS = ("female2", "female8", "male3", "male5", "male10")  # test_singers_technique.txt; the other 15 train

SAMPLE_RATE = 44100
CLIP_SECONDS = 3.0

# Clips of 3 s of the training and test singers, without copies, in the order of TECHNIQUES.
CLIPS = {
    "train": dict(zip(TECHNIQUES, (333, 360, 109, 267, 56, 920, 230, 189, 775, 376), strict=True)),
    "test": dict(zip(TECHNIQUES, (90, 95, 48, 109, 17, 318, 93, 53, 284, 211), strict=True)),
}

# Recordings with the same bytes as the one without "(1)" in its name, and their seconds.
COPIES = {
    "female2/scales/slow_piano/f2_scales_f_slow_piano_u(1)": 12.1671,
    "female2/scales/straight/f2_scales_straight_u(1)": 11.5874,
    "female2/scales/vibrato/f2_scales_vibrato_a(1)": 10.8966,
}


class ExpectedContents(NamedTuple):
    """The expected groups of recordings, copies, test singers and clips of a corpus."""

    groups: pd.DataFrame
    copies: dict[str, float]
    test_singers: tuple[str, ...]
    clips: dict[str, dict[str, int]]


def expected_vocalset() -> ExpectedContents:
    """Return the contents of VocalSet 1.1. VocalSet 1.2 has the same audio."""
    return ExpectedContents(pd.read_csv(Path(__file__).with_name("vocalset.csv")), COPIES, TEST_SINGERS, CLIPS)


def list_official_clips() -> pd.DataFrame:
    """List the clips of the paper's protocol: 3,615 training and 1,318 test clips of the ten techniques.

    They are those of a corpus that is prepared from VocalSet with the default settings, in the same order.

    Returns:
        A row for each clip: recording (as in predictions.csv), start (seconds), technique, singer, context, and subset
        (train or test).
    """
    recordings = pd.read_csv(Path(__file__).with_name("vocalset_recordings.csv"))
    rows = []
    for name, seconds in recordings.itertuples(index=False):
        singer, *context, technique, _ = name.split("/")
        subset = "test" if singer in TEST_SINGERS else "train"
        label = (CORRECT_SPELLINGS.get(technique, technique), singer, "/".join(context), subset)
        spans = find_clip_spans(round(seconds * SAMPLE_RATE), round(CLIP_SECONDS * SAMPLE_RATE))
        rows += [(name, start / SAMPLE_RATE, *label) for start, _ in spans]
    return pd.DataFrame(rows, columns=["recording", "start", "technique", "singer", "context", "subset"])
