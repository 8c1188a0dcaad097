"""Turn ctrl-C, SIGTERM and a closed output pipe into a short, clean end.

A signal raises an exception at once. It is also remembered, because Python drops an exception raised in a finalizer.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody, or a cluster, wants this process to end."""


class ReaderGone(KeyboardInterrupt):
    """The reader of the output has ended, as after `| head`."""


KINDS: dict[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
if hasattr(signal, "SIGHUP"):
    KINDS[signal.SIGHUP] = Terminated  # a lost connection, unless nohup has it ignored
_signals: list[int] = []  # the signals since `listening` began


@contextmanager
def listening() -> Iterator[None]:
    """Turn these signals into exceptions until the block ends; hide the ones that Python drops."""
    before, hook = {number: signal.getsignal(number) for number in KINDS}, sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, KeyboardInterrupt) else hook(dropped)
    for number in KINDS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _raise)
    try:
        yield
    finally:
        _signals.clear()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_signalled() -> None:
    """Raise the exception of a signal that Python dropped. Call it between the steps of long work.

    Raises:
        KeyboardInterrupt: somebody pressed ctrl-C.
        Terminated: SIGTERM came.
    """
    if _signals:
        raise KINDS[_signals[0]]


@contextmanager
def raise_if_reader_gone() -> Iterator[None]:
    """Flush the output after the block. Also a decorator.

    Raises:
        ReaderGone: nobody reads the output any more.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout, 0)
        if not output.poll(0):  # another pipe is broken
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes the output that is still to come
        raise ReaderGone from None


def _raise(number: int, frame: object) -> None:
    _signals.append(number)
    raise KINDS[number]
