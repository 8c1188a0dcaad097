"""Decide which clips train, validate and test: a corpus is split by singer, or by the recordings of an official list.

The clip store does not depend on the split, so all splits and folds of a corpus share one store.
"""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from singtech.corpus.folds import fold_singers, require_fold
from singtech.corpus.manifest import counted, names_of, printable, recording_name
from singtech.errors import InvalidValue, NotThere

SPLITS = ("train", "validation", "test")
BY = ("singer", "recording")


class Split(NamedTuple):
    """Names of the singers, or recordings, of each subset.

    Attributes:
        train: None for all that are in no other subset. If it is a list, the names in no list are in no subset.
        by: "singer" or "recording".
        fold: None, or the fold, of `folds`, whose singers test.
    """

    test: list[str]
    validation: list[str]
    train: list[str] | None = None
    by: str = "singer"
    fold: int | None = None
    folds: int = 5

    def names(self) -> dict[str, list[str]]:
        """Return the names of each subset that has a list."""
        lists = {"train": self.train, "validation": self.validation, "test": self.test}
        return {subset: names for subset, names in lists.items() if names is not None}

    def subsets(self, table: pd.DataFrame) -> list[str]:
        """Return the subset of each row of a table of recordings or clips; "" for a row in no subset."""
        subset_of = {name: subset for subset, names in self.names().items() for name in names}
        rest = "train" if self.train is None else ""
        if self.by == "singer":
            names = table["singer"]
        else:
            names = table["recording"] if "recording" in table else table["path"].map(recording_name)
        return [subset_of.get(unicodedata.normalize("NFC", name), rest) for name in names]


def checked_split(split: Mapping[str, object], fold: int | None = None, folds: int = 5) -> Split:
    """Make a split from the settings data.split, data.fold and data.folds, and check it.

    Each subset is a list of names, or a text file with one name per line.

    Raises:
        InvalidValue: a name is in two subsets, a setting is unknown, or the fold does not exist.
        NotThere: there is no such text file.
    """
    unknown = sorted(set(split) - {*SPLITS, "by"})
    if unknown:
        raise InvalidValue(f"data.split.{unknown[0]}: no such setting; there are by, {', '.join(SPLITS)}.")
    by = split.get("by", "singer")
    if by not in BY:
        raise InvalidValue(f"data.split.by={by}: expected {' or '.join(BY)}.")
    require_fold(fold, folds)
    test, validation = (_names(f"data.split.{name}", split.get(name) or [], by) for name in ("test", "validation"))
    train = None if split.get("train") is None else _names("data.split.train", split["train"], by)
    checked = Split(test, validation, train, str(by), fold, folds)
    subset_of: dict[str, str] = {}
    for subset, names in checked.names().items():
        for name in names:
            if subset_of.setdefault(name, subset) != subset:
                raise InvalidValue(f"data.split names {name} in {subset_of[name]} and in {subset}: choose one of them.")
    if fold is None:
        return checked
    for subset, names in checked.names().items():
        if names and subset != "test":
            raise InvalidValue(
                f"data.split.{subset} names {names[0]}: with data.fold={fold} none validates and all others train; "
                f"leave it {'null' if subset == 'train' else 'empty'}."
            )
    return Split([], [], fold=fold, folds=folds)


def _names(setting: str, names: object, by: object) -> list[str]:
    """Return the sorted names of a list or text file; names of recordings without .wav or .flac."""
    if isinstance(names, str):
        names = _read_list(setting, names)
    names = names_of(setting, names)
    return sorted({recording_name(name) if by == "recording" else name for name in names})


