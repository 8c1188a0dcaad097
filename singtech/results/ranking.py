"""The table at the end of a sweep: its runs, best first, and the page to open."""

from collections.abc import Collection, Sequence

import pandas as pd

from singtech.errors import InvalidValue
from singtech.io.terminal import format_table, wrap
from singtech.metrics import METRICS
from singtech.results.collate import RESULTS, Collated
from singtech.results.commands import report
from singtech.results.conditions import read_condition
from singtech.results.pages import NONE, shown, shown_interval
from singtech.results.rows import COMPLETE

MOST_LINES = 20
VARYING = ("data", "fold", "seed", "rounding")  # columns that the table has where they differ
INTERVAL = "95 %: for other singers, by the jackknife over the test singers; one training each."


def format_ranking(collated: Collated, names: Collection[str]) -> str:
    """Write a table of complete runs, the highest macro-F1 first, and where to see them; "" if none is complete.

    Args:
        names: of the runs.
    """
    results = collated.results
    runs = results[results["run"].isin(names) & (results["status"] == COMPLETE)]
    if runs.empty:
        return ""
    best = runs.sort_values("f1", ascending=False, kind="stable", na_position="last")
    shown_runs = best.head(MOST_LINES)
    count = "The run" if len(runs) == 1 else f"The {len(runs)} runs"
    count += " of this sweep" + (", best first" if len(runs) > 1 else "")
    lines = ["", f"{count}:", "", _table(shown_runs, runs, collated)]
    if len(runs) > len(shown_runs):
        lines.append(f"and {len(runs) - len(shown_runs)} others, in {collated.output_dir / RESULTS}")
    return "\n".join([*lines, "", *(_page(collated, data) for data in dict.fromkeys(best["data"]))])


def _table(shown_runs: pd.DataFrame, runs: pd.DataFrame, collated: Collated) -> str:
    """Format the runs with the columns in which all runs of the sweep differ."""
    varying = [name for name in VARYING if runs[name].nunique() > 1]
    alphas = ["alpha"] if runs["alpha"].nunique() > 1 else []
    labels = _labels(list(shown_runs["condition"]), list(runs["condition"]))
    intervals = [shown_interval(*collated.jackknife.estimate("f1", [run]).interval()) for run in shown_runs["run"]]
    has_intervals = any(interval != NONE for interval in intervals)
    header = ["", *alphas, *varying, METRICS["f1"].label, *["95 %"] * has_intervals, METRICS["accuracy"].label]
    lines = []
    for label, interval, row in zip(labels, intervals, shown_runs.to_dict("records"), strict=True):
        settings = [f"{row[name]:g}" if name == "alpha" else row[name] for name in (*alphas, *varying)]
        scores = [shown(row["f1"]), *[interval] * has_intervals, shown(row["accuracy"])]
        lines.append([label, *settings, *scores])
    note = ["", wrap(INTERVAL)] if has_intervals else []
    return "\n".join([format_table(header, lines), *note])


def _labels(conditions: Sequence[str], of_all: Sequence[str]) -> list[str]:
    """Name conditions of results.csv as tables do, with the settings that not all runs share."""
    words = [condition.split(" ") for condition in conditions]
    common = set.intersection(*(set(condition.split(" ")[1:]) for condition in of_all))
    others = ("data=", "data.fold=", "rounding=", "seed=")  # have columns
    return [
        " ".join([_label(name), *(each for each in rest if each not in common and not each.startswith(others))])
        for name, *rest in words
    ]


def _label(reference: str) -> str:
    """The label of a condition's reference, without its alpha; the reference itself if it is of no condition."""
    name, _, ablation = reference.partition("+")
    name, _, strategy = name.partition("@")[0].partition("/")
    try:
        return read_condition(name, strategy or None, None, ablation).series
    except InvalidValue:
        return reference


def _page(collated: Collated, data: str) -> str:
    """Say which page shows the runs on a corpus, or which command makes it."""
    path, results = collated.output_dir / "tables" / data / "report.html", collated.output_dir / RESULTS
    command = f"    {report(collated, data)}"
    if not path.is_file():
        return f"To write the page to open, {path}:\n{command}"
    if results.is_file() and path.stat().st_mtime < results.stat().st_mtime:
        return f"{path} is older than these runs. To write it again:\n{command}"
    return f"The page to open: {path}"
