"""What every reader promises, and how files are damaged to see whether it keeps it."""

import contextlib
import faulthandler
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from singtech.errors import SingtechError

SECONDS = 10  # of one thread's computing for one file; the slowest takes a twentieth
HANGS_AFTER = 120  # seconds by the clock, after which the process ends with a traceback of where it stood
MOST_BYTES = 100_000_000  # held at once for a file of kilobytes

EDITS = ("flip", "field", "cut", "remove", "double", "move", "splice")
EXTREMES = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def bounded(examples, shrinks=True):
    """Hypothesis's settings: the same examples every time, whatever the machine's speed.

    Args:
        shrinks: whether a failing example is made smaller; not where one takes a second.
    """
    unmeasured = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=unmeasured,
        phases=[phase for phase in Phase if shrinks or phase not in (Phase.shrink, Phase.explain)],
    )


def kept(call, *arguments, refused=(ValueError, OSError), **options):
    """What a reader gives, or None where it says in one sentence why it gives nothing."""
    try:
        with _within_bounds():
            return call(*arguments, **options)
    except refused as problem:
        require_sentence(problem)
        return None


def require_sentence(problem):
    """That an error is a sentence on one line, and ours: those of codecs, parsers and the system name no cause."""
    said = str(problem)
    assert isinstance(problem, SingtechError) or type(problem) in (ValueError, OSError), repr(problem)
    assert len(said.splitlines()) == 1, said
    assert len(said.split()) >= 3, said
    assert not said.startswith("["), said


@contextlib.contextmanager
def _within_bounds():
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=sys.__stderr__)
    _forget_peak()
    before, began = _resident(), time.thread_time()
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds, more = time.thread_time() - began, _peak() - before
    assert seconds < SECONDS
    assert more < MOST_BYTES


def _forget_peak():
    with contextlib.suppress(OSError):  # not on Linux, or not allowed there: memory goes unmeasured
        Path("/proc/self/clear_refs").write_text("5")


def _resident():
    return _status("VmRSS:")


def _peak():
    return _status("VmHWM:")


def _status(name):
    """Bytes of this process, native ones included."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    return 0


def places(data, hot):
    """Where to damage bytes: half of the time in the first `hot` bytes (or the last, if negative)."""
    last = max(len(data) - 1, 0)
    header = st.integers(0, min(hot, last)) if hot >= 0 else st.integers(max(0, last + hot), last)
    return header | st.integers(0, last)


@st.composite
def damaged(draw, seeds, hot):
    """The bytes of one of the `seeds` after one to four edits.

    Flipped bits, fields of one to eight bytes at their extremes, truncations, spans removed, doubled and put elsewhere,
    and another seed's end.
    """
    data = bytearray(draw(st.sampled_from(seeds)))
    for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=4)):
        if not data:
            break
        place = draw(places(data, hot))
        span = draw(st.integers(1, 64))
        if edit == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif edit == "field":
            width = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from(EXTREMES) | st.integers(0, 256**width - 1)) % 256**width
            data[place : place + width] = value.to_bytes(width, "little")
        elif edit == "cut":
            del data[place:]
        elif edit == "remove":
            del data[place : place + span]
        elif edit == "double":
            data[place:place] = data[place : place + span]
        elif edit == "move":
            other = draw(places(data, hot))
            data[other:other] = data[place : place + span]
        else:
            other = draw(st.sampled_from(seeds))
            data[place:] = other[draw(places(other, hot)) :]
    return bytes(data)


LETTERS = st.characters(exclude_categories=())  # lone surrogates too, which JSON can spell and UTF-8 cannot
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**3), 10**3)
    | st.sampled_from((2**63, -(2**64), 10**400, 1e308, -1e308))
    | st.floats()
    | st.text(LETTERS, max_size=8)
    | st.sampled_from(("", ".", "..", "../up", "a/b", "a\\b", "a\0b", "a\nb", "x" * 300, "nan", "1e999", "=1+1")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=4), inner, max_size=3),
    max_leaves=4,
)
