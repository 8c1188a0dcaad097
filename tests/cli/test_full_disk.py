"""A full disk or a read-only folder: one sentence that names the file, no half of it, and nothing whole is touched."""

import errno
import os

import pytest

from singtech.io.atomic import atomic_folder, atomic_path, write_text
from singtech.training import inventory

WRITERS = {
    "text": lambda path: write_text(path, "a"),
    "open file": lambda path: _write_in_a_block(path),
    "file in a folder": lambda path: _write_in_a_folder(path),
}
COMMANDS = {"tables": "results.csv", "report": "results.csv", "pack": "place"}  # and the first file that each writes


def _write_in_a_block(path):
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(b"a")


def _write_in_a_folder(path):
    with atomic_folder(path) as folder:
        write_text(folder / "inner", "a")


def fill(monkeypatch):
    """Let every write to a disk fail as on a full one: the kernel names no file."""

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("writer", WRITERS)
def test_each_way_to_write_names_the_final_path_and_leaves_nothing(writer, monkeypatch, tmp_path):
    fill(monkeypatch)
    with pytest.raises(OSError, match="No space left") as problem:
        WRITERS[writer](tmp_path / "place")
    assert problem.value.filename == str(tmp_path / "place")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_file_and_what_to_do(command, run, call, table3_alone, monkeypatch, tmp_path):
    run()
    fill(monkeypatch)
    done = call(command, f"output_dir={tmp_path}", f"to={tmp_path / 'place'}")
    assert (done.status, done.err.count("\n")) == (1, 1)
    said = f"error: no room on the disk for {tmp_path / COMMANDS[command]} (No space left on device): make room"
    assert done.err.startswith(said)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.fixture
def two_runs(run):
    """Two runs without predictions, which a check would set aside."""
    run(seed=0), run(seed=1)


def refuse_below(folder, number, monkeypatch):
    """Let every write below a folder fail."""
    opened, access = os.open, os.access

    def refuse(path, flags, *rest, **options):
        if flags & os.O_CREAT and str(path).startswith(str(folder)):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, *rest, **options)

    def is_allowed(path, mode):
        is_refused = number == errno.EROFS and mode == os.W_OK and str(path).startswith(str(folder))
        return access(path, mode) and not is_refused

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", is_allowed)


def test_a_full_disk_sets_nothing_whole_aside(two_runs, monkeypatch, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    refuse_below(tmp_path, errno.ENOSPC, monkeypatch)
    with pytest.raises(OSError, match=r"No space left on device: .*\.lock"):
        inventory.check(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_read_only_folder_is_checked_and_left_as_it_is(two_runs, monkeypatch, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    refuse_below(tmp_path, errno.EROFS, monkeypatch)
    count, faults, skipped = inventory.check(tmp_path)
    assert (count, len(faults), skipped) == (2, 2, [])
    assert all(fault.endswith("; the folder is read-only.") for fault in faults)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [("store",), ("tables", "to={to}"), ("pack", "to={to}/all.zip")], ids=" ".join)
def test_results_that_may_only_be_read_are_read(command, run, call, tmp_path, table3_alone, monkeypatch):
    results, to = tmp_path / "results", tmp_path / "pages"
    run()
    for path in list(tmp_path.iterdir()):
        results.mkdir(exist_ok=True)
        path.rename(results / path.name)
    before = sorted(results.rglob("*"))
    refuse_below(results, errno.EROFS, monkeypatch)
    done = call(*(word.format(to=to) for word in command), f"output_dir={results}")
    assert (done.status, done.err) == (0, "")
    assert sorted(results.rglob("*")) == before
