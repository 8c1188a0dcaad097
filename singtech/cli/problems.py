"""How a command ends: a user's mistake as one sentence, anything else as a bug with its traceback."""

import difflib
import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from singtech.components import ComponentError, outside_line
from singtech.errors import SingtechError
from singtech.io.interrupts import ReaderGone, Terminated, listening, raise_if_reader_gone

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LIBRARIES = ("hydra", "omegaconf", "submitit")  # their errors are about settings, or about the cluster
TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}  # of OmegaConf's messages
WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"  # read before `hydra_command` sets it for Hydra
REPORT = "This is a bug in singtech: report it with this traceback, the command and `pip freeze`."
GO_ON = "the same command goes on where this one stopped."


def guard(job: Callable[[], int | None]) -> int:
    """Call `job`, print its error as one sentence, and return the exit status.

    Raises:
        Exception: the error is a bug, or HYDRA_FULL_ERROR=1 asks for tracebacks.
    """
    try:
        with listening(), raise_if_reader_gone():
            return job() or 0
    except ReaderGone:
        return 128 + signal.SIGPIPE
    except Terminated:
        print(f"terminated: {GO_ON}", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print(f"interrupted: {GO_ON}", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as problem:
        if WANTS_TRACEBACK or not is_fixable(problem):
            mark_bug(problem)
            raise
        print(f"error: {sentence(problem)}", file=sys.stderr)
        return 1


def mark_bug(problem: Exception) -> None:
    """Add to a bug's traceback a line on how to report it."""
    if not is_fixable(problem) and REPORT not in getattr(problem, "__notes__", ()):
        problem.add_note(REPORT)


def print_traceback(problem: Exception) -> None:
    """Print the traceback of an error, with how to report it if it is a bug."""
    mark_bug(problem)
    traceback.print_exception(problem)


def is_fixable(problem: BaseException) -> bool:
    """Whether the user can fix an error, by other settings, other files, more room or a change of their own code."""
    return (
        isinstance(problem, SingtechError | OSError)  # an OSError is the disk's, the network's or another program's
        or is_out_of_memory(problem)
        or type(problem).__module__.partition(".")[0] in LIBRARIES
        or type(problem).__name__ == "MisconfigurationException"  # Lightning's, whose import takes seconds
        or bool(outside_line(problem))
    )


def is_disk_full(problem: BaseException) -> bool:
    """Whether the disk is full; no other run could write to it either."""
    return isinstance(problem, OSError) and problem.errno in FULL_DISK


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether the GPU's or the machine's memory did not suffice; torch's errors are known by their words."""
    return isinstance(problem, MemoryError) or (
        isinstance(problem, RuntimeError) and bool(re.search("out of memory|can't allocate memory", str(problem)))
    )


def sentence(problem: BaseException) -> str:
    """Describe an error to a user in one line."""
    library = type(problem).__module__.partition(".")[0]
    text = " ".join(str(problem).split()) or type(problem).__name__
    if library in ("hydra", "omegaconf"):
        return _settings_sentence(problem) or text.split(" full_key:")[0].split(" object_type=")[0]
    if library == "submitit":
        return f"hydra/launcher: {text}"
    if is_out_of_memory(problem):
        return (
            f"out of memory ({text[:200]}): give it a device to itself, or try precision=bf16-mixed, or "
            "a smaller batch_size, which makes other runs."
        )
    if isinstance(problem, OSError) and is_disk_full(problem):
        path = f" for {problem.filename}" if problem.filename else ""
        return (
            f"no room on the disk{path} ({problem.strerror}): nothing half-written was kept; make room there and run "
            "the same command again, it goes on where this one stopped."
        )
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror}."
    line = "" if isinstance(problem, ComponentError) else outside_line(problem)
    return f"{line}: {type(problem).__name__}: {text}" if line else text


def _settings_sentence(problem: BaseException) -> str:
    """Describe an error of Hydra or OmegaConf; "" where its own words serve."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    if isinstance(problem, MissingConfigException) and "submitit" in str(problem.missing_cfg_file):
        return 'hydra/launcher=slurm: its extra is not installed here; do so with pip install "singtech[slurm]".'
    if isinstance(problem, MissingConfigException) and problem.options:
        group, _, choice = str(problem.missing_cfg_file).rpartition("/")
        return f"{group}={choice}: no such choice; there are {', '.join(sorted(problem.options))}."
    if isinstance(problem, OverrideParseException):
        return (
            f"{problem.override}: not understood as name=value; does a space, a bracket or a comma in it want quotes, "
            'as in "data.split.test=[ann, ben]"?'
        )
    text = str(problem)
    if unknown := re.match(r"Could not override '([^']*)'", text):
        return _unknown(unknown[1])
    if several := re.match(r"Ambiguous value for argument '([^']*)'", text):
        return f"{several[1]}: several values; add -m before the settings to run each of them."
    if isinstance(problem, OmegaConfBaseException) and (about := re.match(r"(?s)(.*?)\s+full_key: (\S+)", text)):
        if isinstance(problem, ConfigKeyError):
            return _unknown(about[2])
        if isinstance(problem, MissingMandatoryValue):
            return f"{about[2]} is not set: give it a value."
        wrong = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", about[1], re.DOTALL)
        if wrong and wrong[2] in TYPES:
            return f"{about[2]}={wrong[1]}: expected {TYPES[wrong[2]]}."
        return f"{about[2]}: {' '.join(about[1].split())}."
    return sentence(problem.__cause__) if isinstance(problem.__cause__, OmegaConfBaseException) else ""


def _unknown(name: str) -> str:
    """Say that there is no setting of that name, with the nearest one."""
    from omegaconf import OmegaConf

    from singtech.settings import Settings, flatten

    known: Any = OmegaConf.to_container(OmegaConf.structured(Settings))
    meant = closest(name, [*known, *flatten(known)])
    return f"{name}: no such setting{meant}; the same command with --cfg job shows those there are."


def closest(name: str, known: Iterable[str]) -> str:
    """Ask whether the nearest of the known names is meant; "" if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (is {close[0]} meant?)" if close else ""
