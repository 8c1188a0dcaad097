"""Files and folders that are whole or absent: written under a temporary name, synced to the disk, then renamed."""

import glob
import hashlib
import itertools
import os
import shutil
import tempfile
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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:60]}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~_umask())
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
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise FileExistsError(f"{path} is already there; move it away before making it anew.")
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:60]}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        for item in (*temporary.rglob("*"), temporary):
            sync(item)
        temporary.chmod(0o777 & ~_umask())
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
    paths = list(paths)
    chunks = [paths[start : start + 32] for start in range(0, len(paths), 32)]  # a thread costs as much as one read
    with ThreadPoolExecutor(max_workers=16) as readers:
        for contents in readers.map(lambda chunk: list(map(_content, chunk)), chunks):
            yield from contents


def _content(path: Path) -> bytes | OSError:
    try:
        with path.open("rb", buffering=0) as file:
            return file.readall()
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def encodable(text: object) -> str:
    """Escape the characters of a text or path that UTF-8 cannot encode."""
    return str(text).encode("utf-8", "backslashreplace").decode()
