"""What `outputs/` holds: which rows use it, whether it is whole, and what may be removed.

Phases, unfinished phases and clip stores stay while a row names them. A row that cannot be read may name any of them.
What is damaged is set aside, and the next run makes it again. What a newer version wrote always stays.
"""

import contextlib
import json
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from singtech.corpus.clip_store import find_fault, read_store
from singtech.errors import Damaged, Newer, NotThere
from singtech.io.atomic import set_aside
from singtech.io.lock import Busy, hold
from singtech.metrics import score_clips
from singtech.results.collate import CORPORA, RESULTS, read_results_file
from singtech.results.conditions import content, flat
from singtech.results.predictions import PREDICTIONS, read_predictions, same_score
from singtech.results.rows import COMPLETE, digests, is_intact, read_row, read_rows
from singtech.training.phase_store import CHECKPOINT, StoredPhase, read_checkpoint, read_features
from singtech.training.run import CONFIGURATION

KINDS = ("run", "phase", "unfinished phase", "clips", "damaged")


@dataclass(frozen=True)
class Entry:
    """Something that is stored.

    Attributes:
        kind: one of `KINDS`.
        name: of the run, the phase (its key) or the corpus.
        path: its file or folder.
        description: a few words.
        size: in bytes.
        changed: the time of the last change, in seconds since 1970.
        users: the runs whose rows name it.
        stays: whether it stays even if no row names it.
    """

    kind: str
    name: str
    path: Path
    description: str
    size: int
    changed: float
    users: tuple[str, ...] = ()
    stays: bool = False

    @property
    def lock_target(self) -> Path:
        """The path that its lock is on: an unfinished phase has that of the phase."""
        return self.path.with_name(self.name) if self.kind == "unfinished phase" else self.path

    @property
    def is_unused(self) -> bool:
        """Whether it may be removed."""
        return not (self.stays or self.users)


def survey(output_dir: Path) -> list[Entry]:
    """All that is stored, by kind and name."""
    users, unreadable = row_users(output_dir)
    entries = (
        *_runs(output_dir),
        *_phases(output_dir, users),
        *_clips(output_dir, users),
        *_damaged(output_dir, unreadable),
    )
    return sorted(entries, key=lambda entry: (KINDS.index(entry.kind), entry.name))


def remove(entries: list[Entry], output_dir: Path) -> tuple[list[Entry], list[Entry]]:
    """Remove those of the entries that are still unused; return the removed ones and those in use after all."""
    removed, in_use = [], []
    paths = {entry.path for entry in entries}
    for entry in survey(output_dir):  # again, for a run may begin meanwhile
        if entry.path not in paths:
            continue
        with contextlib.suppress(Busy):
            if entry.is_unused:
                with hold(entry.lock_target, f"{entry.path} is in use", wait=False):
                    _delete(entry.path)
                    removed.append(entry)
                    continue
        in_use.append(entry)
    return removed, in_use


def check(output_dir: Path, progress: Callable[[list], Iterator] = iter) -> tuple[int, list[str], list[str]]:
    """Read phases, runs and clips byte by byte; set aside what is damaged.

    Returns:
        The number of entries; a sentence for each damaged one; and one for each that was not checked, because somebody
        works on it or a newer version wrote it.
    """
    entries = [entry for entry in survey(output_dir) if entry.kind in CHECKS]
    faults, unchecked = [], []
    for entry in progress(entries):
        try:
            with hold(entry.lock_target, f"{entry.path} is in use", wait=False):
                CHECKS[entry.kind](entry.path)
        except (Busy, Newer) as problem:
            unchecked.append(f"{entry.path} was not looked at: {problem}.")
        except (OSError, ValueError, KeyError, TypeError) as problem:
            text = str(problem) if str(entry.path) in str(problem) else f"{entry.path}: {problem}"
            faults.append(f"{text}; set aside as {set_aside(entry.path).name}.")
    return len(entries), faults, unchecked


def differences(output_dir: Path, runs: tuple[str, str]) -> list[tuple[str, str, str]]:
    """(name, value in the first run, value in the second) of each setting that decides the outcome and differs.

    Raises:
        NotThere: a run has no row here.
        Damaged: its row cannot be read.
    """
    first, second = (outcome_settings(output_dir, name) for name in runs)
    return [
        (name, json.dumps(first.get(name, "—")), json.dumps(second.get(name, "—")))
        for name in sorted(first | second)
        if first.get(name) != second.get(name)
    ]


def outcome_settings(output_dir: Path, run: str) -> dict:
    """All that decides the outcome of a run, by name: from its phases, or from its configuration if one is damaged."""
    folder = output_dir / "runs" / run
    row = read_row(folder)
    if row is None:
        raise NotThere(f"{folder}: no such run here; `singtech store` lists those there are.")
    settings = {"test clips": row["data_fingerprint"]}
    for number, key in enumerate(row["phases"].split(), 1):
        try:
            record = StoredPhase(output_dir / "phases" / key).record
        except Damaged:
            return settings | flat(content(folder / CONFIGURATION))
        phase = {name: value for name, value in record["phase"].items() if name not in ("name", "says")}
        settings |= flat({f"phase {number}": phase} | record["setup"])
    return settings


def rows_of(output_dir: Path) -> list[dict]:
    """Rows on disk, and those of a results.csv from elsewhere, by the runs' names."""
    collated = read_results_file(output_dir / RESULTS).to_dict("records")
    rows = {row["run"]: row for row in (*collated, *read_rows(output_dir / "runs"))}
    return [{"phases": "", "corpus_fingerprint": ""} | rows[name] for name in sorted(rows)]


