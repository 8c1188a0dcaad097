"""What is under `outputs/`: who uses it, whether it is whole, and what may go.

Phases, begun phases and clip stores are kept until nobody's row names them; what is damaged is set aside, so that it is
made again and never trusted.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from singtech.corpus.clip_store import first_fault, stored_state
from singtech.io.atomic import set_aside
from singtech.io.lock import Busy, hold, is_held
from singtech.metrics import scores
from singtech.results.collate import CORPORA, RESULTS, read_results
from singtech.results.predictions import PREDICTIONS, read_predictions
from singtech.results.rows import COMPLETE, read_row, read_rows
from singtech.training.fit import CHECKPOINT
from singtech.training.phase_store import Damaged, StoredPhase, read_checkpoint, read_features
from singtech.training.run import CONFIGURATION

DAMAGED_ROW = "damaged row: "
KINDS = ("run", "phase", "begun phase", "clips", "damaged", "remains")
NOW = "(the corpus as it is now)"  # keeps the clips that were prepared last
REMAINS_SECONDS = 24 * 3600  # what is half-written for longer, nobody writes any more


@dataclass(frozen=True)
class Entry:
    """Something that is stored.

    Attributes:
        kind: one of `KINDS`; `remains` are what killed processes left half-written.
        name: the run's, the phase's key, the corpus's.
        path: its file or folder.
        size: bytes.
        changed: when it was last written to, seconds since 1970.
        says: what it is, in a few words.
        users: the runs whose rows name it; nothing else keeps it.
        known_as: what rows name it by.
    """

    kind: str
    name: str
    path: Path
    size: int
    changed: float
    says: str
    users: tuple[str, ...] = ()
    known_as: str = ""

    @property
    def is_unused(self) -> bool:
        """Whether it may go: no row names it, and nobody is likely to be writing it."""
        if self.kind in ("phase", "clips"):
            return not self.users
        if self.kind == "begun phase":
            return not self.users and not is_held(_guarded(self.path))
        return self.kind == "damaged" or (self.kind == "remains" and time.time() - self.changed > REMAINS_SECONDS)


def survey(output_dir: Path) -> list[Entry]:
    """All that is stored, by kind and name."""
    users = _users(output_dir)
    entries = [*_runs(output_dir), *_phases(output_dir, users), *_clips(output_dir, users), *_leftovers(output_dir)]
    return sorted(entries, key=lambda entry: (KINDS.index(entry.kind), entry.name))


def remove(entries: list[Entry], output_dir: Path) -> tuple[list[Entry], list[Entry]]:
    """Remove those of the entries that are unused still; what went, and what somebody works on or uses after all."""
    gone, kept = [], []
    wanted = {entry.path for entry in entries}
    for entry in survey(output_dir):
        if entry.path not in wanted:
            continue
        if not entry.is_unused:
            kept.append(entry)
            continue
        try:
            with hold(_guarded(entry.path), f"{entry.path} is in use", wait=False):
                if entry.known_as in _users(output_dir):  # by a run that has begun meanwhile
                    kept.append(entry)
                else:
                    _delete(entry.path)
                    gone.append(entry)
        except Busy:
            kept.append(entry)
    return gone, kept


def check(output_dir: Path, progress: Callable[[list], Iterator] = iter) -> tuple[int, list[str], list[str]]:
    """Look through phases, runs and clips, byte by byte; set aside what is damaged.

    Returns:
        How many entries there are; a sentence for each damaged one; and one for each that somebody works on now.
    """
    entries = [entry for entry in survey(output_dir) if entry.kind in CHECKS]
    found, busy = [], []
    for entry in progress(entries):
        try:
            with hold(_guarded(entry.path), f"{entry.path} is in use", wait=False):
                fault = CHECKS[entry.kind](entry.path)
                if fault:
                    found.append(f"{fault}; set aside as {set_aside(entry.path).name}.")
        except Busy as problem:
            busy.append(f"{entry.path} was not looked at: {problem}.")
    return len(entries), found, busy


def differences(output_dir: Path, runs: tuple[str, str]) -> list[tuple[str, str, str]]:
    """(what, in the first run, in the second) of all that decides the outcome of two runs and differs.

    Raises:
        ValueError: the row or the phases of a run are not here.
    """
    ours, theirs = (_decides(output_dir, name) for name in runs)
    return [
        (name, ours.get(name, "—"), theirs.get(name, "—"))
        for name in sorted(ours | theirs)
        if ours.get(name) != theirs.get(name)
    ]


def rows_of(output_dir: Path) -> list[dict]:
    """Rows on disk, and those of a results.csv that was brought from elsewhere, by the runs' names."""
    rows = {row["run"]: row for row in read_rows(output_dir / "runs")}
    path = output_dir / RESULTS
    brought = read_results(path).to_dict("records") if path.is_file() else []
    merged = {row["run"]: row for row in brought} | rows
    return [{"phases": "", "corpus_fingerprint": ""} | merged[name] for name in sorted(merged)]


