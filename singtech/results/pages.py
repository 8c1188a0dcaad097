"""What all pages share: numbers as printed, Markdown and LaTeX of lines of cells, titles, notes and missing cells.

A cell between `**` is bold and one between `*` slanted, in both languages.
"""

import re
from collections.abc import Sequence

from tabulate import tabulate

from singtech.results.summaries import Answer

NONE = "—"  # a cell without a number
Line = list[str]  # the cells of one printed line

_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "α": r"$\alpha$", "×": r"$\times$", "·": r"$\cdot$", "✓": r"\checkmark{}"},
    **{"−": "$-$", "—": "--", "–": "--", "<": "$<$", ">": "$>$", "|": "$|$"},
    "[": "{[}",  # first in a line it would be the argument of the line break before it
}

_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"  # a tabular wider than the page shrinks


def shown(mean: float | None, deviation: float | None = None) -> str:
    """A number as printed: `0.612 ± 0.013`, without deviation `0.612`, without any `—`."""
    if mean is None:
        return NONE
    return f"{mean:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")


def shown_change(change: float | None, deviation: float | None = None) -> str:
    """A difference with its sign: `+0.012 ± 0.004`."""
    if change is None:
        return NONE
    text = f"{change:+.3f}".replace("-0.000", "+0.000")
    return text + (f" ± {deviation:.3f}" if deviation is not None else "")


def shown_interval(interval: tuple[float, float] | None) -> str:
    """An interval as printed: `0.581 to 0.640`."""
    return NONE if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def document(answer: Answer, *parts: str) -> str:
    """A Markdown page: title, caption, the parts, notes, and the missing cells with the commands that fill them."""
    notes = [f"- {note}" for note in answer.notes]
    page = [f"# {answer.title}", answer.experiment.caption, *parts, "\n".join(notes)]
    if answer.missing:
        page += ["## Missing", "\n".join(f"- {what}: `{command}`" for what, command in answer.missing)]
        page += [f"All at once, running only what is missing: `{answer.sweep}`"] if answer.sweep else []
    return "\n\n".join(part for part in page if part) + "\n"


def pipes(header: Line, lines: Sequence[Line], left: int) -> str:
    """A Markdown table, readable as text too; the first `left` columns are aligned left, the others right."""
    alignment = ["left"] * left + ["right"] * (len(header) - left)
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def latex_table(answer: Answer, *tabulars: str, packages: str = "booktabs,graphicx") -> str:
    """Tabulars as one LaTeX `table` with its caption; notes and missing cells are comments in it."""
    notes = [rf"Needs \usepackage{{{packages}}}.", *answer.notes]
    notes += [f"Missing: {what}: {command}" for what, command in answer.missing]
    label = re.sub("[^A-Za-z0-9]+", "-", f"{answer.experiment.name}-{answer.data}")
    is_tall = sum(tabular.count(r" \\") for tabular in tabulars) > 40  # lines, of which a page holds about 55
    lines = [
        *(f"% {' '.join(note.split())}" for note in notes),
        r"\begin{table}",
        r"\centering" + (r"\scriptsize" if is_tall else r"\footnotesize"),
        rf"\caption{{{tex(answer.title)}. {tex(answer.experiment.caption)}}}",
        rf"\label{{tab:{label}}}",
        *(f"\\par\\medskip\n{_FITTED}{{%\n{tabular}%\n}}" for tabular in tabulars),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def tabular(header: Line, groups: Sequence[Sequence[Line]], left: int) -> str:
    """A LaTeX tabular, a little space between the groups of lines; the first `left` columns are aligned left."""
    lines = [
        rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(header) - left)}}}",
        r"\toprule",
        _tex_line(header),
        r"\midrule",
        "\n\\addlinespace\n".join("\n".join(map(_tex_line, group)) for group in groups),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def tex(text: str) -> str:
    """Text as LaTeX prints it, the characters that it takes for commands escaped."""
    return "".join(_TEX.get(character, character) for character in text)


def _tex_line(line: Line) -> str:
    return " & ".join(map(_tex_cell, line)) + r" \\"


def _tex_cell(cell: str) -> str:
    for pattern, command in ((r"\*\*(.*)\*\*", "textbf"), (r"\*([^*]+)\*", "emph")):
        if marked := re.fullmatch(pattern, cell):
            return rf"\{command}{{{_tex_cell(marked[1])}}}"
    if signed := re.fullmatch(r"([+-][\d.]+)(.*)", cell):
        return f"${signed[1]}${tex(signed[2])}"
    return tex(cell)
