"""`singtech tables`: from the collated files alone to every table and figure, without torch."""

import subprocess
import sys

import pytest

from singtech.cli.tables import main
from singtech.results.collate import collate

TABLES = "table1 table2 table2_joint table3 late_last techniques folds ablations confusion".split()
TABLES += "verdicts breakdown select_dc select_alpha rounding floor ladder batch_norm".split()
TABLES += "imbalance imbalance_auc tuning resolution candidates recipe encoders shortcuts".split()
FIGURES = "figure2 figure3 confusion frontier long_tail encoder_layers".split()
FILES = {
    *(f"{name}.{suffix}" for name in TABLES for suffix in ("md", "csv", "tex")),
    *(f"{name}.{suffix}" for name in FIGURES for suffix in ("md", "csv", "tex", "png", "pdf")),
    "README.md",
} - {"breakdown.tex", "candidates.tex"}  # without predictions, or a selection, they have no table
BLOCKED = """
import sys
class Absent:
    def find_spec(name, path, target=None):
        if name.split(".")[0] in ("torch", "pytorch_lightning", "librosa", "hydra"):
            raise ModuleNotFoundError(f"{name} is blocked")
sys.meta_path.insert(0, Absent)
from singtech.cli.tables import main
sys.exit(main())
"""


def test_everything_is_rendered_from_the_collated_files_where_torch_cannot_be_imported(
    tmp_path, run, put_layers, put_confusion, put_corpus
):
    folder = run(0.6)
    put_layers(folder, "late")
    put_confusion(folder, ("trill", "trillo"), [[3, 1], [0, 4]])
    put_corpus("vocalset", {("trill", "train"): (1, 1.5, 9), ("trill", "test"): (1, 0.5, 4)})
    collate(tmp_path)
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    for name in ("results.csv", "layers.csv", "confusions.csv", "corpora"):
        (tmp_path / name).rename(alone / name)
    command = [sys.executable, "-W", "error", "-c", BLOCKED, f"output_dir={alone}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.name for path in (alone / "tables" / "vocalset").iterdir()}
    assert written == FILES
    where = alone / "tables" / "vocalset"
    assert done.stdout.splitlines()[0] == f"{where}: 30 pages, all in README.md"
    assert "\nTable 3: " in done.stdout
    assert "\nLate, cRT-WC " in done.stdout
    assert "|" not in done.stdout
    assert max(map(len, done.stdout.split("Missing:")[0].splitlines()[1:])) <= 80


@pytest.mark.usefixtures("table3_alone")
def test_each_corpus_has_its_own_folder(tmp_path, run, capsys):
    run(0.6)
    run(0.9, data="demo")
    assert main([f"output_dir={tmp_path}"]) == 0
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"demo", "vocalset"}
    for suffix in ("md", "tex"):
        demo, real = (tmp_path / "tables" / data / f"table3.{suffix}" for data in ("demo", "vocalset"))
        assert "demo corpus" in demo.read_text(encoding="utf-8").lower()
        assert "demo corpus" not in real.read_text(encoding="utf-8").lower()
    assert capsys.readouterr().out.count("\nTable 3: ") == 2


@pytest.mark.usefixtures("table3_alone")
def test_one_corpus_can_be_asked_for(tmp_path, run):
    run(0.6)
    run(0.9, data="demo")
    assert main([f"output_dir={tmp_path}", "data=demo"]) == 0
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"demo"}


@pytest.mark.usefixtures("table3_alone")
def test_an_outdated_report_is_marked(tmp_path, run, capsys):
    run(0.9, data="demo")
    told = f"report.html is outdated: `singtech report data=demo output_dir={tmp_path}` makes it again"
    for expected in (False, True):
        assert main([f"output_dir={tmp_path}"]) == 0
        assert (told in capsys.readouterr().out) == expected
        (tmp_path / "tables" / "demo" / "report.html").touch()


@pytest.mark.usefixtures("undrawn")
def test_a_corpus_without_runs_has_its_lengths_and_every_command(tmp_path, put_corpus, capsys):
    put_corpus("demo", {("trill", "train"): (1, 1.5, 9), ("trill", "test"): (1, 0.5, 4)})
    assert main([f"output_dir={tmp_path}"]) == 0
    written = {path.name for path in (tmp_path / "tables" / "demo").iterdir()}
    assert written == FILES - {"confusion.tex"}
    index = (tmp_path / "tables" / "demo" / "README.md").read_text(encoding="utf-8")
    assert "| trill " in index
    for name in ("figure2.png", "figure3.png", "confusion.png"):
        assert f"]({name})" in index
    assert index.count("\n## ") == 30
    assert "| [figure3](figure3.md)" in index
    assert "0 of 12 runs" in index
    assert f"seed=0 data=demo output_dir={tmp_path}`" in index
    assert capsys.readouterr().out == f"{tmp_path}/tables/demo: 30 pages, all in README.md\n"


@pytest.mark.usefixtures("undrawn")
def test_another_page_can_be_shown_even_of_what_was_not_run(tmp_path, run, capsys):
    run(0.6)
    assert main([f"output_dir={tmp_path}", "show=table1"]) == 0
    out = capsys.readouterr().out
    assert "\nTable 1: " in out
    assert "Table 3: " not in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data=demo"], "no run on data=demo, only on vocalset. Make one with `singtech run`."),
        (["--halp"], "--halp: no such option; singtech tables takes data, show, output_dir, to."),
        (["show=table4"], "show=table4: no such page, there are figure2, table1, table2, late_last, table3, figure3,"),
        (["colour=red"], "colour=red: no such option"),
        (["data="], "data=: its value is missing; expected data=NAME."),
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
    sentence = "no run yet. Make some with `make demo`, or with `singtech run`."
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_ends_in_one_sentence(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("run,data\na,b\n")
    assert main([f"output_dir={tmp_path}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
