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
    """

    layer: int
    kernel_size: tuple[int, int]
    rigid: np.ndarray
    moved: np.ndarray
    mask: np.ndarray


def draw_sampling(
    title: str, spectrogram: np.ndarray, seconds: float, hertz: float, samplings: Sequence[Sampling]
) -> "Figure":
    """The sampling points of each layer's kernel at one place over the clip's spectrogram, against the rigid grid.

    Args:
        title: the clip, and where the kernel stands.
        spectrogram: (F, T), loudness.
        seconds, hertz: what it spans.
        samplings: one a layer.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(samplings), 4.2), layout="constrained")
    for axes, s in zip(figure.subplots(1, len(samplings), squeeze=False)[0], samplings, strict=True):
        axes.imshow(
            spectrogram,
            extent=(0, seconds, 0, hertz / 1000),
            **{"origin": "lower", "aspect": "auto", "cmap": "magma", "alpha": 0.85},
        )
        khz, moved = s.rigid[:, 0] / 1000, s.moved[:, 0] / 1000
        for row in range(len(s.rigid)):
            axes.plot([s.rigid[row, 1], s.moved[row, 1]], [khz[row], moved[row]], color=MOVED, linewidth=0.7)
        axes.scatter(s.rigid[:, 1], khz, s=34, facecolors="none", edgecolors=RIGID, linewidths=1.4, label="rigid grid")
        sizes = 8 + 30 * s.mask
        axes.scatter(
            s.moved[:, 1], moved, s=sizes, color=MOVED, edgecolors="black", linewidths=0.6, label="with offsets"
        )
        low = min(0.0, s.rigid[:, 1].min(), s.moved[:, 1].min())
        high = max(seconds, s.rigid[:, 1].max(), s.moved[:, 1].max())
        axes.set(xlim=(low, high), ylim=(min(0.0, moved.min(), khz.min()), max(hertz / 1000, moved.max(), khz.max())))
        axes.set_facecolor("0.35")  # outside the map, where a kernel reads silence
        axes.set(xlabel="time / s", ylabel="frequency / kHz")
        kernel = f"{s.kernel_size[0]}×{s.kernel_size[1]}"
        told = f"mask {s.mask.min():.2f} to {s.mask.max():.2f}"
        axes.set_title(f"layer {s.layer}, kernel {kernel}, {told} (area)", fontsize=9)
        axes.legend(loc="upper right", fontsize=8, facecolor="0.35", labelcolor="white", framealpha=0.8)
    figure.suptitle(title, fontsize=9)
    return figure


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
        densities: layer -> (N, N) counts from -reach to reach, frequency by time.
        reach: in cells.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(densities) + 0.6, 4.3), layout="constrained")
    for axes, (layer, counts) in zip(
        figure.subplots(1, len(densities), squeeze=False)[0], densities.items(), strict=True
    ):
        share = counts / max(counts.sum(), 1)
        norm = LogNorm(vmin=1e-6, vmax=max(float(share.max()), 1e-5))
        extent = (-reach, reach, -reach, reach)
        image = axes.imshow(
            np.where(share > 0, share, np.nan), origin="lower", extent=extent, cmap="viridis", norm=norm
        )
        axes.axhline(0, color="0.6", linewidth=0.6)
        axes.axvline(0, color="0.6", linewidth=0.6)
        axes.set(xlabel="offset along time / cells", ylabel="offset along frequency / cells")
        axes.set_title(f"layer {layer}", fontsize=9)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of taps")
    figure.suptitle(title, fontsize=9)
    return figure
