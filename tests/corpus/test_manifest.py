"""The folders say who sings and how; what is odd is said; a wrong technique is one sentence."""

import os
import struct
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from singtech.corpus import manifest
from singtech.corpus.archive import open_source
from singtech.corpus.audio import find_clip_spans
from singtech.corpus.clip_store import prepare
from singtech.corpus.manifest import choose_recordings, list_recordings
from singtech.techniques import TECHNIQUES

REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent")) / "vocalset11_files.csv"
TEST_SINGERS = ("female2", "female8", "male3", "male5", "male10")

# VocalSet 1.1 after its duplicates: recordings, and training and test clips of 3 s, by technique.
RECORDINGS = dict(zip(TECHNIQUES, (205, 200, 100, 202, 20, 360, 95, 100, 260, 198), strict=True))
TRAIN_CLIPS = dict(zip(TECHNIQUES, (333, 360, 109, 267, 56, 920, 230, 189, 775, 376), strict=True))
TEST_CLIPS = dict(zip(TECHNIQUES, (90, 95, 48, 109, 17, 318, 93, 53, 284, 211), strict=True))


def chosen(root, techniques=("straight", "vibrato")):
    with open_source(root) as source:
        return choose_recordings(source, list_recordings(source), techniques)


def prepared(root, tmp_path, **changes):
    form = {"name": "choir", "techniques": ["straight", "vibrato"], "clip_seconds": 0.5, "sample_rate": 8000}
    return prepare(root, tmp_path / "data", split={"test": ["male10"]}, **form, **changes)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
@pytest.mark.parametrize("packed", [False, True])
def test_all_of_vocalset_gives_the_known_recordings_and_clips(packed, tmp_path):
    listed = pd.read_csv(REAL)
    assert len(listed) == 3613
    header = b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16)
    files = {}
    for number, path in enumerate(listed["path"]):
        files[path] = header + b"data" + struct.pack("<II", 4, number + 1)
    for path in files:
        files[path] = files[path.replace("(1)", "")]  # the copies come after their originals, byte for byte
    if packed:
        root = tmp_path / "VocalSet11.zip"
        with zipfile.ZipFile(root, "w") as archive:
            for path, data in {**files, "FULL/.DS_Store": b"\0", "__MACOSX/FULL/._male1": b"\0"}.items():
                archive.writestr(path, data)
    else:
        root = tmp_path
        for folder in {Path(path).parent for path in files}:
            (root / folder).mkdir(parents=True)
        for path, data in files.items():
            (root / path).write_bytes(data)
    recordings, _, notes = chosen(root, TECHNIQUES)
    recordings["split"] = ["test" if singer in TEST_SINGERS else "train" for singer in recordings["singer"]]
    assert recordings["technique"].value_counts().to_dict() == RECORDINGS
    assert recordings["split"].value_counts().to_dict() == {"train": 1301, "test": 439}
    assert recordings["singer"].nunique() == 20
    assert notes == [
        "6 recordings in vibrado folders counted as vibrato",
        "left out 1,871 recordings of other techniques: slow_piano 397, slow_forte 395, fast_forte 394, "
        "fast_piano 386, forte 100, pp 100, messa 99",
        "male8/excerpts/vibrato/m9_caro_vibrato.wav is named after m9, but is in male8's folder, which counts",
        "left out female2/scales/straight/f2_scales_straight_u(1).wav: byte for byte "
        "female2/scales/straight/f2_scales_straight_u.wav",
        "left out female2/scales/vibrato/f2_scales_vibrato_a(1).wav: byte for byte "
        "female2/scales/vibrato/f2_scales_vibrato_a.wav",
    ]

    seconds = dict(zip(listed["path"], listed["duration_s"], strict=True))
    spans = [find_clip_spans(round(seconds[f"FULL/{path}"] * 44100), 132300) for path in recordings["path"]]
    recordings["clips"] = [len(of) for of in spans]
    clips = recordings.groupby(["split", "technique"])["clips"].sum()
    assert clips["train"].to_dict() == TRAIN_CLIPS
    assert clips["test"].to_dict() == TEST_CLIPS
    padded = recordings[[of[0][1] < 132300 for of in spans]]
    assert padded.groupby(["split", "technique"]).size().to_dict() == {("train", "inhaled"): 6}


