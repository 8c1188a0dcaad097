"""Which clips train, validate and test: a corpus is split by singer, or by the recordings that an official list names.

A split is a view: the clip store knows nothing of it, so that all splits and folds of a corpus share one store.
"""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from singtech.corpus.archive import is_recording
from singtech.corpus.folds import fold_singers, require_fold
from singtech.corpus.manifest import counted, names_of, recording_of, shown

SPLITS = ("train", "validation", "test")
BY = ("singer", "recording")


class Split(NamedTuple):
    """Names of the singers, or recordings, of each subset.

    Attributes:
        train: None for all that neither test nor validate. What a list leaves out is in no subset.
        by: "singer" or "recording".
        fold: None, or the fold of `folds` whose singers are tested.
    """

    test: list[str]
    validation: list[str]
    train: list[str] | None = None
    by: str = "singer"
    fold: int | None = None
    folds: int = 5

    def names(self) -> dict[str, list[str]]:
        """The names of each subset that has a list."""
        lists = {"train": self.train, "validation": self.validation, "test": self.test}
        return {subset: names for subset, names in lists.items() if names is not None}

    def subsets(self, table: pd.DataFrame) -> list[str]:
        """The subset of each row of a table of recordings or clips; "" for none."""
        subset_of = {name: subset for subset, names in self.names().items() for name in names}
        rest = "train" if self.train is None else ""
        if self.by == "singer":
            names = table["singer"]
        else:
            names = table["recording"] if "recording" in table else map(recording_of, table["path"])
        return [subset_of.get(unicodedata.normalize("NFC", name), rest) for name in names]


def checked_split(split: Mapping[str, object], fold: int | None = None, folds: int = 5) -> Split:
    """A split as data.split, data.fold and data.folds set it. Each subset is a list, or a text file with a name a line.

    Raises:
        ValueError: a name is in two subsets, there is an unknown setting, or the fold does not exist.
        FileNotFoundError: there is no such text file.
    """
    if not isinstance(split, Mapping):
        raise ValueError(f"data.split={split}: expected test: [singers], validation: [singers].")
    unknown = sorted(set(split) - {*SPLITS, "by"})
    if unknown:
        raise ValueError(f"data.split.{unknown[0]}: no such setting; there are by, {', '.join(SPLITS)}.")
    by = split.get("by", "singer")
    if by not in BY:
        raise ValueError(f"data.split.by={by}: expected {' or '.join(BY)}.")
    require_fold(fold, folds)
    test, validation = (_listed(f"data.split.{name}", split.get(name) or [], by) for name in ("test", "validation"))
    train = None if split.get("train") is None else _listed("data.split.train", split["train"], by)
    checked = Split(test, validation, train, by, fold, folds)
    subset_of: dict[str, str] = {}
    for subset, names in checked.names().items():
        for name in names:
            if subset_of.setdefault(name, subset) != subset:
                raise ValueError(f"data.split names {name} in {subset_of[name]} and in {subset}: choose one of them.")
    if fold is None:
        return checked
    for subset, names in checked.names().items():
        if names and subset != "test":
            raise ValueError(
                f"data.split.{subset} names {names[0]}: with data.fold={fold} none validates and all others train; "
                f"leave it {'null' if subset == 'train' else 'empty'}."
            )
    return Split([], [], fold=fold, folds=folds)


def _listed(setting: str, names: object, by: str) -> list[str]:
    """Sorted names of a list or text file; of recordings without .wav or .flac."""
    if isinstance(names, str):
        names = _read_list(setting, names)
    names = names_of(setting, names)
    return sorted({recording_of(name) if by == "recording" and is_recording(name) else name for name in names})


