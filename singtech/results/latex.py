"""Tables of a page in LaTeX, for a paper of two columns: booktabs, no scaling, no text below 7 points.

A table is as wide as one column if it fits, else as two (`table*`). One that is still too wide stands in panels, one
below the other; a longer one than a page goes on in the next. What was not run is left out.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from singtech.results.experiments import PAPER_CORPUS
from singtech.results.pages import NONE, Cell, Line, Page, Table, corpus

COLUMN, PAGE = 222.0, 478.0  # points: widths of one column (80 mm) and of both (170 mm), less a margin for other fonts
SMALL, SIZES = 7, (8, 7)  # points: of intervals and notes; of a table, the first that fits
GAP = 5  # points between columns
LINES = 42  # that a page holds
NARROW = 70  # points: words that are wrapped have so much at least
COUNTS = ("seeds", "folds", "runs", "pairs")
NOT_NEEDED = ("p", "d", "correlation", "would need")  # columns of verdicts that stay on the page
EMPTY = ("", NONE, "0", "not run")
INTERVAL = re.compile(r"([+-]?\d+\.\d+) to ([+-]?\d+\.\d+)")

_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "α": r"$\alpha$", "×": r"$\times$", "·": r"$\cdot$", "✓": r"\checkmark{}"},
    "\u00a0": "~",
    **{"−": "$-$", "—": "--", "–": "--", "<": "$<$", ">": "$>$", "|": "$|$"},
    "[": "{[}",  # LaTeX takes a bracket that begins a line for an argument of the line break before it
}
_NARROW, _WIDE = set("iljtfrI.,:;|!()[]' "), set("mwMW%@+−-±✓—<>=αOQGDNHUAV")


def latex(page: Page) -> str:
    """Render each table of a page as one or more floats; notes and missing runs are comments above."""
    floats, packages = [], {"booktabs"}
    for number, table in enumerate(page.tables, start=1):
        label = "-".join(filter(None, (page.name, str(number) if number > 1 else "", page.data))).replace("_", "-")
        floats += _floats(page, table, f"tab:{label}")
    text = "\n".join(floats)
    packages |= {"amssymb"} if r"\checkmark" in text else set()
    packages |= {"array"} if r"\arraybackslash" in text else set()
    notes = [rf"Needs \usepackage{{{','.join(sorted(packages))}}}.", *page.notes]
    notes += [f"Missing: {what}: {command}" for what, command in page.missing]
    notes += [] if floats else ["No table: nothing was run yet."]
    return "\n".join([*(f"% {' '.join(note.split())}" for note in notes), *floats]) + "\n"


def tex(text: str) -> str:
    """Escape text for LaTeX; + and - before a digit are signs, straight quotes are set as pairs."""
    text = re.sub(r"(α) = ", "\\1\u00a0=\u00a0", text)  # stays on one line
    parts = re.split(r'(?<![\w)])([+-])(?=\d)|"([^"]*)"', text)  # text, sign or None, quoted or None, text, ...
    words = []
    for plain, sign, quoted in zip(parts[::3], [*parts[1::3], None], [*parts[2::3], None], strict=True):
        words.append(_escape(plain))
        words.append(f"${sign}$" if sign else "" if quoted is None else f"``{_escape(quoted)}''")
    return "".join(words)


def prose(text: str) -> str:
    """Escape a sentence in Markdown for LaTeX: code in typewriter letters."""
    parts = text.replace("**", "").split("`")
    return "".join(rf"\texttt{{{_escape(part)}}}" if k % 2 else tex(part) for k, part in enumerate(parts))


def caption(page: Page, table: Table) -> str:
    """A short caption: the title without its number in the paper, and the corpus where it is not the paper's."""
    title = re.sub(r"^(Table|Figure|Section) [\d.]+: ", "", page.title)
    title = f"the paper's {title}" if re.match(r"(Table|Figure) \d", title) else title
    name = ": ".join(filter(None, (title[:1].upper() + title[1:], table.title)))
    whose = corpus(page.data)
    return f"{name}." if page.data == PAPER_CORPUS else f"{name}. {whose[:1].upper()}{whose[1:]}."


