"""Collate all runs and render the paper's tables and figures from them: `python -m singtech.tables`, without torch.

It takes `data=NAME`, for one corpus, and `output_dir=FOLDER`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from singtech.places import EXPERIMENTS
from singtech.results.collate import RESULTS, collate
from singtech.results.experiments import read_experiments, read_published
from singtech.results.figures import render_figure
from singtech.results.summaries import answer
from singtech.results.tables import markdown, render_table

SHOWN = "table3"  # printed at the end


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence on what to do."""
    try:
        options = _options(sys.argv[1:] if argv is None else argv)
        paths, pages = render(Path(options["output_dir"]), options["data"])
    except (OSError, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    print(*paths, *(f"\n{page}" for page in pages), sep="\n")
    return 0


def render(output_dir: Path, data: str | None = None) -> tuple[list[Path], list[str]]:
    """Render every experiment for every corpus that has runs (or for one), into `tables/<data>/`.

    Returns:
        The paths written, and Table 3 of each corpus as Markdown.
    Raises:
        FileNotFoundError: there are no runs to render.
    """
    results = collate(output_dir)
    path = output_dir / RESULTS
    if not len(results):
        raise FileNotFoundError(f"{path}: no run yet. Make some with `make demo`, or with `python -m singtech.run`.")
    corpora = sorted(set(results["data"]))
    if data is not None and data not in corpora:
        there = ", ".join(corpora)
        raise FileNotFoundError(
            f"{path}: no run on data={data}, only on {there}. Make one with `python -m singtech.run`."
        )
    published = read_published(EXPERIMENTS / "paper.csv")
    paths, pages = [], []
    for name in corpora if data is None else [data]:
        folder = output_dir / "tables" / name
        for experiment in read_experiments(EXPERIMENTS):
            found = answer(experiment, results, name)
            paths += (render_figure if experiment.is_figure else render_table)(found, published, folder)
            if experiment.name == SHOWN:
                pages.append(markdown(found, published))
    return paths, pages


def _options(arguments: Sequence[str]) -> dict[str, str | None]:
    """The command's two choices, each `name=value`."""
    options = {"output_dir": "outputs", "data": None}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise ValueError(
                f"{argument!r} is not understood: `python -m singtech.tables` takes data=NAME and output_dir=FOLDER."
            )
        options[name] = value
    return options


if __name__ == "__main__":
    sys.exit(main())