def row_users(output_dir: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The runs that use each phase and each state of a corpus; and the runs whose rows cannot be read.

    These are damaged or newer, or set aside and not made again. They use everything.
    """
    runs = output_dir / "runs"
    aside = {path.name[1:].rpartition(".damaged-")[0] for path in runs.glob(".*.damaged-*")}
    unreadable = []
    for name in sorted(aside | {folder.name for folder in _visible(runs)}):
        try:
            is_readable = read_row(runs / name) is not None or name not in aside
        except ValueError:
            is_readable = False
        unreadable += [] if is_readable else [name]
    users: dict[str, tuple[str, ...]] = defaultdict(lambda: tuple(unreadable))
    for row in rows_of(output_dir):
        for key in (*row["phases"].split(), row["corpus_fingerprint"]):
            users[key] += (row["run"],)
    return users, tuple(unreadable)


def _runs(output_dir: Path) -> Iterator[Entry]:
    for folder in _visible(output_dir / "runs"):
        try:
            row = read_row(folder) or {"status": "no row"}
            description = ": ".join(filter(None, (row["status"], row.get("reason"))))
        except ValueError as problem:
            description = f"row: {problem}"
        yield _entry("run", folder.name, folder, description, stays=True)


def _phases(output_dir: Path, users: dict) -> Iterator[Entry]:
    for folder in _visible(output_dir / "phases"):
        description, is_newer = _describe(_describe_phase, folder)
        yield _entry("phase", folder.name, folder, description, users[folder.name], is_newer)
    for folder in sorted((output_dir / "phases").glob(".*.work")):
        key = folder.name[1:].removesuffix(".work")
        description, is_newer = _describe(_describe_checkpoint, folder)
        yield _entry("unfinished phase", key, folder, description, users[key], is_newer)


def _clips(output_dir: Path, users: dict) -> Iterator[Entry]:
    """The clip stores. The clips that were prepared last stay."""
    current = {
        fingerprint
        for path in (output_dir / CORPORA).glob("*.csv")
        for fingerprint in pd.read_csv(path, dtype=str, keep_default_na=False).get("corpus_fingerprint", ())
    }
    for folder in _visible(output_dir / "data"):
        if not (folder / "corpus.json").is_file():
            continue  # recordings, not ours to remove
        state, is_newer = _describe(lambda folder: read_store(folder).state[:16], folder)
        yield _entry("clips", folder.name, folder, f"state {state}", users[state], is_newer or state in current)


def _damaged(output_dir: Path, unreadable: tuple[str, ...]) -> Iterator[Entry]:
    """What was set aside. A run stays in use until it is made again."""
    for folder in (output_dir / name for name in ("runs", "phases", "data")):
        for path in sorted(folder.rglob(".*.damaged-*")):
            run = path.name[1:].rpartition(".damaged-")[0]
            users = tuple({run}.intersection(unreadable))
            yield _entry("damaged", str(path.relative_to(output_dir)), path, "set aside", users)


def _describe(reader: Callable[[Path], str], folder: Path) -> tuple[str, bool]:
    """A folder's description, or the problem in reading it; and whether a newer version wrote it."""
    try:
        return reader(folder), False
    except (OSError, ValueError, KeyError, TypeError) as problem:
        return str(problem).removeprefix(f"{folder}/"), isinstance(problem, Newer)


def _describe_phase(folder: Path) -> str:
    phase = StoredPhase(folder).record["phase"]
    if "says" in phase:
        return f"{phase['name'] or phase['is']}: {phase['says']}"
    return f"{phase['trains']}, {phase['epochs']} epochs, alpha {phase['alpha']:g}, by an earlier version"


def _describe_checkpoint(folder: Path) -> str:
    if (folder / CHECKPOINT).exists():
        read_checkpoint(folder / CHECKPOINT)
    return "the same run goes on from it"


def _entry(
    kind: str, name: str, path: Path, description: str, users: tuple[str, ...] = (), stays: bool = False
) -> Entry:
    states = []
    for file in [path, *path.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # somebody works in the folder
            states.append(file.lstat())
    size = sum(state.st_size for state in states if stat.S_ISREG(state.st_mode))
    changed = max((state.st_mtime for state in states), default=0.0)
    return Entry(kind, name, path, description, size, changed, users, stays)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())


def _delete(path: Path) -> None:
    """Remove a file, or a folder, which is hidden first: nobody then meets half of it."""
    if not path.is_dir():
        path.unlink()
        return
    hidden = path.with_name(f".{path.name.lstrip('.')}.removed.tmp")
    path.rename(hidden)
    shutil.rmtree(hidden)


def _check_phase(folder: Path) -> None:
    StoredPhase(folder).check()
    for path in sorted((folder / "features").glob("*.npy")):
        read_features(path)


def _check_run(folder: Path) -> None:
    """Compare the metrics of a complete run's row with its predictions, and its files with their digests."""
    row = read_row(folder)
    if row is None or row["status"] != COMPLETE:
        return
    predictions = read_predictions(folder / PREDICTIONS)
    for name, metric in score_clips(predictions.targets, predictions.logits, predictions.techniques).items():
        if name in row and not same_score(row[name], metric):
            raise Damaged(f"{name} is {row[name]}, its predictions give {metric}")
    files = row.get("files") or ""
    is_same = digests(folder, [pair.partition("=")[0] for pair in files.split()]) == files
    if not is_same or (row.get("digest") and not is_intact(row)):
        raise Damaged("one of its files has changed since the run ended")


def _check_clips(folder: Path) -> None:
    if fault := find_fault(folder):
        raise Damaged(fault)


CHECKS = {"phase": _check_phase, "run": _check_run, "unfinished phase": _describe_checkpoint, "clips": _check_clips}
