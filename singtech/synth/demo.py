"""Make the demo corpus: twenty virtual singers in VocalSet's folders, to try everything without a download.

All recordings are synthetic (voice.py). About 405 training clips are a ninth of VocalSet's; about 424 test clips are a
third, so that a few mistakes hardly move a score. The corpus has VocalSet's ten techniques, long tail of clip counts,
official split of singers, names and contexts (inhaled, trill and trillo are only long tones, spoken is only excerpts,
vibrato has no long tones). A score on it is no evidence about real singing.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path

import numpy as np

from singtech.corpus.vocalset import CLIP_SECONDS, CLIPS, TEST_SINGERS
from singtech.errors import Damaged, require
from singtech.io.atomic import atomic_folder, remove_temporary_files
from singtech.io.lock import hold
from singtech.io.terminal import progress_bar
from singtech.streams import derive_seed
from singtech.synth.voice import VOWELS, Note, Singer, sing

SCHEMA = 2  # version; the same settings make the same recordings in one version

SINGERS = (*(f"female{i}" for i in range(1, 10)), *(f"male{i}" for i in range(1, 12)))
MIN_CLIPS = {"train": 10, "test": 20}  # clips of the rarest technique, which must be learned and scored

CONTEXTS = {
    "belt": ("arpeggios", "scales"),
    "breathy": ("scales", "arpeggios"),
    "inhaled": ("long_tones",),
    "lip_trill": ("arpeggios", "scales"),
    "spoken": ("excerpts",),
    "straight": ("long_tones", "scales", "excerpts", "arpeggios"),
    "trill": ("long_tones",),
    "trillo": ("long_tones",),
    "vibrato": ("scales", "excerpts", "arpeggios"),
    "vocal_fry": ("scales", "arpeggios"),
}
CLIPS_PER_RECORDING = {"arpeggios": 1, "scales": 2, "long_tones": 1, "excerpts": 3}

# Semitones above the tonic.
FIGURES = {
    "arpeggios": (0, 4, 7, 12, 7, 4, 0),
    "scales": (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0),
}

# VocalSet's three excerpts, in the public domain: the round "Row, row, row your boat", Giordani's "Caro mio ben"
# (to "senza di te languisce il cor") and the round "Dona nobis pacem". A syllable is consonant-vowel, its semitones
# above the tonic, its beats; consonants are n (nasal, liquid), t (stop), s (fricative); "." is a rest.
EXCERPTS = {
    "row": "no 0 3, no 0 3, no 0 2, no 2 1, to 4 3, to 4 2, ni 2 1, ta 4 2, ta 5 1, si 7 5, . 7 1,"
    "ne 12 1, ni 12 1, ni 12 1, ne 7 1, ni 7 1, ni 7 1, ne 4 1, ni 4 1, ni 4 1, ne 0 1, ni 0 1, ni 0 1,"
    "na 7 2, i 5 1, ta 4 2, ta 2 1, ti 0 5, . 0 1",
    "caro": "ta 12 4, no 11 3, i 9 1, te 7 8, te 9 4, ti 7 3, na 5 1, ne 4 7, . 4 1, se 5 4, sa 4 2, ti 2 2, te 7 8,"
    "na 0 4, i -1 2, se 0 2, to 4 4, o 2 7, . 2 1",
    "dona": "to 0 1, o -5 1, na 4 4, no 2 1, o -5 1, i 5 4, ta 4 2, a 2 2, se 0 2, ta 0 2, se -1 3, . -1 1, to 9 2,"
    "o 7 1, o 5 1, na 4 1, a 2 1, no 7 3, o 5 1, i 4 2, ta 4 1, a 2 1, a 0 2, a -1 2, se 0 5, . 0 1",
}
BEAT_SECONDS = {"row": 0.26, "caro": 0.19, "dona": 0.33, "spoken": 0.11}


@dataclass(frozen=True)
class Recording:
    """A recording to make: its singer, technique and figure, and its seconds."""

    path: str  # below the corpus's folder, as in VocalSet
    singer: str
    context: str
    technique: str
    figure: str  # a vowel, or one of the excerpts
    seconds: float


def synthesise(
    root: str | Path, seed: int = 0, sample_rate: int = 16000, clips_train: int = 400, clips_test: int = 400
) -> Path:
    """Make the demo corpus in a folder below `root`, if the folder does not exist, and return its path.

    Args:
        root: has one folder for each choice of settings, with FULL/ and the settings in demo.json.
        seed: of the singers and all recordings; the same seed gives the same bytes.
        sample_rate: of the recordings, 16 bit mono, in Hz.
        clips_train, clips_test: approximate clips of 3 s of the 15 training and the 5 test singers;
            rare techniques have at least `MIN_CLIPS`.
    Raises:
        InvalidValue: the sample rate is out of range.
        Damaged: the folder exists and has another content.
    """
    require(8000 <= sample_rate <= 48000, "data.source.sample_rate", sample_rate, "Hz from 8000 to 48000")
    settings = {"corpus": "synthetic demo of singtech", "schema": SCHEMA, "seed": seed, "sample_rate": sample_rate}
    settings |= {"clips_train": clips_train, "clips_test": clips_test}
    folder = Path(root) / f"demo{SCHEMA}-seed{seed}-{sample_rate}Hz-{clips_train}-{clips_test}"
    recordings = plan_recordings(seed, clips_train, clips_test)
    if not folder.exists():
        with hold(folder, f"{folder} is being made"):
            if not folder.exists():  # another process may have made it
                remove_temporary_files(folder)
                _write(folder, settings, recordings)
    _check(folder, settings, recordings)
    return folder


def plan_recordings(seed: int, clips_train: int, clips_test: int) -> list[Recording]:
    """Plan every recording: distribute the clips of each technique over singers and contexts."""
    recordings = []
    for split, clips in (("train", clips_train), ("test", clips_test)):
        singers = [name for name in SINGERS if (name in TEST_SINGERS) == (split == "test")]
        fewest = max(1, min(MIN_CLIPS[split], clips // 20))
        total = sum(CLIPS[split].values())  # of VocalSet
        for technique, vocalset_clips in CLIPS[split].items():
            technique_clips = max(fewest, round(clips * vocalset_clips / total))
            recordings += _distribute(technique, singers, technique_clips, make_stream(seed, f"{split}/{technique}"))
    return sorted(recordings, key=lambda recording: recording.path)


def make_notes(recording: Recording, singer: Singer, rng: np.random.Generator) -> list[Note]:
    """Make the notes of a recording, with a short rest before and after; their total length is its seconds."""
    first_rest, last_rest = rng.uniform(0.1, 0.3, size=2)
    sung_seconds = recording.seconds - first_rest - last_rest
    tonic = singer.tonic
    if recording.context == "excerpts":
        syllables = _list_syllables(recording, sung_seconds)
    elif recording.context == "long_tones":
        syllables = [(recording.figure, "", float(rng.integers(2, 10)), 1.0)]
    else:
        beats = rng.uniform(0.92, 1.08, len(FIGURES[recording.context]))
        beats[-1] += 0.7
        syllables = [
            (recording.figure, "", step, beat) for step, beat in zip(FIGURES[recording.context], beats, strict=True)
        ]
    scale = sung_seconds / sum(beats for *_, beats in syllables)
    notes = [Note(scale * beats, tonic + step, vowel, consonant) for vowel, consonant, step, beats in syllables]
    return [Note(first_rest, tonic, ""), *notes, Note(last_rest, tonic, "")]


def make_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of one singer or recording, independent of the others."""
    return np.random.default_rng(derive_seed(seed, name))


