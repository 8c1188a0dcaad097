"""Five folds test each of VocalSet's singers once, and each has every technique on both sides."""

import os
from pathlib import Path

import pandas as pd
import pytest

from singtech.corpus.audio import find_clip_spans
from singtech.corpus.splits import choose_fold_singers, make_split
from singtech.corpus.vocalset import CLIPS, TEST_SINGERS
from singtech.techniques import CORRECT_SPELLINGS, TECHNIQUES

REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent")) / "vocalset11_files.csv"

# VocalSet's clips of 3 s by singer, copies left out: belt, breathy, inhaled … in the order of TECHNIQUES.
VOCALSET = """
    female1 25 22 11 15 5 62 26 15 52 28
    female2 20 20 10 28 4 64 21 13 67 51
    female3 27 25 10 16 3 57 17 15 55 25
    female4 15 23 5 17 3 59 0 15 41 26
    female5 24 27 10 21 5 72 30 26 56 30
    female6 30 20 12 17 3 48 10 10 45 19
    female7 25 26 5 15 3 62 10 8 54 25
    female8 25 29 9 25 5 68 15 10 49 27
    female9 15 15 5 17 4 50 11 6 46 19
    male1 25 36 5 26 4 83 20 18 65 26
    male2 18 28 5 27 3 65 20 10 44 38
    male3 25 16 6 29 3 82 15 10 68 47
    male4 20 20 8 20 3 49 11 8 40 16
    male5 10 20 18 16 3 49 31 10 48 67
    male6 31 29 5 21 5 64 24 17 66 37
    male7 23 24 5 10 4 67 18 12 57 25
    male8 15 25 6 20 4 61 13 11 49 21
    male9 25 25 7 15 3 62 10 8 52 25
    male10 10 10 5 11 2 55 11 10 52 19
    male11 15 15 10 10 4 59 10 10 53 16
"""
FOLDS = [
    ["female8", "male1", "male4", "male8"],
    ["female2", "female4", "female5", "female6"],
    ["female9", "male2", "male5", "male7"],
    ["female1", "male10", "male6", "male9"],
    ["female3", "female7", "male11", "male3"],
]


def table(text):
    """A row a clip of "singer count count …", a count for each technique."""
    rows = []
    for line in text.strip().splitlines():
        singer, *counts = line.split()
        for technique, count in zip(TECHNIQUES, counts, strict=False):
            rows += [(singer, technique)] * int(count)
    return pd.DataFrame(rows, columns=["singer", "technique"])


@pytest.fixture(scope="module")
def vocalset():
    return table(VOCALSET)


def test_vocalsets_clips_here_are_the_known_ones(vocalset):
    side = vocalset["singer"].isin(TEST_SINGERS).map({True: "test", False: "train"})
    counts = vocalset.groupby([side.rename("side"), "technique"]).size()
    assert {name: counts[name].to_dict() for name in ("train", "test")} == CLIPS


@pytest.mark.parametrize("fold", range(5))
def test_vocalsets_folds_are_these_whatever_the_order_of_the_clips(fold, vocalset):
    assert choose_fold_singers(vocalset, fold, 5) == FOLDS[fold]
    assert choose_fold_singers(vocalset.sample(frac=1, random_state=fold), fold, 5) == FOLDS[fold]


def test_vocalsets_folds_test_every_singer_once_and_have_every_technique_on_both_sides(vocalset):
    assert sorted(singer for tested in FOLDS for singer in tested) == sorted(vocalset["singer"].unique())
    for tested in FOLDS:
        is_test = vocalset["singer"].isin(tested)
        for part in (vocalset[is_test], vocalset[~is_test]):
            assert set(part["technique"]) == set(TECHNIQUES)
        share = is_test.groupby(vocalset["technique"]).mean()
        assert share.between(0.1, 0.3).all()  # a fifth, about


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
def test_the_real_list_of_recordings_gives_these_clips(vocalset):
    listed = pd.read_csv(REAL).replace({"technique": CORRECT_SPELLINGS})
    chosen = listed[listed["technique"].isin(TECHNIQUES) & ~listed["path"].str.contains("(1)", regex=False)]
    clips = [len(find_clip_spans(round(seconds * 44100), 132300)) for seconds in chosen["duration_s"]]
    real = chosen.loc[chosen.index.repeat(clips)]
    of = ["singer", "technique"]
    assert real.groupby(of).size().to_dict() == vocalset.groupby(of).size().to_dict()


def test_a_rare_technique_may_be_missing_from_the_test_without_a_warning():
    clips = table("ann 5 1 \n ben 5 1 \n cid 5 0 \n dot 5 0")
    tested = [choose_fold_singers(clips, fold, 4) for fold in range(4)]
    assert sorted(tested) == [["ann"], ["ben"], ["cid"], ["dot"]]


def test_more_folds_than_singers_are_an_error():
    with pytest.raises(ValueError, match="data.folds=3: more folds than singers, of whom the corpus has 2"):
        choose_fold_singers(table("ann 5 5 \n ben 5 5"), 0, 3)


def test_a_technique_that_only_one_folds_singers_have_cannot_be_trained_for_it():
    clips = table("ann 5 5 \n ben 5 0 \n cid 5 0")
    assert choose_fold_singers(clips, 0, 3) == ["ben"]
    with pytest.raises(ValueError, match="data.fold=2: all clips of breathy are in this fold, none is left to train"):
        choose_fold_singers(clips, 2, 3)


@pytest.mark.parametrize(("fold", "folds"), [(5, 5), (-1, 5), (None, 1)])
def test_a_fold_that_is_none_is_said(fold, folds):
    with pytest.raises(ValueError, match=f"data.fold={fold}, data.folds={folds}: expected null or a fold from 0"):
        make_split({"test": ["ann"]}, fold, folds)
