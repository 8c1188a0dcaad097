"""Locks: one holder at a time, and whoever died, here or elsewhere, is taken over."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from singtech.io import lock as locks
from singtech.io.lock import Busy, LeaseLost, get_lock_path, hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from singtech.io import lock as locks
locks.LEASE_SECONDS = float(sys.argv[2])
with locks.hold(Path(sys.argv[1]), "it is being made"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "phases" / "0123"


@pytest.fixture
def short_lease(monkeypatch):
    """As LEASE_SECONDS is, but to be waited for in a test."""
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1.0)


@contextmanager
def in_another_process(place, *before):
    """A process, perhaps in another namespace, that holds the lock; it is killed at the end."""
    command = [*before, sys.executable, "-c", HOLDER, str(place), str(locks.LEASE_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


def left_by(host, place, seconds):
    """The mark of a holder on another machine, as filelock writes it."""
    get_lock_path(place).parent.mkdir(parents=True, exist_ok=True)
    lines = ["filelock/2", "pid=1", f"host={host}", "mode=lease", "token=00", f"duration={seconds}"]
    get_lock_path(place).write_text("\n".join(lines) + "\n")


def taken_after(place, at_most):
    """Seconds until the lock is ours, asked for without waiting again and again."""
    started = time.monotonic()
    while time.monotonic() - started < at_most:
        try:
            with hold(place, "it is being made", wait=False):
                return time.monotonic() - started
        except Busy:
            time.sleep(0.05)
    return None


def test_a_lock_is_held_by_one_and_leaves_nothing_behind(place):
    assert not is_held(place)
    with hold(place, "it is being made"):
        assert is_held(place)
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(Busy, match=rf"it is being made by process {os.getpid()} on "),
        ):
            pool.submit(hold(place, "it is being made", wait=False).__enter__).result()
    assert not is_held(place)
    assert list(place.parent.iterdir()) == []


def test_who_waits_is_told_for_whom_and_gets_the_lock_when_it_is_free(place, capsys):
    got = []

    def wait():
        with hold(place, "it is being made"):
            got.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    with hold(place, "it is being made"):
        waiter.start()
        waiter.join(1.5)
        assert not got
        assert f"it is being made by process {os.getpid()} on " in capsys.readouterr().err
        released = time.monotonic()
    waiter.join(10)
    assert got
    assert got[0] >= released


def test_a_killed_process_of_this_machine_is_taken_over_at_once(place):
    with in_another_process(place), pytest.raises(Busy), hold(place, "it is being made", wait=False):
        pass
    assert taken_after(place, at_most=5) < locks.LEASE_SECONDS / 3


def test_a_holder_elsewhere_is_taken_over_when_it_gives_no_sign_of_life(place, short_lease):
    left_by("elsewhere", place, 1.0)
    assert is_held(place)
    assert taken_after(place, at_most=20) > 0.9


def test_a_holder_elsewhere_that_gives_signs_of_life_is_not(place, short_lease):
    left_by("elsewhere", place, 1.0)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.2):
            os.utime(get_lock_path(place))

    heart = threading.Thread(target=beat)
    heart.start()
    assert taken_after(place, at_most=1.6) is None
    stop.set()
    heart.join()
    assert taken_after(place, at_most=20) is not None


def test_a_holder_in_another_process_namespace_lives_until_it_is_killed(place, short_lease):
    elsewhere = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*elsewhere, "true"], check=False, capture_output=True).returncode:
        pytest.skip("process namespaces cannot be made here")
    with in_another_process(place, *elsewhere):
        assert taken_after(place, at_most=1.6) is None  # its process number means nothing here
    assert taken_after(place, at_most=20) is not None


def test_two_who_wait_for_an_empty_lock_take_it_over_one_after_the_other(place, short_lease):
    """Its holder was killed between making the file and writing its name."""
    place.parent.mkdir(parents=True)
    get_lock_path(place).touch()
    held, both = [], []

    def work(_):
        with hold(place, "it is being made") as require_lease:
            held.append(1)
            time.sleep(0.3)
            both.append(len(held))
            require_lease()
            held.pop()

    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert both == [1, 1]
    assert time.monotonic() - started > 1.0  # the lease
    assert list(place.parent.iterdir()) == []


def test_an_empty_lock_goes_also_where_nobody_waits(place, short_lease):
    place.parent.mkdir(parents=True)
    get_lock_path(place).touch()
    assert taken_after(place, at_most=20) > 0.9


def test_an_empty_lock_of_the_future_is_taken_over_too(place, short_lease):
    place.parent.mkdir(parents=True)
    get_lock_path(place).touch()
    tomorrow = time.time() + 86400
    os.utime(get_lock_path(place), (tomorrow, tomorrow))
    assert taken_after(place, at_most=20) is not None


def test_who_slept_through_its_lease_learns_that_it_was_taken_over(place, short_lease):
    with hold(place, "it is being made") as require_lease:
        require_lease()
        get_lock_path(place).unlink()
        left_by("elsewhere", place, 1.0)
        with pytest.raises(LeaseLost):  # at once, before its heart has noticed
            require_lease()
        time.sleep(1.5)  # two heartbeats
        with pytest.raises(LeaseLost, match="another process took over"):
            require_lease()
    assert get_lock_path(place).exists()  # it is theirs, not ours to remove
