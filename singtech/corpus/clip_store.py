"""Store the clips of all recordings, of equal length, as int16 in one memory-mapped array.

A store is a folder `<name>-<key>`, written whole or not at all:
    manifest.csv   a row for each recording (see `singtech.corpus.manifest`)
    clips.csv      a clip in each row: recording, singer, technique, context, start (s), samples (unpadded), digest
    clips.npy      (N, S) int16, row n holds the audio of clip n, then zeros
    corpus.json    the schema, settings, singers, notes, a hash of the texts, and size and time of clips.npy
The key is a hash of the settings and of the source's content, so that a changed source is prepared again. The split is
not part of the key: all splits and folds share the store (`singtech.corpus.splits`).
"""

import glob
import hashlib
import io
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import CutRecording, count_clip_samples, cut_recording
from singtech.corpus.download import require_room
from singtech.corpus.long_tail import thin_recordings
from singtech.corpus.manifest import (
    COLUMNS,
    choose_recordings,
    describe_unusable,
    escape,
    list_recordings,
    parse_names,
    plural,
    process_recordings,
    recording_name,
)
from singtech.corpus.sources import LabelledSource, open_recordings
from singtech.corpus.splits import (
    SPLITS,
    Split,
    assign_subsets,
    choose_fold_singers,
    make_split,
    note_split,
    require_names,
    summarise_unusable,
)
from singtech.errors import Damaged, InvalidValue, Newer, NotThere, require, require_choice
from singtech.io.atomic import atomic_folder, hash_file, remove_temporary_files, set_aside
from singtech.io.lock import hold
from singtech.io.stored import parse_json, reading
from singtech.io.terminal import format_table, wrap

if TYPE_CHECKING:
    from torch import Tensor

WAVEFORMS = "clips.npy"
TABLES = ("clips.csv", "manifest.csv")
SCHEMA = 2  # version of the stored files; older stores are made again
CLIP_COLUMNS = ["recording", "singer", "technique", "context", "start", "samples", "digest"]
FORM = ("name", "techniques", "clip_seconds", "sample_rate", "remainder", "trim_silence")  # decides the clips
TYPES = dict.fromkeys([*CLIP_COLUMNS, *COLUMNS], str) | {"samples": int, "sample_rate": int, "start": float}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Clips of a store: from `read_store` without a split, or from `prepare` with a split.

    Attributes:
        folder: the clip store.
        settings: see `normalise_settings`.
        techniques: K names, in the order of the targets.
        singers: all of the source.
        notes: a line for each correction, omission or oddity.
        unusable: a line for each recording that could not be used.
        clips: N rows (see above); with a split also the subset of each, "" for a clip in no subset.
        waveforms: (N, S) int16, memory-mapped and read-only.
        recordings: a row for each recording with clips (see `singtech.corpus.manifest`); with a split also its subset,
            without those in no subset.
        fold: None, or the fold with the test singers.
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
        """Leave out the waveforms, because another process opens them from the disk."""
        return {name: value for name, value in vars(self).items() if name != "waveforms"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, waveforms=np.load(state["folder"] / WAVEFORMS, mmap_mode="r", allow_pickle=False))

    def rows(self, split: str) -> np.ndarray:
        """Return the (n,) indices of the clips of "train", "validation" or "test"."""
        if split not in SPLITS:
            raise InvalidValue(f"{split}: expected a split, one of {', '.join(SPLITS)}.")
        return np.flatnonzero((self.clips["split"] == split).to_numpy())

    def table(self, split: str) -> pd.DataFrame:
        """Return a row for each clip of a split, in the order of `rows`."""
        return self.clips.iloc[self.rows(split)].reset_index(drop=True)

    def batches(self, split: str, batch_size: int = 64) -> "Iterator[tuple[Tensor, Tensor]]":
        """Yield (B, S) waveforms between -1 and 1 and (B,) technique indices of a split's clips, in order."""
        from singtech.corpus.datamodule import VocalSetDataModule

        data = VocalSetDataModule(self, batch_size)
        return ((data.waveforms(clips), targets) for clips, targets in data.ordered_loader(split))

    def targets(self, split: str) -> np.ndarray:
        """Return the (n,) int64 technique index of each clip of a split."""
        index = {technique: k for k, technique in enumerate(self.techniques)}
        return np.array([index[name] for name in self.clips["technique"].iloc[self.rows(split)]], dtype=np.int64)

    def counts(self, split: str) -> np.ndarray:
        """Return the (K,) int64 clips of each technique."""
        return np.bincount(self.targets(split), minlength=len(self.techniques)).astype(np.int64)

    def fingerprint(self, split: str) -> str:
        """Return a hash of a split's clips (audio, technique, singer, recording, start) and of the techniques.

        It is the same for WAV and FLAC, zip and folder, and does not depend on the other splits.
        """
        return self._hash(self.clips["digest"].iloc[self.rows(split)])

    @property
    def state(self) -> str:
        """The same hash of all clips, independent of the split."""
        return self._hash(self.clips["digest"])

    def identity(self) -> dict[str, str]:
        """Return the hashes in rows: of the training and test clips, and of all clips."""
        fingerprints = f"{self.fingerprint('train')} {self.fingerprint('test')}"
        data = hashlib.sha256(fingerprints.encode()).hexdigest()
        return {"data_fingerprint": data[:16], "corpus_fingerprint": self.state[:16]}

    def _hash(self, digests: Iterable[str]) -> str:
        form = [self.techniques, self.sample_rate, self.waveforms.shape[1]]
        return hashlib.sha256(json.dumps([*form, *digests]).encode()).hexdigest()

    def lengths(self) -> pd.DataFrame:
        """Return the recordings, minutes and clips of each technique, split and context with a recording."""
        columns = ["technique", "split", "context"]
        minutes = self.recordings["samples"] / self.recordings["sample_rate"] / 60
        table = (
            self.recordings.assign(minutes=minutes).groupby(columns)["minutes"].agg(recordings="size", minutes="sum")
        )
        table["clips"] = self.clips.groupby(columns).size()
        order = product(self.techniques, SPLITS, sorted(self.recordings["context"].unique()))
        return table.loc[[cell for cell in order if cell in table.index]].reset_index()


