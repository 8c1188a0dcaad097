"""Read what singtech wrote: a file is whole, damaged (`Damaged`), or of a newer version (`Newer`)."""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from singtech.errors import Damaged, Newer


@contextmanager
def reading(path: Path, advice: str = "", fault: str = "is damaged") -> Iterator[None]:
    """Name a file or folder in the error that its content raises.

    Args:
        advice: what to do if it is damaged.
        fault: the words for this.
    Raises:
        Damaged: it cannot be read, or holds something else.
        Newer: a newer version wrote it.
        OSError, MemoryError: the system cannot read it now, which says nothing about its content.
    """
    try:
        yield
    except MemoryError:
        raise
    except Newer as problem:
        raise problem if str(path) in str(problem) else Newer(f"{path} {problem}") from None
    except Exception as problem:  # each library raises types of its own
        if getattr(problem, "errno", None) not in (None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR):
            raise
        if isinstance(problem, Damaged) and str(path) in str(problem):
            raise
        raise Damaged(f"{path} {fault} ({one_line(problem)}){advice and f'; {advice}'}.") from problem


def parse_json(content: bytes, newest: int, entry: str = "format") -> dict:
    """Parse a JSON object, and compare its version with the newest that this code reads.

    Args:
        entry: holds the version; without it, it is 0.
    Raises:
        ValueError: it is no JSON object. Call this in `reading`.
        Newer: its version is higher.
    """
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError(f"it holds {type(values).__name__}, expected an object")
    require_version(values, newest, entry)
    return values


def require_version(values: dict, newest: int, entry: str = "format") -> None:
    """Check a file's version, see `parse_json`."""
    if values.get(entry, 0) > newest:
        raise Newer(f"has {entry} {values[entry]}, this version of singtech reads up to {newest}: install a newer one")


def hash_values(values: Mapping) -> str:
    """SHA-256 of plain values, whatever their order, in hexadecimal; an entry `digest` is left out."""
    content = {name: value for name, value in values.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def one_line(problem: BaseException) -> str:
    """Say in a few words on one line what an error says."""
    text = f"it has no {problem}" if isinstance(problem, KeyError) else str(problem)
    if isinstance(problem, OSError) and problem.filename:
        text = f"{Path(problem.filename).name}: {problem.strerror}"
    return " ".join(text.split())[:200].rstrip(".") or type(problem).__name__
