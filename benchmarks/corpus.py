"""Synthetic recordings in VocalSet's layout, made quickly: wobbling tones in noise, no two alike."""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np
import soundfile

from singtech.corpus.clip_store import Corpus, prepare
from singtech.techniques import TECHNIQUES

SAMPLE_RATE = 44100
TRAINS, TESTED = "ann", "ben"


def write_recordings(root: Path, recordings: int, seconds: float = 9.5, suffix: str = "wav") -> list[Path]:
    """So many 16-bit recordings by a singer who trains, techniques in turn, and one of each by one who is tested."""
    draw = np.random.default_rng(0)
    time = 2 * np.pi * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = (
        0.3 * np.sin(220 * time + 3 * np.sin(5 * time)) + 0.1 * np.sin(880 * time) + 0.02 * draw.normal(size=len(time))
    )
    tone = np.round(32767 * tone).clip(-32768, 32767).astype(np.int16)
    paths = []
    for singer, number in ((TRAINS, recordings), (TESTED, len(TECHNIQUES))):
        for k in range(number):
            technique = TECHNIQUES[k % len(TECHNIQUES)]
            path = root / singer / "scales" / technique / f"{singer}_{technique}_{k}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.roll(tone, int(draw.integers(len(tone)))), SAMPLE_RATE)
            paths.append(path)
    return paths


def prepared(root: Path, folder: Path) -> Corpus:
    """The clips of such recordings, cut as VocalSet's are, without a bar."""
    with redirect_stderr(StringIO()):
        return prepare(root, folder, name="bench", techniques=TECHNIQUES, split={"test": [TESTED]})
