"""What is missing, extra, damaged, doubled, clipped, silent or at another rate is found; and if the protocol runs."""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from singtech.corpus.archive import open_source
from singtech.corpus.verify import find_clipped_runs, report, verify
from singtech.corpus.vocalset import COPIES, ExpectedContents, expected_vocalset
from singtech.techniques import CORRECT_SPELLINGS, TECHNIQUES

REAL = Path(os.environ.get("SINGTECH_REAL_VOCALSET", "absent")) / "vocalset11_files.csv"

# The paper's ten techniques in VocalSet 1.1, copies in: recordings and minutes.
RECORDINGS = dict(zip(TECHNIQUES, (205, 200, 100, 202, 20, 361, 95, 100, 261, 198), strict=True))
MINUTES = dict(zip(TECHNIQUES, (26.24, 28.00, 9.95, 24.40, 4.06, 71.54, 18.45, 14.54, 59.33, 34.10), strict=True))

COPY = "male1/scales/vibrato/m1_vibrato_a(1)"
CHOIR = ExpectedContents(
    groups=pd.DataFrame(
        [
            (singer, "scales", technique, 3 if (singer, technique) == ("male1", "vibrato") else 2, seconds)
            for singer in ("female1", "male1", "male10")
            for technique, seconds in (("straight", 2.0), ("vibrato", 3.0 if singer == "male1" else 2.0))
        ],
        columns=["singer", "context", "technique", "recordings", "seconds"],
    ),
    copies={COPY: 1.0},
    test_singers=("male10",),
    clips={"train": {"straight": 4, "vibrato": 4}, "test": {"straight": 2, "vibrato": 2}},
)
CAN = "The paper's protocol can be run on it: it gives 8 training and 4 test clips."
CANNOT = "The paper's protocol cannot be run on it: "


@pytest.fixture
def choir(sounds):
    """{path: bytes} of what CHOIR knows: 1 s recordings at 8 kHz, one of them twice."""
    files = sounds.choir()
    return files | {f"{COPY}.wav": files[f"{COPY.replace('(1)', '')}.wav"]}


def verified(root, known=CHOIR):
    with open_source(root) as source:
        return verify(source, 8000, known)


def rows(found):
    return found.findings.to_numpy().tolist()


def test_what_is_as_known_has_no_finding_but_the_known_copy(choir, folder_of, zip_of):
    for root in (
        folder_of(choir),
        zip_of({f"VocalSet 1.2/data_by_singer/{path}": data for path, data in choir.items()}),
    ):
        found = verified(root)
        original = COPY.replace("(1)", "")
        assert rows(found) == [["known copy", f"{COPY}.wav", 1, f"byte for byte {original}.wav"]]
        assert found.conclusion() == CAN
        assert report(found).startswith("13 recordings by 3 singers, 0.00 h; known are 13 recordings by 3 singers")


def test_a_known_copy_need_not_be_there(sounds, folder_of):
    found = verified(folder_of(sounds.choir()))
    assert rows(found) == []
    assert found.conclusion() == CAN


def test_missing_recordings_are_counted_by_group(choir, folder_of):
    less = {path: data for path, data in choir.items() if path != "female1/scales/vibrato/f1_vibrato_e.wav"}
    found = verified(folder_of({path: data for path, data in less.items() if "male10/scales/straight" not in path}))
    assert rows(found)[:2] == [
        ["missing", "female1/scales/vibrato", 1, "1 of 2 recordings, 0.02 of 0.03 min"],
        ["missing", "male10/scales/straight", 2, "0 of 2 recordings, 0.00 of 0.03 min"],
    ]
    assert found.conclusion() == (
        f"{CANNOT}it gives 7 training and 2 test clips, expected 8 training and 4 test clips; "
        "different are straight, vibrato."
    )


def test_what_is_not_known_is_extra_and_spoils_the_protocol_only_in_its_techniques(choir, sounds, folder_of):
    other = {"ann/solo/belt/a.wav": sounds.wav(pitch=800), "male1/belt/b.wav": sounds.wav(pitch=810)}
    found = verified(folder_of(choir | other))
    assert rows(found)[:2] == [
        ["extra", "ann/solo/belt", 1, "1 recording, 0 known"],
        ["extra", "male1/belt", 1, "1 recording, 0 known"],
    ]
    assert found.conclusion() == CAN
    found = verified(folder_of({"male1/scales/vibrato/m1_x.wav": sounds.wav(pitch=820)}))
    assert rows(found)[0] == ["extra", "male1/scales/vibrato", 1, "3 recordings, 2 known"]
    assert found.conclusion() == (
        f"{CANNOT}it gives 9 training and 4 test clips, expected 8 training and 4 test clips; different are vibrato."
    )


