"""Store clips: every recording cut once into clips of equal length, as int16 in one memory-mapped array.

A corpus's folder `<name>-<key>` holds, whole or not at all:
    manifest.csv   a row a recording (see `singtech.corpus.manifest`)
    clips.csv      a row a clip: recording, singer, technique, context, start (seconds), samples (unpadded), digest
    clips.npy      (N, S) int16, row n the audio of clip n, zeros after its samples
    corpus.json    the schema, settings, singers, notes, and a hash of the texts
The key is a hash of the settings and of the source's content, so that a changed source is prepared again. The split is
no part of the key: every split or fold shares the store (`singtech.corpus.splits`).
"""

import hashlib
import io
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.cutting import CutRecording, clip_length, cut_recording
from singtech.corpus.download import report_full_disk, require_room
from singtech.corpus.manifest import (
    COLUMNS,
    Survey,
    counted,
    list_recordings,
    names_of,
    process_recordings,
    recording_name,
    survey,
    unusable_line,
)
from singtech.corpus.sources import LabelledSource, checked_source
from singtech.corpus.splits import (
    SPLITS,
    Split,
    checked_split,
    require_names,
    resolved,
    split_notes,
    subsets,
    unusable_in_words,
)
from singtech.errors import Damaged, InvalidValue, Newer, NotThere
from singtech.io.atomic import atomic_folder, file_digest, remove_remains, set_aside
from singtech.io.lock import hold

