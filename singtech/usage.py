"""What a command says of itself for --help, and what a shell completes; `conf/config.yaml` has the words.

A template of Hydra's is filled by two resolvers, since Hydra knows neither a command's own first line nor which choice
of a group is the default.
"""

import os
import re
import sys
import textwrap
from pathlib import Path

from omegaconf import OmegaConf

from singtech.places import CONF, EXPERIMENTS

WIDTH, INDENT = 110, 15
COMPLETION = {"-sc", "--shell-completion"}
ASKS = {"-h", "--help", "--hydra-help", *COMPLETION}  # what Hydra answers without a run


def register(doc: str) -> None:
    """Let the template of --help have `${usage.first_line:}` of a module's docstring and `${usage.groups:}`."""
    first = doc.split("\n")[0].partition(": python -m")[0].rstrip(".")
    OmegaConf.register_new_resolver("usage.first_line", lambda: f"{first}.", replace=True)
    OmegaConf.register_new_resolver("usage.groups", groups, replace=True)


def groups() -> str:
    """The groups with their choices, defaults starred, a wrapped paragraph each."""
    defaults = {}
    for entry in OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["defaults"]:
        if isinstance(entry, dict):
            defaults |= entry
    lines = []
    for group, default in defaults.items():
        folder = EXPERIMENTS if group == "experiments" else CONF / group
        names = [path.stem + "*" * (path.stem == default) for path in sorted(folder.glob("*.yaml"))]
        lines += textwrap.wrap(
            ", ".join(names),
            WIDTH,
            initial_indent=f"  {group}".ljust(INDENT),
            subsequent_indent=" " * INDENT,
            break_long_words=False,
        )
    return "\n".join(lines)


def complete(arguments: list[str]) -> None:
    """Before Hydra completes: for the console script, which a shell can know, and with `experiments/` among the groups.

    Its completion is installed for the program that is asked. For `python -m singtech.run` that would be whatever
    `python` runs, so that it is installed for `singtech-run` instead.
    """
    if not COMPLETION & set(arguments):
        return
    if sys.argv[0].endswith(".py"):
        sys.argv[0] = f"singtech-{Path(sys.argv[0]).stem}"
    place = f"hydra.searchpath=[file://{EXPERIMENTS.parent}]"  # after flags: settings stand together
    os.environ["COMP_LINE"] = re.sub(r"^(\S+ +(-\S+ +)*)", rf"\g<1>{place} ", os.environ.get("COMP_LINE", ""))
