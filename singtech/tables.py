"""Collate all runs and render the paper's tables and figures from them: `python -m singtech.tables`, without torch.

Each corpus has a folder `tables/<data>/`, whose README.md shows all of them, and one page is printed.
    data=NAME           one corpus only
    show=NAME           the experiment whose page is printed (a file in experiments/), table3 by default
    output_dir=FOLDER   where the results are, outputs by default
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from singtech.places import EXPERIMENTS
from singtech.results.breakdown import render_breakdown
from singtech.results.choices import render_choice
from singtech.results.claims import render_claims
from singtech.results.collate import RESULTS, Collated, read_collated, rebuild
from singtech.results.commands import report
from singtech.results.confusions import render_confusion
from singtech.results.curves import render_curve
from singtech.results.experiments import read_experiments, read_published
from singtech.results.index import write_index
from singtech.results.layers import render_layers
from singtech.results.lengths import render_lengths
from singtech.results.summaries import Answer
from singtech.results.tables import render_table
from singtech.signals import quietly_interrupted

RENDER = {
    "table": render_table,
    "curve": render_curve,
    "layers": render_layers,
    "lengths": render_lengths,
    "confusion": render_confusion,
    "verdicts": render_claims,
    "breakdown": render_breakdown,
    "choice": render_choice,
}
SHOWN = "table3"  # printed where nothing else is asked for and it has a run


@quietly_interrupted
def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence on what to do."""
    arguments = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        said, pages = render(Path(options["output_dir"]), options["data"], options["show"])
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(*said, *(f"\n{page}" for page in pages), sep="\n")
    return 0


def render(output_dir: Path, data: str | None = None, show: str | None = None) -> tuple[list[str], list[str]]:
    """Render every experiment for every corpus that was prepared or has runs (or for one), into `tables/<data>/`.

    Returns:
        What was written, a line a corpus; and of each corpus the page to show, as Markdown.
    Raises:
        FileNotFoundError: there is nothing to render.
        ValueError: there is no such page to show.
    """
    names = [experiment.name for experiment in read_experiments(EXPERIMENTS)]
    if show is not None and show not in names:
        raise ValueError(f"show={show}: no such page, there are {', '.join(names)}.")
    collated, corpora = collated_corpora(output_dir, data)
    said, pages = [], []
    for name in corpora:
        folder, answers, count = render_corpus(collated, name)
        said.append(f"{count} files in {folder}, all on one page in README.md")
        if (folder / "report.html").is_file():
            said.append(f"{folder / 'report.html'} is of before: `{report(collated, name)}` makes it anew")
        if show or answers[names.index(SHOWN)].made:
            pages.append((folder / f"{show or SHOWN}.md").read_text(encoding="utf-8"))
    return said, pages


def render_corpus(collated: Collated, data: str) -> tuple[Path, list[Answer], int]:
    """Render every experiment for one corpus: the folder, the answers in printed order, and the number of files."""
    published = read_published(EXPERIMENTS / "paper.csv")
    folder = collated.output_dir / "tables" / data
    rendered = [RENDER[each.kind](each, collated, published, data, folder) for each in read_experiments(EXPERIMENTS)]
    answers = [found for _, found in rendered]
    write_index(folder, data, answers)
    return folder, answers, sum(len(paths) for paths, _ in rendered) + 1


def collated_corpora(output_dir: Path, data: str | None = None) -> tuple[Collated, list[str]]:
    """All results, collated anew, and the corpora that were prepared or have runs, or the one that is asked for.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a collated file is damaged.
    """
    rebuild(output_dir)
    collated = read_collated(output_dir)
    path = output_dir / RESULTS
    if not collated.corpora:
        raise FileNotFoundError(f"{path}: no run yet. Make some with `make demo`, or with `python -m singtech.run`.")
    if data is not None and data not in collated.corpora:
        there = ", ".join(collated.corpora)
        raise FileNotFoundError(
            f"{path}: no run on data={data}, only on {there}. Make one with `python -m singtech.run`."
        )
    return collated, collated.corpora if data is None else [data]


def _options(arguments: Sequence[str]) -> dict[str, str | None]:
    """The command's choices, each `name=value`."""
    options = {"output_dir": "outputs", "data": None, "show": None}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise ValueError(
                f"{argument!r} is not understood: `python -m singtech.tables` takes data=NAME, show=NAME and "
                "output_dir=FOLDER."
            )
        options[name] = value
    return options


if __name__ == "__main__":
    sys.exit(main())
