"""Experiments and the paper's numbers, damaged: read, or named in one sentence."""

import pytest
from hypothesis import given

from singtech.places import EXPERIMENTS
from singtech.results.experiments import KINDS, read_experiment, read_published
from tests.fuzz.contract import bounded, damaged, kept

# each list names the one before nine times: half a gigabyte of text after nine lines
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9))


@bounded(150)
@given(damaged([(EXPERIMENTS / f"{name}.yaml").read_bytes() for name in ("table3", "figure3", "figure2")], hot=-600))
def test_a_damaged_experiment_is_one_or_is_named(tmp_path, data):
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    found = kept(read_experiment, path)
    if found is not None:
        assert found.kind in KINDS
        assert found.name == "mine"
        assert all(isinstance(condition.alpha, float) for condition in found.conditions)


@pytest.mark.parametrize("field", ["kind", "title", "header", "published", "baseline", "metrics", "rows", "position"])
def test_an_experiment_that_would_grow_without_end_is_named(field, tmp_path):
    lines = dict.fromkeys(("title", "caption", "header"), "x") | {"kind": "table", "metrics": "{f1: F1}", "rows": "[]"}
    path = tmp_path / "mine.yaml"
    path.write_text(BOMB + "experiment:\n" + "".join(f"  {k}: {v}\n" for k, v in (lines | {field: "*a8"}).items()))
    assert kept(read_experiment, path) is None


@pytest.mark.parametrize(
    "content", ["[" * 5_000, "a: [*a]", "experiment: 5", "experiment: {kind: table}", "", "\0", "!!python/object:x"]
)
def test_a_file_that_is_no_experiment_is_named(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert kept(read_experiment, path) is None


@bounded(100)
@given(damaged([(EXPERIMENTS / "paper.csv").read_bytes()[:3000]], hot=80))
def test_damaged_numbers_of_the_paper_are_numbers_or_named(tmp_path, data):
    path = tmp_path / "paper.csv"
    path.write_bytes(data)
    found = kept(read_published, path)
    assert found is None or all(isinstance(value, float) for value in found.values())
