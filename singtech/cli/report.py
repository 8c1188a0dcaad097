"""One page of everything on a corpus, to open in a browser from the disk: singtech report [data=NAME] …

It renders the tables, then writes `<output_dir>/tables/<data>/report.html`, which needs nothing but itself.
    data=NAME           one corpus instead of all
    audio=all           which test recordings can be heard: all of them; those of the 25 hardest clips (hardest); or
                        none. Above 40 MB of pictures and sound the easier ones are silent, and the page says so.
    output_dir=FOLDER   where the results are, outputs by default
"""

import glob
import io
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from singtech.cli.tables import collated_corpora, render_corpus
from singtech.io.interrupts import quietly_interrupted
from singtech.results.collate import Collated
from singtech.results.commands import place_of, prepare
from singtech.results.report import Take, Told, data_uri, everything_run, hardest_clips, told_by, write_report

OPTIONS = {"data": None, "audio": "all", "output_dir": "outputs"}
AUDIO = ("all", "hardest", "none")
MOST_BYTES = 40_000_000  # of pictures and audio, as they stand in the page
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
HEIGHT, SECOND, WIDEST = 160, 60, 4000  # of a spectrogram in pixels: its height, width of a second and of all at most


@quietly_interrupted
def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence."""
    arguments = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        collated, corpora = collated_corpora(Path(options["output_dir"]), options["data"])
        for data in corpora:
            print(f"rendering the tables of {data} …", flush=True)
            path = report(collated, data, options["audio"])
            print(f"{path}, {path.stat().st_size / 1e6:.1f} MB: open it in a browser")
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def report(collated: Collated, data: str, audio: str = "all") -> Path:
    """Render the tables of a corpus and write its report; the path of that."""
    from singtech.io.atomic import write_text

    folder, answers, _ = render_corpus(collated, data)
    told = told_by(everything_run(collated, data), collated)
    takes, sounds = recordings(collated, data, told, audio)
    path = folder / "report.html"
    write_report(path, collated, data, answers, folder, takes, sounds, write_text)
    return path


def recordings(collated: Collated, data: str, told: Told | None, audio: str) -> tuple[dict[str, Take], dict]:
    """What is heard and seen of each test recording, out of the clip store, the hardest first as long as there is room;
    and what the page must know of it."""
    import pandas as pd
    from tqdm import tqdm

    sounds = {"clip_seconds": 0, "khz": 0, "silent": ""}
    if told is None:
        return {}, sounds
    store = _store(collated, data)
    if store is None:
        command = prepare(place_of(collated, data))
        sounds["silent"] = f"The clips are not here, so no recording is heard or seen; `{command}` makes them."
        return {}, sounds
    place, settings = store
    rate = int(settings["sample_rate"])
    sounds |= {"clip_seconds": settings["clip_seconds"], "khz": rate / 2000}
    clips = pd.read_csv(place / "clips.csv", dtype={"recording": str}, keep_default_na=False)
    waveforms = np.load(place / "clips.npy", mmap_mode="r", allow_pickle=False)
    rows = clips.groupby("recording").indices
    hardness = pd.Series(told.of_true).groupby(told.clips["recording"]).min().sort_values(kind="stable")
    wanted = hardness.index if audio == "all" else told.clips["recording"].iloc[hardest_clips(told)]
    wanted = set() if audio == "none" else set(wanted)
    takes, room = {}, MOST_BYTES
    wanted &= set(rows)
    for recording in tqdm(hardness.index, unit="recording", desc="pictures and audio", leave=False):
        if recording not in rows:
            continue
        samples = np.concatenate([waveforms[row][: clips["samples"][row]] for row in rows[recording]])
        picture, width = _picture(samples, rate)
        seen, heard = data_uri(picture, "image/webp"), ""
        room -= len(seen)
        if recording in wanted and room > 0:
            heard = data_uri(_mp3(samples, rate), "audio/mpeg")
            room -= len(heard)
            if room < 0:  # no easier one is heard either
                heard = ""
        takes[recording] = Take(heard, seen, width)
    sounds["silent"] = _silence(audio, sum(bool(take.audio) for take in takes.values()), len(wanted), len(takes))
    return takes, sounds


def _silence(audio: str, heard: int, wanted: int, there: int) -> str:
    """Which recordings of those there can be heard, and why no others; "" where all can."""
    if audio == "none":
        return "No recording can be heard: the page was made with audio=none."
    why = ["the page was made with audio=hardest, for those of the hardest clips"] if audio == "hardest" else []
    if heard < wanted:
        why.append(f"above {MOST_BYTES / 1e6:g} MB of pictures and sound in all, the easier ones are silent")
    return f"{heard} of {there} recordings can be heard: {'; '.join(why)}." if why else ""


def _store(collated: Collated, data: str) -> tuple[Path, dict] | None:
    """The clip store of a corpus's present state, and its settings."""
    import json

    from singtech.corpus.clip_store import stored_state

    state = collated.state(data)
    for place in sorted((collated.output_dir / "data").glob(f"{glob.escape(data)}-*")):
        try:
            if state is not None and stored_state(place)[:16] == state[0]:
                return place, json.loads((place / "corpus.json").read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _mp3(samples: np.ndarray, rate: int) -> bytes:
    """(S,) int16 as MP3 of some 50 kbit/s, which every browser plays."""
    import soundfile

    waveform, target = samples.astype(np.float32) / 32768, min((r for r in MP3_RATES if r >= rate), default=48000)
    if target != rate:
        import librosa

        waveform = librosa.resample(waveform, orig_sr=rate, target_sr=target, res_type="soxr_hq")
    file = io.BytesIO()
    soundfile.write(file, waveform, target, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.8)
    return file.getvalue()


def _picture(samples: np.ndarray, rate: int) -> tuple[bytes, int]:
    """(S,) int16 as a small spectrogram in WebP, and its width in pixels; a long recording's is compressed in time."""
    from matplotlib import colormaps
    from PIL import Image

    width = min(max(8, round(len(samples) / rate * SECOND)), WIDEST)  # WebP has no more than 16,383
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


def _options(arguments: Sequence[str]) -> dict:
    options = dict(OPTIONS)
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise ValueError(f"{argument!r} is not understood: `singtech report` takes {', '.join(options)}.")
        options[name] = value
    if options["audio"] not in AUDIO:
        raise ValueError(f"audio={options['audio']}: expected one of {', '.join(AUDIO)}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
