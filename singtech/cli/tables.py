"""Collate all runs and render the paper's tables and figures from them: `singtech tables`, without torch.

Each corpus has a folder `tables/<data>/`, whose README.md shows all of them, and one page is printed. They show the
runs whose settings most runs share; runs with other settings have a folder of their own below it.
    data=NAME           one corpus only
    show=NAME           the experiment whose page is printed (a file in experiments/), table3 by default
    output_dir=FOLDER   where the results are, outputs by default
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from singtech.io.interrupts import quietly_interrupted
from singtech.places import EXPERIMENTS, use_own_folder
from singtech.results.breakdown import render_breakdown
from singtech.results.claims import render_claims
from singtech.results.collate import RESULTS, Collated, read_collated, rebuild
from singtech.results.commands import own_folders, report
from singtech.results.confusions import render_confusion
from singtech.results.curves import render_curve
from singtech.results.experiments import Experiment, Published, read_experiments, read_published
from singtech.results.groups import groups_of, main_group
from singtech.results.index import TITLE, write_index
from singtech.results.layers import render_layers
from singtech.results.lengths import render_lengths
from singtech.results.selections import render_selection
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, has_runs
from singtech.results.tables import render_table

RENDER = {
    "table": render_table,
    "curve": render_curve,
    "layers": render_layers,
    "lengths": render_lengths,
    "confusion": render_confusion,
    "verdicts": render_claims,
    "breakdown": render_breakdown,
    "selection": render_selection,
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
    collated, corpora = collated_corpora(output_dir, data)
    names = [experiment.name for experiment in read_experiments()]
    if show is not None and show not in names:
        raise ValueError(f"show={show}: no such page, there are {', '.join(names)}.")
    said, pages = [], []
    for name in corpora:
        folder, answers, count = render_corpus(collated, name)
        shared = main_group(collated, name).words
        said.append(f"{count} files in {folder}, all on one page in README.md{f' ({shared})' if shared else ''}")
        others = len(groups_of(collated, name)) - 1
        if others > 0:
            folders = f"{others} folders" if others > 1 else "a folder"
            said.append(f"runs with other settings in {folders} below it, which README.md names")
        if (folder / "report.html").is_file():
            said.append(f"{folder / 'report.html'} is of before: `{report(collated, name)}` makes it anew")
        if show or answers[names.index(SHOWN)].made:
            pages.append((folder / f"{show or SHOWN}.md").read_text(encoding="utf-8"))
    return said, pages


def render_corpus(collated: Collated, data: str) -> tuple[Path, list[Answer], int]:
    """Render every experiment for one corpus: the folder, the answers in printed order, and the number of files.

    The answers and files are those of the settings that the most runs share. Below its folder each other group of
    runs has one, with the pages that it has runs for.
    """
    published, experiments = read_published(EXPERIMENTS / "paper.csv"), read_experiments()
    folder, main = collated.output_dir / "tables" / data, main_group(collated, data)
    _, *others = groups_of(collated, data) or [None]
    names = {group.settings: _name(group.settings) for group in others}
    answers, count = _render_group(folder, collated, published, data, experiments, main, names, "")
    for group in others:
        asked = [each for each in experiments if has_runs(each, collated, data, group.settings)]
        place = folder / names[group.settings]
        _render_group(place, collated, published, data, asked, group.settings, names, "../")
    for stale in folder.iterdir():
        if stale.is_dir() and stale.name not in names.values() and _is_rendered(stale):
            shutil.rmtree(stale)
    return folder, answers, count


def _render_group(
    folder: Path,
    collated: Collated,
    published: Published,
    data: str,
    experiments: Sequence[Experiment],
    group: Settings,
    names: dict[Settings, str],
    top: str,
) -> tuple[list[Answer], int]:
    """Render experiments with the runs of one group and an index of them; the answers and the number of files.

    Args:
        names: the folder of each group but the main one.
        top: where that one's is, seen from this folder.
    """
    rendered = [RENDER[each.kind](each, collated, published, data, folder, group) for each in experiments]
    answers = [found for _, found in rendered]
    groups = groups_of(collated, data)
    links = [
        (each, f"{top}{names[each.settings]}/README.md" if each.settings in names else f"{top}README.md")
        for each in groups
    ]
    write_index(folder, data, answers, group, links)
    return answers, sum(len(paths) for paths, _ in rendered) + 1


def _name(group: Settings) -> str:
    """A folder's name for a group, which tells it from others of almost the same words."""
    words = group.words or "paper"
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "_", words)[:60].strip("._")
    return f"{plain}-{hashlib.sha256(words.encode()).hexdigest()[:6]}"


def _is_rendered(folder: Path) -> bool:
    """Whether a folder is one of ours: it has an index."""
    try:
        return (folder / "README.md").read_text(encoding="utf-8").startswith(TITLE)
    except (OSError, ValueError):
        return False


def collated_corpora(output_dir: Path, data: str | None = None) -> tuple[Collated, list[str]]:
    """All results, collated anew, and the corpora that were prepared or have runs, or the one that is asked for.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a collated file is damaged.
    """
    rebuild(output_dir)
    collated = read_collated(output_dir)
    for folder in own_folders(collated.results):
        use_own_folder(folder)
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
                f"{argument!r} is not understood: `singtech tables` takes data=NAME, show=NAME and output_dir=FOLDER."
            )
        options[name] = value
    return options


if __name__ == "__main__":
    sys.exit(main())
