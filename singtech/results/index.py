"""One page of all tables and pictures of a corpus, in the paper's order."""

import re
from collections.abc import Sequence
from pathlib import Path

from singtech.files import write_text
from singtech.results.experiments import COMPARABLE, Experiment
from singtech.results.summaries import corpus


def write_index(folder: Path, data: str, experiments: Sequence[Experiment]) -> Path:
    """Write `README.md` out of the pages that were rendered into `folder`; its path.

    Args:
        folder: holds `<name>.md` of every experiment.
        data: the corpus.
        experiments: in printed order.
    """
    where = "VocalSet" if data == COMPARABLE else corpus(data)
    links = [f"- [{experiment.title}]({experiment.name}.md)" for experiment in experiments]
    pages = [(folder / f"{experiment.name}.md").read_text(encoding="utf-8").rstrip() for experiment in experiments]
    lowered = [re.sub("^#", "##", page, flags=re.MULTILINE) for page in pages]
    path = folder / "README.md"
    write_text(path, "\n\n".join([f"# The paper's tables and figures: {where}", "\n".join(links), *lowered]) + "\n")
    return path
