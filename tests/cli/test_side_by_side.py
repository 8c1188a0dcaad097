"""A sweep that several processes of one machine share."""

import os
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from singtech.cli import side_by_side
from singtech.cli.side_by_side import asked, environment


def test_processes_take_the_gpus_in_turn_or_share_the_processor(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert [environment(n, 5, ["0", "3"])["CUDA_VISIBLE_DEVICES"] for n in range(5)] == ["0", "3", "0", "3", "0"]
    assert [environment(n, 3, [])["OMP_NUM_THREADS"] for n in range(3)] == ["2", "2", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(0, 3, [])["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "trainer.side_by_side=0"], "expected how many processes sweep at once"),
        (["-m", "trainer.side_by_side=auto"], "expected how many processes sweep at once"),
        (["trainer.side_by_side=2"], "a single run has nothing to share out; add -m for a sweep."),
    ],
)
def test_a_number_of_processes_that_cannot_be_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        asked(arguments)


@pytest.fixture
def begun(monkeypatch):
    """The commands of the processes, which do what `begun.code` says instead."""

    class Begun(list):
        code = "pass"

    commands = Begun()

    def begin(command, environ):
        commands.append(command)
        mine = [sys.executable, "-c", commands.code]
        return subprocess.Popen(mine, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    monkeypatch.setattr(side_by_side, "_begun", begin)
    monkeypatch.setattr(side_by_side, "visible_gpus", list)
    return commands


def test_processes_sweep_into_one_folder_and_draw_no_bars_over_each_other(begun, capsys, tmp_path):
    begun.code = "print('line')"
    assert side_by_side.run("singtech.run", ["-m", "trainer.side_by_side=2", f"output_dir={tmp_path}"], 2) == 0
    first, second = begun
    assert first == second
    assert first[3:5] == ["-m", f"output_dir={tmp_path}"]
    assert first[5].startswith(f"hydra.sweep.dir={tmp_path}/hydra/")
    assert sorted(capsys.readouterr().out.splitlines()[1:]) == ["[1] line", "[2] line"]
    side_by_side.run("singtech.run", ["-m", f"hydra.sweep.dir={tmp_path / 'mine'}"], 1)
    assert begun[2][3:] == ["-m", *[f"hydra.sweep.dir={tmp_path / 'mine'}"] * 2]


def test_a_process_that_is_killed_is_told(begun, capsys, tmp_path):
    begun.code = "import os; os.kill(os.getpid(), 9 if os.environ['SINGTECH_WORKER'] == '2' else 0)"
    assert side_by_side.run("singtech.run", ["-m", f"output_dir={tmp_path}"], 2) == 1
    assert capsys.readouterr().err == (
        "error: process 2 ended with SIGKILL; the same command goes on where it stopped.\n"
    )


def test_who_is_stopped_stops_the_processes(begun, tmp_path, monkeypatch):
    begun.code = "import time; time.sleep(60)"
    monkeypatch.setattr(side_by_side, "STOP_SECONDS", 5)
    started = time.monotonic()
    ctrl_c = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side.run("singtech.run", ["-m", f"output_dir={tmp_path}"], 2)
    assert time.monotonic() - started < 5


def test_two_processes_share_a_sweep_and_what_fails_is_listed_once(call, own, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = [setting for setting in own if "hop_length" not in setting]
    done = call("run", "-m", "front_end.hop_length=50,4000,48", "trainer.side_by_side=2", *own)
    assert done.status == 1
    rows = pd.read_csv(tmp_path / "outputs" / "results.csv", keep_default_na=False)
    assert rows["status"].tolist() == ["complete", "complete"]
    assert done.out.count(" trained (") == 4
    assert {line[:3] for line in done.out.splitlines() if " trained (" in line} <= {"[1]", "[2]"}
    assert done.err.count("1 run of this sweep failed:") == 1
    assert "too few for the pooling of Table 1" in done.err
    assert "Traceback" not in done.out + done.err
