"""Write a report of a corpus: one HTML page, to open in a browser.

The tables are rendered first. The page is `<output_dir>/tables/<data>/report.html` and needs no other file. If pictures
and sound exceed 40 MB, the easier recordings have no sound, and the page says so.
"""

import contextlib
import io
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from singtech.cli.options import command, option
from singtech.cli.tables import collate_corpora, render_corpus
from singtech.errors import Damaged, InvalidValue
from singtech.io.terminal import progress_bar
from singtech.results.clips import HARDEST, ClipProbabilities, RecordingMedia, clip_probabilities, wrong_clips
from singtech.results.collate import Collated
from singtech.results.commands import command_end, prepare
from singtech.results.feature_map import ClipFeatures, describe_maps
from singtech.results.pages import data_uri
from singtech.results.report import answer_everything, write_report
from singtech.results.summaries import Answer

if TYPE_CHECKING:
    from singtech.corpus.clip_store import Corpus

AUDIO = ("all", "hardest", "none")
MOST_BYTES = 40_000_000  # of pictures and audio, encoded in the page
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
HEIGHT, SECOND, WIDEST = 160, 60, 4000  # spectrogram in pixels: height to `USUAL` Hz, width per second, largest width
USUAL = 8000  # Hz; the page shows what is above on demand
MOST_MAPS = 12  # of features


@dataclass(kw_only=True)
class Options:
    """The options of `singtech report`."""

    data: str = option("NAME", "one corpus only", "")
    audio: str = option(
        "WHICH", f"recordings that can be heard: all, hardest (of the {HARDEST} hardest clips), none", "all"
    )
    output_dir: Path = option("FOLDER", "where the results are; it may be read-only", Path("outputs"))
    to: str = option("FOLDER", "where to write the pages; <output_dir>/tables by default", "")


@command(Options)
def main(options: Options) -> None:
    """Write a report of each corpus, and print its path."""
    if options.audio not in AUDIO:
        raise InvalidValue(f"audio={options.audio}: expected {' or '.join(AUDIO)}.")
    collated, corpora = collate_corpora(options.output_dir, options.data)
    for data in corpora:
        print(f"rendering the tables of {data} …", flush=True)
        path = report(collated, data, options.audio, options.to)
        print(f"{path}, {path.stat().st_size / 1e6:.1f} MB: open it in a browser")


def report(collated: Collated, data: str, audio: str = "all", to: str = "") -> Path:
    """Render the tables of a corpus, write its report, and return the path."""
    folder, pages = render_corpus(collated, data, to)
    answer = answer_everything(collated, data)
    clips = clip_probabilities(answer)
    store = _find_store(collated, data) if clips else None
    media, sounds = render_recordings(collated, data, clips, store, audio)
    maps = describe_maps(clips, read_features(answer, clips, store)) if clips and store else []
    path = folder / "report.html"
    write_report(path, answer, clips, pages, media, sounds, maps)
    return path


def render_recordings(
    collated: Collated, data: str, clips: ClipProbabilities | None, store: "Corpus | None", audio: str
) -> tuple[dict[str, RecordingMedia], dict[str, object]]:
    """Make the picture and sound of each test recording from the clip store. The hardest come first.

    A recording has no sound once pictures and sounds exceed `MOST_BYTES`.

    Returns:
        recording -> picture and sound; and settings of the page: `clip_seconds`, `khz` of the pictures, `usual_khz`
        that are shown first, and `silent`, the reason why some recordings have no sound.
    """
    sounds: dict[str, object] = {"clip_seconds": 0, "khz": 0, "usual_khz": 0, "silent": ""}
    if clips is None:
        return {}, sounds
    if store is None:
        command = prepare(command_end(collated, data))
        sounds["silent"] = f"The clips are not here, so no recording is heard or seen; `{command}` makes them."
        return {}, sounds
    groups = dict(list(store.clips.groupby("recording")))
    rate = store.sample_rate
    hardness = clips.clips.assign(true=clips.true).groupby("recording")["true"].min().sort_values(kind="stable")
    order = [recording for recording in hardness.index if recording in groups]
    audible = {
        "all": set(order),
        "hardest": set(wrong_clips(clips).head(HARDEST)["recording"]) & set(order),
        "none": set(),
    }[audio]
    media, free_bytes = {}, MOST_BYTES
    for recording in progress_bar("pictures and audio", "recordings", items=order, leave=False):
        rows = groups[recording]
        samples = np.concatenate([store.waveforms[row][:length] for row, length in rows["samples"].items()])
        content, width = _draw_picture(samples, rate)
        picture, sound = data_uri(content, "image/webp"), ""
        free_bytes -= len(picture)
        if recording in audible and free_bytes > 0:
            sound = data_uri(_encode_mp3(samples, rate), "audio/mpeg")
            free_bytes -= len(sound)
        sound = sound if free_bytes >= 0 else ""  # if full, easier ones are silent too
        media[recording] = RecordingMedia(sound, picture, width, round(len(samples) / rate, 3))
    silent = _describe_silence(audio, sum(bool(each.audio) for each in media.values()), len(audible), len(media))
    khz = rate / 2000
    sizes = {"clip_seconds": store.clip_seconds, "khz": khz, "usual_khz": min(khz, USUAL / 1000)}
    return media, {**sizes, "silent": silent}


