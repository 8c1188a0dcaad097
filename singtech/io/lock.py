"""One holder at a time, among processes and machines that share a file system.

A lock is a lease of filelock's: a small file beside what it guards, which its holder touches every ten seconds. A lock
whose holder died is taken over: at once where the holder ran on this machine, and elsewhere (another machine, another
process namespace) when it has not been touched for `LEASE_SECONDS` of the waiting process's own clock.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

LEASE_SECONDS = 30.0  # all who share a store must agree on it
POLL_SECONDS = 0.2
SOON = 1.0  # a wait this short is not worth a word

_leases: dict[str, SoftFileLease] = {}  # kept, for a lease remembers for how long it has seen no sign of life


class Busy(Exception):
    """Somebody else holds the lock on `place`; the sentence says who and for what."""

    def __init__(self, sentence: str, place: Path) -> None:
        super().__init__(sentence)
        self.place = place


class Superseded(Busy):
    """The lock was ours and is somebody's who saw no sign of life of this process for too long."""


@contextmanager
def hold(
    place: Path, what: str, wait: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[SoftFileLease]:
    """Hold the lock on `place`, a file or folder that need not be there yet.

    Args:
        place: what is guarded; the lock is the hidden file `.<name>.lock` beside it.
        what: it is held for, to say while waiting: "phase 0123 is being trained".
        wait: for as long as it takes, or not at all.
        say: takes the line about a wait; standard error by default.
    Raises:
        Busy: somebody else holds it, and `wait` is False.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(place)
    try:
        lease.acquire(timeout=SOON if wait else 0, poll_interval=POLL_SECONDS)
    except Timeout:
        text = f"{what} by {_owner(lease)}"
        if not wait:
            raise Busy(text, place) from None
        (say or _to_standard_error)(f"{text}; waiting for it.")
        lease.acquire(poll_interval=POLL_SECONDS)
    try:
        yield lease
    finally:
        lease.release()


def is_held(place: Path) -> bool:
    """Whether somebody holds the lock on `place`, as far as one look tells: a holder elsewhere who died looks alive.

    The lock of a holder here who died is cleared away.
    """
    lock = lock_of(place)
    if not lock.exists():
        return False
    lease = _lease(place)
    if lease.is_locked:
        return True
    try:
        lease.acquire(timeout=0)
    except Timeout:
        return True
    lease.release()
    return False


def is_ours(lease: SoftFileLease) -> bool:
    """Whether a lock that was taken is still held: the heart may not have noticed yet that it is not."""
    owner = lease.owner
    return lease.compromise is None and (owner is None or owner.token == lease.token)


def require(lease: SoftFileLease) -> None:
    """That a lock is still ours.

    Raises:
        Superseded: this process showed no sign of life for so long (asleep, perhaps) that another took it over.
    """
    if not is_ours(lease):
        raise _superseded(lease.lock_file)


def watch(lease: SoftFileLease) -> Callable[[], None]:
    """What raises `Superseded` once a lock that is held is another's; it can be sent to another process."""
    return functools.partial(_watch, lease.lock_file, lease.token)


def _watch(lock: str, token: str) -> None:
    owner = SoftFileLease(lock, lease_duration=LEASE_SECONDS).owner
    if owner is not None and owner.token != token:
        raise _superseded(lock)


def _superseded(lock: str) -> Superseded:
    path = Path(lock)
    place = path.with_name(path.name.removeprefix(".").removesuffix(".lock"))
    return Superseded(f"{place} was taken over while this process was not heard of", place)


def lock_of(place: Path) -> Path:
    """The lock's file."""
    return place.with_name(f".{place.name}.lock")


def _lease(place: Path) -> SoftFileLease:
    path = str(lock_of(place).absolute())
    if path not in _leases:
        _leases[path] = SoftFileLease(path, lease_duration=LEASE_SECONDS)
    return _leases[path]


def _owner(lease: SoftFileLease) -> str:
    owner = lease.owner
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
