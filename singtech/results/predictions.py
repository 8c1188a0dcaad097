"""What a run said of every clip: read back from its folder, without torch.

`predictions.csv` has one row a test clip, `validation.csv` one a clip of the validation singers, where there are some.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS, VALIDATION = "predictions.csv", "validation.csv"
_TEXT = dict.fromkeys(("recording", "singer", "technique", "context"), str)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The clips of one run's test (or validation) singers, and what it makes of each.

    Attributes:
        clips: N rows: recording, singer, technique, context ("" where the run did not keep it), start (seconds).
        techniques: K names, in the order of the logits.
        logits: (N, K) float32.
    """

    clips: "pd.DataFrame"
    techniques: tuple[str, ...]
    logits: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """(N,) index of each clip's technique."""
        return self.clips["technique"].map({name: k for k, name in enumerate(self.techniques)}).to_numpy(dtype=int)

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) the softmax of the logits."""
        odds = np.exp(self.logits - self.logits.max(axis=1, keepdims=True), dtype=np.float64)
        return odds / odds.sum(axis=1, keepdims=True)


def read_predictions(path: Path) -> Predictions:
    """The predictions of a run, from `runs/<run>/predictions.csv`.

    Raises:
        FileNotFoundError: they are not there, as where only the collated files were brought.
        ValueError: the file is damaged.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=_TEXT, keep_default_na=False)
        names = [name for name in frame if name.startswith("logit_")]
        techniques = tuple(name.removeprefix("logit_") for name in names)
        frame = frame.assign(**{name: "" for name in ("context",) if name not in frame})
        clips = frame[["recording", "singer", "technique", "context", "start"]]
        logits = frame[names].to_numpy(dtype=np.float32)
        if not len(frame) or not set(frame["technique"]) <= set(techniques) or not np.isfinite(logits).all():
            raise ValueError("it holds no clips, techniques without a logit, or logits that are not finite")
    except (KeyError, ValueError) as error:  # pandas' parser errors are ValueErrors
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged ({why}); `singtech store check=true` sets it aside.") from error
    return Predictions(clips, techniques, logits)
