"""How long a person waits for a command's first line, each in a fresh process on a terminal."""

import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.collate import ROOT, conditions, write_corpora, write_run
from benchmarks.machine import Machine
from benchmarks.report import Measurement, Target

LIMIT = 3  # seconds
DEMO = ("data=demo", "schedule=smoke")
RUNS = 100  # for the tables


def measure(machine: Machine) -> Iterator[Measurement]:
    """The first line of each command on the prepared demo corpus, and `tables` from start to end."""
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as name:
        place = f"output_dir={name}/outputs"
        whole_seconds(("prepare", *DEMO, place))
        whole_seconds(("run", *DEMO, place))
        for said, arguments in (
            ("run", ("run", *DEMO, "seed=1", place)),
            ("run, all there", ("run", *DEMO, place)),
            ("run --help", ("run", "--help")),
            ("prepare", ("prepare", *DEMO, place)),
            ("verify", ("verify", *DEMO, place)),
            ("plan", ("plan", *DEMO, "experiments=table3", place)),
            ("store", ("store", place)),
            ("tables", ("tables", place)),
        ):
            seconds = first_line_seconds(arguments)
            yield Measurement("start", f"first line: {said}", seconds, target=Target("ours", LIMIT))
        folder = Path(name) / "many"
        folder.mkdir()
        for condition in islice(conditions(), RUNS):
            write_run(folder, condition)
        write_corpora(folder)
        for said, where in ((f"{RUNS} runs, 3 corpora", folder), ("the demo's", Path(name) / "outputs")):
            seconds = whole_seconds(("tables", f"output_dir={where}"))
            yield Measurement("start", f"tables, whole: {said}", seconds, target=Target("ours", LIMIT))


def first_line_seconds(arguments: Sequence[str]) -> float:
    """Until something can be read on a terminal; the command is then ended."""
    reader, writer = pty.openpty()
    started = time.perf_counter()
    process = subprocess.Popen(command_line(arguments), cwd=ROOT, stdout=writer, stderr=writer)
    os.close(writer)
    try:
        while os.read(reader, 1024).isspace():
            pass
        return time.perf_counter() - started
    finally:
        process.terminate()
        os.close(reader)
        process.wait()


def whole_seconds(arguments: Sequence[str]) -> float:
    """Of a command, from start to end.

    Raises:
        SystemExit: it failed.
    """
    started = time.perf_counter()
    done = subprocess.run(command_line(arguments), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return time.perf_counter() - started


def command_line(arguments: Sequence[str]) -> list[str]:
    """A command of singtech, in this Python."""
    command, *settings = arguments
    return [sys.executable, "-m", "singtech", command, *settings]
