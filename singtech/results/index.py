"""One page of all tables and pictures of a corpus, in the paper's order."""

import re
from collections.abc import Sequence
from pathlib import Path

from singtech.io.atomic import write_text
from singtech.results.experiments import COMPARABLE
from singtech.results.groups import Group
from singtech.results.pages import pipes
from singtech.results.settings import PAPERS, Settings
from singtech.results.summaries import Answer, corpus

TITLE = "# The paper's tables and figures: "


def write_index(
    folder: Path,
    data: str,
    answers: Sequence[Answer],
    group: Settings = PAPERS,
    links: Sequence[tuple[Group, str]] = (),
) -> Path:
    """Write `README.md` out of the pages that were rendered into `folder`, first how much of each is there; its path.

    Args:
        folder: holds `<name>.md` of every experiment.
        data: the corpus.
        answers: to the experiments, in printed order.
        group: the settings that the runs of these pages share.
        links: every group of the corpus's runs, and where its index is, seen from `folder`.
    """
    where = ("VocalSet" if data == COMPARABLE else corpus(data)) + (f"; {group.words}" if group.words else "")
    names = [answer.experiment.name for answer in answers]
    lines = [
        [f"[{name}]({name}.md)", answer.experiment.title, answer.progress]
        for name, answer in zip(names, answers, strict=True)
    ]
    pages = [(folder / f"{name}.md").read_text(encoding="utf-8").rstrip() for name in names]
    lowered = [re.sub("^#", "##", page, flags=re.MULTILINE) for page in pages]
    table = pipes(["page", "what it is", "how much is there"], lines, left=3)
    path = folder / "README.md"
    write_text(path, "\n\n".join([f"{TITLE}{where}", *_of_groups(group, links), table, *lowered]) + "\n")
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
    return [intro, pipes(["settings", "complete runs"], lines, left=1)]
