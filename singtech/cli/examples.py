"""Draw a clip of each technique as the network takes it in.

It writes below `<output_dir>/tables/<data>/clips/`, as PNG and PDF: `<technique>`, the waveform and its spectrograms,
one for each window length, as `front_end` makes them; and `overview`, a row for each technique.
"""

import sys
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from singtech.cli.config import hydra_command, plain
from singtech.cli.prepare import corpus_of
from singtech.corpus.clip_store import Corpus
from singtech.errors import InvalidValue

SCALES = {
    "log": "log₁₀ of the magnitude above 10⁻⁵",
    "linear": "magnitude",
    "db": "10·log₁₀ of the magnitude",
}
CORPORA = {"vocalset": "VocalSet", "demo": "demo corpus (synthetic voices)"}
SMALL_PRINT = {
    "vocalset": "Recordings: VocalSet, J. Wilkins, P. Seetharaman, A. Wahl, B. Pardo (2018), "
    "doi.org/10.5281/zenodo.1442513, CC BY 4.0.",
    "demo": "Synthetic voices: they say nothing about singers.",
}


def job(cfg: DictConfig) -> None:
    """Draw, and print the paths written."""
    print(f"drawing a clip of each technique of {cfg.data.name or 'the corpus'} …", file=sys.stderr, flush=True)
    from singtech.results.clip_figure import render_clips

    corpus = corpus_of(cfg)
    rows, choice = choose_clips(corpus)
    front_end = spectrogram_of(cfg)
    paths = render_clips(
        [picture(corpus, row, front_end) for row in rows],
        Path(cfg.output_dir) / "tables" / corpus.name / "clips",
        corpus=title_of(corpus),
        choice=choice,
        scale=SCALES[front_end.scale],
        small_print=SMALL_PRINT.get(corpus.name, ""),
    )
    print(*paths, sep="\n")


def choose_clips(corpus: Corpus, split: str = "train") -> tuple[list[int], str]:
    """Choose a clip of each technique: rows of `corpus.clips`, and the choice in words.

    It is the first clip of the technique by a singer who sings all of them, so that only the technique differs from
    picture to picture; where no singer of the split does, the first clip.
    """
    rows, of = corpus.rows(split), {"train": "training"}.get(split, split)
    clips = corpus.clips.iloc[rows].assign(row=rows)
    sung = clips.groupby("singer", sort=False)["technique"].nunique()
    versatile = sung.index[sung == len(corpus.techniques)]
    choice = f"the first {of} clip (no {of} singer sings all techniques)"
    if len(versatile):
        clips = clips[clips["singer"] == versatile[0]]
        choice = f"the first {of} clip of {versatile[0]}, who sings all techniques"
    first = clips.drop_duplicates("technique").set_index("technique")["row"]
    return [int(first[technique]) for technique in corpus.techniques if technique in first], choice


def title_of(corpus: Corpus) -> str:
    """A corpus in a figure's title."""
    return CORPORA.get(corpus.name, f"corpus {corpus.name}")


def waveforms_of(corpus: Corpus, rows):
    """(B, S) waveforms of clips."""
    import torch

    from singtech.corpus.datamodule import as_waveform

    return as_waveform(torch.from_numpy(np.array(corpus.waveforms[list(rows)])))


def spectrogram_of(cfg: DictConfig):
    """The front end of a configuration, which must be one that makes multi-resolution spectrograms.

    Raises:
        InvalidValue: it is another, or cannot be built.
    """
    from singtech.components import build, instantiate
    from singtech.models.spectrogram import MultiResolutionSpectrogram

    try:
        front_end = build(instantiate(plain(cfg.front_end), "front_end"))
    except TypeError as problem:
        raise InvalidValue(f"front_end: no spectrogram can be made as given: {problem}") from None
    if not isinstance(front_end, MultiResolutionSpectrogram):
        raise InvalidValue(f"front_end: {type(front_end).__name__} cannot be drawn, expected a spectrogram of ours.")
    return front_end


def picture(corpus: Corpus, row: int, spectrogram):
    """One clip through the front end, as numbers to draw."""
    from singtech.models.level import levelled
    from singtech.results.clip_figure import ClipPicture

    waveform, clip = waveforms_of(corpus, [row]), corpus.clips.iloc[row]
    return ClipPicture(
        technique=clip["technique"],
        source=f"{clip['recording']}, from {clip['start']:g} s",
        waveform=levelled(waveform, spectrogram.level)[0].numpy(),
        spectrograms=spectrogram(waveform)[0].numpy(),
        win_lengths=spectrogram.win_lengths,
        hop_length=spectrogram.hop_length,
        sample_rate=corpus.sample_rate,
    )


main = hydra_command(job)
