"""What all figures share: colours, and files (PNG, PDF) that are the same bytes from the same results."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from singtech.io.atomic import atomic_path
from singtech.results.summaries import Answer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's, told apart without colour vision
UNDATED = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def save(figure: "Figure", stem: Path) -> list[Path]:
    """Write `<stem>.png` and `.pdf`, without dates; the paths written."""
    import matplotlib

    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in UNDATED]
    for path, (kind, metadata) in zip(paths, UNDATED.items(), strict=True):
        with atomic_path(path) as temporary, matplotlib.rc_context({"pdf.fonttype": 42}):
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
    return paths


def entitle(figure: "Figure", answer: Answer, characters: int = 72) -> None:
    """Write the title on a figure of a corpus that is not the paper's, so that it says so wherever it is shown."""
    if not answer.is_comparable:
        figure.suptitle("\n".join(textwrap.wrap(answer.title, characters)), fontsize=9)


def blank(text: str) -> "Figure":
    """A small figure that says in one line why there is nothing to draw."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 0.7))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="0.4")
    return figure


def without_runs(answer: Answer) -> str:
    """Why a figure has no run to draw."""
    if not answer.left_out:
        return "no run yet"
    return f"no run counts yet: {answer.left_out} left out, see {answer.experiment.name}.md"


def picture(answer: Answer) -> str:
    """The figure in a Markdown page beside it."""
    return f"![{answer.title}]({answer.experiment.name}.png)"
