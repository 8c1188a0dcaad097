"""The map in CONTRIBUTING.md is the tree on the disk, and the way of a run names functions that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAP = TEXT[TEXT.index("## The map") : TEXT.index("Imports point one way")]


def test_every_module_is_on_the_map():
    words = set(re.findall(r"\w+", MAP))
    modules = {path.stem for path in (ROOT / "singtech").rglob("*.py")} - {"__init__"}
    assert modules - words == set()


def test_every_folder_on_the_map_is_there():
    folders = set(re.findall(r"(\w+)/", MAP))
    there = {path.name for path in ROOT.rglob("*") if path.is_dir()}
    assert folders - there == set()


def test_every_group_is_on_the_map():
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert groups <= set(re.findall(r"(\w+)/", MAP))


def test_the_way_of_a_run_names_what_is_there():
    steps = re.findall(r"`(\w+(?:\.\w+)?)` in `(singtech/[\w/]+\.py)`", TEXT)
    assert len(steps) >= 14
    for name, file in steps:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"(def|class) {name.rpartition('.')[2]}\b|^{name} =", code, re.MULTILINE), (
            f"{name} is not in {file}"
        )
