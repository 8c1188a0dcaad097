"""A run's result: `row.json` in its folder, a flat dictionary that is one row of results.csv.

The row exists from the run's start, without scores until the run is complete. Its status is `running` while a process
works on it; `interrupted` if it was stopped or killed; `failed`, with the reason; or `complete`. Readers return None
for a missing row, and raise `Damaged`, or `Newer` for a row of a newer version.
"""

import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from singtech.errors import Damaged, Newer
from singtech.io.atomic import hash_file, read_files, write_text
from singtech.io.lock import is_held
from singtech.results import schema
from singtech.results.settings import read_settings

log = logging.getLogger(__name__)

ROW = "row.json"
RUNNING, INTERRUPTED, FAILED, COMPLETE = ("running", "interrupted", "failed", "complete")
SCORED = "scored"  # the strategy of a row of a system that was trained elsewhere (`singtech.results.scored`)
VARIANT = "variant"  # rows of earlier versions have this entry instead of settings
REQUIRED = ("run", "data", "fold", "model", "dc", "strategy", "alpha", "seed", "settings", "status")
NAME = re.compile(r'(?!\.{1,2}$)[^/\\:*?"<>|\x00-\x1f\x7f]{1,200}')  # a name that a folder can have on any system
TYPES = {  # type of a column, "" if it is unknown -> Python types of its values
    "text": (str, type(None)),
    "number": (int, float, type(None)),
    "count": (int, type(None)),
    "whole": (int,),
    "": (str, bool, int, float, type(None)),
}


def write_row(folder: str | os.PathLike, values: dict) -> Path:
    """Write a run's row into its folder in one step, with schema and digest; nan becomes null.

    Raises:
        ValueError: the row lacks one of `REQUIRED`, or holds a value that is not text or a number.
    """
    row = {"fold": "", "schema": schema.SCHEMA, "rounding": 0}
    row |= {name: _to_json_value(value) for name, value in values.items()}
    if fault := _find_fault(row):
        raise ValueError(f"{Path(folder) / ROW} is not written, for it would be unusable: {fault}.")
    path = Path(folder) / ROW
    text = json.dumps(row | {"digest": _digest(row)}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
    return path


def read_row(folder: Path) -> dict | None:
    """Read the row of a run's folder; None if there is none.

    If its status is running, but no process works on the run, the run was killed and its status is `interrupted`.

    Raises:
        Damaged: with the reason in a few words.
        Newer: a newer version wrote it.
    """
    (content,) = read_files([folder / ROW])
    return parse_row(content, folder)


def parse_row(content: bytes | OSError, folder: Path | None = None) -> dict | None:
    """Parse a row from a file's content, see `read_row`; without a folder, no process works on its run."""
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        return None
    try:
        if isinstance(content, OSError):
            raise content
        row = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(" ".join(str(error).split())[:120]) from None
    if isinstance(row, dict):
        row = {"fold": "", "schema": 0} | ({"settings": ""} if VARIANT in row else {}) | row
        number = row["schema"]
        if type(number) is int and number > schema.SCHEMA:
            raise Newer(f"a newer version of singtech wrote it: schema {number}, expected at most {schema.SCHEMA}")
    if fault := _find_fault(row):
        raise Damaged(fault)
    if row["status"] == RUNNING and not (folder and is_held(folder)):
        row["status"] = INTERRUPTED
    return row


def read_rows(runs_folder: str | os.PathLike) -> list[dict]:
    """Read the rows of all runs below `runs_folder`, in the order of their folders' names.

    A one-line warning names the rows that are left out: damaged, of a newer version, or a copy of another row.
    """
    rows: dict[str, dict] = {}
    faults = []
    folders = sorted(Path(runs_folder).glob("[!.]*"))  # a name with a dot in front is a folder that is being written
    for folder, content in zip(folders, read_files(folder / ROW for folder in folders), strict=True):
        try:
            row = parse_row(content, folder)
        except (Damaged, Newer) as problem:
            faults.append(f"{folder.name}/{ROW} ({problem})")
            continue
        if row is not None and row["run"] in rows:
            faults.append(f"{folder.name}/{ROW} (a second row of the run {row['run']})")
        elif row is not None:
            rows[row["run"]] = row
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        log.warning("%s: %d unusable rows left out: %s%s", runs_folder, len(faults), "; ".join(faults[:5]), more)
    return list(rows.values())


def is_intact(row: dict) -> bool:
    """Whether a row has not changed since it was written; False for a row of schema 0, which has no digest."""
    return row.get("digest") == _digest(row)


def digests(folder: Path, names: Iterable[str]) -> str:
    """Make the entry `files` of a row: the digest of each of these files that exists."""
    return " ".join(f"{name}={hash_file(folder / name)[:16]}" for name in names if (folder / name).is_file())


def stored_digest(row: dict, name: str) -> str:
    """Read the digest of a run's file from the entry `files` of its row; "" if there is none."""
    return dict(pair.split("=", 1) for pair in (row.get("files") or "").split() if "=" in pair).get(name, "")


def _digest(row: dict) -> str:
    content = json.dumps({name: value for name, value in row.items() if name != "digest"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _find_fault(row: object) -> str:
    """Say in a few words why a row is unusable; "" if it is usable."""
    if not isinstance(row, dict):
        return f"it holds {type(row).__name__}, expected an object"
    required = [name for name in REQUIRED if name != "alpha" or row.get("strategy") != SCORED]
    if missing_names := [name for name in required if row.get(name) is None]:
        return f"it has no {', '.join(missing_names)}"
    for name, value in row.items():
        column = schema.column_type(name)
        if not isinstance(value, TYPES[column]) or (isinstance(value, bool) and column):
            return f"{name} holds {value!r:.40}, expected {'a number' if column in schema.DTYPES else 'text'}"
    for name in ("data", "run"):
        if not NAME.fullmatch(row[name]):
            return f"{name} is {row[name]!r:.40}, expected a name that a folder can have"
    try:
        read_settings(row["settings"])
    except ValueError as problem:
        return str(problem)
    return "settings hold '', expected a JSON object" if row["settings"] == "" and VARIANT not in row else ""


def _to_json_value(value: object) -> object:
    """Convert a value for JSON: numpy's numbers to Python's, nan to None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
