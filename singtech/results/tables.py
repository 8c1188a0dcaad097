"""Tables as the paper prints them, ours beside its numbers: Markdown to read, CSV to compute with, LaTeX to print."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from singtech.io.atomic import write_text
from singtech.metrics import heading, is_higher_better
from singtech.results.collate import Collated, csv_text
from singtech.results.conditions import Condition, what_differs
from singtech.results.experiments import Experiment, Published
from singtech.results.pages import Line, document, latex_table, pipes, shown, shown_change, shown_interval, tabular
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, Summary, answer

CONDITION = ("condition", "label", "model", "dc", "strategy", "alpha", "settings")
COLUMNS = ("data", "artefact", *CONDITION, "metric", "mean", "deviation", "low", "high")


def render_table(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write a table as `<name>.md`, `.csv` and `.tex` into `folder`; the paths written and the answer."""
    found = answer(experiment, collated, data, group)
    texts = {"md": markdown(found, published), "csv": long_form(found, published), "tex": latex(found, published)}
    return write_texts(folder / experiment.name, texts), found


def write_texts(stem: Path, texts: dict[str, str]) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix; the paths written."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


BOLD = "Bold is the best of a {}, which may be luck: the page `verdicts` tests what the paper claims."


def markdown(found: Answer, published: Published) -> str:
    """The table for reading: of each row ours, the paper's and the difference; then notes and the missing cells."""
    header, groups, left = _laid_out(found, published)
    table = pipes(header, [line for group in groups for line in group], left)
    bold = BOLD.format("row" if found.experiment.is_transposed else "column")
    notes = (*found.notes, bold) if len([summary for summary in found.summaries if summary.units]) > 1 else found.notes
    return document(replace(found, notes=notes), table, _of_ablations(found))


def latex(found: Answer, published: Published) -> str:
    """The same table as a LaTeX `table` for the package booktabs; notes and missing cells are comments in it."""
    return latex_table(found, tabular(*_laid_out(found, published)))


def long_form(found: Answer, published: Published) -> str:
    """The numbers as CSV, one line a condition and metric: mean, deviation, the 95 % interval from low to high; six
    decimals, the difference on the paper's corpus only."""
    base = found.baseline
    change = ["change", "change_deviation"] if base else []
    lines = []
    for summary in found.summaries:
        asked = summary.condition
        for metric in found.experiment.metrics:
            mean, paper = summary.mean(metric), printed_value(found, published, asked, metric)
            difference = mean - paper if found.is_comparable and None not in (mean, paper) else None
            between = summary.interval(metric) or (None, None)
            numbers = [mean, summary.deviation(metric), *between, len(summary.units), paper, difference]
            numbers += summary.change(base, metric) if base and summary is not base else [None] * len(change)
            condition = [asked.reference, asked.label, asked.model, asked.dc, asked.strategy, asked.alpha]
            condition.append(asked.settings.words)
            lines.append([found.data, found.experiment.name, *condition, metric, *map(_rounded, numbers)])
    for reference in found.references:
        for metric in found.experiment.metrics:
            numbers = [reference.values.get(metric), *[None] * (6 + len(change))]
            words = [found.data, found.experiment.name, "", reference.label, *[""] * 5, metric]
            lines.append([*words, *map(_rounded, numbers)])
    return csv_text([*COLUMNS, found.units, "paper", "difference", *change], lines)


def printed_value(found: Answer, published: Published, condition: Condition, metric: str) -> float | None:
    """What the paper prints for a cell; None where it prints nothing."""
    return published.get((found.experiment.published, condition.published, metric))


def best(numbers: Sequence[Sequence[float | None]], metrics: Sequence[str]) -> list[list[bool]]:
    """Which numbers of each column are its best as printed; none in a column of a single number.

    Args:
        numbers: one row a condition, one column a metric.
        metrics: of the columns, which say whether more is better.
    """
    columns = [
        [None if number is None else round(number, 3) for number in column] for column in zip(*numbers, strict=True)
    ]
    there = [[number for number in column if number is not None] for column in columns]
    is_best = [
        [len(known) > 1 and number is not None and number == (max if rises else min)(known) for number in column]
        for column, known, rises in zip(columns, there, map(is_higher_better, metrics), strict=True)
    ]
    return [list(row) for row in zip(*is_best, strict=True)]


