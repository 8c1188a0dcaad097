"""Section 5.3: which techniques are taken for which, as shares of each true technique's clips."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.collate import CONFUSIONS, Collated, csv_text
from singtech.results.commands import tables
from singtech.results.experiments import Experiment, Published
from singtech.results.figures import blank, entitle, picture, save, without_runs
from singtech.results.pages import Line, document, latex_table, pipes, shown, shown_interval, tabular
from singtech.results.resampling import Draws, interval_of, weighted_shares
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, answer, in_order, printed
from singtech.results.tables import write_texts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ELSE = "anything else"


def render_confusion(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write the techniques in question as a table (`<name>.md`, `.tex`), all of them as a figure (`.png`, `.pdf`) and
    as `.csv`; the paths written and the answer."""
    found = answer(experiment, collated, data, group)
    runs = found.summaries[0].runs
    techniques, shares = confusion(collated.confusions, runs)
    if len(shares) < len(runs):
        lacking = f"{len(runs) - len(shares)} of {len(runs)} runs in {CONFUSIONS}, where they were made"
        found = replace(found, missing=(*found.missing, (lacking, tables(collated))))
    draws = drawn(collated.draws, runs, techniques)
    header, groups = among(found, techniques, shares, draws)
    table = pipes(header, [line for group in groups for line in group], left=2) if groups else ""
    texts = {"md": document(found, table, picture(found)), "csv": long_form(found, techniques, shares, draws)}
    if groups:
        texts["tex"] = latex_table(found, tabular(header, groups, left=2))
    paths = write_texts(folder / experiment.name, texts)
    return paths + save(draw(found, techniques, shares), folder / experiment.name), found


def confusion(confusions: "pd.DataFrame", runs: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """The K techniques of the runs, and (R, K, K) the share of each true technique (rows) taken for each in each run.

    A technique without a test clip has shares of nan.
    """
    confusions = confusions[confusions["run"].isin(runs)]
    techniques = in_order({*confusions["technique"], *confusions["predicted"]})
    number = {name: k for k, name in enumerate(techniques)}
    known = set(confusions["run"])
    place = {run: r for r, run in enumerate(run for run in runs if run in known)}
    counts = np.zeros((len(place), len(techniques), len(techniques)))
    for run, technique, predicted, clips in confusions.itertuples(index=False):
        counts[place[run], number[technique], number[predicted]] += clips
    clips = counts.sum(axis=2, keepdims=True)
    return techniques, np.divide(counts, clips, out=np.full_like(counts, np.nan), where=clips > 0)


def drawn(draws: Draws, runs: tuple[str, ...], techniques: list[str]) -> list[np.ndarray]:
    """Of each run the (draws, K, K) shares on resampled clips; none where the predictions of a run are not here."""
    found = []
    for run in runs:
        predictions = draws.predictions(run)
        if predictions is None or not set(techniques) <= set(predictions.techniques):
            return []
        order = [predictions.techniques.index(name) for name in techniques]
        found.append(weighted_shares(predictions, draws.weights_of(predictions.clips))[:, order][:, :, order])
    return found


def among(
    found: Answer, techniques: list[str], shares: np.ndarray, draws: list[np.ndarray]
) -> tuple[Line, list[list[Line]]]:
    """Of the techniques in question, how many clips are taken for each of them and for anything else; below it the
    95 % intervals, where there are draws."""
    named = [name for name in found.experiment.techniques if name in techniques]
    numbers = [techniques.index(name) for name in named]

    def columns(each: np.ndarray) -> list[np.ndarray]:  # (R, techniques in question)
        return [*each.T, 1 - each.sum(axis=1)]

    groups = []
    for name, k in zip(named, numbers, strict=True):
        groups.append([[printed(name), "", *map(_mean_and_deviation, columns(shares[:, k, numbers]))]])
        if draws:
            each = zip(*(columns(run[:, k, numbers]) for run in draws), strict=True)
            groups[-1].append(["", "95 %", *(shown_interval(interval_of([runs])) for runs in each)])
    return [found.experiment.header, "", *map(printed, named), ELSE], groups


def long_form(found: Answer, techniques: list[str], shares: np.ndarray, draws: list[np.ndarray]) -> str:
    """Every pair of techniques: mean and deviation of the share over the runs, its 95 % interval from low to high."""
    words = [found.data, found.experiment.name, found.summaries[0].condition.label]
    lines = []
    for k, technique in enumerate(techniques):
        for j, predicted in enumerate(techniques):
            values = shares[:, k, j]
            between = interval_of([[run[:, k, j] for run in draws]]) if draws else None
            numbers = [values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan, *(between or (np.nan, np.nan))]
            rounded = ["" if np.isnan(number) else round(float(number), 6) for number in numbers]
            lines.append([*words, technique, predicted, *rounded, len(values)])
    header = ["data", "artefact", "label", "technique", "predicted", "share", "deviation", "low", "high", "seeds"]
    return csv_text(header, lines)


def draw(found: Answer, techniques: list[str], shares: np.ndarray) -> "Figure":
    """The figure: the mean share over the runs in every field, those in question bold."""
    from matplotlib.figure import Figure

    if not len(shares):
        return blank(f"not in {CONFUSIONS}, see {found.experiment.name}.md" if found.made else without_runs(found))
    size = 2.6 + 0.44 * max(len(techniques), 4)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    entitle(figure, found)
    mean = shares.mean(axis=0)
    image = axes.imshow(mean, cmap="Blues", vmin=0, vmax=1)
    for (k, j), share in np.ndenumerate(mean):
        if share >= 0.005:
            text = f"{100 * share:.0f}"
            axes.text(j, k, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black")
    names = list(map(printed, techniques))
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, name in zip(labels, techniques, strict=True):
            label.set_fontweight("bold" if name in found.experiment.techniques else "normal")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("percent of the true technique's clips")
    bar.ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
    return figure


def _mean_and_deviation(values: np.ndarray) -> str:
    if not len(values) or np.isnan(values).any():
        return shown(None)
    return shown(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None)
