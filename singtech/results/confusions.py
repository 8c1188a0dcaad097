"""Section 5.3: which techniques are taken for which, as shares of each true technique's clips."""

import textwrap
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singtech.results.breakdown import POOLED, predictions_of
from singtech.results.collate import CONFUSIONS
from singtech.results.commands import tables
from singtech.results.figures import LETTER, SMALL, blank, entitle, plot, print_style, width_for, without_runs
from singtech.results.intervals import UNDEFINED, jackknife, without_each
from singtech.results.jackknife import singing
from singtech.results.pages import Page, Table, shown, shown_interval
from singtech.results.predictions import Predictions
from singtech.results.summaries import Answer, in_order, printed

LABELS = 0.75  # inches beside and below the fields
ELSE = "anything else"
STATISTICS = ("share", "deviation", "low", "high")


def confusion_page(answer: Answer) -> Page:
    """The page of a confusion: the experiment's techniques as a table, all of them as a figure and in its frame."""
    runs, missing = list(answer.runs["run"]), list(answer.missing)
    (condition,) = answer.experiment.conditions
    known, confusions = set(answer.collated.confusions["run"]), answer.collated.confusions
    if lacking := sum(run not in known for run in runs):
        what = f"{lacking} of {len(runs)} runs in {CONFUSIONS}, where they were made"
        missing.append((what, tables(answer.collated)))
    notes = dict(answer.notes)
    if answer.experiment.folds:
        members = answer.runs[answer.runs["run"].isin(known)].set_index("run")["seed"]
        runs = [seed for seed, count in members.value_counts(sort=False).items() if count == answer.experiment.folds]
        confusions = confusions.assign(run=confusions["run"].map(members))
        notes = {kind: note for kind, note in notes.items() if kind not in ("interval", "folds")} | {"pooled": POOLED}
    techniques, shares = confusion(confusions, runs)
    without = without_each_unit(predictions_of(answer).get(condition.label, []), len(shares), techniques)
    frame = statistics(shares, without, techniques, techniques)
    words = {"data": answer.data, "artefact": answer.experiment.name, "label": condition.label}
    return answer.page(
        frame=frame.assign(**words, units=len(shares))[[*words, "technique", "predicted", *STATISTICS, "units"]],
        tables=_tables(answer, techniques, shares, without),
        missing=missing,
        notes=list(notes.values()),
        figure=draw(answer, techniques, shares),
    )


def confusion(confusions: pd.DataFrame, runs: Sequence[Hashable]) -> tuple[list[str], np.ndarray]:
    """The K techniques of the runs, and (R, K, K) the share of each true technique (rows) taken for each in each run.

    A technique without a test clip has shares of nan.
    """
    confusions = confusions[confusions["run"].isin(runs)]
    techniques = in_order({*confusions["technique"], *confusions["predicted"]})
    known = set(confusions["run"])
    runs = [run for run in runs if run in known]
    counts = np.zeros((len(runs), len(techniques), len(techniques)))
    pairs = [confusions[column].map(techniques.index) for column in ("technique", "predicted")]
    np.add.at(counts, (confusions["run"].map(runs.index), *pairs), confusions["clips"])
    clips = counts.sum(axis=2, keepdims=True)
    return techniques, np.divide(counts, clips, out=np.full_like(counts, np.nan), where=clips > 0)


def without_each_unit(runs: Sequence[Predictions], number: int, techniques: list[str]) -> list[np.ndarray]:
    """Of each true technique the (1 + n, K, R) shares of R runs, with all singers and without each who sings it (over
    folds: each fold); none where a run lacks its predictions.

    Args:
        number: R.
    """
    each: list[list[np.ndarray]] = [[] for _ in techniques]
    if len(runs) < number:
        return []
    for predictions in runs:
        if not set(techniques) <= set(predictions.techniques):
            return []
        order = [predictions.techniques.index(name) for name in techniques]
        weights = without_each(predictions.units)
        shares, has_part = predictions.shares(weights), singing(predictions, weights)
        for of_runs, k in zip(each, order, strict=True):
            of_runs.append(shares[has_part[:, k], k][:, order])
    return [np.stack(of_runs, axis=2) for of_runs in each]


