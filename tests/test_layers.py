"""Imports point one way (the map in the README), and what needs no torch does not import it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import singtech
from singtech.__main__ import VERBS

PACKAGE = Path(singtech.__file__).parent
FLOOR = {"techniques", "metrics", "io", "streams", "config_paths", "extras", "components", "errors"}
ALL = {"imbalance", "corpus", "models", "results", "training", "inference"}
MAY_IMPORT = {
    "imbalance": FLOOR | {"imbalance"},
    "corpus": FLOOR | {"corpus"},
    "synth": FLOOR | {"corpus", "synth"},
    "settings": {"corpus"},
    "models": FLOOR | {"models"},
    "results": FLOOR | {"results"},
    "training": FLOOR | {"imbalance", "corpus", "models", "results", "training"},
    "inference": FLOOR | {"corpus", "models", "inference", "results"},
    "run": FLOOR | {"__main__", "cli", "settings", "imbalance", "corpus", "models", "results", "training"},
    "cli": FLOOR
    | {"cli", "run", "loading", "settings", "imbalance", "corpus", "models", "results", "training", "inference"},
    "loading": FLOOR | {"cli", "run", "settings", "corpus", "models", "results", "training", "inference"},
    "__main__": {"run", "cli", "io"},
    **dict.fromkeys(FLOOR, FLOOR),
}


def imported(path):
    """The parts of singtech that a module names in its imports, wherever they stand."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        if names == ["singtech"]:
            names = [f"singtech.{alias.name}" for alias in node.names]
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        parts |= {name.split(".")[1] for name in names if name and name.startswith("singtech.")}
    return parts


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert imported(path) <= MAY_IMPORT.get(part, set())


def modules(name):
    """All modules that a module of singtech imports, wherever the imports stand."""
    nodes = list(ast.walk(ast.parse((PACKAGE / name).read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return names | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


def test_the_names_of_settings_need_nothing_but_omegaconf():
    assert modules("corpus/settings.py") == {"dataclasses", "typing", "omegaconf"}
    assert modules("settings.py") == modules("corpus/settings.py") | {"singtech.corpus.settings"}


def test_importing_a_command_imports_no_torch():
    modules = ["singtech.run", *(f"singtech.cli.{verb}" for verb in VERBS if verb != "run")]
    code = f"import sys\nfor name in {modules}:\n    __import__(name)\n    assert 'torch' not in sys.modules, name"
    subprocess.run([sys.executable, "-c", code], check=True)