def _users(output_dir: Path) -> dict[str, list[str]]:
    """The runs that name each phase and each state of a corpus. A row that cannot be read may name any phase."""
    users: dict[str, list[str]] = {}
    for row in rows_of(output_dir):
        for used in filter(None, (*row["phases"].split(), row["corpus_fingerprint"])):  # an old row may not say
            users.setdefault(used, []).append(row["run"])
    unread = [folder.name for folder in _visible(output_dir / "runs") if _says_of_run(folder).startswith(DAMAGED_ROW)]
    if unread:
        for place in (*_visible(output_dir / "phases"), *(output_dir / "phases").glob(".*.work")):
            users.setdefault(_guarded(place).name, []).extend(unread)
    return users


def _runs(output_dir: Path) -> Iterator[Entry]:
    for folder in _visible(output_dir / "runs"):
        yield _entry("run", folder.name, folder, _says_of_run(folder))


def _says_of_run(folder: Path) -> str:
    """A run in a few words: its status, and why it failed."""
    try:
        row = read_row(folder)
    except ValueError as problem:
        return f"{DAMAGED_ROW}{problem}"
    says = "no row" if row is None else row["status"]
    return says + (f": {row['reason']}" if row and row.get("reason") else "")


def _phases(output_dir: Path, users: dict[str, list[str]]) -> Iterator[Entry]:
    for folder in _visible(output_dir / "phases"):
        yield _entry("phase", folder.name, folder, _says(folder), users, folder.name)
    for folder in sorted((output_dir / "phases").glob(".*.work")):
        place = _guarded(folder)
        says = "is being trained" if is_held(place) else "goes on when a run asks for it"
        yield _entry("begun phase", place.name, folder, says, users, place.name)


def _clips(output_dir: Path, users: dict[str, list[str]]) -> Iterator[Entry]:
    current = {
        fingerprint
        for path in (output_dir / CORPORA).glob("*.csv")
        for fingerprint in pd.read_csv(path, dtype=str, keep_default_na=False).get("corpus_fingerprint", ())
    }
    for place in _visible(output_dir / "data"):
        if not (place / "corpus.json").is_file():
            continue  # recordings, not ours to remove
        try:
            state = stored_state(place)[:16]
        except (OSError, ValueError, KeyError, TypeError):
            state = ""
        used = {state: [*users.get(state, ()), *([NOW] if state in current else [])]}
        yield _entry("clips", place.name, place, f"state {state}" if state else "damaged", used, state)


def _leftovers(output_dir: Path) -> Iterator[Entry]:
    for folder in (output_dir / name for name in ("runs", "phases", "data")):
        for path in sorted(folder.rglob(".*.damaged-*")):
            yield _entry("damaged", str(path.relative_to(output_dir)), path, "set aside")
    for path in sorted(output_dir.rglob(".*.tmp")):
        yield _entry("remains", str(path.relative_to(output_dir)), path, "half-written")


