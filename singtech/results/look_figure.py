"""Figures of the offsets of deformable kernels: at one position of a clip, and over a corpus by layer and technique."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.figures import COLOURS, caption, default_style, draw_spectrogram
from singtech.results.summaries import printed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RIGID, MOVED = "#56B4E9", "#FFFFFF"


@dataclass(frozen=True, eq=False)
class Sampling:
    """One layer's kernel at one position.

    Attributes:
        layer: its number.
        kernel_size: taps along frequency and time.
        rigid, moved: (M, 2) hertz and seconds, without and with offsets.
        mask: (M,) between 0 and 2.
        matters: (M,) whether a tap meets the map with or without offsets; the others are not drawn.
    """

    layer: int
    kernel_size: tuple[int, ...]
    rigid: np.ndarray
    moved: np.ndarray
    mask: np.ndarray
    matters: np.ndarray


@default_style()
def draw_sampling(
    title: str,
    spectrogram: np.ndarray,
    frame_seconds: float,
    bin_hertz: float,
    samplings: Sequence[Sampling],
    small_print: str = "",
) -> "Figure":
    """Draw the sampling points of each layer's kernel at one position of a clip, against the rigid grid.

    Args:
        title: the clip, and the position of the kernel.
        spectrogram: (F, T), loudness.
        frame_seconds, bin_hertz: from one frame and bin to the next; they are centred on multiples of these.
        samplings: one a layer.
        small_print: licence and source, or "".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.2 * len(samplings), 6.4), 4.4), layout="constrained")
    for axes, s in zip(figure.subplots(1, len(samplings), squeeze=False)[0], samplings, strict=True):
        image = draw_spectrogram(axes, spectrogram, frame_seconds, bin_hertz, alpha=0.85)
        left, right, bottom, top = image.get_extent()
        rigid, moved, mask = s.rigid[s.matters] / (1000, 1), s.moved[s.matters] / (1000, 1), s.mask[s.matters]
        axes.plot([rigid[:, 1], moved[:, 1]], [rigid[:, 0], moved[:, 0]], color=MOVED, linewidth=0.7)
        hollow = {"facecolors": "none", "edgecolors": RIGID, "linewidths": 1.4, "label": "rigid grid"}
        axes.scatter(rigid[:, 1], rigid[:, 0], s=34, **hollow)
        filled = {"color": MOVED, "edgecolors": "black", "linewidths": 0.6, "label": "with offsets"}
        axes.scatter(moved[:, 1], moved[:, 0], s=40 * mask, **filled)
        points = np.concatenate([rigid, moved])
        axes.set(xlim=_limits(left, right, points[:, 1]), ylim=_limits(bottom, top, points[:, 0]), xlabel="time / s")
        axes.set_facecolor("0.35")  # outside the map, where a kernel reads silence
        area = f"area: mask, {mask.min():.2f} to {mask.max():.2f}" if len(mask) else "no tap"
        off = len(s.matters) - s.matters.sum()
        hidden = f"\n{off} of {len(s.matters)} taps off the map, not drawn" if off else ""
        kernel = f"{s.kernel_size[0]}×{s.kernel_size[1]}"
        axes.set_title(f"layer {s.layer}, kernel {kernel}, {area}{hidden}", fontsize=9)
        axes.legend(loc="upper right", fontsize=8, facecolor="0.35", labelcolor="white", framealpha=0.8)
    caption(figure, title, small_print)
    return figure


def _limits(low: float, high: float, values: np.ndarray) -> tuple[float, float]:
    """Widen an axis to values beyond it, with room for whole points there."""
    least, most = values.min(initial=low), values.max(initial=high)
    room = 0.04 * (most - least)
    return least - room * (least < low), most + room * (most > high)


@default_style()
def draw_offsets(title: str, offsets: "pd.DataFrame", techniques: Sequence[str]) -> "Figure":
    """Draw how far kernels reach along frequency and time by technique: a panel a layer, with deviations.

    Args:
        title: of the figure.
        offsets: layer, technique, measure, value, deviation (long form).
        techniques: in order.
    """
    from matplotlib.figure import Figure

    layers = sorted(offsets["layer"].unique())
    figure = Figure(figsize=(1.6 + 0.62 * len(techniques), 2.9 * len(layers) + 0.5), layout="constrained")
    for axes, layer in zip(figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0], layers, strict=True):
        for k, dimension in enumerate(("frequency", "time")):
            rows = offsets[(offsets["layer"] == layer) & (offsets["measure"] == f"absolute_{dimension}_cells")]
            rows = rows.set_index("technique").reindex(techniques)
            positions = np.arange(len(techniques)) + 0.38 * (k - 0.5)
            style = {"width": 0.36, "color": COLOURS[k], "hatch": ("", "//")[k], "label": f"along {dimension}"}
            bars = {"yerr": rows["deviation"].fillna(0), "capsize": 2, "error_kw": {"elinewidth": 0.9}}
            axes.bar(positions, rows["value"], **style, **bars)
        axes.set_title(f"layer {layer}", fontsize=9)
        axes.set_ylabel("mean |offset| / cells")
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(len(techniques)), map(printed, techniques), rotation=35, ha="right", rotation_mode="anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    caption(figure, title)
    return figure


@default_style()
def draw_density(title: str, densities: dict[int, np.ndarray], reach: float) -> "Figure":
    """Draw how often each offset occurs, a panel a layer: time across, frequency up, in cells of the layer's map.

    Args:
        title: of the figure.
        densities: layer -> (N, N) shares of all taps from -reach to reach, frequency by time; they add up to less than
            1 where some reach further, which the panel then says.
        reach: in cells; a panel shows as much of it as is reached.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(densities) + 0.6, 3.9), layout="constrained")
    panels = figure.subplots(1, len(densities), squeeze=False)[0]
    for axes, (layer, share) in zip(panels, densities.items(), strict=True):
        middle = len(share) // 2
        furthest = int(np.abs(np.argwhere(share > 0) - middle).max(initial=4))
        shown = slice(middle - furthest, middle + furthest + 1)
        edge, beyond = reach * (2 * furthest + 1) / len(share), 1 - float(share.sum())
        share = share[shown, shown]
        least = float(share[share > 0].min(initial=1))
        norm = LogNorm(vmin=least, vmax=max(float(share.max()), 10 * least))
        cells = np.where(share > 0, share, np.nan)
        image = axes.imshow(cells, "viridis", norm, origin="lower", extent=(-edge, edge, -edge, edge))
        axes.axhline(0, color="0.6", linewidth=0.6)
        axes.axvline(0, color="0.6", linewidth=0.6)
        axes.set(xlabel="offset along time / cells", ylabel="offset along frequency / cells")
        outside = f", {100 * beyond:.1f} % of taps beyond" if beyond > 5e-4 else ""
        axes.set_title(f"layer {layer}{outside}", fontsize=9)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of taps")
    caption(figure, title)
    return figure
