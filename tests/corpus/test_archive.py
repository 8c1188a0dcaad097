"""A zip or a folder, VocalSet 1.1 or 1.2 or one's own: the same recordings; and what inflates is bounded."""

import io
import os
import tracemalloc
import zipfile

import pytest

from singtech.corpus import archive
from singtech.corpus.archive import fetch_vocalset, open_source, own_recordings


@pytest.fixture
def forged(sounds, tmp_path):
    """A function that packs a choir and then these members, and lets `forge` change what the directory will say."""

    def write(members, forge, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "forged.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in (sounds.choir() | members).items():
                archive.writestr(name, data)
            forge(archive.filelist)
        return path

    return write


def peak_memory(call):
    """The most bytes that were held while calling."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "base", ["", "FULL/", "VocalSet/FULL/", "data_by_singer/", "VocalSet 1.2/data_by_singer/", "my recordings/"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_recordings_are_found_below_any_base(base, packed, sounds, folder_of, zip_of):
    files = {base + name: data for name, data in sounds.choir().items()}
    with open_source((zip_of if packed else folder_of)(files)) as source:
        assert source.names() == sorted(sounds.choir())
        assert source.read(source.names()[3]) == sounds.choir()[source.names()[3]]


def test_vocalset_1_2_counts_each_recording_once(sounds, zip_of):
    files = {}
    for name, data in sounds.choir().items():
        singer, _, technique, file = name.split("/")
        files |= {f"data_by_singer/{name}": data, f"data_by_technique/{technique}/{singer}/{file}": data}
        files[f"data_by_vowel/a/{technique}/{file}"] = data
    assert open_source(zip_of(files)).names() == sorted(sounds.choir())


def test_what_macos_leaves_behind_is_no_recording(sounds, zip_of, folder_of):
    clutter = {
        "FULL/.DS_Store": b"\0",
        "FULL/male1/scales/straight/._m1_straight_a.wav": b"\0",
        "__MACOSX/FULL/male1/scales/straight/m1_straight_a.wav": b"\0",
        "__MACOSX/._FULL": b"\0",
        "FULL/.trash/scales/straight/a.wav": b"\0",
    }
    files = clutter | {f"FULL/{name}": data for name, data in sounds.choir().items()}
    assert open_source(zip_of(files)).names() == open_source(folder_of(files)).names() == sorted(sounds.choir())


def test_one_singer_alone_is_a_singer_and_no_wrapping_folder(folder_of, sounds):
    root = folder_of({"ann/straight/a.wav": sounds.wav(), "ann/trill/a.wav": sounds.wav()})
    assert open_source(root).names() == ["ann/straight/a.wav", "ann/trill/a.wav"]


def test_member_that_inflates_beyond_what_it_declares_is_refused_without_inflating_it(forged):
    bomb = bytes(30_000_000)

    def forge(members):
        members[-1].file_size = 1000

    path = forged({"male1/scales/straight/bomb.wav": bomb}, forge)
    with open_source(path) as source:

        def read():
            with pytest.raises(ValueError, match="damaged in the zip"):
                source.read("male1/scales/straight/bomb.wav")

        assert peak_memory(read) < 5_000_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_member_that_ends_before_what_it_declares_is_damaged(compression, forged):
    def forge(members):
        members[-1].file_size += 1

    path = forged({"male1/scales/straight/short.wav": b"x" * 1000}, forge, compression)
    with open_source(path) as source, pytest.raises(ValueError, match="damaged in the zip"):
        source.read("male1/scales/straight/short.wav")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_member_of_a_compression_that_inflates_without_bound_is_not_read(compression, sounds, tmp_path):
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in sounds.choir().items():
            archive.writestr(name, data)
        archive.writestr("male1/scales/straight/bomb.wav", bytes(30_000_000))
    with open_source(path) as source:

        def read():
            with pytest.raises(ValueError, match="neither stored nor deflated"):
                source.read("male1/scales/straight/bomb.wav")

        assert peak_memory(read) < 5_000_000


def test_silence_is_read_though_it_deflates_a_thousandfold(sounds, zip_of):
    silence = sounds.pcm([0] * 5_000_000)
    path = zip_of({"ann/straight/a.wav": silence, "ann/trill/a.wav": silence})
    assert path.stat().st_size < len(silence) / 400
    with open_source(path) as source:
        assert source.read("ann/straight/a.wav") == silence


def test_members_with_zip64_fields_are_read(sounds, tmp_path):
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in sounds.choir().items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    with open_source(path) as source:
        assert {name: source.read(name) for name in source.names()} == sounds.choir()


def test_a_zip_in_a_zip_is_not_opened(sounds, zip_of):
    inner = zip_of(sounds.choir(), "inner.zip").read_bytes()
    with pytest.raises(ValueError, match=r"found 1 files such as 'inner\.zip'"):
        open_source(zip_of({"inner.zip": inner}))
    with open_source(zip_of(sounds.choir() | {"inner.zip": inner})) as source:
        assert source.names() == sorted(["inner.zip", *sounds.choir()])
        assert source.read("inner.zip") == inner


def test_a_zip_made_as_a_stream_is_read(sounds, tmp_path):
    class Pipe(io.RawIOBase):  # cannot seek, so that sizes stand behind the bytes
        written = b""

        def writable(self):
            return True

        def write(self, data):
            Pipe.written += bytes(data)
            return len(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sounds.choir().items():
            archive.writestr(name, data)
    (tmp_path / "source.zip").write_bytes(Pipe.written)
    with open_source(tmp_path / "source.zip") as source:
        assert {name: source.read(name) for name in source.names()} == sounds.choir()


def test_zip_cut_short_is_named_with_its_size(sounds, zip_of, tmp_path):
    whole = zip_of(sounds.choir()).read_bytes()
    (tmp_path / "VocalSet11.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ValueError, match=r"VocalSet11\.zip: no zip, or .* cut short \([\d.]+ kB; VocalSet 1.1 has 2.08 GB"
    ):
        open_source(tmp_path / "VocalSet11.zip")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "found no file"),
        ({"readme.txt": b"hello", "src/main.c": b"int"}, r"found 2 files such as 'readme.txt'"),
        ({"song.wav": b"", "male1/song.wav": b""}, "found 2 files"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_laid_out_like_vocalset_says_what_it_is(files, found, packed, folder_of, zip_of, tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match=f"expected <singer>/…/<technique>/<name>.wav or .flac, {found}"):
        open_source((zip_of if packed else folder_of)(files))


def test_a_text_file_is_no_zip(tmp_path):
    (tmp_path / "VocalSet.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"VocalSet\.txt: no zip"):
        open_source(tmp_path / "VocalSet.txt")


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        open_source(tmp_path / "absent")


def test_damaged_member_is_that_recordings_problem_alone(sounds, zip_of):
    path = zip_of(sounds.choir())
    with zipfile.ZipFile(path) as opened:
        member = opened.infolist()[0]
    content = bytearray(path.read_bytes())
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with open_source(path) as source:
        with pytest.raises(ValueError, match="damaged in the zip"):
            source.read(member.filename)
        assert source.read(source.names()[-1]) == sounds.choir()[source.names()[-1]]


def test_encrypted_member_is_said_to_be_so(sounds, zip_of):
    path = zip_of(sounds.choir())
    content = path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        name = opened.infolist()[0].filename
    directory = content.index(b"PK\x01\x02")  # the first entry of the directory; its flags are two bytes at 8
    path.write_bytes(content[: directory + 8] + b"\x01" + content[directory + 9 :])
    with pytest.raises(ValueError, match="encrypted"):
        open_source(path).read(name)


@pytest.mark.parametrize("packed", [False, True])
def test_a_recording_larger_than_can_be_meant_is_not_read(packed, sounds, folder_of, zip_of, monkeypatch):
    source = open_source((zip_of if packed else folder_of)(sounds.choir()))
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"it has 16\.04 kB, more than the limit of 1\.00 kB"):
        source.read(source.names()[0])


def test_signature_follows_the_content_and_a_copied_zip_keeps_it(sounds, folder_of, zip_of, tmp_path):
    root, packed = folder_of(sounds.choir()), zip_of(sounds.choir())
    before = open_source(root).signature()
    assert open_source(root).signature() == before
    (root / "male1/scales/straight/new.wav").write_bytes(sounds.wav())
    added = open_source(root).signature()
    (root / "male1/scales/straight/new.wav").write_bytes(sounds.wav(2.0))
    assert len({before, added, open_source(root).signature()}) == 3
    (tmp_path / "copy.zip").write_bytes(packed.read_bytes())
    assert open_source(tmp_path / "copy.zip").signature() == open_source(packed).signature()


def test_links_are_followed(sounds, folder_of, tmp_path):
    root = folder_of(sounds.choir())
    (tmp_path / "elsewhere/scales/straight").mkdir(parents=True)
    (tmp_path / "elsewhere/scales/straight/a.wav").write_bytes(sounds.wav())
    (root / "female7").symlink_to(tmp_path / "elsewhere")
    assert open_source(root).names() == sorted([*sounds.choir(), "female7/scales/straight/a.wav"])


def test_a_broken_link_is_named(sounds, folder_of):
    root = folder_of(sounds.choir())
    (root / "male1/scales/straight/lost.wav").symlink_to("nowhere.wav")
    with pytest.raises(OSError, match=r"lost\.wav"):
        open_source(root)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(sounds, folder_of):
    root = folder_of(sounds.choir())
    os.mkfifo(root / "male1/scales/straight/pipe.wav")
    with pytest.raises(ValueError, match="it is no file but a pipe or a device"):
        open_source(root).read("male1/scales/straight/pipe.wav")


@pytest.mark.parametrize(
    ("root", "there", "found"),
    [
        ("mine.zip", "mine.zip", "mine.zip"),
        ("root", "root/VocalSet11.zip", "root/VocalSet11.zip"),
        ("root", "root/VocalSet1-2.zip", "root/VocalSet1-2.zip"),
        ("root", "root/VocalSet11 (1).zip", "root/VocalSet11 (1).zip"),
        ("root", "root.zip", "root.zip"),
        ("root", "root/FULL/male1/scales/straight/a.wav", "root"),
        ("root", "root/male1/scales/straight/a.wav", "root"),
    ],
)
def test_vocalset_that_is_there_is_not_downloaded(root, there, found, tmp_path):
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_bytes(b"x")
    assert fetch_vocalset(tmp_path / root) == tmp_path / found


def test_without_network_one_sentence_says_where_the_zip_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(archive, "ZENODO_URL", "http://127.0.0.1:9/VocalSet11.zip")  # nothing listens there
    monkeypatch.setattr(archive, "ZENODO_SIZE", 10)
    monkeypatch.setattr("singtech.corpus.download.time.sleep", lambda _: None)
    with pytest.raises(ConnectionError) as problem:
        fetch_vocalset(tmp_path / "VocalSet")
    said = str(problem.value)
    assert "\n" not in said
    assert f"Copy VocalSet11.zip from https://zenodo.org/records/1442513 to {tmp_path}/VocalSet/VocalSet11.zip" in said
    assert "data=demo, which needs no download" in said
    assert not list((tmp_path / "VocalSet").glob("VocalSet*"))


def test_a_misspelt_root_starts_no_download_and_makes_no_folder(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(archive, "download", lambda url, path, *_: asked.append(path))
    default, other = tmp_path / "default", tmp_path / "misspelt"
    with pytest.raises(FileNotFoundError, match="misspelt: found nothing; .* create this folder first"):
        fetch_vocalset(other, default)
    assert not other.exists()
    fetch_vocalset(default, default)
    other.mkdir()
    fetch_vocalset(other, default)
    assert asked == [default / "VocalSet11.zip", other / "VocalSet11.zip"]


def test_ones_own_recordings_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"data\.root is not set"):
        own_recordings(None)
    with pytest.raises(FileNotFoundError, match="found nothing"):
        own_recordings(tmp_path / "absent")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/readme.txt").write_text("")
    assert own_recordings(tmp_path / "mine") == tmp_path / "mine"