def _distribute(technique: str, singers: Sequence[str], clips: int, rng: np.random.Generator) -> list[Recording]:
    """Distribute recordings of one technique, with `clips` in all, over the singers and contexts in turn."""
    recordings: list[Recording] = []
    takes: Counter[tuple[str, str]] = Counter()
    contexts = CONTEXTS[technique]
    order = [str(name) for name in rng.permutation(singers)]
    for turn in count():
        if clips == 0:
            return recordings
        round_, position = divmod(turn, len(order))
        singer, context = order[position], contexts[(position + round_) % len(contexts)]
        recording_clips = 1 if technique == "spoken" else min(CLIPS_PER_RECORDING[context], clips)
        clips -= recording_clips
        seconds = CLIP_SECONDS * recording_clips + rng.uniform(0.2, 2.2)
        if technique == "inhaled" and clips == 0 and turn:
            seconds = 0.8 * CLIP_SECONDS  # shorter than a clip, like six of VocalSet's
        figures = ("row",) if technique == "spoken" else tuple(EXCERPTS) if context == "excerpts" else VOWELS
        earlier_takes = takes[singer, context]
        takes[singer, context] += 1
        figure = figures[(position // len(contexts) + earlier_takes) % len(figures)]
        name = f"{figure}_{technique}" if context == "excerpts" else f"{context}_{technique}_{figure}"
        name = f"{singer[0]}{singer.lstrip('femal')}_{name.replace('long_tones', 'long')}"
        if earlier_takes >= len(figures):
            name += f"_{earlier_takes // len(figures) + 1}"
        path = f"FULL/{singer}/{context}/{technique}/{name}.wav"
        recordings.append(Recording(path, singer, context, technique, figure, seconds))
    return recordings


def _list_syllables(recording: Recording, seconds: float) -> list[tuple[str, str, float, float]]:
    """List (vowel, consonant, semitones above the tonic, beats) of an excerpt, to last these seconds."""
    is_spoken = recording.technique == "spoken"
    beat_seconds = BEAT_SECONDS["spoken" if is_spoken else recording.figure]
    syllables = []
    for syllable in cycle(EXCERPTS[recording.figure].split(",")):
        sounds, *numbers = syllable.split()
        step, length = map(float, numbers)
        if is_spoken:  # lower than the song, with smaller steps in pitch and length
            step, length = 0.15 * step - 2, 1.5 * np.sqrt(length)
        syllables.append((sounds[-1].strip("."), sounds[:-1], step, length))
        seconds -= beat_seconds * length
        if seconds <= 0:
            return syllables
    return syllables


def _write(folder: Path, settings: dict, recordings: Sequence[Recording]) -> None:
    """Write every recording into a folder, whole or not at all."""
    from scipy.io import wavfile

    singers = {name: Singer(name, make_stream(settings["seed"], name)) for name in SINGERS}
    with atomic_folder(folder) as temporary:
        for recording in progress_bar("making demo voices", "recordings", items=recordings):
            rng = make_stream(settings["seed"], recording.path)
            singer = singers[recording.singer]
            notes = make_notes(recording, singer, rng)
            waveform = sing(notes, recording.technique, singer, rng, settings["sample_rate"])
            path = temporary / recording.path
            path.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(path, settings["sample_rate"], np.round(32767 * waveform).astype("<i2"))
        (temporary / "demo.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _check(folder: Path, settings: dict, recordings: Sequence[Recording]) -> None:
    """Check without a lock that a folder is the corpus of these settings, with every recording.

    Raises:
        Damaged: it is another or incomplete.
    """
    try:
        content = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if content != settings or not all((folder / recording.path).is_file() for recording in recordings):
        raise Damaged(f"{folder} is not the whole demo corpus of these settings: move it away, and it is made again.")
