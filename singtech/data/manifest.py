"""Which recordings a corpus has: singer and technique from the folders, split by singer, what is odd said.

A manifest is a table with a row for each recording:
    path         below the source's base
    singer       its first folder
    technique    its last folder (a `vibrado` folder is vibrato)
    context      what lies between, joined by "/"; VocalSet's arpeggios, scales, long_tones, excerpts
    samples, sample_rate    as in the file
    split        train, validation or test
"""

import difflib
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from singtech.data.archive import Source, is_recording
from singtech.data.audio import Header, read_header
from singtech.data.download import bar_interval
from singtech.techniques import MISSPELT

SPLITS = ("train", "validation", "test")
COLUMNS = ["path", "singer", "technique", "context", "samples", "sample_rate", "split"]


class Survey(NamedTuple):
    """A manifest, its techniques in order, a note for each thing corrected, left out or odd, and what was unusable."""

    recordings: pd.DataFrame
    notes: list[str]
    techniques: tuple[str, ...]
    unusable: list[str]


def survey(
    source: Source, techniques: Sequence[str] | None, split: Mapping[str, Sequence[str]], strict: bool = False
) -> Survey:
    """Find, read the headers of, and split the recordings of a source.

    Args:
        techniques: the folders to take, in the order of the targets; None for all that are there, sorted.
        split: singers of "test" and, optionally, of "validation"; all others train.
        strict: stop at a recording that cannot be used instead of leaving it out.
    Raises:
        ValueError: an unknown technique or singer, a singer on two sides, a technique without a training recording,
            or, if strict, a recording that cannot be used.
    """
    notes: list[str] = []
    everything = _placed(source.names(), notes)
    found = everything["technique"].value_counts()
    techniques = tuple(sorted(found.index) if techniques is None else techniques)
    require_known(techniques, sorted(found.index))
    require_split(split, sorted(everything["singer"].unique(), key=_by_number))
    chosen = everything[everything["technique"].isin(techniques)].reset_index(drop=True)
    others = {name: count for name, count in found.items() if name not in techniques}
    if others:
        notes.append(f"left out {counted(sum(others.values()), 'recording')} of other techniques: {_listed(others)}")
    _note_names(chosen, notes)
    side = {singer: name for name in split for singer in split[name] or ()}
    chosen["split"] = [side.get(singer, "train") for singer in chosen["singer"]]
    _note_absences(chosen, techniques, split, notes)
    chosen, unusable = _with_headers(source, chosen, strict, notes)
    require_sides(chosen, techniques, "recording", unusable)
    return Survey(chosen[COLUMNS], notes, techniques, unusable)


def _placed(names: Iterable[str], notes: list[str]) -> pd.DataFrame:
    """The recordings among `names` with the path, singer, technique and context that their folders say."""
    rows, other_kinds, misplaced, there = [], Counter(), [], set()
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
        notes.append(f"left out {counted(other_kinds.total(), 'file')} neither .wav nor .flac: {_listed(other_kinds)}")
    if misplaced:
        notes.append(
            f"left out {counted(len(misplaced), 'recording')} not in a <singer>/…/<technique>/ folder, "
            f"such as {shown(misplaced[0])}"
        )
    return recordings


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


def _note_absences(
    recordings: pd.DataFrame, techniques: Sequence[str], split: Mapping[str, Sequence[str]], notes: list[str]
) -> None:
    """Say which singers of the split, and which of its techniques, have no recording."""
    for side in SPLITS[1:]:
        part = recordings[recordings["split"] == side]
        for singer in split.get(side) or ():
            if singer not in set(part["singer"]):
                notes.append(f"{side} singer {singer} has no recording of the techniques asked for")
        for technique in techniques:
            if len(part) and technique not in set(part["technique"]):
                notes.append(f"no {side} recording of {technique}: its scores will not be defined")


