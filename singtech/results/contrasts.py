"""Differences of conditions' scores with intervals and verdicts, as a table below a table's rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from singtech.metrics import heading
from singtech.results.experiments import Contrast
from singtech.results.intervals import UNDEFINED, Estimate, jackknife, over_folds
from singtech.results.pages import NONE, Table, shown_change, shown_change_interval
from singtech.results.summaries import Answer
from singtech.results.verdicts import decide_if_run, holm

if TYPE_CHECKING:
    import pandas as pd

NOTE = (
    "Each difference is paired by {pairs}. Its interval is for other singers and, with several seeds, for other "
    "trainings; p is Student's, adjusted by Holm over the lines of one metric. Negligible lies within ±{delta:g}; one "
    "seed decides nothing."
)


def contrasts_frame(answer: Answer) -> "pd.DataFrame":
    """Make a frame with one row per contrast and metric: value, low, high, seeds, p, p_holm and verdict.

    Over folds, `units` is the number of folds.
    """
    import pandas as pd

    experiment, rows = answer.experiment, []
    for metric in experiment.metrics:
        estimates = [estimate(answer, contrast, metric) for contrast in experiment.contrasts]
        adjusted = holm([each.p for each in estimates])
        for contrast, each, p in zip(experiment.contrasts, estimates, adjusted, strict=True):
            low, high = each.interval()
            verdict = decide_if_run(each, experiment.delta, float(p), len(estimates))
            numbers = {"value": each.value, "low": low, "high": high, "seeds": each.seeds, "p": each.p, "p_holm": p}
            numbers |= {"units": each.units, "unit": "folds"} if experiment.folds else {}
            rows.append({"contrast": contrast.label, "metric": metric, **numbers, "verdict": verdict})
    return pd.DataFrame(rows)


def estimate(answer: Answer, contrast: Contrast, metric: str) -> Estimate:
    """Estimate a contrast on the seeds that all of its conditions have; without predictions it has no interval."""
    signs = {**dict.fromkeys(contrast.plus, 1), **dict.fromkeys(contrast.minus, -1)}
    runs = {name: answer.runs[answer.runs["condition"] == name].set_index(["fold", "seed"]) for name in signs}
    cells = None
    for each in runs.values():
        cells = each.index if cells is None else cells.intersection(each.index)
    if cells is None or not len(cells):
        return UNDEFINED
    values: Any = sum(sign * runs[name].loc[cells, metric] for name, sign in signs.items())
    if answer.experiment.folds:
        return over_folds(values.unstack("seed").to_numpy())
    tables: list[Any] = [answer.collated.jackknife.table(metric, runs[name].loc[cells, "run"]) for name in signs]
    if any(table is None for table in tables):
        return Estimate(float(np.mean(values)), float("nan"), float("nan"), 1, len(cells))
    whole: Any = sum(sign * table for sign, table in zip(signs.values(), tables, strict=True))
    return jackknife(whole)


def contrasts_table(answer: Answer, frame: "pd.DataFrame") -> Table:
    """Print the contrasts, one line each; the first metric with interval, p and verdict, the others with values."""
    first, *others = answer.experiment.metrics
    has_folds, lines = answer.experiment.folds > 0, []
    counts = {"units": "folds", "seeds": "seeds"} if has_folds else {"seeds": "seeds"}
    for contrast in answer.experiment.contrasts:
        row = frame[(frame["contrast"] == contrast.label) & (frame["metric"] == first)].iloc[0]
        interval = shown_change_interval(row["low"], row["high"])
        is_run = row["value"] == row["value"]
        texts = [shown_change(row["value"]), interval, f"{row['p_holm']:.3f}" if is_run else NONE, row["verdict"]]
        values = frame[frame["contrast"] == contrast.label].set_index("metric")["value"]
        more = [shown_change(values[name]) for name in others]
        lines.append([contrast.label, *(str(row[name]) for name in counts), *texts, *more])
    heads = ["Difference", *counts.values(), heading(first), "95 %", "p, Holm", "verdict", *map(heading, others)]
    table = Table.of(heads, lines, title="Differences")
    note = NOTE.format(pairs="fold and seed" if has_folds else "seed", delta=answer.experiment.delta)
    return Table(table.header, table.groups, 1, table.title, note)
