"""End a command cleanly after ctrl-C, SIGTERM or a closed output pipe.

A signal raises an exception at once. It is also stored, because Python ignores exceptions in finalizers.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: a user or a cluster ends this process."""


class OutputClosed(KeyboardInterrupt):
    """The program that reads our output has ended, as after `| head`."""


EXCEPTIONS: dict[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
if hasattr(signal, "SIGHUP"):
    EXCEPTIONS[signal.SIGHUP] = Terminated  # the terminal was closed; nohup ignores this signal
_signals: list[int] = []  # since `catch_signals` began


@contextmanager
def catch_signals() -> Iterator[None]:
    """Turn signals into exceptions until the block ends. Do not print those that Python ignores."""
    before, hook = {number: signal.getsignal(number) for number in EXCEPTIONS}, sys.unraisablehook
    sys.unraisablehook = lambda error: None if isinstance(error.exc_value, KeyboardInterrupt) else hook(error)
    for number in EXCEPTIONS:
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
    """Raise the exception of a signal that Python ignored. Call it between the steps of long work.

    Raises:
        KeyboardInterrupt: ctrl-C was pressed.
        Terminated: SIGTERM was sent.
    """
    if _signals:
        raise EXCEPTIONS[_signals[0]]


@contextmanager
def raise_if_output_closed() -> Iterator[None]:
    """Flush the output after the block. It is also a decorator.

    Raises:
        ReaderGone: no program reads the output any more.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout, 0)
        if not output.poll(0):  # another pipe is broken
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # later output goes nowhere
        raise OutputClosed from None


def _raise(number: int, frame: object) -> None:
    _signals.append(number)
    raise EXCEPTIONS[number]