def prepare(
    source: str | os.PathLike | LabelledSource | None,
    folder: str | os.PathLike,
    *,
    split: Mapping[str, object],
    fold: int | None = None,
    folds: int = 5,
    inner_fold: int | None = None,
    fold_singers: str = "all",
    strict: bool = False,
    make: bool = True,
    **options: Any,
) -> Corpus | None:
    """Cut a source's recordings into clips, or open the stored clips.

    Opening needs no lock and writes nothing.

    Args:
        source: a folder or zip whose folders name singer and technique, or an object with its own labels. None only
            checks the settings.
        folder: the store is `folder/<name>-<key>`.
        split: singers, or recordings, of each subset (see `make_split`).
        fold: None, or one of `folds` folds, whose singers test instead of those of `split` (see `choose_fold_singers`).
        inner_fold: None, or 1 to folds - 1: the singers of the fold that many after `fold` validate.
        fold_singers: `all`, or `train` to leave the test singers of `split` out of the folds.
        strict: stop at an unusable recording, instead of omitting it with a note.
        make: False returns None if there are no stored clips, instead of cutting them.
        options: of `normalise_settings` (`FORM`), and of `divide`.
    Raises:
        SingtechError: a setting or the source is wrong; the message says which and why.
        OSError: the source cannot be read, or the store cannot be written.
    """
    clip_split = make_split(split, fold, folds, inner_fold, fold_singers)
    settings = normalise_settings(**{name: options.pop(name) for name in FORM if name in options})
    if source is None:
        return None
    with open_recordings(source) as reader:
        key = hashlib.sha256(json.dumps([SCHEMA, settings, reader.signature()]).encode()).hexdigest()
        path = Path(folder) / f"{settings['name']}-{key[:8]}"
        store = _read_if_whole(path, key)
        if store is None and make:
            with hold(path, f"{path} is being prepared"):
                store = _read_if_whole(path, key)  # another process may have made it meanwhile
                if store is None:
                    if path.exists():
                        log.warning("%s is damaged; it is set aside as %s and made again.", path, set_aside(path).name)
                    remove_temporary_files(path)
                    write_store(reader, path, key, settings, clip_split, strict)
                    store = read_store(path)
        if store is None:
            return None
        if strict and store.unusable:
            raise Damaged(f"{store.unusable[0]}; repair it, or omit it with data.strict=false.")
        names = list_recordings(reader).names() if clip_split.by == "recording" else store.singers
    return divide(store, clip_split, names, **options)


