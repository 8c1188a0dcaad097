"""Figure of a recording: its spectrogram, and below it the probabilities of the techniques over time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.figures import COLOURS, LOUDNESS, SMALL, TWO_COLUMNS, caption, print_style
from singtech.results.summaries import printed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 1600  # of the spectrogram at most: the loudest frame of each column is drawn
RANGE = 80  # dB below the loudest


@print_style()
def draw_timeline(
    title: str,
    waveform: np.ndarray,
    sample_rate: int,
    techniques: Sequence[str],
    edges: np.ndarray,
    probabilities: np.ndarray,
    silent: np.ndarray | None = None,
    note: str = "",
) -> "Figure":
    """Draw the figure, as wide as a page of a paper.

    Args:
        title: the recording's name.
        waveform: (S,) at `sample_rate` Hz.
        techniques: K names.
        edges: (M + 1,) seconds.
        probabilities: (M, K) between the edges.
        silent: (M,) whether it is silent between two edges; None if it never is.
        note: below, in small print.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(TWO_COLUMNS, 2.4 + 0.17 * len(techniques)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 0.6 + 0.24 * len(techniques)])
    loudness, frames = _decibels(waveform, sample_rate)
    seconds = len(waveform) / sample_rate
    extent = (0, frames / sample_rate, 0, sample_rate / 2000)
    above.imshow(loudness, LOUDNESS, aspect="auto", vmin=-RANGE, vmax=0, origin="lower", extent=extent)
    above.set(ylabel="frequency / kHz", ylim=(0, min(10, sample_rate / 2000)))
    rows = np.arange(len(techniques) + 1) - 0.5
    silence = np.zeros(len(probabilities), dtype=bool) if silent is None else silent
    shown = np.where(silence[:, None], np.nan, probabilities)
    mesh = below.pcolormesh(edges, rows, shown.T, cmap="Blues", vmin=0, vmax=1)
    below.set_facecolor("0.88")  # silence
    for start, end, row in zip(edges[:-1], edges[1:], np.where(silence, -1, probabilities.argmax(axis=1)), strict=True):
        if row >= 0:
            below.plot([start, end], [row, row], color=COLOURS[1], linewidth=2, solid_capstyle="butt")
    if silence.any():
        note = f"Grey: silence. {note}".strip()
    below.set_yticks(range(len(techniques)), map(printed, techniques))
    below.invert_yaxis()
    below.set(xlabel="time / s", xlim=(0, seconds))
    figure.colorbar(mesh, ax=below, label="probability").ax.tick_params(labelsize=SMALL)
    caption(figure, title, note)
    return figure


def _decibels(waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """(F, T) decibels below the loudest, and the samples that the T columns span."""
    import librosa

    n_fft = 1 << round(np.log2(0.046 * sample_rate))
    hop = max(n_fft // 4, -(-len(waveform) // (COLUMNS * 64)) * 64)
    magnitudes = np.abs(librosa.stft(waveform, n_fft=min(n_fft, max(32, len(waveform))), hop_length=hop))
    group = -(-magnitudes.shape[1] // COLUMNS)
    starts = np.arange(0, magnitudes.shape[1], group)
    columns = np.maximum.reduceat(magnitudes, starts, axis=1)
    return librosa.amplitude_to_db(columns, ref=np.max, top_db=RANGE), len(starts) * group * hop
