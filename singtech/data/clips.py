"""The clip store: every recording cut once into clips of equal length, as int16 in one memory-mapped array.

A corpus's folder `<name>-<key>` holds, whole or not at all:
    manifest.csv   a row a recording (see `singtech.data.manifest`)
    clips.csv      a row a clip: recording, singer, technique, context, split, start (seconds), samples (before padding)
    clips.npy      (N, S) int16, row n the audio of clip n, zeros after its samples
    corpus.json    settings, notes and fingerprints
The key is a hash of the settings and of what the source holds, so that a changed source is prepared anew.
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from singtech.data.archive import Source, open_source
from singtech.data.cutting import Sliced, clip_length, clip_spans, slice_recording
from singtech.data.download import require_room, room_reported
from singtech.data.manifest import SPLITS, Survey, counted, in_threads, left_out, require_sides, survey
from singtech.files import atomic_folder

SCHEMA = 1  # raised when the code's meaning changes: older stores are then made anew
TEXT = dict.fromkeys(("path", "recording", "singer", "technique", "context", "split"), str)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prepared clips.

    Attributes:
        techniques: K names, in the order of the targets.
        clips: N rows (see the module).
        waveforms: (N, S) int16, memory-mapped and read-only.
        notes: a line for each thing that was corrected, left out or odd.
        folder: where all this is.
    """

    name: str
    techniques: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    clips: pd.DataFrame
    waveforms: np.ndarray
    notes: list[str]
    folder: Path

    def rows(self, split: str) -> np.ndarray:
        """(n,) indices of the clips of "train", "validation" or "test"."""
        if split not in SPLITS:
            raise ValueError(f"{split}: expected a split, one of {', '.join(SPLITS)}.")
        return np.flatnonzero((self.clips["split"] == split).to_numpy())

    def targets(self, split: str) -> np.ndarray:
        """(n,) int64 technique index of each clip of a split."""
        index = {technique: k for k, technique in enumerate(self.techniques)}
        return np.array([index[name] for name in self.clips["technique"].iloc[self.rows(split)]], dtype=np.int64)

    def counts(self, split: str) -> np.ndarray:
        """(K,) int64 clips of each technique."""
        return np.bincount(self.targets(split), minlength=len(self.techniques)).astype(np.int64)

    def fingerprint(self, split: str) -> str:
        """Hash of what a split's clips are: audio, technique, singer, recording and start; and of the techniques.

        Computed when the store was written; the same from WAV or FLAC, zip or folder.
        """
        return _json(self.folder)["fingerprints"][split]


def prepare(
    source_path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    name: str,
    techniques: Sequence[str] | None,
    split: Mapping[str, Sequence[str]],
    clip_seconds: float = 3.0,
    sample_rate: int = 44100,
    remainder: str = "drop",
    trim_silence: float | None = None,
    strict: bool = False,
) -> Corpus:
    """The clips of the recordings at `source_path`, cut once and then only opened.

    Args:
        folder: the corpus becomes `folder/<name>-<key>`.
        techniques: the folders to take, in the order of the targets; None for all that are there, sorted.
        split: singers of "test" and, optionally, of "validation"; all others train.
        remainder: what becomes of the end of a recording that fills no clip: `drop`, or `pad` with zeros to a clip. A
            recording shorter than a clip gives one padded clip either way.
        trim_silence: None, or leave out the beginning and end that stay this many dB below the recording's peak.
        strict: stop at a recording that cannot be used, instead of leaving it out and saying so.
    Raises:
        ValueError: a setting or the source is wrong; one sentence says which and how.
        OSError: the source cannot be read, or the store not written, for instance for lack of space.
    """
    settings = checked_settings(name, techniques, split, clip_seconds, sample_rate, remainder, trim_silence)
    with open_source(source_path) as source:
        key = hashlib.sha256(json.dumps([SCHEMA, settings, source.signature()]).encode()).hexdigest()
        place = Path(folder) / f"{name}-{key[:8]}"
        corpus = _opened(place, key, strict)
        if corpus is None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with _lock(place):
                corpus = _opened(place, key, strict, warn=True)  # another process may have made it meanwhile
                if corpus is None:
                    _remove_remains(place)
                    _write(source, place, key, settings, strict)
                    corpus, _ = _read(place, key)
    return corpus


