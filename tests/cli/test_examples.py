"""The command that draws a clip of each technique."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from tests.conftest import SINGERS, TECHNIQUES, tone


@pytest.fixture
def pictures(own_corpus, tmp_path):
    """The settings that draw clips of `own_corpus` in a test."""
    return [
        *("data=folder", "data.name=choir", f"data.root={own_corpus}", "data.split.test=[dot]"),
        *("data.sample_rate=8000", "data.clip_seconds=0.6", f"output_dir={tmp_path}"),
        *("front_end.n_fft=256", "front_end.win_lengths=[256,128,64]", "front_end.hop_length=40"),
    ]


@pytest.fixture
def titles(monkeypatch):
    """The titles of the figures drawn, in order; the files that they are saved to stay empty."""
    seen = []

    def save(figure, path, **_):
        Path(path).touch()
        if figure.get_suptitle() not in seen:
            seen.append(figure.get_suptitle())

    monkeypatch.setattr(Figure, "savefig", save)
    return seen


def test_each_technique_has_a_picture_and_all_have_an_overview(call, pictures, tmp_path):
    done = call("examples", *pictures, "data.techniques=[straight,trill]")
    assert done.status == 0, done.err
    folder = tmp_path / "tables" / "choir" / "clips"
    names = [f"{name}.{kind}" for name in ("straight", "trill", "overview") for kind in ("png", "pdf")]
    assert done.out.split() == [str(folder / name) for name in names]
    assert (folder / "straight.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "straight.pdf").read_bytes().startswith(b"%PDF")


def test_the_clip_is_the_first_of_the_first_training_singer_of_all_techniques(call, pictures, own_corpus, titles):
    (own_corpus / "ann/scales/trill").rename(own_corpus / "ann/scales/yodel")  # ann no longer sings all of them
    done = call("examples", *pictures, f"data.techniques=[{','.join(TECHNIQUES)}]")
    assert done.status == 0, done.err
    for technique, title in zip(TECHNIQUES, titles[:3], strict=True):
        assert title.splitlines() == [
            f"{technique} — corpus choir",
            f"ben/scales/{technique}/ben_{technique}_0, from 0 s",
            "the first training clip of ben, who sings all techniques",
        ]


def test_where_no_training_singer_sings_all_it_is_the_first_training_clip(call, pictures, own_corpus, titles):
    for singer, technique in zip(SINGERS, TECHNIQUES, strict=False):
        (own_corpus / singer / "scales" / technique).rename(own_corpus / singer / "scales" / "yodel")
    call("examples", *pictures, f"data.techniques=[{','.join(TECHNIQUES)}]")
    assert [title.splitlines()[1].split(",")[0] for title in titles[:3]] == [
        "ben/scales/straight/ben_straight_0",
        "ann/scales/trill/ann_trill_0",
        "ann/scales/vibrato/ann_vibrato_0",
    ]
    assert titles[0].endswith("the first training clip (no training singer sings all techniques)")


@pytest.mark.parametrize(
    ("choice", "corpus", "small_print", "unused"),
    [
        ("vocalset", "VocalSet", "CC BY 4.0", ("~data.source.default",)),
        (
            "demo",
            "demo corpus (synthetic voices)",
            "Synthetic voices",
            ("~data.source.seed", "~data.source.sample_rate"),
        ),
    ],
)
def test_pictures_say_what_they_are_of(call, pictures, titles, monkeypatch, choice, corpus, small_print, unused):
    printed = []
    monkeypatch.setattr(Figure, "supxlabel", lambda _, text, **__: printed.append(text))
    settings = [s for s in pictures if not s.startswith(("data=", "data.name="))]
    own = ("data.source._target_=singtech.corpus.archive.own_recordings", f"data.techniques=[{','.join(TECHNIQUES)}]")
    done = call("examples", f"data={choice}", *settings, *own, *unused)
    assert done.status == 0, done.err
    assert len(titles) == len(printed) == len(TECHNIQUES) + 1
    assert all(corpus in title for title in titles)
    assert all(small_print in text for text in printed)


def test_a_picture_shows_what_the_network_takes_in(call, pictures, own_corpus, monkeypatch):
    import librosa

    drawn = []
    monkeypatch.setattr("singtech.results.clip_figure.render_clips", lambda clips, *_, **__: drawn.extend(clips) or [])
    soundfile.write(own_corpus / "ann/scales/straight/ann_straight_0.wav", 0.5 * tone("straight", 0) + 0.1, 8000)
    call("examples", *pictures, "front_end.scale=linear")
    clip = drawn[0]
    assert (clip.technique, clip.win_lengths, clip.hop_length, clip.sample_rate) == (
        "straight",
        (256, 128, 64),
        40,
        8000,
    )
    assert abs(clip.waveform.mean()) < 1e-4
    assert np.abs(clip.waveform).max() == pytest.approx(1)
    magnitude = np.abs(librosa.stft(clip.waveform, n_fft=256, win_length=64, hop_length=40, pad_mode="reflect")) / 16
    np.testing.assert_allclose(clip.spectrograms[2], magnitude, atol=1e-4)


def test_a_mel_axis_is_named_as_one_that_is_not_drawn(call, pictures):
    done = call("examples", *pictures, "front_end.axis=mel", "front_end.bands=96")
    assert done.status == 1
    assert "front_end.axis=mel cannot be drawn" in done.err
    assert "Traceback" not in done.err
