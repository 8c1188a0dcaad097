"""Tables as the paper prints them, ours beside its numbers."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, groupby, repeat

import pandas as pd

from singtech.metrics import HEADINGS, heading, is_higher_better
from singtech.results.conditions import column_heads
from singtech.results.contrasts import contrasts_frame, contrasts_table
from singtech.results.forest_plot import forest_rows
from singtech.results.pages import Cell, Line, Page, Table, shown, shown_change, shown_interval
from singtech.results.rows import SCORED
from singtech.results.summaries import NUMBERS, Answer
from singtech.results.thirds import TITLE, answer_thirds, describe

BOLD = "Bold is the best of a {}, which may be luck: the page `verdicts` tests what the paper claims."


def table_page(answer: Answer) -> Page:
    """The page of a table: ours, the paper's and their difference; a note says what its ablations set."""
    experiment, notes = answer.experiment, list(answer.notes.values())
    if answer.runs["condition"].nunique() > 1:
        notes.append(BOLD.format("row" if experiment.is_transposed else "column"))
    ablated = {c.ablation: c.changes.words or f"alpha={c.alpha:g}" for c in experiment.conditions if c.ablation}
    if ablated and not experiment.is_transposed:
        notes.append(f"What each ablation sets: {'; '.join(f'{name}: `{words}`' for name, words in ablated.items())}.")
    tables = [_transposed(answer) if experiment.is_transposed else _upright(answer)]
    frame, comparisons = answer.frame, []
    if experiment.has_thirds:
        thirds = answer_thirds(answer)
        tables.append(replace(_upright(thirds), title=TITLE, note=describe(answer)))
        frame = pd.concat([frame, thirds.frame])
    if experiment.contrasts:
        judged = tuple(metric for metric in experiment.metrics if metric not in HEADINGS)
        scored = replace(answer, experiment=replace(experiment, metrics=judged))
        contrasts = contrasts_frame(scored)
        tables.append(contrasts_table(scored, contrasts))
        comparisons = forest_rows(contrasts[contrasts["metric"] == judged[0]], label="contrast")
        frame = pd.concat([frame, contrasts.assign(data=answer.data, artefact=experiment.name)])
    return answer.page(tables=tables, notes=notes, frame=frame, comparisons=comparisons)


def best(numbers: pd.DataFrame) -> pd.DataFrame:
    """Which numbers of each column (a metric) are its best as printed; none in a column of a single number."""
    as_printed = numbers.map(lambda number: float(f"{number:.3f}"))
    ideals = as_printed.agg({m: "max" if is_higher_better(m) else "min" for m in numbers}) if len(numbers) else 0
    return (as_printed == ideals) & (as_printed.notna().sum() > 1)


def _upright(answer: Answer) -> Table:
    """A condition a group of lines, a metric a column."""
    experiment = answer.experiment
    header = [experiment.header, "", f"{experiment.unit}s".title(), *map(heading, experiment.metrics)]
    lines = _lines(answer, {c.reference: c.label for c in experiment.conditions})
    groups = []
    for head, conditions in groupby(experiment.conditions, key=lambda condition: condition.group):
        groups += [[[Cell(head, is_heading=True), *[Cell()] * (len(header) - 1)]]] if head else []
        for condition in conditions:
            first, *others = lines[condition.reference]
            groups.append([[Cell(condition.label), *first], *([Cell(), *line] for line in others)])
    columns = ["", "", "", *experiment.metrics]
    return Table(header, groups + _of_guessing(answer), words=2, metrics=columns)


def _transposed(answer: Answer) -> Table:
    """A metric a line, the lines of each condition as columns."""
    short = column_heads(answer.experiment.conditions)
    columns = [(short[name], line) for name, lines in _lines(answer, short).items() for line in lines]
    names = [f"{label}, {line[0].text}" for label, line in columns]
    heads = [f"{answer.experiment.unit}s".title(), *map(heading, answer.experiment.metrics)]
    lines = [list(line) for line in zip(map(Cell, heads), *(line[1:] for _, line in columns), strict=True)]
    return Table([answer.experiment.header, *names], [lines[:1], lines[1:]])


def _lines(answer: Answer, labels: dict[str, str]) -> dict[str, list[Line]]:
    """Of each condition the lines ours, its interval, paper, difference, change from the baseline and its
    interval, where it has them; each begins with its name and the number of units."""
    wide = {name: answer.wide(name) for name in NUMBERS if name != "unit"}
    systems = {condition.reference for condition in answer.experiment.conditions if condition.strategy == SCORED}
    is_best = {name: best(wide[name]) for name in ("mean", "paper")}
    baseline, lines = answer.experiment.baseline, {}
    for condition in wide["mean"].index:
        row = {name: table.loc[condition] for name, table in wide.items()}
        units = int(row["units"].max())
        ours = "scored" if condition in systems else "ours"
        own = [_line(ours, map(shown, row["mean"], row["deviation"]), str(units), is_best["mean"].loc[condition])]
        if row["low"].notna().any():
            own.append(_line("95 %", map(shown_interval, row["low"], row["high"])))
        if row["paper"].notna().any():
            own.append(_line("paper", map(shown, row["paper"]), is_bold=is_best["paper"].loc[condition]))
            if answer.is_comparable and units:
                own.append(_line("difference", map(shown_change, row["difference"])))
        if baseline and condition != baseline:
            own.append(_line(f"to {labels[baseline]}", map(shown_change, row["change"], row["change_deviation"])))
            if row["change_low"].notna().any():
                between = map(shown_interval, row["change_low"], row["change_high"])
                own.append(_line(f"to {labels[baseline]}, 95 %", between))
        lines[condition] = own
    return lines


def _of_guessing(answer: Answer) -> list[list[Line]]:
    """The lines of the references, which are computed."""
    rows = answer.frame[answer.frame["condition"] == ""].groupby("label", sort=False)["mean"]
    return [[[Cell(str(label)), *_line("computed", map(shown, means))]] for label, means in rows]


def _line(name: str, texts: Iterable[str], units: str = "", is_bold: Iterable[bool] = ()) -> Line:
    return [Cell(name), Cell(units), *map(Cell, texts, chain(is_bold, repeat(False)))]