def test_damaged_and_silent_recordings_are_there_but_not_usable(choir, sounds, folder_of):
    cut = io.BytesIO()
    soundfile.write(cut, np.random.default_rng(0).normal(0, 0.1, 20000), 8000, format="FLAC")
    bad = {
        "female1/scales/straight/f1_straight_a.wav": b"la la la",
        "female1/scales/straight/f1_straight_e.wav": sounds.pcm(np.zeros(8000)),
        "male1/scales/straight/m1_straight_a.flac": cut.getvalue()[:9000],
    }
    del choir["male1/scales/straight/m1_straight_a.wav"]
    found = verified(folder_of(choir | bad))
    assert sorted(row for row in rows(found) if row[0] != "known copy") == [
        [
            "damaged",
            "female1/scales/straight/f1_straight_a.wav",
            1,
            "it is no readable WAV or FLAC recording",
        ],
        [
            "damaged",
            "male1/scales/straight/m1_straight_a.flac",
            1,
            "it is damaged or cut short: it cannot be decoded to its end",
        ],
        ["silent", "female1/scales/straight/f1_straight_e.wav", 1, "at 16 bits every sample is 0"],
    ]
    assert found.conclusion() == (
        f"{CANNOT}it gives 5 training and 4 test clips, expected 8 training and 4 test clips; different are straight."
    )


def test_an_unknown_copy_leaves_a_recording_missing(choir, folder_of):
    first, second = (f"female1/scales/straight/f1_straight_{vowel}.wav" for vowel in "ae")
    found = verified(folder_of(choir | {second: choir[first]}))
    assert rows(found)[:2] == [
        ["missing", "female1/scales/straight", 1, "1 of 2 recordings, 0.02 of 0.03 min"],
        ["copy", second, 1, f"byte for byte {first}"],
    ]
    assert not found.is_whole


def test_other_rates_lengths_and_ends_are_said_and_spoil_nothing_while_the_clips_are_right(choir, sounds, folder_of):
    path = "male10/scales/vibrato/m10_vibrato_{}.wav".format
    odd = {path("a"): sounds.wav(rate=16000, pitch=400), path("e"): sounds.wav(1.03, pitch=500)[:-40]}
    found = verified(folder_of(choir | odd))
    assert [row for row in rows(found) if row[0] != "known copy"] == [
        ["length", "male10/scales/vibrato", 2, "0.03 of 0.03 min"],
        ["sample rate", path("a"), 1, "16,000 Hz"],
        ["short", path("e"), 1, "the existing part is used"],
    ]
    assert found.conclusion() == CAN
    assert "of another sample rate: 1 recording (16,000 Hz 1)" in report(found).splitlines()


def test_a_length_within_a_hundredth_of_the_known_one_is_no_finding(choir, sounds, folder_of):
    within = {"male10/scales/vibrato/m10_vibrato_a.wav": sounds.wav(1.019, pitch=400)}
    assert [row[0] for row in rows(verified(folder_of(choir | within)))] == ["known copy"]


@pytest.mark.parametrize(
    ("samples", "runs"),
    [
        ([0, 32767, 32767, 0], []),
        ([0, 32767, 32767, 32767, 0], [3]),
        ([-32768, -32768, -32768, -32767], [4]),
        ([32767, 32767, 32767, 0, 32766, 32767, 32767, 32767, 32767], [3, 4]),
        ([[32767, 0], [32767, 0], [0, 32767], [0, 32767]], []),
        ([[32767, 0], [32767, 32767], [32767, 32767], [0, 32767]], [3, 3]),
    ],
)
def test_three_samples_in_a_row_at_full_scale_are_clipped_in_each_channel(samples, runs):
    channels = np.array(samples).reshape(len(samples), -1) / 32768
    assert find_clipped_runs(channels) == runs


