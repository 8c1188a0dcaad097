"""Forest plots: every comparison that was run is a mark at its difference, told apart by verdict in grey too."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.figures import COLUMN, TWO_COLUMNS
from singtech.results.forest_plot import STYLES, ForestRow, draw_forest, forest_rows
from singtech.results.index import PAGES, render
from singtech.results.summaries import answer

NAN = float("nan")
ROWS = [
    ForestRow("Late − Last", 0.04, 0.02, 0.06, "supported", "Layers", "these singers"),
    ForestRow("Late − Last", 0.03, -0.01, 0.07, "undecided", "Layers", "new singers"),
    ForestRow("Late − All", -0.03, -0.05, -0.01, "refuted", "Layers", "these singers"),
    ForestRow("joint − none", 0.001, -0.002, 0.004, "negligible", "Strategy", "these singers"),
    ForestRow("one seed", 0.02, NAN, NAN, "undecided", "Strategy", "these singers", "accuracy"),
]


def marks(figure):
    """The shape, position and colour of each row's mark, from the top."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_marker() in "oXsD" and len(line.get_xdata()) == 1]
    lines.sort(key=lambda line: line.get_ydata()[0])
    return [(line.get_marker(), line.get_xdata()[0], line.get_markeredgecolor()) for line in lines]


def test_each_row_is_a_mark_at_its_difference_by_verdict():
    expected = [(*STYLES[row.verdict][::-1], row.value) for row in ROWS]
    assert marks(draw_forest(ROWS, 0.01)) == [(mark, value, colour) for mark, colour, value in expected]


def test_verdicts_differ_in_shape_and_in_grey_or_shape_alone():
    assert len({mark for _, mark in STYLES.values()}) == len({colour for colour, _ in STYLES.values()}) == 4


def test_lines_are_the_intervals_and_one_seed_has_none():
    drawn = [line.get_xdata() for line in draw_forest(ROWS[:4], 0.01).axes[0].get_lines() if len(line.get_xdata()) == 2]
    zero, *intervals = [list(each) for each in drawn]
    assert zero == [0, 0]
    assert intervals == [[row.low, row.high] for row in ROWS[:4]]
    drawn = draw_forest(ROWS[4:], 0.01).axes[0].get_lines()
    assert [len(line.get_xdata()) for line in drawn] == [2, 1]  # the line at 0, the mark


def test_an_interval_beyond_the_axis_ends_in_an_arrow():
    rows = [ForestRow(str(k), 0.0, -0.01, 0.01, "negligible") for k in range(30)]
    figure = draw_forest([*rows, ForestRow("wide", 0.0, -0.8, 0.9, "undecided")], 0.01)
    assert figure.axes[0].get_xlim()[1] < 0.1
    assert [line.get_marker() for line in figure.axes[0].get_lines()].count(">") == 1


def test_the_band_of_what_is_negligible_is_drawn_and_named():
    figure = draw_forest(ROWS, 0.015)
    (band,) = figure.axes[0].patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.015, 0.015))
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["supported", "refuted", "negligible", "undecided", "within ±0.015", "for new singers"]


def test_the_figure_is_as_wide_as_a_column_and_all_its_text_lies_in_it(fits_print):
    for width in (COLUMN, TWO_COLUMNS):
        figure = draw_forest(ROWS, 0.01, width, "A title of a corpus that is not the paper's, which is rather long")
        assert figure.get_figwidth() == width
        fits_print(figure)


def test_a_row_of_another_metric_says_so():
    said = " ".join(text.get_text() for text in draw_forest(ROWS, 0.01).axes[0].texts)
    assert "one seed, accuracy" in said.replace("\n", " ")


def test_colours_differ_in_lightness_or_are_grey():
    luminances = [
        float(np.dot(matplotlib.colors.to_rgb(colour), (0.2126, 0.7152, 0.0722))) for colour, _ in STYLES.values()
    ]
    assert max(luminances) < 0.6  # dark enough to see on white


def test_what_was_not_run_and_what_is_repeated_is_left_out():
    frame = pd.DataFrame([ROWS[0], ForestRow("x", NAN, NAN, NAN, "not run"), ROWS[4], ROWS[0], ROWS[2], ROWS[4]])
    rows = forest_rows(frame.rename(columns={"value": "gain"}), value="gain")
    assert [row.label for row in rows] == [ROWS[k].label for k in (0, 4, 2)]
    assert rows[::2] == [ROWS[0], ROWS[2]]


def test_a_page_with_verdicts_has_a_plot_of_those_that_were_run(tmp_path, run, collated, undrawn):
    for seed, f1 in enumerate((0.4, 0.6)):
        run(f1, strategy="crt_wc", seed=seed)
        run(f1 - 0.1, strategy="joint", seed=seed)
    experiment = read_experiment(EXPERIMENTS / "verdicts.yaml")
    there = collated()
    (row,) = PAGES["verdicts"](answer(experiment, there, "vocalset")).comparisons
    assert (row.label, row.value, row.verdict) == ("Late: cRT-WC against joint", pytest.approx(0.1), "undecided")
    paths, _ = render(experiment, there, {}, "vocalset", tmp_path / "pages")
    names = {path.name for path in paths}
    assert {f"verdicts-forest{end}.{kind}" for end in ("", "-wide") for kind in ("png", "pdf")} <= names
    assert "](verdicts-forest.png)" in (tmp_path / "pages" / "verdicts.md").read_text(encoding="utf-8")


def test_a_page_without_runs_has_no_plot(tmp_path, run, collated, undrawn):
    run(0.5, strategy="joint")
    earlier = tmp_path / "pages" / "verdicts-forest-wide.pdf"
    earlier.parent.mkdir()
    earlier.touch()
    paths, _ = render(read_experiment(EXPERIMENTS / "verdicts.yaml"), collated(), {}, "vocalset", tmp_path / "pages")
    assert not [path for path in paths if "forest" in path.name]
    assert not earlier.exists()