def _read_list(setting: str, file: str) -> list[str]:
    """The names in a text file, one a line; blank lines and lines that begin with # are none."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{setting}={file}: there is no such file; expected a list, [{file}], or a text file with a name a line."
        )
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{setting}={file}: expected text in UTF-8; save it so.") from None
    return [line for line in lines if line and not line.startswith("#")]


def require_names(split: Split, there: Sequence[str]) -> None:
    """Check that the names of a split are in the corpus, and that something tests and something trains.

    Args:
        there: all singers, or all recordings without suffix, of the corpus.
    Raises:
        ValueError: it is not so; the names of a fold follow from the corpus and are not checked.
    """
    if split.fold is not None:
        return
    there = [unicodedata.normalize("NFC", name) for name in there]
    if not split.test:
        some = ", ".join(there) if split.by == "singer" else f"the recordings, such as {shown(there[0])}"
        raise ValueError(f"data.split.test names no {split.by}: name at least one of {some}.")
    known = set(there)
    for subset, names in split.names().items():
        for name in names:
            if name not in known:
                raise ValueError(f"data.split.{subset} names {shown(name)}, {_instead(name, there, split.by)}")
    if split.train == []:
        raise ValueError(f"data.split.train names no {split.by}: name those that train, or say null for all others.")
    if split.train is None and {*split.test, *split.validation} >= known:
        found = f"singers found, {', '.join(there)}" if split.by == "singer" else "recordings"
        raise ValueError(f"data.split leaves nobody to train: it names all {found}.")


def _instead(name: str, there: Sequence[str], by: str) -> str:
    """What the corpus has instead of an unknown name, for a message."""
    last = PurePosixPath(name).name.lower()
    near = [known for known in there if known.lower() == name.lower()]
    near = near or [known for known in there if PurePosixPath(known).name.lower() == last]
    near = near or difflib.get_close_matches(name, there, n=1)
    hint = f" Did you mean {shown(near[0])}?" if near else ""
    if by == "singer":
        where = " Unless data.source says otherwise, a singer is a folder in data.root with folders of techniques."
        return f"found are {', '.join(map(shown, there))}.{hint or where}"
    return f"which is none of the {counted(len(there), 'recording')}, such as {shown(there[0])}.{hint}"


def resolved(split: Split, clips: pd.DataFrame) -> Split:
    """The split with its fold's singers, if it is one, as the test singers."""
    if split.fold is None:
        return split
    return split._replace(test=fold_singers(clips, split.fold, split.folds))


def subsets(
    split: Split, table: pd.DataFrame, techniques: Sequence[str], what: str, unusable: Sequence[str]
) -> list[str]:
    """The subset, one of `SPLITS` or "", of each row of a table of recordings or clips.

    Args:
        split: with its fold resolved.
        what: the rows are, for the errors: "recording" or "clip".
        unusable: a line for each recording that the table lacks because it could not be used.
    Raises:
        ValueError: a technique has no training row, or there is no test row.
    """
    of = split.subsets(table)
    trained = {technique for technique, subset in zip(table["technique"], of, strict=True) if subset == "train"}
    missing = [technique for technique in techniques if technique not in trained]
    if missing:
        raise ValueError(
            f"no training {what} of {', '.join(missing)}: leave it out of data.techniques, "
            f"or let one of its {split.by}s train (data.split).{spoilt(unusable)}"
        )
    if "test" not in of:
        raise ValueError(
            f"no test {what} of these techniques: choose other {split.by}s in data.split.test.{spoilt(unusable)}"
        )
    return of


def split_notes(split: Split, recordings: pd.DataFrame, clips: pd.DataFrame, techniques: Sequence[str]) -> list[str]:
    """A line for each thing to know of a split: what is in no subset, what a subset lacks, singers in train and test.

    Args:
        recordings: with clips, and with their split.
        clips: with their split.
    """
    lines = []
    outside = int((recordings["split"] == "").sum())
    if outside:
        amount = f"{counted(outside, 'recording')} with {counted(int((clips['split'] == '').sum()), 'clip')}"
        lines.append(f"left out {amount}: data.split names them in no subset")
    for subset, names in reversed(split.names().items()):
        part = recordings[recordings["split"] == subset]
        sung = set(part["technique"])
        if split.by == "singer":
            singers = set(part["singer"])
            lines += [
                f"{subset} singer {name} has no recording of the techniques asked for"
                for name in names
                if name not in singers
            ]
        elif len(part) < len(names):
            lacking = counted(len(names) - len(part), f"{subset} recording")
            lines.append(f"{lacking} of data.split without a clip: of other techniques, a copy or not usable")
        if sung and subset != "train":
            lines += [
                f"no {subset} recording of {t}: its scores will not be defined" for t in techniques if t not in sung
            ]
    both = len(set.intersection(*(set(recordings["singer"][recordings["split"] == s]) for s in ("train", "test"))))
    if both:
        are = f"{counted(both, 'singer')} {'is' if both == 1 else 'are'}"
        lines.append(f"{are} in both train and test: scores do not tell about new singers")
    return lines


def spoilt(unusable: Sequence[str]) -> str:
    """What an error adds about recordings that could not be used; "" if there are none."""
    return f" {counted(len(unusable), 'recording')} could not be used, first: {unusable[0]}." if unusable else ""
