"""Store clips: every recording cut once into clips of equal length, as int16 in one memory-mapped array.

A corpus's folder `<name>-<key>` holds, whole or not at all:
    manifest.csv   a row a recording (see `singtech.corpus.manifest`)
    clips.csv      a row a clip: recording, singer, technique, context, start (seconds), samples (unpadded), digest
    clips.npy      (N, S) int16, row n the audio of clip n, zeros after its samples
    corpus.json    the schema, settings, singers, notes, a hash of the texts, and size and time of clips.npy
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
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import CutRecording, clip_length, cut_recording
from singtech.corpus.download import report_full_disk, require_room
from singtech.corpus.manifest import (
    COLUMNS,
    choose_recordings,
    counted,
    list_recordings,
    names_of,
    process_recordings,
    recording_name,
    unusable_line,
)
from singtech.corpus.sources import LabelledSource, checked_source
from singtech.corpus.splits import (
    SPLITS,
    Split,
    checked_split,
    fold_singers,
    require_names,
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
TYPES = dict.fromkeys([*CLIP_COLUMNS, *COLUMNS], str) | {"samples": int, "sample_rate": int, "start": float}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prepared clips, as `read_store` reads them or, from `prepare`, under a split.

    Attributes:
        folder: of the clip store.
        settings: see `checked_settings`.
        techniques: K names, in the order of the targets.
        singers: all of the source.
        notes: a line for each thing that was corrected, left out or odd.
        unusable: a line for each recording that could not be used.
        clips: N rows (see the module); under a split with the split of each, "" where data.split names it in no subset.
        waveforms: (N, S) int16, memory-mapped and read-only.
        recordings: a row for each recording with clips (see `singtech.corpus.manifest`); under a split with its split,
            and without those in no subset.
        fold: None, or the fold whose singers are tested.
    """

    folder: Path
    key: str
    settings: dict
    techniques: tuple[str, ...]
    singers: list[str]
    notes: list[str]
    unusable: list[str]
    clips: pd.DataFrame
    waveforms: np.ndarray
    recordings: pd.DataFrame
    fold: int | None = None

    @property
    def name(self) -> str:
        """The name of the corpus in folders and rows."""
        return self.settings["name"]

    @property
    def sample_rate(self) -> int:
        """Samples a second of the clips."""
        return self.settings["sample_rate"]

    @property
    def clip_seconds(self) -> float:
        """Length of a clip in seconds."""
        return self.settings["clip_seconds"]

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
        form = [self.techniques, self.sample_rate, self.waveforms.shape[1]]
        return hashlib.sha256(json.dumps([*form, *digests]).encode()).hexdigest()

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


def prepare(
    source: str | os.PathLike | LabelledSource,
    folder: str | os.PathLike,
    *,
    split: Mapping[str, object],
    fold: int | None = None,
    folds: int = 5,
    strict: bool = False,
    make: bool = True,
    **form: Any,
) -> Corpus | None:
    """Cut a source's recordings to clips, or open the clips that were cut before.

    Opening takes no lock and writes nothing.

    Args:
        source: a folder or zip whose folders name singer and technique, or an object with its own labels.
        folder: the corpus becomes `folder/<name>-<key>`.
        split: singers, or recordings, of each subset (see `checked_split`).
        fold: None, or test the singers of this fold of `folds` instead of those of `split` (see `fold_singers`).
        strict: stop at an unusable recording, instead of leaving it out with a note.
        make: False returns None where the clips are not cut yet, instead of cutting them.
        form: name, techniques and how to cut the clips (see `checked_settings`).
    Raises:
        SingtechError: a setting or the source is wrong; one sentence says which and how.
        OSError: the source cannot be read, or the store not written.
    """
    view = checked_split(split, fold, folds)
    settings = checked_settings(**form)
    with checked_source(source) as opened:
        key = hashlib.sha256(json.dumps([SCHEMA, settings, opened.signature()]).encode()).hexdigest()
        path = Path(folder) / f"{settings['name']}-{key[:8]}"
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
        names = list_recordings(opened).names() if view.by == "recording" else store.singers
    return _under_split(store, view, names)


def _read_if_whole(path: Path, key: str) -> Corpus | None:
    try:
        store = read_store(path)
    except (NotThere, Damaged):
        return None
    return store if store.key == key else None


