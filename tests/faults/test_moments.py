"""A real sweep, stopped at random moments and asked for again until it is done."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from singtech.training.phase_store import read_checkpoint
from tests.conftest import SMALL
from tests.faults.conftest import ALONE, leftovers, outcome

KILLS = int(os.environ.get("SINGTECH_KILLS", "30"))
MESSAGES = {signal.SIGINT: "interrupted: the same command", signal.SIGTERM: "terminated: the same command"}


def command(own_corpus, output_dir):
    own = ["data=folder", "data.name=choir", f"data.root={own_corpus}", "data.split.test=[dot]"]
    longer = ["schedule.features=150", "schedule.classifier=60", "trainer.progress=false"]
    settings = ["-m", "dc=late,none", "strategy=crt_wc,joint", "alpha=0.2,0.5", *own, *longer, *SMALL]
    return [sys.executable, "-m", "singtech.run", *settings, f"output_dir={output_dir}"]


def begun(command):
    """A process of its own, that has got as far as its first run."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ALONE)
    for line in process.stdout:
        if line.startswith("== "):
            break
    return process


def epochs(output_dir):
    """Finished epochs of each phase: begun ones by their checkpoint, done ones by their log."""
    found = {}
    for checkpoint in output_dir.glob("phases/.*.work/last.ckpt"):
        key = re.sub(r"^\.|\.work$", "", checkpoint.parent.name)
        found[key] = len(read_checkpoint(checkpoint)["curve"])
    for log in output_dir.glob("phases/[0-9a-f]*/log.csv"):
        found[log.parent.name] = len(log.read_text().splitlines()) - 1
    return found


def descendants(process):
    """The numbers of all processes that a process has begun, and those have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {process.pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process.pid}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_train_together_end_with_the_one_that_holds_the_lock(own_corpus, tmp_path, how):
    settings = ["trainer.devices=2", "schedule.features=5000"]
    process = subprocess.Popen([*command(own_corpus, tmp_path / "outputs"), *settings], env=ALONE)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "outputs").glob("phases/.*.work/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.5)
    children = descendants(process)
    assert len(children) >= 2
    process.send_signal(how)
    assert process.wait(60) == (128 + how if how == signal.SIGTERM else -how)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_sweep_stopped_at_thirty_random_moments_ends_as_if_nothing_had_happened(own_corpus, tmp_path):
    draw = random.Random(int(os.environ.get("SINGTECH_SEED", "0")))
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    started = time.monotonic()
    subprocess.run(command(own_corpus, undisturbed), check=True, capture_output=True, env=ALONE)
    whole = time.monotonic() - started
    stopped, before = 0, {}
    for _ in range(10 * KILLS):
        process = begun(command(own_corpus, disturbed))
        how = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        time.sleep(draw.uniform(0, whole / 40))
        process.send_signal(how)
        _, said = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode in (-signal.SIGKILL, 128 + how)
        stopped += 1
        if how in MESSAGES:
            assert said.splitlines()[-1].startswith(MESSAGES[how]), said
            assert "Traceback" not in said
        now = epochs(disturbed)
        assert all(now.get(key, 0) >= count for key, count in before.items())  # no finished epoch is lost
        before = now
        if stopped == KILLS:
            break
    print(f"stopped {stopped} times; undisturbed it takes {whole:.0f} s")
    assert stopped == KILLS, "the sweep was done before it was stopped so often: make it longer"
    subprocess.run(command(own_corpus, disturbed), check=True, capture_output=True, env=ALONE)
    assert outcome(disturbed) == outcome(undisturbed)
    assert leftovers(disturbed) == []
