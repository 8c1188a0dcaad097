"""Clip stores, damaged: the clips as they were cut, or none, so that they are cut anew."""

import numpy as np
import pytest
import soundfile
from hypothesis import given

from singtech.corpus.clip_store import SPLITS, prepare, report
from tests.fuzz.contract import bounded, damaged, kept

FILES = ("corpus.json", "clips.csv", "manifest.csv", "clips.npy")
SETTINGS = {"name": "choir", "techniques": None, "split": {"test": ["ben"]}, "clip_seconds": 0.05, "sample_rate": 8000}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A function that puts these files into a store that was whole, and opens it."""
    root = tmp_path_factory.mktemp("source")
    for k, singer in enumerate(("ann", "ben")):
        for j, technique in enumerate(("straight", "trill")):
            folder = root / singer / "scales" / technique
            folder.mkdir(parents=True)
            tone = 0.3 * np.sin(np.arange(1000) / (4 + k + 2 * j))
            soundfile.write(folder / "a.wav", tone, 8000)
    made = prepare(root, root.parent / "stores", **SETTINGS)
    whole = {name: (made.folder / name).read_bytes() for name in FILES}

    def opened(**files):
        for name, content in whole.items():
            (made.folder / name).write_bytes(files.get(name.partition(".")[0] + name[-1], content))
        return prepare(root, root.parent / "stores", **SETTINGS, make=False)

    opened.whole = whole
    return opened


def require_whole(corpus):
    """That all that training and reports ask of a corpus can be had of it."""
    if corpus is None:
        return
    assert corpus.waveforms.shape == (len(corpus.clips), 400)
    assert corpus.waveforms.dtype == np.int16
    assert sum(len(corpus.targets(split)) for split in SPLITS) == len(corpus.clips)
    assert corpus.counts("train").sum() > 0
    assert corpus.lengths()["clips"].sum() == len(corpus.clips)
    assert corpus.fingerprint("test") != corpus.fingerprint("train")
    assert "choir" in report(corpus)


@pytest.mark.parametrize(("file", "hot"), [("corpusn", 40), ("clipsv", 80), ("manifestv", 80), ("clipsy", 127)])
def test_a_damaged_file_of_a_store_is_whole_or_none(file, hot, store):
    name = next(name for name in FILES if name.partition(".")[0] + name[-1] == file)

    @bounded(15)
    @given(damaged([store.whole[name]], hot))
    def each(data):
        require_whole(kept(store, **{file: data}))

    each()


@pytest.mark.parametrize(
    ("said", "forged"),
    [
        (b"'<i2'", b"'<u2'"),
        (b"False", b"True "),
        (b"NUMPY\x01", b"NUMPY\x02"),
    ],
)
def test_clips_whose_header_says_what_cannot_be_are_none(said, forged, store):
    whole = store.whole["clips.npy"]
    assert said in whole
    assert kept(store, clipsy=whole.replace(said, forged, 1)) is None


def test_an_archive_or_pickle_under_the_name_of_the_clips_is_none(store):
    import io
    import pickle

    archive = io.BytesIO()
    np.savez(archive, a=np.zeros((16, 400), np.int16))
    for content in (archive.getvalue(), pickle.dumps([1, 2]), b""):
        assert kept(store, clipsy=content) is None
