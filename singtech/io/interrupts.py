"""Begin and end a command cleanly: closed or full streams, other encodings, ctrl-C, SIGTERM.

A signal raises an exception at once. It is also stored, because Python ignores exceptions in finalizers.
"""

import io
import logging
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


def prepare_streams() -> None:
    """Make all output possible: what is closed goes nowhere, letters beyond the locale's are escaped."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next open file would be the closed output
        os.set_inheritable(number, True)
    os.close(number)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name) or os.fdopen(number, "w", encoding="utf-8", closefd=False)
        if isinstance(stream, io.TextIOWrapper):  # not that of a notebook
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    logging.raiseExceptions = False  # a log that cannot be written ends no command and prints no traceback


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
        OutputClosed: no program reads the output any more.
        OSError: the output is a file on a full disk.
    """
    try:
        try:
            yield
        finally:  # also after Hydra's help, which exits
            sys.stdout.flush()
    except OSError as problem:
        outputs = select.poll()
        outputs.register(1, 0)
        outputs.register(2, 0)
        if isinstance(problem, BrokenPipeError) and (closed := outputs.poll(0)):  # else another pipe is broken
            for number, _ in closed:
                _discard(number)
            raise OutputClosed from None
        try:
            sys.stdout.flush()
        except OSError:
            _discard(1)
            problem.filename = "standard output"
        raise


def _discard(number: int) -> None:
    """Let later output go nowhere, also that which Python flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _raise(number: int, frame: object) -> None:
    _signals.append(number)
    raise EXCEPTIONS[number]
