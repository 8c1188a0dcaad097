"""The phase store: one at a time makes a phase or its features, and what killed processes left is cleared away."""

import hashlib
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from singtech.errors import Damaged, Newer
from singtech.io import lock as locks
from singtech.io.atomic import write_text
from singtech.io.lock import LeaseLost, get_lock_path
from singtech.training import phase_store
from singtech.training.phase_store import (
    Outcome,
    PhaseStore,
    find_checkpoint,
    read_checkpoint,
    torch_bytes,
    write_checkpoint,
)
from tests.io.test_lock import in_another_process, left_by

KEY, CLIPS = "0123456789abcdef", "ab" * 8
OUTCOME = Outcome({"weight": torch.ones(3)}, {"state": {}}, [{"epoch": 1}], {"setup": {"seed": 0}, "seconds": 1.5})


@pytest.fixture
def store(tmp_path):
    return PhaseStore(tmp_path / "phases")


@pytest.fixture
def phase(store):
    return store.obtain(KEY, lambda work, require_lease: OUTCOME)[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_record_that_says_something_else_is_noticed(phase):
    path = phase.folder / "phase.json"
    record = json.loads(path.read_text())
    write_text(path, json.dumps(record | {"setup": {"seed": 1}}))
    with pytest.raises(Damaged, match=rf"phase.json is damaged \(it is not what was stored under {KEY}\)"):
        phase.check()


def test_features_that_two_ask_for_at_once_are_computed_once(phase):
    computed = []

    def compute():
        computed.append(time.monotonic())
        time.sleep(0.5)  # in which the other one asks
        return np.ones((2, 3), dtype=np.float32)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: phase.features(CLIPS, compute), range(2)))
    assert len(computed) == 1
    assert np.array_equal(*both)


def test_what_killed_processes_left_half_written_is_cleared_away(store, phase):
    (store.folder / ".fedcba9876543210.x1y2z3.tmp").mkdir()
    store.obtain("fedcba9876543210", lambda work, require_lease: OUTCOME)
    assert names(store.folder) == [KEY, "fedcba9876543210"]
    features = phase.folder / "features"
    features.mkdir()
    (features / f".{CLIPS}-0123.npy.x1y2z3.tmp").write_bytes(b"half")
    phase.features(CLIPS, lambda: np.ones((2, 3), dtype=np.float32))
    assert len(names(features)) == 1


def test_half_a_checkpoint_is_cleared_away_beside_the_one_before(tmp_path):
    checkpoint = tmp_path / "last.ckpt"
    write_checkpoint(checkpoint, {"epoch": 1})
    (tmp_path / ".last.ckpt.x1y2z3.tmp").write_bytes(b"half")
    assert find_checkpoint(checkpoint) == checkpoint
    assert names(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize("left", ["work", "lock"])
def test_what_is_left_of_who_was_killed_once_the_phase_was_there_goes_when_it_is_asked_for(store, phase, left):
    if left == "work":
        (store.folder / f".{KEY}.work").mkdir()
    else:
        with in_another_process(phase.folder):
            pass
        assert get_lock_path(phase.folder).exists()
    assert store.obtain(KEY, None) == (phase, False)
    assert names(store.folder) == [KEY]


def test_who_lost_a_phase_to_another_learns_so_and_does_not_publish_it(store, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1.0)
    place = store.folder / KEY
    learned = []

    def train(work, require_lease):
        require_lease()
        get_lock_path(place).unlink()
        left_by("elsewhere", place, 1.0)
        time.sleep(1.5)  # as if asleep: two heartbeats
        with pytest.raises(LeaseLost):
            require_lease()
        learned.append(True)
        return OUTCOME

    with pytest.raises(LeaseLost, match="took over"):
        store.obtain(KEY, train)
    assert learned
    assert not place.exists()


def test_a_phase_of_a_newer_version_is_named_and_stays(store, phase):
    path = phase.folder / "phase.json"
    newer = json.dumps({"format": 2, "phase": "told in another way"})
    write_text(path, newer)
    with pytest.raises(Newer, match=rf"{path} has format 2, this version of singtech reads up to 1"):
        store.obtain(KEY, lambda work, require_lease: OUTCOME)
    assert names(store.folder) == [KEY]
    assert path.read_text() == newer


def test_a_checkpoint_of_a_newer_version_is_named_and_stays(tmp_path):
    checkpoint = tmp_path / "last.ckpt"
    data = torch_bytes({"format": 2, "network": {}})
    checkpoint.write_bytes(hashlib.sha256(data).digest() + data)
    with pytest.raises(Newer, match="has format 2"):
        find_checkpoint(checkpoint)
    assert names(tmp_path) == ["last.ckpt"]


def test_a_checkpoint_of_another_phase_is_set_aside_and_one_of_an_earlier_version_read(tmp_path, caplog):
    mine, other = tmp_path / f".{KEY}.work" / "last.ckpt", tmp_path / ".fedcba9876543210.work" / "last.ckpt"
    write_checkpoint(other, {"epoch": 1})
    mine.parent.mkdir()
    shutil.copy(other, mine)
    assert find_checkpoint(mine) is None
    assert "it was written in .fedcba9876543210.work, for another phase" in caplog.text
    assert names(mine.parent) == [".last.ckpt.damaged-1"]
    assert read_checkpoint(other) == {"epoch": 1}
    data = torch_bytes({"epoch": 2, "format": 1})
    mine.write_bytes(hashlib.sha256(data).digest() + data)
    assert read_checkpoint(find_checkpoint(mine)) == {"epoch": 2}


def test_reading_a_phase_and_its_features_takes_no_lock(store, phase, monkeypatch):
    features = phase.features(CLIPS, lambda: np.ones((2, 3), dtype=np.float32))
    monkeypatch.setattr(phase_store, "hold", None)
    assert store.obtain(KEY, None) == (phase, False)
    assert np.array_equal(phase.features(CLIPS, None), features)
