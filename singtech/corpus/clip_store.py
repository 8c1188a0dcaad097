"""The clip store: every recording cut once into clips of equal length, as int16 in one memory-mapped array.

A corpus's folder `<name>-<key>` holds, whole or not at all:
    manifest.csv   a row a recording (see `singtech.corpus.manifest`)
    clips.csv      a row a clip: recording, singer, technique, context, start (seconds), samples (unpadded), digest
    clips.npy      (N, S) int16, row n the audio of clip n, zeros after its samples
    corpus.json    settings, singers and notes
The key is a hash of the settings and of what the source holds, so that a changed source is prepared anew. Who trains
and who is tested is no part of it: a split or a fold is a view of the store (`singtech.corpus.splits`).
"""

import hashlib
import io
import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.cutting import Sliced, clip_length, clip_spans, slice_recording
from singtech.corpus.download import require_room, room_reported
from singtech.corpus.manifest import (
    COLUMNS,
    Survey,
    counted,
    in_threads,
    left_out,
    names_of,
    recording_of,
    recordings_of,
    singers_of,
    survey,
)
from singtech.corpus.sources import LabelledSource, checked_source
from singtech.corpus.splits import SPLITS, Split, checked_split, require_names, resolved, split_notes, spoilt, subsets
from singtech.io.atomic import atomic_folder, remove_remains, set_aside
from singtech.io.lock import hold, is_held

WAVEFORMS = "clips.npy"
SCHEMA = 2  # raised when the code's meaning changes: older stores are then made anew
CLIP_COLUMNS = ["recording", "singer", "technique", "context", "start", "samples", "digest"]
TEXT = dict.fromkeys(("path", "recording", "singer", "technique", "context", "digest"), str)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prepared clips, seen under a split.

    Attributes:
        techniques: K names, in the order of the targets.
        clips: N rows (see the module), with the split of each; "" where data.split names it in no subset.
        waveforms: (N, S) int16, memory-mapped and read-only.
        notes: a line for each thing that was corrected, left out or odd.
        folder: where all this is.
        recordings: a row for each recording with clips in a subset (see `singtech.corpus.manifest`), with its split.
        fold: None, or which fold's singers are tested.
    """

    name: str
    techniques: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    clips: pd.DataFrame
    waveforms: np.ndarray
    notes: list[str]
    folder: Path
    recordings: pd.DataFrame
    fold: int | None = None

    def __getstate__(self) -> dict:
        """Another process opens the waveforms where they are, instead of being sent them."""
        return {name: value for name, value in vars(self).items() if name != "waveforms"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, waveforms=np.load(state["folder"] / WAVEFORMS, mmap_mode="r", allow_pickle=False))

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

        The same from WAV or FLAC, zip or folder, and whatever the other splits hold.
        """
        return self._digest(self.clips["digest"].iloc[self.rows(split)])

    @property
    def state(self) -> str:
        """The same hash over all clips, whatever the split."""
        return self._digest(self.clips["digest"])

    def identity(self) -> dict[str, str]:
        """What rows keep of the clips: hashes of those that train and test, and of all of them."""
        both = f"{self.fingerprint('train')} {self.fingerprint('test')}"
        data = hashlib.sha256(both.encode()).hexdigest()
        return {"data_fingerprint": data[:16], "corpus_fingerprint": self.state[:16]}

    def _digest(self, digests: Iterable[str]) -> str:
        return _state(self.techniques, self.sample_rate, self.waveforms.shape[1], digests)

    def lengths(self) -> pd.DataFrame:
        """How much there is of each technique, split and context that occurs: recordings, minutes, clips."""
        of = ["technique", "split", "context"]
        minutes = self.recordings["samples"] / self.recordings["sample_rate"] / 60
        table = self.recordings.assign(minutes=minutes).groupby(of)["minutes"].agg(recordings="size", minutes="sum")
        table["clips"] = self.clips.groupby(of).size()
        order = product(self.techniques, SPLITS, sorted(self.recordings["context"].unique()))
        return table.loc[[place for place in order if place in table.index]].reset_index()