WAVEFORMS = "clips.npy"
TABLES = ("clips.csv", "manifest.csv")
SCHEMA = 2  # raised when the code's meaning changes: older stores are then made again
CLIP_COLUMNS = ["recording", "singer", "technique", "context", "start", "samples", "digest"]
TYPES = {
    **dict.fromkeys(("path", "recording", "singer", "technique", "context", "digest"), str),
    **{"samples": np.int64, "sample_rate": np.int64, "start": np.float64},
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prepared clips under a split.

    Attributes:
        techniques: K names, in the order of the targets.
        clips: N rows (see the module), with the split of each; "" where data.split names it in no subset.
        waveforms: (N, S) int16, memory-mapped and read-only.
        notes: a line for each thing that was corrected, left out or odd.
        folder: of the clip store.
        recordings: a row for each recording with clips in a subset (see `singtech.corpus.manifest`), with its split.
        fold: None, or the fold whose singers are tested.
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
        """Leave the waveforms out: another process opens them from the disk."""
        return {name: value for name, value in vars(self).items() if name != "waveforms"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, waveforms=np.load(state["folder"] / WAVEFORMS, mmap_mode="r", allow_pickle=False))

    def rows(self, split: str) -> np.ndarray:
        """Return the (n,) indices of the clips of "train", "validation" or "test"."""
        if split not in SPLITS:
            raise InvalidValue(f"{split}: expected a split, one of {', '.join(SPLITS)}.")
        return np.flatnonzero((self.clips["split"] == split).to_numpy())

    def targets(self, split: str) -> np.ndarray:
        """Return the (n,) int64 technique index of each clip of a split."""
        index = {technique: k for k, technique in enumerate(self.techniques)}
        return np.array([index[name] for name in self.clips["technique"].iloc[self.rows(split)]], dtype=np.int64)

    def counts(self, split: str) -> np.ndarray:
        """Return the (K,) int64 clips of each technique."""
        return np.bincount(self.targets(split), minlength=len(self.techniques)).astype(np.int64)

    def fingerprint(self, split: str) -> str:
        """Return a hash of a split's clips (audio, technique, singer, recording, start) and of the techniques.

        It is the same from WAV or FLAC, zip or folder, whatever the other splits hold.
        """
        return self._digest(self.clips["digest"].iloc[self.rows(split)])

    @property
    def state(self) -> str:
        """The same hash over all clips, whatever the split."""
        return self._digest(self.clips["digest"])

    def identity(self) -> dict[str, str]:
        """Return the hashes that rows hold: of the clips that train and test, and of all clips."""
        both = f"{self.fingerprint('train')} {self.fingerprint('test')}"
        data = hashlib.sha256(both.encode()).hexdigest()
        return {"data_fingerprint": data[:16], "corpus_fingerprint": self.state[:16]}

    def _digest(self, digests: Iterable[str]) -> str:
        return _hash(self.techniques, self.sample_rate, self.waveforms.shape[1], digests)

    def lengths(self) -> pd.DataFrame:
        """Return the recordings, minutes and clips of each technique, split and context that occurs."""
        columns = ["technique", "split", "context"]
        minutes = self.recordings["samples"] / self.recordings["sample_rate"] / 60
        table = (
            self.recordings.assign(minutes=minutes).groupby(columns)["minutes"].agg(recordings="size", minutes="sum")
        )
        table["clips"] = self.clips.groupby(columns).size()
        order = product(self.techniques, SPLITS, sorted(self.recordings["context"].unique()))
        return table.loc[[cell for cell in order if cell in table.index]].reset_index()


class Store(NamedTuple):
    """The content of a corpus's folder."""

    folder: Path
    key: str
    settings: dict
    techniques: list[str]
    singers: list[str]
    notes: list[str]
    unusable: list[str]
    clips: pd.DataFrame
    waveforms: np.ndarray
    recordings: pd.DataFrame


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
    """Cut a source's recordings to clips, or open the clips that were cut before.

    Opening takes no lock and writes nothing.

    Args:
        source: a folder or zip whose folders name singer and technique, or an object with its own labels.
        folder: the corpus becomes `folder/<name>-<key>`.
        techniques: in the order of the targets; None for all, sorted.
        split: singers, or recordings, of each subset (see `checked_split`).
        fold: None, or test the singers of this fold of `folds` instead of those of `split` (see `fold_singers`).
        remainder: of a recording after its last whole clip: `drop` it, or `pad` it with zeros to a clip. A recording
            shorter than a clip gives one padded clip either way.
        trim_silence: None, or remove the beginning and end that stay this many dB below the recording's peak.
        strict: stop at an unusable recording, instead of leaving it out with a note.
        make: False returns None where the clips are not cut yet, instead of cutting them.
    Raises:
        SingtechError: a setting or the source is wrong; one sentence says which and how.
        OSError: the source cannot be read, or the store not written.
    """
    view = checked_split(split, fold, folds)
    settings = checked_settings(name, techniques, clip_seconds, sample_rate, remainder, trim_silence)
    with checked_source(source) as opened:
        key = hashlib.sha256(json.dumps([SCHEMA, settings, opened.signature()]).encode()).hexdigest()
        path = Path(folder) / f"{name}-{key[:8]}"
        store = _read_if_whole(path, key)
        if store is None and make:
            with hold(path, f"{path} is being prepared"):
                store = _read_if_whole(path, key)  # another process may have made it meanwhile
                if store is None:
                    if path.exists():
                        log.warning("%s is damaged; it is set aside as %s and made again.", path, set_aside(path).name)
                    remove_remains(path)
                    write_store(opened, path, key, settings, view, strict)
                    store = read_store(path)
        if store is None:
            return None
        if strict and store.unusable:
            raise Damaged(f"{store.unusable[0]}; mend or remove it, or leave it out with data.strict=false.")
        recordings = list_recordings(opened).names() if view.by == "recording" else []
    return _corpus(store, view, recordings)


def _read_if_whole(path: Path, key: str) -> Store | None:
    try:
        store = read_store(path)
    except (NotThere, Damaged):
        return None
    return store if store.key == key else None


def checked_settings(
    name: str,
    techniques: Sequence[str] | None,
    clip_seconds: float,
    sample_rate: int,
    remainder: str,
    trim_silence: float | None,
) -> dict:
    """Return the settings as plain values of one form, so that equal settings have one key.

    Raises:
        InvalidValue: one of them is out of range.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InvalidValue(f"data.name={name}: expected letters, digits, - and _, for it names folders and rows.")
    if not 0 < clip_seconds <= 3600:
        raise InvalidValue(f"data.clip_seconds={clip_seconds}: expected seconds, such as 3.0.")
    if sample_rate != int(sample_rate) or not 1000 <= sample_rate <= 384_000:
        raise InvalidValue(f"data.sample_rate={sample_rate}: expected whole samples a second, such as 44100.")
    if remainder not in ("drop", "pad"):
        raise InvalidValue(f"data.remainder={remainder}: expected drop or pad.")
    if trim_silence is not None and not 0 < trim_silence <= 200:
        raise InvalidValue(f"data.trim_silence={trim_silence}: expected null, or dB below the peak, such as 40.")
    return {
        "name": name,
        "techniques": None if techniques is None else names_of("data.techniques", techniques),
        "clip_seconds": float(clip_seconds),
        "sample_rate": int(sample_rate),
        "remainder": remainder,
        "trim_silence": None if trim_silence is None else float(trim_silence),
    }


def report(corpus: Corpus) -> str:
    """Write what a corpus holds: recordings, minutes and clips of each technique and split; then the notes."""
    amounts = ["recordings", "minutes", "clips"]
    lengths = corpus.lengths()
    splits = [split for split in SPLITS if split in set(lengths["split"])]
    rows = pd.concat([lengths, lengths.assign(technique="all")])
    rows = pd.concat([rows, rows.assign(split="all")])
    sums = rows.groupby(["technique", "split"])[amounts].sum().unstack(fill_value=0)
    order = [(amount, split) for split in (*splits, "all") for amount in amounts]
    cells = sums.loc[[*corpus.techniques, "all"], order]
    formats = ["{:,.2f}".format if amount == "minutes" else "{:,.0f}".format for amount, _ in order]
    table = cells.swaplevel(axis="columns").to_string(formatters=formats)
    audio = f"clips of {corpus.clip_seconds:g} s at {corpus.sample_rate:,} Hz"
    name = corpus.name if corpus.fold is None else f"{corpus.name}, fold {corpus.fold}"
    return "\n".join([f"{name}: {audio}, in {corpus.folder}", "", table, "", *(f"- {n}" for n in corpus.notes)])


def stored_state(folder: Path) -> str:
    """Return the `state` of the corpus that is stored in a folder.

    Raises:
        NotThere, Damaged, Newer: as `read_store`.
    """
    store = read_store(folder)
    return _hash(store.techniques, store.settings["sample_rate"], store.waveforms.shape[1], store.clips["digest"])


def first_fault(folder: Path) -> str:
    """Read each clip in a store and say what is wrong with the first bad one; "" if all are whole.

    Raises:
        Newer: as `read_store`.
    """
    try:
        store = read_store(folder)
    except (NotThere, Damaged) as problem:
        return str(problem)
    for clip, audio in zip(store.clips.itertuples(), store.waveforms, strict=True):
        start = round(clip.start * store.settings["sample_rate"])
        if _clip_digest([clip.recording, clip.singer, clip.technique, start, clip.samples], audio) != clip.digest:
            return f"{folder}: clip {clip.Index} ({clip.recording} at {clip.start:g} s) is not what was stored"
    return ""


def read_store(folder: Path) -> Store:
    """Read a clip store. Takes no lock; the waveforms are memory-mapped.

    Raises:
        NotThere: there is no such folder.
        Damaged: a file is absent, cut short or changed.
        Newer: a newer version of singtech wrote it.
    """
    if not folder.exists():
        raise NotThere(f"{folder}: there are no clips; make them with singtech prepare.")
    try:
        stored = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        schema, digest = stored.pop("schema", SCHEMA), stored.pop("digest", None)  # the oldest stores have neither
        if schema > SCHEMA:
            raise Newer(f"{folder} is of schema {schema}, newer than this singtech's {SCHEMA}: update singtech.")
        if digest not in (None, _digest_of_texts(folder, stored)):
            raise ValueError("a text was changed")
        clips, recordings = (
            pd.read_csv(folder / name, dtype=TYPES, usecols=columns, na_filter=False)[columns]
            for name, columns in zip(TABLES, (CLIP_COLUMNS, COLUMNS), strict=True)
        )
        header = _npy_header(len(clips), stored["settings"])
        with (folder / WAVEFORMS).open("rb") as file:
            if file.read(len(header)) != header:
                raise ValueError(f"{WAVEFORMS} and clips.csv do not fit together")
        shape = (len(clips), clip_length(stored["settings"]))
        waveforms = np.memmap(folder / WAVEFORMS, "<i2", "r", offset=len(header), shape=shape)
        return Store(folder, **stored, clips=clips, waveforms=waveforms, recordings=recordings)
    except Newer:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise Damaged(f"{folder} is damaged ({' '.join(str(problem).split())[:120]}).") from problem


def write_store(source: Source, folder: Path, key: str, settings: dict, view: Split, strict: bool) -> None:
    """Survey a source and write its clips. A wrong split is refused before a recording is read, or else before cutting.

    Raises:
        SingtechError: the split or the source is wrong, or the disk is full. No folder is left.
    """
    listing = list_recordings(source)
    require_names(view, listing.names() if view.by == "recording" else listing.singers())
    surveyed = survey(source, listing, settings["techniques"], strict)
    if view.fold is None:
        subsets(view, surveyed.recordings, surveyed.techniques, "recording", surveyed.unusable)
    needed, what = _bytes_needed(surveyed.recordings, settings), f"preparing {folder.name}"
    require_room(folder.parent, what, needed)
    with report_full_disk(folder.parent, what, needed), atomic_folder(folder) as temporary:
        clips, notes, unusable = _cut(source, surveyed, temporary / WAVEFORMS, settings, strict)
        recordings = surveyed.recordings[surveyed.recordings["path"].isin(clips.pop("path"))]
        for name, table in zip(TABLES, (clips, recordings), strict=True):
            table.to_csv(temporary / name, index=False, lineterminator="\n")
        lines = [*surveyed.notes, *notes, *(f"left out {line}" for line in unusable)]
        if unusable:
            lines.append(f"{counted(len(unusable), 'recording')} left out because they could not be used")
            log.warning("%s could not be used: singtech prepare says which.", counted(len(unusable), "recording"))
        stored: dict[str, Any] = {
            "key": key,
            "settings": settings,
            "techniques": surveyed.techniques,
            "singers": listing.singers(),
            "notes": lines,
            "unusable": unusable,
        }
        stored |= {"schema": SCHEMA, "digest": _digest_of_texts(temporary, stored)}
        (temporary / "corpus.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")


def _corpus(store: Store, view: Split, recordings: Sequence[str]) -> Corpus:
    """Put a store under a split.

    Args:
        recordings: all of the source, for a split by recording.
    Raises:
        InvalidValue: the split does not fit the store.
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


def _hash(techniques: Sequence[str], sample_rate: int, samples: int, digests: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps([techniques, sample_rate, samples, *digests]).encode()).hexdigest()


def _clip_digest(identity: list, audio: np.ndarray) -> str:
    """Return the hash of a clip: recording, singer, technique, start and valid samples, and its audio."""
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(audio, "<i2").data)
    return digest.hexdigest()


