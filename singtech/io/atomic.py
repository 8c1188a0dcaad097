"""Write files and folders whole or not at all: under a temporary name, synced to the disk, then renamed."""

import glob
import hashlib
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from singtech.errors import InvalidValue

CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # steer a terminal or break lines


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path. It becomes `path` if the block succeeds, and is removed if the block fails.

    Raises:
        OSError: the file cannot be written, for example because the disk is full; `path` is unchanged.
    """
    path = Path(path)
    temporary = _temporary_path(path)
    try:
        with name_in_errors(path, temporary):
            yield temporary
            sync_to_disk(temporary)
        temporary.replace(path)
        sync_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder. It becomes `path` if the block succeeds, and is removed if the block fails.

    Raises:
        FileExistsError: `path` exists. A folder is never overwritten.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} already exists; move it away first.")
    temporary = _temporary_path(path)
    temporary.mkdir()
    try:
        with name_in_errors(path, temporary):
            yield temporary
            for item in (*temporary.rglob("*"), temporary):
                sync_to_disk(item)
        temporary.rename(path)
        sync_to_disk(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def name_in_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Name `path` in an error that names no file, as that of a full disk, or one below the temporary folder."""
    try:
        yield
    except OSError as problem:
        name = str(problem.filename or temporary)
        if problem.errno and name.startswith(str(temporary)):
            problem.filename = str(path)
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` to `path` in one step, as UTF-8 and without changing newlines; escape what UTF-8 cannot encode."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def remove_temporary_files(path: str | os.PathLike) -> None:
    """Remove temporary files of `path` that killed processes left. Call it under the lock on `path`."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name[:60])}[.-]*.tmp"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def set_aside(path: str | os.PathLike) -> Path:
    """Rename a damaged file or folder to the hidden `.<name>.damaged-<number>` beside it; return the new path."""
    path = Path(path)
    targets = (path.with_name(f".{path.name.lstrip('.')}.damaged-{number}") for number in itertools.count(1))
    target = next(target for target in targets if not target.exists())
    path.rename(target)
    return target


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_visible(folder: str | os.PathLike, suffix: str = "") -> list[Path]:
    """List a folder by name, if it exists, without hidden files; one that may not be read raises OSError."""
    try:
        return sorted(path for path in Path(folder).iterdir() if path.name[0] != "." and path.name.endswith(suffix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_files(paths: Iterable[Path]) -> Iterator[bytes | OSError]:
    """Read files; yield the bytes of each, or its error, in the order of the paths.

    Several threads read at once, because one file after another takes minutes on a network file system.
    """
    with ThreadPoolExecutor(max_workers=16) as readers:
        yield from readers.map(_read_bytes, paths)


def _read_bytes(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def sync_to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a later rename never points at missing bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some network file systems cannot sync folders, but a file must be synced
            raise
    finally:
        os.close(handle)


def _temporary_path(path: Path) -> Path:
    """Return a hidden path beside `path` that no other process uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.tmp")


def escape_text(text: object) -> str:
    """Escape the characters of a path, or of text of others, that UTF-8 cannot encode or that steer a terminal."""
    encodable = str(text).encode("utf-8", "backslashreplace").decode()
    return CONTROL_CHARACTERS.sub(lambda match: repr(match[0])[1:-1], encodable)


def decode_text(content: bytes, file: object) -> str:
    """Decode a user's text file, with or without a byte-order mark; raise `InvalidValue` if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue(f"{file}: expected UTF-8; save it as UTF-8.") from None


def expand_home(path: str | os.PathLike) -> Path:
    """Replace the ~ or ~user that a path begins with by the home folder, if there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's raises an error if there is none
