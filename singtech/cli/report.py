"""Write a report of a corpus: one HTML page, to open in a browser.

The tables are rendered first. The page is `<output_dir>/tables/<data>/report.html` and needs no other file. If pictures
and sound exceed 40 MB, the easier recordings have no sound, and the page says so.
"""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech.cli.options import command, option
from singtech.cli.tables import collate_corpora, render_corpus
from singtech.errors import InvalidValue
from singtech.results.collate import Collated
from singtech.results.commands import command_end, prepare
from singtech.results.pages import data_uri
from singtech.results.report import (
    ClipProbabilities,
    Take,
    answer_everything,
    clip_probabilities,
    hardest_clips,
    write_report,
)

if TYPE_CHECKING:
    from singtech.corpus.clip_store import Corpus

AUDIO = ("all", "hardest", "none")
MOST_BYTES = 40_000_000  # of pictures and audio, encoded in the page
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
HEIGHT, SECOND, WIDEST = 160, 60, 4000  # spectrogram in pixels: height, width per second, largest width


@dataclass(kw_only=True)
class Options:
    """The options of `singtech report`."""

    data: str = option("NAME", "one corpus only", "")
    audio: str = option("WHICH", "recordings that can be heard: all, hardest (of the 25 hardest clips), none", "all")
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
    takes, sounds = render_recordings(collated, data, clips, audio)
    path = folder / "report.html"
    write_report(path, answer, clips, pages, takes, sounds)
    return path


def render_recordings(
    collated: Collated, data: str, clips: ClipProbabilities | None, audio: str
) -> tuple[dict[str, Take], dict[str, object]]:
    """Read each test recording from the clip store, and make its picture and sound. The hardest come first.

    A recording has no sound once pictures and sounds exceed `MOST_BYTES`.

    Returns:
        recording -> picture and sound; and settings of the page: `clip_seconds`, `khz`, and `silent`, the reason why
        some recordings have no sound.
    """
    from tqdm import tqdm

    sounds: dict[str, object] = {"clip_seconds": 0, "khz": 0, "silent": ""}
    if clips is None:
        return {}, sounds
    store = _find_store(collated, data)
    if store is None:
        command = prepare(command_end(collated, data))
        sounds["silent"] = f"The clips are not here, so no recording is heard or seen; `{command}` makes them."
        return {}, sounds
    groups = dict(list(store.clips.groupby("recording")))
    rate = store.sample_rate
    hardness = clips.clips.assign(true=clips.true).groupby("recording")["true"].min().sort_values(kind="stable")
    order = [recording for recording in hardness.index if recording in groups]
    audible = {"all": set(order), "hardest": set(hardest_clips(clips)["recording"]) & set(order), "none": set()}[audio]
    takes, free_bytes = {}, MOST_BYTES
    for recording in tqdm(order, unit="recording", desc="pictures and audio", leave=False):
        rows = groups[recording]
        samples = np.concatenate([store.waveforms[row][:length] for row, length in rows["samples"].items()])
        content, width = _draw_picture(samples, rate)
        picture, sound = data_uri(content, "image/webp"), ""
        free_bytes -= len(picture)
        if recording in audible and free_bytes > 0:
            sound = data_uri(_encode_mp3(samples, rate), "audio/mpeg")
            free_bytes -= len(sound)
        takes[recording] = Take(sound if free_bytes >= 0 else "", picture, width)  # if full, easier ones are silent too
    silent = _describe_silence(audio, sum(bool(take.audio) for take in takes.values()), len(audible), len(takes))
    return takes, {"clip_seconds": store.clip_seconds, "khz": rate / 2000, "silent": silent}


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

    state = collated.state(data)
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
    """Draw (S,) int16 samples as a small spectrogram, compressed in time if long; return the WebP and its width."""
    from matplotlib import colormaps
    from PIL import Image

    width = min(max(8, round(len(samples) / rate * SECOND)), WIDEST)  # WebP allows at most 16,383
    n_fft = 1 << round(np.log2(0.046 * rate))
    padded = np.pad(samples.astype(np.float32) / 32768, (n_fft // 2, n_fft))
    starts = np.linspace(0, len(samples), width, endpoint=False).astype(int)
    frames = padded[starts[:, None] + np.arange(n_fft)] * np.hanning(n_fft).astype(np.float32)
    decibels = 20 * np.log10(np.abs(np.fft.rfft(frames))[:, 1:] + 1e-6)
    bins = np.linspace(0, decibels.shape[1], HEIGHT + 1).astype(int)
    rows = np.stack([decibels[:, a : max(b, a + 1)].max(axis=1) for a, b in pairwise(bins)])
    shade = np.clip((rows - rows.max()) / 80 + 1, 0, 1)[::-1]
    file = io.BytesIO()
    Image.fromarray((colormaps["magma"](shade)[..., :3] * 255).astype(np.uint8)).save(file, "WEBP", quality=60)
    return file.getvalue(), width
