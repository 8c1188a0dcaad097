"""A corpus is added from outside by one YAML and, where its labels are not folders, one class in a file beside it."""

import sys

import pandas as pd
import pytest
import soundfile

from singtech import components
from tests.conftest import SINGERS, SMALL, TECHNIQUES, tone

YAML = """
name: nursery
root: {root}
source: {{_target_: nursery.Nursery, root: "${{data.root}}"}}
techniques: [vibrato, straight, trill]
split: {{by: recording, test: lists/test.txt, train: lists/train.txt}}
"""

CLASS = """
from pathlib import Path

from singtech.corpus.sources import Label


class Nursery:
    def __init__(self, root):
        self.files = {path.name: path for path in Path(root).glob("*.wav")}

    def names(self):
        return list(self.files)

    def signature(self):
        return repr([(name, path.stat().st_mtime_ns) for name, path in sorted(self.files.items())])

    def size(self, name):
        return self.files[name].stat().st_size

    def read(self, name):
        return self.files[name].read_bytes()

    def labels(self):
        return {name: Label(*name.split("-")[:2]) for name in self.files}
"""


@pytest.fixture
def nursery(call, tmp_path, monkeypatch):
    """A function that gives a command in a folder with the corpus; recordings are <singer>-<technique>-<take>.wav."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(components, "_user_folders", set())
    takes = tmp_path / "takes"
    for folder in ("takes", "conf/data", "lists"):
        (tmp_path / folder).mkdir(parents=True)
    for s, singer in enumerate(SINGERS):
        for t, technique in enumerate(TECHNIQUES):
            for take in range(2):
                data = tone(technique, 100 * s + 10 * t + take)
                soundfile.write(takes / f"{singer}-{technique}-{take}.wav", data, 8000)
    (tmp_path / "conf" / "data" / "nursery.yaml").write_text(YAML.format(root=takes))
    (tmp_path / "nursery.py").write_text(CLASS)
    for subset, take, singers in (("train", 0, SINGERS[:3]), ("test", 1, SINGERS[2:])):
        names = [f"{singer}-{technique}-{take}.wav" for singer in singers for technique in TECHNIQUES]
        (tmp_path / "lists" / f"{subset}.txt").write_text("# official\n" + "\n".join(names))

    def command(name, *settings, data=("--config-dir", "conf", "data=nursery")):
        sys.modules.pop("nursery", None)  # as in the next process
        return call(name, *data, *SMALL, *settings)

    yield command
    sys.modules.pop("nursery", None)


def test_a_corpus_from_outside_is_prepared_verified_and_trained_on(nursery, tmp_path):
    done = nursery("prepare")
    assert done.status == 0, done.err
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    assert [name for name in rows if name in TECHNIQUES] == ["vibrato", "straight", "trill"]
    #                     recordings, minutes, clips of train     test                 all
    assert rows["all"] == ["9", "0.09", "9", "6", "0.06", "6", "15", "0.16", "15"]
    assert "- left out 9 recordings with 9 clips: data.split names them in no subset" in done.out
    assert "- 1 singer is in both train and test: scores are no evidence about new singers" in done.out

    done = nursery("verify")
    assert done.status == 0, done.err
    assert "24 of 24 recordings can be used" in " ".join(done.out.split())

    done = nursery("run", "dc=late", "schedule=smoke")
    assert done.status == 0, done.err
    (row,) = pd.read_csv(tmp_path / "outputs" / "results.csv").to_dict("records")
    assert (row["data"], row["clips_train"], row["clips_test"]) == ("nursery", 9, 6)
    assert sorted(row["singers_test"].split()) == ["cid", "dot"]


def test_a_mistake_in_its_class_is_one_sentence_with_its_line(nursery, tmp_path):
    (tmp_path / "nursery.py").write_text(CLASS.replace('name.split("-")[:2]', 'name.split("-")[5]'))
    done = nursery("prepare")
    assert done.status == 1
    (line,) = done.err.splitlines()
    number = CLASS.splitlines().index(next(text for text in CLASS.splitlines() if "Label(*" in text)) + 1
    assert line.startswith(f"error: data.source: {tmp_path / 'nursery.py'}, line {number}, in ")
    assert line.endswith("IndexError: list index out of range")


def test_a_table_is_a_corpus_by_settings_alone(nursery, tmp_path):
    names = sorted(path.name for path in (tmp_path / "takes").iterdir())
    lines = [f"{name},{name.split('-')[0]},{name.split('-')[1]}" for name in names]
    (tmp_path / "takes" / "labels.csv").write_text("path,singer,technique\n" + "\n".join(lines))
    choir = ["data=table", "data.name=choir", "data.root=takes", "data.split.test=[dot]"]
    done = nursery("prepare", data=choir)
    assert done.status == 0, done.err
    (all_of,) = [line.split()[1:] for line in done.out.splitlines() if line.startswith("all ")]
    assert [all_of[n] for n in (0, 3, 6)] == ["18", "6", "24"]
