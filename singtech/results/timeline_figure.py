"""Figure of a recording: its spectrogram, and below it the probabilities of the techniques over time."""

import itertools
from collections.abc import Iterable, Sequence
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
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    techniques: Sequence[str],
    edges: np.ndarray,
    probabilities: np.ndarray,
    silent: np.ndarray,
    note: str = "",
) -> "Figure":
    """Draw the figure, as wide as a page of a paper.

    Args:
        title: the recording's name.
        blocks: of (n,) samples at `sample_rate` Hz.
        techniques: K names.
        edges: (M + 1,) seconds, from 0 to the end of the recording.
        probabilities: (M, K) between the edges.
        silent: (M,) whether it is silent between two edges.
        note: below, in small print.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(TWO_COLUMNS, 2.4 + 0.17 * len(techniques)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 0.6 + 0.24 * len(techniques)])
    loudness, span = _measure_loudness(blocks, round(edges[-1] * sample_rate), sample_rate)
    extent = (0, span / sample_rate, 0, sample_rate / 2000)
    above.imshow(loudness, LOUDNESS, aspect="auto", vmin=-RANGE, vmax=0, origin="lower", extent=extent)
    above.set(ylabel="frequency / kHz", ylim=(0, min(10, sample_rate / 2000)))
    rows = np.arange(len(techniques) + 1) - 0.5
    shown = np.where(silent[:, None], np.nan, probabilities)
    mesh = below.pcolormesh(edges, rows, shown.T, cmap="Blues", vmin=0, vmax=1)
    below.set_facecolor("0.88")  # silence
    sound, best = ~silent, probabilities.argmax(axis=1)
    below.hlines(best[sound], edges[:-1][sound], edges[1:][sound], color=COLOURS[1], linewidth=2)
    if silent.any():
        note = f"Grey: silence. {note}".strip()
    below.set_yticks(range(len(techniques)), map(printed, techniques))
    below.invert_yaxis()
    below.set(xlabel="time / s", xlim=(0, edges[-1]))
    figure.colorbar(mesh, ax=below, label="probability").ax.tick_params(labelsize=SMALL)
    caption(figure, title, note)
    return figure


def _measure_loudness(blocks: Iterable[np.ndarray], samples: int, sample_rate: int) -> tuple[np.ndarray, int]:
    """(F, T) decibels below the loudest, and the samples that the T columns span.

    Args:
        samples: number of samples in all blocks.
    """
    import librosa

    transform = 1 << round(np.log2(0.046 * sample_rate))
    hop = max(transform // 4, -(-samples // (COLUMNS * 64)) * 64)
    n_fft = min(transform, max(32, samples))
    margin = np.zeros(n_fft // 2, np.float32)  # so that frames are centred
    group = -(-(1 + (samples + 2 * len(margin) - n_fft) // hop) // COLUMNS)  # frames in a column
    frames = group * max(1, 512 // group)  # that are transformed at once
    columns, waveform = [], margin
    for block in itertools.chain(blocks, [margin, None]):
        waveform = waveform if block is None else np.concatenate([waveform, block])
        while len(waveform) >= (n_fft if block is None else max(frames * hop, (frames - 1) * hop + n_fft)):
            part = waveform[: (frames - 1) * hop + n_fft]
            magnitudes = np.abs(librosa.stft(part, n_fft=n_fft, hop_length=hop, center=False))
            columns.append(np.maximum.reduceat(magnitudes, np.arange(0, magnitudes.shape[1], group), axis=1))
            waveform = waveform[frames * hop :]
    loudness = np.hstack(columns)
    return librosa.amplitude_to_db(loudness, ref=np.max, top_db=RANGE), loudness.shape[1] * group * hop
