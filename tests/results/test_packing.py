"""All runs in one file, and added elsewhere: the same tables, and nothing where something contradicts."""

import json
import shutil
import zipfile

import pytest

from singtech.cli.merge import main as merge_command
from singtech.cli.pack import main as pack_command
from singtech.cli.tables import main as tables
from singtech.errors import Conflict, Damaged, Newer
from singtech.results.collate import read_results
from singtech.results.packing import VERSION_FILE, merge, pack
from singtech.results.rows import digests, read_row, write_row
from singtech.results.schema import SCHEMA

RIGHT = [("ann", "trill", "trill", "scales", 0), ("ben", "belt", "belt", "scales", 1)]


@pytest.fixture
def packed(tmp_path, run, put_predictions, put_layers, put_confusion, put_corpus):
    """A packed file of three complete runs; their results folder is `tmp_path` itself."""
    put_corpus("vocalset", {("trill", "train"): (1, 1.5, 9), ("trill", "test"): (1, 0.5, 4)})
    (tmp_path / "corpora" / "._vocalset.csv").write_bytes(b"\x00\x05\x16\x07")  # as macOS writes
    for seed, strategy in ((0, "joint"), (0, "crt_wc"), (1, "crt_wc")):
        folder = run(0.5 + 0.1 * seed, seed=seed, strategy=strategy)
        put_predictions(folder, RIGHT)
        put_layers(folder, "late")
        put_confusion(folder, ("trill", "belt"), [[1, 0], [0, 1]])
        (folder / "config.yaml").write_text("seed: 0\n")
        (folder / "weights.safetensors").write_bytes(b"heavy")
    run(seed=7, status="failed")
    assert pack_command([f"to={tmp_path / 'packed.zip'}", f"output_dir={tmp_path}"]) == 0
    return tmp_path / "packed.zip"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packing_twice_gives_the_same_bytes_without_weights_or_unfinished_runs(packed, tmp_path):
    before = packed.read_bytes()
    assert pack(tmp_path, packed) == (3, 1)
    assert packed.read_bytes() == before
    names = zipfile.ZipFile(packed).namelist()
    assert len(names) == 1 + 3 * 5 + 1
    assert not any("weights" in name or "-7-" in name for name in names)


def test_tables_of_a_merged_file_are_those_of_the_runs_themselves(packed, tmp_path, capsys, undrawn):
    other = tmp_path / "elsewhere" / "outputs"
    assert merge_command([f"file={packed}", f"output_dir={other}"]) == 0
    assert "3 runs added." in capsys.readouterr().out
    (failed,) = (tmp_path / "runs").glob("*-7-*")
    shutil.rmtree(failed)
    assert read_results(other).equals(read_results(tmp_path))
    assert tables([f"output_dir={other}", f"to={tmp_path / 'of_other'}"]) == 0
    assert tables([f"output_dir={tmp_path}", f"to={tmp_path / 'of_own'}"]) == 0
    both = [contents(tmp_path / name / "vocalset") for name in ("of_other", "of_own")]
    assert {name: both[0][name] for name in both[0] if name.endswith(".csv")} == {
        name: both[1][name] for name in both[1] if name.endswith(".csv")
    }
    assert merge(packed, other) == (0, 3)
    assert not (other / "tables").exists()


@pytest.mark.parametrize("name", ["row.json", "predictions.csv", "config.yaml"])
def test_a_file_that_contradicts_is_refused_and_nothing_is_merged(packed, tmp_path, name):
    other = tmp_path / "other"
    merge(packed, other)
    first, second, _ = sorted((other / "runs").iterdir())
    shutil.rmtree(first)
    (second / name).write_text((second / name).read_text() + "\n")
    before = contents(other)
    with pytest.raises(Conflict, match=rf"{name} is not what .*packed\.zip holds under this name"):
        merge(packed, other)
    assert contents(other) == before


def test_a_copy_that_stopped_before_the_row_is_set_aside_and_the_run_taken_in(packed, tmp_path):
    other = tmp_path / "other"
    merge(packed, other)
    whole, half = contents(other / "runs"), min((other / "runs").iterdir())
    (half / "row.json").unlink()
    (half / "predictions.csv").write_text("recording,")
    assert merge(packed, other) == (1, 2)
    aside = f".{half.name}.damaged-1"
    assert {name: data for name, data in contents(other / "runs").items() if not name.startswith(aside)} == whole
    assert (other / "runs" / aside / "predictions.csv").read_text() == "recording,"


@pytest.mark.parametrize("content", [b"recording,", None])
def test_a_run_whose_files_are_not_those_of_its_row_is_not_packed_and_not_merged(packed, tmp_path, content, caplog):
    first = min((tmp_path / "runs").iterdir())
    write_row(first, read_row(first) | {"files": digests(first, ["predictions.csv", "config.yaml"])})
    assert pack(tmp_path, packed) == (3, 1)
    forged(packed, f"runs/{first.name}/predictions.csv", content)
    with pytest.raises(Damaged, match=rf"in {first.name}, predictions\.csv has changed since the run ended, or is"):
        merge(packed, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.*"))
    (first / "predictions.csv").write_bytes(content) if content else (first / "predictions.csv").unlink()
    assert pack(tmp_path, packed) == (2, 2)
    assert f"{first} is left out: predictions.csv has changed" in caplog.text
    assert merge(packed, tmp_path / "other") == (2, 0)


def forged(packed, name, content):
    with zipfile.ZipFile(packed) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(packed, "w") as archive:
        for each, data in (files | {name: content}).items():
            if data is not None:
                archive.writestr(each, data)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("../evil.csv", b"", Damaged),
        ("runs/../row.json", b"{}", Damaged),
        ("runs/x/row.json", b"{}", Damaged),
        ("runs/x/predictions.csv", b"", Damaged),
        ("runs/x/model.safetensors", b"", Damaged),
        (VERSION_FILE, b"[]", Damaged),
        (VERSION_FILE, json.dumps({"schema": SCHEMA + 1}).encode(), Newer),
    ],
)
def test_what_is_no_packed_file_is_refused_by_name(packed, tmp_path, name, content, error):
    forged(packed, name, content)
    with pytest.raises(error, match=r"packed\.zip"):
        merge(packed, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.*"))


@pytest.mark.parametrize("size", [0, 100, -30])
def test_a_file_cut_short_is_refused(packed, tmp_path, size, capsys):
    packed.write_bytes(packed.read_bytes()[:size])
    assert merge_command([f"file={packed}", f"output_dir={tmp_path / 'other'}"]) == 1
    assert "packed.zip is no packed file" in capsys.readouterr().err
