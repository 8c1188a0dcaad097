"""What a command says of itself for --help, and what a shell completes; `conf/config.yaml` has the words.

A template of Hydra's is filled by resolvers, since Hydra knows neither a command's own words nor which choice of a
group is the default.
"""

import inspect
import itertools
import sys
import textwrap
from pathlib import Path

from omegaconf import OmegaConf

from singtech.places import CONF, EXPERIMENTS

WIDTH, INDENT = 110, 15
COMPLETION = {"-sc", "--shell-completion"}
ASKS = {"-h", "--help", "--hydra-help", *COMPLETION}  # what Hydra answers without a run


def register(doc: str) -> None:
    """Let the template of --help have the first line of a module's docstring, the rest of it and the groups, as
    `${usage.first_line:}`, `${usage.more:}` and `${usage.groups:}`."""
    first, _, rest = inspect.cleandoc(doc).partition("\n")
    first = first.partition(": python -m")[0].rstrip(".")
    OmegaConf.register_new_resolver("usage.first_line", lambda: f"{first}.", replace=True)
    OmegaConf.register_new_resolver("usage.more", lambda: f"\n{_filled(rest)}\n" if rest.strip() else "", replace=True)
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


def _filled(text: str) -> str:
    """Paragraphs wrapped anew; indented lines, which are settings and what they do, as they are."""
    parts = itertools.groupby(text.strip("\n").split("\n"), lambda line: line.startswith(" ") or not line)
    filled = ["\n".join(lines) if is_list else textwrap.fill(" ".join(lines), WIDTH) for is_list, lines in parts]
    return "\n".join(filled)


def complete(arguments: list[str]) -> None:
    """Before Hydra completes: for the console script, which a shell can know, and with `experiments/` among the groups.

    Its completion is installed for the program that is asked. For `python -m singtech.run` that would be whatever
    `python` runs, so that it is installed for `singtech-run` instead.
    """
    if not COMPLETION & set(arguments):
        return
    if sys.argv[0].endswith(".py"):
        sys.argv[0] = f"singtech-{Path(sys.argv[0]).stem}"
