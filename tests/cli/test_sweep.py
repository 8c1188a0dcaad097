"""What a sweep does beside its runs: commands that repeat what failed, and rounds of what was put off."""

import errno
import gc
import re
import weakref

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from singtech.cli import sweep
from singtech.io.lock import Busy
from singtech.results.rows import read_rows


@pytest.fixture
def nothing_postponed(monkeypatch):
    monkeypatch.setattr(sweep, "_postponed", [])
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


def test_rounds_pause_only_where_nothing_moved(nothing_postponed, monkeypatch, capsys, tmp_path):
    late, none = Busy("late is being trained", tmp_path / "late"), Busy("none is being trained", tmp_path / "none")
    held, taken_up = {late.path: 2}, []

    def pause(seconds):
        assert seconds == sweep.ROUND_SECONDS
        held[late.path] -= 1

    monkeypatch.setattr(sweep.time, "sleep", pause)
    monkeypatch.setattr(sweep, "is_held", lambda place: held.get(place, 0) > 0)
    sweep.postpone(taken_up.append, "late", late)
    sweep.postpone(taken_up.append, "none", none)
    sweep._run_postponed()
    assert taken_up == ["none", "late"]
    assert held == {late.path: 0}  # two pauses
    said = capsys.readouterr().out
    assert said.count("continuing with other runs") == 2
    assert said.count("waiting for other processes: 1 runs left.") == 1


def test_a_sweep_in_the_same_folder_tries_again_what_failed(call, own, tmp_path, monkeypatch):
    sweeps = ("-m", "alpha=0,0.2", *own, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    with monkeypatch.context() as patch:
        patch.setattr("singtech.training.run.train_phase", failing(torch.OutOfMemoryError("CUDA out of memory")))
        assert "2 runs of this sweep failed:" in call("run", *sweeps).err
    again = call("run", *sweeps)
    assert again.status == 0, again.err
    assert [row["status"] for row in read_rows(tmp_path / "outputs" / "runs")] == ["complete", "complete"]


def test_a_full_disk_stops_a_sweep_at_once(call, own, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("singtech.training.run.train_phase", failing(full))
    done = call("run", "-m", "alpha=0,0.2", *own)
    assert done.status == 1
    assert done.err.count("error: no room on the disk") == 1
    assert [row["status"] for row in read_rows(tmp_path / "outputs" / "runs")] == ["failed"]  # the second never began


def test_a_run_out_of_memory_leaves_nothing_to_the_next(call, own, monkeypatch):
    class Network:
        """As torch's do, it refers to itself in a circle."""

        def __init__(self):
            self.weights, self.itself = torch.zeros(1000), self

    seen = []

    def train(*_):
        seen.append([network() for network in seen if isinstance(network, weakref.ref)])
        network = Network()
        seen.append(weakref.ref(network))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("singtech.training.run.train_phase", train)
    monkeypatch.setattr("singtech.cli.config.gc", gc)  # which `call` spares the other tests
    gc.disable()  # or it might clear away by chance what nobody else does
    try:
        done = call("run", "-m", "alpha=0,0.2", *own)
    finally:
        gc.enable()
    assert "2 runs of this sweep failed:" in done.err
    assert seen[0] == []
    assert seen[2] == [None]


def test_a_sweep_says_how_far_it_is_and_ends_with_its_runs(call, own, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PLAN_SECONDS", 60)
    done = call("run", "-m", "condition=late_crt_wc", "alpha=0,0.5", *own)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    first, second = (line for line in lines if "Late, cRT-WC, alpha" in line)
    assert first.startswith("1 of 2: Late, cRT-WC, alpha 0, seed 0, on choir")
    assert re.match(r"2 of 2, about \d+ s left: Late, cRT-WC, alpha 0.5, seed 0, on choir", second)
    start = lines.index("The 2 runs of this sweep, best first:")
    assert lines[start + 2].split()[:2] == ["alpha", "macro-F1"]
    scores = {row["alpha"]: f"{row['f1']:.3f}" for row in read_rows(tmp_path / "outputs" / "runs")}
    assert {float(line.split()[2]): line.split()[3] for line in lines[start + 3 : start + 5]} == scores
    assert f"singtech report data=choir output_dir={tmp_path / 'outputs'}" in done.out
    assert "\r" not in done.out + done.err
    again = call("run", "-m", "condition=late_crt_wc", "alpha=0,0.5", *own)
    assert "2 of 2: Late" in again.out  # nothing is trained, so no time is left
    assert "The 2 runs of this sweep, best first:" in again.out


def test_the_job_of_a_launcher_has_no_place_and_the_sweep_ends_with_its_runs(call, own, monkeypatch):
    monkeypatch.setattr(sweep, "is_local", lambda: False)  # as in a job of Slurm, which knows its own run only
    done = call("run", "-m", "condition=late_crt_wc", "alpha=0,0.5", *own)
    assert done.status == 0, done.err
    assert "Late, cRT-WC, alpha 0.5, seed 0, on choir" in done.out.splitlines()
    assert "The 2 runs of this sweep, best first:" in done.out


def test_a_single_run_has_no_place_and_no_table(call, own):
    done = call("run", "condition=late_crt_wc", *own)
    assert "Late, cRT-WC, alpha 0.2, seed 0, on choir" in done.out.splitlines()
    assert "of this sweep" not in done.out


def failing(problem):
    def fail(*_):
        raise problem

    return fail
