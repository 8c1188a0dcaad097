"""Tables: ours beside the paper's and the difference, the best in bold, what is missing named."""

import csv
import re

import pytest

from singtech.places import EXPERIMENTS
from singtech.results.collate import collate
from singtech.results.experiments import read_experiment, read_published
from singtech.results.summaries import answer
from singtech.results.tables import best, latex, long_form, markdown, render_table, shown, shown_difference, tex

PAPER = read_published(EXPERIMENTS / "paper.csv")


@pytest.fixture
def answered(tmp_path):
    return lambda name, data="vocalset": answer(read_experiment(EXPERIMENTS / f"{name}.yaml"), collate(tmp_path), data)


@pytest.fixture
def table3(run, answered):
    """Table 3 on VocalSet with three seeds of joint training, two of cRT-WFC, one of cRT-WC."""
    for strategy, values in (("joint", [0.5, 0.6, 0.7]), ("crt_wfc", [0.6, 0.5]), ("crt_wc", [0.64])):
        for seed, f1 in enumerate(values):
            run(f1, strategy=strategy, seed=seed)
    return answered("table3")


def cells(page):
    """The cells of a Markdown table's lines, its header first."""
    lines = [line for line in page.splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_row_has_ours_the_papers_and_the_difference(table3):
    header, *lines = cells(markdown(table3, PAPER))
    assert header == ["Methods", "", "Seeds", "F1", "Acc.", "B-Acc.", "Top-2", "Top-3"]
    joint, joint_paper, joint_difference, wfc, _, wfc_difference, wc, wc_paper, wc_difference = lines
    assert joint[:5] == ["Joint-training", "ours", "3", "0.600 ± 0.100", "0.600 ± 0.100"]
    assert joint_paper == ["", "paper", "", "0.559", "0.610", "0.635", "0.774", "0.874"]
    assert joint_difference == ["", "difference", "", "+0.041", "-0.010", "-0.035", "-0.174", "-0.274"]
    assert wfc[:4] == ["cRT-WFC", "ours", "2", "0.550 ± 0.071"]
    assert wfc_difference[3] == "-0.032"
    assert wc[:4] == ["cRT-WC", "ours", "1", "**0.640**"]
    assert wc_paper[3:] == ["**0.620**", "**0.656**", "**0.655**", "**0.815**", "0.887"]
    assert wc_difference[3] == "+0.020"


@pytest.mark.parametrize(
    ("name", "printed"),
    [  # the labels in whose rows the paper prints F1, Acc., B-Acc., Top-2 and Top-3 in bold
        ("table2", ["Late (3,4)", "Late (3,4)", "Late (3,4)", "Late (3,4)", "All (1,2,3,4)"]),
        ("table3", ["cRT-WC", "cRT-WC", "cRT-WC", "cRT-WC", "cRT-WFC"]),
    ],
)
def test_the_papers_bold_numbers_are_bold(answered, name, printed):
    _, *lines = cells(markdown(answered(name), PAPER))
    bold, label = {}, ""
    for line in lines:
        label = line[0] or label
        for column, cell in enumerate(line[3:]):
            if line[1] == "paper" and cell.startswith("**"):
                bold.setdefault(column, []).append(label)
    assert bold == {column: [label] for column, label in enumerate(printed)}


def test_best_numbers_tie_as_printed_and_need_a_rival():
    assert best([[0.5004, 0.7], [0.5001, None], [0.4, None]]) == [[True, False], [True, False], [False, False]]


def test_a_table_without_runs_shows_the_papers_and_every_command(answered):
    page = markdown(answered("table3"), PAPER)
    assert ["Joint-training", "ours", "0", "—", "—", "—", "—", "—"] in cells(page)
    assert "difference" not in page
    assert page.count("python -m singtech.run dc=late strategy=") == 3
    assert "- cRT-WC, seed 0: `python -m singtech.run dc=late strategy=crt_wc alpha=0.2 seed=0`" in page


def test_missing_cells_are_named_below_the_table(table3):
    page = markdown(table3, PAPER)
    assert "- cRT-WC, seeds 1, 2: `python -m singtech.run -m dc=late strategy=crt_wc alpha=0.2 seed=1,2`" in page
    assert "but cRT-WFC has seeds 0, 1; cRT-WC has seed 0." in page


def test_a_full_table_names_nothing_missing(run, answered):
    for strategy in ("joint", "crt_wfc", "crt_wc"):
        run(0.5, strategy=strategy)
    page = markdown(answered("table3"), PAPER)
    assert "Missing" not in page
    assert "one seed, so no deviation" in page


def test_tables_of_the_demo_say_so_and_take_no_difference(run, answered):
    run(0.9, data="demo")
    found = answered("table3", "demo")
    for text in (markdown(found, PAPER), latex(found, PAPER)):
        assert "demo corpus (synthetic voices): not VocalSet, not comparable with the paper" in text
        assert "difference" not in text
        assert "0.620" in text
    assert markdown(found, PAPER).startswith("# Table 3: ")
    assert all(line["difference"] == "" for line in csv.DictReader(long_form(found, PAPER).splitlines()))


def test_the_csv_holds_one_number_a_line(table3):
    lines = list(csv.DictReader(long_form(table3, PAPER).splitlines()))
    assert len(lines) == 3 * 5
    joint = {
        **{"data": "vocalset", "artefact": "table3", "label": "Joint-training", "model": "oblong", "dc": "late"},
        **{"strategy": "joint", "alpha": "0.2", "metric": "f1", "mean": "0.6", "deviation": "0.1", "seeds": "3"},
        **{"paper": "0.559", "difference": "0.041"},
    }
    assert lines[0] == joint
    assert (lines[-1]["label"], lines[-1]["seeds"], lines[-1]["deviation"]) == ("cRT-WC", "1", "")


def test_latex_has_as_many_cells_in_every_line_as_columns(table3):
    text = latex(table3, PAPER)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    columns = re.search(r"\\begin{tabular}{(\w+)}", text)[1]
    lines = [line for line in body if line.endswith(r"\\")]
    assert len(lines) == 1 + 3 * 3
    assert {line.count("&") for line in lines} == {len(columns) - 1}
    assert text.count("{") == text.count("}")
    assert all(body.count(rf"\{word}") == 1 for word in ("toprule", "midrule", "bottomrule", "end{table}"))
    assert body.count(r"\addlinespace") == 2
    assert r" & difference &  & $+0.041$ & $-0.010$ & $-0.035$ & $-0.174$ & $-0.274$ \\" in lines
    assert r"cRT-WC & ours & 1 & \textbf{0.640} & " in text
    assert r"0.600 $\pm$ 0.100" in text
    assert "".join(body).isascii()


def test_latex_takes_no_character_for_a_command():
    assert tex("50 % of A&B_c, #1 {x} ~^ α ± 1 \\ —") == (
        r"50 \% of A\&B\_c, \#1 \{x\} \textasciitilde{}\textasciicircum{} $\alpha$ $\pm$ 1 \textbackslash{} --"
    )


@pytest.mark.parametrize(
    ("mean", "deviation", "text"), [(0.61249, 0.0131, "0.612 ± 0.013"), (0.5, None, "0.500"), (None, None, "—")]
)
def test_numbers_have_the_papers_three_decimals(mean, deviation, text):
    assert shown(mean, deviation) == text


@pytest.mark.parametrize(
    ("ours", "paper", "text"),
    [(0.612, 0.62, "-0.008"), (0.62, 0.612, "+0.008"), (0.6199, 0.62, "+0.000"), (None, 0.62, "—"), (0.6, None, "—")],
)
def test_differences_are_ours_less_the_papers(ours, paper, text):
    assert shown_difference(ours, paper) == text


def test_a_table_is_written_three_times_and_the_same_each_time(tmp_path, table3):
    paths = render_table(table3, PAPER, tmp_path / "tables" / "vocalset")
    assert [path.name for path in paths] == ["table3.md", "table3.csv", "table3.tex"]
    before = [path.read_bytes() for path in paths]
    render_table(table3, PAPER, tmp_path / "tables" / "vocalset")
    assert [path.read_bytes() for path in paths] == before
