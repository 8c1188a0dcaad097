"""A page of results: its numbers as a frame, its tables as cells; Markdown, CSV and HTML are rendered from it here.

Sentences of a page (caption, lead, notes) are Markdown. Cells are plain text, and say themselves whether they are bold.
"""

import base64
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, pairwise, repeat, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from singtech.metrics import heading, is_higher_better, is_metric
from singtech.results.experiments import PAPER_CORPUS
from singtech.results.intervals import DELTA, NEGLIGIBLE, REFUTED, SUPPORTED, UNDECIDED

if TYPE_CHECKING:
    import jinja2
    from matplotlib.figure import Figure

    from singtech.results.forest_plot import ForestRow

NONE = "—"  # a cell without a number
MARKS = {SUPPORTED: "✓", REFUTED: "✗", NEGLIGIBLE: "=", UNDECIDED: "?"}
NOTHING_RUN = "on these singers not run; for new singers not run.", "on these singers not run."  # ends of sentences
TEMPLATES = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Cell:
    """One field of a printed table. A heading names the lines below it; an anchor is what links in HTML lead to."""

    text: str = ""
    is_bold: bool = False
    is_heading: bool = False
    anchor: str = ""


Line = list[Cell]


@dataclass(frozen=True)
class Table:
    """A printed table.

    Attributes:
        header: the text over each column.
        groups: lines of cells; LaTeX leaves space between groups.
        words: how many of the first columns hold words; the others hold numbers and are aligned right.
        title: heads a table of a page that has several; "" for none.
        lead: sentences above it, as a list.
        note: a sentence above it, below `lead`.
        metrics: the metric of each column, which a click in HTML sorts best first; "" for none.
    """

    header: list[str]
    groups: list[list[Line]]
    words: int = 1
    title: str = ""
    note: str = ""
    lead: Sequence[str] = ()
    metrics: Sequence[str] = ()

    @classmethod
    def of(cls, header: Sequence[str], *groups: Sequence[Sequence[str]], words: int = 1, title: str = "") -> "Table":
        """A table of plain text, by groups of lines."""
        return cls(list(header), [[list(map(Cell, line)) for line in lines] for lines in groups], words, title)

    @property
    def lines(self) -> list[Line]:
        """All lines, without groups."""
        return [line for group in self.groups for line in group]


@dataclass(frozen=True)
class Finding:
    """A claim of the paper and what became of it.

    Attributes:
        text: the claim in a few words.
        section: of the paper.
        anchor: of the first of its rows that was run, in the table of its page; "" where none was.
        verdicts: what it is on (these singers, new singers) -> verdict and numbers in a few words.
    """

    text: str
    section: str
    anchor: str
    verdicts: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Page:
    """What one table or figure shows.

    Attributes:
        name: of its files: table3.
        data: the corpus.
        title, caption: what it is, what its numbers mean.
        frame: its numbers, one tidy frame.
        tables: its numbers as printed.
        lead: sentences above the tables; several make a list.
        figure: None for none; it is saved as `<name>.png` and `.pdf`.
        notes: what a reader must know of the numbers, a sentence each.
        missing: what is missing, and the command that makes it.
        sweep: the command that makes all missing runs; "" where none is.
        runs: the names of the runs whose numbers it shows.
        progress: how much of it there is, in a few words.
        comparisons: paired differences that were run, for a forest plot; saved as `<name>-forest.png` and `.pdf`, and
            for two columns as `<name>-forest-wide.png` and `.pdf`.
        delta: smaller differences are negligible.
        part: the part of the report that shows it.
        findings: the paper's claims that it judges.
    """

    name: str
    data: str
    title: str
    caption: str
    frame: pd.DataFrame
    tables: Sequence[Table] = ()
    lead: Sequence[str] = ()
    figure: "Figure | None" = None
    notes: Sequence[str] = ()
    missing: Sequence[tuple[str, str]] = ()
    sweep: str = ""
    runs: Sequence[str] = ()
    progress: str = ""
    comparisons: "Sequence[ForestRow]" = ()
    delta: float = DELTA
    part: str = "beyond"
    findings: Sequence[Finding] = ()

    @property
    def heading(self) -> str:
        """The title, with the corpus where it is not the paper's."""
        return self.title + ("" if self.data == PAPER_CORPUS else f" — {corpus(self.data)}")