def _cut(
    source: Source, surveyed: Survey, path: Path, settings: dict, strict: bool
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Write `path`; return its clips (with their recording's path), notes and unusable recordings."""
    rows: list[list] = []
    unusable = list(surveyed.unusable)
    counts: Counter[tuple[int, str, str]] = Counter()
    recordings: dict[str, Any] = {recording.path: recording for recording in surveyed.recordings.itertuples()}
    rate = settings["sample_rate"]

    def cut(name: str) -> tuple[CutRecording, list[list]]:
        result, recording = cut_recording(source.read(name), settings), recordings[name]
        labels = [recording_name(name), recording.singer, recording.technique]
        clips = [
            [name, *labels, recording.context, start / rate, valid, _clip_digest([*labels, start, valid], audio)]
            for (start, valid), audio in zip(result.spans, result.clips, strict=True)
        ]
        return result, clips

    def needed(name: str) -> int:
        recording = recordings[name]
        return source.size(name) + 12 * max(recording.samples, recording.samples * rate // recording.sample_rate)

    with path.open("wb") as file:
        file.write(_npy_header(0, settings))
        for name, result in process_recordings(cut, recordings, "cutting clips", needed):
            if isinstance(result, Exception):
                unusable.append(unusable_line(name, result, strict))
                continue
            recording, clips = result
            counts += _oddities(recording, recordings[name].sample_rate, settings)
            file.write(np.ascontiguousarray(recording.clips, "<i2").data)
            rows += clips
        file.seek(0)
        file.write(_npy_header(len(rows), settings))
    table = pd.DataFrame(rows, columns=["path", *CLIP_COLUMNS])
    missing = [technique for technique in surveyed.techniques if technique not in set(table["technique"])]
    if missing:
        raise InvalidValue(
            f"no clip of {', '.join(missing)}: leave it out of data.techniques.{unusable_in_words(unusable)}"
        )
    notes = [f"{counted(count, noun)} {text}" for (_, noun, text), count in sorted(counts.items())]
    return table, notes, unusable


def _oddities(recording: CutRecording, sample_rate: int, settings: dict) -> Counter[tuple[int, str, str]]:
    """Count what the notes say of a recording: by the note's rank, noun and text."""
    is_padded = bool(recording.spans) and recording.spans[-1][1] < clip_length(settings)
    counts: Counter[tuple[int, str, str]] = Counter()
    if sample_rate != settings["sample_rate"]:
        counts[0, "recording", f"resampled from {sample_rate:,} Hz to {settings['sample_rate']:,} Hz"] = 1
    if is_padded and len(recording.spans) == 1:
        text = f"shorter than a clip of {settings['clip_seconds']:g} s, padded with zeros to one"
        counts[1, "recording", text] = 1
    elif is_padded:
        counts[2, "recording", "whose end was padded with zeros to a clip"] = 1
    if recording.beyond:
        counts[3, "recording", "beyond full scale at 16 bits, clipped"] = 1
    if silent := int((~recording.clips.any(axis=1)).sum()):
        counts[4, "clip", "of digital silence in recordings that are not silent"] = silent
    return counts


def _npy_header(clips: int, settings: dict) -> bytes:
    """Return the start of an .npy file. It is as long for any number of clips: numpy leaves room for a larger one."""
    file = io.BytesIO()
    form = {"descr": "<i2", "fortran_order": False, "shape": (clips, clip_length(settings))}
    np.lib.format.write_array_header_1_0(file, form)
    return file.getvalue()


def _digest_of_texts(folder: Path, stored: dict) -> str:
    """Return the hash of a store's tables and of the rest of its corpus.json."""
    texts = [json.dumps(stored), *(file_digest(folder / name) for name in TABLES)]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def _bytes_needed(recordings: pd.DataFrame, settings: dict) -> int:
    """Return the most bytes of the store: what the headers promise, and 1 MB for the tables of each 1,000 clips."""
    samples = recordings["samples"] * settings["sample_rate"] / recordings["sample_rate"]
    clips = np.ceil(samples / clip_length(settings)).sum()
    return int(clips) * (2 * clip_length(settings) + 1000)
