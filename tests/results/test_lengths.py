"""Figure 2: the minutes of each technique, longest first, whole bars made of their splits."""

import csv

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.lengths import lengths_page
from singtech.results.summaries import answer

FIGURE = read_experiment(EXPERIMENTS / "figure2.yaml")
LENGTHS = {  # recordings, minutes, clips
    ("lip_trill", "train"): (2, 1.5, 20),
    ("lip_trill", "test"): (1, 0.25, 5),
    ("trill", "train"): (3, 4.0, 70),
    ("trill", "validation"): (1, 0.5, 9),
    ("trill", "test"): (1, 1.0, 18),
    ("vibrato", "train"): (2, 2.0, 30),
}


@pytest.fixture
def drawn(put_corpus, collated):
    """The figure's axes on a corpus."""

    def draw_corpus(data="vocalset", lengths=LENGTHS):
        put_corpus(data, lengths)
        return lengths_page(answer(FIGURE, collated(), data)).figure

    return draw_corpus


def test_bars_stand_longest_first_and_are_as_high_as_their_splits_together(drawn):
    (axes,) = drawn().axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["trill", "vibrato", "lip trill"]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"train": [4.0, 2.0, 1.5], "validation": [0.5, 0.0, 0.0], "test": [1.0, 0.0, 0.25]}
    test = axes.containers[-1]
    assert [bar.get_y() for bar in test] == [4.5, 2.0, 1.5]
    assert [text.get_text() for text in axes.texts] == ["5.5", "2.0", "1.8"]


def test_splits_are_told_apart_without_colour(drawn):
    (axes,) = drawn().axes
    hatches = [bars[0].get_hatch() for bars in axes.containers]
    assert len(set(hatches)) == 3


def test_a_split_without_recordings_is_not_in_the_legend(drawn):
    (axes,) = drawn(lengths={("trill", "train"): (1, 1.0, 9), ("trill", "test"): (1, 0.5, 4)}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["test", "train"]


def test_the_figure_fits_a_column(drawn, fits_print):
    fits_print(drawn().figure)


def test_another_corpus_says_so_in_the_figure(drawn):
    assert " ".join(drawn("demo").get_suptitle().split()).endswith("not VocalSet, not comparable with the paper")
    assert drawn().get_suptitle() == ""


def test_numbers_stand_below_the_figure_and_in_a_csv(tmp_path, put_corpus, collated):
    put_corpus("vocalset", LENGTHS)
    paths, found = render(FIGURE, collated(), {}, "vocalset", tmp_path / "tables")
    assert found.progress == "complete"
    assert [path.name for path in paths] == ["figure2.md", "figure2.csv", "figure2.tex", "figure2.png", "figure2.pdf"]
    page = paths[0].read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    heads = ["train, min", "validation, min", "test, min", "all, min", "Recordings"]
    assert rows[0] == ["Technique", *heads, "train, clips", "validation, clips", "test, clips"]
    assert rows[2] == ["trill", "4.00", "0.50", "1.00", "5.50", "5", "70", "9", "18"]
    assert rows[-1] == ["sum", "7.50", "0.50", "1.25", "9.25", "10", "120", "9", "23"]
    lines = list(csv.DictReader(paths[1].read_text(encoding="utf-8").splitlines()))
    assert [(line["technique"], line["split"]) for line in lines[:4]] == [
        *(("trill", "train"), ("trill", "validation"), ("trill", "test")),
        ("vibrato", "train"),
    ]
    before = [path.read_bytes() for path in paths]
    render(FIGURE, collated(), {}, "vocalset", tmp_path / "tables")
    assert [path.read_bytes() for path in paths] == before


def test_a_corpus_that_was_not_prepared_here_is_named_with_the_command(tmp_path, collated):
    paths, found = render(FIGURE, collated(), {}, "demo", tmp_path / "tables")
    assert found.progress == "lacks the clips of the corpus"
    assert "- the clips of the corpus: `singtech prepare data=demo`" in paths[0].read_text(encoding="utf-8")
    figure = lengths_page(answer(FIGURE, collated(), "demo")).figure
    assert ([text.get_text() for text in figure.texts], figure.axes) == (["not prepared yet, see figure2.md"], [])
