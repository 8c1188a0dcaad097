"""List a corpus's recordings: singer and technique from the source's labels or its folders; note what is odd.

A manifest is a table with a row for each recording:
    path         below the source's base
    singer       its first folder
    technique    its last folder (a `vibrado` folder is vibrato)
    context      what lies between, joined by "/"; VocalSet's arpeggios, scales, long_tones, excerpts
    samples, sample_rate    as in the file
A source with labels (`singtech.corpus.sources`) names singer, technique and context itself.
"""

import difflib
import hashlib
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
from singtech.corpus.archive import Source, is_recording
from singtech.corpus.download import bar_interval
from singtech.errors import Damaged, InvalidValue, SingtechError
from singtech.io.atomic import encodable
from singtech.techniques import MISSPELT

BYTES_AT_ONCE = 1 << 31  # of the recordings being worked on and their results
BYTES_A_BYTE = 10  # that a byte of a recording becomes, decoded
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # break a line or steer a terminal

LABELS = ["path", "singer", "technique", "context"]
COLUMNS = [*LABELS, "samples", "sample_rate"]


class Listing(NamedTuple):
    """Every recording of a source, of all techniques: a table with `LABELS`, and a note for each oddity."""

    recordings: pd.DataFrame
    notes: list[str]

    def singers(self) -> list[str]:
        """Return every singer; female9 before female10."""
        return sorted(self.recordings["singer"].unique(), key=_by_number)

    def names(self) -> list[str]:
        """Return every recording's name in tables and splits."""
        return list(map(recording_name, self.recordings["path"]))


def list_recordings(source: Source) -> Listing:
    """List the recordings of a source by its labels, or by folders if it has none. No file is read."""
    labels = source.labels()
    return _by_folders(source.names()) if labels is None else _by_labels(source.names(), labels)


def choose_recordings(
    source: Source, listing: Listing, techniques: Sequence[str] | None
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """Return the recordings of some techniques without copies, the techniques in order, and a note for each oddity.

    Args:
        techniques: in the order of the targets; None for all, sorted.
    Raises:
        InvalidValue: an unknown technique.
    """
    notes = list(listing.notes)
    counts = listing.recordings["technique"].value_counts()
    techniques = tuple(sorted(counts.index) if techniques is None else techniques)
    require_techniques(techniques, sorted(counts.index))
    is_chosen = listing.recordings["technique"].isin(techniques)
    chosen = listing.recordings[is_chosen]
    if not is_chosen.all():
        others = in_words(counts.drop(list(techniques)).to_dict())
        notes.append(f"left out {counted((~is_chosen).sum(), 'recording')} of other techniques: {others}")
    if source.labels() is None:
        notes += _notes_of_names(chosen)
    copies = _find_copies(source, chosen["path"])
    notes += [f"left out {printable(copy)}: byte for byte {printable(path)}" for copy, path in sorted(copies.items())]
    return chosen[~chosen["path"].isin(copies)], techniques, notes


def _by_labels(names: Iterable[str], labels: Mapping[str, Sequence[str]]) -> Listing:
    """List the recordings that have a label; count the others."""
    rows = [(name, *map(_composed, labels[name])) for name in sorted(labels)]
    others = sorted(name for name in names if name not in labels and is_recording(name))
    notes = []
    if others:
        notes.append(f"left out {counted(len(others), 'recording')} without a label, such as {printable(others[0])}")
    return Listing(pd.DataFrame(rows, columns=LABELS), notes)


def _by_folders(names: Iterable[str]) -> Listing:
    """List the recordings by their folders; a FLAC beside the WAV of the same name is left out."""
    rows, misplaced, notes, stems = [], [], [], set()
    other_kinds: Counter[str] = Counter()
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".wav"), name)):
        path = PurePosixPath(name)
        if not is_recording(name):
            other_kinds[path.suffix.lower() or "no suffix"] += 1
        elif len(path.parts) < 3:
            misplaced.append(name)
        elif path.with_suffix("") in stems:
            notes.append(f"left out {printable(name)}: the same recording is there as .wav")
        else:
            stems.add(path.with_suffix(""))
            singer, *context, technique = map(_composed, path.parts[:-1])
            rows.append((name, singer, technique, "/".join(context)))
    recordings = pd.DataFrame(sorted(rows), columns=LABELS)
    for wrong, right in MISSPELT.items():
        if count := (recordings["technique"] == wrong).sum():
            notes.append(f"{counted(count, 'recording')} in {wrong} folders counted as {right}")
    recordings["technique"] = recordings["technique"].replace(MISSPELT)
    if other_kinds:
        notes.append(f"left out {counted(other_kinds.total(), 'file')} neither .wav nor .flac: {in_words(other_kinds)}")
    if misplaced:
        notes.append(
            f"left out {counted(len(misplaced), 'recording')} not in a <singer>/…/<technique>/ folder, "
            f"such as {printable(misplaced[0])}"
        )
    return Listing(recordings, notes)


