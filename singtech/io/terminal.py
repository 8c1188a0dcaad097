"""Text for a terminal of 80 columns, and for a log file: tables without rules, wrapped sentences, progress bars."""

import functools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from singtech.io.interrupts import raise_if_output_closed

if TYPE_CHECKING:
    from tqdm import tqdm

GAP = 2  # spaces between columns
NARROWEST = 24  # of a column of words that is wrapped
LINE_SECONDS = 30.0  # from one line of progress to the next, where no bar can be drawn
BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}"
PLAIN_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"
say = raise_if_output_closed()(print)  # a run whose reader has gone is interrupted, and has not failed


def terminal_width() -> int:
    """The columns of the terminal; 80 where the output is a file or a pipe."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def wrap(text: str, indent: str = "", first: str | None = None, width: int = 0) -> str:
    """Wrap a sentence between words.

    Args:
        indent: begins each line.
        first: begins the first line, if it is another than `indent`.
        width: in columns; 0 for the terminal's, at most 100.
    """
    width = width or min(terminal_width(), 100)
    first = indent if first is None else first
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=indent, **options)  # type: ignore[arg-type]


def wrap_lines(text: str) -> str:
    """Wrap each line of a text; what does not fit stands two columns further in."""
    indents = [line[: len(line) - len(line.lstrip())] for line in text.split("\n")]
    return "\n".join(wrap(line, f"{indent}  ", indent) for line, indent in zip(text.split("\n"), indents, strict=True))


def format_table(
    header: Sequence[str], lines: Iterable[Sequence], words: int = 1, ends_in_words: bool = False, width: int = 0
) -> str:
    """Format a table without pipes or rules: words to the left, numbers to the right.

    A table that is too wide has its widest column of words wrapped. If it is still too wide, its columns of numbers
    come in several blocks, each beside the first columns.

    Args:
        header: the text over each column.
        lines: cells of each line, as text or numbers.
        words: how many of the first columns hold words.
        ends_in_words: whether the last column holds words too.
        width: in columns; 0 for the terminal's.
    """
    width, header = width or terminal_width(), [str(name) for name in header]
    rows = [["" if cell is None else str(cell) for cell in line] for line in lines]
    is_words = [number < words or (ends_in_words and number == len(header) - 1) for number in range(len(header))]
    sizes = [max(_longest(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    excess = sum(sizes) + GAP * (len(sizes) - 1) - width
    candidates = [number for number in range(len(sizes)) if is_words[number] and _is_prose(rows, number)]
    if excess > 0 and candidates:
        widest = max(candidates, key=lambda number: sizes[number])
        room = max(NARROWEST, sizes[widest] - excess)
        for row in rows:
            row[widest] = wrap(row[widest], width=room)
        sizes[widest] = min(sizes[widest], room)
    blocks = []
    for block in _split_columns(sizes, words, width):
        cells = [[row[number] for number in block] for row in [header, *rows]]
        blocks.append(_align(cells, [is_words[number] for number in block]))
    return "\n\n".join(blocks)


def _longest(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _is_prose(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(" " in row[column] for row in rows)


def _split_columns(sizes: Sequence[int], words: int, width: int) -> list[list[int]]:
    """Split columns into blocks that fit; each begins with the columns of words."""
    first = list(range(words))
    blocks: list[list[int]] = [[*first]]
    for number in range(words, len(sizes)):
        block = [*blocks[-1], number]
        is_too_wide = sum(sizes[n] for n in block) + GAP * (len(block) - 1) > width
        if is_too_wide and len(blocks[-1]) > words:
            blocks.append([*first, number])
        else:
            blocks[-1] = block
    return blocks


def _align(rows: Sequence[Sequence[str]], is_words: Sequence[bool]) -> str:
    from tabulate import tabulate

    alignment = ["left" if each else "right" for each in is_words]
    options: dict[str, Any] = {"tablefmt": "plain", "disable_numparse": True, "preserve_whitespace": True}
    text = tabulate(rows, colalign=alignment, **options)  # tabulate's own headers are wider
    return "\n".join(line.rstrip() for line in text.split("\n"))


def format_seconds(seconds: float) -> str:
    """Write a duration in a few words: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_bar(
    title: str,
    unit: str,
    total: int | None = None,
    is_shown: bool = True,
    items: Iterable | None = None,
    **options: Any,
) -> "tqdm":
    """Show how far long work is: a bar in a terminal, a line every half minute in a log file.

    Args:
        title: of the work.
        unit: what is counted, in the plural.
        total: how many there are; None for the length of `items`.
        is_shown: False shows nothing.
        items: what is counted as it is iterated over; None to call `update`.
        options: of tqdm.
    """
    from tqdm import tqdm

    shared = {"desc": title, "unit": unit, "total": total, "disable": not is_shown, **options}
    if sys.stderr.isatty():
        return tqdm(items, mininterval=0.2, dynamic_ncols=True, smoothing=0.05, bar_format=BAR, **shared)
    return _plain_lines()(items, bar_format=PLAIN_LINE, **shared)


def print_above_bars(text: str, file: TextIO | None = None) -> None:
    """Print a line while a bar may be shown, to the output or to `file`."""
    from tqdm import tqdm

    if sys.stderr.isatty():
        tqdm.write(text, file=file)
    else:
        say(text, file=file, flush=True)


@functools.cache
def _plain_lines() -> "type[tqdm]":
    """Make the class of progress as lines; importing tqdm takes time that most commands do not need."""
    from tqdm import tqdm

    class PlainLines(tqdm):
        """Progress as lines for a log file. Work that takes less than half a minute writes none."""

        def __init__(self, items: Iterable | None = None, **options: Any) -> None:
            options |= {"mininterval": LINE_SECONDS, "maxinterval": LINE_SECONDS, "miniters": 1, "delay": LINE_SECONDS}
            super().__init__(items, **options | {"leave": False})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            """Write a line; nothing when the bar of a terminal would be cleared."""
            if msg is None:
                say(self, file=self.fp, flush=True)

    return PlainLines