def checked_settings(
    name: str,
    techniques: Sequence[str] | None,
    split: Mapping[str, Sequence[str]],
    clip_seconds: float,
    sample_rate: int,
    remainder: str,
    trim_silence: float | None,
) -> dict:
    """The settings as plain values of one form, so that equal settings have one key.

    Raises:
        ValueError: one of them is not what it should be.
    """
    if not (isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)):
        raise ValueError(f"data.name={name}: expected letters, digits, - and _, for it names folders and rows.")
    if not _is_number(clip_seconds) or not 0 < clip_seconds <= 3600:
        raise ValueError(f"data.clip_seconds={clip_seconds}: expected seconds, such as 3.0.")
    if not _is_number(sample_rate) or sample_rate != int(sample_rate) or not 1000 <= sample_rate <= 384_000:
        raise ValueError(f"data.sample_rate={sample_rate}: expected whole samples a second, such as 44100.")
    if remainder not in ("drop", "pad"):
        raise ValueError(f"data.remainder={remainder}: expected drop or pad.")
    if trim_silence is not None and not (_is_number(trim_silence) and 0 < trim_silence <= 200):
        raise ValueError(f"data.trim_silence={trim_silence}: expected null, or dB below the peak, such as 40.")
    if not isinstance(split, Mapping):
        raise ValueError(f"data.split={split}: expected test: [singers], validation: [singers].")
    sides = sorted({*split, *SPLITS[1:]})
    return {
        "name": name,
        "techniques": None if techniques is None else _names("data.techniques", techniques),
        "split": {side: sorted(set(_names(f"data.split.{side}", split.get(side) or []))) for side in sides},
        "clip_seconds": float(clip_seconds),
        "sample_rate": int(sample_rate),
        "remainder": remainder,
        "trim_silence": None if trim_silence is None else float(trim_silence),
    }


def report(corpus: Corpus) -> str:
    """What a corpus holds, to print: per technique and split the recordings, minutes and clips; then the notes."""
    from tabulate import tabulate

    recordings = pd.read_csv(corpus.folder / "manifest.csv", dtype=TEXT, na_filter=False)
    recordings["minutes"] = recordings["samples"] / recordings["sample_rate"] / 60
    sides = [side for side in SPLITS if (recordings["split"] == side).any()]
    rows = []
    for technique in (*corpus.techniques, None):
        row = [technique or "all"]
        for side in (*sides, None):
            of, clips = (_part(table, technique, side) for table in (recordings, corpus.clips))
            row += [f"{len(of):,}", f"{of['minutes'].sum():,.2f}", f"{len(clips):,}"]
        rows.append(row)
    header = ["\ntechnique"]
    for side in (*sides, "all"):
        header += [f"{side}\nrecordings", "\nminutes", "\nclips"]
    table = tabulate(rows, header, disable_numparse=True, colalign=["left", *["right"] * (len(header) - 1)])
    audio = f"clips of {corpus.clip_seconds:g} s at {corpus.sample_rate:,} Hz"
    return "\n".join([f"{corpus.name}: {audio}, in {corpus.folder}", "", table, "", *(f"- {n}" for n in corpus.notes)])


def _part(table: pd.DataFrame, technique: str | None, side: str | None) -> pd.DataFrame:
    """The rows of a technique (None: of all) and of a split (None: of all)."""
    chosen = np.ones(len(table), dtype=bool)
    for column, value in (("technique", technique), ("split", side)):
        if value is not None:
            chosen &= (table[column] == value).to_numpy()
    return table[chosen]


