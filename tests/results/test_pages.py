"""A page in each format: what a corpus or a run is named is text everywhere, a table's lines keep together."""

import re
from dataclasses import replace

import pandas as pd

from singtech.metrics import METRICS, Metric
from singtech.results.latex import latex
from singtech.results.pages import Cell, Page, Table, csv, filled, html, markdown

TWO = [Table.of(["a", ""], [["x", "1"]]), Table.of(["b"], [["y"]], title="After")]


def page(**parts):
    return Page("name", "vocalset", "Heading", **{"caption": "It.", "frame": pd.DataFrame()} | parts)


def test_html_of_names_is_shown_as_text_and_links_lead_nowhere(tmp_path):
    table = Table.of(["a", "b"], [["<i>", "1"]])
    text = html(
        page(caption="Some <b>bold</b> [link](javascript:x)", tables=[table], missing=[("<u>", "run")]), tmp_path
    )
    assert not re.findall("<[biu]>", text)
    assert re.findall('href="(.*?)"', text) == ["#missing-name"]
    assert 'role="region" aria-label="Heading"><table class="sortable">' in text


def test_tables_of_one_page_have_names_that_differ_and_no_header_is_empty(tmp_path):
    text = html(page(tables=TWO), tmp_path)
    assert re.findall(r'aria-label="(.*?)"', text) == ["Heading (1 of 2)", "Heading (2 of 2)"]
    assert re.findall(r"<tr>(.*?)</tr>", text)[0] == '<th scope="col" class="words">a</th><td></td>'


def texts(table):
    return [[cell.text for cell in line] for line in table.lines]


def test_what_was_not_run_has_no_line_and_what_nobody_has_no_column():
    lines = [["a", "ours", "0", "—", "—"], ["", "paper", "", "0.5", ""], ["b", "ours", "0", "—", "—"]]
    table = replace(Table.of(["name", "", "seeds", "F1", "AUC"], lines, words=2), metrics=("", "", "", "f1", "auc"))
    found = filled(table)
    assert texts(found) == [["a", "paper", "0.5"]]
    assert (found.header, found.words, list(found.metrics)) == (["name", "", "F1"], 2, ["", "", "f1"])


def test_a_heading_without_lines_goes_and_zeros_that_were_counted_stay():
    heading, other = [[Cell("group", is_heading=True), Cell()]], [[Cell("other", is_heading=True), Cell()]]
    group = Table.of(["", ""], [["not run", "—"]], [["counted", "0"]]).groups
    assert texts(filled(Table(["a", "b"], [heading, group[0], other, group[1]]))) == [["other", ""], ["counted", "0"]]


def test_notes_that_are_elsewhere_are_not_repeated_and_what_is_left_out_is_counted(tmp_path):
    table = replace(Table.of(["a", "b"], [["x", "1"], ["y", "—"]]), note="Twice.")
    text = html(page(tables=[table], notes=["Once.", "Twice."]), tmp_path, elsewhere=["Twice."])
    assert "Once." in text
    assert "Twice." not in text
    assert '<p class="quiet">1 row not run.</p>' in text


def test_lines_without_a_name_sort_with_the_line_above(tmp_path):
    table = Table.of(["a", "b"], [["a", "0"], ["", "1"], ["", "2"], ["b", "3"], ["", "4"]])
    bodies = re.findall(r"<tbody>(.*?)</tbody>", html(page(tables=[table]), tmp_path), re.DOTALL)
    assert [body.count("<tr>") for body in bodies] == [3, 2]


def test_a_column_of_a_metric_sorts_best_first(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "rank", Metric("rank", lambda clips: clips.ranks, higher_is_better=False))
    table = Table(["a", "F1", "rank", "seconds"], [], metrics=["", "f1", "rank", "seconds"])
    heads = re.findall(r"<th [^>]*>", html(page(tables=[table]), tmp_path))
    directions = [re.findall(r'data-best="(\w+)"', head) for head in heads]
    assert directions == [[], ["descending"], ["ascending"], []]


def test_bold_cells_and_headings_are_so_in_every_format(tmp_path):
    table = Table(["a"], [[[Cell("group", is_heading=True)]], [[Cell("1 | 2", is_bold=True)]]])
    of_all = page(tables=[table])
    assert r"**1 \| 2**" in markdown(of_all)
    assert "*group*" in markdown(of_all)
    assert "{\\emph{group}} \\\\\n\\addlinespace[2pt]\n\\textbf{1 $|$ 2}" in latex(of_all)
    assert "<strong>1 | 2</strong>" in html(of_all, tmp_path)


def test_a_csv_is_the_frame_with_six_decimals_and_gaps():
    frame = pd.DataFrame({"label": ["a, b", "c"], "mean": [1 / 3, None], "units": pd.array([3, None], "Int64")})
    assert csv(page(frame=frame)) == 'label,mean,units\n"a, b",0.333333,3\nc,,\n'
