"""What all figures share: style, colours, spectrograms, and PNG, PDF and SVG files of the same bytes every time."""

import functools
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singtech.io.atomic import atomic_path
from singtech.results.summaries import Answer

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's, told apart without colour vision
COLUMN, TWO_COLUMNS = 85 / 25.4, 178 / 25.4  # inches: the widths of a figure of a paper
MOST_IN_A_COLUMN = 12  # techniques; more have two columns
TEXT, SMALL = 8, 7  # points: of axes; of ticks, legends and notes
LETTER = 0.056  # inches: the mean width of a letter of small text
LOUDNESS = "magma"  # brighter is louder, in grey too
UNDATED = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}
UNDATED["svg"] = {"Date": None, "Creator": None}

_boxed: set[str] = set()  # letters that no font has

log = logging.getLogger(__name__)


@contextmanager
def default_style() -> Iterator[None]:
    """Use matplotlib's own defaults, whatever a user's matplotlibrc says. Decorates every function that draws."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@contextmanager
def print_style() -> Iterator[None]:
    """Use the sizes of text and lines of a paper. Decorates the functions that draw a page's figure."""
    import matplotlib

    with default_style():
        look: dict[Any, Any] = {"font.size": SMALL, "axes.labelsize": TEXT, "legend.fontsize": SMALL}
        look |= {"figure.titlesize": SMALL, "axes.titlesize": TEXT, "legend.frameon": False}
        look |= {"axes.linewidth": 0.6, "hatch.linewidth": 0.6}
        matplotlib.rcParams.update(look)
        yield


def plot(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Make an empty plot, of a width and height in inches, with thin axes at the left and below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=SMALL, width=0.6, length=2.5)  # also of ticks that are made later
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


@default_style()
def save(figure: "Figure", stem: Path, kinds: Sequence[str] = ("png", "pdf"), dpi: int = 200) -> list[Path]:
    """Write a figure as `<stem>.png` and `.pdf`, or as other kinds (svg), without dates; return the paths."""
    import matplotlib
    from matplotlib.text import Text

    matplotlib.rcParams.update({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": ""})  # letters stay text
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        with atomic_path(path) as temporary:
            for _ in range(2):  # again with other fonts, if DejaVu lacks letters
                with warnings.catch_warnings(record=True) as caught:
                    warnings.filterwarnings("always", "Glyph")
                    figure.savefig(temporary, format=kind, dpi=dpi, metadata=UNDATED[kind])
                letters = {chr(int(number)) for w in caught for number in re.findall(r"^Glyph (\d+)", str(w.message))}
                if not (families := _find_fonts(frozenset(letters))):
                    break
                for text in figure.findobj(Text):
                    text.set_fontfamily(["DejaVu Sans", *families])
    return paths


@functools.cache
def _find_fonts(letters: frozenset[str]) -> list[str]:
    """Return installed fonts that have these letters; say once if there is none for some."""
    from matplotlib import font_manager

    families, missing = [], set(letters)
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.weight != 400, font.name)):
        if missing and not font.name.startswith("Last Resort"):  # which has a box for each letter
            present = missing & set(map(chr, font_manager.get_font(font.fname).get_charmap()))
            families += [font.name] * bool(present)
            missing -= present
    if missing and not _boxed:
        text = "%s: no font here has it, so figures have boxes for it; install one that has, such as Noto Sans."
        log.warning(text, " ".join(sorted(missing)))
    _boxed.update(missing)
    return families


def width_for(techniques: int) -> float:
    """Inches: the width of a figure with so many techniques side by side."""
    return COLUMN if techniques <= MOST_IN_A_COLUMN else TWO_COLUMNS


def draw_spectrogram(
    axes: "Axes", spectrogram: "np.ndarray", frame_seconds: float, bin_hertz: float, **style
) -> "AxesImage":
    """Draw a spectrogram (F, T) over seconds and kHz; frames and bins are centred on multiples of their steps."""
    bins, frames = spectrogram.shape
    step = bin_hertz / 1000
    extent = (-frame_seconds / 2, (frames - 0.5) * frame_seconds, -step / 2, (bins - 0.5) * step)
    axes.set_ylabel("frequency / kHz")
    return axes.imshow(spectrogram, LOUDNESS, aspect="auto", origin="lower", extent=extent, **style)


def caption(figure: "Figure", title: str, small_print: str = "") -> None:
    """Write a title above a figure, and licence, source or notes below it."""
    figure.suptitle(title, fontsize=TEXT)
    figure.supxlabel(small_print, fontsize=SMALL, color="0.4")


def entitle(figure: "Figure", answer: Answer) -> None:
    """Write the title on a figure of a corpus that is not the paper's, so that it says so wherever it is shown."""
    if not answer.is_comparable:
        letters = int(figure.get_figwidth() / LETTER)
        figure.suptitle("\n".join(textwrap.wrap(answer.page().heading, letters)), fontsize=SMALL)


@default_style()
def blank(text: str) -> "Figure":
    """Draw a small figure that says in one line why it is empty."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN, 0.5))
    words = "\n".join(textwrap.wrap(text, int(COLUMN / LETTER)))
    figure.text(0.5, 0.5, words, ha="center", va="center", color="0.4", fontsize=SMALL)
    return figure


def without_runs(answer: Answer) -> str:
    """Say why a figure has no run to draw."""
    if not answer.left_out:
        return "no run yet"
    return f"no run counts yet: {answer.left_out} left out, see {answer.experiment.name}.md"
