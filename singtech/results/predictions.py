"""A run's logits for every clip, and the scores from them: read from its folder, without torch.

`predictions.csv` has one row per test clip, `validation.csv` one per clip of the validation singers, if there are any.
They are the source of every score. A system that named techniques without probabilities has columns `label_…` (1 for
the technique that it named, else 0) instead of `logit_…`.
"""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech import metrics
from singtech.errors import Damaged, Newer, NotThere
from singtech.io.stored import reading
from singtech.results.rows import COMPLETE, check_result, read_row

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS, VALIDATION, CONFUSION = "predictions.csv", "validation.csv", "confusion.csv"
LOGIT, LABEL = "logit_", "label_"  # begin the columns of a technique
CLIP = ("recording", "singer", "technique", "context", "start")  # the columns before them
_TEXT = dict.fromkeys(("recording", "singer", "technique", "context"), str)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The clips of one run's test (or validation) singers, and the logits of each.

    Attributes:
        clips: N rows: recording, singer, technique, context ("" if the run did not store it), start (seconds); pooled
            from folds, the fold too.
        techniques: K names, in the order of the logits.
        logits: (N, K) float32.
        has_labels_only: whether the logits are 1 for the technique that a system named and 0 for the others.
    """

    clips: "pd.DataFrame"
    techniques: tuple[str, ...]
    logits: np.ndarray
    has_labels_only: bool = False

    @property
    def targets(self) -> np.ndarray:
        """(N,) index of each clip's technique."""
        return self.clips["technique"].map({name: k for k, name in enumerate(self.techniques)}).to_numpy(dtype=int)

    @property
    def units(self) -> "pd.Series":
        """What an interval deletes one of: the singer of each clip; its fold, if they are pooled from folds."""
        return self.clips["fold" if "fold" in self.clips else "singer"]

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) the softmax of the logits; of labels, 1 for the named technique."""
        return self.logits.astype(float) if self.has_labels_only else metrics.softmax(self.logits)

    def score(self) -> dict[str, float]:
        """Return every metric, each clip counted once."""
        return metrics.score_clips(self.targets, self.logits, self.techniques, self.has_labels_only)

    def to_csv(self) -> str:
        """The text of their file."""
        import pandas as pd

        prefix = LABEL if self.has_labels_only else LOGIT
        columns = pd.DataFrame(self.logits, columns=[f"{prefix}{name}" for name in self.techniques])
        return pd.concat([self.clips, columns], axis=1).to_csv(index=False)

    def confusion_csv(self) -> str:
        """The text of the file of their confusion matrix."""
        import pandas as pd

        counts = metrics.count_confusions(self.targets, self.logits)
        return pd.DataFrame(counts, pd.Index(self.techniques, name="technique"), list(self.techniques)).to_csv()

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """metric -> (R,) values of every metric for (R, N) weights of the clips; nan where it is not defined."""
        return metrics.score_weightings(self.targets, self.logits, self.techniques, weights, self.has_labels_only)

    def shares(self, weights: np.ndarray) -> np.ndarray:
        """(R, K, K) share of each true technique's weighted clips predicted as each technique; nan if it has none."""
        counts = metrics.WeightedClips(self.targets, self.logits, weights).confusions
        return metrics.divide(counts, counts.sum(axis=2, keepdims=True))


def pool(folds: Mapping[str, Predictions]) -> Predictions:
    """Pool the predictions of the folds of a corpus, which have the same techniques."""
    import pandas as pd

    first, *_ = folds.values()
    clips = pd.concat([each.clips.assign(fold=fold) for fold, each in folds.items()], ignore_index=True)
    logits = np.concatenate([each.logits for each in folds.values()])
    return Predictions(clips, first.techniques, logits, any(each.has_labels_only for each in folds.values()))


def read_predictions(path: Path) -> Predictions:
    """Read a run's predictions from `runs/<run>/predictions.csv`, and compare their digest with that in the run's row.

    Raises:
        NotThere: they are absent, for example if only the collated files were copied.
        Damaged: the file is damaged, or has changed since the run ended.
    """
    import pandas as pd

    if not path.exists():
        raise NotThere(f"{path} is absent.")
    row: dict = {}
    with suppress(Damaged, Newer):
        row = read_row(path.parent) or {}
    with reading(path, "`singtech store check=true` sets it aside"):
        content = check_result(path.read_bytes(), path.name, row)
        frame = pd.read_csv(io.BytesIO(content), dtype=_TEXT, keep_default_na=False)
        prefix = LABEL if any(name.startswith(LABEL) for name in frame) else LOGIT
        names = [name for name in frame if name.startswith(prefix)]
        techniques = tuple(name.removeprefix(prefix) for name in names)
        clips = (frame if "context" in frame else frame.assign(context=""))[[*CLIP]]
        logits = frame[names].to_numpy(dtype=np.float32)
        if not len(frame) or not set(frame["technique"]) <= set(techniques) or not np.isfinite(logits).all():
            raise ValueError("it holds no clips, techniques without a logit, or logits that are not finite")
    return Predictions(clips, techniques, logits, prefix == LABEL)


def score(row: dict, folder: Path) -> dict:
    """Add the metrics that a row lacks from its predictions; those of a row of schema 0 replace its own.

    A row of schema 0 without predictions keeps its scores.

    Raises:
        Damaged: the predictions are damaged.
    """
    is_whole = row.get("digest") and not metrics.list_missing(row)
    if row["status"] != COMPLETE or is_whole or not (folder / PREDICTIONS).is_file():
        return row
    scores = read_predictions(folder / PREDICTIONS).score()
    return row | scores if not row.get("digest") else scores | row
