"""Figures of clips: the waveform and its spectrograms, one for each window length, as a network takes them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from singtech.results.figures import (
    COLOURS,
    SMALL,
    TEXT,
    TWO_COLUMNS,
    caption,
    default_style,
    draw_spectrogram,
    print_style,
    save,
)
from singtech.results.summaries import printed

STEPS = 1500  # along a waveform, which is drawn as the lowest and highest sample of each step


@dataclass(frozen=True, eq=False)
class ClipPicture:
    """What is drawn of one clip.

    Attributes:
        technique: its name.
        source: which clip it is: recording and start.
        waveform: (S,) as the front end takes it.
        spectrograms: (W, F, T), one a window length.
        win_lengths: the W window lengths in samples.
        hop_length: samples from one frame to the next.
        sample_rate: in Hz.
    """

    technique: str
    source: str
    waveform: np.ndarray
    spectrograms: np.ndarray
    win_lengths: Sequence[int]
    hop_length: int
    sample_rate: int

    @property
    def seconds(self) -> float:
        """How long the clip is."""
        return len(self.waveform) / self.sample_rate

    def window(self, number: int) -> str:
        """A window length in words."""
        samples = self.win_lengths[number]
        return f"window {1000 * samples / self.sample_rate:.3g} ms ({samples:,} samples)"


def render_clips(
    clips: Sequence[ClipPicture], folder: Path, *, corpus: str, choice: str, scale: str, small_print: str
) -> list[Path]:
    """Write a picture of each clip under its technique's name, and `overview` with all of them; return the paths.

    Args:
        clips: one a technique, of one length and sample rate.
        folder: where to.
        corpus: what a reader must know of the corpus, for the title.
        choice: how the clips were chosen.
        scale: what the colours say, for the bar.
        small_print: licence and source, or "".
    """
    words: dict[str, Any] = {"corpus": corpus, "choice": choice, "scale": scale, "small_print": small_print}
    words["limits"] = min(c.spectrograms.min() for c in clips), max(c.spectrograms.max() for c in clips)
    paths = [path for clip in clips for path in save(draw_clip(clip, **words), folder / clip.technique)]
    return [*paths, *save(draw_overview(clips, **words), folder / "overview")]


@print_style()
def draw_clip(
    clip: ClipPicture, *, corpus: str, choice: str, scale: str, small_print: str, limits: tuple[float, float]
) -> Figure:
    """Draw one clip: the waveform above its spectrograms, over one time axis, in one scale of colours."""
    windows = len(clip.win_lengths)
    figure = Figure(figsize=(TWO_COLUMNS, 1.9 + 1.7 * windows), layout="constrained")
    axes = figure.subplots(windows + 1, 1, sharex=True, height_ratios=[1, *[1.7] * windows])
    _draw_waveform(axes[0], clip)
    axes[0].set_title("waveform", fontsize=TEXT)
    axes[0].set_ylabel("amplitude")
    for number, below in enumerate(axes[1:]):
        image = _draw_window(below, clip, number, limits)
        below.set_title(f"spectrogram, {clip.window(number)}", fontsize=TEXT)
    axes[-1].set_xlabel("time / s")
    bar = figure.colorbar(image, ax=axes[1:], label=scale, shrink=0.6)
    for each in (*axes, bar.ax):
        each.tick_params(labelsize=SMALL)
    figure.align_ylabels()
    caption(figure, f"{printed(clip.technique)} — {corpus}\n{clip.source}\n{choice}", small_print)
    return figure


@default_style()
def draw_overview(
    clips: Sequence[ClipPicture], *, corpus: str, choice: str, scale: str, small_print: str, limits: tuple[float, float]
) -> Figure:
    """Draw all clips on one page, a row each: the waveform, named by its recording, then its spectrograms."""
    columns = 1 + len(clips[0].win_lengths)
    figure = Figure(figsize=(3 * columns, 1.4 * len(clips) + 1.8), layout="constrained")
    grid = figure.subplots(len(clips), columns, sharex=True, squeeze=False)
    for row, clip in zip(grid, clips, strict=True):
        _draw_waveform(row[0], clip)
        row[0].set_title(clip.source, fontsize=6.5, loc="left")
        row[0].set_ylabel(printed(clip.technique), fontsize=11)
        row[0].tick_params(labelleft=False, left=False)
        for number, axes in enumerate(row[1:]):
            image = _draw_window(axes, clip, number, limits)
            axes.tick_params(labelleft=number == 0)
            axes.set_ylabel("kHz" if number == 0 else "")
        for axes in row:
            axes.tick_params(labelsize=8)
    for number, axes in enumerate(grid[0, 1:]):
        axes.set_title(clips[0].window(number), fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("time / s")
    figure.colorbar(image, ax=grid, label=scale, shrink=0.5, aspect=40, fraction=0.05, pad=0.01)
    figure.suptitle(f"{corpus}: one clip of each technique, {choice}", fontsize=11)
    figure.supxlabel(small_print, fontsize=8, color="0.4")
    return figure


def _draw_waveform(axes: Axes, clip: ClipPicture) -> None:
    samples = len(clip.waveform)
    steps = np.linspace(0, samples, min(STEPS, samples), endpoint=False).astype(int)
    lowest, highest = (extreme.reduceat(clip.waveform, steps) for extreme in (np.minimum, np.maximum))
    axes.fill_between(steps / clip.sample_rate, lowest, highest, color=COLOURS[0], linewidth=0.4)
    axes.set_xlim(0, clip.seconds)


def _draw_window(axes: Axes, clip: ClipPicture, number: int, limits: tuple[float, float]) -> AxesImage:
    """Draw the spectrogram of one window length, the clip's length and half its sample rate wide and high."""
    spectrogram = clip.spectrograms[number]
    steps = clip.hop_length / clip.sample_rate, clip.sample_rate / 2 / (len(spectrogram) - 1)
    image = draw_spectrogram(axes, spectrogram, *steps, vmin=limits[0], vmax=limits[1])
    axes.set(xlim=(0, clip.seconds), ylim=(0, clip.sample_rate / 2000))
    return image
