"""Score the predictions of any system for the clips of a protocol, and store them as a run.

The run has a row and predictions like a trained one, so every table of its corpus has it, in the group "Scored
systems". Its strategy is `scored`, its model is the system's name, and it has neither phases nor alpha.
"""

import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from singtech import metrics
from singtech.errors import Conflict, Damaged, InvalidValue
from singtech.io.atomic import decode_text, set_aside, write_bytes, write_text
from singtech.io.lock import hold
from singtech.io.stored import reading
from singtech.results.jackknife import Jackknife
from singtech.results.pages import shown, shown_change, shown_change_interval, shown_interval
from singtech.results.predictions import CLIP, CONFUSION, LOGIT, PREDICTIONS, Predictions
from singtech.results.rows import COMPLETE, RUNNING, SCORED, check_result, digests, read_row, write_row
from singtech.results.schema import protocol

PROBABILITY, TECHNIQUE = "probability_", "technique"
SUM_TOLERANCE = 0.01  # of the probabilities of a clip: they may be printed with few decimals
LEAST_PROBABILITY = 1e-30  # stands for 0, whose logarithm is infinite
SYSTEM = re.compile(r"\w[\w .,+()-]{0,79}")
Clip = tuple[str, float]  # recording, start

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Protocol:
    """The clips of a corpus on one split or fold.

    Attributes:
        data: the corpus.
        fold: "" for the corpus's own split.
        techniques: K names, in the order of the logits.
        clips: a row for each clip: recording, start (seconds), technique, singer, context, subset.
        settings: the settings of the corpus that differ from its usual ones.
        identity: the fingerprints of the corpus, as in rows; "" if its audio is not here.
    """

    data: str
    fold: str
    techniques: tuple[str, ...]
    clips: pd.DataFrame
    settings: Mapping[str, object]
    identity: Mapping[str, str]

    @property
    def test(self) -> pd.DataFrame:
        """The test clips."""
        return self.clips[self.clips["subset"] == "test"].reset_index(drop=True)


def read_system(path: Path, clips: Protocol) -> tuple[Predictions, str]:
    """Read a system's predictions for the test clips of a protocol from a CSV.

    Its columns are recording and start, and `technique`, the named technique, or one of `probability_<technique>` and
    `logit_<technique>` for every technique; then `technique` does not count. Other columns are ignored, as are
    predictions for clips that do not test. A recording's name may end in .wav or .flac.

    Returns:
        The predictions, in the order of the protocol's clips; and a sentence on what did not count, or "".
    Raises:
        InvalidValue: a column, a clip or a value is missing, doubled, foreign or impossible. The message names it.
    """
    frame = _read_frame(path)
    kind, columns = _find_columns(frame, clips.techniques, path)
    recordings = frame["recording"].str.strip().str.replace(r"\.(wav|flac)$", "", case=False, regex=True)
    starts = pd.to_numeric(frame["start"], errors="coerce").astype(float)
    _refuse(path, "start is not a number of seconds", ~np.isfinite(starts), list(recordings), frame["start"])
    rows = _match(list(zip(recordings, starts.round(3), strict=True)), clips, path)
    frame, others = frame.iloc[rows].reset_index(drop=True), len(frame) - len(rows)
    note = f"{others:,} rows do not count: their clips are not test clips." if others else ""
    test = clips.test
    names = [_describe(clip) for clip in zip(test["recording"], test["start"], strict=True)]
    if kind == TECHNIQUE:
        labels = frame[TECHNIQUE].str.strip()
        _refuse(path, "the technique is unknown", ~labels.isin(clips.techniques), names, labels)
        logits = (labels.to_numpy()[:, None] == np.array(clips.techniques)[None]).astype(np.float32)
        if (labels == test["technique"]).all():
            note = f"{note} Every label is the true one: `technique` must be what the system named.".strip()
    else:
        logits = _read_numbers(frame[columns], kind, names, path)
    return Predictions(test[[*CLIP]], clips.techniques, logits, kind == TECHNIQUE), note