def shortened(table: Table) -> tuple[Table, list[str]]:
    """Leave out what was not run, columns that a paper does not need, and what is the same in every line.

    Returns:
        The table, and sentences on what was left out.
    """
    groups = [lines for group in table.groups if (lines := _run_lines(group, table.words))]
    lone = [group[-1][0].is_heading for group in groups]
    groups = [group for group, *are_lone in zip(groups, lone, [*lone[1:], True], strict=False) if not all(are_lone)]
    groups, notes = _without_constant_counts(groups, table.words)
    groups, baseline = _with_short_labels(groups, table.words)
    lines = [line for group in groups for line in group if not line[0].is_heading]
    kept, not_needed = [0], NOT_NEEDED if "verdict" in table.header else ()
    for j, name in list(enumerate(table.header))[1:]:
        texts, is_word = {line[j].text for line in lines} - {""}, j < table.words
        if len(texts) == 1 and (name.lower() in COUNTS or (name and is_word)):
            notes.append(f"{name[:1].upper()}{name[1:]}: {texts.pop()}.")
        elif (name or texts - {"ours"}) if is_word else (name not in not_needed and texts - {NONE}):
            kept.append(j)
    left_out = [name for j, name in enumerate(table.header) if name in not_needed and j not in kept]
    notes += [*baseline, *([f"Not shown: {', '.join(left_out)}."] if left_out else [])]
    return replace(
        table,
        header=[table.header[j] for j in kept],
        groups=[[[line[j] for j in kept] for line in group] for group in groups],
        words=sum(j < table.words for j in kept),
    ), notes


def _without_constant_counts(groups: list[list[Line]], words: int) -> tuple[list[list[Line]], list[str]]:
    """Leave out lines of counts that are all alike; the other lines, and a sentence on them."""
    counts = [line for group in groups for line in group if any(cell.text.lower() in COUNTS for cell in line[:words])]
    numbers = {cell.text for line in counts for cell in line[words:]} - {""}
    if len(numbers) != 1:
        return groups, []
    name = next(cell.text for cell in counts[0][:words] if cell.text.lower() in COUNTS)
    others = [[line for line in group if line not in counts] for group in groups]
    return [group for group in others if group], [f"{name.capitalize()}: {numbers.pop()}."]


def _with_short_labels(groups: list[list[Line]], words: int) -> tuple[list[list[Line]], list[str]]:
    """Name differences from the only baseline "change", and leave the names of lines of intervals out."""
    texts = {cell.text for group in groups for line in group for cell in line[1:words]}
    baselines = {text.removesuffix(", 95 %") for text in texts if text.startswith("to ")}
    change = f"Change: {baselines.copy().pop()}." if len(baselines) == 1 else ""

    def short(line: Line) -> Line:
        labels = line[1:words]
        if any(cell.text.endswith("95 %") for cell in labels):
            return [line[0], *[Cell()] * len(labels), *(Cell() if cell.text == NONE else cell for cell in line[words:])]
        labels = [replace(cell, text="change") if change and cell.text in baselines else cell for cell in labels]
        return [line[0], *labels, *line[words:]]

    return [[short(line) for line in group] for group in groups], [change] if change else []


def _run_lines(group: Sequence[Line], words: int) -> list[Line]:
    """The lines of a group with a number; the name of one that is left out moves to the next of its lines."""
    lines, name = [], Cell()
    for line in group:
        name = line[0] if line[0].text else name
        numbers = [cell.text for cell in line[words:]]
        if line[0].is_heading or any(text not in EMPTY for text in numbers) or not numbers:
            lines.append([name if not line[0].text else line[0], *line[1:]])
            name = Cell()
    headings = [line[0].is_heading for line in lines]
    return lines if not all(headings) or len(group) == 1 else []


@dataclass(frozen=True)
class _Text:
    """A cell as it is set, and its width in ems of the table's letters and of small ones."""

    tex: str
    ems: float
    small_ems: float = 0.0

    def width(self, size: int) -> float:
        return size * self.ems + SMALL * self.small_ems


def _set(cell: Cell) -> _Text:
    """Set a cell: an interval small and in brackets, a deviation small."""
    if interval := INTERVAL.fullmatch(cell.text):
        text = f"[{interval[1]}, {interval[2]}]"
        return _Text(_small(tex(text)), 0.0, _ems(text))
    value, sign, deviation = cell.text.partition(" ± ")
    body = rf"\emph{{{tex(value)}}}" if cell.is_heading else tex(value)
    body = rf"\textbf{{{body}}}" if cell.is_bold else body
    ems = _ems(value) * (1.1 if cell.is_bold else 1.0)
    if not sign:
        return _Text(body, ems)
    return _Text(f"{body} {_small(tex(f'±{deviation}'))}", ems + 0.3, _ems(f"±{deviation}"))


