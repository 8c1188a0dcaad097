"""Figure 3: macro F1 over the smoothing factor alpha for each strategy, with deviations, seeds and intervals."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from singtech.metrics import label
from singtech.results.figures import COLOURS, COLUMN, LETTER, SMALL, blank, entitle, plot, print_style, without_runs
from singtech.results.pages import Page, Table, shown, shown_change, shown_interval
from singtech.results.summaries import Answer

STYLES = tuple(zip(COLOURS, "os^D", ("-", "--", "-.", ":"), strict=True))  # differ in grey too
APART = 0.035  # in alpha: the series stand beside each other, so that their intervals do not hide one another
BAND = 5  # points: the width of the light bar that is an interval, a little less than series are apart


def curve_page(answer: Answer) -> Page:
    """The page of a figure, with its numbers as a table."""
    return answer.page(tables=[points(answer)], figure=draw(answer))


def points(answer: Answer) -> Table:
    """The figure's numbers, one column an alpha."""
    groups, alphas = [], sorted({condition.alpha for condition in answer.experiment.conditions})
    for name, series in _series(answer).items():
        series = series.set_index("alpha").reindex(alphas)
        lines = [[name, "ours", *map(shown, series["mean"], series["deviation"])]]
        if series["low"].notna().any():
            lines.append(["", "95 %", *map(shown_interval, series["low"], series["high"])])
        lines.append(["", f"{answer.experiment.unit}s", *map(str, series["units"])])
        has_paper = series["paper"].notna()
        if has_paper.any():
            lines.append(["", "paper", *np.where(has_paper, series["paper"].map(shown), "")])
            if answer.is_comparable:
                lines.append(["", "difference", *np.where(has_paper, series["difference"].map(shown_change), "")])
        groups.append(lines)
    return Table.of([answer.experiment.header, "", *(f"α = {alpha:g}" for alpha in alphas)], *groups, words=2)


@print_style()
def draw(answer: Answer) -> Figure:
    """The figure: means as lines, their 95 % intervals as light bars, seeds as faint dots, the paper's points hollow.

    A mean without an interval has ± deviation as a thin bar. A line is broken where a point is missing. The paper's
    points are left out on a corpus that it did not measure.
    """
    if not len(answer.runs):
        return blank(without_runs(answer))
    (metric,) = answer.experiment.metrics
    figure, axes = plot(COLUMN, 2.85)
    series = _series(answer)
    for number, (name, members) in enumerate(series.items()):
        shift = APART * (number - (len(series) - 1) / 2)
        _draw_series(axes, name, members.assign(x=members["alpha"] + shift), answer, _look(number))
    axes.set(xlabel="smoothing factor α", ylabel=label(metric), xlim=(-0.07, 1.07))
    axes.set_xticks(sorted({condition.alpha for condition in answer.experiment.conditions}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    handles = [Line2D([], [], label=name, **_look(number)) for number, name in enumerate(series)]
    key = textwrap.fill(_key(answer), int(COLUMN / LETTER))
    look: dict[str, Any] = {"loc": "outside lower center", "columnspacing": 1.0, "handlelength": 2.4}
    legend = figure.legend(handles=handles, title=key, title_fontsize=SMALL, ncols=min(len(series), 3), **look)
    legend.get_title().set_multialignment("center")
    entitle(figure, answer)
    return figure


def _look(number: int) -> dict[str, Any]:
    """How the line of a series looks."""
    colour, marker, line = STYLES[number % len(STYLES)]
    return {"color": colour, "marker": marker, "linestyle": line, "markersize": 3.8, "linewidth": 1.1}


def _draw_series(axes: Axes, name: str, series: pd.DataFrame, answer: Answer, style: dict[str, Any]) -> None:
    """Draw one strategy: means, intervals or deviations, the paper's points, a dot a seed where there are several."""
    colour, marker = style["color"], style["marker"]
    deviations = series["deviation"].where(series["low"].isna())
    axes.errorbar(series["x"], series["mean"], deviations, label=name, elinewidth=0.8, capsize=2, zorder=4, **style)
    known = series.dropna(subset="low")
    if len(known):
        look = {"color": colour, "alpha": 0.28, "linewidth": BAND, "capstyle": "butt", "zorder": 1.5}
        axes.vlines(known["x"], known["low"], known["high"], **look)
    several = series[series["units"] > 1].set_index("condition")["x"]
    dots = answer.runs[answer.runs["condition"].isin(several.index)]
    look = {"color": colour, "markeredgewidth": 0, "alpha": 0.5, "markersize": 3.6, "zorder": 2}
    axes.plot(dots["condition"].map(several), dots[answer.experiment.metrics[0]], ".", **look)
    printed = series.dropna(subset="paper")
    if answer.is_comparable and len(printed):
        look = {"linestyle": "", "marker": marker, "color": colour, "markerfacecolor": "white", "markersize": 6.5}
        axes.plot(printed["x"], printed["paper"], label=f"{name}, paper", markeredgewidth=1.1, zorder=3, **look)


def _key(answer: Answer) -> str:
    """What the bars and dots of a figure are, of those that it has."""
    frame = answer.frame
    has_thin_bars = (frame["deviation"].notna() & frame["low"].isna()).any()
    marks = {
        "light bars: 95 % interval of the mean": frame["low"].notna().any(),
        f"thin bars: ± deviation over {answer.experiment.unit}s": has_thin_bars,
        "dots: runs" if answer.experiment.folds else "dots: seeds": (frame["units"] > 1).any(),
        "large hollow marks: the paper": answer.is_comparable and frame["paper"].notna().any(),
    }
    return "; ".join(mark for mark, is_drawn in marks.items() if is_drawn)


def _series(answer: Answer) -> dict[str, pd.DataFrame]:
    """The frame's rows by the label that alphas share, in printed order."""
    series = {condition.reference: condition.series for condition in answer.experiment.conditions}
    return {str(name): rows for name, rows in answer.frame.groupby(answer.frame["condition"].map(series), sort=False)}
