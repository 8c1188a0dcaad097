"""Draw where a trained network's kernels look.

It takes the settings of a trained run, and trains nothing. Below `<output_dir>/tables/<data>/looks/<run>/` it writes,
for a clip of each technique, the sampling points of each deformable layer over the spectrogram beside the rigid grid;
and over all test clips how far and which way offsets go (`offsets.csv`, `offsets.png`, `density.png`).

  looks.recording=NAME  one recording (a part of its name is enough)
  looks.start=3.0       its clip at 3 s
  looks.layer=3         one layer in these figures, not each deformable one
  looks.split=all       offsets of all clips, not only of the test clips
  looks.seconds=1.2     time in the clip at which the kernel stands
  looks.hertz=800       frequency there; the loudest point is the default
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from singtech.cli.config import hydra_command, plain
from singtech.cli.examples import SMALL_PRINT, choose_clips, title_of, waveforms_of
from singtech.cli.export import load_weights, only_match
from singtech.cli.prepare import corpus_of
from singtech.cli.sweep import command_line
from singtech.errors import InvalidValue, NotThere

REACH, PIXELS = 32.05, 641  # of the density: cells of a map each way, and its pixels, one of them around 0
SPLITS = {"test": "test clips", "all": "all clips"}
BATCH = 8


def job(cfg: DictConfig) -> None:
    """Draw, and print the paths written."""
    choices = HydraConfig.get().runtime.choices
    if not cfg.dc.layers:
        raise InvalidValue(f"dc={choices['dc']}: it has no deformable layer; try dc=late.")
    print(f"where the kernels of {choices['dc']} look on {choices['data']} …", file=sys.stderr, flush=True)
    from singtech.io.atomic import write_text
    from singtech.models.offsets import deformable_layers
    from singtech.results.experiments import COMPARABLE
    from singtech.results.figures import save
    from singtech.results.look_figure import draw_density, draw_offsets

    if cfg.data.name == COMPARABLE and not any((Path(cfg.output_dir) / "runs").glob(f"{COMPARABLE}-*/")):
        # before 2 GB are fetched
        raise NotThere(f"no run on {COMPARABLE} is in {cfg.output_dir}; train one with `{_train_command()}`.")
    corpus = corpus_of(cfg)
    name, network = trained(cfg, corpus)
    if not all(hasattr(network.front_end, name) for name in ("n_fft", "hop_length")):
        front_end = type(network.front_end).__name__
        raise InvalidValue(f"front_end={front_end}: expected n_fft and hop_length, for hertz and seconds.")
    settings = plain(cfg.looks)
    layers = list(deformable_layers(network))
    if settings["layer"] not in (None, *layers):
        raise InvalidValue(f"looks.layer={settings['layer']}: the deformable layers are {str(layers)[1:-1]}.")
    if settings["split"] not in SPLITS:
        raise InvalidValue(f"looks.split={settings['split']}: expected {' or '.join(SPLITS)}.")
    folder = Path(cfg.output_dir) / "tables" / corpus.name / "looks" / name
    paths = []
    for row in rows_of(corpus, settings):
        figure, stem = sampling_figure(network, corpus, row, settings)
        paths += save(figure, folder / stem)
    rows = corpus.rows("test") if settings["split"] == "test" else np.flatnonzero(corpus.clips["split"] != "")
    offsets, densities = over_corpus(network, corpus, rows, cfg.trainer.progress)
    offsets.insert(0, "run", name)
    write_text(folder / "offsets.csv", offsets.round(6).to_csv(index=False))
    paths.append(folder / "offsets.csv")
    clips = SPLITS[settings["split"]]
    title = f"offsets of {name}\n{title_of(corpus)}, {clips}, taps that can meet the map; untrained: offsets 0, mask 1"
    paths += save(draw_offsets(title, offsets, corpus.techniques), folder / "offsets")
    paths += save(draw_density(title, densities, REACH), folder / "density")
    print(*paths, sep="\n")


def trained(cfg: DictConfig, corpus):
    """The name of the run that the settings ask for, and its network in eval mode, as it was tested.

    Raises:
        NotThere: it was not trained yet.
        Damaged: its weights are damaged.
    """
    from singtech.run import run_of
    from singtech.training.phase_store import StoredPhase

    run = run_of(cfg, corpus)
    phase = StoredPhase(Path(cfg.output_dir) / "phases" / run.keys[-1])
    name = run.name(corpus.fingerprint("test"))
    if not phase.folder.is_dir():
        raise NotThere(f"{name} is not trained yet; do so with `{_train_command()}`.")
    network = run.build()
    load_weights(phase, network)
    return name, network.eval()


def rows_of(corpus, settings: dict) -> list[int]:
    """The clips to draw, as rows of `corpus.clips`: of a recording by its name, or one of each technique.

    Raises:
        InvalidValue: there is no such clip, or several recordings are called so.
    """
    part, start = settings["recording"], settings["start"]
    if part is None:
        return choose_clips(corpus, "test")[0]
    recordings = corpus.clips["recording"]
    clips = corpus.clips[recordings == only_match(recordings.unique(), part, "looks.recording")]
    if start is None:
        return clips.index[:1].to_list()
    starts = clips["start"]
    within = clips.index[(starts <= start) & (start < starts + corpus.clip_seconds)].to_list()
    if not within:
        raise InvalidValue(f"looks.start={start}: no clip there; they start at {', '.join(map(str, starts))} s.")
    return within


def sampling_figure(network, corpus, row: int, settings: dict):
    """The figure of one clip, and a name for it."""
    from singtech.models.offsets import look
    from singtech.results.look_figure import Sampling, draw_sampling

    waveform, front_end = waveforms_of(corpus, [row]), network.front_end
    loudness = front_end(waveform)[0].numpy()[-1]  # the shortest window's, which shows fine modulation best
    bin_hertz, frame_seconds = corpus.sample_rate / front_end.n_fft, front_end.hop_length / corpus.sample_rate
    bins, frames = loudness.shape
    loudest = np.unravel_index(loudness.argmax(), loudness.shape)
    bin_ = loudest[0] if settings["hertz"] is None else settings["hertz"] / bin_hertz
    frame = loudest[1] if settings["seconds"] is None else settings["seconds"] / frame_seconds
    if not (0 <= bin_ < bins and 0 <= frame < frames):
        longest, highest = frames * frame_seconds, bins * bin_hertz
        raise InvalidValue(f"looks.seconds or looks.hertz: expected up to {longest:.2f} s and {highest:,.0f} Hz.")
    unit = np.array([bin_hertz, frame_seconds])
    samplings = []
    for layer_look in look(network, waveform):
        if settings["layer"] in (None, layer_look.layer):
            cell = layer_look.cell_of(bin_, frame)
            rigid, moved, mask = (part.numpy() for part in layer_look.points(0, cell))
            matters = layer_look.matters()[0][:, cell[0], cell[1]].numpy()
            kernel = layer_look.kernel_size
            samplings.append(Sampling(layer_look.layer, kernel, rigid * unit, moved * unit, mask, matters))
    clip = corpus.clips.iloc[row]
    title = (
        f"{clip['technique'].replace('_', ' ')} — {title_of(corpus)}\n{clip['recording']}, from {clip['start']:g} s; "
    )
    title += f"the kernels nearest to {frame * frame_seconds:.2f} s and {bin_ * bin_hertz:,.0f} Hz"
    figure = draw_sampling(title, loudness, frame_seconds, bin_hertz, samplings, SMALL_PRINT.get(corpus.name, ""))
    return figure, clip["technique"] if settings["recording"] is None else clip["recording"].replace("/", "_")


def over_corpus(network, corpus, rows, progress: bool = True):
    """Offsets of clips in long form (layer, technique, measure, value, deviation, recordings, clips), and for each
    layer the share of (frequency, time) offsets in each pixel of the density.

    A measure is averaged over a clip's taps and places, then over a recording's clips; value and deviation are those
    over the technique's recordings. Only taps count that can meet the map.

    Args:
        rows: of `corpus.clips`.
        progress: show a bar.
    """
    import pandas as pd

    from singtech.io.interrupts import raise_if_signalled
    from singtech.models.offsets import look
    from singtech.training.callbacks import progress_bar

    front_end = network.front_end
    units = {
        "frequency": corpus.sample_rate / front_end.n_fft,
        "time": 1000 * front_end.hop_length / corpus.sample_rate,
    }
    lines: list[tuple] = []
    densities: dict[int, Any] = {}
    taps: dict[int, int] = {}
    edges = np.linspace(-REACH, REACH, PIXELS + 1)
    with progress_bar("offsets", "clip", len(rows), progress) as bar:
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            for layer_look in look(network, waveforms_of(corpus, batch)):
                across = layer_look.offset.permute(0, 2, 1, 3, 4).numpy()  # (B, 2, M, F', T')
                matters = layer_look.matters().numpy()
                counts, _, _ = np.histogram2d(across[:, 0][matters], across[:, 1][matters], bins=(edges, edges))
                densities[layer_look.layer] = densities.get(layer_look.layer, 0) + counts
                taps[layer_look.layer] = taps.get(layer_look.layer, 0) + matters.sum()
                for k, row in enumerate(batch):
                    values = measures(across[k], layer_look.mask[k].numpy(), matters[k], layer_look.scale, units)
                    lines += [(layer_look.layer, row, name, value) for name, value in values.items()]
            bar.update(len(batch))
            raise_if_signalled()
    frame = pd.DataFrame(lines, columns=["layer", "row", "measure", "value"])
    frame = frame.join(corpus.clips[["technique", "recording"]], on="row")
    by = ["layer", "technique", "measure"]
    each = frame.groupby([*by, "recording"])["value"].mean()
    summed = each.groupby(level=by).agg(value="mean", deviation="std", recordings="size")
    summed["clips"] = frame.groupby(by).size()
    return summed.reset_index(), {layer: densities[layer] / taps[layer] for layer in sorted(densities)}


def measures(
    across: np.ndarray, mask: np.ndarray, matters: np.ndarray, scale: tuple[float, ...], units: dict[str, float]
) -> dict[str, float]:
    """Measures of one clip's offsets in one layer, over the taps that can meet the map.

    The variation is that of a tap from place to place in the clip, which is 0 where offsets were learned but do not
    adapt to what is sung.

    Args:
        across: (2, M, F', T') offsets along frequency and time in cells.
        mask: (M, F', T').
        matters: (M, F', T') which taps count, see `Look.matters`.
        scale: bins and frames of a cell.
        units: hertz of a bin as `frequency`, milliseconds of a frame as `time`.
    """
    values = {"on_map": float(matters.mean()), "mask": float(mask[matters].mean())}
    names = {"frequency": "hertz", "time": "milliseconds"}
    for (way, name), offset, cell in zip(names.items(), across, scale, strict=True):
        absolute = float(np.abs(offset[matters]).mean())
        values[f"absolute_{way}_cells"] = absolute
        values[f"absolute_{way}_{name}"] = absolute * cell * units[way]
        values[f"signed_{way}_cells"] = float(offset[matters].mean())
        values[f"variation_{way}_cells"] = float(np.ma.masked_array(offset, ~matters).std(axis=(1, 2)).mean())
    return values


def _train_command() -> str:
    """The command that trains what the settings ask for."""
    return shlex.join(word for word in shlex.split(command_line()) if not word.startswith("looks."))


main = hydra_command(job)