def _with_headers(
    source: Source, recordings: pd.DataFrame, strict: bool, notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The recordings that can be used, each once, with samples and sample_rate, and a line for each that cannot."""

    def header(path: str) -> tuple[Header, str]:
        if path != shown(path):
            raise ValueError("its name is no UTF-8 or has a line break; rename it")
        data = source.read(path)
        return read_header(data), hashlib.blake2b(data, digest_size=16).hexdigest()

    headers, unusable = {}, []
    for path, result in in_threads(header, recordings["path"], "reading headers"):
        if isinstance(result, Exception):
            unusable.append(left_out(path, result, strict))
        else:
            headers[path] = result
    copies = _copies({path: digest for path, (_, digest) in headers.items()})
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


def _copies(digests: Mapping[str, str]) -> dict[str, str]:
    """For each path whose bytes stand elsewhere too, the path that is kept: the shortest name, then the first."""
    kept: dict[str, str] = {}
    copies = {}
    for path in sorted(digests, key=lambda path: (len(PurePosixPath(path).name), path)):
        original = kept.setdefault(digests[path], path)
        if original != path:
            copies[path] = original
    return copies


def require_known(techniques: Sequence[str], there: Sequence[str]) -> None:
    """That every technique has a folder."""
    for technique in techniques:
        if technique not in there:
            near = difflib.get_close_matches(technique, there, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"data.techniques names {technique}, found are {', '.join(there)}.{hint}")
    twice = [technique for technique, count in Counter(techniques).items() if count > 1]
    if twice or not techniques:
        raise ValueError(f"data.techniques {f'names {twice[0]} twice' if twice else 'is empty'}: give each one once.")


def require_split(split: Mapping[str, Sequence[str]], there: Sequence[str]) -> None:
    """That a split has test singers, that all its singers are there, and that each is on one side only."""
    unknown = sorted(set(split) - set(SPLITS[1:]))
    if unknown:
        raise ValueError(f"data.split.{unknown[0]}: a split names test and validation singers; all others train.")
    if not split.get("test"):
        raise ValueError(f"data.split.test names no singer: name at least one of {', '.join(there)}.")
    for side in SPLITS[1:]:
        for singer in split.get(side) or ():
            if singer not in there:
                near = [name for name in there if name.lower() == singer.lower()]
                near = near or difflib.get_close_matches(singer, there, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise ValueError(f"data.split.{side} names {singer}, found are {', '.join(there)}.{hint}")
    both = sorted(set(split["test"]) & set(split.get("validation") or ()))
    if both:
        raise ValueError(f"data.split names {both[0]} as a test and as a validation singer: choose one side.")


def require_sides(table: pd.DataFrame, techniques: Sequence[str], what: str, unusable: Sequence[str]) -> None:
    """That a table of recordings or clips has a training row of every technique, and a test row."""
    trained = set(table.loc[table["split"] == "train", "technique"])
    missing = [technique for technique in techniques if technique not in trained]
    spoilt = f" {counted(len(unusable), 'recording')} could not be used, first: {unusable[0]}." if unusable else ""
    if missing:
        raise ValueError(
            f"no training {what} of {', '.join(missing)}: leave it out of data.techniques, "
            f"or let one of its singers train (data.split).{spoilt}"
        )
    if not (table["split"] == "test").any():
        raise ValueError(f"no test {what} of these techniques: choose other singers in data.split.test.{spoilt}")


def left_out(path: str, problem: Exception, strict: bool) -> str:
    """The line for a recording that cannot be used.

    Raises:
        ValueError: instead, if strict.
    """
    reason = str(problem) or type(problem).__name__
    if strict:
        raise ValueError(f"{shown(path)}: {reason}; mend or remove it, or leave it out with data.strict=false.")
    return f"{shown(path)}: {reason}"


def in_threads(work: Callable, paths: Iterable[str], doing: str) -> Iterator[tuple[str, object]]:
    """(path, work(path)) in order, from as many threads as there are cores, a few at a time so that memory stays flat.

    What `work` raises as ValueError, OSError or MemoryError is given in place of its result.
    """
    from tqdm import tqdm

    def attempt(path: str) -> object:
        try:
            return work(path)
        except (ValueError, OSError, MemoryError) as problem:
            return problem

    paths = list(paths)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ahead = iter(paths)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=doing, total=len(paths), unit=" recordings", mininterval=bar_interval()) as bar,
    ):
        waiting = [(path, pool.submit(attempt, path)) for path in islice(ahead, 2 * workers)]
        while waiting:
            path, future = waiting.pop(0)
            result = future.result()
            waiting += [(path, pool.submit(attempt, path)) for path in islice(ahead, 1)]
            bar.update()
            yield path, result


def counted(count: int, noun: str) -> str:
    """1 recording, 1,871 recordings."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown(path: str) -> str:
    """A path that fits on a line and in a UTF-8 file, whatever its bytes are."""
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def _listed(counts: Mapping[str, int]) -> str:
    most_first = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(f"{shown(name)} {counts[name]:,}" for name in most_first)


def _by_number(singer: str) -> tuple[str, int]:
    """female9 before female10."""
    stem = singer.rstrip("0123456789")
    return stem, int(singer[len(stem) :] or 0)
