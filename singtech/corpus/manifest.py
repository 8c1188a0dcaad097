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
from singtech.corpus.audio import Header, read_header
from singtech.corpus.download import bar_interval
from singtech.errors import Damaged, InvalidValue, SingtechError
from singtech.io.atomic import encodable
from singtech.techniques import MISSPELT

BYTES_AT_ONCE = 1 << 31  # of the recordings being worked on and their results
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


class Survey(NamedTuple):
    """A manifest, its techniques in order, a note for each oddity, and a line for each unusable recording."""

    recordings: pd.DataFrame
    notes: list[str]
    techniques: tuple[str, ...]
    unusable: list[str]


def list_recordings(source: Source) -> Listing:
    """List the recordings of a source by its labels, or by folders if it has none. No file is read."""
    labels = source.labels()
    return _by_folders(source.names()) if labels is None else _by_labels(source.names(), labels)


def survey(source: Source, listing: Listing, techniques: Sequence[str] | None, strict: bool = False) -> Survey:
    """Read the headers of the recordings of some techniques.

    Args:
        techniques: in the order of the targets; None for all, sorted.
        strict: stop at an unusable recording instead of leaving it out.
    Raises:
        InvalidValue: an unknown technique.
        Damaged: an unusable recording, if strict.
    """
    notes = list(listing.notes)
    counts = listing.recordings["technique"].value_counts()
    techniques = tuple(sorted(counts.index) if techniques is None else techniques)
    require_techniques(techniques, sorted(counts.index))
    is_chosen = listing.recordings["technique"].isin(techniques)
    chosen = listing.recordings[is_chosen].reset_index(drop=True)
    if not is_chosen.all():
        others = in_words(counts.drop(list(techniques)).to_dict())
        notes.append(f"left out {counted((~is_chosen).sum(), 'recording')} of other techniques: {others}")
    if source.labels() is None:
        notes += _notes_of_names(chosen)
    return _with_headers(source, chosen, techniques, strict, notes)


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
    """Note each VocalSet file that is named after another singer than its folder (m9_… in male8), or after none."""
    folder = recordings["singer"].str.extract(r"^(female|male)(\d+)$")
    name = recordings["path"].str.extract(r"/([fm])(\d+)_[^/]*$")  # to the underscore, or m10 would be m1
    is_vocalset, is_named = folder[0].notna(), name[0].notna()
    differs = is_vocalset & is_named & ((name[0] != folder[0].str[0]) | (name[1] != folder[1]))
    others = name[0].map({"f": "female", "m": "male"}) + name[1]
    notes = [
        f"{printable(path)} is named after {other}, but lies in {singer}'s folder, which counts"
        for path, other, singer in zip(
            recordings["path"][differs], others[differs], recordings["singer"][differs], strict=True
        )
    ]
    if nameless := (is_vocalset & ~is_named).sum():
        notes.append(f"{counted(nameless, 'recording')} without the singer in the name; the folder says who sings")
    return notes


def _with_headers(
    source: Source, recordings: pd.DataFrame, techniques: tuple[str, ...], strict: bool, notes: list[str]
) -> Survey:
    """Keep the usable recordings, each once, with samples and sample_rate."""
    sizes = Counter(source.size(path) for path in recordings["path"])  # only files of one size can be copies

    def read(path: str) -> tuple[Header, str]:
        require_printable(path)
        data = source.read(path)
        is_alone = sizes[source.size(path)] == 1
        return read_header(data), "" if is_alone else hashlib.blake2b(data, digest_size=16).hexdigest()

    headers, digests, unusable = {}, {}, []
    for path, result in process_recordings(read, recordings["path"], "reading headers", source.size):
        if isinstance(result, Exception):
            unusable.append(unusable_line(path, result, strict))
        else:
            headers[path], digests[path] = result
    copies = copies_of({path: digest for path, digest in digests.items() if digest})
    notes += [f"left out {printable(copy)}: byte for byte {printable(path)}" for copy, path in sorted(copies.items())]
    usable = recordings[recordings["path"].isin(headers.keys() - copies.keys())].reset_index(drop=True)
    rows = pd.DataFrame([headers[path] for path in usable["path"]], columns=Header._fields)
    if early := rows["ends_early"].sum():
        notes.append(f"{counted(early, 'recording')} up to 1 % shorter than the header says; what is there is used")
    for channels, count in sorted(Counter(rows["channels"]).items()):
        if channels > 1:
            notes.append(f"{counted(count, 'recording')} mixed from {channels} channels to mono")
    return Survey(usable.join(rows[["samples", "sample_rate"]])[COLUMNS], notes, techniques, unusable)


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
    twice = [technique for technique, count in Counter(techniques).items() if count > 1]
    if twice or not techniques:
        raise InvalidValue(f"data.techniques {f'names {twice[0]} twice' if twice else 'is empty'}: name each one once.")


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
    work: Callable[[str], Any], paths: Iterable[str], title: str, needed: Callable[[str], int]
) -> Iterator[tuple[str, Any]]:
    """Yield (path, work(path)) in order, from as many threads as there are cores, with a progress bar.

    A SingtechError, OSError or MemoryError of `work` is yielded in place of its result, but no ComponentError.

    Args:
        title: of the progress bar.
        needed: bytes of a path's recording and result. Work begins on a few recordings at a time, and on no more than
            `BYTES_AT_ONCE`, except one recording that needs more by itself.
    """
    from tqdm import tqdm

    def attempt(path: str) -> Any:
        try:
            return work(path)
        except ComponentError:
            raise
        except (SingtechError, OSError, MemoryError) as problem:
            return problem

    remaining = deque(paths)
    pending: deque[tuple[str, Future]] = deque()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=title, total=len(remaining), unit=" recordings", mininterval=bar_interval()) as bar,
    ):
        while remaining or pending:
            begun = sum(needed(path) for path, _ in pending)
            if (
                remaining
                and len(pending) < 2 * workers
                and not (pending and begun + needed(remaining[0]) > BYTES_AT_ONCE)
            ):
                path = remaining.popleft()
                pending.append((path, pool.submit(attempt, path)))
                continue
            path, future = pending[0]
            bar.update()
            yield path, future.result()
            pending.popleft()
            del future


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