def divide(
    store: Corpus,
    clip_split: Split,
    names: Sequence[str] | None = None,
    train_contexts: Sequence[str] | None = None,
    test_contexts: Sequence[str] | None = None,
    long_tail: float | None = None,
    long_tail_order: Sequence[str] | None = None,
    long_tail_total: int | None = None,
    long_tail_seed: int = 0,
) -> Corpus:
    """Divide the clips of a store into subsets, see `prepare`.

    Args:
        names: all singers of the source, or all recordings for a split by recording; None to check no names.
        train_contexts: of the training and validation clips, which may select an epoch; None for all.
        test_contexts: of the test clips; None for all. Clips of other contexts are in no subset.
        long_tail: thin the training recordings to a long tail of this ratio (see `thin_recordings`); None for all.
        long_tail_order, long_tail_total, long_tail_seed: its techniques, most common first; its clips; its choice.
    """
    corpus = _apply_split(store, clip_split, names)
    if train_contexts is not None or test_contexts is not None:
        corpus = _keep_contexts(corpus, train_contexts, test_contexts)
    if long_tail is None:
        return corpus
    return _thin(corpus, ratio=long_tail, order=long_tail_order or (), total=long_tail_total, seed=long_tail_seed)


def find_store(folder: Path, name: str, state: str) -> Corpus | None:
    """Find the store of a corpus by the first 16 digits of its `Corpus.state`; None if there is none in `folder`."""
    for path in sorted(folder.glob(f"{glob.escape(name)}-*")):
        try:
            store = read_store(path)
        except (Damaged, Newer) as problem:  # another store may fit
            log.warning("%s", problem)
            continue
        if store.state[:16] == state:
            return store
    return None


def _read_if_whole(path: Path, key: str) -> Corpus | None:
    try:
        store = read_store(path)
    except (NotThere, Damaged):
        return None
    return store if store.key == key else None


def normalise_settings(
    name: str,
    techniques: Sequence[str] | None,
    clip_seconds: float = 3.0,
    sample_rate: int = 44100,
    remainder: str = "drop",
    trim_silence: float | None = None,
) -> dict:
    """Return the settings as plain values in one form, so that equal settings have the same key.

    Args:
        techniques: in the order of the targets; None for all, sorted.
        remainder: `drop` the rest after the last whole clip, or `pad` it with zeros to a clip. A recording shorter than
            a clip always gives one padded clip.
        trim_silence: None, or remove a beginning and end that are this many dB below the recording's peak.
    Raises:
        InvalidValue: a setting is out of range.
    """
    is_name, is_whole = bool(re.fullmatch(r"\w[\w.-]*", name)), sample_rate == int(sample_rate)
    require(is_name, "data.name", name, "letters, digits, - and _, because it names folders and rows")
    require(0 < clip_seconds <= 3600, "data.clip_seconds", clip_seconds, "seconds, such as 3.0")
    is_rate = is_whole and 1000 <= sample_rate <= 384_000
    require(is_rate, "data.sample_rate", sample_rate, "whole samples a second, such as 44100")
    require_choice("data.remainder", remainder, ("drop", "pad"))
    is_level = trim_silence is None or 0 < trim_silence <= 200
    require(is_level, "data.trim_silence", trim_silence, "null, or dB below the peak, such as 40")
    if techniques is not None:
        techniques = parse_names("data.techniques", techniques)
        is_valid = len(set(techniques)) == len(techniques) > 0
        require(is_valid, "data.techniques", techniques, "each one once, and at least one")
    return {
        "name": name,
        "techniques": techniques,
        "clip_seconds": float(clip_seconds),
        "sample_rate": int(sample_rate),
        "remainder": remainder,
        "trim_silence": None if trim_silence is None else float(trim_silence),
    }


def report(corpus: Corpus) -> str:
    """Describe a corpus: recordings, minutes and clips of each technique and split; then the notes."""
    amounts = ["recordings", "minutes", "clips"]
    lengths = corpus.lengths()
    splits = [split for split in SPLITS if split in set(lengths["split"])]
    rows = pd.concat([lengths, lengths.assign(technique="all")])
    rows = pd.concat([rows, rows.assign(split="all")])
    sums = rows.groupby(["technique", "split"])[amounts].sum().unstack(fill_value=0)
    order = [(amount, split) for split in (*splits, "all") for amount in amounts]
    cells = sums.loc[[*corpus.techniques, "all"], order]
    formats = ["{:,.2f}".format if amount == "minutes" else "{:,.0f}".format for amount, _ in order]
    texts = [[form(cell) for form, cell in zip(formats, line, strict=True)] for line in cells.to_numpy()]
    words = {"recordings": "files", "minutes": "minutes", "clips": "clips"}  # short: three splits fit 80 columns
    header = ["", *(f"{split}\n{words[amount]}" for amount, split in order)]
    table = format_table(header, [[name, *line] for name, line in zip(cells.index, texts, strict=True)])
    audio = f"clips of {corpus.clip_seconds:g} s at {corpus.sample_rate:,} Hz"
    name = corpus.name if corpus.fold is None else f"{corpus.name}, fold {corpus.fold}"
    notes = [wrap(note, "  ", "- ") for note in corpus.notes]
    return "\n".join([f"{name}: {audio}, in {corpus.folder}", "", table, "", *notes])