def corpus(data: str) -> str:
    """What a reader must know of a corpus that is not the paper's."""
    name = "demo corpus (synthetic voices)" if data == "demo" else f"corpus {data}"
    return f"{name}: not VocalSet, not comparable with the paper"


def shown(mean: float | None, deviation: float | None = None) -> str:
    """Format a number as the paper does: `0.612 ± 0.013`, without deviation `0.612`, without any `—`."""
    return NONE if mean is None or mean != mean else f"{mean:.3f}" + _plus_or_minus(deviation)


def shown_change(change: float | None, deviation: float | None = None) -> str:
    """Format a difference with its sign: `+0.012 ± 0.004`."""
    return NONE if change is None or change != change else f"{change:+z.3f}" + _plus_or_minus(deviation)


def shown_change_interval(low: float, high: float) -> str:
    """The interval of a difference, with signs; `NONE` if it is not defined."""
    return NONE if low != low else f"{low:+.3f} to {high:+.3f}"


def shown_ratio(value: float) -> str:
    """Format a correlation, or an effect in deviations: `+0.85`; `—` of one that is not defined."""
    return NONE if value != value else f"{value:+.2f}"


def shown_interval(low: float, high: float) -> str:
    """Format an interval: `0.581 to 0.640`; `—` of one that is not known."""
    return NONE if low != low else f"{low:.3f} to {high:.3f}"


