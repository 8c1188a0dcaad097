"""Files and folders are whole or absent, whatever happens while they are written."""

import os
import stat
import threading

import pytest

from singtech.io import atomic as files
from singtech.io.atomic import atomic_folder, atomic_path, read_files, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_given(tmp_path):
    path = tmp_path / "deeper" / "table.md"
    write_text(path, "α ± 0.1\r\nsecond\n")
    assert path.read_bytes() == "α ± 0.1\r\nsecond\n".encode()
    write_text(path, "shorter")
    assert path.read_text() == "shorter"
    assert names(path.parent) == ["table.md"]


def test_nothing_is_there_until_the_block_has_ended(tmp_path):
    path = tmp_path / "clips.npy"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "results.csv"
    write_text(path, "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["results.csv"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    write_text(path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["results.csv"]


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_block_ends(tmp_path, operations):
    write_text(tmp_path / "row.json", "{}")
    assert operations == [(tmp_path / "row.json").stat().st_ino, "renamed", tmp_path.stat().st_ino]


def test_all_that_is_in_a_folder_reaches_the_disk_before_its_name(tmp_path, operations):
    with atomic_folder(tmp_path / "abc") as temporary:
        (temporary / "log").mkdir()
        (temporary / "log" / "epochs.csv").write_text("1")
    named = operations.index("renamed")
    inside = {path.stat().st_ino for path in (tmp_path / "abc").rglob("*")}
    assert len(inside) == 2
    assert inside <= set(operations[:named])
    assert operations[named + 1 :] == [tmp_path.stat().st_ino]


def test_files_and_folders_are_readable_as_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "row.json", "{}")
        with atomic_folder(tmp_path / "run"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "row.json").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750


def test_a_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "phases" / "abc") as temporary:
        (temporary / "log").mkdir()
        (temporary / "log" / "epochs.csv").write_text("1")
        assert not (tmp_path / "phases" / "abc").exists()
    assert (tmp_path / "phases" / "abc" / "log" / "epochs.csv").read_text() == "1"
    assert names(tmp_path / "phases") == ["abc"]


def test_a_failure_leaves_no_folder(tmp_path):
    def write_half():
        with atomic_folder(tmp_path / "abc") as temporary:
            (temporary / "weights").write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert names(tmp_path) == []


def test_a_published_folder_is_never_overwritten(tmp_path):
    with atomic_folder(tmp_path / "abc") as temporary:
        (temporary / "weights").write_text("first")
    with pytest.raises(FileExistsError, match="already exists"), atomic_folder(tmp_path / "abc"):
        pass
    assert (tmp_path / "abc" / "weights").read_text() == "first"


def test_whoever_publishes_a_folder_first_wins(tmp_path):
    def publish_twice():
        with atomic_folder(tmp_path / "abc") as late:
            (late / "weights").write_text("late")
            with atomic_folder(tmp_path / "abc") as early:
                (early / "weights").write_text("early")

    with pytest.raises(OSError, match="not empty"):
        publish_twice()
    assert (tmp_path / "abc" / "weights").read_text() == "early"
    assert names(tmp_path) == ["abc"]


def test_many_files_are_read_in_order_and_what_cannot_be_is_said_in_its_place(tmp_path):
    paths = [tmp_path / f"{number}.txt" for number in range(200)]
    for number, path in enumerate(paths):
        path.write_text(f"α{number}")
    paths[7].unlink()
    paths[150] = paths[150] / "below a file"
    found = list(read_files(paths))
    assert isinstance(found.pop(150), NotADirectoryError)
    assert isinstance(found.pop(7), FileNotFoundError)
    assert found == [f"α{number}".encode() for number in range(200) if number not in (7, 150)]
    assert list(read_files([])) == []


def test_files_are_waited_for_together(tmp_path, monkeypatch):
    both = threading.Barrier(2, timeout=20)
    content = files._read_bytes

    def slow(path):
        if path.name in ("0.txt", "199.txt"):
            both.wait()  # as on a network: the first file comes only while the last is waited for
        return content(path)

    monkeypatch.setattr(files, "_read_bytes", slow)
    assert len(list(read_files(tmp_path / f"{number}.txt" for number in range(200)))) == 200
