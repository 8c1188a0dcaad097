"""Write the help of the verbs with Hydra's settings, and complete words in a shell.

Hydra fills the template in `conf/config.yaml`. Resolvers add the docstring of the verb and the default choice of each
group, which Hydra does not know.
"""

import inspect
import itertools
import os
import textwrap
from dataclasses import fields
from importlib import import_module

from omegaconf import OmegaConf

from singtech.config_paths import CONF, EXPERIMENTS

WIDTH, INDENT = 80, 14
# the verbs with options of their own; protocol and score take Hydra's settings of the corpus too
WITH_OPTIONS = ("tables", "report", "predict", "export", "probe", "protocol", "score", "pack", "merge", "store")


def register(doc: str) -> None:
    """Register a module's docstring and the groups as `${usage.doc:}` and `${usage.groups:}`."""
    OmegaConf.register_new_resolver("usage.doc", lambda: wrap_text(inspect.cleandoc(doc)), replace=True)
    OmegaConf.register_new_resolver("usage.groups", list_groups, replace=True)


def list_groups() -> str:
    """List the choices of each group in a wrapped paragraph, with a star after the default."""
    lines = []
    entries = [entry for entry in OmegaConf.load(CONF / "config.yaml").defaults if not isinstance(entry, str)]
    for group, default in [item for entry in entries for item in entry.items()]:
        folder = EXPERIMENTS if group == "experiments" else CONF / group
        names = [path.stem + "*" * (path.stem == default) for path in sorted(folder.glob("*.yaml"))]
        indent = f"  {group}".ljust(INDENT)
        lines.append(textwrap.fill(", ".join(names), WIDTH, initial_indent=indent, subsequent_indent=" " * INDENT))
    return "\n".join(lines)


def wrap_text(text: str) -> str:
    """Wrap paragraphs. Keep indented lines, which list settings."""
    parts = itertools.groupby(text.split("\n"), lambda line: line.startswith(" ") or not line)
    return "\n".join("\n".join(part) if is_list else textwrap.fill(" ".join(part), WIDTH) for is_list, part in parts)


def complete_words(verbs: list[str]) -> list[str] | None:
    """List completions of COMP_LINE. For None, Hydra must complete it; the verb is then removed from COMP_LINE."""
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 2 or words[0] not in verbs:
        return verbs
    if words[0] in WITH_OPTIONS:
        options = import_module(f"singtech.cli.{words[0]}").Options
        return [f"{item.name}=" for item in fields(options)]
    os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    return None
