"""Each file of a study, damaged in each way, under each command: a sentence that names it, or all is as before."""

import io
import json
import logging
import os
import random
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import singtech
from singtech.cli.tables import collate_corpora
from singtech.errors import SingtechError
from singtech.training.phase_store import write_checkpoint
from tests.conftest import call_command, own_settings, write_corpus

FILES = [
    *(f"runs/*/{name}" for name in ("row.json", "config.yaml", "predictions.csv", "validation.csv", "confusion.csv")),
    *(f"phases/[0-9a-f]*/{name}" for name in ("phase.json", "weights.safetensors", "optimizer.pt", "log.csv")),
    *("runs/*/layers.csv", "phases/*/running.safetensors", "phases/*/features/*.npy", "phases/.*.work/last.ckpt"),
    *(f"data/*/{name}" for name in ("corpus.json", "clips.csv", "manifest.csv", "clips.npy")),
    *("results.csv", "layers.csv", "confusions.csv", "corpora/*.csv", "model/config.json", "model/model.safetensors"),
]
NO_TEXT = (".safetensors", ".pt", ".npy", ".ckpt")
STORED = re.compile(r"(runs|phases|data|corpora)/(?!.*(\.damaged-|\.0123|log\.csv|features/))")
TIMES = ("seconds", "seconds_shared", "finished", "digest", "sha256", "stamp", "files")  # differ when made again


def flip(data, share):
    """The bytes with one bit flipped."""
    place = int(share * (len(data) - 1))
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def first_numbers(data, text):
    """The bytes with another text in the place of the first three numbers."""
    return re.sub(rb"(?<=[,: ])-?\d+(\.\d+)?(?=[,\s])", text, data, count=3)


def with_version(data):
    """A JSON object of a version that does not exist yet, with entries that today's code does not know."""
    values = json.loads(data)
    return json.dumps(values | {"schema" if "schema" in values else "format": 99, "more": [1, 2]}).encode()


