"""A user's mistake is one sentence; a bug shows its traceback and how to report it."""

import errno
import traceback

import pytest

from singtech.cli.problems import BUG_NOTE, run_verb
from singtech.errors import InvalidValue


def fail(problem):
    def job():
        raise problem

    return job


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (InvalidValue("alpha=-1: expected a number from 0 up."), "alpha=-1: expected a number from 0 up."),
        (OSError(errno.ENOSPC, "No space left on device", "runs"), "no room on the disk for runs (No space left on"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "runs: Permission denied."),
        (MemoryError(), "out of memory (MemoryError): use a free device"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory (CUDA out of memory. Tried): use a free device"),
    ],
)
def test_what_a_user_can_fix_is_one_sentence(problem, sentence, capsys):
    assert run_verb(fail(problem)) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("problem", [KeyError("f1"), TypeError("no"), RuntimeError("no"), AttributeError("no")])
def test_anything_else_is_a_bug_that_says_how_to_report_it(problem):
    with pytest.raises(type(problem)) as bug:
        run_verb(fail(problem))
    assert "".join(traceback.format_exception(bug.value)).splitlines()[-1] == BUG_NOTE


@pytest.mark.parametrize(("status", "result"), [(0, None), (0, 0), (3, 3)])
def test_a_commands_status_is_what_it_returns(status, result):
    assert run_verb(lambda: result) == status
