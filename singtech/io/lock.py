"""One holder at a time, among processes and machines that share a file system.

A lock is a lease of filelock's: a small file beside what it guards, which its holder touches every ten seconds. Another
process takes over the lock of a dead holder: at once if the holder ran on this machine, and otherwise (another machine,
another process namespace) when the file stays untouched for `LEASE_SECONDS` of the waiting process's own clock.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from singtech.errors import SingtechError

LEASE_SECONDS = 30.0  # the same for all who share a store
POLL_SECONDS = 0.2
SILENT_SECONDS = 1.0  # a shorter wait is not announced

_leases: dict[str, SoftFileLease] = {}  # by path: a lease remembers how long it has seen no sign of life


class Busy(SingtechError):
    """Another process holds the lock on `path`; the sentence says which process, and for what."""

    def __init__(self, sentence: str, path: Path) -> None:
        super().__init__(sentence)
        self.path = path


class Superseded(Busy):
    """Our lease expired and another process took the lock."""


@contextmanager
def hold(
    path: Path, what: str, wait: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[Callable[[], None]]:
    """Hold the lock on `path`, a file or folder that need not exist yet.

    Args:
        path: what is guarded; the lock is the hidden file `.<name>.lock` beside it.
        what: the work under the lock, for the line about a wait: "phase 0123 is being trained".
        wait: for as long as it takes, or not at all.
        say: takes the line about a wait; standard error by default.
    Yields:
        A function that raises `Superseded` once another process has taken the lock. It can be sent to other processes.
    Raises:
        Busy: another process holds it, and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(path)
    try:
        lease.acquire(timeout=SILENT_SECONDS if wait else 0, poll_interval=POLL_SECONDS)
    except Timeout:
        owner = lease.owner
        holder = f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"
        if not wait:
            _remove_ownerless(path)
            raise Busy(f"{what} by {holder}", path) from None
        (say or functools.partial(print, file=sys.stderr, flush=True))(f"{what} by {holder}; waiting for it.")
        while not lease.is_locked:
            with contextlib.suppress(Timeout):
                lease.acquire(timeout=LEASE_SECONDS, poll_interval=POLL_SECONDS)
            _remove_ownerless(path)
    try:
        yield functools.partial(_require_lease, path, lease.token)
    finally:
        lease.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock on `path`, as far as one look tells: a dead holder elsewhere looks alive.

    Removes the lock of a dead holder of this machine, where the folder can be written to.
    """
    if not lock_of(path).exists():
        return False
    lease = _lease(path)
    if lease.is_locked:
        return True
    try:
        lease.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lease.release()
    return False


def lock_of(path: Path) -> Path:
    """The lock's file."""
    return path.with_name(f".{path.name}.lock")


def _remove_ownerless(path: Path) -> None:
    """Remove a lock that names no owner and is older than a lease: its holder was killed before it wrote its name."""
    lock = lock_of(path)
    if not lock.exists() or _lease(path).owner:
        return
    with hold(lock, f"{lock} is being removed"):  # by one process at a time
        now = lock_of(lock).stat().st_mtime  # by the clock of the file system
        with contextlib.suppress(FileNotFoundError):
            if not _lease(path).owner and now - lock.stat().st_mtime > LEASE_SECONDS:
                lock.unlink()


def _require_lease(path: Path, token: str | None) -> None:
    lock = lock_of(path)
    owner = SoftFileLease(str(lock), lease_duration=LEASE_SECONDS).owner
    if owner.token != token if owner else not lock.exists():
        raise Superseded(f"another process took over {path} while this one gave no sign of life", path)


def _lease(path: Path) -> SoftFileLease:
    lock = str(lock_of(path).absolute())
    if lock not in _leases:
        _leases[lock] = SoftFileLease(lock, lease_duration=LEASE_SECONDS)
    return _leases[lock]