def prepare(
    source: str | os.PathLike | LabelledSource,
    folder: str | os.PathLike,
    *,
    name: str,
    techniques: Sequence[str] | None,
    split: Mapping[str, object],
    fold: int | None = None,
    folds: int = 5,
    clip_seconds: float = 3.0,
    sample_rate: int = 44100,
    remainder: str = "drop",
    trim_silence: float | None = None,
    strict: bool = False,
    make: bool = True,
) -> Corpus | None:
    """The clips of a source's recordings, cut once and then only opened.

    Args:
        source: a folder or zip where folders say who sings what, or an object that says it itself.
        folder: the corpus becomes `folder/<name>-<key>`.
        techniques: those to take, in the order of the targets; None for all that are there, sorted.
        split: singers, or recordings, of each subset (see `checked_split`).
        fold: None, or test the singers of this fold of `folds` instead of those of `split` (see `fold_singers`).
        remainder: what becomes of the end of a recording that fills no clip: `drop`, or `pad` with zeros to a clip. A
            recording shorter than a clip gives one padded clip either way.
        trim_silence: None, or leave out the beginning and end that stay this many dB below the recording's peak.
        strict: stop at a recording that cannot be used, instead of leaving it out and saying so.
        make: False gives None where the clips are not cut yet, instead of cutting them.
    Raises:
        ValueError: a setting or the source is wrong; one sentence says which and how.
        OSError: the source cannot be read, or the store not written, for instance for lack of space.
    """
    view = checked_split(split, fold, folds)
    settings = checked_settings(name, techniques, clip_seconds, sample_rate, remainder, trim_silence)
    with checked_source(source) as source:
        key = hashlib.sha256(json.dumps([SCHEMA, settings, source.signature()]).encode()).hexdigest()
        place = Path(folder) / f"{name}-{key[:8]}"
        store = _opened(place, key, settings, strict)
        if store is not None:
            is_held(place)  # which clears away the lock of who was killed when the store was there
        if store is None and not make:
            return None
        if store is None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with hold(place, f"{place} is being prepared"):
                store = _opened(place, key, settings, strict, warn=True)  # another process may have made it meanwhile
                if store is None:
                    _make_way(place)
                    _write(source, place, key, settings, view, strict)
                    store = _read(place, key, settings)
        recordings = recordings_of(source) if view.by == "recording" else []
    return _seen(store, view, recordings)


def checked_settings(
    name: str,
    techniques: Sequence[str] | None,
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
    return {
        "name": name,
        "techniques": None if techniques is None else names_of("data.techniques", techniques),
        "clip_seconds": float(clip_seconds),
        "sample_rate": int(sample_rate),
        "remainder": remainder,
        "trim_silence": None if trim_silence is None else float(trim_silence),
    }


def report(corpus: Corpus) -> str:
    """What a corpus holds, to print: per technique and split the recordings, minutes and clips; then the notes."""
    from tabulate import tabulate

    lengths = corpus.lengths()
    there = [side for side in SPLITS if side in set(lengths["split"])]
    rows = []
    for technique in (*corpus.techniques, None):
        row = [technique or "all"]
        for side in (*there, None):
            part = lengths
            for column, value in (("technique", technique), ("split", side)):
                part = part if value is None else part[part[column] == value]
            row += [f"{part['recordings'].sum():,}", f"{part['minutes'].sum():,.2f}", f"{part['clips'].sum():,}"]
        rows.append(row)
    header = ["\ntechnique"]
    for side in (*there, "all"):
        header += [f"{side}\nrecordings", "\nminutes", "\nclips"]
    table = tabulate(rows, header, disable_numparse=True, colalign=["left", *["right"] * (len(header) - 1)])
    audio = f"clips of {corpus.clip_seconds:g} s at {corpus.sample_rate:,} Hz"
    name = corpus.name if corpus.fold is None else f"{corpus.name}, fold {corpus.fold}"
    return "\n".join([f"{name}: {audio}, in {corpus.folder}", "", table, "", *(f"- {n}" for n in corpus.notes)])


def stored_state(place: Path) -> str:
    """The `state` of the corpus that is stored at `place`.

    Raises:
        ValueError, KeyError, TypeError, OSError: it is damaged.
    """
    stored = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
    settings = stored["settings"]
    digests = pd.read_csv(place / "clips.csv", dtype=TEXT, na_filter=False)["digest"]
    return _state(stored["techniques"], settings["sample_rate"], clip_length(settings), digests)


def first_fault(place: Path) -> str:
    """What is wrong with the clips stored at `place`, each of them read; "" where nothing is."""
    try:
        stored = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
        store = _read(place, stored["key"], checked_settings(**stored["settings"]))
        for clip, audio in zip(store.clips.itertuples(), store.waveforms, strict=True):
            start = round(clip.start * store.settings["sample_rate"])
            identity = [clip.recording, clip.singer, clip.technique, start, clip.samples]
            if _clip_digest(identity, audio) != clip.digest:
                return f"{place}: clip {clip.Index} ({clip.recording} at {clip.start:g} s) is not what was stored"
    except (OSError, ValueError, KeyError, TypeError, EOFError) as problem:
        return f"{place} is damaged ({' '.join(str(problem).split())[:120]})"
    return ""


def _state(techniques: Sequence[str], sample_rate: int, samples: int, digests: Iterable[str]) -> str:
    """Hash of what clips are."""
    return hashlib.sha256(json.dumps([techniques, sample_rate, samples, *digests]).encode()).hexdigest()


def _clip_digest(identity: list, audio: np.ndarray) -> str:
    """Hash of a clip: recording, singer, technique, start and valid samples, and its audio."""
    found = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16)
    found.update(np.ascontiguousarray(audio, "<i2"))
    return found.hexdigest()


