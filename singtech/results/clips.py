"""What each condition makes of each test clip: which clips are hard, and where two conditions differ.

A condition names a clip by the mean of its seeds' probabilities; what each seed names alone is kept beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from singtech.results.breakdown import predictions_of
from singtech.results.predictions import Predictions
from singtech.results.summaries import Answer

HARDEST = 25
UNKNOWN = -1  # in place of a named technique


@dataclass(frozen=True)
class RecordingMedia:
    """Sound and picture of one recording: data URIs, or "" where there is none.

    Attributes:
        width: of the picture in pixels.
        seconds: of sound.
    """

    audio: str = ""
    picture: str = ""
    width: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ClipProbabilities:
    """What each condition makes of each test clip.

    Attributes:
        labels: of the C conditions.
        clips: N rows: recording, singer, technique, context, start.
        techniques: K names.
        probabilities: (C, N, K) the mean over the condition's seeds; nan where it was not tested on these clips.
        seeds: for each condition (S, N), the index of the technique that each of its S seeds names.
    """

    labels: tuple[str, ...]
    clips: pd.DataFrame
    techniques: tuple[str, ...]
    probabilities: np.ndarray
    seeds: tuple[np.ndarray, ...]

    @property
    def targets(self) -> np.ndarray:
        """(N,) index of each clip's technique."""
        return self.clips["technique"].map(self.techniques.index).to_numpy()

    @property
    def true(self) -> np.ndarray:
        """(N,) the mean probability of the true technique over the conditions."""
        targets = self.targets
        return np.nanmean(self.probabilities[:, np.arange(len(targets)), targets], axis=0)

    @property
    def named(self) -> np.ndarray:
        """(C, N) index of the technique that each condition names; `UNKNOWN` where it was not tested."""
        is_known = np.isfinite(self.probabilities).all(axis=2)
        return np.where(is_known, np.nan_to_num(self.probabilities).argmax(axis=2), UNKNOWN)


def clip_probabilities(answer: Answer) -> ClipProbabilities | None:
    """Average the predictions of each condition's runs; None where no predictions are stored."""
    predictions = predictions_of(answer)
    if not predictions:
        return None
    first = next(iter(predictions.values()))[0]
    probabilities, seeds = np.full((len(predictions), *first.logits.shape), np.nan), []
    for k, runs in enumerate(predictions.values()):
        alike = [run for run in runs if _is_alike(run, first)]
        if alike:
            probabilities[k] = np.mean([run.probabilities for run in alike], axis=0)
        named = [run.logits.argmax(axis=1) for run in alike]
        seeds.append(np.array(named, dtype=int).reshape(len(alike), len(first.clips)))
    clips = first.clips.reset_index(drop=True)
    return ClipProbabilities(tuple(predictions), clips, first.techniques, probabilities, tuple(seeds))


def wrong_clips(clips: ClipProbabilities) -> pd.DataFrame:
    """The clips that the mean over all conditions names wrongly, the one whose technique is least probable first: with
    the `probability` of the true technique, and the most probable one and its probability as `predicted` and
    `probability_predicted`."""
    mean = np.nanmean(clips.probabilities, axis=0)
    named = mean.argmax(axis=1)
    scores = {"probability": clips.true, "probability_predicted": mean.max(axis=1)}
    table = clips.clips.assign(predicted=[clips.techniques[k] for k in named], **scores)
    return table[named != clips.targets].sort_values("probability", kind="stable")


def compare(clips: ClipProbabilities) -> np.ndarray:
    """(C, C) McNemar's exact p of each two conditions: of the clips that one alone names rightly, how probable is a
    division as uneven as this or more, if either were as likely? 1 where they never differ, or share no clips.

    It takes clips as independent. Those of a singer are not, so that p is too small.
    """
    from scipy.stats import binom

    named = clips.named
    right, is_known = named == clips.targets, named != UNKNOWN
    fixed = (right[:, None] & ~right & is_known).sum(axis=2)  # the first alone is right
    return np.minimum(1, 2 * binom.cdf(np.minimum(fixed, fixed.T), fixed + fixed.T, 0.5))


def describe_recordings(clips: ClipProbabilities, media: Mapping[str, RecordingMedia]) -> list[dict]:
    """Each test recording with its clips: by condition the per mille of each technique, the technique that it names,
    and those that its seeds name, by index; None for a condition that was not tested on them."""
    recordings, mean = [], clips.named
    for recording, rows in clips.clips.groupby("recording", sort=True):
        own, first = media.get(str(recording), RecordingMedia()), rows.iloc[0]
        each = []
        for n, start in rows["start"].items():
            by = clips.probabilities[:, n]
            per_mille = [None if np.isnan(p).any() else np.rint(1000 * p).astype(int).tolist() for p in by]
            named = [None if k == UNKNOWN else int(k) for k in mean[:, n]]
            seeds = [one[:, n].tolist() for one in clips.seeds]
            each.append({"start": float(start), "by": per_mille, "named": named, "seeds": seeds})
        words = {name: first[name] for name in ("singer", "technique", "context")}
        recordings.append({"name": recording, **words, **vars(own), "clips": each})
    return recordings


def _is_alike(one: Predictions, other: Predictions) -> bool:
    """Whether predictions are of the same clips and techniques."""
    pairs = [list(zip(each.clips["recording"], each.clips["start"], strict=True)) for each in (one, other)]
    return one.techniques == other.techniques and pairs[0] == pairs[1]
