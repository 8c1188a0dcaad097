"""Recordings whose labels are no folders: a table says who sings what, or a class of one's own does."""

import sys

import pytest

from singtech.components import ComponentError
from singtech.corpus.clip_store import prepare
from singtech.corpus.sources import TableSource, make_source, open_recordings
from singtech.corpus.verify import verify

TABLE = """path,singer,technique,context,take
a.wav,Ann,straight,scales,1
b.wav,Ann,"trill, slow",,1
deep/down/c.wav,Ben,straight,scales,1
d.wav,Ben,"trill, slow",,2
"""

OWN = """
from pathlib import Path

from singtech.corpus.sources import Label


class FromNames:
    def __init__(self, root, suffix=".wav"):
        self.root, self.suffix = Path(root), suffix

    def names(self):
        return [path.name for path in self.root.iterdir()]

    def signature(self):
        return "1"

    def size(self, name):
        return (self.root / name).stat().st_size

    def read(self, name):
        return (self.root / name).read_bytes()

    def labels(self):
        return {name: Label(*name.split("_")[:2]) for name in self.names() if name.endswith(self.suffix)}
"""


def sung(sounds):
    """Four recordings, no two alike, in no folders that say anything."""
    names = ("a.wav", "b.wav", "deep/down/c.wav", "d.wav")
    return {name: sounds.wav(pitch=200 + 40 * n) for n, name in enumerate(names)}


def ready(source, folder, **changes):
    settings = {"name": "choir", "techniques": None, "split": {"test": ["Ben"]}, "sample_rate": 8000}
    return prepare(source, folder, **{**settings, "clip_seconds": 0.5, **changes})


@pytest.fixture
def own(tmp_path, monkeypatch, sounds):
    """A function that makes the source of a class of one's own; `change` replaces text in its file."""
    (tmp_path / "takes").mkdir()
    for s, singer in enumerate(("Ann", "Ben")):
        for t, technique in enumerate(("straight", "trill")):
            data = sounds.wav(pitch=300 + 100 * s + 30 * t)
            (tmp_path / "takes" / f"{singer}_{technique}_1.wav").write_bytes(data)
    (tmp_path / "code").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file changed within a second would not be read again

    def make(*change, **settings):
        (tmp_path / "code" / "takes.py").write_text(OWN.replace(*change) if change else OWN)
        sys.modules.pop("takes", None)
        return make_source({"_target_": "takes.FromNames", "root": str(tmp_path / "takes"), **settings})

    yield make
    sys.modules.pop("takes", None)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_table_says_who_sings_what_wherever_the_recordings_lie(kind, sounds, folder_of, zip_of, tmp_path):
    files = sung(sounds) | {"labels.csv": TABLE.encode("utf-8-sig"), "spare.wav": sounds.wav(), "notes.txt": b""}
    corpus = ready(TableSource({"folder": folder_of, "zip": zip_of}[kind](files), "labels.csv"), tmp_path / "data")
    columns = ["path", "singer", "technique", "context", "split"]
    assert corpus.recordings[columns].to_numpy().tolist() == [
        ["a.wav", "Ann", "straight", "scales", "train"],
        ["b.wav", "Ann", "trill, slow", "", "train"],
        ["d.wav", "Ben", "trill, slow", "", "test"],
        ["deep/down/c.wav", "Ben", "straight", "scales", "test"],
    ]
    assert corpus.clips["recording"].unique().tolist() == ["a", "b", "d", "deep/down/c"]
    assert corpus.notes == ["left out 1 recording without a label, such as spare.wav"]


def test_a_corrected_label_is_another_corpus_and_the_same_labels_are_the_same(sounds, folder_of, tmp_path):
    root, labels = folder_of(sung(sounds)), tmp_path / "labels.csv"

    def corpus(text):
        labels.write_text(text)
        return ready(TableSource(root, str(labels)), tmp_path / "data")

    first = corpus(TABLE)
    assert corpus(TABLE.replace(",1\n", ",7\n")).folder == first.folder  # the takes are no labels
    changed = corpus(TABLE.replace("b.wav,Ann", "b.wav,Cid"))
    assert changed.folder != first.folder
    assert changed.recordings.set_index("path").loc["b.wav", "singer"] == "Cid"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path,", "file,", "labels.csv: expected the columns path, singer, technique .* found file, singer, technique"),
        ("b.wav,Ann", "bb.wav,Ann", "labels.csv, line 3 .bb.wav.: there is no such .wav or .flac"),
        ("deep/down/c.wav", "c.wav", "labels.csv, line 4 .c.wav.: there is no such"),
        ("d.wav,Ben", "a.wav,Ben", "labels.csv, line 5 .a.wav.: the path occurs twice"),
        ("d.wav,Ben", "d.wav, ", "labels.csv, line 5 .d.wav.: a cell is empty"),
        ('"trill, slow",,2', "trill, slow,,2", "labels.csv: it is no CSV .*Expected 5 fields in line 5, saw 6"),
        ("d.wav,Ben", "labels.csv,Ben", "labels.csv, line 5 .labels.csv.: there is no such .wav"),
        ('Ben,"trill, slow",,2', 'Ben,"trill', "labels.csv: it is no CSV"),
        (TABLE, "", "labels.csv: it is no CSV .No columns"),
        (TABLE, "path,singer,technique\n\n", "labels.csv: it has no line below its columns"),
    ],
)
def test_a_mistake_in_the_table_is_one_sentence_with_its_line(old, new, said, sounds, folder_of):
    assert TABLE.count(old) == 1
    files = sung(sounds) | {"labels.csv": TABLE.replace(old, new).encode()}
    with pytest.raises(ValueError, match=said):
        TableSource(folder_of(files), "labels.csv")


