"""Figures of where deformable kernels look: one place on one clip, and a corpus by layer and technique."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.figures import COLOURS
from singtech.results.summaries import printed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RIGID, MOVED = "#56B4E9", "#FFFFFF"


@dataclass(frozen=True, eq=False)
class Sampling:
    """One layer's kernel at one place.

    Attributes:
        layer: its number.
        kernel_size: taps along frequency and time.
        rigid, moved: (M, 2) hertz and seconds, without and with offsets.
        mask: (M,) between 0 and 2.
        matters: (M,) whether a tap meets the map in either place; the others are not drawn.
    """

    layer: int
    kernel_size: tuple[int, int]
    rigid: np.ndarray
    moved: np.ndarray
    mask: np.ndarray
    matters: np.ndarray


def draw_sampling(
    title: str,
    spectrogram: np.ndarray,
    frame_seconds: float,
    bin_hertz: float,
    samplings: Sequence[Sampling],
    small_print: str = "",
) -> "Figure":
    """The sampling points of each layer's kernel at one place over the clip's spectrogram, against the rigid grid.

    Args:
        title: the clip, and where the kernel stands.
        spectrogram: (F, T), loudness.
        frame_seconds, bin_hertz: from one frame and bin to the next; they are centred on multiples of these.
        samplings: one a layer.
        small_print: licence and source, or "".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.2 * len(samplings), 6.4), 4.4), layout="constrained")
    bins, frames = spectrogram.shape
    step = bin_hertz / 1000
    span = (-frame_seconds / 2, (frames - 0.5) * frame_seconds, -step / 2, (bins - 0.5) * step)
    for axes, s in zip(figure.subplots(1, len(samplings), squeeze=False)[0], samplings, strict=True):
        axes.imshow(
            spectrogram,
            extent=span,
            **{"origin": "lower", "aspect": "auto", "cmap": "magma", "alpha": 0.85},
        )
        rigid, moved, mask = s.rigid[s.matters], s.moved[s.matters], s.mask[s.matters]
        ends = np.stack([rigid, moved]) / (1000, 1)  # (2, M, 2) kHz and seconds
        axes.plot(ends[:, :, 1], ends[:, :, 0], color=MOVED, linewidth=0.7)
        axes.scatter(
            *(ends[0, :, 1], ends[0, :, 0]),
            **{"s": 34, "facecolors": "none", "edgecolors": RIGID, "linewidths": 1.4, "label": "rigid grid"},
        )
        axes.scatter(
            *(ends[1, :, 1], ends[1, :, 0]),
            **{"s": 40 * mask, "color": MOVED, "edgecolors": "black", "linewidths": 0.6, "label": "with offsets"},
        )
        axes.set(xlim=_limits(span[:2], ends[:, :, 1]), ylim=_limits(span[2:], ends[:, :, 0]))
        axes.set_facecolor("0.35")  # outside the map, where a kernel reads silence
        axes.set(xlabel="time / s", ylabel="frequency / kHz")
        kernel = f"{s.kernel_size[0]}×{s.kernel_size[1]}"
        told = f"area: mask, {mask.min():.2f} to {mask.max():.2f}" if len(mask) else "no tap"
        off = len(s.matters) - s.matters.sum()
        away = f"\n{off} of {len(s.matters)} taps off the map, not drawn" if off else ""
        axes.set_title(f"layer {s.layer}, kernel {kernel}, {told}{away}", fontsize=9)
        axes.legend(loc="upper right", fontsize=8, facecolor="0.35", labelcolor="white", framealpha=0.8)
    figure.suptitle(title, fontsize=9)
    figure.supxlabel(small_print, fontsize=7, color="0.4")
    return figure


def _limits(span: tuple[float, float], values: np.ndarray) -> tuple[float, float]:
    """A span widened to values beyond it, with room for whole points there."""
    low, high = min(span[0], values.min(initial=span[0])), max(span[1], values.max(initial=span[1]))
    room = 0.04 * (high - low)
    return low - room * (low < span[0]), high + room * (high > span[1])


def draw_offsets(title: str, offsets: "pd.DataFrame", techniques: Sequence[str]) -> "Figure":
    """How far kernels reach along frequency and time by technique, a panel a layer, with deviations over recordings.

    Args:
        title: of the figure.
        offsets: layer, technique, measure, value, deviation (long form).
        techniques: in order.
    """
    from matplotlib.figure import Figure

    layers = sorted(offsets["layer"].unique())
    figure = Figure(figsize=(1.6 + 0.62 * len(techniques), 2.9 * len(layers) + 0.5), layout="constrained")
    shown = (("frequency", "along frequency"), ("time", "along time"))
    for axes, layer in zip(figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0], layers, strict=True):
        for k, (way, label) in enumerate(shown):
            rows = offsets[(offsets["layer"] == layer) & (offsets["measure"] == f"absolute_{way}_cells")]
            rows = rows.set_index("technique").reindex(techniques)
            places = np.arange(len(techniques)) + 0.38 * (k - 0.5)
            style = {"width": 0.36, "color": COLOURS[k], "label": label, "capsize": 2, "error_kw": {"elinewidth": 0.9}}
            axes.bar(places, rows["value"], yerr=rows["deviation"].fillna(0), hatch=("", "//")[k], **style)
        axes.set_title(f"layer {layer}", fontsize=9)
        axes.set_ylabel("mean |offset| / cells")
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(len(techniques)), map(printed, techniques), rotation=35, ha="right", rotation_mode="anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=9)
    return figure


def draw_density(title: str, densities: dict[int, np.ndarray], reach: float) -> "Figure":
    """How often which offset occurs, a panel a layer: time across, frequency up, in cells of the layer's map.

    Args:
        title: of the figure.
        densities: layer -> (N, N) shares of all taps from -reach to reach, frequency by time; they add up to less than
            1 where some reach further, which the panel then says.
        reach: in cells; a panel shows as much of it as is reached.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(densities) + 0.6, 3.9), layout="constrained")
    for axes, (layer, share) in zip(
        figure.subplots(1, len(densities), squeeze=False)[0], densities.items(), strict=True
    ):
        middle = len(share) // 2
        furthest = int(np.abs(np.argwhere(share > 0) - middle).max(initial=4))
        shown = slice(middle - furthest, middle + furthest + 1)
        edge, beyond = reach * (2 * furthest + 1) / len(share), 1 - float(share.sum())
        share = share[shown, shown]
        least = float(share[share > 0].min(initial=1))
        norm = LogNorm(vmin=least, vmax=max(float(share.max()), 10 * least))
        extent = (-edge, edge, -edge, edge)
        image = axes.imshow(
            np.where(share > 0, share, np.nan), origin="lower", extent=extent, cmap="viridis", norm=norm
        )
        axes.axhline(0, color="0.6", linewidth=0.6)
        axes.axvline(0, color="0.6", linewidth=0.6)
        axes.set(xlabel="offset along time / cells", ylabel="offset along frequency / cells")
        told = f", {100 * beyond:.1f} % of taps beyond" if beyond > 5e-4 else ""
        axes.set_title(f"layer {layer}{told}", fontsize=9)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of taps")
    figure.suptitle(title, fontsize=9)
    return figure
