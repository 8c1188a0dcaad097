"""Differences of conditions' scores with intervals and verdicts, as a table below a table's rows."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from singtech.metrics import heading
from singtech.results.experiments import Contrast
from singtech.results.intervals import UNDECIDED, UNDEFINED, Estimate, jackknife, over_folds
from singtech.results.pages import NONE, Table, shown_change, shown_change_interval, shown_ratio
from singtech.results.summaries import Answer, correlation
from singtech.results.verdicts import by_seed, judge, needed_units

NOTE = (
    "Each difference is paired by {pairs}. Its interval is for other singers and, with several seeds, for other "
    "trainings; p is Student's, adjusted by Holm over the lines of one metric, run or not. Negligible lies within "
    "±{delta:g}; one seed decides nothing. Correlation: of the two sides' scores over {unit}s; pairing helps if it is "
    "high."
)


def contrasts_frame(answer: Answer) -> pd.DataFrame:
    """Make a frame with one row per contrast and metric: value, low, high, seeds, p, p_holm, verdict, correlation.

    Over folds, `units` is the number of folds.
    """
    experiment, rows = answer.experiment, []
    for metric in experiment.metrics:
        estimates = [estimate(answer, contrast, metric) for contrast in experiment.contrasts]
        for contrast, verdict in zip(experiment.contrasts, judge(estimates, experiment.delta), strict=True):
            numbers = {name: getattr(verdict, name) for name in ("low", "high", "seeds", "p", "p_holm")}
            numbers |= {"units": verdict.units, "unit": "folds"} if experiment.folds else {}
            words = {"verdict": verdict.verdict, "correlation": correlation(sides(answer, contrast, metric))}
            rows.append({"contrast": contrast.label, "metric": metric, "value": verdict.difference, **numbers, **words})
    return pd.DataFrame(rows)


def estimate(answer: Answer, contrast: Contrast, metric: str) -> Estimate:
    """Estimate a contrast on the seeds that all of its conditions have; without predictions it has no interval."""
    both = sides(answer, contrast, metric)
    values = both["plus"] - both["minus"]
    if not len(values) or not contrast.plus:
        return UNDEFINED
    if answer.experiment.folds:
        return over_folds(values.unstack("seed").to_numpy())
    runs = answer.runs.set_index(["condition", "fold", "seed"])["run"]
    signs = {**dict.fromkeys(contrast.plus, 1), **dict.fromkeys(contrast.minus, -1)}
    tables: list[Any] = [answer.collated.jackknife.table(metric, runs[name].loc[values.index]) for name in signs]
    if any(table is None for table in tables):
        return Estimate(float(values.mean()), float("nan"), float("nan"), 1, len(values))
    whole: Any = sum(sign * table for sign, table in zip(signs.values(), tables, strict=True))
    return jackknife(whole)


def sides(answer: Answer, contrast: Contrast, metric: str) -> pd.DataFrame:
    """Sum the scores that a contrast adds (plus) and those that it subtracts (minus).

    Returns:
        One row per fold and seed that all of its conditions have.
    """
    cells = ["fold", "seed", "condition"]
    scores = answer.runs[[*cells, metric]].set_index(cells)[metric].unstack("condition")
    scores = scores.reindex(columns=[*contrast.plus, *contrast.minus]).dropna()
    sums = {"plus": scores[list(contrast.plus)].sum(axis=1), "minus": scores[list(contrast.minus)].sum(axis=1)}
    return scores.assign(**sums)[list(sums)]


def judge_contrasts(answer: Answer, contrasts: Sequence[Contrast], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Judge contrasts together: over folds if the answer has them, else over seeds, on fixed test singers.

    Args:
        metrics: of each contrast.
    Returns:
        of each contrast its label, the fields of its `Verdict`, how many units would decide if it is undecided (see
        `needed_units`), and the correlation of its two sides.
    """
    pairs = [sides(answer, contrast, metric) for contrast, metric in zip(contrasts, metrics, strict=True)]
    differences = [each["plus"] - each["minus"] for each in pairs]
    if answer.experiment.folds:
        estimates = [over_folds(each.unstack("seed").to_numpy()) for each in differences]
    else:
        estimates = [by_seed(each.tolist()) for each in differences]
    delta, rows = answer.experiment.delta, []
    for contrast, verdict, each, both in zip(contrasts, judge(estimates, delta), estimates, pairs, strict=True):
        needed = needed_units(each, len(estimates), delta) if verdict.verdict == UNDECIDED else None
        rows.append({"label": contrast.label, **asdict(verdict), "needed": needed, "correlation": correlation(both)})
    return rows


def contrasts_table(answer: Answer, frame: pd.DataFrame) -> Table:
    """Print the contrasts, one line each; the first metric with interval, p and verdict, the others with values."""
    first, *others = answer.experiment.metrics
    has_folds, lines = answer.experiment.folds > 0, []
    counts = {"units": "folds", "seeds": "seeds"} if has_folds else {"seeds": "seeds"}
    for contrast in answer.experiment.contrasts:
        row = frame[(frame["contrast"] == contrast.label) & (frame["metric"] == first)].iloc[0]
        interval = shown_change_interval(row["low"], row["high"])
        is_run = row["value"] == row["value"]
        texts = [shown_change(row["value"]), interval, f"{row['p_holm']:.3f}" if is_run and row["seeds"] > 1 else NONE]
        texts.append(shown_ratio(row["correlation"]))
        values = frame[frame["contrast"] == contrast.label].set_index("metric")["value"]
        more = [shown_change(values[name]) for name in others]
        lines.append([contrast.label, row["verdict"], *(str(row[name]) for name in counts), *texts, *more])
    heads = ["Difference", "verdict", *counts.values(), heading(first), "95 %", "p, Holm", "correlation"]
    table = Table.of([*heads, *map(heading, others)], lines, words=2, title="Differences")
    pairs = "fold and seed" if has_folds else "seed"
    return replace(table, note=NOTE.format(pairs=pairs, unit=answer.experiment.unit, delta=answer.experiment.delta))
