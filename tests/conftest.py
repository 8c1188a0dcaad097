"""What several parts' tests need: a person's own small corpus, and the commands called as from a shell."""

import base64
import gc
import logging
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and bits repeat at one thread count


def pytest_configure():
    """Wait for no disk: what is tested is the order of what is written, and no test outlives a power cut."""
    os.fsync = lambda handle: None


def pytest_collection_finish():
    """Spare the garbage collector what stays anyway: the libraries' million objects, at which each run would look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 1000)


@pytest.fixture(scope="module", autouse=True)
def spare_the_collector_what_a_file_imported():
    yield
    gc.collect()
    gc.freeze()


TECHNIQUES = ("straight", "trill", "vibrato")
SINGERS = ("ann", "ben", "cid", "dot")

# 0.6 s clips at 8 kHz give 97 bins by 97 frames: enough for Table 1's pooling, quick enough for a test.
SMALL = (
    "data.sample_rate=8000",
    "data.clip_seconds=0.6",
    "front_end.n_fft=192",
    "front_end.win_lengths=[192,96,48]",
    "front_end.hop_length=50",
    "batch_size=4",
    "trainer.accelerator=cpu",
)


def tone(technique, number):
    """(5000,) a held, a shaking or a slowly wobbling tone in noise, another for every number."""
    draw = np.random.default_rng(number)
    time = np.arange(5000) / 8000
    rate, extent = {"straight": (0, 0), "trill": (12, 0.15), "vibrato": (5, 0.04)}[technique]
    phase = 2 * np.pi * draw.uniform(300, 600) * (time - extent * np.cos(2 * np.pi * rate * time) / max(rate, 1) / 6)
    return 0.2 * sum(np.sin(k * phase) / k for k in range(1, 6)) + 0.01 * draw.normal(size=len(time))


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder of four singers' recordings, two of each technique by each; to be read only."""
    return write_corpus(tmp_path_factory.mktemp("recordings") / "corpus")


@pytest.fixture
def own_corpus(recordings, tmp_path):
    """A copy of those recordings, to be changed."""
    return shutil.copytree(recordings, tmp_path / "corpus")


def write_corpus(root):
    """Write those recordings to `root`."""
    for s, singer in enumerate(SINGERS):
        for t, technique in enumerate(TECHNIQUES):
            folder = root / singer / "scales" / technique
            folder.mkdir(parents=True)
            for take in range(2):
                soundfile.write(
                    folder / f"{singer}_{technique}_{take}.wav", tone(technique, 100 * s + 10 * t + take), 8000
                )
    return root


@pytest.fixture
def own(own_corpus, tmp_path):
    """The settings that run on `own_corpus` in a test."""
    return own_settings(own_corpus, tmp_path / "outputs")


def own_settings(root, output_dir):
    """The settings that run on the recordings at `root`, quickly."""
    place = [f"data.root={root}", "data.split.test=[dot]", f"output_dir={output_dir}"]
    return ["data=folder", "data.name=choir", *place, "schedule=smoke", *SMALL]


@pytest.fixture
def operations(monkeypatch):
    """What reaches the disk, by its inode, and "renamed" for each renaming, in the order in which it happens."""
    done = []

    def noted(operation, note):
        def called(*args):
            done.append(note(*args))
            return operation(*args)

        return called

    monkeypatch.setattr(os, "fsync", noted(os.fsync, lambda handle: os.fstat(handle).st_ino))
    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, noted(getattr(os, name), lambda *_: "renamed"))
    return done


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a command as from a shell: `call("run", "dc=late")` gives its exit status, output and errors.

    Hydra composes each configuration once more than it needs to, to see whether a setting makes it a sweep. What a run
    leaves in memory is freed at the end of the test's file.
    """
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)  # none does, but for -m
    monkeypatch.setattr("singtech.cli.config.gc", SimpleNamespace(collect=lambda: None))

    def called(command, *arguments):
        monkeypatch.setattr(sys, "argv", [])  # to be as it was when the test ends
        capsys.readouterr()
        status = call_command(command, *arguments)
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    yield called
    for handler in [each for each in logging.root.handlers if type(each) is logging.StreamHandler]:
        logging.root.removeHandler(handler)  # Hydra's, which writes to this test's output
    logging.root.setLevel(logging.WARNING)


def call_command(command, *arguments):
    """The exit status of a command called as from a shell."""
    from singtech.__main__ import main

    sys.argv = ["singtech", command, *map(str, arguments)]
    try:
        return main() or 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0


# a PNG of one pixel
WHITE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")


@pytest.fixture
def undrawn(monkeypatch):
    """Leave figures white where a test does not look at them: they take most of the time of tables and reports."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: Path(path).write_bytes(WHITE))


@pytest.fixture
def table3_alone(monkeypatch, undrawn):
    """Render no other page, where a test looks at no other."""
    from singtech.config_paths import EXPERIMENTS
    from singtech.results.experiments import read_experiment

    table3 = read_experiment(EXPERIMENTS / "table3.yaml")
    monkeypatch.setattr("singtech.cli.tables.read_experiments", lambda: [table3])


@pytest.fixture(autouse=True)
def no_folders_of_earlier_tests(monkeypatch):
    """Forget the configuration folders that tables found in the rows of another test."""
    monkeypatch.setattr("singtech.config_paths._user_folders", [])
