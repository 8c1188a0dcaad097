"""Cross-validate over singers: five test singers are few, so every singer is tested once.

The paper has one split. Folds share no singer, and each has about the same part of every technique. The clips alone
decide which singers a fold holds, so all runs on a corpus have the same folds.
"""

import warnings

import pandas as pd

from singtech.errors import InvalidValue


def fold_singers(clips: pd.DataFrame, fold: int, folds: int) -> list[str]:
    """Return the test singers of one of `folds` folds, by scikit-learn's StratifiedGroupKFold without shuffling.

    Args:
        clips: a row a clip, with its singer and technique.
        fold: from 0.
    Returns:
        Sorted names; over all folds every singer once.
    Raises:
        InvalidValue: there are fewer singers than folds, or a technique that no other fold's singer has.
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
        raise InvalidValue(
            f"data.fold={fold}: all clips of {', '.join(missing)} are in this fold, none is left to train on; leave it "
            "out of data.techniques."
        )
    return sorted(test["singer"].unique())


def require_fold(fold: object, folds: object) -> None:
    """Check that `fold` is null or one of a whole number of folds, at least two.

    Raises:
        InvalidValue: it is not.
    """
    if type(folds) is not int or folds < 2:
        raise InvalidValue(f"data.folds={folds}: expected a whole number of folds, two or more, such as 5.")
    if fold is not None and (type(fold) is not int or not 0 <= fold < folds):
        raise InvalidValue(f"data.fold={fold}: expected null, or one of the {folds} folds, 0 to {folds - 1}.")
