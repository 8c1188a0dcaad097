"""Download one large file from a server that throttles and cuts transfers: resume, retry, verify."""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from singtech.errors import Damaged, NoConnection, NoSpace
from singtech.io.atomic import sync
from singtech.io.lock import hold

RETRIED = (403, 408, 425, 429, *range(500, 600))  # Zenodo throttles with 429 and 403
CHUNK_BYTES = 1 << 16
ATTEMPTS = 6  # in a row without a new byte, before giving up
LONGEST_PAUSE = 300  # seconds between attempts
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def download(url: str, path: Path, size: int, md5: str) -> Path:
    """Download `url` to `path`, whole and verified.

    `<path>.part` holds what has arrived, so that a transfer that broke or was stopped continues there. After a failure
    the next attempt waits twice as long as the last one, or as long as the server says.

    Args:
        size: bytes that the file must have.
        md5: of the file, in hexadecimal.
    Raises:
        NoConnection: the server was not reached, or refused every time.
        Damaged: the server has another file there, or what came has another md5.
        NoSpace: no room for the file.
    """
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with hold(path, f"{path} is being downloaded"), report_full_disk(path.parent, path.name, size):
        if path.exists():  # another process has just brought it
            return path
        if _bytes_in(part) > size:
            part.unlink()
        most = _bytes_in(part)
        require_room(path.parent, path.name, size - most)
        with tqdm(
            desc=path.name, total=size, initial=most, unit="B", unit_scale=True, mininterval=bar_interval()
        ) as bar:
            failures = 0
            while _bytes_in(part) < size:
                try:
                    _transfer(url, part, size, bar)
                except _BrokenOff as cut:
                    failures = 0 if _bytes_in(part) > most else failures + 1
                    most = max(most, _bytes_in(part))
                    if failures == ATTEMPTS:
                        raise NoConnection(f"{url} could not be downloaded ({cut}).") from cut
                    pause = min(LONGEST_PAUSE, max(2 ** max(1, failures), cut.pause))
                    bar.write(f"{path.name}: {cut}; trying again in {pause:.0f} s", file=sys.stderr)
                    time.sleep(pause)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != md5:
            part.unlink()
            raise Damaged(f"{url} sent wrong bytes (md5 {digest} instead of {md5}); they are removed, try again.")
        sync(part)
        part.replace(path)
        sync(path.parent)
    return path


class _BrokenOff(Exception):
    """A transfer that may be tried again: why it ended, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def _transfer(url: str, part: Path, size: int, bar: Any) -> None:
    """Send one request and append what comes to `part`.

    Raises:
        _BrokenOff: it ended before the file did; another attempt may succeed.
        NoConnection, Damaged: another attempt cannot succeed.
    """
    import requests

    start = _bytes_in(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=(10, 60))
    except requests.RequestException as error:
        raise _BrokenOff(f"no connection: {type(error).__name__}") from error
    with answer:
        if answer.status_code == 416:  # the part is no beginning of the server's file
            part.unlink(missing_ok=True)
        if answer.status_code in (*RETRIED, 416):
            pause = answer.headers.get("Retry-After", "")
            raise _BrokenOff(f"the server answered {answer.status_code}", int(pause) if pause.isdigit() else 0)
        if answer.status_code not in (200, 206):
            raise NoConnection(f"{url} could not be downloaded (the server answered {answer.status_code}).")
        is_rest = answer.status_code == 206  # 200 is the file from its start, whatever the request
        start = start if is_rest else 0
        bar.n = start
        promised = answer.headers.get("Content-Range" if is_rest else "Content-Length")
        expected = f"bytes {start}-{size - 1}/{size}" if is_rest else f"{size}"
        if promised != expected and (is_rest or promised is not None):
            raise Damaged(f"{url} is not the file expected (it offers {promised}, expected {expected}).")
        with part.open("ab" if start else "wb") as file:
            try:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            except requests.RequestException as error:
                raise _BrokenOff("the transfer broke off") from error
    if _bytes_in(part) < size:
        raise _BrokenOff("the transfer ended too soon")


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def require_room(folder: Path, what: str, needed: int) -> None:
    """Check that `folder`'s disk has `needed` bytes free.

    Raises:
        NoSpace: it has not.
    """
    if needed > shutil.disk_usage(folder).free:
        raise _no_space(folder, what, needed)


@contextlib.contextmanager
def report_full_disk(folder: Path, what: str, needed: int) -> Iterator[None]:
    """Turn the error of a disk that fills up during a write into `NoSpace`, which says how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _no_space(folder, what, needed) from error


def _no_space(folder: Path, what: str, needed: int) -> NoSpace:
    free = in_bytes(shutil.disk_usage(folder).free)
    return NoSpace(f"{folder}: no space on the disk: {what} needs {in_bytes(needed)}, {free} is free; make room there.")


def in_bytes(count: int) -> str:
    """Write a number of bytes in words: 1.31 GB, 512 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count} bytes"


def bar_interval() -> float:
    """Return the seconds between two drawings of a progress bar: few on a terminal, more in a log."""
    return 0.1 if os.isatty(2) else 10.0
