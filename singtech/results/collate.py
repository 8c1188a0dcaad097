"""All runs in one file: `results.csv`, one row a run, rebuilt from the `row.json` files after every run and sweep."""

import csv
import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from singtech.files import write_text
from singtech.results.rows import CIRCUMSTANCES, CONDITION, SCORES, is_number, read_rows
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.csv"
_ORDER = ("data", "model", "dc", "strategy", "alpha", "variant", "seed", "run")


def collate(output_dir: str | os.PathLike) -> "pd.DataFrame":
    """Rebuild `results.csv` from the runs on disk, and read it.

    The same runs give the same bytes; a file that would not change is not touched. Where no run is on disk, a
    `results.csv` that is there (brought from another machine, say) is kept and read as it is.

    Returns:
        One row a run, sorted by condition and seed; empty where nothing has been run.
    """
    output_dir = Path(output_dir)
    path = output_dir / RESULTS
    if (output_dir / "runs").is_dir():
        with FileLock(output_dir / f".{RESULTS}.lock"):  # read under the lock too, or an older view could come last
            rows = read_rows(output_dir / "runs")
            text = _text(rows)
            if rows and not (path.is_file() and path.read_bytes() == text.encode()):
                write_text(path, text)
    return read_results(path) if path.is_file() else _typed(_text([]), path)


def read_results(path: str | os.PathLike) -> "pd.DataFrame":
    """`results.csv` with text as text (a commit of digits, an empty variant), alpha and metrics as floats, seed as int.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged: a column is missing, or holds text where a number belongs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no results yet. Make some with `make demo` or `python -m singtech.run`.")
    return _typed(path.read_text(encoding="utf-8"), path)


def columns(rows: list[dict]) -> list[str]:
    """results.csv's columns: the condition, the metrics, F1 by technique, the circumstances, what else rows hold."""
    names = set().union(*rows) if rows else set()
    techniques = [f"f1_{technique}" for technique in TECHNIQUES]
    techniques += sorted(name for name in names - set(techniques) if name.startswith("f1_"))
    fixed = [*CONDITION, *SCORES, *techniques, *CIRCUMSTANCES]
    return fixed + sorted(names - set(fixed))


def _text(rows: list[dict]) -> str:
    """The CSV of the rows, sorted."""
    rows = [{**row, "alpha": float(row["alpha"])} for row in rows]
    names = columns(rows)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in sorted(rows, key=lambda row: tuple(row[name] for name in _ORDER)):
        writer.writerow([_field(row.get(name)) for name in names])
    return file.getvalue()


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _typed(text: str, path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        lacking = [name for name in (*CONDITION, *SCORES, "status") if name not in frame]
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}")
        for name in frame.columns:
            if is_number(name):
                frame[name] = pd.to_numeric(frame[name]).astype(float)
        frame["seed"] = pd.to_numeric(frame["seed"]).astype("int64")
    except ValueError as error:  # pandas' parser errors are ValueErrors
        why = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({why}); remove it and run `make tables` to rebuild it.") from error
    return frame
