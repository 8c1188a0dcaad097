"""Who trains, validates and is tested: a corpus's recordings and clips are split by singer, never within one.

A split is a view: the clip store knows nothing of it, so that all splits and folds of a corpus share one store.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from singtech.data.folds import fold_singers, require_fold
from singtech.data.manifest import counted, names_of

SPLITS = ("train", "validation", "test")


class Split(NamedTuple):
    """Test and validation singers, all others train; with a `fold`, the singers of that fold of `folds` are tested."""

    test: list[str]
    validation: list[str]
    fold: int | None
    folds: int

    def side(self, singer: str) -> str:
        """Where a singer is."""
        return "test" if singer in self.test else "validation" if singer in self.validation else "train"


def checked_split(split: Mapping[str, Sequence[str]], fold: int | None = None, folds: int = 5) -> Split:
    """A split as data.split, data.fold and data.folds give it.

    Raises:
        ValueError: it names no test singer, a singer twice or another side, or the fold is not one.
    """
    if not isinstance(split, Mapping):
        raise ValueError(f"data.split={split}: expected test: [singers], validation: [singers].")
    unknown = sorted(set(split) - set(SPLITS[1:]))
    if unknown:
        raise ValueError(f"data.split.{unknown[0]}: a split names test and validation singers; all others train.")
    require_fold(fold, folds)
    named = {side: sorted(set(names_of(f"data.split.{side}", split.get(side) or []))) for side in SPLITS[1:]}
    test, validation = named["test"], named["validation"]
    both = sorted(set(test) & set(validation))
    if both:
        raise ValueError(f"data.split names {both[0]} as a test and as a validation singer: choose one side.")
    if fold is None:
        return Split(test, validation, None, folds)
    if validation:
        raise ValueError(
            f"data.split.validation names {validation[0]}: with data.fold={fold} none validates, empty it."
        )
    return Split([], [], fold, folds)


def require_singers(split: Split, there: Sequence[str]) -> None:
    """That the singers of a split are in the corpus, `there`, and that one is tested.

    Raises:
        ValueError: one is not, or none is; a fold's singers are not named and cannot be missing.
    """
    if split.fold is None and not split.test:
        raise ValueError(f"data.split.test names no singer: name at least one of {', '.join(there)}.")
    for side, singers in (("test", split.test), ("validation", split.validation)):
        for singer in singers:
            if singer not in there:
                near = [name for name in there if name.lower() == singer.lower()]
                near = near or difflib.get_close_matches(singer, there, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                where = " A singer is a folder in data.root, with folders of techniques below it."
                raise ValueError(f"data.split.{side} names {singer}, found are {', '.join(there)}.{hint or where}")
    held_out = {*split.test, *split.validation}
    if split.fold is None and held_out >= set(there):
        raise ValueError(f"data.split leaves nobody to train: it names all singers found, {', '.join(there)}.")


def resolved(split: Split, clips: pd.DataFrame) -> Split:
    """The split with its fold's singers, if it is one, as the test singers."""
    if split.fold is None:
        return split
    return split._replace(test=fold_singers(clips, split.fold, split.folds))


def sides(
    split: Split, table: pd.DataFrame, techniques: Sequence[str], what: str, unusable: Sequence[str]
) -> list[str]:
    """The side, one of `SPLITS`, of each row of a table of recordings or clips.

    Args:
        split: with its fold resolved.
        what: the rows are, for the errors: "recording" or "clip".
        unusable: a line for each recording that the table lacks because it could not be used.
    Raises:
        ValueError: a technique has no training row, or there is no test row.
    """
    of = [split.side(singer) for singer in table["singer"]]
    trained = {technique for technique, side in zip(table["technique"], of, strict=True) if side == "train"}
    missing = [technique for technique in techniques if technique not in trained]
    if missing:
        raise ValueError(
            f"no training {what} of {', '.join(missing)}: leave it out of data.techniques, "
            f"or let one of its singers train (data.split).{spoilt(unusable)}"
        )
    if "test" not in of:
        raise ValueError(
            f"no test {what} of these techniques: choose other singers in data.split.test.{spoilt(unusable)}"
        )
    return of


def absences(split: Split, recordings: pd.DataFrame, techniques: Sequence[str]) -> list[str]:
    """A line for each singer of the split, and each of its techniques, that has no recording on its side.

    Args:
        recordings: with their split.
    """
    lines = []
    for side, singers in (("test", split.test), ("validation", split.validation)):
        part = recordings[recordings["split"] == side]
        there, sung = set(part["singer"]), set(part["technique"])
        lines += [f"{side} singer {s} has no recording of the techniques asked for" for s in singers if s not in there]
        if sung:
            lines += [
                f"no {side} recording of {t}: its scores will not be defined" for t in techniques if t not in sung
            ]
    return lines


def spoilt(unusable: Sequence[str]) -> str:
    """What an error adds about recordings that could not be used; "" if there are none."""
    return f" {counted(len(unusable), 'recording')} could not be used, first: {unusable[0]}." if unusable else ""
