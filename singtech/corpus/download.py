"""Download one large file from a server that limits and interrupts transfers: resume, retry, verify."""

import hashlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from singtech.errors import Damaged, NoConnection, NoSpace
from singtech.io.atomic import name_in_errors, sync_to_disk
from singtech.io.lock import hold
from singtech.io.terminal import print_above_bars, progress_bar

RETRY_STATUSES = (403, 408, 425, 429, *range(500, 600))  # Zenodo limits requests with 429 and 403
CHUNK_BYTES = 1 << 16
ATTEMPTS = 6  # without a new byte, then an error
LONGEST_PAUSE = 300  # seconds between attempts


def download(url: str, path: Path, size: int, md5: str) -> Path:
    """Download `url` to `path`, whole and verified.

    `<path>.part` holds the first bytes, so that an interrupted transfer continues there. After a failure, the next
    attempt waits twice as long as the last one, or as long as the server asks.

    Args:
        size: of the file in bytes.
        md5: of the file, in hexadecimal.
    Raises:
        NoConnection: the server cannot be reached, or refuses every request.
        Damaged: the server offers another file, or the file has another md5.
        NoSpace: the disk has no space for the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with hold(path, f"{path} is being downloaded"), name_in_errors(part):
        if path.exists():  # another process has downloaded it
            return path
        if _file_size(part) > size:
            part.unlink()
        largest_size = _file_size(part)
        require_room(path.parent, path.name, size - largest_size)
        with progress_bar(path.name, "B", size, initial=largest_size, unit_scale=True) as bar:
            failures = 0
            while _file_size(part) < size:
                try:
                    _transfer(url, part, size, bar)
                except _TransferFailed as failure:
                    failures = 0 if _file_size(part) > largest_size else failures + 1
                    largest_size = max(largest_size, _file_size(part))
                    if failures == ATTEMPTS:
                        raise NoConnection(f"{url} could not be downloaded ({failure}).") from failure
                    pause = min(LONGEST_PAUSE, max(2 ** max(1, failures), failure.pause))
                    print_above_bars(f"{path.name}: {failure}; trying again in {pause:.0f} s", sys.stderr)
                    time.sleep(pause)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != md5:
            part.unlink()
            raise Damaged(f"{url} sent wrong bytes (md5 {digest} instead of {md5}); they are removed, try again.")
        sync_to_disk(part)
        part.replace(path)
        sync_to_disk(path.parent)
    return path


class _TransferFailed(Exception):
    """A transfer failed and can be repeated: the reason, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def _transfer(url: str, part: Path, size: int, bar: Any) -> None:
    """Send one request and append the answer to `part`; raise `_TransferFailed` if another attempt may succeed."""
    import requests

    start = _file_size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=(10, 60))
    except requests.RequestException as error:
        raise _TransferFailed(f"no connection: {type(error).__name__}") from error
    with response:
        if response.status_code == 416:  # the part does not fit the server's file
            part.unlink(missing_ok=True)
        if response.status_code in (*RETRY_STATUSES, 416):
            pause = response.headers.get("Retry-After", "")
            raise _TransferFailed(f"the server answered {response.status_code}", int(pause) if pause.isdigit() else 0)
        if response.status_code not in (200, 206):
            raise NoConnection(f"{url} could not be downloaded (the server answered {response.status_code}).")
        is_partial = response.status_code == 206  # 200 is the whole file, also for a range request
        start = start if is_partial else 0
        bar.n = start
        offer = response.headers.get("Content-Range" if is_partial else "Content-Length")
        expected = f"bytes {start}-{size - 1}/{size}" if is_partial else f"{size}"
        if offer != expected and (is_partial or offer is not None):
            raise Damaged(f"{url} is not the file expected (it offers {offer}, expected {expected}).")
        with part.open("ab" if start else "wb") as file:
            try:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            except requests.RequestException as error:
                raise _TransferFailed("the transfer broke off") from error
    if _file_size(part) < size:
        raise _TransferFailed("the transfer ended too soon")


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def require_room(folder: Path, work: str, needed: int) -> None:
    """Check that `folder`'s disk has `needed` bytes free; raise `NoSpace` if not."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        text = f"{work} needs {format_bytes(needed)}, {format_bytes(free)} is free; make room."
        raise NoSpace(f"{folder}: no space on the disk: {text}")


def format_bytes(count: int) -> str:
    """Write a number of bytes in words: 1.31 GB, 512 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count} bytes"
