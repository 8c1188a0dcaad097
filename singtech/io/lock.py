"""Lock a file or folder, among processes and machines that share a file system.

A lock is a lease of the filelock package: a small file that its holder touches every ten seconds. Another process takes
over the lock of a dead holder: at once if the holder ran on this machine. On another machine, or in another process
namespace, it waits until the file is `LEASE_SECONDS` old by the clock of the waiting process.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from singtech.errors import SingtechError
from singtech.io.atomic import name_in_errors

LEASE_SECONDS = 30.0  # must be the same on all machines that share a store
POLL_SECONDS = 0.2
SILENT_SECONDS = 1.0  # a shorter wait prints nothing

# by process and path: a lease remembers since when the holder is silent
_leases: dict[tuple[int, str], SoftFileLease] = {}


class Busy(SingtechError):
    """Another process holds the lock on `path`. The sentence says which process, and what it does."""

    def __init__(self, sentence: str, path: Path) -> None:
        super().__init__(sentence)
        self.path = path


class LeaseLost(Busy):
    """Our lease expired and another process took the lock."""


@contextmanager
def hold(
    path: Path, work: str, wait: bool = True, announce: Callable[[str], None] | None = None
) -> Iterator[Callable[[], None]]:
    """Hold the lock on `path`, a file or folder that need not exist yet.

    Args:
        path: the file or folder; its lock is the hidden file `.<name>.lock` beside it.
        work: what is done under the lock, for the message: "phase 0123 is being trained".
        wait: True waits until the lock is free; False raises `Busy`.
        announce: prints the message that this process waits; to standard error by default.
    Yields:
        A function that raises `LeaseLost` once another process has taken the lock. It can be sent to other processes.
    Raises:
        Busy: another process holds it, and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = _open_lease(path)
    try:
        with name_in_errors(get_lock_path(path)):
            lease.acquire(timeout=SILENT_SECONDS if wait else 0, poll_interval=POLL_SECONDS)
    except Timeout:
        owner = lease.owner
        holder = f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"
        if not wait:
            _remove_abandoned(path)
            raise Busy(f"{work} by {holder}", path) from None
        (announce or functools.partial(print, file=sys.stderr, flush=True))(f"{work} by {holder}; waiting for it.")
        while not lease.is_locked:
            with contextlib.suppress(Timeout):
                lease.acquire(timeout=LEASE_SECONDS, poll_interval=POLL_SECONDS)
            _remove_abandoned(path)
    try:
        yield functools.partial(_require_lease, path, lease.token)
    finally:
        lease.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock on `path`. A dead holder on another machine counts as alive.

    The lock of a dead holder on this machine is removed, if the folder is writable.
    """
    if not get_lock_path(path).exists():
        return False
    lease = _open_lease(path)
    if lease.is_locked:
        return True
    try:
        lease.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lease.release()
    return False


def get_lock_path(path: Path) -> Path:
    """Return the path of the lock on `path`."""
    return path.with_name(f".{path.name}.lock")


def _remove_abandoned(path: Path) -> None:
    """Remove an old lock without an owner: its holder was killed before it wrote its name.

    One of the future is as old: the clock was set back, or another machine's is ahead.
    """
    lock = get_lock_path(path)
    if not lock.exists() or _open_lease(path).owner:
        return
    with hold(lock, f"{lock} is being removed"):  # by one process at a time
        now = get_lock_path(lock).stat().st_mtime  # by the clock of the file system
        with contextlib.suppress(FileNotFoundError):
            if not _open_lease(path).owner and abs(now - lock.stat().st_mtime) > LEASE_SECONDS:
                lock.unlink()


def _require_lease(path: Path, token: str | None) -> None:
    lock = get_lock_path(path)
    owner = SoftFileLease(str(lock), lease_duration=LEASE_SECONDS).owner
    if owner.token != token if owner else not lock.exists():
        raise LeaseLost(f"another process took over {path} while this process was silent", path)


def _open_lease(path: Path) -> SoftFileLease:
    lock = str(get_lock_path(path).absolute())
    key = os.getpid(), lock  # a forked process cannot use those of its parent
    if key not in _leases:
        _leases[key] = SoftFileLease(lock, lease_duration=LEASE_SECONDS)
    return _leases[key]
