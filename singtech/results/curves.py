"""Figure 3: macro F1 over the smoothing factor alpha for each strategy, with its spread over seeds and its interval."""

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from singtech.metrics import label
from singtech.results.collate import Collated
from singtech.results.experiments import Experiment, Published
from singtech.results.figures import COLOURS, blank, entitle, picture, save, without_runs
from singtech.results.pages import document, pipes, shown, shown_change, shown_interval
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, Summary, answer
from singtech.results.tables import long_form, printed_value, write_texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = tuple(zip(COLOURS, "os^D", ("-", "--", "-.", ":"), strict=True))  # apart in grey too
APART = 0.028  # in alpha: the series stand beside each other, so that their error bars do not hide one another
BAND = 6  # points: the width of the light bar that is an interval, a little less than series are apart


def render_curve(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write a figure as `<name>.png` and `.pdf`, its numbers as `.csv` and as a captioned `.md`; the paths written
    and the answer.

    The same results give the same bytes.
    """
    found = answer(experiment, collated, data, group)
    page = document(found, picture(found), points(found, published))
    paths = write_texts(folder / experiment.name, {"md": page, "csv": long_form(found, published)})
    return paths + save(draw(found, published), folder / experiment.name), found


def points(found: Answer, published: Published) -> str:
    """The figure's numbers as a Markdown table, one column an alpha."""
    (metric,) = found.experiment.metrics
    alphas = sorted({condition.alpha for condition in found.experiment.conditions})
    lines = []
    for name, summaries in _series(found).items():
        at = {summary.condition.alpha: summary for summary in summaries}
        there = [at.get(alpha) for alpha in alphas]
        ours = [summary and summary.mean(metric) for summary in there]
        paper = [summary and printed_value(found, published, summary.condition, metric) for summary in there]
        deviations = [summary and summary.deviation(metric) for summary in there]
        lines.append([name, "ours", *map(shown, ours, deviations)])
        if any(summary and summary.intervals for summary in there):
            lines.append(["", "95 %", *(shown_interval(s.interval(metric)) if s else "" for s in there)])
        lines.append(["", "seeds", *(str(len(summary.units)) if summary else "" for summary in there)])
        if any(value is not None for value in paper):
            lines.append(["", "paper", *("" if value is None else shown(value) for value in paper)])
            if found.is_comparable:
                pairs = zip(ours, paper, strict=True)
                lines.append(["", "difference", *(_difference(o, p) for o, p in pairs)])
    return pipes([found.experiment.header, "", *(f"α = {alpha:g}" for alpha in alphas)], lines, left=2)


def draw(found: Answer, published: Published) -> "Figure":
    """The figure: means as lines, ± deviation as thin bars, seeds as faint dots, the paper's printed points hollow.

    A broad light bar is the 95 % interval of a mean, where there is one. A line is broken where a point is missing.
    The paper's points are left out on a corpus that it did not measure.
    """
    from matplotlib.figure import Figure

    if not found.made:
        return blank(without_runs(found))
    (metric,) = found.experiment.metrics
    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axes = figure.subplots()
    series = _series(found)
    for k, (name, summaries) in enumerate(series.items()):
        shift = APART * (k - (len(series) - 1) / 2)
        _draw_series(axes, name, summaries, metric, shift, STYLES[k % len(STYLES)])
        if found.is_comparable:
            _mark_published(axes, found, published, summaries, metric, shift, STYLES[k % len(STYLES)])
    axes.set(xlabel="smoothing factor α", ylabel=label(metric), xlim=(-0.07, 1.07))
    axes.set_xticks(sorted({condition.alpha for condition in found.experiment.conditions}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    order = [entry for name in series for entry in (name, _paper(name))]  # column by column: ours, the paper's
    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda entry: order.index(entry[1]))
    how = {"loc": "outside lower center", "ncols": len(series), "frameon": False, "fontsize": 9, "title_fontsize": 8}
    figure.legend(*zip(*entries, strict=True), title=_key(found.summaries, metric), **how)
    entitle(figure, found)
    return figure


def _draw_series(
    axes: "Axes", name: str, summaries: Sequence[Summary], metric: str, shift: float, style: tuple[str, str, str]
) -> None:
    """One strategy: its means, deviations and intervals over alpha, and a faint dot a seed where there are several."""
    colour, marker, line = style
    alphas = [summary.condition.alpha + shift for summary in summaries]
    means = [_or_nan(summary.mean(metric)) for summary in summaries]
    spread = [_or_nan(summary.deviation(metric)) for summary in summaries]
    axes.errorbar(
        *(alphas, means, spread),
        **{"label": name, "color": colour, "marker": marker, "linestyle": line},
        **{"markersize": 5, "linewidth": 1.4, "elinewidth": 1, "capsize": 3, "zorder": 3},
    )
    known = [(alpha, *low_high) for alpha, s in zip(alphas, summaries, strict=True) if (low_high := s.interval(metric))]
    if known:
        axes.vlines(*zip(*known, strict=True), color=colour, alpha=0.28, linewidth=BAND, capstyle="butt", zorder=1.5)
    for alpha, summary in zip(alphas, summaries, strict=True):
        if len(summary.units) > 1:
            values = summary.values[metric]
            beside = [alpha + 0.3 * APART] * len(values)
            axes.plot(beside, values, ".", color=colour, markeredgewidth=0, alpha=0.45, markersize=6, zorder=2)


def _key(summaries: Sequence[Summary], metric: str) -> str:
    """What the bars and dots of a figure are, of those that it has."""
    marks = {
        "broad light bars: 95 % interval of the mean": any(s.interval(metric) for s in summaries),
        "thin bars: ± deviation over seeds": any(s.deviation(metric) is not None for s in summaries),
        "dots: seeds": any(len(s.units) > 1 for s in summaries),
    }
    return "; ".join(mark for mark, is_drawn in marks.items() if is_drawn)


def _mark_published(
    axes: "Axes",
    found: Answer,
    published: Published,
    summaries: Sequence[Summary],
    metric: str,
    shift: float,
    style: tuple[str, str, str],
) -> None:
    """The paper's printed points of one strategy, in its colour and marker, hollow."""
    printed = [(s.condition.alpha + shift, printed_value(found, published, s.condition, metric)) for s in summaries]
    known = [(alpha, value) for alpha, value in printed if value is not None]
    if known:
        hollow = {"linestyle": "", "marker": style[1], "color": style[0], "markerfacecolor": "none", "markersize": 10}
        name = _paper(summaries[0].condition.series)
        axes.plot(*zip(*known, strict=True), label=name, markeredgewidth=1.2, zorder=4, **hollow)


def _series(found: Answer) -> dict[str, list[Summary]]:
    """The summaries by the label that their alphas share, in printed order."""
    names = dict.fromkeys(condition.series for condition in found.experiment.conditions)
    return {name: [s for s in found.summaries if s.condition.series == name] for name in names}


def _difference(ours: float | None, paper: float | None) -> str:
    """Ours less the paper's; nothing where the paper prints nothing."""
    return "" if paper is None else shown_change(None if ours is None else ours - paper)


def _paper(name: str) -> str:
    return f"{name}, paper"


def _or_nan(number: float | None) -> float:
    return nan if number is None else number
