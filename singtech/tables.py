"""Collate all runs and render the paper's tables and figures from them: `python -m singtech.tables`, without torch.

Each corpus has a folder `tables/<data>/`, whose README.md shows all of them. The command takes `data=NAME`, for one
corpus, and `output_dir=FOLDER`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from singtech.places import EXPERIMENTS
from singtech.results.collate import RESULTS, collate, read_collated
from singtech.results.confusions import render_confusion
from singtech.results.curves import render_curve
from singtech.results.experiments import read_experiments, read_published
from singtech.results.index import write_index
from singtech.results.layers import render_layers
from singtech.results.lengths import render_lengths
from singtech.results.tables import render_table

RENDER = {
    "table": render_table,
    "curve": render_curve,
    "layers": render_layers,
    "lengths": render_lengths,
    "confusion": render_confusion,
}
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
    """Render every experiment for every corpus that was prepared or has runs (or for one), into `tables/<data>/`.

    Returns:
        The paths written, and Table 3 of each corpus as Markdown.
    Raises:
        FileNotFoundError: there is nothing to render.
    """
    collate(output_dir)
    collated = read_collated(output_dir)
    path = output_dir / RESULTS
    if not collated.corpora:
        raise FileNotFoundError(f"{path}: no run yet. Make some with `make demo`, or with `python -m singtech.run`.")
    if data is not None and data not in collated.corpora:
        there = ", ".join(collated.corpora)
        raise FileNotFoundError(
            f"{path}: no run on data={data}, only on {there}. Make one with `python -m singtech.run`."
        )
    published = read_published(EXPERIMENTS / "paper.csv")
    experiments = read_experiments(EXPERIMENTS)
    paths, pages = [], []
    for name in collated.corpora if data is None else [data]:
        folder = output_dir / "tables" / name
        for experiment in experiments:
            paths += RENDER[experiment.kind](experiment, collated, published, name, folder)
        paths.append(write_index(folder, name, experiments))
        pages.append((folder / f"{SHOWN}.md").read_text(encoding="utf-8"))
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
