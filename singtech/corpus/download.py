"""One large file from a server that throttles and cuts transfers: resumed, retried, verified."""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from singtech.io.atomic import sync
from singtech.io.lock import hold

RETRIED = (403, 408, 425, 429, *range(500, 600))  # Zenodo throttles with 429 and 403
CHUNK_BYTES = 1 << 16
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def download(
    url: str,
    path: Path,
    size: int,
    md5: str,
    *,
    attempts: int = 8,
    first_pause: float = 2.0,
    longest_pause: float = 300.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The file at `url`, whole and verified at `path`.

    What has arrived stands in `<path>.part`, so that a transfer that broke, or was stopped by hand, goes on where it
    was. After a failure the next attempt waits twice as long as the last one, or as long as the server asks.

    Args:
        size: bytes that the file must have.
        md5: that the file must have, in hexadecimal.
        attempts: in a row without a new byte, before giving up (three while the server has never answered).
        first_pause, longest_pause: seconds between attempts.
        sleep: what waits; given so that tests need not.
    Raises:
        ConnectionError: the server was not reached, or refused to the end.
        ValueError: the server has another file there, or what came does not have the md5.
        OSError: no room for the file.
    """
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with hold(path, f"{path} is being downloaded"), room_reported(path.parent, path.name, size):
        if path.exists():  # another process has just brought it
            return path
        if _bytes_in(part) > size:
            part.unlink()
        require_room(path.parent, path.name, size - _bytes_in(part))
        with tqdm(
            desc=path.name, total=size, initial=_bytes_in(part), unit="B", unit_scale=True, mininterval=bar_interval()
        ) as bar:
            failures, most, answered = 0, _bytes_in(part), False
            while _bytes_in(part) < size:
                try:
                    _transfer(url, part, size, bar)
                except _Cut as cut:
                    answered = answered or cut.answered
                    failures = 0 if _bytes_in(part) > most else failures + 1
                    most = max(most, _bytes_in(part))
                    if failures >= (attempts if answered else min(3, attempts)):
                        raise ConnectionError(f"{url} could not be downloaded ({cut.reason}).") from cut
                    pause = min(longest_pause, max(first_pause * 2 ** max(0, failures - 1), cut.pause))
                    bar.write(f"{path.name}: {cut.reason}; trying again in {pause:.0f} s", file=sys.stderr)
                    sleep(pause)
        found = _md5(part)
        if found != md5:
            part.unlink()
            raise ValueError(f"{url} sent wrong bytes (md5 {found} instead of {md5}); they are removed, ask again.")
        sync(part)
        part.replace(path)
        sync(path.parent)
    return path


class _Cut(Exception):
    """A transfer that may be tried again: why it ended, the seconds that the server asks to wait, whether it spoke."""

    def __init__(self, reason: str, pause: float = 0.0, answered: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.pause, self.answered = reason, pause, answered


def _transfer(url: str, part: Path, size: int, bar) -> None:
    """One request: append to `part` what the server sends.

    Raises:
        _Cut: it ended before the file did, in a way that may pass.
        ConnectionError, ValueError: it will not end otherwise if asked again.
    """
    import requests

    have = _bytes_in(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=(10, 60))
    except requests.RequestException as error:
        raise _Cut(f"no connection: {type(error).__name__}", answered=False) from error
    with answer:
        if answer.status_code == 416:  # what we have is no beginning of what is there
            part.unlink(missing_ok=True)
        if answer.status_code in (*RETRIED, 416):
            raise _Cut(f"the server answered {answer.status_code}", _retry_after(answer.headers.get("Retry-After")))
        if answer.status_code not in (200, 206):
            raise ConnectionError(f"{url} could not be downloaded (the server answered {answer.status_code}).")
        if answer.status_code == 200:  # everything from the start, also where the rest was asked for
            have = 0
        _require_size(url, answer, have, size)
        bar.n = have
        with part.open("ab" if have else "wb") as file:
            try:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
                    if bar.n > size:
                        raise ValueError(f"{url} is not the file expected (longer than {size} bytes).")
            except requests.RequestException as error:
                raise _Cut("the transfer broke off") from error
    if _bytes_in(part) < size:
        raise _Cut("the transfer ended too soon")


def _require_size(url: str, answer, have: int, size: int) -> None:
    """That the server is about to send the rest of a file of `size` bytes from byte `have` on."""
    promised = answer.headers.get("Content-Range" if answer.status_code == 206 else "Content-Length")
    expected = f"bytes {have}-{size - 1}/{size}" if answer.status_code == 206 else f"{size}"
    untold = promised is None and answer.status_code == 200
    if promised != expected and not untold:
        raise ValueError(f"{url} is not the file expected (it offers {promised}, expected {expected}).")


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number or a date; 0 where there is none."""
    if value is None:
        return 0.0
    with contextlib.suppress(ValueError):
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def require_room(folder: Path, what: str, needed: int) -> None:
    """That `folder`'s disk has `needed` bytes free.

    Raises:
        OSError: it has not.
    """
    if needed > shutil.disk_usage(folder).free:
        raise _no_room(folder, what, needed)


@contextlib.contextmanager
def room_reported(folder: Path, what: str, needed: int) -> Iterator[None]:
    """Say in one sentence what a disk that is full in the middle of writing would have had to hold."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _no_room(folder, what, needed) from error


def _no_room(folder: Path, what: str, needed: int) -> OSError:
    free = in_bytes(shutil.disk_usage(folder).free)
    return OSError(f"{folder}: no space on the disk: {what} needs {in_bytes(needed)}, {free} is free; make room there.")


def in_bytes(count: int) -> str:
    """A number of bytes as one reads it: 1.31 GB, 512 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count} bytes"


def bar_interval() -> float:
    """Seconds between two drawings of a progress bar: often on a terminal, seldom in a log."""
    return 0.1 if os.isatty(2) else 10.0
