"""Split clips into training, validation and test, by singer or by the recordings in an official list.

The clip store does not depend on the split, so all splits and folds of a corpus share one store.

Five test singers are few, so a corpus can also be cross-validated over its singers (the paper has one split). Folds
share no singer, and each has about the same part of every technique. The folds depend only on the clips, so all runs
on a corpus have the same folds.
"""

import difflib
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from singtech.corpus.manifest import escape, parse_names, plural, recording_name
from singtech.errors import InvalidValue, NotThere, require, require_choice
from singtech.io.atomic import decode_text, expand_home

SPLITS = ("train", "validation", "test")
SPLIT_KINDS = ("singer", "recording")


class Split(NamedTuple):
    """Names of the singers, or recordings, of each subset.

    Attributes:
        train: None for all names in no other subset. If it is a list, names in no list belong to no subset.
        by: "singer" or "recording".
        fold: None, or the one of `folds` folds with the test singers.
        inner_fold: None, or 1 to folds - 1: the singers of the fold that many after `fold` validate.
        left_out: singers who are in no fold.
    """

    test: list[str]
    validation: list[str]
    train: list[str] | None = None
    by: str = "singer"
    fold: int | None = None
    folds: int = 5
    inner_fold: int | None = None
    left_out: tuple[str, ...] = ()

    def names(self) -> dict[str, list[str]]:
        """Return the names of each subset that has a list."""
        lists = {"train": self.train, "validation": self.validation, "test": self.test}
        return {subset: names for subset, names in lists.items() if names is not None}

    def subsets(self, table: pd.DataFrame) -> list[str]:
        """Return the subset of each row of a table of recordings or clips; "" for a row in no subset."""
        subset_of = {name: subset for subset, names in self.names().items() for name in names}
        subset_of |= dict.fromkeys(self.left_out, "")
        rest = "train" if self.train is None else ""
        if self.by == "singer":
            names = table["singer"]
        else:
            names = table["recording"] if "recording" in table else table["path"].map(recording_name)
        return [subset_of.get(unicodedata.normalize("NFC", name), rest) for name in names]


def make_split(
    split: Mapping[str, object],
    fold: int | None = None,
    folds: int = 5,
    inner_fold: int | None = None,
    fold_singers: str = "all",
) -> Split:
    """Make a split from the settings data.split, .fold, .folds, .inner_fold and .fold_singers, and check it.

    Each subset is a list of names, or a text file with one name per line.

    Raises:
        InvalidValue: a name is in two subsets, or a fold does not exist.
        NotThere: there is no such text file.
    """
    by = split.get("by", "singer")
    require_choice("data.split.by", by, SPLIT_KINDS)
    is_fold = folds >= 2 and (fold is None or 0 <= fold < folds)
    require(is_fold, f"data.fold={fold}, data.folds", folds, "null or a fold from 0, of two or more folds")
    is_inner = inner_fold is None or (fold is not None and 1 <= inner_fold < folds)
    setting = f"data.inner_fold={inner_fold}, data.fold"
    require(is_inner, setting, fold, f"null, or a data.fold and 1 to {folds - 1}")
    is_choice = fold_singers in ("all", "train")
    require(is_choice, "data.fold_singers", fold_singers, "all, or train for those that data.split trains")
    test, validation = (_read_names(f"data.split.{name}", split.get(name) or [], by) for name in ("test", "validation"))
    train = None if split.get("train") is None else _read_names("data.split.train", split["train"], by)
    if fold is not None:
        if validation or train:
            what = f"{'validation' if validation else 'training'} {by}s: with data.fold={fold} none"
            advice = "leave validation empty and train null"
            raise InvalidValue(f"data.split names {what} validates and all others train; {advice}.")
        if fold_singers == "train" and by != "singer":
            raise InvalidValue("data.fold_singers=train needs data.split.by=singer, because folds are of singers.")
        left_out = tuple(test) if fold_singers == "train" else ()
        return Split([], [], fold=fold, folds=folds, inner_fold=inner_fold, left_out=left_out)
    new_split = Split(test, validation, train, str(by))
    subset_of: dict[str, str] = {}
    for subset, names in new_split.names().items():
        for name in names:
            if subset_of.setdefault(name, subset) != subset:
                raise InvalidValue(f"data.split names {name} in {subset_of[name]} and in {subset}: choose one of them.")
    return new_split


def _read_names(setting: str, names: object, by: object) -> list[str]:
    """Return the sorted names of a list, or of a text file without blank lines and lines that begin with #."""
    if isinstance(names, str):
        path = expand_home(names)
        if not path.is_file():
            wanted = f"expected a list, [{names}], or a text file with a name a line."
            raise NotThere(f"{setting}={names}: there is no such file; {wanted}")
        lines = [line.strip() for line in decode_text(path.read_bytes(), f"{setting}={names}").splitlines()]
        names = [line for line in lines if line and not line.startswith("#")]
    names = parse_names(setting, names)
    return sorted({recording_name(name) if by == "recording" else name for name in names})


