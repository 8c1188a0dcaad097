"""Figures of clips: what stands where, in which units, and that they repeat to the byte."""

import numpy as np
import pytest

from singtech.results.clip_figure import ClipPicture, draw_clip, draw_overview, render_clips

WORDS = {"corpus": "corpus choir", "choice": "the first clip", "scale": "decades", "small_print": "CC BY 4.0"}


def picture(technique="vocal_fry", loudness=5.0):
    """Half a second at 8 kHz: 129 bins by 101 frames, loud at bin 32 (1 kHz) and silent elsewhere."""
    spectrograms = np.zeros((3, 129, 101))
    spectrograms[:, 32] = loudness
    waveform = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    return ClipPicture(technique, "ann/scales/fry, from 0 s", waveform, spectrograms, (256, 128, 64), 40, 8000)


def test_a_clip_is_its_waveform_and_three_spectrograms_in_seconds_and_khz():
    figure = draw_clip(picture(), **WORDS, limits=(0, 5))
    wave, *spectrograms, bar = figure.axes
    assert wave.get_xlim() == (0, 0.5)
    titles = [axes.get_title() for axes in spectrograms]
    windows = ["window 32 ms (256 samples)", "window 16 ms (128 samples)", "window 8 ms (64 samples)"]
    assert titles == [f"spectrogram, {window}" for window in windows]
    for axes in spectrograms:
        assert axes.get_ylim() == (0, 4)
        assert axes.get_ylabel() == "frequency / kHz"
    assert spectrograms[-1].get_xlabel() == "time / s"
    assert bar.get_ylabel() == "decades"
    assert figure.get_suptitle().splitlines() == [
        "vocal fry — corpus choir",
        "ann/scales/fry, from 0 s",
        "the first clip",
    ]
    assert figure.get_supxlabel() == "CC BY 4.0"


def test_frames_and_bins_lie_around_their_time_and_frequency():
    image = draw_clip(picture(), **WORDS, limits=(0, 5)).axes[1].images[0]
    left, right, bottom, top = image.get_extent()
    frame, step = (right - left) / 101, (top - bottom) / 129
    assert left + 0.5 * frame == pytest.approx(0)  # the first frame is centred on the clip's start
    assert left + 100.5 * frame == pytest.approx(0.5)
    assert bottom + 32.5 * step == pytest.approx(1)  # kHz, of bin 32
    assert image.origin == "lower"


def test_all_spectrograms_of_all_clips_share_one_scale_of_colours(tmp_path, monkeypatch):
    scales = set()

    def save(figure, path, **_):
        path.touch()
        scales.update(image.get_clim() for axes in figure.axes for image in axes.images)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    render_clips([picture("belt", 3.0), picture("trill", 5.0)], tmp_path, **WORDS)
    assert scales == {(0, 5)}


def test_the_overview_has_a_row_for_each_technique():
    figure = draw_overview([picture("belt"), picture("lip_trill")], **WORDS, limits=(0, 5))
    assert len(figure.axes) == 2 * 4 + 1
    assert [axes.get_ylabel() for axes in (figure.axes[0], figure.axes[4])] == ["belt", "lip trill"]
    assert figure.axes[0].get_title(loc="left") == "ann/scales/fry, from 0 s"
    assert "corpus choir" in figure.get_suptitle()


def test_the_waveforms_outline_keeps_every_peak():
    clip = picture()
    clip.waveform[:] = 0
    clip.waveform[1234] = 0.9
    clip.waveform[3000] = -0.7
    (outline,) = draw_clip(clip, **WORDS, limits=(0, 5)).axes[0].collections
    points = outline.get_paths()[0].vertices
    assert points[:, 1].max() == 0.9
    assert points[:, 1].min() == -0.7
    assert points[points[:, 1].argmax(), 0] == pytest.approx(1234 / 8000, abs=0.001)


def test_the_same_clips_give_the_same_bytes(tmp_path):
    first, again = (render_clips([picture("belt")], tmp_path / name, **WORDS) for name in ("first", "again"))
    assert [path.name for path in first] == ["belt.png", "belt.pdf", "overview.png", "overview.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