def _read_list(setting: str, file: str) -> list[str]:
    """Read the names in a text file, one per line. Skip blank lines and lines that begin with #."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise NotThere(
            f"{setting}={file}: there is no such file; expected a list, [{file}], or a text file with a name a line."
        )
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InvalidValue(f"{setting}={file}: expected text in UTF-8; save it so.") from None
    return [line for line in lines if line and not line.startswith("#")]


def require_names(split: Split, available: Sequence[str]) -> None:
    """Check that the corpus has the names of a split, and that the test and the training subset are not empty.

    A fold is not checked, because its names come from the corpus.

    Args:
        available: all singers, or all recordings without suffix, of the corpus.
    Raises:
        InvalidValue: a name is unknown, or one of the two subsets is empty.
    """
    if split.fold is not None:
        return
    available = [unicodedata.normalize("NFC", name) for name in available]
    if not split.test:
        some = ", ".join(available) if split.by == "singer" else f"the recordings, such as {printable(available[0])}"
        raise InvalidValue(f"data.split.test names no {split.by}: name at least one of {some}.")
    for subset, names in split.names().items():
        for name in sorted(set(names).difference(available)):
            raise InvalidValue(
                f"data.split.{subset} names {printable(name)}, {_alternatives(name, available, split.by)}"
            )
    if split.train == []:
        raise InvalidValue(f"data.split.train names no {split.by}: name those that train, or say null for all others.")
    if split.train is None and {*split.test, *split.validation} >= set(available):
        everything = f"singers found, {', '.join(available)}" if split.by == "singer" else "recordings"
        raise InvalidValue(f"data.split leaves nobody to train: it names all {everything}.")


def _alternatives(name: str, available: Sequence[str], by: str) -> str:
    """Say which names the corpus has, and which of them resembles an unknown name."""
    last = {PurePosixPath(other).name.lower(): other for other in available}  # a singer has no folder part
    near = [last[name.lower()]] if name.lower() in last else difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean {printable(near[0])}?" if near else ""
    if by == "singer":
        layout = " Unless data.source says otherwise, a singer is a folder in data.root with folders of techniques."
        return f"found are {', '.join(map(printable, available))}.{hint or layout}"
    return f"which is none of the {counted(len(available), 'recording')}, such as {printable(available[0])}.{hint}"


def resolved(split: Split, clips: pd.DataFrame) -> Split:
    """Return the split with the singers of its fold as the test singers."""
    return split if split.fold is None else split._replace(test=fold_singers(clips, split.fold, split.folds))


def subsets(
    split: Split, table: pd.DataFrame, techniques: Sequence[str], what: str, unusable: Sequence[str]
) -> list[str]:
    """Return the subset, one of `SPLITS` or "", of each row of a table of recordings or clips.

    Args:
        split: a split without a fold, from `resolved`.
        what: the name of a row in errors: "recording" or "clip".
        unusable: a line for each unusable recording. The table does not have these.
    Raises:
        InvalidValue: a technique has no training row, or there is no test row.
    """
    subset = pd.Series(split.subsets(table), index=table.index)
    trained = set(table["technique"][subset == "train"])
    missing = [technique for technique in techniques if technique not in trained]
    if missing:
        raise InvalidValue(
            f"no training {what} of {', '.join(missing)}: leave it out of data.techniques, "
            f"or let one of its {split.by}s train (data.split).{unusable_in_words(unusable)}"
        )
    if not (subset == "test").any():
        raise InvalidValue(
            f"no test {what} of these techniques: choose other {split.by}s in data.split.test."
            f"{unusable_in_words(unusable)}"
        )
    return subset.tolist()


def split_notes(split: Split, recordings: pd.DataFrame, clips: pd.DataFrame, techniques: Sequence[str]) -> list[str]:
    """Note recordings in no subset, names and techniques that a subset lacks, and singers in both train and test.

    Args:
        recordings: those that have clips, with a column `split`.
        clips: all clips, with a column `split`.
    """
    lines = []
    if outside := (recordings["split"] == "").sum():
        amount = f"{counted(outside, 'recording')} with {counted((clips['split'] == '').sum(), 'clip')}"
        lines.append(f"left out {amount}: data.split names them in no subset")
    for subset, names in reversed(split.names().items()):
        part = recordings[recordings["split"] == subset]
        if split.by == "singer":
            absent = [name for name in names if name not in set(part["singer"])]
            lines += [f"{subset} singer {name} has no recording of the chosen techniques" for name in absent]
        elif len(part) < len(names):
            lacking = counted(len(names) - len(part), f"{subset} recording")
            lines.append(f"{lacking} of data.split without a clip: of other techniques, a copy or not usable")
        if len(part) and subset != "train":
            absent = [technique for technique in techniques if technique not in set(part["technique"])]
            lines += [f"no {subset} recording of {t}: its scores will not be defined" for t in absent]
    both = set.intersection(*(set(recordings["singer"][recordings["split"] == s]) for s in ("train", "test")))
    if both:
        singers = f"{counted(len(both), 'singer')} {'is' if len(both) == 1 else 'are'}"
        lines.append(f"{singers} in both train and test: scores do not tell about new singers")
    return lines


def unusable_in_words(unusable: Sequence[str]) -> str:
    """Say how many recordings could not be used, and why the first could not; "" if there are none."""
    return f" {counted(len(unusable), 'recording')} could not be used, first: {unusable[0]}." if unusable else ""