def require_names(split: Split, available: Sequence[str]) -> None:
    """Check that the corpus has the names of a split, and that the test and the training subset are not empty.

    Of a fold only the singers that are left out are checked, because its other names come from the corpus.

    Args:
        available: all singers, or all recordings without suffix, of the corpus.
    Raises:
        InvalidValue: a name is unknown, or one of the two subsets is empty.
    """
    available = [unicodedata.normalize("NFC", name) for name in available]
    available_text = escape(", ".join(available) if split.by == "singer" else f"{available[0]} and others")
    if split.fold is None and (not split.test or split.train == []):
        subset = "train" if split.test else "test"
        raise InvalidValue(f"data.split.{subset} names no {split.by}; there are {available_text}.")
    named = split.names() if split.fold is None else {"test": list(split.left_out)}
    for subset, names in named.items():
        for name in sorted(set(names).difference(available)):
            similar = [other for other in available if PurePosixPath(other).name.lower() == name.lower()]
            similar = similar or difflib.get_close_matches(name, available, n=1)
            hint = f" Did you mean {escape(similar[0])}?" if similar else ""
            raise InvalidValue(f"data.split.{subset} names {name}; there are {available_text}.{hint}")
    if split.fold is None and split.train is None and {*split.test, *split.validation} >= set(available):
        raise InvalidValue(f"data.split leaves no {split.by} to train: it names all of them.")


def assign_subsets(
    split: Split, table: pd.DataFrame, techniques: Sequence[str], noun: str, unusable: Sequence[str]
) -> list[str]:
    """Return the subset, one of `SPLITS` or "", of each row of a table of recordings or clips.

    Args:
        split: a split without a fold, or with the singers of its fold.
        noun: the word for a row in errors: "recording" or "clip".
        unusable: a line for each unusable recording. The table does not have these.
    Raises:
        InvalidValue: a technique has no training row, or there is no test row.
    """
    subset = pd.Series(split.subsets(table), index=table.index)
    train_techniques = set(table["technique"][subset == "train"])
    missing = [technique for technique in techniques if technique not in train_techniques]
    reasons = summarise_unusable(unusable)
    if missing:
        raise InvalidValue(
            f"no training {noun} of {', '.join(missing)}: leave it out of data.techniques, "
            f"or let one of its {split.by}s train (data.split).{reasons}"
        )
    if "test" not in subset.values:
        raise InvalidValue(f"no test {noun} of these techniques: choose other {split.by}s in data.split.test.{reasons}")
    return subset.tolist()


def note_split(split: Split, recordings: pd.DataFrame, clips: pd.DataFrame, techniques: Sequence[str]) -> list[str]:
    """Note recordings in no subset, names and techniques missing in a subset, and singers in train and test."""
    lines = []
    if outsiders := (recordings["split"] == "").sum():
        amount = f"{plural(outsiders, 'recording')} with {plural((clips['split'] == '').sum(), 'clip')}"
        lines.append(f"left out {amount}: data.split names them in no subset")
    for subset, names in reversed(split.names().items()):
        part = recordings[recordings["split"] == subset]
        if split.by == "singer":
            absent = [name for name in names if name not in set(part["singer"])]
            lines += [f"{subset} singer {name} has no recording of the chosen techniques" for name in absent]
        elif len(part) < len(names):
            missing = plural(len(names) - len(part), f"{subset} recording")
            lines.append(f"{missing} of data.split without a clip: of other techniques, a copy or not usable")
        if len(part) and subset != "train":
            absent = [technique for technique in techniques if technique not in set(part["technique"])]
            lines += [f"no {subset} recording of {t}: its scores will not be defined" for t in absent]
    shared_singers = set.intersection(*(set(recordings["singer"][recordings["split"] == s]) for s in ("train", "test")))
    if shared_singers:
        singers = f"{plural(len(shared_singers), 'singer')} {'is' if len(shared_singers) == 1 else 'are'}"
        lines.append(f"{singers} in both train and test: scores are no evidence about new singers")
    return lines


def summarise_unusable(unusable: Sequence[str]) -> str:
    """Say how many recordings cannot be used, and why the first cannot; "" if all can."""
    return f" {plural(len(unusable), 'recording')} could not be used, first: {unusable[0]}." if unusable else ""


def choose_fold_singers(clips: pd.DataFrame, fold: int, folds: int) -> list[str]:
    """Choose the test singers of one of `folds` folds, with scikit-learn's StratifiedGroupKFold, not shuffled.

    Raises:
        InvalidValue: there are fewer singers than folds, or no other fold has clips of a technique.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    singers = clips["singer"].nunique()
    if singers < folds:
        raise InvalidValue(f"data.folds={folds}: more folds than singers, of whom the corpus has {singers}.")
    with warnings.catch_warnings():  # a technique with fewer clips than folds: some folds have no test clip of it
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(StratifiedGroupKFold(folds).split(clips, clips["technique"], clips["singer"]))
    train, test = (clips.iloc[rows] for rows in parts[fold])
    missing = sorted(set(clips["technique"]) - set(train["technique"]))
    if missing:
        why = f"all clips of {', '.join(missing)} are in this fold, none is left to train on"
        raise InvalidValue(f"data.fold={fold}: {why}; leave it out of data.techniques.")
    return sorted(test["singer"].unique())