def _notes_of_names(recordings: pd.DataFrame) -> list[str]:
    """Note each VocalSet file that is named after another singer than its folder: m9_… in male8."""
    notes = []
    for path, singer in zip(recordings["path"], recordings["singer"], strict=True):
        folder, name = re.fullmatch(r"(f|m)e?m?ale(\d+)", singer), re.match(r"(f|m)(\d+)_", PurePosixPath(path).name)
        if folder and name and folder.groups() != name.groups():
            notes.append(
                f"{printable(path)} is named after {name[0][:-1]}, but lies in {singer}'s folder, which counts"
            )
    return notes


def _find_copies(source: Source, paths: Iterable[str]) -> dict[str, str]:
    """Map each copy to the path of its original. Only files of one size can be copies, so no others are read."""
    sizes = {path: source.size(path) for path in paths}
    count = Counter(sizes.values())
    twins = [path for path, size in sizes.items() if count[size] > 1]
    digests = process_recordings(source, lambda _, data: content_digest(data), twins, "comparing")
    return copies_of({path: digest for path, digest in digests if isinstance(digest, str)})


def content_digest(data: bytes) -> str:
    """Return a hash of a recording's file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def copies_of(digests: Mapping[str, str]) -> dict[str, str]:
    """Map each copy to the path of its original: of files with the same bytes, the shortest name, then the first."""
    originals: dict[str, str] = {}
    paths = sorted(digests, key=lambda path: (len(PurePosixPath(path).name), path))
    first = {path: originals.setdefault(digests[path], path) for path in paths}
    return {path: original for path, original in first.items() if path != original}


def require_techniques(techniques: Sequence[str], available: Sequence[str]) -> None:
    """Check that every technique is available, and named once.

    Raises:
        InvalidValue: it is not.
    """
    for technique in techniques:
        if technique not in available:
            near = difflib.get_close_matches(technique, available, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InvalidValue(f"data.techniques names {technique}, found are {', '.join(available)}.{hint}")
    if not techniques or len(set(techniques)) < len(techniques):
        raise InvalidValue(f"data.techniques={list(techniques)}: name each one once, and at least one.")


def unusable_line(path: str, problem: Exception, strict: bool) -> str:
    """Return the line about an unusable recording.

    Raises:
        Damaged: instead, if strict.
    """
    line = f"{printable(path)}: {str(problem) or type(problem).__name__}"
    if strict:
        raise Damaged(f"{line}; mend or remove it, or leave it out with data.strict=false.")
    return line


def process_recordings(
    source: Source, work: Callable[[str, bytes], Any], paths: Iterable[str], title: str
) -> Iterator[tuple[str, Any]]:
    """Yield (path, work(path, content)) in order, from as many threads as there are cores, with a progress bar.

    A SingtechError, OSError or MemoryError is yielded in place of a result, but no ComponentError. Work begins on a few
    recordings at a time, and on no more than `BYTES_AT_ONCE`, except one recording that needs more by itself.

    Args:
        title: of the progress bar.
    """
    from tqdm import tqdm

    def attempt(path: str) -> Any:
        try:
            require_printable(path)
            return work(path, source.read(path))
        except ComponentError:
            raise
        except (SingtechError, OSError, MemoryError) as problem:
            return problem

    paths = list(paths)
    pending: deque[tuple[str, Future]] = deque()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=title, total=len(paths), unit=" recordings", mininterval=bar_interval()) as bar,
    ):
        while paths or pending:
            sizes = sum(source.size(path) for path in [*(path for path, _ in pending), *paths[:1]])
            is_full = len(pending) == 2 * workers or BYTES_A_BYTE * sizes > BYTES_AT_ONCE
            if paths and not (pending and is_full):
                path = paths.pop(0)
                pending.append((path, pool.submit(attempt, path)))
            else:
                path, future = pending.popleft()
                bar.update()
                yield path, future.result()


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: 1 recording, 1,871 recordings."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(path: str) -> str:
    """Escape control characters and those that UTF-8 cannot encode."""
    return CONTROLS.sub(lambda match: repr(match[0])[1:-1], encodable(path))


def require_printable(path: str) -> None:
    """Check that a path can stand in a table.

    Raises:
        Damaged: it has a control character or is no UTF-8.
    """
    if path != printable(path):
        raise Damaged("its name is no UTF-8 or has a control character; rename it")


def names_of(setting: str, names: object) -> list[str]:
    """Return the names of a list, accents composed as in folders' names.

    Raises:
        InvalidValue: it is no list.
    """
    if isinstance(names, str | Mapping) or not isinstance(names, Sequence):
        raise InvalidValue(f"{setting}={names}: expected a list, [{names}].")
    return [_composed(str(name)) for name in names]


def recording_name(path: str) -> str:
    """Return a recording's name in tables and splits: its path without .wav or .flac."""
    return str(PurePosixPath(path).with_suffix("")) if is_recording(path) else path


def in_words(counts: Mapping[str, int]) -> str:
    """List names with their counts, the largest first: slow_piano 397, forte 100."""
    largest_first = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(f"{printable(name)} {counts[name]:,}" for name in largest_first)


def _composed(name: str) -> str:
    """Compose accents (NFC): file systems differ in this."""
    return unicodedata.normalize("NFC", name)


def _by_number(singer: str) -> tuple[str, int]:
    """Sort key: female9 before female10."""
    stem = singer.rstrip("0123456789")
    return stem, int(singer[len(stem) :] or 0)
