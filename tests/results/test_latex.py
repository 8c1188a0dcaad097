"""Every LaTeX file: environments and braces that close, as many cells as columns, no stray special character."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiments, read_paper_numbers
from singtech.results.index import render
from singtech.techniques import TECHNIQUES

PAPER = read_paper_numbers(EXPERIMENTS / "paper.csv")

DOCUMENT = r"""\documentclass[a4paper]{{article}}
\usepackage{{amssymb,booktabs,graphicx}}
\usepackage[margin=2cm]{{geometry}}
\begin{{document}}
{inputs}
\end{{document}}
"""


# every technique in four contexts by each of five singers; all is taken for the technique before it
CLIPS = [
    (singer, technique, TECHNIQUES[k - 1], ("scales", "arpeggios", "long_tones", "excerpts")[(k + s) % 4], k)
    for s, singer in enumerate(("female2", "female8", "male3", "male5", "male10"))
    for k, technique in enumerate(TECHNIQUES)
]


PAGES_OF_TWO = (
    "verdicts",
    "table1",
    "rounding",
    "ladder",
    "batch_norm",
    "imbalance",
    "tuning",
    "resolution",
    "recipe",
    "shortcuts",
)  # tables


@pytest.fixture
def latex_files(tmp_path, run, put_layers, put_confusion, put_predictions, put_corpus, collated, undrawn):
    """The LaTeX of every experiment on VocalSet and the demo, with runs of every kind, some in one seed only."""
    for data in ("vocalset", "demo"):
        for dc in ("none", "all", "early", "late", "last"):
            put_layers(run(0.5, data=data, dc=dc, strategy="crt_wfc"), dc)
        for seed, f1 in enumerate((0.4, 0.6)):
            folder = run(f1, data=data, seed=seed)
            put_confusion(folder, ("trill", "trillo", "vibrato"), [[3, 1, 0], [0, 4, 0], [1, 1, 2]])
            put_predictions(folder, CLIPS)
            run(0.45, data=data, seed=seed, settings={"front_end.scale": "db"})
            run(f1, data=data, seed=seed, fold="2", strategy="joint")
        put_corpus(data, {("trill", "train"): (1, 1.5, 9), ("trill", "test"): (1, 0.5, 4)})
    there = replace(collated(), output_dir=tmp_path)
    asked = [experiment for experiment in read_experiments() if experiment.kind not in ("lengths", "curve")]
    paths = [
        path
        for data in there.corpora
        for experiment in asked
        for path in render(experiment, there, PAPER, data, tmp_path / "tables" / data)[0]
    ]
    files = [path for path in paths if path.suffix == ".tex"]
    assert len(files) == 2 * 27
    return files


def body(path):
    """The file's lines without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [re.sub(r"(?<!\\)%.*", "", line) for line in lines if not line.startswith("%")]


def test_every_file_is_well_formed(latex_files):
    labels = []
    for path in latex_files:
        lines = body(path)
        assert_braces_and_environments_close_in_order("\n".join(lines))
        assert_as_many_cells_as_columns(lines)
        for line in lines:
            assert line.isascii(), (path, line)
            assert not re.search(r"(?<!\\)[#_^~]", line), (path, line)
            assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, (path, line)
        tables = "\n".join(lines).split(r"\begin{table}")[1:]
        assert all(table.count(r"\caption{") == 1 for table in tables)
        assert all(len(re.findall(r"\\\\$", table, re.MULTILINE)) <= 55 for table in tables), path  # as a page holds
        labels += re.findall(r"\\label{(tab:[\w-]+)}", "\n".join(lines))
        assert len(tables) == {"breakdown": 7, **dict.fromkeys(PAGES_OF_TWO, 2)}.get(path.stem, 1)
    assert len(set(labels)) == len(labels) == len(latex_files) + 2 * (6 + len(PAGES_OF_TWO))


def assert_braces_and_environments_close_in_order(text):
    depth, opened = 0, []
    for token in re.findall(r"\\[{}\\]|\\(?:begin|end)\{\w+\}|[{}]", text):
        if token.startswith(r"\begin"):
            opened.append(token[7:-1])
        elif token.startswith(r"\end"):
            assert opened.pop() == token[5:-1], text
        elif len(token) == 1:
            depth += 1 if token == "{" else -1
        assert depth >= 0, text
    assert (depth, opened) == (0, []), text


def assert_as_many_cells_as_columns(lines):
    columns = 0
    for line in lines:
        if begun := re.match(r"\\begin{tabular}{([lr]+)}", line):
            columns = len(begun[1])
        if line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_pdflatex_typesets_all_of_them_on_the_page(tmp_path, latex_files):
    inputs = "\n".join(rf"\input{{{path}}}\clearpage" for path in latex_files)
    (tmp_path / "all.tex").write_text(DOCUMENT.format(inputs=inputs))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