def test_folders_say_singer_technique_and_context(sounds, folder_of):
    root = folder_of(
        {
            "FULL/male1/long_tones/trill/m1_long_trill_a.wav": sounds.wav(pitch=200),
            "FULL/male10/long_tones/trillo/trill_a.wav": sounds.wav(pitch=210),
            "FULL/male11/scales/lip_trill/m11_ trill a.WAV": sounds.wav(pitch=220),
            "FULL/male11/scales/high/lip_trill/m11_a.wav": sounds.wav(pitch=230),
            "FULL/male1/trillo/m1_trillo.wav": sounds.wav(1.5, pitch=240),
            "FULL/male1/trill/m1.1_trill.wav": sounds.wav(pitch=250, rate=44100, channels=2),
        }
    )
    recordings, _, _ = chosen(root, ["trill", "trillo", "lip_trill"])
    assert recordings[["path", "singer", "context", "technique"]].to_numpy().tolist() == [
        ["male1/long_tones/trill/m1_long_trill_a.wav", "male1", "long_tones", "trill"],
        ["male1/trill/m1.1_trill.wav", "male1", "", "trill"],
        ["male1/trillo/m1_trillo.wav", "male1", "", "trillo"],
        ["male10/long_tones/trillo/trill_a.wav", "male10", "long_tones", "trillo"],
        ["male11/scales/high/lip_trill/m11_a.wav", "male11", "scales/high", "lip_trill"],
        ["male11/scales/lip_trill/m11_ trill a.WAV", "male11", "scales", "lip_trill"],
    ]


def test_male10_is_not_named_after_male1(sounds, folder_of):
    files = sounds.choir() | {
        "male1/scales/straight/m10_straight.wav": sounds.wav(pitch=900),
        "male10/scales/straight/f10_straight.wav": sounds.wav(pitch=910),
        "male10/scales/straight/row_straight.wav": sounds.wav(pitch=920),
    }
    assert chosen(folder_of(files))[2] == [
        "male1/scales/straight/m10_straight.wav is named after m10, but is in male1's folder, which counts",
        "male10/scales/straight/f10_straight.wav is named after f10, but is in male10's folder, which counts",
    ]


def test_ones_own_singers_need_not_be_in_the_names(sounds, folder_of):
    files = {f"{singer}/{name}": data for singer in ("ann", "ben") for name, data in voice(sounds, singer).items()}
    assert chosen(folder_of(files), ["straight"])[2] == []


def voice(sounds, singer):
    return {"straight/one.wav": sounds.wav(pitch=300 + len(singer) * 10 + ord(singer[0]))}


def test_byte_identical_copies_count_once_under_the_shortest_name(sounds, folder_of):
    same = sounds.wav(pitch=777)
    files = sounds.choir() | {
        "male1/scales/vibrato/a.wav": same,
        "male1/scales/vibrato/a(1).wav": same,
        "male1/scales/vibrato/b.wav": same,
        "male1/scales/messa/a.wav": same,
    }
    recordings, _, notes = chosen(folder_of(files))
    assert [path for path in recordings["path"] if Path(path).name in ("a.wav", "a(1).wav", "b.wav")] == [
        "male1/scales/vibrato/a.wav"
    ]
    assert [note for note in notes if "byte for byte" in note] == [
        "left out male1/scales/vibrato/a(1).wav: byte for byte male1/scales/vibrato/a.wav",
        "left out male1/scales/vibrato/b.wav: byte for byte male1/scales/vibrato/a.wav",
    ]