def statistics(
    shares: np.ndarray, without: list[np.ndarray], techniques: list[str], predicted: list[str]
) -> pd.DataFrame:
    """Mean and deviation of each share over the runs, and its 95 % interval: one row a pair of techniques.

    Args:
        shares: (R, K, M) of the K techniques and what they are taken for.
        without: of each of the K techniques (1 + n, M, R), with all singers and without each.
    """
    index = pd.MultiIndex.from_product([techniques, predicted], names=["technique", "predicted"])
    values = pd.DataFrame(shares.reshape(len(shares), len(index)).T, index)
    frame = pd.DataFrame({"share": values.mean(axis=1), "deviation": values.std(axis=1)}, index)
    estimates = [jackknife(each[:, j]) for each in without for j in range(len(predicted))]
    frame[["low", "high"]] = np.reshape([each.interval() for each in estimates or [UNDEFINED] * len(index)], (-1, 2))
    return frame.reset_index()


@print_style()
def draw(answer: Answer, techniques: list[str], shares: np.ndarray) -> Figure:
    """The figure: the mean share over the runs in every field, the experiment's techniques bold.

    A technique without test clips has a column, and no row.
    """
    if not len(shares):
        is_elsewhere = len(answer.runs) > 0
        return blank(f"not in {CONFUSIONS}, see {answer.experiment.name}.md" if is_elsewhere else without_runs(answer))
    mean = shares.mean(axis=0)
    rows = sung(techniques, mean)
    width = width_for(len(techniques))
    field = (width - LABELS) / max(len(techniques), 4)
    figure, axes = plot(width, LABELS + 0.25 + min(field, 0.3) * max(len(rows), 4))
    entitle(figure, answer)
    draw_shares(axes, techniques, mean)
    for labels, names in ((axes.get_xticklabels(), techniques), (axes.get_yticklabels(), rows)):
        for label, name in zip(labels, names, strict=True):
            label.set_fontweight("bold" if name in answer.experiment.techniques else "normal")
    if not_rows := [printed(name) for name in techniques if name not in rows]:
        figure.supxlabel(textwrap.fill(f"no test clips: {', '.join(not_rows)}", int(width / LETTER)), fontsize=SMALL)
    return figure


def sung(techniques: Sequence[str], shares: np.ndarray) -> list[str]:
    """List the techniques with test clips; the rows of the others in (K, K) shares are nan."""
    return [name for name, row in zip(techniques, shares, strict=True) if not np.isnan(row).all()]


def draw_shares(axes: Axes, techniques: Sequence[str], shares: np.ndarray) -> None:
    """Draw (K, K) shares of each true technique's clips, in percent, without the rows that are nan."""
    rows = sung(techniques, shares)
    shares = shares[[name in rows for name in techniques]]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (true, named), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = "white" if share > 0.55 else "black"
            axes.text(named, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=SMALL, color=colour)
    axes.set_xticks(range(len(techniques)), map(printed, techniques), rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), map(printed, rows))
    axes.set(xlabel="predicted, % of the true technique's clips", ylabel="true")
    axes.set_xticks(np.arange(len(techniques) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(True)


def _tables(answer: Answer, techniques: list[str], shares: np.ndarray, without: list[np.ndarray]) -> list[Table]:
    """How many clips of the experiment's techniques are taken for each of them and for anything else; none without
    these techniques."""
    names = [name for name in answer.experiment.techniques if name in techniques]
    if not names:
        return []
    numbers = [techniques.index(name) for name in names]

    def among(each: np.ndarray, axis: int) -> np.ndarray:  # K predicted techniques to names and anything else
        each = each.take(numbers, axis)
        return np.concatenate([each, 1 - each.sum(axis=axis, keepdims=True)], axis)

    of_names = [among(without[number], 1) for number in numbers if without]
    frame = statistics(among(shares[:, numbers], 2), of_names, names, [*names, ELSE])
    groups = []
    for name, row in frame.groupby("technique", sort=False):
        lines = [[printed(str(name)), "", *map(shown, row["share"], row["deviation"])]]
        lines += [["", "95 %", *map(shown_interval, row["low"], row["high"])]] if row["low"].notna().any() else []
        groups.append(lines)
    return [Table.of([answer.experiment.header, "", *map(printed, names), ELSE], *groups, words=2)]
