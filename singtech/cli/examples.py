"""Draw one clip of each technique as the network receives it.

It writes PNG and PDF files below `<output_dir>/tables/<data>/clips/`: `<technique>` has the waveform and a spectrogram
for each window length, as `front_end` computes them, and `overview` has a row for each technique.
"""

import sys
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from singtech.cli.config import hydra_command, resolve
from singtech.cli.prepare import prepare_corpus
from singtech.corpus.clip_store import Corpus
from singtech.errors import InvalidValue

SCALES = {
    "log": "log₁₀ of the magnitude above 10⁻⁵",
    "linear": "magnitude",
    "db": "10·log₁₀ of the magnitude",
    "pcen": "energy normalised in each band (PCEN)",
}
CORPORA = {"vocalset": "VocalSet", "demo": "demo corpus (synthetic voices)"}
SMALL_PRINT = {
    "vocalset": "Recordings: VocalSet, J. Wilkins, P. Seetharaman, A. Wahl, B. Pardo (2018), "
    "doi.org/10.5281/zenodo.1442513, CC BY 4.0.",
    "demo": "Synthetic voices: they are no evidence about singers.",
}


def job(cfg: DictConfig) -> None:
    """Draw the clips, and print the paths of the files."""
    print(f"drawing a clip of each technique of {cfg.data.name or 'the corpus'} …", file=sys.stderr, flush=True)
    from singtech.results.clip_figure import render_clips

    corpus = prepare_corpus(cfg)
    rows, choice = choose_clips(corpus)
    front_end = build_spectrogram(cfg, corpus.sample_rate)
    paths = render_clips(
        [prepare_picture(corpus, row, front_end) for row in rows],
        Path(cfg.output_dir) / "tables" / corpus.name / "clips",
        corpus=format_title(corpus),
        choice=choice,
        scale=SCALES[front_end.scale] + (", standardised" if front_end.standardise == "bands" else ""),
        small_print=SMALL_PRINT.get(corpus.name, ""),
    )
    print(*paths, sep="\n")


def choose_clips(corpus: Corpus, split: str = "train") -> tuple[list[int], str]:
    """Choose a clip of each technique; return rows of `corpus.clips`, and a description of the choice.

    It is the first clip of a technique by a singer who sings all techniques, so that pictures differ in the technique
    only. If no singer of the split does, it is the first clip of any singer.
    """
    rows, adjective = corpus.rows(split), {"train": "training"}.get(split, split)
    clips = corpus.clips.iloc[rows].assign(row=rows)
    technique_counts = clips.groupby("singer", sort=False)["technique"].nunique()
    complete_singers = technique_counts.index[technique_counts == len(corpus.techniques)]
    choice = f"the first {adjective} clip (no {adjective} singer sings all techniques)"
    if len(complete_singers):
        clips = clips[clips["singer"] == complete_singers[0]]
        choice = f"the first {adjective} clip of {complete_singers[0]}, who sings all techniques"
    first = clips.drop_duplicates("technique").set_index("technique")["row"]
    return [int(first[technique]) for technique in corpus.techniques if technique in first], choice


def format_title(corpus: Corpus) -> str:
    """Return the name of a corpus in a figure's title."""
    return CORPORA.get(corpus.name, f"corpus {corpus.name}")


def load_waveforms(corpus: Corpus, rows):
    """Return the (B, S) waveforms of clips."""
    import torch

    from singtech.corpus.datamodule import to_waveform

    return to_waveform(torch.from_numpy(np.array(corpus.waveforms[list(rows)])))


def build_spectrogram(cfg: DictConfig, sample_rate: int):
    """Build the front end of a configuration, which must compute multi-resolution spectrograms on a linear axis.

    Raises:
        InvalidValue: it is another front end, or cannot be built.
    """
    from singtech.components import build, import_component
    from singtech.models.spectrogram import MultiResolutionSpectrogram

    try:
        front_end = build(import_component(resolve(cfg.front_end), "front_end"), sample_rate=sample_rate)
    except TypeError as problem:
        raise InvalidValue(f"front_end: no spectrogram can be made as given: {problem}") from None
    if not isinstance(front_end, MultiResolutionSpectrogram):
        raise InvalidValue(f"front_end: {type(front_end).__name__} cannot be drawn, expected a singtech spectrogram.")
    require_linear_axis(front_end)
    return front_end


def require_linear_axis(front_end) -> None:
    """Check that a figure, whose axis is in equal steps of hertz, can show a front end.

    Raises:
        InvalidValue: it has another axis.
    """
    axis = getattr(front_end, "axis", "linear")
    if axis != "linear":
        raise InvalidValue(f"front_end.axis={axis} cannot be drawn: the axis of these figures is linear in hertz.")


def prepare_picture(corpus: Corpus, row: int, spectrogram):
    """Compute what a picture of one clip shows."""
    from singtech.models.level import normalise_level
    from singtech.results.clip_figure import ClipPicture

    waveform, clip = load_waveforms(corpus, [row]), corpus.clips.iloc[row]
    return ClipPicture(
        technique=clip["technique"],
        source=f"{clip['recording']}, from {clip['start']:g} s",
        waveform=normalise_level(waveform, spectrogram.level)[0].numpy(),
        spectrograms=spectrogram(waveform)[0].numpy(),
        win_lengths=spectrogram.win_lengths,
        hop_length=spectrogram.hop_length,
        sample_rate=corpus.sample_rate,
    )


main = hydra_command(job)
