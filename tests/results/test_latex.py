"""Every LaTeX file: it is well formed, fits the two columns of a paper, and says what a reader of the paper needs."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiments, read_paper_numbers
from singtech.results.index import render
from singtech.results.latex import latex, shortened, tex
from singtech.results.pages import Cell, Page, Table
from singtech.techniques import TECHNIQUES

PAPER = read_paper_numbers(EXPERIMENTS / "paper.csv")

DOCUMENT = r"""\documentclass[a4paper,twocolumn]{{article}}
\usepackage{{{packages}}}
\usepackage{{mathptmx}}
\usepackage[textwidth=170mm,columnsep=10mm,textheight=235mm]{{geometry}}
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
    labels, floats = [], 0
    for path in latex_files:
        lines = body(path)
        text = "\n".join(lines)
        assert_braces_and_environments_close_in_order(text)
        assert_as_many_cells_as_columns(lines)
        for line in lines:
            assert line.isascii(), (path, line)
            assert not re.search(r"(?<!\\)[#_^]", line), (path, line)
            assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, (path, line)
        tables = re.split(r"\\begin{table\*?}", text)[1:]
        assert all(table.count(r"\caption{") == 1 for table in tables)
        assert all(len(re.findall(r" \\\\", table)) <= 50 for table in tables), path  # as a page holds
        assert not re.search(r"\\caption{(Table|Figure|Section) \d", text), path
        assert "resizebox" not in text
        assert '"' not in text
        assert {int(size) for size in re.findall(r"\\fontsize{(\d+)}", text)} <= {7, 8}
        assert_packages_are_named(path, text)
        labels += re.findall(r"\\label{(tab:[\w-]+)}", text)
        floats += len(tables)
    assert len(set(labels)) == len(labels)
    assert 30 < len(labels) <= floats


def assert_packages_are_named(path, text):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = re.fullmatch(r"% Needs \\usepackage{([\w,]+)}\.", first)[1].split(",")
    needs = {"booktabs": "", "amssymb": r"\checkmark", "array": r"\arraybackslash"}
    assert named == [name for name in sorted(needs) if needs[name] in text]


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
        if begun := re.match(r"\\begin{tabular}{@{}(.*)@{}}$", line):
            columns = len(re.sub(r">{\\raggedright\\arraybackslash}p{\d+pt}", "p", begun[1]))
        if re.search(r" \\\\(\[-1.5pt\])?$", line):
            spans = [int(span) - 1 for span in re.findall(r"\\multicolumn{(\d+)}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + sum(spans) == columns - 1, line


def line_of(label, *texts):
    return [Cell(label), *map(Cell, texts)]


@pytest.fixture
def hard_pages():
    """Tables that do not fit easily: of many columns, of many lines, of long words, of long headings."""
    number, interval = "+0.612 ± 0.013", "-0.581 to -0.640"
    techniques = [f"technique {k}" for k in range(17)]
    wide = [[line_of("Late, cRT-WC, α = 0.5", "ours", *[number] * 17), line_of("", "95 %", *[interval] * 17)]] * 3
    heading = [
        Cell("A heading that is much longer than its numbers, and than a column", is_heading=True),
        *[Cell()] * 2,
    ]
    long = [[heading], *[[line_of(f"condition {k}", "0.1 ± 0.2", "0.300")] for k in range(120)]]
    words = [
        [line_of(f"the name of method {k} that goes on and on", f"its setting {k}, which is long too", *[number] * 5)]
        for k in range(3)
    ]
    tables = [
        Table(["Condition", "", *techniques], wide, words=2),
        Table(
            ["Condition", "F1", "a head of several words over short numbers"], long, note='It is "so", see `long_name`.'
        ),
        Table(["Method", "setting", *"abcde"], words, words=2, title="Words"),
    ]
    parts = {"caption": "What it is: 50 %.", "frame": None, "notes": ["Ours: mean ± deviation."]}
    return [Page(f"hard{k}", "demo", "Figure 3: hard", tables=[table], **parts) for k, table in enumerate(tables)]


def test_a_table_that_is_too_wide_stands_in_panels_and_one_that_is_too_long_goes_on(hard_pages):
    wide, long, words = map(latex, hard_pages)
    assert wide.count(r"\begin{table*}") == 1
    assert wide.count(r"\midrule") > 3
    assert [len(re.findall(rf"technique( |\\\\){k}\b", wide)) for k in range(17)] == [1] * 17
    assert long.count(r"\begin{table") == long.count(" (continued)}") + 1 > 2
    assert long.count(r"\label{") == long.count(r"\parbox") == 1
    assert all(f"condition {k} &" in long for k in range(120))
    assert r"p{" in words


def test_captions_are_short_and_notes_stand_below(hard_pages):
    wide, long, words = map(latex, hard_pages)
    whose = "Demo corpus (synthetic voices): not VocalSet, not comparable with the paper."
    assert rf"\caption{{Hard. {whose}}}" in wide
    assert rf"\caption{{Hard: Words. {whose}}}" in words
    assert r"What it is: 50 \%. Ours: mean $\pm$ deviation. Brackets: 95 \% interval.}" in wide
    assert r"It is ``so'', see \texttt{long\_name}." in long


def test_what_was_not_run_is_left_out_and_what_is_alike_is_said_once():
    lines = [
        [line_of("a", "ours", "0", "—", "—"), line_of("", "paper", "", "0.5", "—")],
        [line_of("b", "ours", "0", "—", "—")],
        [line_of("c", "ours", "9", "0.612", "—"), line_of("", "95 %", "", "0.581 to 0.640", "—")],
    ]
    table, notes = shortened(Table(["Condition", "", "Seeds", "F1", "Acc."], lines, words=2))
    assert table.header == ["Condition", "", "F1"]
    assert [[cell.text for cell in line] for line in table.lines] == [
        ["a", "paper", "0.5"],
        ["c", "ours", "0.612"],
        ["", "", "0.581 to 0.640"],
    ]
    assert notes == ["Seeds: 9."]
    not_run = Page("name", "vocalset", "Title", "It.", None, tables=[Table(["a", "b"], [[line_of("x", "—")]])])
    assert latex(not_run) == "% Needs \\usepackage{booktabs}.\n% No table: nothing was run yet.\n"


def test_signs_are_those_of_numbers_and_quotes_are_pairs():
    assert tex('-0.010 "better minus worse" Top-2 [-0.1, +0.2]') == (
        "$-$0.010 ``better minus worse'' Top-2 {[}$-$0.1, $+$0.2]"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_hard_tables_fit_the_page(tmp_path, hard_pages):
    for page in hard_pages:
        (tmp_path / f"{page.name}.tex").write_text(latex(page), encoding="utf-8")
    assert_typeset(tmp_path, [tmp_path / f"{page.name}.tex" for page in hard_pages])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_pdflatex_typesets_all_of_them_on_the_page(tmp_path, latex_files):
    assert_typeset(tmp_path, latex_files)


def assert_typeset(folder, files):
    """Two columns in Times, the geometry of an Interspeech paper: nothing sticks out."""
    inputs = "\n".join(rf"\input{{{path}}}\clearpage" for path in files)
    packages = sorted({name for path in files for name in path.read_text().split("{", 1)[1].split("}")[0].split(",")})
    (folder / "all.tex").write_text(DOCUMENT.format(inputs=inputs, packages=",".join(packages)))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, [line for line in done.stdout.splitlines() if "Overfull" in line]
    assert "too large" not in done.stdout
