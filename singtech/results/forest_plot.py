"""Forest plots: paired differences with their intervals, one row a comparison, told apart by verdict."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from singtech.metrics import label
from singtech.results.figures import COLOURS, COLUMN, LETTER, SMALL, TEXT, print_style
from singtech.results.intervals import NEGLIGIBLE, REFUTED, SUPPORTED, UNDECIDED

BLUE, VERMILION, GREEN, _ = COLOURS
STYLES = {SUPPORTED: (BLUE, "o"), REFUTED: (VERMILION, "X"), NEGLIGIBLE: (GREEN, "s"), UNDECIDED: ("0.45", "D")}
BOLD = 0.064  # inches: the mean width of a bold letter
LINE = 0.112  # inches: the height of a line of small text
GAP = 0.045  # inches: the space between rows
AXIS = 0.42  # inches: the height of the axis below the rows
NAMES = 0.54  # the largest share of the width that labels have
NUMBERS = 1.75  # inches: the width of printed numbers


@dataclass(frozen=True)
class ForestRow:
    """A paired difference.

    Attributes:
        label: what is compared.
        value: the mean difference, nan of a comparison that was not run.
        low, high: its 95 % interval; nan if it is not defined.
        verdict: supported, refuted, negligible, undecided or not run.
        group: the heading of the rows that it belongs to; "" for none.
        on: which singers the verdict is on, where there are two kinds: these singers, new singers.
        metric: the scores that are compared.
    """

    label: str
    value: float
    low: float
    high: float
    verdict: str
    group: str = ""
    on: str = ""
    metric: str = "f1"


def forest_rows(frame: pd.DataFrame, **columns: str) -> list[ForestRow]:
    """Make the rows of a frame of differences; leave out those that were not run, and repeated ones.

    Args:
        columns: field of `ForestRow` -> column of the frame, where it has another name.
    """
    frame = frame.rename(columns={column: field for field, column in columns.items()}).dropna(subset="value")
    names = [field.name for field in fields(ForestRow) if field.name in frame]
    return [ForestRow(**row) for row in frame[names].drop_duplicates().to_dict("records")]


@print_style()
def draw_forest(rows: Sequence[ForestRow], delta: float, width: float = COLUMN, title: str = "") -> Figure:
    """Draw comparisons that were run, the first at the top, each with its mark and 95 % interval.

    Colour and shape of a mark say the verdict. A hollow mark on a dashed line, below another, is for new singers.
    Differences in the grey band are negligible. An arrow ends an interval that goes on beyond the axis. A figure that
    is wider than a column has the numbers too.

    Args:
        rows: from `forest_rows`; at least one.
        delta: half the width of the band, as a difference of scores.
        width: of the figure, inches.
        title: stands above it, where it must say what corpus it is of.
    """
    is_wide, metrics = width > COLUMN, dict.fromkeys(row.metric for row in rows)
    singers = list(dict.fromkeys(row.on for row in rows))
    lines = _layout(rows, width, next(iter(metrics)))
    head = textwrap.wrap(title, int(width / LETTER))
    above, body = LINE * (len(head) + 0.8) if head else 0.04, lines[-1].bottom
    handles = _legend(rows, delta, singers)
    columns = len(handles) if is_wide else 3
    below = AXIS + 1.25 * LINE * -(-len(handles) // columns)
    height = above + body + below
    figure = Figure(figsize=(width, height))
    names = min(NAMES * width, 0.1 + max(LETTER * len(part) for line in lines for part in line.text))
    numbers = NUMBERS if is_wide else 0.0
    axes = figure.add_axes((names / width, below / height, 1 - (names + numbers + 0.1) / width, body / height))
    limits = _limits(rows, delta)
    axes.set(ylim=(body, 0), xlim=limits, yticks=[])
    axes.axvspan(-delta, delta, color="0.88", linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.7, zorder=1)
    for line in lines:
        text: dict[str, Any] = {"fontsize": SMALL, "va": "center", "linespacing": 1.05}
        words = "\n".join(line.text)
        if line.row is None:
            figure.text(0.01, (below + body - line.middle) / height, words, weight="bold", **text)
            continue
        axes.annotate(words, (0, line.middle), (-4, 0), ("axes fraction", "data"), "offset points", ha="right", **text)
        _draw_row(axes, line.row, line.middle, limits, is_first=line.row.on == singers[0])
        if is_wide:
            axes.annotate(
                _numbers(line.row), (1, line.middle), (8, 0), ("axes fraction", "data"), "offset points", **text
            )
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    axes.xaxis.set_major_locator(MaxNLocator(6 if is_wide else 4, min_n_ticks=3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2g}".replace("-", "−") if abs(value) > 1e-9 else "0")
    axes.set_xlabel(f"difference of {label(*metrics)}" if len(metrics) == 1 else "difference of scores", fontsize=TEXT)
    if head:
        figure.text(0.5, 1 - 0.3 * LINE / height, "\n".join(head), fontsize=SMALL, ha="center", va="top")
    look: dict[str, Any] = {"fontsize": SMALL, "frameon": False, "handletextpad": 0.4, "columnspacing": 1.0}
    figure.legend(handles=handles, loc="lower center", ncols=columns, borderaxespad=0.1, handlelength=1.6, **look)
    return figure


@dataclass(frozen=True)
class _Line:
    """A heading or a row, where it is drawn: inches from the top of the axes."""

    text: list[str]
    middle: float
    bottom: float
    row: ForestRow | None = None


def _layout(rows: Sequence[ForestRow], width: float, usual: str) -> list[_Line]:
    """Stack headings and rows; a row for new singers stands close below that on these singers."""
    lines: list[_Line] = []
    y, before = 0.0, None
    room = NAMES * width - 0.1
    for row in rows:
        if row.group and (before is None or row.group != before.group):
            text = textwrap.wrap(row.group, int(room / BOLD))
            y += GAP if lines else 0.0
            lines.append(_Line(text, y + (LINE * len(text) + GAP) / 2, y := y + LINE * len(text) + GAP))
        named = row.label + (f", {label(row.metric)}" if row.metric != usual else "")
        names = ("label", "metric", "group")
        is_repeated = before is not None and all(getattr(row, name) == getattr(before, name) for name in names)
        named = named.replace("α ", "α\u00a0").replace("= ", "=\u00a0")  # no line breaks there
        text = [""] if is_repeated else textwrap.wrap(named, int(room / LETTER), break_on_hyphens=False)
        size = 0.8 * LINE + GAP if is_repeated else LINE * len(text) + GAP
        lines.append(_Line(text, y + (0.25 * LINE if is_repeated else size / 2), y := y + size, row))
        before = row
    return lines


def _limits(rows: Sequence[ForestRow], delta: float) -> tuple[float, float]:
    """The ends of the axis: all marks, the band, and all intervals but those that reach much farther than most."""
    values = np.array([row.value for row in rows])
    ends = np.array([end for row in rows for end in (row.low, row.high)])
    ends = ends[np.isfinite(ends)]
    low, high = min(*values, -2 * delta), max(*values, 2 * delta)
    if len(ends):
        usual = 3 * np.quantile(np.abs(ends), 0.8)
        low, high = min(low, max(ends.min(), -usual)), max(high, min(ends.max(), usual))
    margin = 0.06 * (high - low)
    return float(low - margin), float(high + margin)


def _draw_row(axes: Axes, row: ForestRow, y: float, limits: tuple[float, float], is_first: bool) -> None:
    colour, mark = STYLES[row.verdict]
    if row.low == row.low:
        low, high = max(row.low, limits[0]), min(row.high, limits[1])
        style: Any = "-" if is_first else (0, (2, 1.2))
        axes.plot([low, high], [y, y], color=colour, linewidth=1.1 if is_first else 0.9, linestyle=style, zorder=2)
        for end, arrow, is_beyond in ((limits[0], "<", row.low < low), (limits[1], ">", row.high > high)):
            if is_beyond:
                axes.plot([end], [y], arrow, color=colour, markersize=3, clip_on=False, markeredgewidth=0, zorder=2)
    look: dict[str, Any] = {"markersize": 4.4, "markeredgewidth": 0.8, "markeredgecolor": colour, "zorder": 3}
    axes.plot([row.value], [y], mark, markerfacecolor=colour if is_first else "white", **look)


def _numbers(row: ForestRow) -> str:
    """The difference and its interval, as printed beside a row."""
    text = f"{row.value:+z.3f}" + (f" [{row.low:+.3f}, {row.high:+.3f}]" if row.low == row.low else "")
    return text.replace("-", "−")


def _legend(rows: Sequence[ForestRow], delta: float, singers: Sequence[str]) -> list[Any]:
    """What colours, shapes, hollow marks and the band say, of those that are drawn."""
    verdicts = {row.verdict for row in rows}
    look: dict[str, Any] = {"markersize": 4.4, "linewidth": 1.1}
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=mark, label=verdict, **look)
        for verdict, (colour, mark) in STYLES.items()
        if verdict in verdicts
    ]
    handles.append(Patch(color="0.88", label=f"within ±{delta:g}"))
    if len(singers) > 1:
        look |= {"markerfacecolor": "white", "linestyle": (0, (2, 1.2))}
        handles.append(Line2D([], [], color="0.2", marker="o", label=f"for {singers[1]}", **look))
    return handles
