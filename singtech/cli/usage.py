"""The help of the verbs with Hydra's settings, and what a shell completes.

Hydra fills the template in `conf/config.yaml`; it knows neither a verb's own words nor which choice of a group is the
default, so resolvers give these.
"""

import inspect
import itertools
import os
import textwrap
from dataclasses import fields
from importlib import import_module

from omegaconf import OmegaConf

from singtech.places import CONF, EXPERIMENTS

WIDTH, INDENT = 80, 14
WITH_OPTIONS = ("tables", "report", "predict", "export", "pack", "merge", "store")  # the verbs without Hydra's settings


def register(doc: str) -> None:
    """Let the template have a module's docstring and the groups, as `${usage.doc:}` and `${usage.groups:}`."""
    OmegaConf.register_new_resolver("usage.doc", lambda: fill(inspect.cleandoc(doc)), replace=True)
    OmegaConf.register_new_resolver("usage.groups", groups, replace=True)


def groups() -> str:
    """Each group's choices with a star at the default, in a wrapped paragraph."""
    defaults: dict[str, str] = {}
    for entry in OmegaConf.load(CONF / "config.yaml").defaults:
        if not isinstance(entry, str):
            defaults |= entry
    lines = []
    for group, default in defaults.items():
        folder = EXPERIMENTS if group == "experiments" else CONF / group
        names = [path.stem + "*" * (path.stem == default) for path in sorted(folder.glob("*.yaml"))]
        first = f"  {group}".ljust(INDENT)
        lines.append(textwrap.fill(", ".join(names), WIDTH, initial_indent=first, subsequent_indent=" " * INDENT))
    return "\n".join(lines)


def fill(text: str) -> str:
    """Wrap paragraphs; keep indented lines, which are settings and what they do."""
    parts = itertools.groupby(text.split("\n"), lambda line: line.startswith(" ") or not line)
    return "\n".join("\n".join(part) if is_kept else textwrap.fill(" ".join(part), WIDTH) for is_kept, part in parts)


def complete(verbs: list[str]) -> list[str] | None:
    """The words to complete the line in COMP_LINE with; None where Hydra knows them, without the verb in that line."""
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 2 or words[0] not in verbs:
        return verbs
    if words[0] in WITH_OPTIONS:
        options = import_module(f"singtech.cli.{words[0]}").Options
        return [f"{each.name}=" for each in fields(options)]
    os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    return None
