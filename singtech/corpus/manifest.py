"""List the recordings of a corpus, with singer and technique from labels or folders, and note oddities.

A manifest is a table with a row for each recording:
    path         below the source's base
    singer       its first folder
    technique    its last folder (a `vibrado` folder is vibrato)
    context      the folders between, joined by "/"; VocalSet's arpeggios, scales, long_tones, excerpts
    samples, sample_rate    as in the file
A source with labels (`singtech.corpus.sources`) names singer, technique and context itself.
"""

import difflib
import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from singtech.components import ComponentError
from singtech.corpus.archive import OTHER_SUFFIXES, Source, is_recording
from singtech.errors import Damaged, InvalidValue, SingtechError
from singtech.io.atomic import escape_text as escape
from singtech.io.terminal import progress_bar
from singtech.techniques import CORRECT_SPELLINGS

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 31  # of recordings and results in memory at once
DECODED_BYTES = 10  # in memory for each byte of a file

LABELS = ["path", "singer", "technique", "context"]
COLUMNS = [*LABELS, "samples", "sample_rate"]


class Listing(NamedTuple):
    """Every recording of a source, of all techniques: a table with `LABELS`, and a note for each oddity."""

    recordings: pd.DataFrame
    notes: list[str]

    def singers(self) -> list[str]:
        """Return all singers, female9 before female10."""
        return sorted(self.recordings["singer"].unique(), key=_number_key)

    def names(self) -> list[str]:
        """Return the name of each recording in tables and splits."""
        return list(map(recording_name, self.recordings["path"]))


def list_recordings(source: Source) -> Listing:
    """List the recordings of a source by its labels, or by its folders. No file is read."""
    labels = source.labels()
    return _list_by_folders(source.names()) if labels is None else _list_by_labels(source.names(), labels)


def choose_recordings(
    source: Source, listing: Listing, techniques: Sequence[str] | None
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """Choose the recordings of some techniques, without copies; return them, the techniques and the notes.

    Args:
        techniques: in the order of the targets; None for all, sorted.
    Raises:
        InvalidValue: a technique is unknown.
    """
    notes = list(listing.notes)
    counts = listing.recordings["technique"].value_counts()
    techniques = tuple(sorted(counts.index) if techniques is None else techniques)
    require_techniques(techniques, sorted(counts.index))
    is_selected = listing.recordings["technique"].isin(techniques)
    selected = listing.recordings[is_selected]
    if not is_selected.all():
        others = list_counts(counts.drop(list(techniques)).to_dict())
        notes.append(f"left out {plural((~is_selected).sum(), 'recording')} of other techniques: {others}")
    if source.labels() is None:
        notes += _note_wrong_names(selected)
    copies = _find_copies(source, selected["path"])
    notes += [f"left out {escape(copy)}: byte for byte {escape(path)}" for copy, path in sorted(copies.items())]
    return selected[~selected["path"].isin(copies)], techniques, notes


def _list_by_labels(names: Iterable[str], labels: Mapping[str, Sequence[str]]) -> Listing:
    """List the recordings that have a label; count the others."""
    rows = [(name, *map(_compose_accents, labels[name])) for name in sorted(labels)]
    others = sorted(name for name in names if name not in labels and is_recording(name))
    notes = []
    if others:
        notes.append(f"left out {plural(len(others), 'recording')} without a label, such as {escape(others[0])}")
    return Listing(pd.DataFrame(rows, columns=LABELS), notes)


def _list_by_folders(names: Iterable[str]) -> Listing:
    """List the recordings by their folders; a FLAC beside the WAV of the same name is left out."""
    rows, wrong_folder, notes, stems = [], [], [], set()
    other_kinds: Counter[str] = Counter()
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".wav"), name)):
        path = PurePosixPath(name)
        if not is_recording(name):
            other_kinds[path.suffix.lower() or "no suffix"] += 1
        elif len(path.parts) < 3:
            wrong_folder.append(name)
        elif path.with_suffix("") in stems:
            notes.append(f"left out {escape(name)}: the same recording exists as .wav")
        else:
            stems.add(path.with_suffix(""))
            singer, *context, technique = map(_compose_accents, path.parts[:-1])
            rows.append((name, singer, technique, "/".join(context)))
    recordings = pd.DataFrame(sorted(rows), columns=LABELS)
    for wrong, right in CORRECT_SPELLINGS.items():
        if count := (recordings["technique"] == wrong).sum():
            notes.append(f"{plural(count, 'recording')} in {wrong} folders counted as {right}")
    recordings["technique"] = recordings["technique"].replace(CORRECT_SPELLINGS)
    if other_kinds:
        count = plural(other_kinds.total(), "file")
        notes.append(f"left out {count} neither .wav nor .flac: {list_counts(other_kinds)}")
    if sounds := sorted(name for name in names if name.lower().endswith(OTHER_SUFFIXES)):
        count = plural(len(sounds), "recording")
        log.warning("left out %s such as %s: a corpus takes .wav and .flac; convert them.", count, escape(sounds[0]))
    if wrong_folder:
        count, example = plural(len(wrong_folder), "recording"), escape(wrong_folder[0])
        notes.append(f"left out {count} not in a <singer>/…/<technique>/ folder, such as {example}")
    return Listing(recordings, notes)


