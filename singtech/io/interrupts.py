"""Ctrl-C and SIGTERM: raised where they come, and remembered, for Python drops what is raised in a finalizer.

And the end of whoever read what is printed.
"""

import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody, or a cluster, wants this process to end."""


KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
if hasattr(signal, "SIGHUP"):
    KINDS[signal.SIGHUP] = Terminated  # a lost connection, unless nohup has it ignored
_asked: list[int] = []  # signals since `listening` began


@contextmanager
def listening() -> Iterator[None]:
    """Hear these signals as exceptions, until the block ends; one that Python drops is remembered, not printed."""
    before, hook = {number: signal.getsignal(number) for number in KINDS}, sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, KeyboardInterrupt) else hook(dropped)
    for number in KINDS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _hear)
    try:
        yield
    finally:
        _asked.clear()
        sys.unraisablehook = hook
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


def quietly_interrupted(main: Callable) -> Callable:
    """A command that ctrl-C ends in one line and status 130; what it had not finished it begins anew.

    Its reader may go, as `reader_may_go` says.
    """

    @functools.wraps(main)
    def guarded(*arguments):
        try:
            with reader_may_go():
                return main(*arguments)
        except KeyboardInterrupt:
            print("interrupted: the same command does it again.", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None

    return guarded


@contextmanager
def reader_may_go() -> Iterator[None]:
    """Where nobody reads on what is printed, as after `| head`, end without a word, with the status of SIGPIPE."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout, 0)
        if not output.poll(0):  # it was another pipe
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is still to be printed goes
        raise SystemExit(141) from None


def _hear(number: int, frame: object) -> None:
    _asked.append(number)
    raise KINDS[number]
