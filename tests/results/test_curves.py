"""Figure 3: what is drawn is what was measured; what was not is neither drawn nor hidden."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from singtech.config_paths import EXPERIMENTS
from singtech.results.curves import APART, BAND, draw, points
from singtech.results.experiments import read_experiment, read_paper_numbers
from singtech.results.index import render
from singtech.results.pages import pipes
from singtech.results.summaries import answer

PAPER = read_paper_numbers(EXPERIMENTS / "paper.csv")
FIGURE = read_experiment(EXPERIMENTS / "figure3.yaml")


@pytest.fixture
def answered(collated):
    return lambda data="vocalset": answer(FIGURE, collated(), data, published=PAPER)


@pytest.fixture
def sweep(run):
    """Two seeds of every point but cRT-WC at alpha 0.5; F1 at `alpha` is 0.5 + alpha / 10 ± 0.01."""

    def put(data="vocalset"):
        for strategy in ("joint", "crt_wfc", "crt_wc"):
            for alpha in (0, 0.2, 0.5, 1.0):
                for seed in (0, 1):
                    if (strategy, alpha) != ("crt_wc", 0.5):
                        run(0.49 + alpha / 10 + seed / 50, data=data, strategy=strategy, alpha=alpha, seed=seed)

    return put


def lines(figure):
    """The drawn lines by their name in the legend."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    return {
        label: handle[0] if isinstance(handle, tuple) else handle for label, handle in zip(labels, handles, strict=True)
    }


def test_lines_run_through_the_means(sweep, answered):
    sweep()
    drawn = lines(draw(answered()))
    for label in ("Late, joint", "Late, cRT-WFC"):
        assert drawn[label].get_ydata() == pytest.approx([0.5, 0.52, 0.55, 0.6])
        assert drawn[label].get_xdata() == pytest.approx([0, 0.2, 0.5, 1], abs=0.04)
    assert drawn["Late, cRT-WC"].get_ydata() == pytest.approx([0.5, 0.52, math.nan, 0.6], nan_ok=True)


def test_the_strategies_are_told_apart_without_colour(sweep, answered):
    sweep()
    drawn = [line for label, line in lines(draw(answered())).items() if "paper" not in label]
    assert len({line.get_marker() for line in drawn}) == len({line.get_linestyle() for line in drawn}) == 3


def test_alpha_has_the_papers_ticks(sweep, answered):
    sweep()
    figure = draw(answered())
    figure.draw_without_rendering()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "0.2", "0.5", "1"]


def test_the_papers_printed_points_are_marked_on_vocalset_only(sweep, answered):
    sweep()
    sweep("demo")
    drawn = lines(draw(answered()))
    for label, f1 in (("Late, joint", 0.559), ("Late, cRT-WFC", 0.582), ("Late, cRT-WC", 0.62)):
        marked = drawn[f"{label}, paper"]
        assert list(marked.get_ydata()) == [f1]
        assert list(marked.get_xdata()) == pytest.approx([0.2], abs=0.04)
        assert marked.get_markerfacecolor() == "white"
    assert not [label for label in lines(draw(answered("demo"))) if "paper" in label]


def test_the_demos_figure_says_so_in_its_title(sweep, answered):
    sweep("demo")
    title = " ".join(draw(answered("demo")).get_suptitle().split())
    assert (
        title
        == "Figure 3: macro F1 over α — demo corpus (synthetic voices): not VocalSet, not comparable with the paper"
    )
    assert draw(answered()).get_suptitle() == ""


def test_the_figure_fits_a_column(sweep, answered, fits_print):
    sweep("demo")
    sweep()
    fits_print(draw(answered()))
    fits_print(draw(answered("demo")))


def test_every_seed_is_a_dot(sweep, answered):
    sweep()
    axes = draw(answered()).axes[0]
    dots = [line for line in axes.get_lines() if line.get_marker() == "."]
    assert sum(len(line.get_ydata()) for line in dots) == 11 * 2