def _note_wrong_names(recordings: pd.DataFrame) -> list[str]:
    """Note each VocalSet file with the name of another singer than its folder, such as m9_… in male8."""
    notes = []
    for path, singer in zip(recordings["path"], recordings["singer"], strict=True):
        folder, name = re.fullmatch(r"(f|m)e?m?ale(\d+)", singer), re.match(r"(f|m)(\d+)_", PurePosixPath(path).name)
        if folder and name and folder.groups() != name.groups():
            notes.append(f"{escape(path)} is named after {name[0][:-1]}, but is in {singer}'s folder, which counts")
    return notes


def _find_copies(source: Source, paths: Iterable[str]) -> dict[str, str]:
    """Map each copy to the path of its original. Only files of equal size are read."""
    sizes = {path: source.size(path) for path in paths}
    count = Counter(sizes.values())
    same_size = [path for path, size in sizes.items() if count[size] > 1]
    digests = process_recordings(source, lambda _, data: hash_content(data), same_size, "comparing")
    return map_copies({path: digest for path, digest in digests if isinstance(digest, str)})


def hash_content(data: bytes) -> str:
    """Return a hash of a recording's file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def map_copies(digests: Mapping[str, str]) -> dict[str, str]:
    """Map each copy to the path of its original, the file with the shortest name, then the first."""
    originals: dict[str, str] = {}
    paths = sorted(digests, key=lambda path: (len(PurePosixPath(path).name), path))
    first = {path: originals.setdefault(digests[path], path) for path in paths}
    return {path: original for path, original in first.items() if path != original}


def require_techniques(techniques: Sequence[str], available: Sequence[str]) -> None:
    """Check that every technique is available; raise `InvalidValue` if not."""
    for technique in techniques:
        if technique not in available:
            near = difflib.get_close_matches(technique, available, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InvalidValue(f"data.techniques names {technique}, found are {', '.join(available)}.{hint}")


def describe_unusable(path: str, problem: Exception, strict: bool) -> str:
    """Describe an unusable recording in one line; raise `Damaged` with this line if strict."""
    line = f"{escape(path)}: {str(problem) or type(problem).__name__}"
    if strict:
        raise Damaged(f"{line}; repair it, or omit it with data.strict=false.")
    return line


def process_recordings(
    source: Source, work: Callable[[str, bytes], Any], paths: Iterable[str], title: str
) -> Iterator[tuple[str, Any]]:
    """Yield (path, work(path, content)) in order, with a thread for each core and a progress bar.

    A SingtechError, OSError or MemoryError is yielded instead of a result; a ComponentError is raised. A few recordings
    are in memory at once, of `MAX_BYTES` together, or one larger recording alone.
    """

    def attempt(path: str) -> Any:
        try:
            if path != escape(path):
                raise Damaged("its name is no UTF-8 or has a control character; rename it")
            return work(path, source.read(path))
        except ComponentError:
            raise
        except (SingtechError, OSError, MemoryError) as problem:
            return problem

    paths = list(paths)
    pending: deque[tuple[str, Future]] = deque()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool, progress_bar(title, "recordings", len(paths)) as bar:
        while paths or pending:
            sizes = sum(source.size(path) for path in [*(path for path, _ in pending), *paths[:1]])
            is_full = len(pending) == 2 * workers or DECODED_BYTES * sizes > MAX_BYTES
            if paths and not (pending and is_full):
                path = paths.pop(0)
                pending.append((path, pool.submit(attempt, path)))
            else:
                path, future = pending.popleft()
                bar.update()
                yield path, future.result()


def plural(count: int, noun: str) -> str:
    """Write a number with a noun: 1 recording, 1,871 recordings."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def parse_names(setting: str, names: object) -> list[str]:
    """Return the names of a list, with accents composed as in those of folders; raise `InvalidValue` if it is none."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InvalidValue(f"{setting}={names}: expected a list, [{names}].")
    return [_compose_accents(str(name)) for name in names]


def recording_name(path: str) -> str:
    """Return a recording's name in tables and splits: its path without .wav or .flac."""
    return str(PurePosixPath(path).with_suffix("")) if is_recording(path) else path


def list_counts(counts: Mapping[str, int]) -> str:
    """List names with their counts, the largest first: slow_piano 397, forte 100."""
    largest_first = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(f"{escape(name)} {counts[name]:,}" for name in largest_first)


def _compose_accents(name: str) -> str:
    """Compose accents (NFC), because file systems store them in different ways."""
    return unicodedata.normalize("NFC", name)


def _number_key(singer: str) -> tuple[str, int]:
    """Sort female9 before female10."""
    stem = singer.rstrip("0123456789")
    return stem, int(singer[len(stem) :] or 0)