def checked_settings(
    name: str,
    techniques: Sequence[str] | None,
    clip_seconds: float = 3.0,
    sample_rate: int = 44100,
    remainder: str = "drop",
    trim_silence: float | None = None,
) -> dict:
    """Return the settings as plain values of one form, so that equal settings have one key.

    Args:
        techniques: in the order of the targets; None for all, sorted.
        remainder: of a recording after its last whole clip: `drop` it, or `pad` it with zeros to a clip. A recording
            shorter than a clip gives one padded clip either way.
        trim_silence: None, or remove the beginning and end that stay this many dB below the recording's peak.
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


def first_fault(folder: Path) -> str:
    """Read each clip in a store and say what is wrong with the first bad one; "" if all are whole.

    Raises:
        Newer: as `read_store`.
    """
    try:
        store = read_store(folder)
        require_clips(store)
    except (NotThere, Damaged) as problem:
        return str(problem)
    return ""


def require_clips(store: Corpus) -> None:
    """Compare each clip of a store with its digest.

    Raises:
        Damaged: a clip is not what was stored.
    """
    for clip, audio in zip(store.clips.itertuples(), store.waveforms, strict=True):
        start = round(clip.start * store.sample_rate)
        if _clip_digest([clip.recording, clip.singer, clip.technique, start, clip.samples], audio) != clip.digest:
            where = f"clip {clip.Index} ({clip.recording} at {clip.start:g} s)"
            raise Damaged(f"{store.folder}: {where} is not what was stored")


def read_store(folder: Path) -> Corpus:
    """Read a clip store. Takes no lock; the waveforms are memory-mapped.

    The texts are compared with their hash. The clips are compared with theirs if `clips.npy` has another size or time
    than when it was written.

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
        stamp, settings = stored.pop("stamp", None), stored["settings"]
        header, shape = _npy_header(len(clips), settings), (len(clips), clip_length(settings))
        with (folder / WAVEFORMS).open("rb") as file:
            if file.read(len(header)) != header:
                raise ValueError(f"{WAVEFORMS} and clips.csv do not fit together")
        waveforms = np.memmap(folder / WAVEFORMS, "<i2", "r", offset=len(header), shape=shape)
        stored["techniques"] = tuple(stored["techniques"])
        corpus = Corpus(folder, **stored, clips=clips, waveforms=waveforms, recordings=recordings)
        if stamp not in (None, _stamp(folder)):
            require_clips(corpus)
    except (Newer, Damaged):
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise Damaged(f"{folder} is damaged ({' '.join(str(problem).split())[:120]}).") from problem
    return corpus


def write_store(source: Source, folder: Path, key: str, settings: dict, view: Split, strict: bool) -> None:
    """List a source's recordings and write their clips. A wrong split is refused before a recording is decoded.

    Raises:
        SingtechError: the split or the source is wrong, or the disk is full. No folder is left.
    """
    listing = list_recordings(source)
    require_names(view, listing.names() if view.by == "recording" else listing.singers())
    recordings, techniques, notes = choose_recordings(source, listing, settings["techniques"])
    if view.fold is None:
        subsets(view, recordings, techniques, "recording", [])
    needed, what = sum(map(source.size, recordings["path"])), f"preparing {folder.name}"
    require_room(folder.parent, what, needed)
    with report_full_disk(folder.parent, what, needed), atomic_folder(folder) as temporary:
        clips, samples, unusable, oddities = _cut(source, recordings, temporary / WAVEFORMS, settings, strict)
        missing = [technique for technique in techniques if technique not in set(clips["technique"])]
        if missing:
            reasons = unusable_in_words(unusable)
            raise InvalidValue(f"no clip of {', '.join(missing)}: leave it out of data.techniques.{reasons}")
        for name, table in zip(TABLES, (clips, recordings.merge(samples)), strict=True):
            table.to_csv(temporary / name, index=False, lineterminator="\n")
        notes += [*oddities, *(f"left out {line}" for line in unusable)]
        if unusable:
            notes.append(f"{counted(len(unusable), 'recording')} left out because they could not be used")
            log.warning("%s could not be used: singtech prepare says which.", counted(len(unusable), "recording"))
        stored: dict[str, Any] = {
            "key": key,
            "settings": settings,
            "techniques": techniques,
            "singers": listing.singers(),
            "notes": notes,
            "unusable": unusable,
            "stamp": _stamp(temporary),
        }
        stored |= {"schema": SCHEMA, "digest": _digest_of_texts(temporary, stored)}
        (temporary / "corpus.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")