def read_features(answer: Answer, clips: ClipProbabilities, store: "Corpus") -> list[ClipFeatures]:
    """Read the features of the test clips by the first run of each condition, of the first fold if there are folds.

    Nothing is computed: a run stores them when it is scored. Conditions that share a phase share its features. Those
    with the fewest settings come first, and at most `MOST_MAPS` maps are made.
    """
    from singtech.training.phase_store import read_features as read_file

    stored, table = pd.MultiIndex.from_frame(store.clips[["recording", "start"]]), clips.clips
    found: dict[Path, ClipFeatures] = {}
    plain_first = sorted(answer.experiment.conditions, key=lambda condition: len(condition.settings.items))
    for condition in plain_first:
        runs = answer.runs_of(condition)
        if condition.label not in clips.labels or runs.empty:
            continue
        run = runs.iloc[0]
        members = np.flatnonzero(table["fold"] == run["fold"]) if "fold" in table else np.arange(len(table))
        places = stored.get_indexer(pd.MultiIndex.from_frame(table.iloc[members][["recording", "start"]]))
        if -1 in places:
            continue
        path = _find_features(answer.collated.output_dir, run["phases"].split(), store, places)
        if path is None:
            continue
        if path in found:
            found[path] = replace(found[path], conditions=(*found[path].conditions, condition.label))
        elif len(found) < MOST_MAPS:
            with contextlib.suppress(Damaged, OSError):
                features = read_file(path)
                features = features if len(features) == len(places) else features[places]
                found[path] = ClipFeatures((condition.label,), run["run"], members, features)
    return list(found.values())


def _find_features(output_dir: Path, keys: list[str], store: "Corpus", places: np.ndarray) -> Path | None:
    """Find the file with the features of some clips: in the last phase that has one of these clips, or of all clips."""
    is_test = np.isin(np.arange(len(store.clips)), places)
    names = (
        replace(store, clips=store.clips.assign(split=np.where(is_test, "test", ""))).fingerprint("test"),
        store.state,
    )
    for key in reversed(keys):
        for name in names:
            for path in sorted((output_dir / "phases" / key / "features").glob(f"{name[:16]}-*.npy")):
                return path
    return None


def _describe_silence(audio: str, audible: int, selected: int, recordings: int) -> str:
    """Say how many recordings can be heard, and why the others cannot; "" if all can."""
    if audio == "none":
        return "No recording can be heard: the page was made with audio=none."
    reasons = ["the page was made with audio=hardest, for those of the hardest clips"] if audio == "hardest" else []
    if audible < selected:
        reasons.append(f"above {MOST_BYTES / 1e6:g} MB of pictures and sound in all, the easier ones are silent")
    return f"{audible} of {recordings} recordings can be heard: {'; '.join(reasons)}." if reasons else ""


def _find_store(collated: Collated, data: str) -> "Corpus | None":
    """Read the clip store of a corpus's current state; None if there is none."""
    from singtech.corpus.clip_store import find_store

    state = collated.state(data) or collated.state(data, "0")
    return None if state is None else find_store(collated.output_dir / "data", data, state[0])


def _encode_mp3(samples: np.ndarray, rate: int) -> bytes:
    """Encode (S,) int16 samples as MP3 with about 50 kbit/s, which every browser plays."""
    import soundfile

    waveform, target = samples.astype(np.float32) / 32768, min((r for r in MP3_RATES if r >= rate), default=48000)
    if target != rate:
        import librosa

        waveform = librosa.resample(waveform, orig_sr=rate, target_sr=target, res_type="soxr_hq")
    file = io.BytesIO()
    soundfile.write(file, waveform, target, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.8)
    return file.getvalue()


def _draw_picture(samples: np.ndarray, rate: int) -> tuple[bytes, int]:
    """Draw (S,) int16 samples as a small spectrogram; return the WebP and its width.

    Its height is `HEIGHT` pixels up to `USUAL` Hz, or to the highest frequency if that is lower, equally spaced in mel
    (`_mel`); its width is that of the time, compressed if long.
    """
    from matplotlib import colormaps
    from PIL import Image

    width = min(max(8, round(len(samples) / rate * SECOND)), WIDEST)  # WebP allows at most 16,383
    n_fft = 1 << round(np.log2(0.046 * rate))
    mels = _mel(rate / 2)
    height = round(HEIGHT * max(1.0, mels / _mel(USUAL)))
    padded = np.pad(samples.astype(np.float32) / 32768, (n_fft // 2, n_fft))
    starts = np.linspace(0, len(samples), width, endpoint=False).astype(int)
    frames = padded[starts[:, None] + np.arange(n_fft)] * np.hanning(n_fft).astype(np.float32)
    decibels = 20 * np.log10(np.abs(np.fft.rfft(frames, 2 * n_fft))[:, 1:] + 1e-6)  # twice as fine, for low rows
    edges = 700 * (10 ** (np.linspace(0, mels, height + 1) / 2595) - 1)  # Hz
    bins = (edges / (rate / 2) * decibels.shape[1]).astype(int)
    rows = np.stack([decibels[:, a : max(b, a + 1)].max(axis=1) for a, b in pairwise(bins)])
    shade = np.clip((rows - rows.max()) / 80 + 1, 0, 1)[::-1]
    file = io.BytesIO()
    Image.fromarray((colormaps["magma"](shade)[..., :3] * 255).astype(np.uint8)).save(file, "WEBP", quality=60)
    return file.getvalue(), width


def _mel(hertz: float) -> float:
    """Mel of a frequency (O'Shaughnessy 1987, as HTK has it); the page's axis computes the same."""
    return 2595 * float(np.log10(1 + hertz / 700))
