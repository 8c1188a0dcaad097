"""The official protocol, as data of the package, is what prepare cuts from VocalSet."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from singtech.corpus.clip_store import prepare
from singtech.corpus.splits import choose_fold_singers
from singtech.corpus.vocalset import CLIPS, COPIES, TEST_SINGERS, list_official_clips
from singtech.techniques import CORRECT_SPELLINGS, TECHNIQUES
from tests.corpus.test_folds import FOLDS

REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent"))
NAMES = ["recording", "start", "technique", "singer", "context"]


@pytest.fixture(scope="module")
def official():
    return list_official_clips()


@pytest.mark.parametrize(("subset", "clips", "recordings"), [("train", 3615, 1301), ("test", 1318, 439)])
def test_each_technique_has_its_known_clips(official, subset, clips, recordings):
    part = official[official["subset"] == subset]
    assert (len(part), part["recording"].nunique()) == (clips, recordings)
    assert part["technique"].value_counts().to_dict() == CLIPS[subset]


def test_the_official_singers_test_and_no_copy_counts(official):
    assert set(official["singer"][official["subset"] == "test"]) == set(TEST_SINGERS)
    assert official["singer"].nunique() == 20
    assert not set(official["recording"]) & set(COPIES)
    assert not official.duplicated(["recording", "start"]).any()


def test_vibrado_is_vibrato_and_short_recordings_have_one_clip(official):
    misspelt = official[official["recording"].str.startswith("female2/arpeggios/vibrado/")]
    assert misspelt["recording"].nunique() == 6
    assert set(misspelt["technique"]) == {"vibrato"}
    slow = misspelt[misspelt["recording"].str.endswith("/slow_vibrato_arps")]  # of 54.07 s
    assert slow["start"].tolist() == [3.0 * n for n in range(18)]


def test_the_folds_of_the_official_clips_are_vocalsets(official):
    assert choose_fold_singers(official, 0, 5) == FOLDS[0]


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
def test_prepare_cuts_the_same_clips_from_real_recordings(official, tmp_path):
    techniques = ["belt", "breathy", "straight"]
    corpus = prepare(REAL, tmp_path, name="real", techniques=techniques, split={"test": ["female1"]})
    assert corpus.recordings["singer"].nunique() == 15
    same = official[official["recording"].isin(corpus.clips["recording"])]
    assert corpus.clips[NAMES].to_numpy().tolist() == same[NAMES].to_numpy().tolist()


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
def test_prepare_cuts_the_same_clips_from_recordings_of_all_listed_names_and_lengths(official, tmp_path):
    draw, listed = np.random.default_rng(0), pd.read_csv(REAL / "vocalset11_files.csv")
    for path, technique, seconds in listed[["path", "technique", "duration_s"]].itertuples(index=False):
        if CORRECT_SPELLINGS.get(technique, technique) in TECHNIQUES and "(1)" not in path:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            samples = draw.integers(-100, 100, int(seconds * 1000)).astype(np.int16)
            soundfile.write(tmp_path / path, samples, 1000, "PCM_U8")
    split = {"test": list(TEST_SINGERS)}
    corpus = prepare(tmp_path, tmp_path / "out", name="fake", techniques=TECHNIQUES, split=split, sample_rate=1000)
    clips = corpus.clips.rename(columns={"split": "subset"})[[*NAMES, "subset"]]
    assert clips.to_numpy().tolist() == official[[*NAMES, "subset"]].to_numpy().tolist()