def _under_split(store: Corpus, view: Split, names: Sequence[str]) -> Corpus:
    """Put a store under a split.

    Args:
        names: all singers of the source, or all recordings for a split by recording.
    Raises:
        InvalidValue: the split does not fit the store.
    """
    require_names(view, names)
    if view.fold is not None:
        view = view._replace(test=fold_singers(store.clips, view.fold, view.folds))
    clips = store.clips.assign(split=subsets(view, store.clips, store.techniques, "clip", store.unusable))
    table = store.recordings.assign(split=view.subsets(store.recordings))
    notes = [*store.notes, *split_notes(view, table, clips, store.techniques)]
    in_subset = table[table["split"] != ""].reset_index(drop=True)
    return replace(store, clips=clips, recordings=in_subset, notes=notes, fold=view.fold)


def _clip_digest(identity: list, audio: np.ndarray) -> str:
    """Return the hash of a clip: recording, singer, technique, start and valid samples, and its audio."""
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(audio, "<i2").data)
    return digest.hexdigest()


def _cut(
    source: Source, recordings: pd.DataFrame, path: Path, settings: dict, strict: bool
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Write `path`; return its clips, the samples and sample rate of each recording, unusable recordings and notes."""
    rows: list[list] = []
    samples: list[list] = []
    unusable: list[str] = []
    counts: Counter[tuple[int, str, str]] = Counter()
    labels = {recording.path: recording for recording in recordings.itertuples()}

    def cut(name: str, data: bytes) -> tuple[CutRecording, list[str]]:
        result, label = cut_recording(data, settings), labels[name]
        identity = [recording_name(name), label.singer, label.technique]
        spans = zip(result.spans, result.clips, strict=True)
        return result, [_clip_digest([*identity, *span], audio) for span, audio in spans]

    with path.open("wb") as file:
        file.write(_npy_header(0, settings))
        for name, result in process_recordings(source, cut, labels, "cutting clips"):
            if isinstance(result, Exception):
                unusable.append(unusable_line(name, result, strict))
                continue
            recording, digests = result
            label = labels[name]
            for (start, valid), digest in zip(recording.spans, digests, strict=True):
                identity = [recording_name(name), label.singer, label.technique, label.context]
                rows.append([*identity, start / settings["sample_rate"], valid, digest])
            samples.append([name, recording.header.samples, recording.header.sample_rate])
            counts += _oddities(recording, settings)
            file.write(np.ascontiguousarray(recording.clips, "<i2").data)
        file.seek(0)
        file.write(_npy_header(len(rows), settings))
    notes = [f"{counted(count, noun)} {text}" for (_, noun, text), count in sorted(counts.items())]
    clips = pd.DataFrame(rows, columns=CLIP_COLUMNS)
    return clips, pd.DataFrame(samples, columns=["path", "samples", "sample_rate"]), unusable, notes


def _oddities(recording: CutRecording, settings: dict) -> Counter[tuple[int, str, str]]:
    """Count what the notes say of a recording: by the note's rank, noun and text."""
    header, spans = recording.header, recording.spans
    is_padded = bool(spans) and spans[-1][1] < clip_length(settings)
    silent = int((~recording.clips.any(axis=1)).sum())
    seconds, rate = settings["clip_seconds"], settings["sample_rate"]
    oddities = [
        ("recording", header.ends_early, "up to 1 % shorter than the header says; what is there is used"),
        ("recording", header.channels > 1, f"mixed from {header.channels} channels to mono"),
        ("recording", header.sample_rate != rate, f"resampled from {header.sample_rate:,} Hz to {rate:,} Hz"),
        ("recording", is_padded and len(spans) == 1, f"shorter than a clip of {seconds:g} s, padded with zeros to one"),
        ("recording", is_padded and len(spans) > 1, "whose end was padded with zeros to a clip"),
        ("recording", recording.beyond > 0, "beyond full scale at 16 bits, clipped"),
        ("clip", silent, "of digital silence in recordings that are not silent"),
    ]
    return Counter({(rank, noun, text): int(n) for rank, (noun, n, text) in enumerate(oddities) if n})


def _npy_header(clips: int, settings: dict) -> bytes:
    """Return the start of an .npy file. It is as long for any number of clips: numpy leaves room for a larger one."""
    file = io.BytesIO()
    form = {"descr": "<i2", "fortran_order": False, "shape": (clips, clip_length(settings))}
    np.lib.format.write_array_header_1_0(file, form)
    return file.getvalue()


def _stamp(folder: Path) -> list[int]:
    """Return size and time of a store's clips: a cheap sign that they may have changed."""
    state = (folder / WAVEFORMS).stat()
    return [state.st_size, state.st_mtime_ns]


def _digest_of_texts(folder: Path, stored: dict) -> str:
    """Return the hash of a store's tables and of the rest of its corpus.json."""
    texts = [json.dumps(stored), *(file_digest(folder / name) for name in TABLES)]
    return hashlib.sha256("".join(texts).encode()).hexdigest()
