"""Predict the test and validation singers' clips, or whole recordings, with a run's stored phases."""

import numpy as np
import pandas as pd
import torch

from singtech.corpus.clip_store import Corpus
from singtech.corpus.datamodule import Windows
from singtech.results.predictions import Predictions
from singtech.training.fit import Run, clip_features
from singtech.training.forest import forest_logits
from singtech.training.phase_store import StoredPhase
from singtech.training.trainer import Machine

COLUMNS = ["recording", "singer", "technique", "context", "start"]


def scored_clips(run: Run, corpus: Corpus, split: str) -> pd.DataFrame:
    """List what is scored: the origin of each clip of a split, or of the first clip of each of its recordings."""
    clips = corpus.clips.loc[corpus.rows(split), COLUMNS].reset_index(drop=True)
    return clips if run.scoring.unit == "clip" else clips.drop_duplicates("recording", ignore_index=True)


def predict(run: Run, stored: tuple[StoredPhase, ...], corpus: Corpus, split: str, machine: Machine) -> Predictions:
    """Predict a split, from stored features by the last phase's classifier, on the CPU in float32.

    A recording's logits are the mean log-probabilities of its windows.
    """
    features = clip_features(run, stored, corpus, split, machine, scoring=run.scoring)
    logits = _classify(run, stored, corpus, machine, features)
    if run.scoring.unit == "recording":
        frame = pd.DataFrame(torch.from_numpy(logits).double().log_softmax(dim=1).numpy())
        means = frame.groupby(Windows(corpus, split, run.scoring.hop).recordings, sort=True).mean()
        logits = means.to_numpy(np.float32)
    return Predictions(scored_clips(run, corpus, split), corpus.techniques, logits)


def _classify(
    run: Run, stored: tuple[StoredPhase, ...], corpus: Corpus, machine: Machine, features: np.ndarray
) -> np.ndarray:
    """(N, K) logits of (N, D) features.

    A forest is not stored: each call trains it again on the stored features of the training clips.
    """
    if run.forest is not None:
        known = clip_features(run, stored, corpus, "train", machine)
        options = (run.names["alpha"], run.setup.seed)
        return forest_logits(run.forest, known, corpus.targets("train"), features, len(corpus.techniques), *options)
    network = run.build()
    stored[-1].load_into(network)
    with torch.no_grad():
        return network.classifier.cpu().float().eval()(torch.from_numpy(features)).numpy()
