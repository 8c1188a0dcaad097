"""`python -m singtech.tables`: from results.csv alone to every table and figure, without torch."""

import subprocess
import sys

import pytest

from singtech.results.collate import collate
from singtech.tables import main

FILES = {
    *("table2.md", "table2.csv", "table2.tex", "table3.md", "table3.csv", "table3.tex"),
    *("figure3.md", "figure3.csv", "figure3.png", "figure3.pdf"),
}
BLOCKED = """
import sys
for name in ("torch", "pytorch_lightning", "librosa", "hydra"):
    sys.modules[name] = None
from singtech.tables import main
sys.exit(main())
"""


def test_everything_is_rendered_from_the_collated_file_where_torch_cannot_be_imported(tmp_path, run):
    run(0.6)
    collate(tmp_path)
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (tmp_path / "results.csv").rename(alone / "results.csv")
    command = [sys.executable, "-W", "error", "-c", BLOCKED, f"output_dir={alone}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.name for path in (alone / "tables" / "vocalset").iterdir()}
    assert written == FILES
    for name in FILES:
        assert str(alone / "tables" / "vocalset" / name) in done.stdout
    assert "# Table 3: " in done.stdout
    assert "| cRT-WC " in done.stdout


def test_each_corpus_has_its_own_folder(tmp_path, run, capsys):
    run(0.6)
    run(0.9, data="demo")
    assert main([f"output_dir={tmp_path}"]) == 0
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"demo", "vocalset"}
    for suffix in ("md", "tex"):
        assert "demo corpus" in (tmp_path / "tables" / "demo" / f"table3.{suffix}").read_text(encoding="utf-8")
        assert "demo corpus" not in (tmp_path / "tables" / "vocalset" / f"table3.{suffix}").read_text(encoding="utf-8")
    assert capsys.readouterr().out.count("# Table 3") == 2


def test_one_corpus_can_be_asked_for(tmp_path, run):
    run(0.6)
    run(0.9, data="demo")
    assert main([f"output_dir={tmp_path}", "data=demo"]) == 0
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"demo"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data=demo"], "no run on data=demo, only on vocalset. Make one with `python -m singtech.run`."),
        (["--help"], "'--help' is not understood: `python -m singtech.tables` takes data=NAME and output_dir=FOLDER."),
        (["colour=red"], "'colour=red' is not understood"),
        (["data="], "'data=' is not understood"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path, run, capsys, arguments, sentence):
    run(0.6)
    assert main([f"output_dir={tmp_path}", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "tables").exists()


def test_without_runs_the_command_that_makes_some_is_named(tmp_path, capsys):
    assert main([f"output_dir={tmp_path / 'nothing'}"]) == 1
    sentence = "no run yet. Make some with `make demo`, or with `python -m singtech.run`."
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_ends_in_one_sentence(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("run,data\na,b\n")
    assert main([f"output_dir={tmp_path}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
