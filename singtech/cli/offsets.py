"""Draw the sampling points of a trained network's deformable kernels.

It takes the settings of a trained run, and trains nothing. It writes below `<output_dir>/tables/<data>/looks/<run>/`:
for a clip of each technique, where the kernels of each deformable layer look on average, all over the spectrogram, and
the sampling points of one kernel (PNG, PDF); the kernel of the first of these layers as it moves through the clip (GIF,
at half speed); for all test clips, size and direction of the offsets (`offsets.csv`, `offsets.png`, `density.png`).

  looks.recording=NAME  one recording (a part of its name is enough)
  looks.start=3.0       its clip at 3 s
  looks.layer=3         only this layer in these figures and animations
  looks.split=all       offsets of all clips, not only of the test clips
  looks.seconds=1.2     time of the kernel in the clip
  looks.hertz=800       frequency of the kernel; default: the loudest point
  looks.animation=false  no animations
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from singtech.cli.config import hydra_command, resolve
from singtech.cli.examples import SMALL_PRINT, choose_clips, format_title, load_waveforms, require_linear_axis
from singtech.cli.prepare import prepare_corpus
from singtech.cli.sweep import format_command
from singtech.errors import InvalidValue, NotThere
from singtech.results.collate import match_one_name

REACH, PIXELS = 32.05, 641  # of the density: cells in each direction, and pixels, one of them at 0
SPLITS = {"test": "test clips", "all": "all clips"}
BATCH = 8
ARROWS = (16, 26)  # in a figure at most, along frequency and time
KERNELS = 8  # in an animation at most, along frequency


def job(cfg: DictConfig) -> None:
    """Draw the figures, and print the paths of the files."""
    choices = HydraConfig.get().runtime.choices
    if not cfg.dc.layers:
        raise InvalidValue(f"dc={choices['dc']}: it has no deformable layer; try dc=late.")
    print(f"drawing the kernels of dc={choices['dc']} on {choices['data']} …", file=sys.stderr, flush=True)
    from singtech.io.atomic import write_text
    from singtech.models.offsets import deformable_layers
    from singtech.results.experiments import PAPER_CORPUS
    from singtech.results.figures import save
    from singtech.results.look_figure import draw_density, draw_offsets

    if cfg.data.name == PAPER_CORPUS and not any((Path(cfg.output_dir) / "runs").glob(f"{PAPER_CORPUS}-*/")):
        # before a download of 2 GB
        raise NotThere(f"no run on {PAPER_CORPUS} is in {cfg.output_dir}; train one with `{_format_train_command()}`.")
    corpus = prepare_corpus(cfg)
    name, network = load_network(cfg, corpus)
    if not all(hasattr(network.front_end, name) for name in ("n_fft", "hop_length")):
        front_end = type(network.front_end).__name__
        raise InvalidValue(f"front_end={front_end}: expected n_fft and hop_length, for hertz and seconds.")
    require_linear_axis(network.front_end)
    settings = resolve(cfg.looks)
    layers = list(deformable_layers(network))
    if settings["layer"] not in (None, *layers):
        raise InvalidValue(f"looks.layer={settings['layer']}: the deformable layers are {str(layers)[1:-1]}.")
    if settings["split"] not in SPLITS:
        raise InvalidValue(f"looks.split={settings['split']}: expected {' or '.join(SPLITS)}.")
    folder = Path(cfg.output_dir) / "tables" / corpus.name / "looks" / name
    paths = []
    for row in choose_rows(corpus, settings):
        paths += draw_clip(network, corpus, row, settings, folder)
    rows = corpus.rows("test") if settings["split"] == "test" else np.flatnonzero(corpus.clips["split"] != "")
    offsets, densities = measure_corpus(network, corpus, rows, cfg.trainer.progress)
    offsets.insert(0, "run", name)
    write_text(folder / "offsets.csv", offsets.round(6).to_csv(index=False))
    paths.append(folder / "offsets.csv")
    clips = SPLITS[settings["split"]]
    title = f"offsets of {name}\n{format_title(corpus)}, {clips}, taps that meet the map; untrained: offsets 0, mask 1"
    paths += save(draw_offsets(title, offsets, corpus.techniques), folder / "offsets")
    paths += save(draw_density(title, densities, REACH), folder / "density")
    print(*paths, sep="\n")


def load_network(cfg: DictConfig, corpus):
    """Load the run that the settings describe: its name, and its network in eval mode, as it was tested.

    Raises:
        NotThere: it is not trained yet.
        Damaged: its weights are damaged.
    """
    from singtech.run import build_run
    from singtech.training.phase_store import open_phases

    run = build_run(cfg, corpus)
    phases, name = Path(cfg.output_dir) / "phases", run.name(corpus.fingerprint("test"))
    if not (phases / run.keys[-1]).is_dir():
        raise NotThere(f"{name} is not trained yet; do so with `{_format_train_command()}`.")
    network = run.build()
    open_phases(phases, run.keys[-1:])[0].load_into(network)
    return name, network.eval()


def choose_rows(corpus, settings: dict) -> list[int]:
    """Choose the clips to draw, as rows of `corpus.clips`: of one recording, or one of each technique.

    Raises:
        InvalidValue: there is no such clip, or several recordings match the name.
    """
    part, start = settings["recording"], settings["start"]
    if part is None:
        return choose_clips(corpus, "test")[0]
    recordings = corpus.clips["recording"]
    clips = corpus.clips[recordings == match_one_name(recordings.unique(), part, "looks.recording")]
    if start is None:
        return clips.index[:1].to_list()
    starts = clips["start"]
    rows = clips.index[(starts <= start) & (start < starts + corpus.clip_seconds)].to_list()
    if not rows:
        raise InvalidValue(f"looks.start={start}: no clip there; they start at {', '.join(map(str, starts))} s.")
    return rows


def draw_clip(network, corpus, row: int, settings: dict, folder: Path) -> list[Path]:
    """Draw one clip, and animate it if the settings say so; return the paths of the files.

    Raises:
        InvalidValue: the settings name a place outside the clip.
    """
    from singtech.models.offsets import predict_offsets
    from singtech.results.figures import save
    from singtech.results.look_figure import animate_sampling, draw_sampling
    from singtech.results.summaries import printed

    waveform, front_end = load_waveforms(corpus, [row]), network.front_end
    loudness = front_end(waveform)[0].numpy()[-1]  # the shortest window shows modulation best
    bin_hertz, frame_seconds = corpus.sample_rate / front_end.n_fft, front_end.hop_length / corpus.sample_rate
    bins, frames = loudness.shape
    loudest = np.unravel_index(loudness.argmax(), loudness.shape)
    frequency_bin = loudest[0] if settings["hertz"] is None else settings["hertz"] / bin_hertz
    frame = loudest[1] if settings["seconds"] is None else settings["seconds"] / frame_seconds
    if not (0 <= frequency_bin < bins and 0 <= frame < frames):
        longest, highest = frames * frame_seconds, bins * bin_hertz
        raise InvalidValue(f"looks.seconds or looks.hertz: expected up to {longest:.2f} s and {highest:,.0f} Hz.")
    unit = np.array([bin_hertz, frame_seconds])
    layers = [o for o in predict_offsets(network, waveform) if settings["layer"] in (None, o.layer)]
    samplings = [make_sampling(offsets, offsets.nearest_cell(frequency_bin, frame), unit) for offsets in layers]
    clip = corpus.clips.iloc[row]
    title = f"{printed(clip['technique'])} — {format_title(corpus)}\n{clip['recording']}, from {clip['start']:g} s"
    place = f"{frame * frame_seconds:.2f} s and {frequency_bin * bin_hertz:,.0f} Hz"
    picture = loudness, frame_seconds, bin_hertz
    arrows = [average_offsets(offsets, unit) for offsets in layers]
    small_print = SMALL_PRINT.get(corpus.name, "")
    figure = draw_sampling(f"{title}; the kernels nearest to {place}", *picture, samplings, arrows, small_print)
    stem = clip["technique"] if settings["recording"] is None else clip["recording"].replace("/", "_")
    paths = save(figure, folder / stem)
    if settings["animation"]:
        rows, columns = layers[0].offset.shape[-2:]
        kernels = [[make_sampling(layers[0], (row, k), unit) for row in _spread(rows, KERNELS)] for k in range(columns)]
        paths.append(animate_sampling(folder / f"{stem}.gif", title, *picture, kernels))
    return paths


def make_sampling(offsets, cell: tuple[int, ...], unit: np.ndarray):
    """Describe what is drawn of the kernel at a cell.

    Args:
        offsets: of one layer and clip (`singtech.models.offsets.LayerOffsets`).
        unit: hertz of a bin and seconds of a frame.
    """
    from singtech.results.look_figure import Sampling

    rigid, moved, mask = (part.numpy() for part in offsets.tap_positions(0, cell))
    valid = offsets.reaches_map[0][:, cell[0], cell[1]].numpy()
    return Sampling(offsets.layer, offsets.kernel_size, rigid * unit, moved * unit, mask, valid)


def average_offsets(offsets, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) hertz and seconds: the positions of N cells all over the map, and their taps' mean offsets."""
    cells = np.ix_(*(_spread(side, most) for side, most in zip(offsets.offset.shape[-2:], ARROWS, strict=True)))
    positions, shifts = (part.numpy()[cells].reshape(-1, 2) * unit for part in offsets.mean_shifts(0))
    reaches = ~np.isnan(shifts[:, 0])
    return positions[reaches], shifts[reaches]