def check_clips(store: Corpus) -> None:
    """Compare each clip of a store with its digest; raise `Damaged` if one has changed."""
    for clip, audio in zip(store.clips.itertuples(), store.waveforms, strict=True):
        start = round(clip.start * store.sample_rate)
        if _hash_clip([clip.recording, clip.singer, clip.technique, start, clip.samples], audio) != clip.digest:
            clip_name = f"clip {clip.Index} ({clip.recording} at {clip.start:g} s)"
            raise Damaged(f"{store.folder}: {clip_name} is not what was stored.")


def read_store(folder: Path) -> Corpus:
    """Read a clip store without a lock; the waveforms are memory-mapped.

    The texts are compared with their hash. The clips are compared with their digests only if the size or time of
    `clips.npy` has changed.

    Raises:
        NotThere: there is no such folder.
        Damaged: a file is absent, cut short or changed.
        Newer: a newer version of singtech wrote it.
    """
    if not folder.exists():
        raise NotThere(f"{folder}: there are no clips; make them with singtech prepare.")
    with reading(folder):
        content = parse_json((folder / "corpus.json").read_bytes(), SCHEMA, "schema")
        has_digest = content.pop("schema", None) is not None  # the oldest stores lack both
        digest = content.pop("digest", None)
        if digest != (_hash_texts(folder, content) if has_digest else None):
            raise ValueError("a text was changed")
        clips, recordings = (
            pd.read_csv(folder / name, dtype=TYPES, usecols=columns, na_filter=False)[columns]
            for name, columns in zip(TABLES, (CLIP_COLUMNS, COLUMNS), strict=True)
        )
        stamp = content.pop("stamp", None)
        waveforms = np.load(folder / WAVEFORMS, mmap_mode="r", allow_pickle=False)
        if (waveforms.dtype, waveforms.shape) != ("<i2", (len(clips), count_clip_samples(content["settings"]))):
            raise ValueError(f"{WAVEFORMS} and clips.csv do not fit together")
        content["techniques"] = tuple(content["techniques"])
        corpus = Corpus(folder, **content, clips=clips, waveforms=waveforms, recordings=recordings)
        if stamp not in (None, _read_stamp(folder)):
            check_clips(corpus)
    return corpus