def _opened(place: Path, key: str, strict: bool, warn: bool = False) -> Corpus | None:
    """The corpus at `place`; None where there is none, or one that is not whole."""
    if not place.exists():
        return None
    try:
        corpus, unusable = _read(place, key)
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as problem:
        if warn:
            log.warning("%s is damaged (%s); it is made anew.", place, " ".join(str(problem).split()))
        return None
    if strict and unusable:
        raise ValueError(f"{unusable[0]}; mend or remove it, or leave it out with data.strict=false.")
    return corpus


def _read(place: Path, key: str) -> tuple[Corpus, list[str]]:
    """What is stored at `place`, and its unusable recordings.

    Raises:
        ValueError, KeyError, TypeError, EOFError, FileNotFoundError: it does not fit together.
    """
    stored = _json(place)
    clips = pd.read_csv(place / "clips.csv", dtype=TEXT, na_filter=False)
    waveforms = np.load(place / "clips.npy", mmap_mode="r")
    expected = len(clips), clip_length(stored["settings"])
    surplus = (place / "clips.npy").stat().st_size - waveforms.offset - waveforms.nbytes
    if stored["key"] != key or waveforms.dtype != np.int16 or waveforms.shape != expected or surplus:
        raise ValueError(f"clips.npy has {waveforms.shape} samples and {surplus} bytes more, expected {expected}")
    if not (place / "manifest.csv").is_file() or set(stored["fingerprints"]) != set(SPLITS):
        raise ValueError("manifest.csv or a fingerprint is missing")
    settings = stored["settings"]
    corpus = Corpus(
        settings["name"],
        tuple(stored["techniques"]),
        settings["sample_rate"],
        settings["clip_seconds"],
        clips,
        waveforms,
        stored["notes"],
        place,
    )
    return corpus, stored["unusable"]


def _json(place: Path) -> dict:
    return json.loads((place / "corpus.json").read_text(encoding="utf-8"))


def _lock(place: Path):
    """One process prepares a corpus, others wait for it."""
    from filelock import FileLock, Timeout

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{place} is being prepared by another process; waiting for it.", file=sys.stderr)
        return lock.acquire()


def _remove_remains(place: Path) -> None:
    """Clear away a damaged store, and what a killed process left half-written. Called under the lock."""
    for remains in (place, *place.parent.glob(f".{place.name[:60]}.*.tmp")):
        shutil.rmtree(remains, ignore_errors=True)


def _write(source: Source, place: Path, key: str, settings: dict, strict: bool) -> None:
    """Survey a source and write its store."""
    found = survey(source, settings["techniques"], settings["split"], strict)
    needed = _bytes_needed(found.recordings, settings)
    require_room(place.parent, f"preparing {place.name}", needed)
    with room_reported(place.parent, f"preparing {place.name}", needed), atomic_folder(place) as temporary:
        clips, fingerprints, notes, unusable = _cut(source, found, temporary / "clips.npy", settings, strict)
        used = found.recordings["path"].isin(clips.pop("path"))
        found.recordings[used].to_csv(temporary / "manifest.csv", index=False, lineterminator="\n")
        clips.to_csv(temporary / "clips.csv", index=False, lineterminator="\n")
        lines = [*found.notes, *notes, *(f"left out {line}" for line in unusable)]
        if unusable:
            lines.append(f"{counted(len(unusable), 'recording')} left out because they could not be used")
            log.warning(
                "%s could not be used: python -m singtech.prepare says which.", counted(len(unusable), "recording")
            )
        stored = {
            "key": key,
            "settings": settings,
            "techniques": found.techniques,
            "notes": lines,
            "unusable": unusable,
            "fingerprints": fingerprints,
        }
        (temporary / "corpus.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")


