"""Imports point one way (the map in the README), and what needs no torch does not import it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import singtech

PACKAGE = Path(singtech.__file__).parent
FLOOR = {"techniques", "metrics", "files", "locks", "signals", "streams", "places", "extras"}
MAY_IMPORT = {
    "components": FLOOR,
    "imbalance": FLOOR | {"imbalance"},
    "data": FLOOR | {"components", "data"},
    "settings": {"data"},
    "models": FLOOR | {"components", "models"},
    "results": FLOOR | {"results"},
    "training": FLOOR | {"components", "imbalance", "data", "models", "results", "training"},
    "sweep": FLOOR | {"results"},
    "side_by_side": FLOOR | {"sweep"},
    "usage": FLOOR,
    "config": FLOOR | {"components", "imbalance", "settings", "sweep", "side_by_side", "usage"},
    "pictures": FLOOR | {"components", "config", "prepare", "data", "models", "results"},
    "plan": FLOOR | {"usage", "config", "prepare", "run", "data", "training"},
    "prepare": FLOOR | {"components", "config", "data"},
    "verify": FLOOR | {"config", "data"},
    "store": FLOOR | {"data", "results", "training"},
    "tables": FLOOR | {"results"},
    "report": FLOOR | {"data", "results", "tables"},
    "looks": FLOOR | {"config", "prepare", "pictures", "run", "data", "models", "results", "training"},
    "predicting": FLOOR | {"components", "data", "models"},
    "export": FLOOR | {"components", "models", "results", "training"},
    "predict": FLOOR | {"components", "data", "results", "predicting", "export"},
    "run": FLOOR
    | {"components", "settings", "imbalance", "config", "prepare", "sweep", "data", "models", "results", "training"},
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


def test_the_names_of_settings_need_nothing_but_omegaconf_and_hydras_store():
    assert modules("data/settings.py") == {"dataclasses", "typing", "omegaconf"}
    beside = {"singtech.data.settings", "hydra.core.config_store"}
    assert modules("settings.py") == modules("data/settings.py") | beside


@pytest.mark.parametrize(
    "command",
    ["prepare", "verify", "plan", "run", "store", "tables", "pictures", "export", "predict", "looks", "report"],
)
def test_importing_a_command_imports_no_torch(command):
    code = f"import sys, singtech.{command}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
