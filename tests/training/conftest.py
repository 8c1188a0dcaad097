"""A corpus small enough to train on in a second: tones whose pitch, or its wobble, tells the technique."""

import hashlib
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

TECHNIQUES = ("straight", "trill", "vibrato")


class TinyCorpus:
    """What training asks of a corpus, in memory: 30 training, 6 validation and 12 test clips of 0.6 s at 8 kHz."""

    name = "tiny"
    sample_rate, clip_seconds, techniques, fold, state = 8000, 0.6, TECHNIQUES, None, "0123456789abcdef" * 4

    def __init__(self, counts=(16, 9, 5), validation=2, test=4, seed=0):
        draw = np.random.default_rng(seed)
        rows, waveforms = [], []
        for split, per_technique in (("train", counts), ("validation", (validation,) * 3), ("test", (test,) * 3)):
            for technique, clips in zip(TECHNIQUES, per_technique, strict=True):
                for number in range(clips):
                    rows.append(
                        {
                            "recording": f"{split}/{technique}_{number}.wav",
                            "singer": f"{split}{number % 2}",
                            "technique": technique,
                            "context": "scales",
                            "split": split,
                            "start": 0.0,
                            "samples": 4800,
                        }
                    )
                    waveforms.append(tone(technique, draw))
        self.clips, self.waveforms = pd.DataFrame(rows), np.stack(waveforms)

    def rows(self, split):
        return np.flatnonzero((self.clips["split"] == split).to_numpy())

    def targets(self, split):
        names = self.clips.loc[self.rows(split), "technique"]
        return np.array([self.techniques.index(name) for name in names], dtype=np.int64)

    def counts(self, split):
        return np.bincount(self.targets(split), minlength=len(self.techniques))

    def fingerprint(self, split):
        return hashlib.sha256(self.waveforms[self.rows(split)].tobytes() + split.encode()).hexdigest()

    def identity(self):
        return {"data_fingerprint": self.fingerprint("train")[:16], "corpus_fingerprint": self.state[:16]}


def tone(technique, draw):
    """(4800,) int16: a held, a shaking or a slowly wobbling tone in noise."""
    time = np.arange(4800) / 8000
    rate, extent = {"straight": (0, 0), "trill": (12, 0.15), "vibrato": (5, 0.04)}[technique]
    phase = 2 * np.pi * draw.uniform(300, 600) * (time - extent * np.cos(2 * np.pi * rate * time) / max(rate, 1) / 6)
    wave = sum(np.sin(k * phase) / k for k in range(1, 6)) + 0.1 * draw.normal(size=len(time))
    return np.round(6000 * wave).clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="session")
def corpus():
    return TinyCorpus()


@contextmanager
def single_threaded():
    """Bit for bit holds on the CPU at one thread count."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def one_thread():
    with single_threaded():
        yield