def test_a_copy_in_another_singers_folder_counts_once_too(sounds, folder_of):
    same = sounds.wav(pitch=777)
    names = ["male1/scales/vibrato/a.wav", "male2/scales/vibrato/take.wav"]
    recordings, _, _ = chosen(folder_of(sounds.choir() | dict.fromkeys(names, same)))
    assert [path for path in recordings["path"] if path in names] == names[:1]


def test_what_is_left_out_is_counted(sounds, folder_of, caplog):
    files = sounds.choir() | {
        "male1/scales/belt/m1_a.wav": sounds.wav(pitch=500),
        "male1/scales/straight/notes.txt": b"",
        "male1/scales/straight/m1_straight_x.mp3": b"",
        "male1/scales/straight/m1_straight_y.mp3": b"",
        "male1/take.wav": sounds.wav(pitch=600),
        "male1/scales/straight/m1_straight_a.flac": b"",
    }
    assert chosen(folder_of(files))[2] == [
        "left out male1/scales/straight/m1_straight_a.flac: the same recording exists as .wav",
        "left out 3 files neither .wav nor .flac: .mp3 2, .txt 1",
        "left out 1 recording not in a <singer>/…/<technique>/ folder, such as male1/take.wav",
        "left out 1 recording of other techniques: belt 1",
    ]
    assert "left out 2 recordings such as male1/scales/straight/m1_straight_x.mp3: a corpus takes" in caplog.text


def test_without_a_list_all_technique_folders_are_taken_sorted(sounds, folder_of):
    files = {}
    for singer in ("ann", "ben"):
        for number, technique in enumerate(("yodel", "growl", "Vibrato")):
            files[f"{singer}/{technique}/x.wav"] = sounds.wav(pitch=300 + 10 * number + len(files))
    assert chosen(folder_of(files), None)[1] == ("Vibrato", "growl", "yodel")


@pytest.mark.parametrize(
    ("techniques", "said"),
    [
        (["straight", "vibratto"], "data.techniques names vibratto, found are straight, vibrato. Did you mean vibrato"),
        (["straight", "yodel"], "data.techniques names yodel, found are straight, vibrato.$"),
    ],
)
def test_a_technique_that_is_not_there_is_named(techniques, said, sounds, folder_of):
    with pytest.raises(ValueError, match=said):
        chosen(folder_of(sounds.choir()), techniques)


def test_singers_are_all_that_are_there_in_order_of_their_numbers(sounds, folder_of):
    files = sounds.choir() | {"male9/scales/messa/m9_messa.wav": b""}
    with open_source(folder_of(files)) as source:
        assert list_recordings(source).singers() == ["female1", "male1", "male9", "male10"]


