"""What methods gain over plain re-training at several imbalance ratios, with the same total of training clips."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from singtech.metrics import heading, label
from singtech.results.conditions import Condition
from singtech.results.contrasts import contrasts_frame
from singtech.results.experiments import Contrast
from singtech.results.figures import SMALL, TWO_COLUMNS, blank, entitle, plot, print_style, without_runs
from singtech.results.forest_plot import forest_rows
from singtech.results.pages import Page, Table, shown, shown_change, shown_change_interval
from singtech.results.summaries import Answer

APART = 0.1  # between methods at a ratio, in steps from ratio to ratio
STYLES = (  # Okabe and Ito's colours, told apart without colour vision, and marks that differ in grey too
    *(("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")),
    *(("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X"), ("#999999", "*")),
)
NOTE = (
    "Gain: less plain re-training at the same ratio, paired by {pairs}; last column: the gain at the last ratio less "
    "that at the first. Intervals are for other singers and, with several seeds, for other trainings; p is Student's, "
    "adjusted by Holm over all gains, and over all methods in the last column. Negligible lies within ±{delta:g}; one "
    "seed decides nothing. All seeds have the same training recordings (`data.long_tail_seed`)."
)


def long_tail_page(answer: Answer) -> Page:
    """The page of a long tail. Its frame has one row per method and ratio, then one per gain, then one per growth."""
    gains = gains_frame(answer)
    ratio_of_row = {c.reference: ratio_of(c) for c in answer.experiment.conditions}
    frame = answer.frame.assign(ratio=answer.frame["condition"].map(ratio_of_row))
    ratios = answer.experiment.ratios
    headings = gains["ratio"].map("Ratio {:g}".format, na_action="ignore")
    by_ratio = gains.assign(group=headings.fillna(f"Ratio {ratios[-1]:g} − {ratios[0]:g}"))
    has_folds = answer.experiment.folds > 0
    note = NOTE.format(pairs="fold and seed" if has_folds else "seed", delta=answer.experiment.delta)
    return answer.page(
        frame=pd.concat([frame, gains.assign(data=answer.data, artefact=answer.experiment.name)]),
        tables=[_table(answer, gains)],
        figure=draw(answer, gains),
        comparisons=forest_rows(by_ratio.sort_values("ratio", kind="stable")),
        notes=[*answer.notes.values(), note],
        sweep="",
    )


def ratio_of(condition: Condition) -> float:
    """The imbalance ratio that a row sets."""
    return float(str(condition.own.values["data.long_tail"]))


def name_of(condition: Condition) -> str:
    """The label of a row without its own settings, such as its ratio."""
    return condition.label.removesuffix(f", {condition.own.words}")


def methods_of(answer: Answer) -> list[Sequence[Condition]]:
    """The rows of each method, one a ratio; plain re-training is first."""
    rows, number = answer.experiment.conditions, len(answer.experiment.ratios)
    return [rows[start : start + number] for start in range(0, len(rows), number)]


def gains_frame(answer: Answer) -> pd.DataFrame:
    """Make a frame with one row per method and ratio: its gain with interval and verdict; then one row per method: how
    much larger its gain is at the last ratio than at the first, without a ratio."""
    plain, *others = methods_of(answer)
    rows = [(own, base) for method in others for own, base in zip(method, plain, strict=True)]
    gains = [Contrast(own.label, (own.reference,), (base.reference,)) for own, base in rows]
    growth = [
        Contrast(
            f"{name_of(method[0])}: gain at {ratio_of(method[-1]):g} against at {ratio_of(method[0]):g}",
            (method[-1].reference, plain[0].reference),
            (method[0].reference, plain[-1].reference),
        )
        for method in others
    ]
    frames = []
    for contrasts, own in ((gains, [own for own, _ in rows]), (growth, [method[-1] for method in others])):
        experiment = replace(answer.experiment, contrasts=tuple(contrasts))
        frame = contrasts_frame(replace(answer, experiment=experiment))
        ratios = [ratio_of(each) if contrasts is gains else np.nan for each in own]
        frames.append(frame.assign(label=[name_of(each) for each in own], ratio=ratios))
    return pd.concat(frames, ignore_index=True)


@print_style()
def draw(answer: Answer, gains: pd.DataFrame) -> Figure:
    """The figure: the gain of each method over the ratio, with its 95 % interval; methods stand beside each other."""
    gains = gains.dropna(subset=["ratio", "value"])
    if not len(gains):
        return blank(without_runs(answer))
    ratios = list(answer.experiment.ratios)
    figure, axes = plot(TWO_COLUMNS, 3.0)
    names = list(dict.fromkeys(gains["label"]))
    axes.axhline(0, color="0.3", linewidth=0.8, zorder=1.5)
    for number, (name, of_method) in enumerate(gains.groupby("label", sort=False)):
        colour, mark = STYLES[number % len(STYLES)]
        x = of_method["ratio"].map(ratios.index).to_numpy() + APART * (number - (len(names) - 1) / 2)
        look: dict[str, Any] = {"color": colour, "zorder": 3}
        axes.plot(x, of_method["value"], linewidth=0.8, alpha=0.5, color=colour, zorder=2)
        axes.plot(x, of_method["value"], mark, label=name, markersize=4.5, **look)
        axes.vlines(x, of_method["low"], of_method["high"], linewidth=1.2, **look)
    axes.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    for edge in np.arange(len(ratios) - 1) + 0.5:
        axes.axvline(edge, color="0.9", linewidth=0.8, zorder=0)
    axes.set(xlabel="imbalance ratio of the training clips", ylabel=f"gain in {label(answer.experiment.metrics[0])}")
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    title = "bars: 95 % interval" if gains["low"].notna().any() else ""
    figure.legend(loc="outside right center", title=title, title_fontsize=SMALL)
    entitle(figure, answer)
    return figure


def _table(answer: Answer, gains: pd.DataFrame) -> Table:
    """A method a group of lines, a ratio a column."""
    (metric,) = answer.experiment.metrics
    methods, ratios = methods_of(answer), answer.experiment.ratios
    groups = [_clips(answer, methods)]
    for method in methods:
        scores = [answer.numbers.loc[(c.reference, metric)] for c in method]
        name = name_of(method[0])
        lines = [[name, heading(metric), *(shown(each["mean"], each["deviation"]) for each in scores), ""]]
        lines.append(["", f"{answer.experiment.unit}s", *(str(each["units"]) for each in scores), ""])
        of_method = gains[gains["label"] == name]
        if len(of_method):
            lines.append(["", "gain", *map(shown_change, of_method["value"])])
            lines.append(["", "95 %", *map(shown_change_interval, of_method["low"], of_method["high"])])
            ps = of_method["p_holm"].where(of_method["value"].notna())
            lines.append(["", "p, Holm", *ps.map(shown)])
            lines.append(["", "verdict", *of_method["verdict"]])
        groups.append(lines)
    columns = [f"ratio {ratio:g}" for ratio in ratios]
    return Table.of([answer.experiment.header, "", *columns, f"{ratios[-1]:g} against {ratios[0]:g}"], *groups, words=2)


def _clips(answer: Answer, methods: Sequence[Sequence[Condition]]) -> list[list[str]]:
    """The training clips of each ratio, and those of its most common and its rarest technique; means over runs."""
    totals, extremes = [], []
    for rows in zip(*methods, strict=True):
        runs = answer.runs[answer.runs["condition"].isin([row.reference for row in rows])]
        each = [[int(pair.rsplit("=", 1)[1]) for pair in text.split()] for text in runs["training_counts"] if text]
        totals.append(f"{np.mean([sum(counts) for counts in each]):.0f}" if each else "")
        means = [np.mean([pick(counts) for counts in each]) for pick in (max, min)] if each else []
        extremes.append(", ".join(f"{mean:.0f}" for mean in means))
    return [["Training clips", "all", *totals, ""], ["", "most, fewest", *extremes, ""]]
