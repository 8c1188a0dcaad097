"""The reference pages that docs/hooks.py makes from the code say all that is in the code."""

import importlib.util
import re

import pytest

from singtech.config_paths import CONF
from singtech.results.schema import COLUMNS
from singtech.settings import flatten
from tests.cli.test_config import composed
from tests.pages import ROOT


@pytest.fixture(scope="module")
def hooks():
    """The module docs/hooks.py."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(table):
    """The rows of a Markdown table."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


def test_every_setting_is_listed_with_its_default_and_its_meaning(hooks):
    listed = cells(hooks.write_settings())
    rows = {name.strip("`"): (value.strip("`"), meaning, kind) for name, value, meaning, kind in listed}
    assert rows["alpha"] == ("0.2", "smoothing of the loss weights (Eq. 2); 0: equal weights", "`float`")
    assert rows["retraining.init"][0] == "scratch"
    assert rows["optimizer.lr"][:2] == ("1.0e-4", "learning rate")
    assert rows["data.long_tail_order"] == ("null", "its techniques, most common first", r"`list[str] \| None`")
    assert rows["schedule.decay"][1].endswith("or warmup_cosine, which rises over the first tenth of the steps")
    names = {name for name in flatten(composed()) if not re.search(r"_target_|^experiment\b", name)}
    assert names - rows.keys() == set()
    assert [name for name, (_, meaning, _) in rows.items() if not meaning and name != "data.source.root"] == []


def test_every_choice_of_every_group_is_shown_with_its_file(hooks):
    text = hooks.write_groups()
    paths = [path for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra"]
    assert len(paths) > 150
    for path in paths:
        assert f'??? abstract "{path.parent.name}={path.stem}' in text
    assert '"strategy=crt_wc (the default): cRT-WC: loss weights only while' in text


def test_every_column_verb_and_ablation_is_listed(hooks):
    assert [row[0] for row in cells(hooks.write_columns())] == [f"`{column.name}`" for column in COLUMNS]
    ablations = {row[0]: row[1] for row in cells(hooks.write_ablations())}
    assert len(ablations) == len(list(CONF.glob("ablation/*.yaml")))
    assert "Section 4.2's 1e-4" in ablations["`ablation=lr_published`"]
    assert "`make demo`" in hooks.write_targets()
    assert "\nusage: singtech probe" in f"\n{hooks.read_help('probe')}"


def test_what_a_page_asks_for_is_made(hooks):
    asked = {name for page in (ROOT / "docs").rglob("*.md") for name in hooks.MARK.findall(page.read_text("utf-8"))}
    assert asked == set(hooks.PARTS)
