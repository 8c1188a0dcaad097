"""One holder at a time, among processes and machines that share a file system.

A lock is a lease of filelock's: a small file beside what it guards, which its holder touches every ten seconds. Another
process takes over the lock of a dead holder: at once if the holder ran on this machine, and otherwise (another machine,
another process namespace) when the file stays untouched for `LEASE_SECONDS` of the waiting process's own clock.
"""

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
            raise Busy(f"{what} by {holder}", path) from None
        (say or functools.partial(print, file=sys.stderr, flush=True))(f"{what} by {holder}; waiting for it.")
        lease.acquire(poll_interval=POLL_SECONDS)
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
