"""The command that verifies: it downloads nothing, says what it found, and its exit status is its answer."""

import pandas as pd
import pytest

from singtech.cli import verify as command
from singtech.corpus import archive
from singtech.corpus.vocalset import ExpectedContents


@pytest.fixture
def known(monkeypatch):
    """Make what is known of VocalSet the recordings of `own_corpus`: two of 0.625 s a singer and technique."""
    techniques = ("straight", "trill", "vibrato")
    groups = [(s, "scales", t, 2, 1.25) for s in ("ann", "ben", "cid", "dot") for t in techniques]
    copies = {"dot/scales/trill/none": 0.0}
    clips = {"train": dict.fromkeys(techniques, 6), "test": dict.fromkeys(techniques, 2)}
    groups = pd.DataFrame(groups, columns=["singer", "context", "technique", "recordings", "seconds"])
    groups.loc[(groups["singer"] == "dot") & (groups["technique"] == "trill"), "recordings"] = 3
    monkeypatch.setattr(command, "expected_vocalset", lambda: ExpectedContents(groups, copies, ("dot",), clips))


def test_the_status_is_0_if_the_papers_protocol_can_be_run(call, known, own_corpus, tmp_path):
    done = call("verify", f"data.root={own_corpus}", f"output_dir={tmp_path / 'out'}")
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == (
        "The paper's protocol can be run on it: it gives 18 training and 6 test clips."
    )
    findings = pd.read_csv(tmp_path / "out" / "verification" / "vocalset.csv")
    assert findings.columns.tolist() == ["finding", "where", "recordings", "detail"]
    assert findings["detail"].tolist() == ["8,000 Hz"] * 24


def test_the_status_is_1_if_not(call, known, own_corpus, tmp_path):
    (own_corpus / "ann/scales/trill/ann_trill_0.wav").unlink()
    done = call("verify", f"data.root={own_corpus}", f"output_dir={tmp_path / 'out'}")
    assert done.status == 1
    assert "\nThe paper's protocol cannot be run on it: it gives 17" in done.out
    assert max(map(len, done.out.split("\n", 1)[1].split("Every finding")[0].splitlines())) <= 80
    assert f"Every finding is in {tmp_path / 'out' / 'verification' / 'vocalset.csv'}." in done.out
    assert "Traceback" not in done.err


def test_nothing_is_downloaded(call, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "download", None)
    done = call("verify", f"data.root={tmp_path / 'none'}", f"output_dir={tmp_path / 'out'}")
    assert done.status == 1
    assert done.err == f"error: data.root={tmp_path / 'none'}: VocalSet is absent; `make data` downloads it.\n"
    assert not (tmp_path / "none").exists()


def test_ones_own_recordings_are_listened_to(call, own, own_corpus, tmp_path):
    (own_corpus / "ann/scales/trill/ann_trill_0.wav").write_bytes(b"la")
    done = call("verify", *own)
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert "damaged: 1 recording ann/scales/trill/ann_trill_0.wav: it is no readable" in said
    assert "of another sample rate: none" in done.out
    assert said.endswith("Not compared, because only VocalSet's content is known: 23 of 24 recordings can be used.")
    assert len(pd.read_csv(tmp_path / "outputs" / "verification" / "choir.csv")) == 1


def test_ones_own_recordings_need_no_name_but_a_place(call, own_corpus, tmp_path):
    done = call("verify", "data=folder", f"data.root={own_corpus}", f"output_dir={tmp_path / 'out'}")
    assert done.status == 0, done.err
    assert (tmp_path / "out" / "verification" / "folder.csv").exists()
    done = call("verify", "data=folder", f"output_dir={tmp_path / 'out'}")
    assert done.status == 1
    assert done.err.startswith("error: data.root is not set")
