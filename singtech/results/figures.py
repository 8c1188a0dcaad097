"""Figure 3: macro F1 over the smoothing factor alpha for each strategy, with its spread over seeds (PNG, PDF)."""

import textwrap
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from singtech.files import atomic_path, write_text
from singtech.results.experiments import Published
from singtech.results.summaries import Answer, Summary
from singtech.results.tables import document, long_form, pipes, printed_value, shown, shown_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart without colour vision; in grey, marker and line tell the series apart.
STYLES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."), ("#CC79A7", "D", ":"))
APART = 0.022  # in alpha: the series stand beside each other, so that their error bars do not hide one another
UNDATED = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def render_figure(answer: Answer, published: Published, folder: Path) -> list[Path]:
    """Write a figure as `<name>.png` and `.pdf`, its numbers as `.csv` and as a captioned `.md`; the paths written.

    The same results give the same bytes.
    """
    import matplotlib

    name = answer.experiment.name
    paths = [folder / f"{name}.{suffix}" for suffix in ("md", "csv", "png", "pdf")]
    write_text(paths[0], document(answer, f"![{answer.title}]({name}.png)", points(answer, published)))
    write_text(paths[1], long_form(answer, published))
    figure = draw(answer, published)
    for path, (kind, metadata) in zip(paths[2:], UNDATED.items(), strict=True):
        with atomic_path(path) as temporary, matplotlib.rc_context({"pdf.fonttype": 42}):
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
    return paths


def points(answer: Answer, published: Published) -> str:
    """The figure's numbers as a Markdown table, one column an alpha."""
    (metric,) = answer.experiment.metrics
    alphas = sorted({condition.alpha for condition in answer.experiment.conditions})
    lines = []
    for label, summaries in _series(answer).items():
        at = {summary.condition.alpha: summary for summary in summaries}
        there = [at.get(alpha) for alpha in alphas]
        ours = [summary and summary.mean(metric) for summary in there]
        paper = [summary and printed_value(answer, published, summary.condition, metric) for summary in there]
        deviations = [summary and summary.deviation(metric) for summary in there]
        lines.append([label, "ours", *map(shown, ours, deviations)])
        lines.append(["", "seeds", *(str(len(summary.seeds)) if summary else "" for summary in there)])
        if any(value is not None for value in paper):
            lines.append(["", "paper", *("" if value is None else shown(value) for value in paper)])
            if answer.is_comparable:
                pairs = zip(ours, paper, strict=True)
                lines.append(["", "difference", *("" if p is None else shown_difference(o, p) for o, p in pairs)])
    return pipes([answer.experiment.header, "", *(f"α = {alpha:g}" for alpha in alphas)], lines, left=2)


def draw(answer: Answer, published: Published) -> "Figure":
    """The figure: means as lines, ± deviation as bars, seeds as faint dots, the paper's printed points hollow.

    A line is broken where a point is missing. The paper's points are left out on a corpus that it did not measure.
    """
    from matplotlib.figure import Figure

    ((metric, heading),) = answer.experiment.metrics.items()
    figure = Figure(figsize=(5.2, 3.7), layout="constrained")
    axes = figure.subplots()
    series = _series(answer)
    for k, (label, summaries) in enumerate(series.items()):
        shift = APART * (k - (len(series) - 1) / 2)
        _draw_series(axes, label, summaries, metric, shift, STYLES[k % len(STYLES)])
        if answer.is_comparable:
            _mark_published(axes, answer, published, summaries, metric, shift, STYLES[k % len(STYLES)])
    axes.set(xlabel="smoothing factor α", ylabel=heading, xlim=(-0.06, 1.06))
    axes.set_xticks(sorted({condition.alpha for condition in answer.experiment.conditions}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    order = [name for label in series for name in (label, _paper(label))]  # column by column: ours, the paper's
    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda entry: order.index(entry[1]))
    figure.legend(*zip(*entries, strict=True), loc="outside lower center", ncols=len(series), frameon=False, fontsize=9)
    if not answer.is_comparable:
        figure.suptitle("\n".join(textwrap.wrap(answer.title, 72)), fontsize=9)
    if not any(summary.seeds for summary in answer.summaries):
        axes.text(0.5, 0.5, "no run yet", transform=axes.transAxes, ha="center", color="0.4")
    return figure


def _draw_series(
    axes: "Axes", label: str, summaries: Sequence[Summary], metric: str, shift: float, style: tuple[str, str, str]
) -> None:
    """One strategy: its means and deviations over alpha, and a faint dot a seed where there are several."""
    colour, marker, line = style
    alphas = [summary.condition.alpha + shift for summary in summaries]
    means = [_or_nan(summary.mean(metric)) for summary in summaries]
    spread = [_or_nan(summary.deviation(metric)) for summary in summaries]
    axes.errorbar(
        *(alphas, means, spread),
        **{"label": label, "color": colour, "marker": marker, "linestyle": line},
        **{"markersize": 5, "linewidth": 1.4, "elinewidth": 1, "capsize": 3, "zorder": 3},
    )
    for alpha, summary in zip(alphas, summaries, strict=True):
        if len(summary.seeds) > 1:
            values = summary.values[metric]
            beside = [alpha + 0.4 * APART] * len(values)
            axes.plot(beside, values, ".", color=colour, markeredgewidth=0, alpha=0.45, markersize=6, zorder=2)


def _mark_published(
    axes: "Axes",
    answer: Answer,
    published: Published,
    summaries: Sequence[Summary],
    metric: str,
    shift: float,
    style: tuple[str, str, str],
) -> None:
    """The paper's printed points of one strategy, in its colour and marker, hollow."""
    printed = [(s.condition.alpha + shift, printed_value(answer, published, s.condition, metric)) for s in summaries]
    known = [(alpha, value) for alpha, value in printed if value is not None]
    if known:
        hollow = {"linestyle": "", "marker": style[1], "color": style[0], "markerfacecolor": "none", "markersize": 10}
        label = _paper(summaries[0].condition.label)
        axes.plot(*zip(*known, strict=True), label=label, markeredgewidth=1.2, zorder=4, **hollow)


def _series(answer: Answer) -> dict[str, list[Summary]]:
    """The summaries by label, in printed order."""
    labels = dict.fromkeys(condition.label for condition in answer.experiment.conditions)
    return {label: [s for s in answer.summaries if s.condition.label == label] for label in labels}


def _paper(label: str) -> str:
    return f"{label}, paper"


def _or_nan(number: float | None) -> float:
    return nan if number is None else number