def test_a_light_bar_is_the_interval_where_there_is_one(run, put_predictions, collated, tmp_path):
    """Macro-F1 is 1/3 (2/3 of trill, 0 of belt), without ann 0, without bob 1: an error of 1/2, t of 1 degree."""
    clips = [("ann", "trill", "trill", "scales", 0), ("bob", "belt", "trill", "scales", 1)]
    for strategy in ("joint", "crt_wc"):
        for alpha in (0, 0.2):
            folder = run(0.4, strategy=strategy, alpha=alpha)
            if (strategy, alpha) != ("crt_wc", 0.2):
                put_predictions(folder, clips)
    figure = draw(answer(FIGURE, replace(collated(), output_dir=tmp_path), "vocalset", published=PAPER))
    bars = [bar for bar in figure.axes[0].collections if bar.get_linewidth() == [BAND]]
    drawn = [[segment.tolist() for segment in bar.get_segments()] for bar in bars]
    joint, weighted = sorted(drawn, key=len, reverse=True)
    low, high = 1 / 3 - t.ppf(0.975, 1) / 2, 1 / 3 + t.ppf(0.975, 1) / 2
    bars = [[[x, low], [x, high]] for x in (-APART, 0.2 - APART, APART)]
    np.testing.assert_allclose(joint, bars[:2])
    np.testing.assert_allclose(weighted, bars[2:])
    (legend,) = figure.legends
    said = legend.get_title().get_text().replace("\n", " ")
    assert said == "light bars: 95 % interval of the mean; large hollow marks: the paper"


def test_what_is_not_drawn_is_not_explained(sweep, answered):
    sweep()  # two seeds, no predictions
    (legend,) = draw(answered()).legends
    said = legend.get_title().get_text().replace("\n", " ")
    assert said == "thin bars: ± deviation over seeds; dots: seeds; large hollow marks: the paper"


def test_the_numbers_stand_below_the_figure_with_what_is_missing(sweep, answered):
    sweep()
    found = answered()
    table = pipes(points(found))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["Methods", "", "α = 0", "α = 0.2", "α = 0.5", "α = 1"]
    assert ["Late, cRT-WC", "ours", "0.500 ± 0.014", "0.520 ± 0.014", "—", "0.600 ± 0.014"] in rows
    assert ["", "seeds", "2", "2", "0", "2"] in rows
    assert ["", "paper", "", "0.620", "", ""] in rows
    assert ["", "difference", "", "-0.100", "", ""] in rows
    command = "singtech run -m condition=late_crt_wc alpha=0.5 seed=0,1"
    assert found.missing == (("Late, cRT-WC, α = 0.5, seeds 0, 1", command),)


def test_files_are_written_and_the_same_each_time(tmp_path, sweep, collated):
    sweep()
    folder = tmp_path / "tables" / "vocalset"
    paths, _ = render(FIGURE, collated(), PAPER, "vocalset", folder)
    assert [path.name for path in paths] == ["figure3.md", "figure3.csv", "figure3.tex", "figure3.png", "figure3.pdf"]
    before = [path.read_bytes() for path in paths]
    assert before[3].startswith(b"\x89PNG")
    assert before[4].startswith(b"%PDF")
    assert b"CreationDate" not in before[4]
    render(FIGURE, collated(), PAPER, "vocalset", folder)
    assert [path.read_bytes() for path in paths] == before
    assert "](figure3.png)" in before[0].decode()
    assert before[1].decode().count("\n") == 1 + 12


def test_a_figure_without_runs_is_one_line_that_says_so(answered):
    figure = draw(answered())
    assert ([text.get_text() for text in figure.texts], figure.axes) == (["no run yet"], [])
    assert len(answered().missing) == 12


def test_a_figure_of_runs_that_do_not_count_says_how_many_and_where_the_reason_stands(sweep, put_corpus, answered):
    sweep("demo")
    clips = {("trill", "train"): (1, 1.0, 3)}
    put_corpus("demo", clips, corpus_fingerprint="new", data_fingerprint="new", settings="data=demo")
    figure = draw(answered("demo"))
    said = "no run counts yet: 22 left out, see figure3.md"
    assert ([text.get_text() for text in figure.texts], figure.axes) == ([said], [])