def _says(folder: Path) -> str:
    """A phase in a few words."""
    try:
        phase = StoredPhase(folder).record["phase"]
    except Damaged as problem:
        return str(problem)
    if "says" in phase:
        return f"{phase['name'] or phase['is']}: {phase['says']}"
    return f"{phase['trains']}, {phase['epochs']} epochs, alpha {phase['alpha']:g}, by an earlier version"


def _entry(kind: str, name: str, path: Path, says: str, users: Mapping | None = None, known_as: str = "") -> Entry:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    states = []
    for file in files:
        try:
            states.append(file.lstat())
        except FileNotFoundError:  # written to meanwhile
            continue
    size = sum(state.st_size for file, state in zip(files, states, strict=False) if not file.is_dir())
    changed = max((state.st_mtime for state in states), default=0.0)
    used_by = tuple(sorted((users or {}).get(known_as, ())))
    return Entry(kind, name, path, size, changed, says, used_by, known_as)


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _guarded(path: Path) -> Path:
    """What the lock of an entry is on: a begun phase's is the phase's."""
    name = path.name
    return path.with_name(name[1:].removesuffix(".work")) if name.startswith(".") and name.endswith(".work") else path


def _delete(path: Path) -> None:
    """Out of sight first, so that nobody meets half of it."""
    if path.is_dir():
        hidden = path.with_name(f".{path.name.lstrip('.')}.removed.tmp")
        path.rename(hidden)
        shutil.rmtree(hidden)
    else:
        path.unlink()


def _phase_fault(folder: Path) -> str:
    stored = StoredPhase(folder)
    try:
        stored.check()
        for path in sorted((folder / "features").glob("*.npy")):
            read_features(path)
    except Damaged as problem:
        return str(problem)
    return ""


def _run_fault(folder: Path) -> str:
    """What is wrong with a complete run: the metrics that it holds are not those of its predictions."""
    try:
        row = read_row(folder)
        if row is None or row["status"] != COMPLETE:
            return ""
        predictions = read_predictions(folder / PREDICTIONS)
        anew = scores(predictions.targets, predictions.logits, predictions.techniques)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        return f"{folder} cannot be read ({' '.join(str(problem).split())[:120]})"
    told = {name: np.nan if row[name] is None else row[name] for name in anew if name in row}
    wrong = [name for name in told if not np.isclose(told[name], anew[name], rtol=0, atol=1e-9, equal_nan=True)]
    return f"{folder}: {wrong[0]} is {told[wrong[0]]}, its predictions give {anew[wrong[0]]}" if wrong else ""


def _begun_fault(folder: Path) -> str:
    try:
        if (folder / CHECKPOINT).exists():
            read_checkpoint(folder / CHECKPOINT)
    except (OSError, ValueError) as problem:
        return str(problem)
    return ""


CHECKS = {"phase": _phase_fault, "run": _run_fault, "begun phase": _begun_fault, "clips": first_fault}


def _decides(output_dir: Path, run: str) -> dict[str, str]:
    """All that decides the outcome of a run, by name."""
    folder = output_dir / "runs" / run
    row = read_row(folder)
    if row is None:
        raise ValueError(f"{folder}: no such run here; `singtech store` lists those there are.")
    decides = {"test clips": row["data_fingerprint"]}
    records = [StoredPhase(output_dir / "phases" / key) for key in row["phases"].split()]
    for number, stored in enumerate(records, 1):
        try:
            record = stored.record
        except Damaged:
            configuration = yaml.safe_load((folder / CONFIGURATION).read_text(encoding="utf-8"))
            return decides | _flat(configuration or {})
        decides |= {
            f"phase {number}: {name}": value
            for name, value in _flat(record["phase"]).items()
            if name not in ("name", "says")
        }
        decides |= _flat(record["setup"])
    return decides


def _flat(value: dict, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            flat |= _flat(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(item)
    return flat
