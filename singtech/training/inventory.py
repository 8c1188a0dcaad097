"""List, check and clean the results folder.

A phase, unfinished phase or clip store may be removed if it can be read and no row names it. A row that cannot be read
may name any of them. `check` sets damaged entries aside, and the next run makes them again.
"""

import contextlib
import json
import os
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singtech.corpus.clip_store import WAVEFORMS, check_clips, read_store
from singtech.errors import Damaged, Foreign, Newer, NotThere
from singtech.io.atomic import list_visible, set_aside
from singtech.io.lock import Busy, hold
from singtech.io.stored import reading
from singtech.io.terminal import progress_bar
from singtech.results.collate import BEFORE, RESULTS, read_lengths, read_results_file
from singtech.results.conditions import flatten
from singtech.results.predictions import PREDICTIONS, read_predictions
from singtech.results.rows import COMPLETE, NAME, ROW, check_result, read_digests, read_row, read_rows
from singtech.training.phase_store import CHECKPOINT, StoredPhase, read_checkpoint, read_features
from singtech.training.run import CONFIGURATION, read_configuration

_KEY = re.compile("[0-9a-f]{16}")
NAMES = {"run": NAME, "phase": _KEY, "unfinished phase": _KEY, "clips": re.compile(".+-[0-9a-f]{8}")}
KINDS = ("run", "phase", "unfinished phase", "clips", "damaged")


@dataclass(frozen=True)
class Entry:
    """A file or folder of the results folder.

    Attributes:
        kind: one of `KINDS`.
        name: of the run, the phase (its key) or the corpus.
        path: its file or folder.
        description: its state in a few words.
        size: in bytes.
        change_time: the time of the last change, in seconds since 1970.
        users: the runs whose rows name it.
        is_protected: whether it may not be removed even if no row names it.
    """

    kind: str
    name: str
    path: Path
    description: str
    size: int
    change_time: float
    users: tuple[str, ...] = ()
    is_protected: bool = False

    def lock(self) -> AbstractContextManager:
        """Hold its lock, for an unfinished phase that of the phase; or raise `Busy`."""
        target = self.path.with_name(self.name) if self.kind == "unfinished phase" else self.path
        return hold(target, f"{self.path} is in use", wait=False)

    @property
    def is_unused(self) -> bool:
        """Whether it may be removed."""
        return not (self.is_protected or self.users)


def survey(output_dir: Path) -> list[Entry]:
    """List all entries, sorted by kind and name."""
    entries = _list_entries(output_dir, *find_users(output_dir))
    return sorted(entries, key=lambda entry: (KINDS.index(entry.kind), entry.name))


def remove(entries: list[Entry], output_dir: Path) -> tuple[list[Entry], list[Entry]]:
    """Remove the entries that are still unused. Return the removed entries, and those that are in use now."""
    removed_entries, used_entries = [], []
    paths = {entry.path for entry in entries}
    for entry in (each for each in survey(output_dir) if each.path in paths):  # a run may have started since
        with contextlib.suppress(Busy):
            if entry.is_unused:
                with entry.lock():
                    hidden = entry.path.with_name(f".{entry.path.name.lstrip('.')}.removed.tmp")
                    entry.path.rename(hidden)  # first, so that no process reads half of it
                    shutil.rmtree(hidden) if hidden.is_dir() else hidden.unlink()
                    removed_entries.append(entry)
                    continue
        used_entries.append(entry)
    return removed_entries, used_entries


def check(output_dir: Path) -> tuple[int, list[str], list[str]]:
    """Read phases, runs and clips byte by byte; set aside the damaged ones.

    Returns:
        The number of entries; a sentence for each damaged one; and one for each that was not checked, because a process
        works on it, a newer version wrote it, or no run would make it again.
    """
    entries = [entry for entry in survey(output_dir) if entry.kind in CHECKS]
    faults, skip_reasons = [], []
    for entry in progress_bar("checking", "entries", items=entries):
        is_writable = os.access(entry.path.parent, os.W_OK)
        try:
            with entry.lock() if is_writable else contextlib.nullcontext():
                _require_own(entry)
                for path, read in _list_parts(entry):
                    try:
                        with reading(path):
                            read(path)
                    except Foreign:
                        raise
                    except Damaged as problem:
                        aside = f"set aside as {set_aside(path).name}" if is_writable else "the folder is read-only"
                        faults.append(f"{str(problem).rstrip('.')}; {aside}.")
        except (Busy, Foreign, Newer) as problem:
            skip_reasons.append(f"{entry.path} was not checked: {str(problem).rstrip('.')}.")
    return len(entries), faults, skip_reasons