def write_store(source: Source, folder: Path, key: str, settings: dict, clip_split: Split, strict: bool) -> None:
    """List a source's recordings and write their clips. Check the split before any recording is decoded."""
    listing = list_recordings(source)
    require_names(clip_split, listing.names() if clip_split.by == "recording" else listing.singers())
    recordings, techniques, notes = choose_recordings(source, listing, settings["techniques"])
    if clip_split.fold is None:
        assign_subsets(clip_split, recordings, techniques, "recording", [])
    require_room(folder.parent, f"preparing {folder.name}", sum(map(source.size, recordings["path"])))
    with atomic_folder(folder) as temporary:
        clips, samples, unusable, oddities = _write_clips(source, recordings, temporary / WAVEFORMS, settings, strict)
        missing = [technique for technique in techniques if technique not in set(clips["technique"])]
        if missing:
            reasons = summarise_unusable(unusable)
            raise InvalidValue(f"no clip of {', '.join(missing)}: leave it out of data.techniques.{reasons}")
        for name, table in zip(TABLES, (clips, recordings.merge(samples)), strict=True):
            table.to_csv(temporary / name, index=False, lineterminator="\n")
        notes += [*oddities, *(f"left out {line}" for line in unusable)]
        if unusable:
            notes.append(f"{plural(len(unusable), 'recording')} left out because they could not be used")
            log.warning("%s cannot be used: singtech prepare lists them.", plural(len(unusable), "recording"))
        content: dict[str, Any] = {
            "key": key,
            "settings": settings,
            "techniques": techniques,
            "singers": listing.singers(),
            "notes": notes,
            "unusable": unusable,
            "stamp": _read_stamp(temporary),
        }
        content |= {"schema": SCHEMA, "digest": _hash_texts(temporary, content)}
        (temporary / "corpus.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _apply_split(store: Corpus, clip_split: Split, names: Sequence[str] | None) -> Corpus:
    """Apply a split to a store, see `divide`."""
    if names is not None:
        require_names(clip_split, names)
    if clip_split.fold is not None:
        clips = store.clips[~store.clips["singer"].isin(clip_split.left_out)]
        folds, validation = clip_split.folds, []
        if clip_split.inner_fold is not None:
            validation = choose_fold_singers(clips, (clip_split.fold + clip_split.inner_fold) % folds, folds)
        test = choose_fold_singers(clips, clip_split.fold, folds)
        clip_split = clip_split._replace(test=test, validation=validation)
    clips = store.clips.assign(split=assign_subsets(clip_split, store.clips, store.techniques, "clip", store.unusable))
    table = store.recordings.assign(split=clip_split.subsets(store.recordings))
    notes = [*store.notes, *note_split(clip_split, table, clips, store.techniques)]
    in_subset = table[table["split"] != ""].reset_index(drop=True)
    return replace(store, clips=clips, recordings=in_subset, notes=notes, fold=clip_split.fold)


def _keep_contexts(corpus: Corpus, train: Sequence[str] | None, test: Sequence[str] | None) -> Corpus:
    """Take the clips of other contexts out of the subsets of a corpus."""
    lists = {"data.train_contexts": train, "data.test_contexts": test}
    contexts = {setting: parse_names(setting, each) for setting, each in lists.items() if each is not None}
    if [] in contexts.values():
        raise InvalidValue("data.train_contexts, data.test_contexts: expected null, or a list of at least one context.")
    available = sorted(set(corpus.clips["context"]) - {""})
    for setting, chosen in contexts.items():
        for context in [name for name in chosen if name not in available]:
            known = f"there are {escape(', '.join(available))}" if available else "this corpus tells no contexts"
            raise InvalidValue(f"{setting} names {escape(context)}: {known}.")
    settings = zip(SPLITS, ("data.train_contexts", "data.train_contexts", "data.test_contexts"), strict=True)
    allowed = {subset: contexts[setting] for subset, setting in settings if setting in contexts}

    def is_other(table: pd.DataFrame) -> pd.Series:
        pairs = zip(table["split"], table["context"], strict=True)
        return pd.Series([context not in allowed.get(subset, [context]) for subset, context in pairs], table.index)

    is_other_clip, is_other_recording = is_other(corpus.clips), is_other(corpus.recordings)
    clips = corpus.clips.assign(split=corpus.clips["split"].mask(is_other_clip, ""))
    before, after = (each.groupby("split")["technique"].agg(set) for each in (corpus.clips, clips))
    lost = {s: [t for t in corpus.techniques if t in before.get(s, set()) - after.get(s, set())] for s in SPLITS}
    said = ", ".join(f"{setting}=[{escape(','.join(each))}]" for setting, each in contexts.items())
    if lost["train"]:
        rest = ",".join(technique for technique in corpus.techniques if technique not in lost["train"])
        raise InvalidValue(
            f"{said}: no training clip of {', '.join(lost['train'])} is left; leave out what has none, with "
            f"'data.techniques=[{rest}]'."
        )
    if "test" not in set(clips["split"]):
        raise InvalidValue(f"{said}: no test clip is left; name other contexts.")
    amount = f"{plural(is_other_recording.sum(), 'recording')} with {plural(is_other_clip.sum(), 'clip')}"
    notes = [f"left out {amount} of other contexts: {said}"]
    for subset in ("validation", "test"):
        notes += [f"no {subset} recording of {t}: its scores will not be defined" for t in lost[subset]]
    recordings = corpus.recordings[~is_other_recording].reset_index(drop=True)
    return replace(corpus, clips=clips, recordings=recordings, notes=[*corpus.notes, *notes])


def _thin(corpus: Corpus, **options: Any) -> Corpus:
    """Take training recordings out of a corpus until it has a long tail."""
    training = corpus.clips[corpus.clips["split"] == "train"]
    recordings = training.groupby(["recording", "technique"], sort=True).size().rename("clips").reset_index()
    selected = set(thin_recordings(recordings, **options)["recording"])
    subset, table = corpus.clips["split"], corpus.recordings
    clips = corpus.clips.assign(split=subset.where((subset != "train") | corpus.clips["recording"].isin(selected), ""))
    table = table[(table["split"] != "train") | table["path"].map(recording_name).isin(selected)]
    note = f"long tail: {len(selected)} of {len(recordings)} training recordings stay"
    return replace(corpus, clips=clips, recordings=table.reset_index(drop=True), notes=[*corpus.notes, note])


def _hash_clip(identity: list, audio: np.ndarray) -> str:
    """Return the hash of a clip: recording, singer, technique, start and valid samples, and its audio."""
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(audio, "<i2").data)
    return digest.hexdigest()


