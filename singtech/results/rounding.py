"""How much rounding alone moves a score, beside other seeds and other singers.

Training is chaotic: a change of the initial weights by 1e-7, as small as rounding's, ends in other weights. A
difference that is not larger than this floor says nothing about the methods that it compares.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from singtech.metrics import heading, label
from singtech.results.commands import command_end, sweep
from singtech.results.conditions import against
from singtech.results.experiments import Experiment
from singtech.results.pages import Page, Table, shown, shown_change, shown_ratio
from singtech.results.summaries import OF_ROUNDING, Answer, correlation, pooled_deviation

KEPT = ("settings", "over folds", "left out", "circumstances")  # kinds of notes that apply to deviations
COLUMNS = ("runs", "seeds", "degrees", "mean", "rounding", "seed", "singers")
NOTE = (
    "Rounding: standard deviation over perturbed initial weights at one seed, pooled over seeds. Seeds: standard "
    "deviation over seeds, which contains rounding's. Singers: standard error of one network's score for other "
    "singers, by the jackknife. Correlation: of two conditions' scores over seeds; pairing helps if it is high."
)
OVER_FOLDS = (
    "Rounding: standard deviation over perturbed initial weights at one fold and seed, pooled over folds and seeds. "
    "Seeds: standard deviation over seeds, pooled over folds, which contains rounding's. Folds: standard error of the "
    "mean over folds, each the mean of its seeds, which contains a part of training's. Correlation: of two conditions' "
    "scores over folds; pairing helps if it is high."
)


def rounding_page(answer: Answer) -> Page:
    """The page of the rounding floor. Its frame has one row per condition and metric, then one per difference."""
    experiment = answer.experiment
    everything = pd.concat([answer.runs, answer.perturbed])
    frame = deviations(answer, everything)
    changes = changes_frame(answer, everything)
    lacking = [c for c in experiment.conditions if c.reference not in set(answer.perturbed["condition"])]
    end = command_end(answer.collated, answer.data, experiment.folds, answer.group)
    command = sweep(experiment, end, sorted(set(answer.runs["seed"])) or [0])
    missing = [*answer.missing, *((f"{c.label}, perturbed", command) for c in lacking)]
    columns = ["data", "artefact", "condition", "label", "metric", *COLUMNS, "difference", "correlation"]
    whole = pd.concat([frame, changes]).assign(data=answer.data, artefact=experiment.name).reindex(columns=columns)
    return answer.page(
        frame=whole,
        lead=[sentence(experiment, everything, frame)] if len(answer.perturbed) else [],
        tables=_tables(answer, frame, changes),
        notes=[
            *(note for kind, note in answer.notes.items() if kind in KEPT),
            OVER_FOLDS if experiment.folds else NOTE,
        ],
        missing=missing,
        runs=tuple(everything["run"]),
        progress="complete" if not missing else f"lacks {missing[0][0]}",
    )


def deviations(answer: Answer, runs: pd.DataFrame) -> pd.DataFrame:
    """Make a frame with the deviations of each condition and metric.

    Args:
        runs: with and without perturbed weights.
    """
    rows = []
    for condition in answer.experiment.conditions:
        members, plain = runs[runs["condition"] == condition.reference], answer.runs_of(condition)
        for metric in answer.experiment.metrics:
            rounding, degrees = pooled_deviation(members, metric, OF_ROUNDING)
            numbers = [len(members), plain["seed"].nunique(), degrees, members[metric].mean(), rounding]
            numbers += [pooled_deviation(plain, metric, ["fold"])[0], singers_error(answer, plain, metric)]
            rows.append([condition.reference, condition.label, metric, *numbers])
    return pd.DataFrame(rows, columns=["condition", "label", "metric", *COLUMNS])


def singers_error(answer: Answer, runs: pd.DataFrame, metric: str) -> float:
    """Compute the standard error of one network's score for other singers; over folds, that of the mean of folds."""
    if answer.experiment.folds:
        return float(runs.groupby("fold")[metric].mean().sem())
    errors = [answer.collated.jackknife.estimate(metric, [run]).error for run in runs["run"]]
    return float(np.mean(errors)) if errors else np.nan


def changes_frame(answer: Answer, runs: pd.DataFrame) -> pd.DataFrame:
    """Make a frame with the difference of each condition from the baseline, and how rounding and seeds move it."""
    experiment, rows = answer.experiment, []
    base = runs[runs["condition"] == experiment.baseline]
    for condition in experiment.conditions:
        members = runs[runs["condition"] == condition.reference]
        if condition.reference == experiment.baseline or not len(members) or not len(base):
            continue
        for metric in experiment.metrics:
            sides = [each.set_index(["fold", "seed", "rounding"])[metric] for each in (members, base)]
            paired = (sides[0] - sides[1]).dropna().rename(metric).reset_index()
            rounding, degrees = pooled_deviation(paired, metric, ["fold", "seed"])
            own, other = (each[each["rounding"] == 0].set_index(["fold", "seed"])[metric] for each in (members, base))
            both = pd.concat([own, other], axis=1).dropna()
            cells = (own - other).dropna().rename(metric).reset_index()
            seeds, _ = pooled_deviation(cells, metric, ["fold"])
            numbers = [len(paired), cells["seed"].nunique(), degrees, np.nan, rounding, seeds, np.nan]
            label = against(condition, next(c for c in experiment.conditions if c.reference == experiment.baseline))
            rows.append([condition.reference, label, metric, *numbers, paired[metric].mean(), correlation(both)])
    columns = ["condition", "label", "metric", *COLUMNS, "difference", "correlation"]
    return pd.DataFrame(rows, columns=columns)


def sentence(experiment: Experiment, runs: pd.DataFrame, frame: pd.DataFrame) -> str:
    """Write the floor in one sentence."""
    metric = experiment.metrics[0]
    rounding, degrees = pooled_deviation(runs, metric, OF_ROUNDING)
    of_metric = frame[frame["metric"] == metric]
    words = f"Rounding alone moves {label(metric)} by ± {rounding:.3f} ({degrees} degrees of freedom)"
    others = "the mean over other folds" if experiment.folds else "other test singers"
    for column, name in (("seed", "another seed"), ("singers", others)):
        if of_metric[column].notna().any():
            words += f", {name} by ± {np.sqrt((of_metric[column] ** 2).mean()):.3f}"
    return f"{words}: a smaller difference of single runs says little."


def _tables(answer: Answer, frame: pd.DataFrame, changes: pd.DataFrame) -> list[Table]:
    """The deviations of each condition; below them those of each difference, where there are some."""

    def lines(frame: pd.DataFrame, **columns: Callable[[float], str]) -> list[list[str]]:
        rows = []
        for row in frame.to_dict("records"):
            names = [row["label"] if row["metric"] == answer.experiment.metrics[0] else "", heading(row["metric"])]
            numbers = [show(row[name]) for name, show in columns.items()]
            rows.append([*names, str(row["seeds"]), str(row["runs"]), *numbers])
        return rows

    singers = "± folds" if answer.experiment.folds else "± singers"
    heads = [answer.experiment.header, "", "Seeds", "Runs", "mean", "± rounding", "± seeds", singers]
    tables = [Table.of(heads, lines(frame, mean=shown, rounding=shown, seed=shown, singers=shown), words=2)]
    if len(changes):
        heads = ["Difference", "", "Seeds", "Pairs", "mean", "± rounding", "± seeds", "correlation"]
        of_changes = lines(changes, difference=shown_change, rounding=shown, seed=shown, correlation=shown_ratio)
        tables.append(Table.of(heads, of_changes, words=2, title="Differences, paired by seed and perturbation"))
    return tables
