"""Commands on recordings that are damaged: what is good is taken, the rest is counted and named, no traceback."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.contract import bounded, damaged
from tests.fuzz.test_recordings import FLAC, WAV
from tests.fuzz.test_zips import ZIPS


@pytest.mark.parametrize(
    ("command", "said"),
    [("prepare", "left out ann/scales/trill/a.wav: it is empty (0 bytes)"), ("verify", "trill/a.wav: it is empty")],
)
def test_damaged_recordings_in_a_folder_end_no_command(command, said, own, own_corpus, call):
    folder = own_corpus / "ann" / "scales" / "trill"

    @bounded(3, shrinks=False)
    @given(st.lists(damaged(WAV + FLAC, hot=60), min_size=8, max_size=8, unique=True))
    def each(recordings):
        for number, data in enumerate(recordings):
            (folder / f"damaged_{number}.{'flac' if data[:4] == b'fLaC' else 'wav'}").write_bytes(data)
        (folder / "a.wav").write_bytes(b"")
        done = call(command, *own)
        assert done.status == 0
        assert "Traceback" not in done.out + done.err
        assert said in done.out

    each()


def test_a_damaged_zip_is_one_sentence_or_its_recordings(own, call, tmp_path):
    @bounded(4, shrinks=False)
    @given(damaged(ZIPS, hot=-400))
    def each(data):
        (tmp_path / "source.zip").write_bytes(data)
        done = call("prepare", *own, f"data.root={tmp_path / 'source.zip'}")
        assert done.status == 1  # its recordings are none
        assert "Traceback" not in done.out + done.err
        assert done.err.splitlines()[-1].startswith("error: ")

    each()
