"""Experiments, damaged: read, or named in one sentence."""

import pytest
from hypothesis import given

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import KINDS, read_experiment
from tests.fuzz.contract import bounded, damaged, kept


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


@pytest.mark.parametrize(
    "content", ["[" * 5_000, "a: [*a]", "experiment: 5", "experiment: {kind: table}", "", "\0", "!!python/object:x"]
)
def test_a_file_that_is_no_experiment_is_named(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert kept(read_experiment, path) is None
