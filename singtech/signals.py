"""Ctrl-C and SIGTERM: raised where they come, and remembered, for Python drops what is raised in a finalizer."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody, or a cluster, wants this process to end."""


KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
_asked: list[int] = []  # signals since `listening` began


@contextmanager
def listening() -> Iterator[None]:
    """Hear both signals as exceptions, until the block ends."""
    before = {number: signal.signal(number, _hear) for number in KINDS}
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_asked() -> None:
    """Called between steps of long work: raises what was asked for and got lost.

    Raises:
        KeyboardInterrupt: somebody pressed ctrl-C.
        Terminated: SIGTERM came.
    """
    if _asked:
        raise KINDS[_asked[0]]


def _hear(number: int, frame: object) -> None:
    _asked.append(number)
    raise KINDS[number]
