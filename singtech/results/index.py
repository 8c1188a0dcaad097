"""Render the page of each experiment, and one page of all tables and figures of a corpus, in the paper's order."""

from collections.abc import Callable, Sequence
from pathlib import Path

from singtech.io.atomic import write_text
from singtech.results.breakdown import breakdown_page
from singtech.results.claims import claims_page
from singtech.results.collate import Collated
from singtech.results.confusions import confusion_page
from singtech.results.curves import curve_page
from singtech.results.experiments import PAPER_CORPUS, Experiment, Published
from singtech.results.figures import COLUMN, TWO_COLUMNS, save
from singtech.results.forest_plot import draw_forest
from singtech.results.frontier import frontier_page
from singtech.results.groups import Group
from singtech.results.latex import latex
from singtech.results.layer_scores import layer_scores_page
from singtech.results.layers import layers_page
from singtech.results.lengths import lengths_page
from singtech.results.long_tail import long_tail_page
from singtech.results.nested import nested_page
from singtech.results.pages import Page, Table, corpus, csv, markdown, pipes
from singtech.results.rounding import rounding_page
from singtech.results.selections import selection_page
from singtech.results.settings import DEFAULTS, Settings
from singtech.results.summaries import Answer, answer
from singtech.results.tables import table_page
from singtech.results.tuning import tuning_page

TITLE = "# The paper's tables and figures: "

PAGES: dict[str, Callable[[Answer], Page]] = {  # by kind of experiment
    "table": table_page,
    "curve": curve_page,
    "layers": layers_page,
    "lengths": lengths_page,
    "confusion": confusion_page,
    "verdicts": claims_page,
    "breakdown": breakdown_page,
    "selection": selection_page,
    "tuning": tuning_page,
    "rounding": rounding_page,
    "frontier": frontier_page,
    "long_tail": long_tail_page,
    "nested": nested_page,
    "layer_scores": layer_scores_page,
}


def render(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Page]:
    """Write an experiment's page into `folder`: `<name>.md`, `.csv`, its tables as `.tex`, its figures as `.png` and
    `.pdf`; return the paths and the page. The same results give the same bytes."""
    page = PAGES[experiment.kind](answer(experiment, collated, data, group, published))
    formats = {"md": markdown(page), "csv": csv(page)} | ({"tex": latex(page)} if page.tables else {})
    paths = [folder / f"{page.name}.{kind}" for kind in formats]
    for path, text in zip(paths, formats.values(), strict=True):
        write_text(path, text)
    figures = {page.name: page.figure} if page.figure else {}
    title = "" if page.data == PAPER_CORPUS else page.heading
    for end, width in (("", COLUMN), ("-wide", TWO_COLUMNS)):
        name = f"{page.name}-forest{end}"
        if page.comparisons:
            figures[name] = draw_forest(page.comparisons, page.delta, width, title)
        else:  # of runs that no longer count
            for kind in ("png", "pdf"):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return paths + [path for name, figure in figures.items() for path in save(figure, folder / name)], page


def write_index(
    folder: Path,
    data: str,
    pages: Sequence[Page],
    group: Settings = DEFAULTS,
    links: Sequence[tuple[Group, str]] = (),
) -> Path:
    """Write `README.md` into `folder` from the pages, first how much of each there is; return its path.

    Args:
        group: the settings that the runs of these pages share.
        links: every group of the corpus's runs, and its index as seen from `folder`.
    """
    name = ("VocalSet" if data == PAPER_CORPUS else corpus(data)) + (f"; {group.words}" if group.words else "")
    lines = [[f"[{page.name}]({page.name}.md)", page.title, page.progress] for page in pages]
    contents = Table.of(["page", "what it is", "how much is there"], lines, words=3)
    parts = [f"{TITLE}{name}", *_of_groups(group, links), pipes(contents)]
    path = folder / "README.md"
    write_text(path, "\n\n".join([*parts, *(markdown(page, level=2).rstrip() for page in pages)]) + "\n")
    return path


def _of_groups(group: Settings, links: Sequence[tuple[Group, str]]) -> list[str]:
    """Every group of runs, by the settings that differ from the paper's, with a link to its pages; these are bold."""
    if len(links) < 2:
        return []
    lines = []
    for each, link in links:
        words = each.settings.words or "none"
        lines.append([f"**{words}**, on this page" if each.settings == group else f"[{words}]({link})", str(each.runs)])
    intro = "Runs with different settings are kept apart. The settings that differ from the paper's:"
    return [intro, pipes(Table.of(["settings", "complete runs"], lines))]