def markdown(page: Page, level: int = 1) -> str:
    """Render a page as Markdown below a heading of a level: sentences, figure, tables, notes, missing runs."""
    marks = "#" * level
    parts = [f"{marks} {page.heading}", page.caption]
    parts.append("\n".join(f"- {sentence}" for sentence in page.lead) if len(page.lead) > 1 else "".join(page.lead))
    parts.append(f"![{page.heading}]({page.name}.png)" if page.figure else "")
    parts.append(f"![{page.heading}: differences]({page.name}-forest.png)" if page.comparisons else "")
    for table in page.tables:
        parts += [f"{marks}# {table.title}" if table.title else "", "\n".join(f"- {each}" for each in table.lead)]
        parts += [table.note, pipes(table)]
    parts.append("\n".join(f"- {note}" for note in page.notes))
    if page.missing:
        parts += [f"{marks}# Missing", "\n".join(f"- {what}: `{command}`" for what, command in page.missing)]
        parts.append(f"All at once, running only what is missing: `{page.sweep}`" if page.sweep else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def pipes(table: Table) -> str:
    """Render a table as Markdown that is readable as text too."""
    marks = {(True, False): "**", (False, True): "*", (False, False): "", (True, True): "***"}
    lines = [
        [f"{(mark := marks[cell.is_bold, cell.is_heading])}{cell.text}{mark}".replace("|", r"\|") for cell in line]
        for line in table.lines
    ]
    alignment = ["left"] * table.words + ["right"] * (len(table.header) - table.words)
    return tabulate(lines, table.header, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def csv(page: Page) -> str:
    """Render a page's frame as CSV, with six decimals."""
    return page.frame.round(6).to_csv(index=False, lineterminator="\n")


def html(page: Page, folder: Path, elsewhere: Collection[str] = (), is_drawn: bool = False) -> str:
    """Render the body of a page as HTML, without its title: tables that can be sorted, its figures of a folder inlined.

    HTML in sentences and cells is shown as text. What was not run has no row, and is only counted.

    Args:
        folder: holds the page's figures.
        elsewhere: notes that the report shows once for all its pages.
        is_drawn: whether the page's figures are elsewhere, too.
    """
    files = {"": bool(page.figure), "-forest-wide": bool(page.comparisons)}
    names = [f"{page.name}{end}" for end, is_there in files.items() if is_there and not is_drawn]
    tables = [(filled(table), table) for table in page.tables]
    macros: Any = templates().get_template("results.html").module
    return macros.body(
        page,
        [png(folder, name) for name in names],
        [(shown, _blocks(whole) - _blocks(shown)) for shown, whole in tables if shown.lines or not whole.lines],
        [each for each in page.lead if not each.endswith(NOTHING_RUN)],
        [note for note in page.notes if note not in elsewhere],
        elsewhere,
    )


def png(folder: Path, name: str) -> str:
    """A figure of a folder as it stands in a page."""
    return data_uri((folder / f"{name}.png").read_bytes(), "image/png")


def filled(table: Table) -> Table:
    """Leave out lines without a number, as of what was not run, and columns that no line fills."""
    if table.words < len(table.header):
        groups = [group for group in map(_filled_lines, table.groups, repeat(table.words)) if group]
        is_heading = [len(group) == 1 and group[0][0].is_heading for group in groups] + [True]
        kept = [not (own and following) for own, following in pairwise(is_heading)]
        table = replace(table, groups=list(compress(groups, kept)))
    lines = [line for line in table.lines if not line[0].is_heading]
    if not lines:
        return table
    columns = [k for k in range(len(table.header)) if not k or not _is_empty(line[k] for line in lines)]
    return replace(
        table,
        header=[table.header[k] for k in columns],
        groups=[[[line[k] for k in columns] for line in group] for group in table.groups],
        words=sum(k < table.words for k in columns),
        metrics=[table.metrics[k] for k in columns] if table.metrics else (),
    )


def _filled_lines(group: Sequence[Line], words: int) -> list[Line]:
    """The lines of a group with a number; the first of those below a label bears it and what else names the line."""
    lines: list[Line] = []
    names: Line = []
    for line in group:
        names = line[:words] if line[0].text else names
        if line[0].is_heading or not _is_empty(line[words:]):
            own = [cell if cell.text else name for cell, name in zip_longest(line[:words], names, fillvalue=Cell())]
            lines.append([*own, *line[words:]])
            names = []
    is_heading_alone = bool(lines) and lines[-1][0].is_heading and len(group) > 1
    return lines[:-1] if is_heading_alone else lines


def _is_empty(cells: Iterable[Cell]) -> bool:
    """Whether cells have no number but the 0 runs that they are of."""
    texts = {cell.text for cell in cells}
    return texts <= {"", NONE} or (NONE in texts and texts <= {"", NONE, "0", "not run"})


def _blocks(table: Table) -> int:
    """How many labels a table has."""
    return sum(bool(line[0].text) and not line[0].is_heading for line in table.lines)


@functools.cache
def templates() -> "jinja2.Environment":
    """The templates of HTML pages, which escape all text; their filter `sentence` renders Markdown within a line."""
    import jinja2
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    inline = MarkdownIt("commonmark", {"html": False}).disable(["link", "autolink", "image"]).renderInline
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)

    def best(metric: str) -> str:
        """The attribute that says which direction puts the best number of a metric first; "" for no metric."""
        if not metric or not is_metric(metric):
            return ""
        return Markup(f' data-best="{"descending" if is_higher_better(metric) else "ascending"}"')

    def number(value: object) -> str:
        """A number of a row, as text; "" for none."""
        if value is None or value != value:
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.3f}"

    environment.globals |= {"marks": MARKS, "no_number": NONE, "nothing_run": NOTHING_RUN, "zip": zip}
    environment.globals |= {"number": number, "shown": shown, "interval": shown_interval}
    environment.globals |= {"change": shown_change, "change_interval": shown_change_interval}
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters |= {"sentence": lambda text: Markup(inline(text)), "heading": heading, "best": best}
    return environment


def data_uri(content: bytes, kind: str) -> str:
    """Encode bytes as they stand in a page that opens without a network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _plus_or_minus(deviation: float | None) -> str:
    return "" if deviation is None or deviation != deviation else f" ± {deviation:.3f}"
