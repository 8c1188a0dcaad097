"""The help of the verbs with Hydra's settings, and what a shell completes."""

import inspect
import itertools
import os
import textwrap
from dataclasses import fields
from importlib import import_module

from omegaconf import OmegaConf

WIDTH = 80
WITH_OPTIONS = ("tables", "report", "predict", "export", "pack", "merge", "store")  # the verbs without Hydra's settings


def register(doc: str) -> None:
    """Let the template of the help, in `conf/config.yaml`, have a module's docstring as `${usage.doc:}`."""
    OmegaConf.register_new_resolver("usage.doc", lambda: fill(inspect.cleandoc(doc)), replace=True)


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