def _read_frame(path: Path) -> pd.DataFrame:
    """Read a CSV as text. It has the columns recording and start."""
    text = io.StringIO(decode_text(path.read_bytes(), path))
    try:
        frame = pd.read_csv(text, dtype=str, na_filter=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as problem:
        raise InvalidValue(f"{path}: it is no CSV ({' '.join(str(problem).split())}).") from None
    frame.columns = [column.strip() for column in frame.columns]
    missing = [name for name in ("recording", "start") if name not in frame]
    if missing or not isinstance(frame.index, pd.RangeIndex):
        raise InvalidValue(
            f"{path}: expected the columns recording and start, and technique, or probability_… or logit_… for every "
            f"technique, with commas between, found {', '.join(frame.columns[:12])}."
        )
    return frame


def _find_columns(frame: pd.DataFrame, techniques: Sequence[str], path: Path) -> tuple[str, list[str]]:
    """Find out what a file predicts with: `TECHNIQUE`, or `PROBABILITY` or `LOGIT` and its columns in order."""
    found = {kind: [name for name in frame if name.startswith(kind)] for kind in (PROBABILITY, LOGIT)}
    kinds = [kind for kind, columns in found.items() if columns]
    if not kinds and TECHNIQUE in frame:
        return TECHNIQUE, []
    if len(kinds) != 1:
        both = "both probability_… and logit_…; keep one of them" if kinds else "neither"
        raise InvalidValue(
            f"{path}: expected a column technique, or probability_… or logit_… for every technique, found {both}."
        )
    (kind,) = kinds
    columns = [f"{kind}{name}" for name in techniques]
    faults = [("lacks", name) for name in columns if name not in frame]
    faults += [("has the unknown column", name) for name in found[kind] if name not in columns]
    if faults:
        words = "; ".join(f"it {fault} {name}" for fault, name in faults)
        raise InvalidValue(f"{path}: {words}. The techniques are {', '.join(techniques)}.")
    return kind, columns


def _match(keys: Sequence[Clip], clips: Protocol, path: Path) -> list[int]:
    """Find the row of each test clip. None is missing, doubled, or foreign, which means of no clip of the corpus."""
    corpus, test = (list(zip(c["recording"], c["start"].round(3), strict=True)) for c in (clips.clips, clips.test))
    known, tested = set(corpus), set(test)
    rows: dict[Clip, list[int]] = {}
    for row, clip in enumerate(keys):
        rows.setdefault(clip, []).append(row)
    faults = {
        "missing": [clip for clip in test if clip not in rows],
        "doubled": [clip for clip in rows if len(rows[clip]) > 1 and clip in tested],
        "foreign": [clip for clip in rows if clip not in known],
    }
    words = [f"{len(found):,} {fault}, such as {_describe(found[0])}" for fault, found in faults.items() if found]
    if words:
        name = f"{clips.data}, fold {clips.fold}" if clips.fold else clips.data
        raise InvalidValue(
            f"{path} does not fit the {len(test):,} test clips of {name}: {'; '.join(words)}. `singtech protocol` "
            "lists the clips."
        )
    return [rows[clip][0] for clip in test]


def _read_numbers(frame: pd.DataFrame, kind: str, names: Sequence[str], path: Path) -> np.ndarray:
    """Read (N, K) float32 logits or log-probabilities: finite; of probabilities, none below 0, that sum to 1."""
    numbers = frame.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    is_wrong = ~np.isfinite(numbers) | (np.abs(numbers) > np.finfo(np.float32).max)
    examples = [row[wrong.argmax()] for row, wrong in zip(frame.to_numpy(), is_wrong, strict=True)]
    _refuse(path, f"a {kind.rstrip('_')} is not a finite number", is_wrong.any(axis=1), names, examples)
    if kind == LOGIT:
        return numbers.astype(np.float32)
    _refuse(path, "a probability is below 0", (numbers < 0).any(axis=1), names, numbers.min(axis=1))
    sums = numbers.sum(axis=1)
    _refuse(path, "probabilities do not sum to 1", np.abs(sums - 1) > SUM_TOLERANCE, names, sums.round(4))
    return np.log(np.maximum(numbers, LEAST_PROBABILITY)).astype(np.float32)


def _refuse(path: Path, fault: str, is_wrong: Iterable, names: Sequence[str], values: Iterable) -> None:
    """Raise an error with the number of wrong rows and the first of them, if there are any."""
    rows = np.flatnonzero(np.asarray(is_wrong))
    if len(rows):
        value = list(values)[rows[0]]
        text = repr(value) if isinstance(value, str) else str(value)
        amount = f"{len(rows):,} of {len(names):,} rows"
        raise InvalidValue(f"{path}: {fault} in {amount}, such as {text} of {names[rows[0]]}.")


def _describe(clip: Clip) -> str:
    return f"{clip[0]} at {clip[1]:g} s"


def store_system(
    name: str,
    seed: int,
    predictions: Predictions,
    clips: Protocol,
    output_dir: Path,
    provenance: Mapping[str, str],
    is_replacing: bool = False,
) -> tuple[dict, bool]:
    """Store a system's predictions as a complete run. The same predictions again change nothing.

    Args:
        name: of the system.
        seed: several runs of a system have their means and deviations in tables.
        provenance: further entries of the row (commit, command).
        is_replacing: whether other predictions of the same name, seed and clips may be replaced.
    Returns:
        The row, and whether it was written now.
    Raises:
        InvalidValue: the name has characters that names of folders cannot have.
        Conflict: a run of this name and seed has other predictions.
        Newer: a newer version wrote it.
    """
    if not SYSTEM.fullmatch(name):
        raise InvalidValue(f"name={name}: expected up to 80 letters, digits, spaces and . , + - _ ( ).")
    row = _make_row(name, seed, predictions, clips) | dict(provenance)
    row["protocol"] = protocol(row)
    path, earlier = Path(output_dir, "runs", row["run"], PREDICTIONS), b""
    folder, content = path.parent, predictions.to_csv().encode("utf-8", "backslashreplace")
    with hold(folder, f"run {folder.name} is being scored"):
        try:
            stored = read_row(folder)
            if stored is not None and stored["status"] == COMPLETE:
                with reading(path):
                    earlier = check_result(path.read_bytes(), path.name, stored)
                if earlier == content:
                    return stored, False
        except Damaged as problem:
            log.warning("%s Its run is set aside as %s.", problem, set_aside(folder).name)
        if earlier and not is_replacing:
            raise Conflict(
                f"{folder.name} has other predictions: give this system another name=…, or another seed=… for "
                "another training of it, or add replace=true to replace them."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_row(folder, row | {"status": RUNNING})
        write_bytes(path, content)
        write_text(folder / CONFUSION, predictions.confusion_csv())
        row |= predictions.score()
        files = digests(folder, (PREDICTIONS, CONFUSION))
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        write_row(folder, row | {"files": files, "finished": finished, "status": COMPLETE})
        return read_row(folder) or row, True


def _make_row(name: str, seed: int, predictions: Predictions, clips: Protocol) -> dict:
    """Make the entries of a system's row that do not depend on its predictions."""
    training = clips.clips[clips.clips["subset"] == "train"]["technique"].value_counts()
    settings = json.dumps(dict(clips.settings))
    content = json.dumps([clips.data, clips.fold, name, seed, settings, dict(clips.identity)])
    words = [clips.data, re.sub(r"[^\w.+-]+", "_", name), SCORED, *([f"fold_{clips.fold}"] * (clips.fold != ""))]
    return {
        "run": "-".join([*words, f"seed_{seed}", hashlib.sha256(content.encode()).hexdigest()[:8]]),
        "condition": name,
        "data": clips.data,
        "fold": clips.fold,
        "model": name,
        "dc": "",
        "strategy": SCORED,
        "alpha": None,
        "seed": seed,
        "settings": settings,
        "clips_train": int(training.sum()),
        "training_counts": " ".join(f"{each}={training.get(each, 0)}" for each in clips.techniques),
        "clips_test": len(predictions.clips),
        "singers_test": " ".join(sorted(predictions.clips["singer"].unique())),
        **{entry: clips.identity.get(entry, "") for entry in ("data_fingerprint", "corpus_fingerprint")},
        "phases": "",
        "recipe": "",
        "made_by": name,
    }


def compare(run: str, other: str, jackknife: Jackknife, predictions: Predictions) -> list[list[str]]:
    """List each metric of a run with its interval over singers, and the paired difference to another run.

    Args:
        run, other: names of their folders; "" for no other.
        predictions: of `run`.
    Returns:
        Lines of text: metric, value, interval, and of another run its difference and the interval of that.
    """
    names = [f"{prefix}{each}" for prefix in metrics.list_prefixes() for each in predictions.techniques]
    lines = []
    for metric in (*metrics.list_overall(), *names):
        own = jackknife.estimate(metric, [run])
        line = [metrics.label(metric), shown(own.value), shown_interval(*own.interval())]
        if other:
            difference = jackknife.estimate(metric, [run], [other])
            line += [shown_change(difference.value), shown_change_interval(*difference.interval())]
        lines.append(line)
    return lines


def require_same_clips(name: str, other: Predictions | None, predictions: Predictions) -> None:
    """Check that the predictions of another run are of the same clips, so that differences can be paired.

    Raises:
        InvalidValue: they are not, or are not stored.
    """
    if other is None:
        raise InvalidValue(f"against={name}: its predictions are not here.")
    pairs = [
        sorted(zip(each.clips["recording"], each.clips["start"].round(3), each.clips["technique"], strict=True))
        for each in (other, predictions)
    ]
    if pairs[0] != pairs[1] or other.techniques != predictions.techniques:
        raise InvalidValue(f"against={name}: it was tested on other clips or techniques, so nothing can be paired.")
