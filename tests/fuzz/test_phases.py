"""Phases and checkpoints, damaged or hostile: what was stored, or a sentence, and no code of theirs is run."""

import json
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singtech.errors import Damaged, Newer
from singtech.training.phase_store import (
    OPTIMIZER,
    RECORD,
    Outcome,
    PhaseStore,
    StoredPhase,
    find_checkpoint,
    read_checkpoint,
    read_plain,
    write_checkpoint,
)
from tests.fuzz.contract import bounded, damaged, kept

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A small phase, stored as training stores one."""
    weights = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.zeros(3)}
    state = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3, 4)}}, "param_groups": [{"lr": 1e-3}]}
    record = {"phase": {"trains": "network", "name": ""}, "setup": {"seed": 0}, "seconds": 1.5}
    outcome = Outcome(weights, state, [{"epoch": 1, "loss": 2.0}], record)
    store = PhaseStore(tmp_path_factory.mktemp("phases"))
    phase, _ = store.obtain(KEY, lambda work, require_lease: outcome)
    return phase


def test_a_damaged_record_of_a_phase_is_noticed(stored):
    path = stored.folder / RECORD
    whole = path.read_bytes()

    @bounded(40)
    @given(damaged([whole], hot=64) | st.binary(max_size=64))
    def each(data):
        path.write_bytes(data)
        if kept(PhaseStore(stored.folder.parent).find, KEY, refused=(Damaged, Newer)) is not None:
            assert json.loads(data) == json.loads(whole)

    each()
    path.write_bytes(whole)


def test_an_optimisers_state_that_was_made_to_fit_is_plain_values_or_refused(stored, tmp_path):
    whole, path = (stored.folder / OPTIMIZER).read_bytes(), tmp_path / OPTIMIZER

    @bounded(60)
    @given(damaged([whole], hot=-200) | st.binary(max_size=64))
    def each(data):
        kept(read_plain, data, path)

    each()


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return (open, (self.place, "w"))


def test_code_in_a_checkpoint_or_optimisers_state_is_not_run(tmp_path):
    trap, checkpoint = tmp_path / "was run", tmp_path / "phases" / "last.ckpt"
    checkpoint.parent.mkdir()
    write_checkpoint(checkpoint, {"state_dict": {}, "curve": Hostile(trap)})
    assert kept(read_checkpoint, checkpoint) is None
    assert find_checkpoint(checkpoint) is None
    assert not checkpoint.exists()
    torch.save(Hostile(trap), tmp_path / OPTIMIZER)
    assert kept(StoredPhase(tmp_path).optimizer_state) is None
    assert not trap.exists()


def test_a_damaged_checkpoint_is_whole_or_set_aside(tmp_path):
    place = tmp_path / "work" / "last.ckpt"
    place.parent.mkdir()
    held = {"state_dict": {"w": torch.ones(3)}, "optimizer_states": [{}], "curve": [], "epoch": 1}
    write_checkpoint(place, held)
    whole = place.read_bytes()

    @bounded(60)
    @given(damaged([whole], hot=-300) | st.binary(max_size=64))
    def each(data):
        place.write_bytes(data)
        found = kept(find_checkpoint, place)
        assert (found is place) == place.exists() == (data == whole)
        asides = list(place.parent.glob(".*damaged*"))
        assert [aside.read_bytes() for aside in asides] == ([] if data == whole else [data])
        for aside in asides:
            aside.unlink()

    each()
    shutil.rmtree(place.parent)