def _align(lines: Sequence[Line], cells: dict[int, list[_Text]], words: int) -> None:
    """Leave room for a deviation behind numbers without one, where others of the column have one."""
    for j in range(words, len(lines[0])):
        deviations = [line[j].text.partition(" ± ")[2] for line in lines]
        if widest := max(deviations, key=len):
            for line in lines:
                if re.fullmatch(r"[+-]?[\d.]+", line[j].text):
                    text, room = cells[id(line)][j], rf"\phantom{{ {_small(tex(f'±{widest}'))}}}"
                    cells[id(line)][j] = _Text(text.tex + room, text.ems + 0.3, _ems(f"±{widest}"))


def _small(text: str) -> str:
    return rf"{{\fontsize{{{SMALL}}}{{{SMALL + 1}}}\selectfont {text}}}"


def _ems(text: str) -> float:
    """The width of text in ems, a little more than that of Times."""
    return sum(0.32 if c in _NARROW else 0.8 if c in _WIDE else 0.72 if c.isupper() else 0.52 for c in text)


def _head(name: str, width: float, size: int) -> _Text:
    """Set the head of a column: on several lines if it is wider than what stands below."""
    lines: list[str] = []
    for word in name.replace(" = ", "\u00a0=\u00a0").replace(" %", "\u00a0%").split(" "):
        if lines and size * _ems(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    text = r"\\".join(map(tex, lines))
    text = rf"\shortstack[r]{{{text}}}" if len(lines) > 1 else text
    return _Text(text, max(map(_ems, lines)))


@dataclass(frozen=True)
class _Layout:
    """How a table is set.

    Attributes:
        environment: table or table*.
        size: of its letters, points.
        words: the columns of words of `tabular`; p columns wrap.
        panels: the numbers of the columns in each panel.
    """

    environment: str
    size: int
    words: str
    panels: list[list[int]]


def _layout(table: Table, widths: Callable[[int], list[float]]) -> _Layout:
    """The first way to set a table that fits: in a column, in two, with wrapped words, in panels.

    Args:
        widths: of the columns, points, at a size of letters.
    """
    heading = max([_ems(line[0].text) for line in table.lines if line[0].is_heading], default=0.0)
    words, numbers = "l" * table.words, list(range(table.words, len(table.header)))
    for environment, room in (("table", COLUMN), ("table*", PAGE)):
        for size in SIZES:
            if max(sum(widths(size)) + GAP * (len(table.header) - 1), size * heading) <= room:
                return _Layout(environment, size, words, [numbers])
    size = SIZES[-1]
    each = widths(size)
    named, rest = each[: table.words], sum(each[table.words :]) + GAP * len(numbers)
    wrapped = _share(named, max(PAGE - rest, 0.35 * PAGE) - GAP * (table.words - 1))
    words = "".join(
        "l" if width >= before else rf">{{\raggedright\arraybackslash}}p{{{width:.0f}pt}}"
        for width, before in zip(wrapped, named, strict=True)
    )
    room = PAGE - sum(wrapped) - GAP * (table.words - 1)
    return _Layout("table*", size, words, _panels(numbers, each, room))


def _share(widths: list[float], room: float) -> list[float]:
    """Narrow columns of words, points, until they fit: what is left beyond `NARROW` is shared by their need."""
    if sum(widths) <= room:
        return widths
    least = [min(width, NARROW) for width in widths]
    share = max(room - sum(least), 0) / (sum(widths) - sum(least) or 1)
    return [low + share * (width - low) for low, width in zip(least, widths, strict=True)]


def _panels(numbers: list[int], widths: list[float], room: float) -> list[list[int]]:
    """Columns of numbers in as few panels of one length as fit; a column is as wide as its widest in any panel."""
    panels = [numbers]
    for count in range(1, len(numbers) + 1):
        length = -(-len(numbers) // count)
        panels = [numbers[k : k + length] for k in range(0, len(numbers), length)]
        widest = [max(widths[panel[k]] for panel in panels if k < len(panel)) + GAP for k in range(length)]
        if sum(widest) <= room:
            break
    return panels


def _floats(page: Page, table: Table, label: str) -> list[str]:
    """The floats of a table: none of one without a run, several of one that is longer than a page."""
    table, notes = shortened(table)
    lines = [line for line in table.lines if not line[0].is_heading]
    if not lines:
        return []
    cells = {id(line): [_set(cell) for cell in line] for line in table.lines}
    _align(lines, cells, table.words)
    bodies = [[cells[id(line)][j] for line in lines] for j in range(len(table.header))]

    def heads(size: int) -> list[_Text]:
        below = [max(text.width(size) for text in column) for column in bodies]
        return [
            _Text(tex(name), _ems(name)) if j < table.words else _head(name, below[j], size)
            for j, name in enumerate(table.header)
        ]

    def widths(size: int) -> list[float]:
        tops = heads(size)
        return [
            max(top.width(size), *(text.width(size) for text in body)) for top, body in zip(tops, bodies, strict=True)
        ]

    layout = _layout(table, widths)
    names = [text.tex for text in heads(layout.size)]
    notes = _notes(page, table, notes)
    chunks, floats = _pages(table.groups, len(layout.panels)), []
    for number, groups in enumerate(chunks):
        head = tex(caption(page, table)) + (" (continued)" if number else "")
        note = (
            f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{\\fontsize{{{SMALL}}}{{{SMALL + 1}}}\\selectfont\\raggedright "
        )
        note += f"{' '.join(map(prose, filter(None, notes)))}}}"
        most = max(map(len, layout.panels))
        floats += [
            rf"\begin{{{layout.environment}}}[tp]",
            rf"\centering\caption{{{head}}}" + ("" if number else f"\n\\label{{{label}}}") + "\n\\par\\smallskip",
            rf"\fontsize{{{layout.size}}}{{{layout.size + 1.5:g}}}\selectfont\setlength{{\tabcolsep}}{{{GAP / 2}pt}}",
            rf"\begin{{tabular}}{{@{{}}{layout.words}{'r' * most}@{{}}}}",
            r"\toprule",
            "\n\\midrule\n".join(_panel(panel, most, names, groups, [cells, table.words]) for panel in layout.panels),
            r"\bottomrule",
            r"\end{tabular}",
            *([note] if number == len(chunks) - 1 else []),
            rf"\end{{{layout.environment}}}",
        ]
    return floats


def _panel(panel: Sequence[int], most: int, names: Sequence[str], groups: Sequence[Sequence[Line]], parts: list) -> str:
    """The lines of a panel: its head, and the words and numbers of each line."""
    cells, words = parts

    def row(texts: Sequence[str]) -> str:
        return " & ".join([*texts[:words], *(texts[j] for j in panel), *[""] * (most - len(panel))]) + r" \\"

    body = []
    for group in groups:
        rows = []
        for line, after in pairwise([*group, []]):
            below = [INTERVAL.fullmatch(cell.text) for cell in after]
            texts = [text.tex for text in cells[id(line)]]
            if line[0].is_heading:
                rows.append(rf"\multicolumn{{{words + most}}}{{@{{}}l@{{}}}}{{{texts[0]}}} \\")
                continue
            rows.append(row(texts) + ("[-1.5pt]" if any(below) else ""))
        body.append("\n".join(rows))
    return f"{row(list(names))}\n\\midrule\n" + "\n\\addlinespace[2pt]\n".join(body)


def _pages(groups: Sequence[list[Line]], panels: int) -> list[list[list[Line]]]:
    """Groups of lines by float, as many lines as a page holds; a heading stays with the group below."""
    most = LINES // panels
    chunks: list[list[list[Line]]] = [[]]
    pieces = [group[k : k + most] for group in groups for k in range(0, len(group), most)]
    for piece in pieces:
        if chunks[-1] and sum(map(len, chunks[-1])) + len(piece) > most:
            last = chunks[-1]
            chunks.append([last.pop()] if len(last) > 1 and last[-1][-1][0].is_heading else [])
        chunks[-1].append(piece)
    return chunks


def _notes(page: Page, table: Table, left_out: Sequence[str]) -> list[str]:
    """What stands below a table: its own note, or what the page says; notes on its numbers, and what marks are."""
    cells = [cell for line in table.lines if not line[0].is_heading for cell in line]
    has_intervals = any(INTERVAL.fullmatch(cell.text) for cell in cells)
    return [
        table.note or page.caption * (table.title == page.tables[0].title),
        *(note for note in page.notes if note.startswith(("Ours: ", "Settings that"))),
        *left_out,
        *["Brackets: 95 % interval."] * has_intervals,
        *["Bold: the best."] * any(cell.is_bold for line in table.lines for cell in line),
    ]


def _escape(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
