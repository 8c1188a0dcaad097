"""Which recordings a corpus has: singer and technique from the source's labels or the folders, what is odd said.

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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from singtech.corpus.archive import Source, is_recording
from singtech.corpus.audio import Header, read_header
from singtech.corpus.download import bar_interval
from singtech.techniques import MISSPELT

BYTES_AT_ONCE = 1 << 31  # of the recordings being worked on and their results
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # that break a line or steer a terminal

COLUMNS = ["path", "singer", "technique", "context", "samples", "sample_rate"]


class Survey(NamedTuple):
    """A manifest, its techniques in order, a note for each thing corrected, left out or odd, and what was unusable."""

    recordings: pd.DataFrame
    notes: list[str]
    techniques: tuple[str, ...]
    unusable: list[str]


def survey(source: Source, techniques: Sequence[str] | None, strict: bool = False) -> Survey:
    """Find and read the headers of the recordings of a source.

    Args:
        techniques: the folders to take, in the order of the targets; None for all that are there, sorted.
        strict: stop at a recording that cannot be used instead of leaving it out.
    Raises:
        ValueError: an unknown technique, or, if strict, a recording that cannot be used.
    """
    everything, notes = placed(source)
    found = everything["technique"].value_counts()
    techniques = tuple(sorted(found.index) if techniques is None else techniques)
    require_known(techniques, sorted(found.index))
    chosen = everything[everything["technique"].isin(techniques)].reset_index(drop=True)
    others = {name: count for name, count in found.items() if name not in techniques}
    if others:
        notes.append(f"left out {counted(sum(others.values()), 'recording')} of other techniques: {listed(others)}")
    if source.labels() is None:
        _note_names(chosen, notes)
    chosen, unusable = _with_headers(source, chosen, strict, notes)
    return Survey(chosen[COLUMNS], notes, techniques, unusable)


def singers_of(source: Source) -> list[str]:
    """Every singer of a source, of whatever technique; female9 before female10."""
    return sorted(placed(source)[0]["singer"].unique(), key=_by_number)


def recordings_of(source: Source) -> list[str]:
    """Every recording of a source, of whatever technique, as tables and splits name it."""
    return [recording_of(path) for path in placed(source)[0]["path"]]


def placed(source: Source) -> tuple[pd.DataFrame, list[str]]:
    """The recordings of a source with path, singer, technique and context, by its labels or else by folders; notes."""
    labels = source.labels()
    return _by_folders(source.names()) if labels is None else _by_labels(source.names(), labels)


def _by_labels(names: Iterable[str], labels: Mapping[str, Sequence[str]]) -> tuple[pd.DataFrame, list[str]]:
    """The labelled recordings, and a note that counts the others."""
    rows = [(name, *map(partial(unicodedata.normalize, "NFC"), labels[name])) for name in sorted(labels)]
    others = sorted(name for name in names if name not in labels and is_recording(name))
    notes = (
        [f"left out {counted(len(others), 'recording')} without a label, such as {shown(others[0])}"] if others else []
    )
    return pd.DataFrame(rows, columns=["path", "singer", "technique", "context"]), notes


def _by_folders(names: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """The recordings among `names` as their folders say, and notes."""
    rows, other_kinds, misplaced, there, notes = [], Counter(), [], set(), []
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".wav"), name)):
        place = PurePosixPath(name)
        if not is_recording(name):
            other_kinds[place.suffix.lower() or "no suffix"] += 1
        elif len(place.parts) < 3:
            misplaced.append(name)
        elif place.with_suffix("") in there:
            notes.append(f"left out {shown(name)}: the same recording is there as .wav")
        else:
            there.add(place.with_suffix(""))
            singer, *context, technique = (unicodedata.normalize("NFC", part) for part in place.parts[:-1])
            rows.append((name, singer, technique, "/".join(context)))
    recordings = pd.DataFrame(sorted(rows), columns=["path", "singer", "technique", "context"])
    for wrong, right in MISSPELT.items():
        count = int((recordings["technique"] == wrong).sum())
        if count:
            notes.append(f"{counted(count, 'recording')} in {wrong} folders counted as {right}")
    recordings["technique"] = recordings["technique"].replace(MISSPELT)
    if other_kinds:
        notes.append(f"left out {counted(other_kinds.total(), 'file')} neither .wav nor .flac: {listed(other_kinds)}")
    if misplaced:
        notes.append(
            f"left out {counted(len(misplaced), 'recording')} not in a <singer>/…/<technique>/ folder, "
            f"such as {shown(misplaced[0])}"
        )
    return recordings, notes


def _note_names(recordings: pd.DataFrame, notes: list[str]) -> None:
    """Say where a VocalSet file is named after another singer than its folder (m9_… in male8), or after none."""
    nameless = 0
    for path, singer in zip(recordings["path"], recordings["singer"], strict=True):
        folder = re.fullmatch(r"(female|male)(\d+)", singer)
        if not folder:
            continue
        named = re.match(r"([fm])(\d+)_", PurePosixPath(path).name)  # to the underscore, or m10 would be m1
        nameless += named is None
        if named and (named[1], named[2]) != (folder[1][0], folder[2]):
            other = f"{'female' if named[1] == 'f' else 'male'}{named[2]}"
            notes.append(f"{shown(path)} is named after {other}, but lies in {singer}'s folder, which counts")
    if nameless:
        notes.append(f"{counted(nameless, 'recording')} without the singer in the name; the folder says who sings")


def _with_headers(
    source: Source, recordings: pd.DataFrame, strict: bool, notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The recordings that can be used, each once, with samples and sample_rate, and a line for each that cannot."""

    sizes = Counter(source.size(path) for path in recordings["path"])  # only files of one size can be copies

    def header(path: str) -> tuple[Header, str]:
        require_plain(path)
        data = source.read(path)
        is_alone = sizes[source.size(path)] == 1
        return read_header(data), "" if is_alone else hashlib.blake2b(data, digest_size=16).hexdigest()

    headers, unusable = {}, []
    for path, result in in_threads(header, recordings["path"], "reading headers", source.size):
        if isinstance(result, Exception):
            unusable.append(left_out(path, result, strict))
        else:
            headers[path] = result
    copies = copies_of({path: digest for path, (_, digest) in headers.items() if digest})
    notes += [f"left out {shown(copy)}: byte for byte {shown(kept)}" for copy, kept in sorted(copies.items())]
    kept = recordings[recordings["path"].isin(headers.keys() - copies.keys())].reset_index(drop=True)
    of = [headers[path][0] for path in kept["path"]]
    kept["samples"], kept["sample_rate"] = [h.samples for h in of], [h.sample_rate for h in of]
    early, mixed = sum(h.ends_early for h in of), Counter(h.channels for h in of if h.channels > 1)
    if early:
        notes.append(f"{counted(early, 'recording')} up to 1 % shorter than the header says; what is there is used")
    for channels, count in sorted(mixed.items()):
        notes.append(f"{counted(count, 'recording')} mixed from {channels} channels to mono")
    return kept, unusable


