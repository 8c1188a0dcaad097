"""Classify singing techniques as in Yamamoto, Nam and Terasawa (Interspeech 2022); sweep and test the choices.

CONTRIBUTING.md has the map of the modules; `singtech --help` lists the commands. From Python, `load_corpus` and
`load_run` open what the commands store, and `results()` returns all rows as a frame.
"""

import importlib
import importlib.metadata
from typing import Any

__all__ = ["load_corpus", "load_run", "results"]


def __getattr__(name: str) -> Any:
    """Import these only when they are used."""
    if name == "__version__":
        return importlib.metadata.version("singtech")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "results":
        return importlib.import_module("singtech.results")
    return getattr(importlib.import_module("singtech.loading"), name)