def test_a_table_that_is_not_there_or_no_text_is_said(sounds, folder_of):
    root = folder_of(sung(sounds) | {"labels.csv": b"path,singer,technique\na.wav,Jos\xe9,straight"})
    with pytest.raises(FileNotFoundError, match="data.labels=label.csv: there is no such file in "):
        TableSource(root, "label.csv")
    with pytest.raises(ValueError, match="labels.csv: expected UTF-8"):
        TableSource(root, "labels.csv")
    with pytest.raises(ValueError, match="data.labels is not set"):
        TableSource(root, None)


def test_a_class_of_ones_own_takes_labels_from_file_names(own, tmp_path):
    corpus = ready(own(), tmp_path / "data")
    assert corpus.recordings[["path", "singer", "technique", "split"]].to_numpy().tolist() == [
        ["Ann_straight_1.wav", "Ann", "straight", "train"],
        ["Ann_trill_1.wav", "Ann", "trill", "train"],
        ["Ben_straight_1.wav", "Ben", "straight", "test"],
        ["Ben_trill_1.wav", "Ben", "trill", "test"],
    ]
    swapped = ready(own("*name.split", "*name.replace('Ann', 'Cid').split"), tmp_path / "data")
    assert swapped.folder != corpus.folder  # its signature is the same, its labels are not


def test_what_ones_own_class_cannot_read_is_left_out(own, tmp_path):
    (tmp_path / "takes" / "Ann_trill_2.wav").write_bytes(b"")
    corpus = ready(own(), tmp_path / "data")
    assert "left out Ann_trill_2.wav: it is empty (0 bytes)" in corpus.notes
    with open_recordings(own()) as source:
        found = verify(source, 8000)
    assert found.findings[["finding", "where"]].to_numpy().tolist() == [["damaged", "Ann_trill_2.wav"]]
    assert found.recordings["is_usable"].sum() == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("Path(root), suffix", "Path(root)", "__init__", "TypeError: .*PosixPath"),
        ("return [path.name", "return [path.nam", "names|<listcomp>", "AttributeError: .*has no attribute 'nam'"),
        ("*name.split", "*name.splt", "labels|<dictcomp>", "AttributeError"),
        ('return "1"', "return 1 / 0", "signature", "ZeroDivisionError"),
        ("return (self.root / name).read_bytes()", "return {}[name]", "read", "KeyError: 'Ann_straight_1.wav'"),
        ("return (self.root / name).stat", "raise ValueError(1).stat", "size", "AttributeError"),
    ],
)
def test_an_exception_inside_ones_own_class_names_its_file_and_line(old, new, line, said, own, tmp_path):
    with pytest.raises(ComponentError, match=rf"^data.source: .*takes\.py, line \d+, in ({line}): {said}"):
        ready(own(old, new), tmp_path / "data")
    assert not list((tmp_path / "data").glob("choir-*/corpus.json"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def labels", "def label", r"FromNames has no labels\(\); expected the path of a folder or zip, or an object"),
        ("return {name: Label", "return [*self.names()] or {name: Label", "gives list; expected a Label for each"),
        ("name.endswith(self.suffix)", "False", "gives no label; expected a Label for each recording"),
        ('Label(*name.split("_")[:2])', "name[:3]", r"gives '(Ann|Ben)'; expected Label\(singer, technique\)"),
        ("Label(*name", "Label('', *name", r"gives Label\(singer='', .*; expected Label\(singer, technique\)"),
        ("{name: L", "{name[1:]: L", r"labels\(\) has .*_1.wav, which names\(\) lacks"),
    ],
)
def test_what_ones_own_class_lacks_is_one_sentence(old, new, said, own, tmp_path):
    assert OWN.count(old) == 1
    with pytest.raises(ValueError, match=said):
        ready(own(old, new), tmp_path / "data")


def test_a_wrong_setting_of_the_source_is_one_sentence(own):
    with pytest.raises(ValueError, match="data.source: FromNames: got an unexpected keyword argument 'rot'"):
        own(rot=1)
    with pytest.raises(ValueError, match="data.source: own_recordings: missing a required argument: 'root'"):
        make_source({"_target_": "singtech.corpus.archive.own_recordings"})
    with pytest.raises(ValueError, match="data.source._target_=nowhere.Source: No module named 'nowhere'"):
        make_source({"_target_": "nowhere.Source"})
    with pytest.raises(ValueError, match="data.source._target_ is not set"):
        make_source({})