def _laid_out(found: Answer, published: Published) -> tuple[Line, list[list[Line]], int]:
    """The header, the lines in groups, and how many columns are words."""
    experiment = found.experiment
    header = [experiment.header, "", found.units.title(), *map(heading, experiment.metrics)]
    short = what_differs(experiment.conditions) if experiment.is_transposed else {}
    rows = _rows(found, published, short)
    if experiment.is_transposed:
        names = [f"{label}, {what}" if what else label for label, lines in rows for what, *_ in lines]
        cells = [line[1:] for _, lines in rows for line in lines]
        lines = [list(line) for line in zip(header[2:], *cells, strict=True)]
        return [experiment.header, *names], [lines[:1], lines[1:]], 1
    groups = [[[label if number == 0 else "", *line] for number, line in enumerate(lines)] for label, lines in rows]
    heads = [condition.group for condition in experiment.conditions]
    headed = []
    for head, members in groupby(zip(heads, groups, strict=False), key=lambda pair: pair[0]):
        headed += [[[f"*{head}*", *[""] * (len(header) - 1)]]] if head else []
        headed += [group for _, group in members]
    return header, headed + groups[len(heads) :], 2


def _of_ablations(found: Answer) -> str:
    """What each ablation of a table sets, as a paragraph."""
    ablated = {c.ablation: c for c in found.experiment.conditions if c.ablation}
    if not ablated or found.experiment.is_transposed:
        return ""
    each = [f"{name}: `{c.ablated.words or f'alpha={c.alpha:g}'}`" for name, c in ablated.items()]
    return f"What each ablation sets: {'; '.join(each)}."


def _rows(found: Answer, published: Published, short: dict[str, str]) -> list[tuple[str, list[Line]]]:
    """Of each condition its label and the lines ours, its interval, paper (where it prints any), difference (where
    it means something) and change from the baseline; then the references."""
    metrics = found.experiment.metrics
    labels = {s.condition.reference: s.condition.label for s in found.summaries} | short
    ours = [[summary.mean(metric) for metric in metrics] for summary in found.summaries]
    paper = [[printed_value(found, published, s.condition, metric) for metric in metrics] for s in found.summaries]
    best_ours, best_paper = best(ours, metrics), best(paper, metrics)
    rows = []
    for k, summary in enumerate(found.summaries):
        deviations = [summary.deviation(metric) for metric in metrics]
        lines = [["ours", str(len(summary.units)), *_bold(list(map(shown, ours[k], deviations)), best_ours[k])]]
        if summary.intervals:
            lines.append(["95 %", "", *(shown_interval(summary.interval(metric)) for metric in metrics)])
        if any(value is not None for value in paper[k]):
            lines.append(["paper", "", *_bold(list(map(shown, paper[k])), best_paper[k])])
            if found.is_comparable and summary.units:
                lines.append(["difference", "", *map(_difference, ours[k], paper[k])])
        if found.baseline and summary is not found.baseline:
            lines.append(_change(summary, found.baseline, metrics, labels))
        rows.append((labels[summary.condition.reference], lines))
    for reference in found.references:
        numbers = [shown(reference.values.get(metric)) for metric in metrics]
        rows.append((reference.label, [["computed", "", *numbers]]))
    return rows


def _change(summary: Summary, baseline: Summary, metrics: Sequence[str], labels: dict[str, str]) -> Line:
    changes = [shown_change(*summary.change(baseline, metric)) for metric in metrics]
    return [f"to {labels[baseline.condition.reference]}", "", *changes]


def _difference(ours: float | None, paper: float | None) -> str:
    """Ours less the paper's."""
    return shown_change(None if ours is None or paper is None else ours - paper)


def _bold(numbers: Sequence[str], is_best: Sequence[bool]) -> Line:
    return [f"**{number}**" if bold else number for number, bold in zip(numbers, is_best, strict=True)]


def _rounded(number: float | None) -> float | str:
    return "" if number is None else round(number, 6)
