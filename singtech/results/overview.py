"""The first screen of the report: the best condition in a sentence, all conditions best first, ours beside the paper's.

Its numbers are those of the tables: means with their intervals, and differences as a table's contrasts judge them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from singtech.results.contrasts import contrasts_frame
from singtech.results.experiments import Contrast
from singtech.results.intervals import NEGLIGIBLE, SUPPORTED, UNDECIDED
from singtech.results.pages import Page
from singtech.results.summaries import Answer

METRIC = "f1"
BESIDE = ("table3", "table2")  # the pages whose rows stand beside the paper's, in this order
FIGURE = "figure3"
MOST_RANKED = 20


@dataclass(frozen=True)
class Rank:
    """A condition's macro-F1.

    Attributes:
        label: the condition.
        mean, low, high: with its 95 % interval; nan where it is not defined.
        rests_on: seeds, or folds and seeds.
        paper: the paper's number; nan where it prints none.
    """

    label: str
    mean: float
    low: float
    high: float
    rests_on: str
    paper: float = float("nan")


def rank(answer: Answer) -> list[Rank]:
    """List the conditions that were run, the highest macro-F1 first."""
    seeds = answer.runs.groupby("condition")["seed"].nunique()
    return [
        Rank(row.label, row.mean, row.low, row.high, _rests_on(answer, row.units, seeds[row.Index]))
        for row in _sorted_means(answer).itertuples()
    ]


def _sorted_means(answer: Answer) -> pd.DataFrame:
    """The macro-F1 of the conditions that were run, by condition, the highest first."""
    rows = answer.numbers.reset_index()
    rows = rows[(rows["metric"] == METRIC) & rows["mean"].notna()].set_index("condition")
    return rows.sort_values("mean", ascending=False, kind="stable")


def compare_best(answer: Answer) -> dict[str, object]:
    """Judge the difference of the best condition from the next best; empty of fewer than two conditions.

    The best is known only after looking, so it is tested against every other condition, with Holm's correction.

    Returns:
        label: of the next best condition; difference, low, high: paired by seed or fold, with its 95 % interval, nan
        where it is not defined; rests_on: the seeds, or folds and seeds, that both have; verdict; and why, in words.
    """
    experiment = answer.experiment
    means = _sorted_means(answer)["mean"]
    if len(means) < 2:
        return {}
    best, *others = means.index
    contrasts = tuple(Contrast(each, (best,), (each,)) for each in others)
    judged = replace(experiment, contrasts=contrasts, metrics=(METRIC,))
    row = contrasts_frame(replace(answer, experiment=judged)).iloc[0]
    units = row["units"] if experiment.folds else row["seeds"]
    words = {"label": experiment.label(others[0]), "rests_on": _rests_on(answer, units, row["seeds"])}
    words["why"] = _why(row, experiment.delta, len(others))
    return {"difference": row["value"], **row[["low", "high", "verdict"]], **words}


def beside_paper(pages: Sequence[Page]) -> tuple[list[Rank], list[str]]:
    """List the rows of Tables 3 and 2 that were run, with the paper's macro-F1.

    Returns:
        These rows; and the labels of those that were not run.
    """
    named = {page.name: page for page in pages}
    rows: dict[str, Rank] = {}
    lacking: list[str] = []
    for name in BESIDE:
        frame = named[name].frame if name in named else None
        if frame is None or "paper" not in frame:
            continue
        for row in frame[(frame["metric"] == METRIC) & frame["paper"].notna()].itertuples():
            if row.mean == row.mean:
                rests_on = f"{row.units} {row.unit if row.units > 1 else row.unit.removesuffix('s')}"
                rows.setdefault(row.condition, Rank(row.label, row.mean, row.low, row.high, rests_on, row.paper))
            else:
                lacking.append(row.label)
    return list(rows.values()), list(dict.fromkeys(lacking))


def scale(ranks: Sequence[Rank]) -> tuple[float, float]:
    """The ends of an axis from 0 to 1, in tenths, that holds all numbers and intervals of conditions."""
    numbers = [number for each in ranks for number in (each.mean, each.low, each.high) if number == number]
    low = min(max(0.0, math.floor(10 * min(numbers)) / 10), 0.9)  # if all are 1, the axis still has a length
    return low, min(1.0, max(math.ceil(10 * max(numbers)) / 10, low + 0.1))


def is_drawn(page: Page) -> bool:
    """Whether Figure 3 has more than one alpha, so that it shows a course."""
    return bool(page.figure) and page.frame.loc[page.frame["mean"].notna(), "alpha"].nunique() > 1


def _rests_on(answer: Answer, units: float, seeds: float) -> str:
    units, seeds = int(units), int(seeds)
    of_seeds = f"{seeds} seed{'s' * (seeds != 1)}"
    return f"{units} fold{'s' * (units != 1)}, {of_seeds}" if answer.experiment.folds else of_seeds


def _why(row: pd.Series, delta: float, others: int) -> str:
    if row["value"] != row["value"]:
        return "they have no seed in common"
    if row["seeds"] < 2:
        return "one seed decides nothing"
    if row["verdict"] == NEGLIGIBLE:
        return f"surely within ±{delta:g}"
    if row["low"] != row["low"]:
        return "without the runs' predictions there is no interval"
    among = f", among {others} other conditions" * (others > 1)
    if row["verdict"] == UNDECIDED:
        return f"it may be luck (p = {row['p_holm']:.2g}{among})"
    return f"{'' if row['verdict'] == SUPPORTED else 'the other way round, '}p = {row['p_holm']:.2g}{among}"
