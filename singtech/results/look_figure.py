"""Figures of the offsets of deformable kernels: in a clip, still and moving, and in a corpus by layer and technique."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from singtech.io.atomic import atomic_path
from singtech.results.figures import COLOURS, SMALL, TWO_COLUMNS, caption, draw_spectrogram, print_style
from singtech.results.summaries import printed

RIGID, MOVED, ARROW = "#56B4E9", "#FFFFFF", "#7FFFD4"
ANIMATION_DPI, FRAMES = 110, 48
GREYS = 96  # colours of a spectrogram in a GIF; few, so that the file stays small
MOVING = (RIGID, MOVED, "black", COLOURS[1])  # and of what moves over it
SMOOTH = ("rigid", "moved", "mask")
SLOW = 2  # times slower than the sound


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

    @property
    def title(self) -> str:
        """Layer, kernel, range of the mask, and the taps that are not drawn."""
        mask, off = self.mask[self.matters], int((~self.matters).sum())
        area = f"mask {mask.min():.2f} to {mask.max():.2f}" if len(mask) else "no tap"
        hidden = f"; {off} of {len(self.matters)} taps off the map" if off else ""
        return f"layer {self.layer}, kernel {self.kernel_size[0]}×{self.kernel_size[1]}, {area}{hidden}"


@print_style()
def draw_sampling(
    title: str,
    spectrogram: np.ndarray,
    frame_seconds: float,
    bin_hertz: float,
    samplings: Sequence[Sampling],
    arrows: Sequence[tuple[np.ndarray, np.ndarray]],
    small_print: str = "",
) -> Figure:
    """Draw where the kernels of each layer look in a clip, a panel a layer on one time axis, as wide as a page.

    Arrows are the mean displacement of the taps at many positions; points are the taps of one kernel, against the
    rigid grid. A panel ends with the spectrogram, though some taps lie outside.

    Args:
        title: the clip, and the position of the kernel.
        spectrogram: (F, T), loudness.
        frame_seconds, bin_hertz: from one frame and bin to the next; they are centred on multiples of these.
        samplings: one a layer.
        arrows: for each layer, (N, 2) hertz and seconds of where N arrows begin, and of how far they go.
        small_print: licence and source, or "".
    """
    figure = Figure(figsize=(TWO_COLUMNS, 0.9 + 2.1 * len(samplings)), layout="constrained")
    panels = figure.subplots(len(samplings), 1, squeeze=False, sharex=True)[:, 0]
    style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "color": ARROW, "minlength": 0.3}
    style |= {"width": 0.0018, "headwidth": 4.5, "headlength": 5}
    for axes, sampling, (tails, shifts) in zip(panels, samplings, arrows, strict=True):
        _draw_panel(axes, spectrogram, frame_seconds, bin_hertz)
        (y, x), (up, right) = (tails / (1000, 1)).T, (shifts / (1000, 1)).T
        axes.quiver(x, y, right, up, **style)
        _draw_points(axes, sampling)
        axes.set_title(sampling.title)
    axes.set_xlabel("time / s")
    key = "Blue: taps on the rigid grid. White: with offsets; area: mask. Arrows: mean offset of a kernel's taps."
    caption(figure, title, f"{key}\n{small_print}".strip())
    return figure


def _draw_panel(axes: Axes, spectrogram: np.ndarray, frame_seconds: float, bin_hertz: float) -> None:
    """Draw a spectrogram, a little darker, with its edges as limits."""
    image = draw_spectrogram(axes, spectrogram, frame_seconds, bin_hertz, alpha=0.8)
    left, right, bottom, top = image.get_extent()
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_facecolor("black")


def _draw_points(axes: Axes, sampling: Sampling) -> list:
    """Draw the taps of one kernel on the rigid grid and with offsets, joined by lines; return what was drawn."""
    valid = sampling.matters
    rigid, moved = sampling.rigid[valid] / (1000, 1), sampling.moved[valid] / (1000, 1)
    lines = axes.plot([rigid[:, 1], moved[:, 1]], [rigid[:, 0], moved[:, 0]], color=MOVED, linewidth=0.6)
    hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": RIGID, "linewidths": 1.1}
    filled: dict[str, Any] = {"color": MOVED, "edgecolors": "black", "linewidths": 0.5}
    grid = axes.scatter(rigid[:, 1], rigid[:, 0], s=16, zorder=3, **hollow)
    points = axes.scatter(moved[:, 1], moved[:, 0], s=18 * sampling.mask[valid], zorder=3, **filled)
    return [*lines, grid, points]


@print_style()
def animate_sampling(
    path: Path,
    title: str,
    spectrogram: np.ndarray,
    frame_seconds: float,
    bin_hertz: float,
    kernels: Sequence[Sequence[Sampling]],
) -> Path:
    """Write a GIF of one layer's kernels that move through a clip from left to right, half as fast as the sound.

    Between two positions their taps are interpolated. All frames have one palette, so that the file holds what moves.

    Args:
        kernels: of one layer, at each position from left to right, some above each other.
    """
    from PIL import Image

    figure = Figure(figsize=(TWO_COLUMNS, 2.6), dpi=ANIMATION_DPI, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    _draw_panel(axes, spectrogram, frame_seconds, bin_hertz)
    axes.set_xlabel("time / s")
    axes.set_title(f"layer {kernels[0][0].layer}: blue the rigid grid, white with offsets")
    caption(figure, title)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)

    def take() -> Image.Image:
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    colours = (take().quantize(GREYS).getpalette() or [])[: 3 * GREYS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours, *(round(255 * c) for name in MOVING for c in to_rgb(name))])
    images: list[Image.Image] = []
    for position in np.linspace(0, len(kernels) - 1, FRAMES):
        before, share = int(position), position % 1
        column = kernels[before], kernels[min(before + 1, len(kernels) - 1)]
        shown = [_interpolate(one, other, share) for one, other in zip(*column, strict=True)]
        moving = [axes.axvline(shown[0].rigid[:, 1].mean(), color=COLOURS[1], linewidth=1.2)]
        moving += [artist for sampling in shown for artist in _draw_points(axes, sampling)]
        canvas.restore_region(background)
        for artist in moving:
            axes.draw_artist(artist)
            artist.remove()
        images.append(take().quantize(palette=palette, dither=Image.Dither.NONE))
    rest, milliseconds = images[1:], round(1000 * SLOW * spectrogram.shape[1] * frame_seconds / FRAMES)
    with atomic_path(path) as temporary:
        images[0].save(temporary, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


def _interpolate(one: Sampling, other: Sampling, share: float) -> Sampling:
    """Return what lies between a kernel and the next, linearly."""
    between = {name: (1 - share) * getattr(one, name) + share * getattr(other, name) for name in SMOOTH}
    return replace(one, matters=one.matters | other.matters if share else one.matters, **between)


@print_style()
def draw_offsets(title: str, offsets: pd.DataFrame, techniques: Sequence[str]) -> Figure:
    """Draw how far kernels reach along frequency and time by technique: a panel a layer, with deviations.

    Args:
        title: of the figure.
        offsets: layer, technique, measure, value, deviation (long form).
        techniques: in order.
    """
    layers = sorted(offsets["layer"].unique())
    figure = Figure(figsize=(TWO_COLUMNS, 1.9 * len(layers) + 0.7), layout="constrained")
    for axes, layer in zip(figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0], layers, strict=True):
        for k, dimension in enumerate(("frequency", "time")):
            rows = offsets[(offsets["layer"] == layer) & (offsets["measure"] == f"absolute_{dimension}_cells")]
            rows = rows.set_index("technique").reindex(techniques)
            positions = np.arange(len(techniques)) + 0.38 * (k - 0.5)
            style = {"width": 0.36, "color": COLOURS[k], "hatch": ("", "//")[k], "label": f"along {dimension}"}
            bars = {"yerr": rows["deviation"].fillna(0), "capsize": 2, "error_kw": {"elinewidth": 0.9}}
            axes.bar(positions, rows["value"], **style, **bars)
        axes.set_title(f"layer {layer}")
        axes.set_ylabel("mean |offset| / cells")
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(len(techniques)), map(printed, techniques), rotation=35, ha="right", rotation_mode="anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    caption(figure, title)
    return figure


@print_style()
def draw_density(title: str, densities: dict[int, np.ndarray], reach: float) -> Figure:
    """Draw how often each offset occurs, a panel a layer: time across, frequency up, in cells of the layer's map.

    Args:
        title: of the figure.
        densities: layer -> (N, N) shares of all taps from -reach to reach, frequency by time; they add up to less than
            1 where some reach further, which the panel then says.
        reach: in cells; a panel shows as much of it as is reached.
    """
    figure = Figure(figsize=(TWO_COLUMNS, 0.6 + 0.77 * TWO_COLUMNS / max(len(densities), 2)), layout="constrained")
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
        axes.set_title(f"layer {layer}{outside}")
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of taps").ax.tick_params(labelsize=SMALL)
    caption(figure, title)
    return figure