def test_clipped_recordings_are_counted(choir, sounds, folder_of):
    loud = np.clip(np.rint(40000 * np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)), -32768, 32767)
    found = verified(folder_of(choir | {"male10/scales/vibrato/m10_vibrato_a.wav": sounds.pcm(loud)}))
    (line,) = [row for row in rows(found) if row[0] == "clipped"]
    # 100 periods of 80 samples beyond full scale where |sin| >= 0.82: phases 13 to 27 of 80, on each side
    assert line == ["clipped", "male10/scales/vibrato/m10_vibrato_a.wav", 1, "200 runs, the longest of 15 samples"]
    assert found.conclusion() == CAN


def test_corpora_that_are_not_known_are_only_listened_to(choir, sounds, folder_of):
    silent = {"male1/scales/straight/m1_x.wav": sounds.pcm(np.zeros(800))}
    found = verified(folder_of(choir | silent), known=None)
    assert {row[0] for row in rows(found)} == {"copy", "silent"}
    assert found.conclusion() == (
        "Not compared, because only VocalSet's content is known: 12 of 14 recordings can be used."
    )
    assert not any(line.startswith(("missing", "more than known")) for line in report(found).splitlines())


def test_a_long_list_is_cut_on_screen_only(choir, folder_of):
    files = {
        f"male1/{n}/straight/x.wav": choir["male1/scales/straight/m1_straight_a.wav"][:-n] for n in range(200, 220)
    }
    found = verified(folder_of(choir | files))
    lines = report(found).splitlines()
    at = lines.index("damaged: 20 recordings")
    assert lines[at + 1].startswith("  male1/200/straight/x.wav: it is cut short: 200 of its 16,000 bytes")
    assert lines[at + 7] == "  and 14 more"
    assert sum(row[0] == "damaged" for row in rows(found)) == 20


def test_what_else_is_odd_is_noted(choir, folder_of):
    found = verified(folder_of(choir | {"male1/readme.txt": b"hello"}))
    assert report(found).splitlines()[-1] == "- left out 1 file neither .wav nor .flac: .txt 1"


def test_the_table_of_facts_holds_vocalsets_known_counts_and_minutes():
    groups = expected_vocalset().groups
    assert groups["recordings"].sum() == 3613
    assert groups["seconds"].sum() / 3600 == pytest.approx(8.79, abs=0.005)
    assert groups["singer"].nunique() == 20
    assert groups["technique"].nunique() == 17
    of = groups.groupby("technique")
    assert of["recordings"].sum()[list(TECHNIQUES)].to_dict() == RECORDINGS
    assert (of["seconds"].sum()[list(TECHNIQUES)] / 60).to_dict() == pytest.approx(MINUTES, abs=0.006)


def listed():
    """VocalSet's own list of recordings."""
    return pd.read_csv(REAL).replace({"technique": CORRECT_SPELLINGS})


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
def test_the_table_of_facts_is_the_sum_of_the_list_of_recordings():
    of = ["singer", "context", "technique"]
    sums = listed().groupby(of)["duration_s"].agg(recordings="size", seconds="sum").sort_index()
    known = expected_vocalset().groups.set_index(of).sort_index()
    pd.testing.assert_frame_equal(known, sums, atol=0.006, rtol=0)
    seconds = listed().set_index("path")["duration_s"]
    assert {stem: seconds[f"FULL/{stem}.wav"] for stem in COPIES} == COPIES


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="SINGTECH_REAL_VOCALSET names no folder with vocalset11_files.csv")
def test_recordings_of_all_of_vocalsets_lengths_pass(tmp_path):
    draw = np.random.default_rng(0)
    bytes_of = {}
    for path, seconds in listed().set_index("path")["duration_s"].items():
        file = io.BytesIO()
        samples = draw.integers(-100, 100, int(seconds * 1000)).astype(np.int16)
        soundfile.write(file, samples, 1000, "PCM_U8", format="WAV")
        bytes_of[path] = file.getvalue()
    for path in bytes_of:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes_of[path.replace("(1)", "")])
    with open_source(tmp_path) as source:
        found = verify(source, 1000, expected_vocalset())
    assert found.findings["finding"].tolist() == ["known copy"] * 3
    assert found.conclusion() == (
        "The paper's protocol can be run on it: it gives 3,615 training and 1,318 test clips."
    )
