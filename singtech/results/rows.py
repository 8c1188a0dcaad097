"""A run's result: `row.json` in its folder, a flat dictionary that is one row of results.csv.

It is there from the run's start, without its scores until the run is complete. Its status is `running` while somebody
works on it; `interrupted` if it was stopped or killed; `failed`, with the reason; or `complete`.
"""

import json
import logging
import math
import os
import re
from pathlib import Path

from singtech import metrics
from singtech.io.atomic import read_all, write_text
from singtech.io.lock import is_held
from singtech.results.settings import read_settings

log = logging.getLogger(__name__)

ROW = "row.json"
RUNNING, INTERRUPTED, FAILED, COMPLETE = STATUSES = ("running", "interrupted", "failed", "complete")
CONDITION = ("run", "data", "fold", "model", "dc", "strategy", "alpha", "seed", "settings")  # what the run is
VARIANT = "variant"  # what a row that an earlier version stored has in place of settings
CIRCUMSTANCES = (  # how it was made
    *("validation_f1", "parameters", "epochs", "seconds", "clips_train", "clips_test", "singers_test"),
    *("device", "precision", "torch"),
    *(
        "commit",
        "status",
        "reason",
        "data_fingerprint",
        "corpus_fingerprint",
        "recipe",
        "phases",
        "made_by",
        "finished",
    ),
    *("versions", "command"),
)
NUMBERS = {"alpha", "parameters", "epochs", "seconds", "clips_train", "clips_test"}
UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # what a UTF-8 file cannot hold, or a CSV reader stumbles over
NAME = re.compile(r'(?!\.{1,2}$)[^/\\:*?"<>|\x00-\x1f\x7f]{1,80}')  # that a folder can have on any system
UNFOLDED = {"fold": ""}  # what a row says that names no fold: the run is on the corpus's own split
EARLIER = {"settings": ""}  # what a row says that an earlier version stored


def write_row(folder: str | os.PathLike, row: dict) -> Path:
    """Write a run's row into its folder in one step; nan becomes null, so that the file is plain JSON.

    Raises:
        ValueError: the row lacks one of `CONDITION` or the status, or holds a value that is not text or a number.
    """
    row = UNFOLDED | {name: _plain(value) for name, value in row.items()}
    fault = _fault(row)
    if fault:
        raise ValueError(f"{Path(folder) / ROW} is not written, for it would be unusable: {fault}.")
    path = Path(folder) / ROW
    write_text(path, json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read_row(folder: Path) -> dict | None:
    """The row of a run's folder; None where there is none.

    A run that says it is running, and on which nobody works, was killed: it is `interrupted`.

    Raises:
        ValueError: the row is damaged, with what is wrong in a few words.
    """
    return _row(*read_all([folder / ROW]), folder)


def _row(content: bytes | OSError, folder: Path) -> dict | None:
    """What `read_row` says, of a file's content."""
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        return None
    try:
        if isinstance(content, OSError):
            raise content
        row = json.loads(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(_line(error)) from None
    row = UNFOLDED | (EARLIER if VARIANT in row else {}) | row if isinstance(row, dict) else row
    if fault := _fault(row):
        raise ValueError(fault)
    if row["status"] == RUNNING and not is_held(folder):
        row["status"] = INTERRUPTED
    return row


def read_rows(runs_folder: str | os.PathLike) -> list[dict]:
    """The rows of all runs below `runs_folder`, in the order of their folders' names.

    A row that is damaged, half there or a copy of another is left out and named in one warning line.
    """
    rows, faults, seen = [], [], set()
    folders = _folders(runs_folder)
    for folder, content in zip(folders, read_all(folder / ROW for folder in folders), strict=True):
        try:
            row = _row(content, folder)
        except ValueError as problem:
            faults.append(f"{folder.name}/{ROW} ({problem})")
            continue
        if row is None:  # removed meanwhile, or not begun
            continue
        if row["run"] in seen:
            faults.append(f"{folder.name}/{ROW} (a second row of the run {row['run']})")
            continue
        seen.add(row["run"])
        rows.append(row)
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        log.warning("%s: %d unusable rows left out: %s%s", runs_folder, len(faults), "; ".join(faults[:5]), more)
    return rows


def _folders(runs_folder: str | os.PathLike) -> list[Path]:
    """The runs' folders, sorted by name; names with a dot in front are folders still being written."""
    try:
        with os.scandir(runs_folder) as entries:
            return [Path(entry.path) for entry in sorted(entries, key=lambda entry: entry.name) if entry.name[0] != "."]
    except FileNotFoundError:
        return []


def _fault(row: object) -> str:
    """What makes a row unusable, in a few words; empty where nothing does."""
    if not isinstance(row, dict):
        return f"it holds {type(row).__name__}, expected an object"
    lacking = [name for name in (*CONDITION, "status") if row.get(name) is None]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    words = [name for name in (*CONDITION, "status") if name not in ("alpha", "seed") and type(row[name]) is not str]
    words += [name for name, value in row.items() if isinstance(value, list | dict)]
    words += [VARIANT] if type(row.get(VARIANT, "")) is not str else []
    if words:
        return f"{words[0]} holds {row[words[0]]!r:.40}, expected text"
    by_technique = metrics.prefixes()
    numbers = [
        name
        for name, value in row.items()
        if type(value) not in (int, float, type(None)) and is_number(name, by_technique)
    ]
    if numbers or type(row["seed"]) is not int:
        name = numbers[0] if numbers else "seed"
        return f"{name} holds {row[name]!r:.40}, expected a number"
    try:
        read_settings(row["settings"])
    except ValueError as problem:
        return str(problem)
    if row["settings"] == "" and VARIANT not in row:
        return "settings hold '', expected a JSON object"
    return _unstorable(row)


def _unstorable(row: dict) -> str:
    """What of a row's values no table can keep, in a few words; empty where all can be kept."""
    for name, value in row.items():
        if type(value) is int and abs(value) >= 1 << 63:
            return f"{name} holds {value!r:.40}, expected a number of at most 64 bits"
        if any(type(text) is str and UNWRITABLE.search(text) for text in (name, value)):
            return f"{name!r:.40} holds {value!r:.40}, expected text that UTF-8 can hold"
        if type(value) is float and not math.isfinite(value) and (math.isinf(value) or name == "alpha"):
            return f"{name} is {value}, expected a finite number"
    if not NAME.fullmatch(row["data"]):
        return f"data is {row['data']!r:.40}, expected a name that a folder can have"
    if set(row["run"]) & set("/\\") or row["run"] in ("", ".", ".."):
        return f"run is {row['run']!r:.40}, expected the name of its folder"
    return ""


def is_number(column: str, by_technique: tuple[str, ...] | None = None) -> bool:
    """Whether a column holds numbers: the metrics, those of a technique (by their prefixes), counts."""
    prefixes = metrics.prefixes() if by_technique is None else by_technique
    name = column.removeprefix("validation_")
    return column in NUMBERS or name in metrics.METRICS or name.startswith(prefixes)


def _plain(value: object) -> object:
    """A value as JSON knows it: numpy's numbers as Python's, nan as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