def _require_own(entry: Entry) -> None:
    """Raise `Foreign` for an entry that no run makes again, since the user named it or its place is not here now."""
    if not entry.path.exists():
        raise Foreign("it is a link to a folder that is absent")
    if not NAMES[entry.kind].fullmatch(entry.name):
        raise Foreign("singtech gives no such name; rename it back")
    if entry.kind == "run" and not (entry.path / ROW).exists():
        raise Foreign(f"its {ROW} is absent; copy it here, or make the run again")


def _list_parts(entry: Entry) -> Iterator[tuple[Path, Callable[[Path], object]]]:
    """List what is set aside alone if it is damaged, and what reads it: a phase's features can be computed again."""
    yield entry.path, CHECKS[entry.kind]
    if entry.kind == "phase":
        for path in sorted((entry.path / "features").glob("*.npy")):
            yield path, read_features


def compare_runs(output_dir: Path, runs: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Find the settings that decide the outcome and differ: (name, value in the first run, value in the second)."""
    first, second = (outcome_settings(output_dir, name) for name in runs)
    return [
        (name, *(json.dumps(each[name], ensure_ascii=False) if name in each else "—" for each in (first, second)))
        for name in sorted(first | second)
        if first.get(name) != second.get(name)
    ]


def outcome_settings(output_dir: Path, run: str) -> dict:
    """Read the settings that decide a run's outcome from its phases, or from its configuration if one is damaged."""
    folder = output_dir / "runs" / run
    row = read_row(folder)
    if row is None:
        raise NotThere(f"{folder}: no such run here; `singtech store` lists those there are.")
    settings = {"test clips": row["data_fingerprint"]}
    for number, key in enumerate(row["phases"].split(), 1):
        try:
            record = StoredPhase(output_dir / "phases" / key).record
        except Damaged:
            with reading(folder / CONFIGURATION):
                return settings | flatten(read_configuration(folder))
        phase = {name: value for name, value in record["phase"].items() if name not in ("name", "says")}
        settings |= flatten({f"phase {number}": phase} | record["setup"])
    return settings


def collect_rows(output_dir: Path) -> list[dict]:
    """Collect the rows on disk, and of other runs those of results.csv and earlier ones, sorted by the runs' names."""
    files = [*output_dir.glob(f"{BEFORE}*/{RESULTS}"), output_dir / RESULTS]
    collated = [row for file in files for row in read_results_file(file).to_dict("records")]
    rows = {row["run"]: row for row in (*collated, *read_rows(output_dir / "runs"))}
    return [{"phases": "", "corpus_fingerprint": ""} | rows[name] for name in sorted(rows)]


def find_users(output_dir: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Find the runs that use each phase and each state of a corpus, and the runs whose rows cannot be read.

    Such a row is absent, damaged, of a newer version, or set aside and not made again. It counts as a user of
    everything.
    """
    runs = output_dir / "runs"
    set_aside_runs = {path.name[1:].rpartition(".damaged-")[0] for path in runs.glob(".*.damaged-*")}
    unreadable_runs = []
    for name in sorted(set_aside_runs | {folder.name for folder in _visible_folders(runs)}):
        with contextlib.suppress(Damaged, Newer):
            if read_row(runs / name) is not None:
                continue
        unreadable_runs.append(name)
    users: dict[str, tuple[str, ...]] = defaultdict(lambda: tuple(unreadable_runs))
    for row in collect_rows(output_dir):
        for key in (*row["phases"].split(), row["corpus_fingerprint"]):
            users[key] += (row["run"],)
    return users, tuple(unreadable_runs)


def _list_entries(output_dir: Path, users: Mapping, unreadable_runs: tuple[str, ...]) -> Iterator[Entry]:
    for folder in _visible_folders(output_dir / "runs"):
        description, _ = _describe(_describe_run, folder)
        yield _make_entry("run", folder.name, folder, description, is_protected=True)
    for folder in _visible_folders(output_dir / "phases"):
        description, is_readable = _describe(_describe_phase, folder)
        yield _make_entry("phase", folder.name, folder, description, users[folder.name], not is_readable)
    for folder in (output_dir / "phases").glob(".*.work"):
        key = folder.name[1:].removesuffix(".work")
        description, is_readable = _describe(_describe_checkpoint, folder)
        yield _make_entry("unfinished phase", key, folder, description, users[key], not is_readable)
    last_prepared = {state for each in read_lengths(output_dir).values() for state in each["corpus_fingerprint"]}
    for folder in _visible_folders(output_dir / "data"):
        if any((folder / name).exists() for name in ("corpus.json", WAVEFORMS)):  # else recordings of the user
            state, is_readable = _describe(lambda folder: read_store(folder).state[:16], folder)
            is_protected = not is_readable or state in last_prepared
            yield _make_entry("clips", folder.name, folder, f"state {state}", users[state], is_protected)
    for path in (path for name in ("runs", "phases", "data") for path in (output_dir / name).rglob(".*.damaged-*")):
        runs = {path.name[1:].rpartition(".damaged-")[0]}.intersection(unreadable_runs)  # until they are made again
        yield _make_entry("damaged", str(path.relative_to(output_dir)), path, "set aside", tuple(runs))


def _describe(reader: Callable[[Path], str], folder: Path) -> tuple[str, bool]:
    """Describe a folder, or the problem in reading it; and tell whether it could be read."""
    try:
        with reading(folder):
            return reader(folder), True
    except (Damaged, Newer) as problem:
        return str(problem).removeprefix(f"{folder}/"), False


def _describe_run(folder: Path) -> str:
    row = read_row(folder) or {"status": "no row"}
    return ": ".join(filter(None, (row["status"], row.get("reason"))))


def _describe_phase(folder: Path) -> str:
    phase = StoredPhase(folder).record["phase"]
    if "says" in phase:
        return f"{phase['name'] or phase['is']}: {phase['says']}"
    return f"{phase['trains']}, {phase['epochs']} epochs, alpha {phase['alpha']:g}, by an earlier version"


def _describe_checkpoint(folder: Path) -> str:
    if (folder / CHECKPOINT).exists():
        read_checkpoint(folder / CHECKPOINT)
    return "the same run goes on from it"


def _make_entry(
    kind: str, name: str, path: Path, description: str, users: tuple[str, ...] = (), is_protected: bool = False
) -> Entry:
    states = []
    for file in [path, *path.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # a process works in the folder
            states.append(file.lstat())
    size = sum(state.st_size for state in states if stat.S_ISREG(state.st_mode))
    change_time = max((state.st_mtime for state in states), default=0.0)
    return Entry(kind, name, path, description, size, change_time, users, is_protected)


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in list_visible(folder) if path.is_dir() or not path.exists()]  # a link to an absent one


def _check_run(folder: Path) -> None:
    """Compare the metrics of a complete run's row with its predictions, and its files with their digests."""
    row = read_row(folder)
    if row is None or row["status"] != COMPLETE:
        return
    for name, metric in read_predictions(folder / PREDICTIONS).score().items():
        if name in row and not np.isclose(np.nan if row[name] is None else row[name], metric, 0, 1e-9, equal_nan=True):
            raise Damaged(f"{folder}: {name} is {row[name]}, its predictions give {metric}")
    for name in read_digests(row):
        with reading(folder / name):
            check_result((folder / name).read_bytes(), name, row)


CHECKS = {
    "phase": lambda folder: StoredPhase(folder).check(),
    "run": _check_run,
    "unfinished phase": _describe_checkpoint,
    "clips": lambda folder: check_clips(read_store(folder)),
}