def _write_clips(
    source: Source, recordings: pd.DataFrame, path: Path, settings: dict, strict: bool
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Write `path`; return its clips, the samples and sample rate of each recording, unusable recordings and notes."""
    rows: list[list] = []
    samples: list[list] = []
    unusable: list[str] = []
    counts: Counter[tuple[int, str, str]] = Counter()
    labels = {recording.path: recording for recording in recordings.itertuples()}

    def cut(name: str, data: bytes) -> tuple[CutRecording, list[list]]:
        result, label = cut_recording(data, settings), labels[name]
        identity = [recording_name(name), label.singer, label.technique]
        clips = []
        for (start, valid), audio in zip(result.spans, result.clips, strict=True):
            digest = _hash_clip([*identity, start, valid], audio)
            clips.append([*identity, label.context, start / settings["sample_rate"], valid, digest])
        return result, clips

    with path.open("wb") as file:
        file.write(_make_npy_header(0, settings))
        for name, result in process_recordings(source, cut, labels, "cutting clips"):
            if isinstance(result, Exception):
                unusable.append(describe_unusable(name, result, strict))
                continue
            recording, its_rows = result
            rows += its_rows
            samples.append([name, recording.header.samples, recording.header.sample_rate])
            counts += _count_oddities(recording, settings)
            file.write(np.ascontiguousarray(recording.clips, "<i2").data)
        file.seek(0)
        file.write(_make_npy_header(len(rows), settings))
    notes = [f"{plural(count, noun)} {text}" for (_, noun, text), count in sorted(counts.items())]
    clips = pd.DataFrame(rows, columns=CLIP_COLUMNS)
    return clips, pd.DataFrame(samples, columns=["path", "samples", "sample_rate"]), unusable, notes


def _count_oddities(recording: CutRecording, settings: dict) -> Counter[tuple[int, str, str]]:
    """Count the oddities of a recording, by rank, noun and text of their note."""
    header, spans = recording.header, recording.spans
    is_padded = bool(spans) and spans[-1][1] < count_clip_samples(settings)
    silent = int((~recording.clips.any(axis=1)).sum())
    seconds, rate = settings["clip_seconds"], settings["sample_rate"]
    oddities = [
        ("recording", header.ends_early, "up to 1 % shorter than the header says; the existing part is used"),
        ("recording", header.channels > 1, f"mixed from {header.channels} channels to mono"),
        ("recording", header.sample_rate != rate, f"resampled from {header.sample_rate:,} Hz to {rate:,} Hz"),
        ("recording", is_padded and len(spans) == 1, f"shorter than a clip of {seconds:g} s, padded with zeros to one"),
        ("recording", is_padded and len(spans) > 1, "whose end was padded with zeros to a clip"),
        ("recording", recording.clipped_samples > 0, "beyond full scale at 16 bits, clipped"),
        ("clip", silent, "of digital silence in recordings that are not silent"),
    ]
    return Counter({(rank, noun, text): int(n) for rank, (noun, n, text) in enumerate(oddities) if n})


def _make_npy_header(clips: int, settings: dict) -> bytes:
    """Return the header of an .npy file. Its length is the same for any number of clips."""
    file = io.BytesIO()
    form = {"descr": "<i2", "fortran_order": False, "shape": (clips, count_clip_samples(settings))}
    np.lib.format.write_array_header_1_0(file, form)
    return file.getvalue()


def _read_stamp(folder: Path) -> list[int]:
    """Return size and time of a store's clips. If these have changed, the clips may have changed too."""
    state = (folder / WAVEFORMS).stat()
    return [state.st_size, state.st_mtime_ns]


def _hash_texts(folder: Path, content: dict) -> str:
    """Return the hash of a store's tables and of the rest of its corpus.json."""
    texts = [json.dumps(content), *(hash_file(folder / name) for name in TABLES)]
    return hashlib.sha256("".join(texts).encode()).hexdigest()
