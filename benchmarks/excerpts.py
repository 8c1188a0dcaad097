"""Which techniques pooled maps hold: `python -m benchmarks.excerpts FOLDER [NETWORK ...]`, in a minute or two.

FOLDER holds recordings of a second, <singer>/…/<technique>/<name>, at 12 kHz or more. A linear probe on what the
aggregation makes of maps learns from all singers but one and names the clips of that one. It probes untrained
networks of each pooling and aggregation, five seeds each, or exported ones (`singtech export`), whose input is a
second and zeros.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import librosa
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from singtech.inference.saved import read_model
from singtech.models.network import Network, oblong_network
from singtech.training.recalibration import recalibrate

RATE, SEEDS = 12000, 5
FRONT_END = {"n_fft": 512, "win_lengths": (512, 256, 128), "hop_length": 120}  # 101 frames of a second
WAYS = (("table1", "average"), ("fine", "average"), ("fine", "statistics"), ("bins", "average"), ("bins", "statistics"))
WAYS += (("bins", "modulation"),)


def read(folder: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """(N, S) waveforms of a second, (N,) techniques, (N,) singers."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".mp3"))
    clips = [librosa.util.fix_length(librosa.load(path, sr=RATE)[0], size=RATE) for path in paths]
    singers = [path.relative_to(folder).parts[0] for path in paths]
    return torch.from_numpy(np.stack(clips)), np.array([path.parent.name for path in paths]), np.array(singers)


@torch.inference_mode()
def pooled(network: Network, waveforms: Tensor) -> np.ndarray:
    """(N, D) what aggregation makes of the last maps."""
    extractor = network.extractor
    maps = [extractor.convolutions(network.front_end(batch)) for batch in waveforms.split(25)]
    return torch.cat([extractor.aggregation(each) for each in maps]).numpy()


def probe(features: np.ndarray, techniques: np.ndarray, singers: np.ndarray) -> np.ndarray:
    """(K,) F1 of each technique, in the order of their names."""
    named = np.empty_like(techniques)
    for singer in np.unique(singers):
        others = singers != singer
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
        named[~others] = model.fit(features[others], techniques[others]).predict(features[~others])
    return f1_score(techniques, named, average=None, labels=np.unique(techniques))


def untrained(pooling: str, aggregation: str, waveforms: Tensor) -> Iterable[Network]:
    """Networks with their initial weights, and batch norm's statistics of these clips."""
    for seed in range(SEEDS):
        options = {"pooling": pooling, "aggregation": aggregation, "dropout": 0.0, "seconds": 1.0}
        network = oblong_network(RATE, 5, FRONT_END, seed, **options)
        recalibrate(network, [waveforms[part::3] for part in range(3)])
        yield network.eval()


def main(words: list[str]) -> None:
    """Print a line for each way: mean and deviation of macro-F1 over networks, and the mean F1 of each technique."""
    waveforms, techniques, singers = read(Path(words[0]))
    print("networks", "macro-F1", *np.unique(techniques), sep=" | ")
    groups = {f"{p}, {a}": untrained(p, a, waveforms) for p, a in WAYS}
    if exported := [read_model(Path(word)) for word in words[1:]]:
        samples = exported[0][1].samples
        waveforms = torch.nn.functional.pad(waveforms, (0, samples - RATE))
        groups = {f"{len(exported)} exported": (network for network, _ in exported)}
    for name, networks in groups.items():
        scores = np.stack([probe(pooled(network, waveforms), techniques, singers) for network in networks])
        macro = scores.mean(axis=1)
        spread = f" ± {macro.std(ddof=1):.3f}" if len(macro) > 1 else ""
        print(name, f"{macro.mean():.3f}{spread}", *(f"{f1:.3f}" for f1 in scores.mean(axis=0)), sep=" | ", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