def bad_recordings(sounds):
    """{what is wrong: (bytes, what is said)} of recordings whose header or length already tells."""
    whole = sounds.wav(pitch=444)
    return {
        "empty": (b"", r"it is empty \(0 bytes\)"),
        "text": (b"dear diary, " * 100, r"it is no readable WAV or FLAC recording"),
        "header": (whole[:44], "it is cut short: 16,000 of its 16,000 bytes of sound are missing"),
        "half": (whole[: len(whole) // 2], "it is cut short: 8,022 of its 16,000 bytes of sound are missing"),
        "stub": (whole[:30], "it is no readable WAV or FLAC recording"),
        "nothing": (sounds.pcm([]), "it holds no samples"),
        "endless": (sounds.pcm([1] * 4000, rate=1), r"its header has 1 x 4,000 samples \(1\.1 h\); at most 1 h"),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "header", "half", "stub", "nothing", "endless"])
def test_one_bad_recording_is_named_and_left_out_or_stops_if_strict(kind, sounds, folder_of, tmp_path):
    data, said = bad_recordings(sounds)[kind]
    root = folder_of(sounds.choir() | {"male1/scales/straight/m1_bad.wav": data})
    found = prepared(root, tmp_path)
    assert len(found.recordings) == len(sounds.choir())
    (line,) = found.unusable
    assert pd.Series([line]).str.match(rf"male1/scales/straight/m1_bad\.wav: {said}").all()
    with pytest.raises(ValueError, match=rf"m1_bad\.wav: {said}.*; repair it, or .* data\.strict=false"):
        prepared(root, tmp_path, strict=True)


def test_a_wav_whose_writer_did_not_know_its_length_is_whole(sounds, folder_of, tmp_path):
    streamed = bytearray(sounds.wav(pitch=444))
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    root = folder_of(sounds.choir() | {"male1/scales/straight/m1_stream.wav": bytes(streamed)})
    found = prepared(root, tmp_path)
    row = found.recordings.set_index("path").loc["male1/scales/straight/m1_stream.wav"]
    assert row["samples"] == 8000
    assert found.unusable == found.notes == []


def test_a_wav_a_little_shorter_than_it_says_is_used_and_said(sounds, folder_of, tmp_path):
    root = folder_of(sounds.choir() | {"male1/scales/straight/m1_x.wav": sounds.wav(pitch=444)[:-20]})
    found = prepared(root, tmp_path)
    assert found.notes[0].startswith("1 recording up to 1 % shorter than the header says; the existing part is used")
    assert found.recordings.set_index("path").loc["male1/scales/straight/m1_x.wav", "samples"] == 7990


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_left_out_and_shown(sounds, folder_of, tmp_path):
    root = folder_of(sounds.choir())
    Path(os.fsdecode(os.fsencode(root) + b"/male1/scales/straight/m1_\xff.wav")).write_bytes(sounds.wav(pitch=444))
    assert prepared(root, tmp_path).unusable == [
        "male1/scales/straight/m1_\\udcff.wav: its name is no UTF-8 or has a control character; rename it"
    ]


def test_accents_compare_alike_however_they_are_composed(sounds, folder_of):
    files = {"Jose\u0301/straight/a.wav": sounds.wav(), "Ann/straight/a.wav": sounds.wav(pitch=500)}
    assert chosen(folder_of(files), None)[0]["singer"].tolist() == ["Ann", "Jos\u00e9"]


@pytest.mark.parametrize("letter", ["\x1b", "\r", "\t", "\x85", "\u2028"])
def test_a_name_that_would_steer_a_terminal_is_left_out_and_shown(letter, sounds, folder_of, tmp_path):
    files = {f"male1/scales/straight/m1_{letter}[2J.wav": sounds.wav(2.0)}
    (line,) = prepared(folder_of(sounds.choir() | files), tmp_path).unusable
    assert line.isprintable()
    assert "its name is no UTF-8 or has a control character" in line


def test_recordings_are_read_at_once_only_as_far_as_their_bytes_allow(monkeypatch):
    monkeypatch.setattr(manifest, "MAX_BYTES", 100)
    monkeypatch.setattr(manifest.os, "sched_getaffinity", lambda _: range(8), raising=False)
    needed = dict(zip("abcdefgh", (40, 40, 40, 10, 500, 1, 99, 60), strict=True))
    monkeypatch.setattr(manifest, "DECODED_BYTES", 1)
    source = SimpleNamespace(size=needed.get, read=lambda _: b"")
    begun, most = set(), 0
    lock = threading.Lock()

    def work(path, _):
        nonlocal most
        with lock:
            begun.add(path)
            if len(begun) > 1:
                most = max(most, sum(needed[each] for each in begun))
        time.sleep(0.01)
        return path.upper()

    given = []
    for path, result in manifest.process_recordings(source, work, needed, "reading"):
        given.append((path, result))
        with lock:
            begun.discard(path)
    assert given == [(path, path.upper()) for path in "abcdefgh"]
    assert 80 <= most <= 100  # two of 40 stood together, the one of 500 alone