def copies_of(digests: Mapping[str, str]) -> dict[str, str]:
    """For each path whose bytes stand elsewhere too, the path that is kept: the shortest name, then the first."""
    kept: dict[str, str] = {}
    copies = {}
    for path in sorted(digests, key=lambda path: (len(PurePosixPath(path).name), path)):
        original = kept.setdefault(digests[path], path)
        if original != path:
            copies[path] = original
    return copies


def require_known(techniques: Sequence[str], there: Sequence[str]) -> None:
    """That every technique is there."""
    for technique in techniques:
        if technique not in there:
            near = difflib.get_close_matches(technique, there, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"data.techniques names {technique}, found are {', '.join(there)}.{hint}")
    twice = [technique for technique, count in Counter(techniques).items() if count > 1]
    if twice or not techniques:
        raise ValueError(f"data.techniques {f'names {twice[0]} twice' if twice else 'is empty'}: give each one once.")


def left_out(path: str, problem: Exception, strict: bool) -> str:
    """The line for a recording that cannot be used.

    Raises:
        ValueError: instead, if strict.
    """
    reason = str(problem) or type(problem).__name__
    if strict:
        raise ValueError(f"{shown(path)}: {reason}; mend or remove it, or leave it out with data.strict=false.")
    return f"{shown(path)}: {reason}"


def in_threads(
    work: Callable, paths: Iterable[str], doing: str, needed: Callable[[str], int]
) -> Iterator[tuple[str, object]]:
    """(path, work(path)) in order, from as many threads as there are cores, a few at a time so that memory stays flat.

    What `work` raises as ValueError, OSError or MemoryError is given in place of its result.

    Args:
        needed: bytes of a path's recording, and of its result, until it is given. No more than `BYTES_AT_ONCE` are
            begun, but for one recording that needs more by itself.
    """
    from tqdm import tqdm

    def attempt(path: str) -> object:
        try:
            return work(path)
        except (ValueError, OSError, MemoryError) as problem:
            return problem

    ahead, waiting, held = deque(paths), deque(), 0
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=doing, total=len(ahead), unit=" recordings", mininterval=bar_interval()) as bar,
    ):
        while ahead or waiting:
            while ahead and len(waiting) < 2 * workers and (not waiting or held + needed(ahead[0]) <= BYTES_AT_ONCE):
                path = ahead.popleft()
                held += needed(path)
                waiting.append((path, pool.submit(attempt, path)))
            path, future = waiting.popleft()
            result = future.result()
            del future
            bar.update()
            yield path, result
            del result
            held -= needed(path)


def counted(count: int, noun: str) -> str:
    """1 recording, 1,871 recordings."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown(path: str) -> str:
    """A path that fits on a line and in a UTF-8 file, whatever its bytes are."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], path.encode("utf-8", "backslashreplace").decode())


def names_of(setting: str, names: object) -> list[str]:
    """A list of names as folders' names are compared: composed alike.

    Raises:
        ValueError: it is no list.
    """
    if isinstance(names, str | Mapping) or not isinstance(names, Sequence):
        raise ValueError(f"{setting}={names}: expected a list, [{names}].")
    return [unicodedata.normalize("NFC", str(name)) for name in names]


def recording_of(path: str) -> str:
    """A recording's name in tables and splits: its path without .wav or .flac."""
    return str(PurePosixPath(path).with_suffix("")) if is_recording(path) else path


def require_plain(path: str) -> None:
    """That a path can stand in a table."""
    if path != shown(path):
        raise ValueError("its name is no UTF-8 or has a control character; rename it")


def listed(counts: Mapping[str, int]) -> str:
    """slow_piano 397, forte 100: names with their counts, the most first."""
    most_first = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(f"{shown(name)} {counts[name]:,}" for name in most_first)


def _by_number(singer: str) -> tuple[str, int]:
    """female9 before female10."""
    stem = singer.rstrip("0123456789")
    return stem, int(singer[len(stem) :] or 0)
