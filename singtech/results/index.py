"""One page of all tables and pictures of a corpus, in the paper's order."""

import re
from collections.abc import Sequence
from pathlib import Path

from singtech.files import write_text
from singtech.results.experiments import COMPARABLE
from singtech.results.pages import pipes
from singtech.results.summaries import Answer, corpus


def write_index(folder: Path, data: str, answers: Sequence[Answer]) -> Path:
    """Write `README.md` out of the pages that were rendered into `folder`, first how much of each is there; its path.

    Args:
        folder: holds `<name>.md` of every experiment.
        data: the corpus.
        answers: to the experiments, in printed order.
    """
    where = "VocalSet" if data == COMPARABLE else corpus(data)
    names = [answer.experiment.name for answer in answers]
    lines = [
        [f"[{name}]({name}.md)", answer.experiment.title, answer.progress]
        for name, answer in zip(names, answers, strict=True)
    ]
    pages = [(folder / f"{name}.md").read_text(encoding="utf-8").rstrip() for name in names]
    lowered = [re.sub("^#", "##", page, flags=re.MULTILINE) for page in pages]
    table = pipes(["page", "what it is", "how much is there"], lines, left=3)
    path = folder / "README.md"
    write_text(path, "\n\n".join([f"# The paper's tables and figures: {where}", table, *lowered]) + "\n")
    return path