DAMAGES = {  # None stands for no file
    "absent": lambda data: None,
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    **{f"flipped at {share}": lambda data, share=share: flip(data, share) for share in (0.1, 0.5, 0.9)},
    "random": lambda data: np.random.default_rng(0).bytes(len(data)),
    "longer": lambda data: data + data[-30:],
    "another file": lambda data: b"technique,split\nbelt,train\n",
    "list": lambda data: b"[1, 2]",
    "deep": lambda data: b"[" * 100_000,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "numbers that are none": lambda data: first_numbers(data, b"NaN"),
    "words for numbers": lambda data: first_numbers(data, b"many"),
    "other numbers": lambda data: first_numbers(data, b"7"),
    "a line less": lambda data: b"".join(data.splitlines(keepends=True)[:-1]),
    "newer": with_version,
}
COMBINATIONS = [
    (file, damage)
    for file in FILES
    for damage in DAMAGES
    if not (file.endswith(NO_TEXT) and damage in list(DAMAGES)[11:])
    and (file, damage) != ("data/*/clips.npy", "longer")  # what follows the clips is not read
    and (damage != "newer" or file.endswith(("row.json", "phase.json", "corpus.json", "config.json")))
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A place with a corpus, a finished run, a begun phase and an exported model; and a way to have it whole again."""
    place = tmp_path_factory.mktemp("study")
    settings = [*own_settings(write_corpus(place / "corpus"), place / "outputs"), "data.split.validation=[cid]"]
    argv = sys.argv
    assert call_command("run", *settings) == 0
    to = f"to={place / 'outputs' / 'model'}"
    assert call_command("export", "run=alpha", to, f"output_dir={place / 'outputs'}") == 0
    sys.argv = argv
    begun = place / "outputs" / "phases" / ".0123456789abcdef.work" / "last.ckpt"
    begun.parent.mkdir()
    write_checkpoint(begun, {"epoch": 1})
    shutil.rmtree(place / "outputs" / "hydra")
    (place / "outputs").rename(place / "whole")
    return SimpleNamespace(folder=place, settings=settings)


class Study:
    """One damaged copy of the study, and what commands say of it."""

    def __init__(self, study, call):
        self.place, self.settings, self.call = study.folder, study.settings, call
        self.outputs = self.place / "outputs"
        self.restore()

    def restore(self):
        """Make the copy whole. Its files are links, so a damage removes one before it writes another."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        shutil.copytree(self.place / "whole", self.outputs, copy_function=os.link)

    def damage(self, file, damage):
        """Damage a file; return its path and its new bytes."""
        self.restore()
        path = next(self.outputs.glob(file))
        data = DAMAGES[damage](path.read_bytes())
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        return path, data

    def ask(self, command):
        """Exit status and words of a command, or of a call from Python."""
        sound = next((self.place / "corpus").rglob("*.wav"))
        predict = ("predict", f"input={sound}", "pictures=false", f"to={self.place / 'predictions'}")
        own = f"output_dir={self.outputs}"
        commands = {
            "run": ("run", *self.settings),
            "list": ("store", own),
            "show": ("store", own, "show=alpha"),
            "export": ("export", own, "run=alpha", f"to={self.outputs / 'other'}"),
            "predict": (*predict, "network=alpha", own),
            "predict by a model": (*predict, f"network={self.outputs / 'model'}"),
            "remove": ("store", own, "remove=unused", "sure=true"),
            "check": ("store", own, "check=true"),
        }
        shutil.rmtree(self.place / "predictions", ignore_errors=True)
        if command in commands:
            done = self.call(*commands[command])
            return done.status, re.sub(r"[\d.]+ s\b", "", done.out), done.err
        logged, logger = logging.StreamHandler(io.StringIO()), logging.getLogger("singtech")
        logger.addHandler(logged)
        try:
            status, out, error = 0, str(CALLS[command](self.outputs)), ""
        except SingtechError as problem:
            status, out, error = 1, "", f"error: {problem}"
        logger.removeHandler(logged)
        return status, out, logged.stream.getvalue() + error

    def stored(self):
        """Every file of runs, phases and clips, without times, logs, features and what was set aside."""
        files = {}
        for path in sorted(self.outputs.glob("*/**/*")):
            name = path.relative_to(self.outputs).as_posix()
            if not path.is_file() or not STORED.match(name):
                continue
            files[name] = path.read_bytes()
            if path.suffix == ".json":
                values = json.loads(files[name])
                files[name] = {key: value for key, value in values.items() if key not in TIMES}
        return files


def load(outputs):
    run = singtech.load_run("alpha", output_dir=outputs)
    return run.predictions.to_csv() + str(run.network.classifier) + str(run.features().tolist())


def tables(outputs):
    collated, _ = collate_corpora(outputs)
    frames = (collated.results, collated.layers, collated.confusions, *collated.lengths.values())
    return "".join(frame.to_csv() for frame in frames)


CALLS = {"results": lambda outputs: singtech.results(outputs).to_csv(), "load_run": load, "tables": tables}
COMMANDS = ("run", "list", "show", "export", "predict", "predict by a model", "remove", *CALLS)


@pytest.fixture(scope="module")
def answers():
    """command -> what it says of the whole study."""
    return {}


def require_named_or_as_before(study, answers, file, damage, command):
    """That a command gives what it gave before, or names the file, and removes neither newer files nor phases."""
    if command not in answers:
        study.restore()
        answers[command] = study.ask(command)
        assert answers[command][0] == 0, answers[command]
    path, data = study.damage(file, damage)
    status, out, err = study.ask(command)
    said = err + "".join(line for line in out.splitlines() if "[WARNING]" in line)
    is_named = path.name in said or path.parent.name in said
    where = f"{file}, {damage}, {command}: {status} {out[-200:]} {err[-600:]}"
    assert status in (0, 1), where
    if status == 1:
        assert is_named, where
        assert err.splitlines()[-1].startswith("error: "), where
    elif command not in ("run", "list", "show", "remove") and file != "corpora/*.csv":
        # the commands make it again, or tell of it; the lengths of a corpus have no digest
        assert is_named or out == answers[command][1], where
    if damage == "newer":
        assert path.read_bytes() == data, where
    if command == "remove":
        whole = {each.name for each in (study.place / "whole" / "phases").glob("[0-9a-f]*")}
        assert {each.name for each in (study.outputs / "phases").glob("[0-9a-f]*")} == whole, where


def require_healed(study, file, damage):
    """That a check and the same command again restore every byte."""
    study.restore()
    whole = study.stored()
    study.damage(file, damage)
    study.ask("check")
    if file.startswith("runs"):
        before = set(study.outputs.glob("phases/[0-9a-f]*"))  # the begun phase is unused if the row can be read
        study.ask("remove")
        assert set(study.outputs.glob("phases/[0-9a-f]*")) == before
    status, out, err = study.ask("run")
    if damage == "other numbers" and "install a newer one" in err:
        return
    where = f"{file}, {damage}: {err[-300:]}"
    assert status == 0, where
    if file.endswith("log.csv"):  # nothing is read from it but pictures
        assert "nothing had to be trained" in out
        assert not list(study.outputs.glob("phases/.*.damaged-*"))
    healed = study.stored()
    assert {name for name in whole | healed if whole.get(name) != healed.get(name)} == set(), where


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_or_changes_nothing(study, call, answers, file):
    draw, one = random.Random(file), Study(study, call)
    damages = [damage for each, damage in COMBINATIONS if each == file]
    for damage in draw.sample(damages, 2):
        for command in [*draw.sample(COMMANDS, 2), *["remove"] * file.endswith("row.json")]:
            require_named_or_as_before(one, answers, file, damage, command)
    if not file.startswith("model"):
        require_healed(one, file, draw.choice([damage for damage in damages if damage != "newer"]))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", FILES)
def test_a_file_damaged_in_any_way_is_named_or_changes_nothing_for_any_command(study, call, answers, file):
    one = Study(study, call)
    for damage in [damage for each, damage in COMBINATIONS if each == file]:
        for command in COMMANDS:
            require_named_or_as_before(one, answers, file, damage, command)
        if damage != "newer" and not file.startswith("model"):
            require_healed(one, file, damage)
