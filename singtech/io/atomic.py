"""Files and folders that are whole or absent: written under a temporary name, synced to the disk, then renamed."""

import glob
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and is removed when it does not.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full; `path` is as it was.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and is removed when it does not.

    Raises:
        FileExistsError: `path` is already there; published folders are never overwritten.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is already there; move it away first.")
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for item in (*temporary.rglob("*"), temporary):
            sync(item)
        temporary.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` to `path` in one step (UTF-8, newlines as given)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def remove_remains(path: str | os.PathLike) -> None:
    """Remove the half-written files of killed processes beside `path`. Call it while nobody else may write it."""
    path = Path(path)
    for remains in path.parent.glob(f".{glob.escape(path.name[:60])}[.-]*.tmp"):
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink(missing_ok=True)


def set_aside(path: str | os.PathLike) -> Path:
    """Rename a damaged file or folder to the hidden `.<name>.damaged-<number>` beside it; return the new path."""
    path = Path(path)
    targets = (path.with_name(f".{path.name.lstrip('.')}.damaged-{number}") for number in itertools.count(1))
    target = next(target for target in targets if not target.exists())
    path.rename(target)
    return target


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_all(paths: Iterable[Path]) -> Iterator[bytes | OSError]:
    """Every file's bytes, or the error of reading it, in the order of the paths.

    Reads many small files at a time: on a network file system the waits would add up to minutes.
    """
    with ThreadPoolExecutor(max_workers=16) as readers:
        yield from readers.map(_content, paths)


def _content(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def sync(path: Path) -> None:
    """Write a file's or folder's content to the disk; a later rename then never points at unwritten bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some network file systems refuse to sync folders; a file must reach the disk
            raise
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    """A hidden path beside `path` that no other process uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.tmp")


def encodable(text: object) -> str:
    """Escape the characters of a text or path that UTF-8 cannot encode."""
    return str(text).encode("utf-8", "backslashreplace").decode()