class _Store(NamedTuple):
    """What stands in a corpus's folder."""

    settings: dict
    techniques: list[str]
    singers: list[str]
    notes: list[str]
    unusable: list[str]
    clips: pd.DataFrame
    waveforms: np.ndarray
    recordings: pd.DataFrame
    folder: Path


def _seen(store: _Store, view: Split, recordings: Sequence[str]) -> Corpus:
    """A store under a split.

    Args:
        recordings: all of the source, for a split by recording.
    Raises:
        ValueError: the split does not fit it.
    """
    require_names(view, recordings if view.by == "recording" else store.singers)
    view = resolved(view, store.clips)
    clips = store.clips.assign(split=subsets(view, store.clips, store.techniques, "clip", store.unusable))
    table = store.recordings.assign(split=view.subsets(store.recordings))
    return Corpus(
        store.settings["name"],
        tuple(store.techniques),
        store.settings["sample_rate"],
        store.settings["clip_seconds"],
        clips,
        store.waveforms,
        [*store.notes, *split_notes(view, table, clips, store.techniques)],
        store.folder,
        table[table["split"] != ""].reset_index(drop=True),
        view.fold,
    )


def _opened(place: Path, key: str, settings: dict, strict: bool, warn: bool = False) -> _Store | None:
    """The store at `place`; None where there is none, or one that is not whole."""
    if not place.exists():
        return None
    try:
        store = _read(place, key, settings)
    except (ValueError, FileNotFoundError) as problem:
        if warn:
            log.warning("%s is damaged (%s); it is made anew.", place, " ".join(str(problem).split()))
        return None
    if strict and store.unusable:
        raise ValueError(f"{store.unusable[0]}; mend or remove it, or leave it out with data.strict=false.")
    return store


