"""Tables as the paper prints them, ours beside its numbers: Markdown to read, CSV to compute with, LaTeX to print."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from singtech.files import write_text
from singtech.results.experiments import Condition, Published
from singtech.results.summaries import Answer

NONE = "—"  # a cell without a number
COLUMNS = (
    *("data", "artefact", "label", "model", "dc", "strategy", "alpha", "metric"),
    *("mean", "deviation", "seeds", "paper", "difference"),
)
Line = list[str]  # the cells of one printed line; a cell between ** is bold

_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "α": r"$\alpha$", "−": "$-$", "—": "--", "<": "$<$", ">": "$>$", "|": "$|$"},
    "[": "{[}",  # first in a line it would be the argument of the line break before it
}


def render_table(answer: Answer, published: Published, folder: Path) -> list[Path]:
    """Write a table as `<name>.md`, `.csv` and `.tex` into `folder`; the paths written."""
    texts = {"md": markdown(answer, published), "csv": long_form(answer, published), "tex": latex(answer, published)}
    paths = [folder / f"{answer.experiment.name}.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def markdown(answer: Answer, published: Published) -> str:
    """The table for reading: of each row ours, the paper's and the difference; then notes and the missing cells."""
    header = _header(answer)
    lines = [line for lines in _rows(answer, published) for line in lines]
    return document(answer, pipes(header, lines, left=2))


def latex(answer: Answer, published: Published) -> str:
    """The same table as a LaTeX `table` for the package booktabs; notes and missing cells are comments in it."""
    header = _header(answer)
    rows = ["\n".join(map(_tex_line, lines)) for lines in _rows(answer, published)]
    notes = [r"Needs \usepackage{booktabs}.", *answer.notes]
    notes += [f"Missing: {what}: {command}" for what, command in answer.missing]
    label = re.sub("[^A-Za-z0-9]+", "-", f"{answer.experiment.name}-{answer.data}")
    lines = [
        *(f"% {' '.join(note.split())}" for note in notes),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(answer.title)}. {tex(answer.experiment.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}",
        r"\toprule",
        _tex_line(header),
        r"\midrule",
        "\n\\addlinespace\n".join(rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def long_form(answer: Answer, published: Published) -> str:
    """The numbers as CSV, one line a condition and metric; six decimals, the difference on the paper's corpus only."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for summary in answer.summaries:
        asked = summary.condition
        for metric in answer.experiment.metrics:
            mean, paper = summary.mean(metric), printed_value(answer, published, asked, metric)
            difference = mean - paper if answer.is_comparable and None not in (mean, paper) else None
            numbers = [mean, summary.deviation(metric), len(summary.seeds), paper, difference]
            condition = [asked.label, asked.model, asked.dc, asked.strategy, asked.alpha]
            rounded = ["" if number is None else round(number, 6) for number in numbers]
            writer.writerow([answer.data, answer.experiment.name, *condition, metric, *rounded])
    return file.getvalue()


def printed_value(answer: Answer, published: Published, condition: Condition, metric: str) -> float | None:
    """What the paper prints for a cell; None where it prints nothing."""
    return published.get((answer.experiment.name, condition.label, condition.alpha, metric))


def _header(answer: Answer) -> Line:
    return [answer.experiment.header, "", "Seeds", *answer.experiment.metrics.values()]


def _rows(answer: Answer, published: Published) -> list[list[Line]]:
    """Of each condition the lines ours, paper (where it prints any) and difference (where it means something)."""
    metrics = answer.experiment.metrics
    ours = [[summary.mean(metric) for metric in metrics] for summary in answer.summaries]
    paper = [[printed_value(answer, published, s.condition, metric) for metric in metrics] for s in answer.summaries]
    best_ours, best_paper = best(ours), best(paper)
    rows = []
    for k, summary in enumerate(answer.summaries):
        deviations = [summary.deviation(metric) for metric in metrics]
        numbers = list(map(shown, ours[k], deviations))
        lines = [[summary.condition.label, "ours", str(len(summary.seeds)), *_bold(numbers, best_ours[k])]]
        if any(value is not None for value in paper[k]):
            lines.append(["", "paper", "", *_bold(list(map(shown, paper[k])), best_paper[k])])
            if answer.is_comparable and summary.seeds:
                lines.append(["", "difference", "", *map(shown_difference, ours[k], paper[k])])
        rows.append(lines)
    return rows


def best(numbers: Sequence[Sequence[float | None]]) -> list[list[bool]]:
    """Which numbers of each column are its largest as printed; none in a column of a single number.

    Args:
        numbers: one row a condition, one column a metric.
    """
    columns = [
        [None if number is None else round(number, 3) for number in column] for column in zip(*numbers, strict=True)
    ]
    there = [[number for number in column if number is not None] for column in columns]
    is_best = [
        [len(known) > 1 and number is not None and number == max(known) for number in column]
        for column, known in zip(columns, there, strict=True)
    ]
    return [list(row) for row in zip(*is_best, strict=True)]


def shown(mean: float | None, deviation: float | None = None) -> str:
    """A number as printed: `0.612 ± 0.013`, without deviation `0.612`, without any `—`."""
    if mean is None:
        return NONE
    return f"{mean:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")


def shown_difference(ours: float | None, paper: float | None) -> str:
    """Ours less the paper's, with its sign."""
    if ours is None or paper is None:
        return NONE
    text = f"{ours - paper:+.3f}"
    return "+0.000" if text == "-0.000" else text


def _bold(numbers: Sequence[str], is_best: Sequence[bool]) -> Line:
    return [f"**{number}**" if bold else number for number, bold in zip(numbers, is_best, strict=True)]


def document(answer: Answer, *parts: str) -> str:
    """A Markdown page: title, caption, the parts, notes, and the missing cells with the commands that fill them."""
    notes = [f"- {note}" for note in answer.notes]
    page = [f"# {answer.title}", answer.experiment.caption, *parts, "\n".join(notes)]
    if answer.missing:
        page += ["## Missing", "\n".join(f"- {what}: `{command}`" for what, command in answer.missing)]
        page += [f"All at once, running only what is missing: `{answer.sweep}`"]
    return "\n\n".join(part for part in page if part) + "\n"


def pipes(header: Line, lines: Sequence[Line], left: int) -> str:
    """A Markdown table, readable as text too; the first `left` columns are aligned left, the others right."""
    alignment = ["left"] * left + ["right"] * (len(header) - left)
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def tex(text: str) -> str:
    """Text as LaTeX prints it, the characters that it takes for commands escaped."""
    return "".join(_TEX.get(character, character) for character in text)


def _tex_line(line: Line) -> str:
    return " & ".join(map(_tex_cell, line)) + r" \\"


def _tex_cell(cell: str) -> str:
    if bold := re.fullmatch(r"\*\*(.*)\*\*", cell):
        return rf"\textbf{{{tex(bold[1])}}}"
    return f"${cell}$" if re.fullmatch(r"[+-]\d.*", cell) else tex(cell)
