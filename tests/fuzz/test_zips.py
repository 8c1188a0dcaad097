"""Zips, damaged and hostile: members as their directory says, or one sentence."""

import io
import mmap
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singtech.corpus.archive import is_recording, open_source
from singtech.corpus.manifest import list_recordings
from tests.fuzz.contract import bounded, damaged, kept

NAMES = ("ann/straight/a.wav", "ben/trill/b.flac", "readme.txt")


def packed(compression, comment=b""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in NAMES:
            archive.writestr(name, name.encode() * 20)
        with archive.open("ann/trill/c.wav", "w", force_zip64=True) as member:
            member.write(b"x" * 300)
        archive.comment = comment
    return file.getvalue()


ZIPS = [
    *map(packed, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)),
    packed(zipfile.ZIP_DEFLATED, b"ours"),
]


def read(path):
    """That a zip is refused, or each of its members is read as the directory says, or refused."""
    source = kept(open_source, path)
    if source is None:
        return
    with source:
        assert source.names() == sorted(set(source.names()))
        listing = list_recordings(source)
        assert listing.singers()
        there = set(listing.recordings["path"])
        assert all(is_recording(name) for name in there)
        for name in source.names():
            data = kept(source.read, name)
            if data is not None:
                member = source._members[source.base + name]
                assert (len(data), zlib.crc32(data)) == (member.file_size, member.CRC)


@bounded(80)
@given(damaged(ZIPS, hot=-400))
def test_a_damaged_zip_gives_whole_members_or_is_refused(tmp_path, data):
    path = tmp_path / "source.zip"
    path.write_bytes(data)
    read(path)


@bounded(20)
@given(st.binary(max_size=200), st.sampled_from([b"", *(data[-22:] for data in ZIPS)]))
def test_arbitrary_bytes_are_no_zip(tmp_path, data, ending):
    path = tmp_path / "source.zip"
    path.write_bytes(data + ending)
    read(path)


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "filename": st.text(max_size=20)
        | st.lists(st.sampled_from(("..", ".", "", "C:", "a", "b.wav", "\\", "\0")), max_size=4).map("/".join),
        "file_size": st.sampled_from((0, 1, 2**30, 2**30 + 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1)),
        "compress_size": st.sampled_from((0, 1, 100, 2**31, 2**32 - 1)),
        "header_offset": st.sampled_from((0, 1, 50, 100, 2**32 - 1)),
        "compress_type": st.sampled_from((0, 1, 8, 9, 12, 14, 93, 95, 99, 0xFFFF)),
        "flag_bits": st.integers(0, 0xFFFF),
        "external_attr": st.integers(0, 2**32 - 1),
        "create_system": st.integers(0, 255),
        "CRC": st.integers(0, 2**32 - 1),
        "extra": st.binary(max_size=20),
    },
)


@bounded(50)
@given(st.lists(FIELDS, min_size=3, max_size=3))
def test_a_zip_whose_directory_says_anything_gives_whole_members_or_is_refused(tmp_path, forged):
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, fields in zip(NAMES, forged, strict=True):
            archive.writestr(name, name.encode() * 20)
            for field, value in fields.items():
                setattr(archive.filelist[-1], field, value)
        try:
            archive.close()
        except (ValueError, UnicodeEncodeError, zipfile.LargeZipFile):
            archive.filelist.clear()  # zipfile cannot write this
    read(path)


def test_the_contract_is_one_that_can_be_broken():
    def hangs_up():
        raise ValueError("two\nlines of it")

    with pytest.raises(AssertionError):
        kept(hangs_up)
    with pytest.raises(AssertionError):
        kept(lambda: b"\xff".decode())
    with pytest.raises(AssertionError):
        kept(lambda: mmap.mmap(-1, 200_000_000).write(b"x" * 200_000_000))  # pages that malloc cannot have kept