def _read(place: Path, key: str, settings: dict) -> _Store:
    """What is stored at `place`, which is no more trusted than any file: all of it is checked.

    Raises:
        ValueError, FileNotFoundError: it does not fit together.
    """
    try:
        stored = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("corpus.json is nested without end") from error
    lists = ("techniques", "singers", "notes", "unusable")
    if not isinstance(stored, dict) or set(stored) != {"key", "settings", *lists}:
        raise ValueError("corpus.json does not hold what describes a corpus")
    if stored.pop("key") != key or stored["settings"] != settings:
        raise ValueError("corpus.json is of another corpus")
    if not all(isinstance(stored[name], list) and all(isinstance(x, str) for x in stored[name]) for name in lists):
        raise ValueError(f"corpus.json has no lists of texts as {', '.join(lists)}")
    clips, recordings = _table(place / "clips.csv", CLIP_COLUMNS), _table(place / "manifest.csv", COLUMNS)
    most = clip_length(settings)
    if not (clips["samples"].between(1, most).all() and clips["start"].between(0, np.inf, inclusive="left").all()):
        raise ValueError(f"clips.csv has clips that do not begin at a second or have no 1 to {most} samples")
    if (recordings[["samples", "sample_rate"]] < 1).any(axis=None):
        raise ValueError("manifest.csv has recordings without samples or sample rate")
    for table, name in ((clips, "clips.csv"), (recordings, "manifest.csv")):
        if not table["technique"].isin(stored["techniques"]).all() or not table["singer"].isin(stored["singers"]).all():
            raise ValueError(f"{name} has techniques or singers that corpus.json has not")
    return _Store(
        **stored, clips=clips, waveforms=_waveforms(place, len(clips), most), recordings=recordings, folder=place
    )


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table of a store.

    Raises:
        ValueError: its columns or types are others, or it has no row.
    """
    table = pd.read_csv(path, dtype=TEXT, na_filter=False)
    numbers = {"samples": "i", "sample_rate": "i", "start": "f"}
    if list(table.columns) != list(columns) or not isinstance(table.index, pd.RangeIndex) or not len(table):
        raise ValueError(f"{path.name} does not have the columns {', '.join(columns)}, and rows of them")
    if any(table[name].dtype.kind != numbers[name] for name in columns if name in numbers):
        raise ValueError(f"{path.name} has text where numbers belong")
    return table


def _waveforms(place: Path, clips: int, clip_samples: int) -> np.ndarray:
    """(N, S) int16, memory-mapped. The file must be what `_npy_header` writes, and is never interpreted otherwise.

    Raises:
        ValueError: it is not, or has more or fewer samples.
    """
    header = io.BytesIO()
    _npy_header(header, clips, clip_samples)
    path, opening = place / WAVEFORMS, header.getvalue()
    with path.open("rb") as file:
        is_ours = file.read(len(opening)) == opening
    surplus = path.stat().st_size - len(opening) - 2 * clips * clip_samples
    if not is_ours or surplus:
        raise ValueError(f"clips.npy is not that of {clips} clips of {clip_samples} samples, or {surplus} bytes longer")
    return np.memmap(path, "<i2", "r", offset=len(opening), shape=(clips, clip_samples))


def _make_way(place: Path) -> None:
    """Set aside a damaged store, and clear away what a killed process left half-written. Called under the lock."""
    if place.exists():
        set_aside(place)
    remove_remains(place)


def _write(source: Source, place: Path, key: str, settings: dict, view: Split, strict: bool) -> None:
    """Survey a source and write its store. A wrong split is said at once: it costs no reading, or no cutting."""
    singers = singers_of(source)
    require_names(view, recordings_of(source) if view.by == "recording" else singers)
    found = survey(source, settings["techniques"], strict)
    if view.fold is None:
        subsets(view, found.recordings, found.techniques, "recording", found.unusable)
    needed = _bytes_needed(found.recordings, settings)
    require_room(place.parent, f"preparing {place.name}", needed)
    with room_reported(place.parent, f"preparing {place.name}", needed), atomic_folder(place) as temporary:
        clips, notes, unusable = _cut(source, found, temporary / WAVEFORMS, settings, strict)
        used = found.recordings["path"].isin(clips.pop("path"))
        found.recordings[used].to_csv(temporary / "manifest.csv", index=False, lineterminator="\n")
        clips.to_csv(temporary / "clips.csv", index=False, lineterminator="\n")
        lines = [*found.notes, *notes, *(f"left out {line}" for line in unusable)]
        if unusable:
            lines.append(f"{counted(len(unusable), 'recording')} left out because they could not be used")
            log.warning("%s could not be used: singtech prepare says which.", counted(len(unusable), "recording"))
        stored = {
            "key": key,
            "settings": settings,
            "techniques": found.techniques,
            "singers": singers,
            "notes": lines,
            "unusable": unusable,
        }
        (temporary / "corpus.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")


def _cut(
    source: Source, found: Survey, path: Path, settings: dict, strict: bool
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Write `path`; give its clips (with their recording's path), notes and unusable recordings."""
    rows, unusable, seen = [], list(found.unusable), Counter()
    recordings = {recording.path: recording for recording in found.recordings.itertuples()}

    def work(name: str) -> tuple[Sliced, list[list], list[str]]:
        sliced, recording = slice_recording(source.read(name), settings), recordings[name]
        of = [recording_of(name), recording.singer, recording.technique]
        identities = [[*of, start, valid] for start, valid in sliced.spans]
        return sliced, identities, [_clip_digest(*clip) for clip in zip(identities, sliced.clips, strict=True)]

    def needed(name: str) -> int:
        recording = recordings[name]
        return source.size(name) + 2 * recording.samples * settings["sample_rate"] // recording.sample_rate

    with path.open("wb") as file:
        _npy_header(file, 0, clip_length(settings))
        for name, result in in_threads(work, recordings, "cutting clips", needed):
            if isinstance(result, Exception):
                unusable.append(left_out(name, result, strict))
                continue
            sliced, identities, digests = result
            _count(seen, recordings[name], sliced, settings)
            file.write(np.ascontiguousarray(sliced.clips, "<i2"))
            for identity, digest in zip(identities, digests, strict=True):
                rows.append((name, *identity[:3], recordings[name].context, *identity[3:], digest))
        file.seek(0)
        _npy_header(file, len(rows), clip_length(settings))
    clips = pd.DataFrame(rows, columns=["path", *CLIP_COLUMNS])
    clips["start"] = clips["start"] / settings["sample_rate"]
    missing = [technique for technique in found.techniques if technique not in set(clips["technique"])]
    if missing:
        raise ValueError(f"no clip of {', '.join(missing)}: leave it out of data.techniques.{spoilt(unusable)}")
    return clips, _notes(seen, settings), unusable


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
