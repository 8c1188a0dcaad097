"""Draw where a trained network's kernels look: python -m singtech.looks [data=demo condition=late_crt_wc seed=0 …]

It takes the settings of a run that was trained (and trains nothing). Below `<output_dir>/tables/<data>/looks/<run>/` it
writes, for a clip of each technique, the sampling points of each deformable layer over the spectrogram against the
rigid grid; and over all test clips how far and which way offsets go (`offsets.csv`, `offsets.png`, `density.png`).
    looks.recording=NAME    one recording instead (a part of its name is enough), looks.start=3.0 its clip from 3 s on
    looks.seconds=1.2       where in the clip the kernel stands, and looks.hertz=800; by default where it is loudest
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from singtech.config import command, command_line, plain, variant
from singtech.pictures import CORPORA, chosen
from singtech.prepare import corpus_of

REACH, CELLS = 4.0, 161  # of the density: cells of a map each way, and its pixels
BATCH = 8


def job(cfg: DictConfig) -> None:
    """Draw, and print the offsets by layer and technique, and the paths written."""
    print(f"where the kernels of {cfg.dc.name} look on {cfg.data.name or 'the corpus'} …", file=sys.stderr, flush=True)
    from singtech.files import write_text
    from singtech.models.looking import deformable_layers
    from singtech.results.figures import save
    from singtech.results.look_figure import draw_density, draw_offsets

    corpus = corpus_of(cfg)
    name, network = trained(cfg, corpus)
    if not deformable_layers(network):
        raise ValueError(f"dc={cfg.dc.name}: it has no deformable layer; try dc=late.")
    settings = plain(cfg.looks)
    folder = Path(cfg.output_dir) / "tables" / corpus.name / "looks" / name
    where = CORPORA.get(corpus.name, f"corpus {corpus.name}")
    front_end = network.front_end
    paths = []
    for row in rows_of(corpus, settings):
        figure, stem = sampling_figure(network, corpus, row, settings, where)
        paths += save(figure, folder / stem)
    offsets, densities = over_corpus(network, corpus, front_end.hop_length, front_end.n_fft)
    offsets.insert(0, "run", name)
    write_text(folder / "offsets.csv", offsets.round(6).to_csv(index=False))
    paths.append(folder / "offsets.csv")
    title = f"offsets of {name}\n{where}, test clips; untrained: offsets 0, mask 1"
    paths += save(draw_offsets(title, offsets, corpus.techniques), folder / "offsets")
    paths += save(draw_density(title, densities, REACH), folder / "density")
    print(table(offsets, corpus.techniques))
    print(*paths, sep="\n")


def trained(cfg: DictConfig, corpus):
    """The name of the run that the settings ask for, and its network in eval mode, as it was tested.

    Raises:
        ValueError: it was not trained yet, or what is stored is damaged.
    """
    from singtech.run import run_of
    from singtech.training.store import WEIGHTS, Damaged, StoredPhase

    run = run_of(cfg, corpus)
    run = replace(run, names=run.names | {"variant": variant(cfg)})
    phase = StoredPhase(Path(cfg.output_dir) / "phases" / run.keys[-1])
    name = run.name(corpus.fingerprint("test"))
    again = command_line().replace(f"singtech.{HydraConfig.get().job.name}", "singtech.run")
    if not (phase.folder / WEIGHTS).is_file():
        raise ValueError(f"{name} is not trained yet; do so with `{_without_looks(again)}`.")
    try:
        phase.check()
    except Damaged as problem:
        raise ValueError(f"{problem}; `python -m singtech.store check=true` sets it aside.") from None
    network = run.build()
    phase.load_into(network)
    return name, network.eval()


def rows_of(corpus, settings: dict) -> list[int]:
    """The clips to draw, as rows of `corpus.clips`: of a recording that is named, or one of each technique.

    Raises:
        ValueError: there is no such clip, or several recordings are called so.
    """
    if settings["recording"] is None:
        return chosen(corpus, "test")[0]
    names = corpus.clips["recording"]
    named = names[names == settings["recording"]].index.to_list()
    named = named or names[names.str.contains(settings["recording"], regex=False)].index.to_list()
    recordings = sorted(set(names[named]))
    if len(recordings) != 1:
        some = f": {', '.join(recordings[:5])}" if recordings else ""
        raise ValueError(f"looks.recording={settings['recording']}: {len(recordings)} recordings are called so{some}.")
    starts = corpus.clips.loc[named, "start"]
    if settings["start"] is None:
        return named[:1]
    within = [
        row
        for row, start in zip(named, starts, strict=True)
        if start <= settings["start"] < start + corpus.clip_seconds
    ]
    if not within:
        raise ValueError(
            f"looks.start={settings['start']}: no clip there; they start at {', '.join(map(str, starts))} s."
        )
    return within


def sampling_figure(network, corpus, row: int, settings: dict, where: str):
    """The figure of one clip, and a name for it."""
    from singtech.models.looking import look
    from singtech.results.look_figure import Sampling, draw_sampling

    waveform = waveforms_of(corpus, [row])
    front_end = network.front_end
    loudness = front_end(waveform)[0].numpy()[-1]  # the shortest window's, which shows fine modulation best
    bin_hertz, frame_seconds = corpus.sample_rate / front_end.n_fft, front_end.hop_length / corpus.sample_rate
    bins, frames = loudness.shape
    loudest = np.unravel_index(loudness.argmax(), loudness.shape)
    bin_ = loudest[0] if settings["hertz"] is None else settings["hertz"] / bin_hertz
    frame = loudest[1] if settings["seconds"] is None else settings["seconds"] / frame_seconds
    if not (0 <= bin_ < bins and 0 <= frame < frames):
        longest, highest = frames * frame_seconds, bins * bin_hertz
        raise ValueError(f"looks.seconds or looks.hertz: expected up to {longest:.2f} s and {highest:,.0f} Hz.")
    unit = np.array([bin_hertz, frame_seconds])
    samplings = []
    for seen in look(network, waveform):
        rigid, moved, mask = (part.numpy() for part in seen.points(0, seen.cell_of(bin_, frame)))
        samplings.append(Sampling(seen.layer, seen.kernel_size, rigid * unit, moved * unit, mask))
    clip = corpus.clips.iloc[row]
    title = f"{clip['technique'].replace('_', ' ')} — {where}\n{clip['recording']}, from {clip['start']:g} s; "
    title += f"the kernels nearest to {frame * frame_seconds:.2f} s and {bin_ * bin_hertz:,.0f} Hz"
    figure = draw_sampling(title, loudness, frames * frame_seconds, bins * bin_hertz, samplings)
    return figure, clip["technique"] if settings["recording"] is None else clip["recording"].replace("/", "_")


def over_corpus(network, corpus, hop_length: int, n_fft: int):
    """Offsets of all test clips in long form (layer, technique, measure, value, deviation, recordings), and for each
    layer the density of (frequency, time) offsets.

    A measure is averaged over a clip's taps and places, then over a recording's clips; value and deviation are those
    over the technique's recordings. Weighted ones count a tap by its mask.
    """
    import pandas as pd
    from tqdm import tqdm

    from singtech.models.looking import look

    rows = corpus.rows("test")
    units = {"frequency": corpus.sample_rate / n_fft, "time": 1000 * hop_length / corpus.sample_rate}
    found, densities = [], {}
    edges = np.linspace(-REACH, REACH, CELLS + 1)
    with tqdm(total=len(rows), unit="clip", desc="offsets", leave=False) as bar:
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            for seen in look(network, waveforms_of(corpus, batch)):
                across = seen.offset.permute(0, 2, 1, 3, 4).numpy()  # (B, 2, M, F', T')
                counts, _, _ = np.histogram2d(across[:, 0].ravel(), across[:, 1].ravel(), bins=(edges, edges))
                densities[seen.layer] = densities.get(seen.layer, 0) + counts
                for k, row in enumerate(batch):
                    told = measures(across[k], seen.mask[k].numpy(), seen.scale, units)
                    found += [(seen.layer, row, name, value) for name, value in told.items()]
            bar.update(len(batch))
    frame = pd.DataFrame(found, columns=["layer", "row", "measure", "value"])
    frame = frame.join(corpus.clips[["technique", "recording"]], on="row")
    by = ["layer", "technique", "measure"]
    each = frame.groupby([*by, "recording"])["value"].mean()
    summed = each.groupby(level=by).agg(value="mean", deviation="std", recordings="size").reset_index()
    return summed, dict(sorted(densities.items()))


def measures(
    across: np.ndarray, mask: np.ndarray, scale: tuple[float, float], units: dict[str, float]
) -> dict[str, float]:
    """What is told of one clip's offsets in one layer.

    Args:
        across: (2, M, F', T') offsets along frequency and time in cells.
        mask: (M, F', T').
        scale: bins and frames of a cell.
        units: hertz of a bin as `frequency`, milliseconds of a frame as `time`.
    """
    told = {"mask": float(mask.mean())}
    names = {"frequency": "hertz", "time": "milliseconds"}
    for (way, name), offset, cell in zip(names.items(), across, scale, strict=True):
        absolute = float(np.abs(offset).mean())
        told[f"absolute_{way}_cells"] = absolute
        told[f"absolute_{way}_{name}"] = absolute * cell * units[way]
        told[f"weighted_{way}_cells"] = float((np.abs(offset) * mask).sum() / mask.sum())
        told[f"signed_{way}_cells"] = float(offset.mean())
        told[f"spread_{way}_cells"] = float(offset.std(axis=0).mean())  # over the taps of a kernel: a change of shape
    total = told["absolute_frequency_cells"] + told["absolute_time_cells"]
    told["share_time"] = told["absolute_time_cells"] / total if total else 0.5
    return told


def waveforms_of(corpus, rows):
    """(B, S) waveforms of clips."""
    import torch

    from singtech.data.datamodule import as_waveform

    return as_waveform(torch.from_numpy(np.array(corpus.waveforms[list(rows)])))


def table(offsets, techniques) -> str:
    """The mean absolute offsets by layer and technique, to print."""
    from tabulate import tabulate

    wide = offsets.pivot_table(index=["layer", "technique"], columns="measure", values="value")
    names = {
        "absolute_frequency_cells": "frequency, cells",
        "absolute_frequency_hertz": "Hz",
        "absolute_time_cells": "time, cells",
        "absolute_time_milliseconds": "ms",
        "spread_time_cells": "spread over taps, time",
        "mask": "mask",
    }
    lines = [
        [layer, technique.replace("_", " "), *(f"{wide.loc[(layer, technique), name]:.3g}" for name in names)]
        for layer in sorted(offsets["layer"].unique())
        for technique in techniques
        if (layer, technique) in wide.index
    ]
    return tabulate(lines, ["layer", "technique", *names.values()], disable_numparse=True)


def _without_looks(line: str) -> str:
    return " ".join(word for word in line.split() if not word.startswith("looks."))


main = command(job)

if __name__ == "__main__":
    main()
