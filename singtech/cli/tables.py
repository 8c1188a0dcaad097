"""Collate all runs and render the paper's tables and figures from them, without torch.

Each corpus has a folder `tables/<data>/`, and README.md in it shows all tables and figures. They show the largest group
of runs with the same settings. Each other group has its own folder below. One page is printed.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option
from singtech.config_paths import EXPERIMENTS
from singtech.errors import InvalidValue, NotThere
from singtech.results.collate import RESULTS, Collated, collate
from singtech.results.commands import report
from singtech.results.experiments import read_experiments, read_paper_numbers
from singtech.results.groups import list_groups, main_group
from singtech.results.index import TITLE, write_index
from singtech.results.index import render as render_page
from singtech.results.pages import Page
from singtech.results.plain import plain
from singtech.results.settings import Settings
from singtech.results.summaries import has_runs

DEFAULT_PAGE = "table3"  # the page to print by default, if it has a run


@dataclass(kw_only=True)
class Options:
    """The options of `singtech tables`."""

    data: str = option("NAME", "one corpus only", "")
    show: str = option("NAME", "the page that is printed, a file in experiments/; table3 if it has a run", "")
    output_dir: Path = option("FOLDER", "where the results are; it may be read-only", Path("outputs"))
    to: str = option("FOLDER", "where to write the pages; <output_dir>/tables by default", "")


@command(Options)
def main(options: Options) -> None:
    """Render all corpora; print what was written, and one page for each corpus."""
    lines, pages = render(options.output_dir, options.data, options.show, options.to)
    print(*lines, *(f"\n{page}" for page in pages), sep="\n")


def render(output_dir: Path, data: str = "", show: str = "", to: str = "") -> tuple[list[str], list[str]]:
    """Render every experiment into `tables/<data>/`, for every corpus that was prepared or has runs, or for one corpus.

    Returns:
        Lines about what was written; and the page to show of each corpus, as text.
    Raises:
        NotThere: there is nothing to render.
        InvalidValue: there is no such page to show.
    """
    collated, corpora = collate_corpora(output_dir, data)
    names = [experiment.name for experiment in read_experiments()]
    if show and show not in names:
        raise InvalidValue(f"show={show}: no such page, there are {', '.join(names)}.")
    lines, pages = [], []
    for name in corpora:
        folder, rendered = render_corpus(collated, name, to)
        words = main_group(collated, name).words
        lines.append(f"{folder}: {len(rendered)} pages, all in README.md{f' ({words})' if words else ''}")
        others = len(list_groups(collated, name)) - 1
        if others > 0:
            folders = f"{others} folders" if others > 1 else "a folder"
            lines.append(f"runs with other settings in {folders} below it, which README.md names")
        if (folder / "report.html").is_file():
            lines.append(f"{folder / 'report.html'} is outdated: `{report(collated, name)}` makes it again")
        if show or rendered[names.index(DEFAULT_PAGE)].runs:
            pages.append(plain(rendered[names.index(show or DEFAULT_PAGE)]))
    return lines, pages


def render_corpus(collated: Collated, data: str, to: str = "") -> tuple[Path, list[Page]]:
    """Render every experiment for one corpus, and remove folders of groups that no longer exist.

    Each group of runs but the largest has a folder below the corpus's, with the pages that it has runs for.

    Returns:
        The corpus's folder; the pages of the largest group, in printed order.
    """
    published, experiments = read_paper_numbers(EXPERIMENTS / "paper.csv"), read_experiments()
    corpus_folder, groups = Path(to or collated.output_dir / "tables") / data, list_groups(collated, data)
    folders = {group.settings: corpus_folder / _name_folder(group.settings) for group in groups}
    folders[main_group(collated, data)] = corpus_folder
    main_pages: list[Page] = []
    for settings, folder in folders.items():
        is_main = folder == corpus_folder
        shown_experiments = [each for each in experiments if is_main or has_runs(each, collated, data, settings)]
        pages = [render_page(each, collated, published, data, folder, settings)[1] for each in shown_experiments]
        links = [(group, os.path.relpath(folders[group.settings] / "README.md", folder)) for group in groups]
        write_index(folder, data, pages, settings, links)
        main_pages = pages if is_main else main_pages
    for index in corpus_folder.glob("*/README.md"):
        if index.parent not in folders.values() and index.read_text(encoding="utf-8").startswith(TITLE):
            shutil.rmtree(index.parent)
    return corpus_folder, main_pages


def _name_folder(group: Settings) -> str:
    """Name the folder of a group. A hash makes the name unique."""
    words = group.words or "paper"
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "_", words)[:60].strip("._")
    return f"{plain}-{hashlib.sha256(words.encode()).hexdigest()[:6]}"


def collate_corpora(output_dir: Path, data: str = "") -> tuple[Collated, list[str]]:
    """Collate all results, and list the corpora that were prepared or have runs, or the one named `data`.

    Raises:
        NotThere: there is no such corpus.
        ValueError: a collated file is damaged.
    """
    collated = collate(output_dir)
    path = output_dir / RESULTS
    if not collated.corpora:
        raise NotThere(f"{path}: no run yet. Make some with `make demo`, or with `singtech run`.")
    if data and data not in collated.corpora:
        corpora = ", ".join(collated.corpora)
        raise NotThere(f"{path}: no run on data={data}, only on {corpora}. Make one with `singtech run`.")
    return collated, [data] if data else collated.corpora