def _spread(side: int, most: int) -> range:
    """Return up to `most` of `side` cells at equal steps."""
    return range(0, side, -(-side // most))


def measure_corpus(network, corpus, rows, progress: bool = True):
    """Measure the offsets of clips.

    Each measure is averaged over the taps and positions of a clip, then over the clips of a recording. `value` and
    `deviation` are mean and standard deviation over the recordings of a technique. Taps that cannot meet the map do not
    count.

    Args:
        rows: of `corpus.clips`.
        progress: show a bar.
    """
    from singtech.io.interrupts import raise_if_signalled
    from singtech.io.terminal import progress_bar
    from singtech.models.offsets import predict_offsets

    rate, front_end = corpus.sample_rate, network.front_end
    units = {"frequency": rate / front_end.n_fft, "time": 1000 * front_end.hop_length / rate}
    lines: list[tuple] = []
    densities: dict[int, Any] = {}
    taps: dict[int, int] = {}
    edges = np.linspace(-REACH, REACH, PIXELS + 1)
    with progress_bar("offsets", "clips", len(rows), progress) as bar:
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            for layer_look in predict_offsets(network, load_waveforms(corpus, batch)):
                offsets = layer_look.offset.permute(0, 2, 1, 3, 4).numpy()  # (B, 2, M, F', T')
                valid = layer_look.reaches_map.numpy()
                counts, _, _ = np.histogram2d(offsets[:, 0][valid], offsets[:, 1][valid], bins=(edges, edges))
                densities[layer_look.layer] = densities.get(layer_look.layer, 0) + counts
                taps[layer_look.layer] = taps.get(layer_look.layer, 0) + valid.sum()
                for k, row in enumerate(batch):
                    values = measure_clip(offsets[k], layer_look.mask[k].numpy(), valid[k], layer_look.scale, units)
                    lines += [(layer_look.layer, row, name, value) for name, value in values.items()]
            bar.update(len(batch))
            raise_if_signalled()
    frame = pd.DataFrame(lines, columns=["layer", "row", "measure", "value"])
    frame = frame.join(corpus.clips[["technique", "recording"]], on="row")
    by = ["layer", "technique", "measure"]
    recording_means = frame.groupby([*by, "recording"])["value"].mean()
    summary = recording_means.groupby(level=by).agg(value="mean", deviation="std", recordings="size")
    summary["clips"] = frame.groupby(by).size()
    return summary.reset_index(), {layer: densities[layer] / taps[layer] for layer in sorted(densities)}


def measure_clip(
    offsets: np.ndarray, mask: np.ndarray, valid: np.ndarray, scale: tuple[float, ...], units: dict[str, float]
) -> dict[str, float]:
    """Measure one clip's offsets in one layer, over the taps that can meet the map.

    The variation is the deviation of a tap over the positions in the clip. It is 0 if offsets are learned but do not
    depend on the input.

    Args:
        offsets: (2, M, F', T') offsets along frequency and time in cells.
        mask: (M, F', T').
        valid: (M, F', T') which taps count, see `LayerOffsets.reaches_map`.
        scale: bins and frames in one cell.
        units: `frequency`, hertz in one bin, and `time`, milliseconds in one frame.
    """
    values = {"on_map": float(valid.mean()), "mask": float(mask[valid].mean())}
    names = {"frequency": "hertz", "time": "milliseconds"}
    for (direction, name), offset, cell in zip(names.items(), offsets, scale, strict=True):
        absolute = float(np.abs(offset[valid]).mean())
        values[f"absolute_{direction}_cells"] = absolute
        values[f"absolute_{direction}_{name}"] = absolute * cell * units[direction]
        values[f"signed_{direction}_cells"] = float(offset[valid].mean())
        values[f"variation_{direction}_cells"] = float(np.ma.masked_array(offset, ~valid).std(axis=(1, 2)).mean())
    return values


def _format_train_command() -> str:
    """Write the command that trains the run of these settings."""
    return shlex.join(word for word in shlex.split(format_command()) if not word.startswith("looks."))


main = hydra_command(job)
