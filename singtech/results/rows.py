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
from collections.abc import Iterable, Mapping
from pathlib import Path

from singtech.errors import Damaged, Foreign, Newer
from singtech.io.atomic import hash_file, list_visible, read_files, write_text
from singtech.io.lock import is_held
from singtech.io.stored import hash_values, parse_json, reading
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
    text = json.dumps(row | {"digest": hash_values(row)[:16]}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
    return path


def read_row(folder: Path) -> dict | None:
    """Read the row of a run's folder; None if there is none.

    If its status is running, but no process works on the run, the run was killed and its status is `interrupted`.

    Raises:
        Damaged: it cannot be read, or has changed since it was written.
        Foreign: it is the row of another folder's run, or the folder is a link to an absent one.
        Newer: a newer version wrote it.
    """
    (content,) = read_files([folder / ROW])
    return parse_row(content, folder)


def parse_row(content: bytes | OSError, folder: Path) -> dict | None:
    """Parse a row from a file's content, see `read_row`."""
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        if folder.is_symlink() and not folder.exists():
            raise Foreign(f"{folder} is a link to {folder.readlink()}, which is absent.")
        return None
    with reading(folder / ROW):
        if isinstance(content, OSError):
            raise content
        row = parse_json(content, schema.SCHEMA, "schema")
        row = {"fold": "", "schema": 0} | ({"settings": ""} if VARIANT in row else {}) | row
        if fault := _find_fault(row):
            raise ValueError(fault)
        if row.get("digest", "") != (hash_values(row)[:16] if row["schema"] else ""):  # rows of schema 0 have none
            raise ValueError("it has changed since it was written")
        if row["run"] != folder.name:
            raise Foreign(
                f"{folder / ROW} is the row of the run {row['run']}: rename the folder back, or remove this copy."
            )
    if row["status"] == RUNNING and not is_held(folder):
        row["status"] = INTERRUPTED
    return row


def read_rows(runs_folder: str | os.PathLike) -> list[dict]:
    """Read the rows of all runs below `runs_folder`, in the order of their folders' names.

    A one-line warning names the rows that are left out: damaged, of a newer version, or of another folder's run.
    """
    rows, faults = [], []
    folders = list_visible(runs_folder)
    for folder, content in zip(folders, read_files(folder / ROW for folder in folders), strict=True):
        try:
            rows.append(parse_row(content, folder))
        except (Damaged, Newer) as problem:
            faults.append(str(problem).removeprefix(f"{runs_folder}/").rstrip("."))
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        amount = f"{len(faults)} unusable row{'s' * (len(faults) > 1)}"
        log.warning("%s: %s left out: %s%s", runs_folder, amount, "; ".join(faults[:5]), more)
    return [row for row in rows if row is not None]


def digests(folder: Path, names: Iterable[str]) -> str:
    """Make the entry `files` of a row: the digest of each of these files that exists."""
    return " ".join(f"{name}={hash_file(folder / name)[:16]}" for name in names if (folder / name).is_file())


def read_digests(row: Mapping) -> dict[str, str]:
    """Read the digest of each of a run's files from the entry `files` of its row; empty if there is none."""
    return dict(pair.partition("=")[::2] for pair in (row.get("files") or "").split())


def check_result(content: bytes, name: str, row: Mapping) -> bytes:
    """Compare the content of a run's file with its digest in the run's row, if this has one, and return it.

    Raises:
        ValueError: it has changed. Call this in `reading`.
    """
    if read_digests(row).get(name) not in (None, short_digest(content)):
        raise ValueError("it has changed since the run ended")
    return content


def short_digest(content: bytes) -> str:
    """The first 16 digits of the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def _find_fault(row: dict) -> str:
    """Say in a few words why a row is unusable; "" if it is usable."""
    required = [name for name in REQUIRED if name != "alpha" or row.get("strategy") != SCORED]
    if missing_names := [name for name in required if row.get(name) is None]:
        return f"it has no {', '.join(missing_names)}"
    for name, value in row.items():
        column = schema.column_type(name)
        is_wrong = not isinstance(value, TYPES[column]) or (isinstance(value, bool) and column)
        if is_wrong or (column == "whole" and abs(value) >= 2**63):
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