def _cut(
    source: Source, found: Survey, path: Path, settings: dict, strict: bool
) -> tuple[pd.DataFrame, dict[str, str], list[str], list[str]]:
    """Write `path`; give its clips (with their recording's path), the fingerprints, notes and unusable recordings."""
    rows, unusable, seen = [], list(found.unusable), Counter()
    opening = json.dumps([list(found.techniques), settings["sample_rate"], clip_length(settings)]).encode()
    hashes = {side: hashlib.sha256(opening) for side in SPLITS}
    recordings = {recording.path: recording for recording in found.recordings.itertuples()}

    def work(name: str) -> Sliced:
        return slice_recording(source.read(name), settings)

    with path.open("wb") as file:
        _npy_header(file, 0, clip_length(settings))
        for name, result in in_threads(work, recordings, "cutting clips"):
            if isinstance(result, Exception):
                unusable.append(left_out(name, result, strict))
                continue
            recording = recordings[name]
            _count(seen, recording, result, settings)
            for clip, (start, valid) in zip(result.clips, result.spans, strict=True):
                identity = [
                    str(PurePosixPath(name).with_suffix("")),
                    recording.singer,
                    recording.technique,
                    start,
                    valid,
                ]
                audio = clip.astype("<i2", copy=False).tobytes()
                file.write(audio)
                hashes[recording.split].update(json.dumps(identity).encode() + audio)
                rows.append((name, *identity[:3], recording.context, recording.split, start, valid))
        file.seek(0)
        _npy_header(file, len(rows), clip_length(settings))
    columns = ["path", "recording", "singer", "technique", "context", "split", "start", "samples"]
    clips = pd.DataFrame(rows, columns=columns)
    clips["start"] = clips["start"] / settings["sample_rate"]
    require_sides(clips, found.techniques, "clip", unusable)
    return clips, {side: value.hexdigest() for side, value in hashes.items()}, _notes(seen, settings), unusable


def _npy_header(file, clips: int, clip_samples: int) -> None:
    """The opening of an .npy file; numpy leaves room in it for the count to grow, so it can be written again."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (clips, clip_samples)}
    np.lib.format.write_array_header_1_0(file, header)


def _count(seen: Counter, recording, sliced: Sliced, settings: dict) -> None:
    """Keep count of what is said of the recordings afterwards."""
    valid = sum(samples for _, samples in sliced.spans)
    seen["short"] += len(sliced.spans) == 1 and valid < clip_length(settings)
    seen["ends"] += len(sliced.spans) > 1 and sliced.spans[-1][1] < clip_length(settings)
    seen["beyond"] += sliced.beyond > 0
    seen["silent clips"] += int((~sliced.clips.any(axis=1)).sum())
    if recording.sample_rate != settings["sample_rate"]:
        seen[f"from {recording.sample_rate:,} Hz"] += 1


def _notes(seen: Counter, settings: dict) -> list[str]:
    """The lines about what was seen while cutting."""
    said = {
        "short": f"shorter than a clip of {settings['clip_seconds']:g} s, padded with zeros to one",
        "ends": "whose end was padded with zeros to a clip",
        "beyond": "beyond full scale at 16 bits, clipped",
    }
    lines = [
        f"{counted(count, 'recording')} resampled {kind} to {settings['sample_rate']:,} Hz"
        for kind, count in sorted(seen.items())
        if kind.startswith("from ")
    ]
    lines += [f"{counted(seen[kind], 'recording')} {what}" for kind, what in said.items() if seen[kind]]
    if seen["silent clips"]:
        lines.append(f"{counted(seen['silent clips'], 'clip')} of digital silence in recordings that are not silent")
    return lines


def _bytes_needed(recordings: pd.DataFrame, settings: dict) -> int:
    """Bytes of the store, at most: what the headers promise, and 1 MB for the tables of each 1,000 clips."""
    rate, clip_samples = settings["sample_rate"], clip_length(settings)
    lengths = (math.ceil(n * rate / r) for n, r in zip(recordings["samples"], recordings["sample_rate"], strict=True))
    clips = sum(len(clip_spans(length, clip_samples, settings["remainder"])) for length in lengths)
    return clips * (2 * clip_samples + 1000)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _names(setting: str, names: Iterable[str]) -> list[str]:
    if isinstance(names, str | Mapping) or not isinstance(names, Sequence):
        raise ValueError(f"{setting}={names}: expected a list, [{names}].")
    return [unicodedata.normalize("NFC", str(name)) for name in names]  # as folders' names are
