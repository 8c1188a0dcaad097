"""Whether recordings are what they should be: each is decoded to its end, and all are compared with what is known."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import alone_if_long, mixed, read_channels, read_header, to_int16
from singtech.corpus.cutting import clip_spans
from singtech.corpus.manifest import copies_of, counted, in_threads, listed, placed, require_plain, shown
from singtech.corpus.vocalset import CLIP_SECONDS, SAMPLE_RATE, Known

GROUP = ["singer", "context", "technique"]
FULL_SCALE = 32767 / 32768  # the loudest that 16 bits hold on both sides
CLIPPED_RUN = 3  # samples in a row at full scale; a note that only touches it stays there for one or two
LENGTHS_DIFFER = 0.01  # of a group's seconds
COMPARED = ("missing", "extra", "length", "known copy")  # with what is known
FINDINGS = {
    "missing": "missing",
    "extra": "more than known",
    "length": f"of another length, their group's by more than {LENGTHS_DIFFER:.0%}",
    "damaged": "damaged",
    "short": "up to 1% shorter than the header says",
    "silent": "silent",
    "known copy": "byte for byte another one, as known",
    "copy": "byte for byte another one",
    "clipped": f"clipped, {CLIPPED_RUN} samples or more in a row at full scale",
    "sample rate": "of another sample rate",
}
MOST_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Verification:
    """What was found.

    Attributes:
        recordings: a row a recording: path, singer, technique, context, samples and sample_rate (0 if damaged), and
            whether it is_usable (once).
        findings: a row for each finding: finding (see `FINDINGS`), where (a path, or a singer, context and technique),
            recordings (how many it concerns), detail.
        notes: what else is odd about the files, a line each.
        known: what the recordings were compared with, if with anything.
        problems: why the paper's protocol cannot be run on them, a clause each.
    """

    recordings: pd.DataFrame
    findings: pd.DataFrame
    notes: list[str]
    known: Known | None
    problems: list[str]

    def conclusion(self) -> str:
        """In one sentence, whether the paper's protocol can be run on them."""
        if self.known is None:
            usable, of = int(self.recordings["is_usable"].sum()), counted(len(self.recordings), "recording")
            return f"Compared with nothing, for only VocalSet's content is known: {usable:,} of {of} can be used."
        if self.problems:
            return f"The paper's protocol cannot be run on it: {'; '.join(self.problems)}."
        recordings = counted(len(_asked(self.recordings, self.known)), "recording")
        return f"The paper's protocol can be run on it: {recordings} after copies, {_in_words(self.known.clips)}."


class _Sound(NamedTuple):
    """What decoding a recording showed."""

    samples: int
    sample_rate: int
    ends_early: bool
    is_silent: bool
    clipped: list[int]
    digest: str


def verify(source: Source, sample_rate: int = SAMPLE_RATE, known: Known | None = None) -> Verification:
    """Decode every recording of a source, whatever its technique, and compare the source with what is known of it."""
    recordings, notes = placed(source)

    def listen(path: str) -> _Sound:
        require_plain(path)
        data = source.read(path)
        header = read_header(data)
        with alone_if_long(header.samples * header.channels):
            channels, rate = read_channels(data)
            silent = not to_int16(mixed(channels))[0].any()
            digest = hashlib.blake2b(data, digest_size=16).hexdigest()
            return _Sound(len(channels), rate, header.ends_early, silent, clipped_runs(channels), digest)

    heard = dict(in_threads(listen, recordings["path"], "decoding", source.size))
    sounds = {path: sound for path, sound in heard.items() if isinstance(sound, _Sound)}
    copies = copies_of({path: sound.digest for path, sound in sounds.items()})
    recordings["samples"] = [sounds[path].samples if path in sounds else 0 for path in recordings["path"]]
    recordings["sample_rate"] = [sounds[path].sample_rate if path in sounds else 0 for path in recordings["path"]]
    recordings["is_copy"] = recordings["path"].isin(copies)
    silent = {path for path, sound in sounds.items() if sound.is_silent}
    recordings["is_usable"] = recordings["path"].isin(sounds.keys() - copies.keys() - silent)
    findings = _in_recordings(heard, copies, sample_rate, known.copies if known else ())
    problems: list[str] = []
    if known:
        groups = _compared(recordings, known)
        findings = [*_in_groups(groups, known), *findings]
        problems = _problems(groups, recordings, known)
    table = pd.DataFrame(findings, columns=["finding", "where", "recordings", "detail"])
    return Verification(recordings.drop(columns="is_copy"), table, notes, known, problems)


def report(found: Verification) -> str:
    """What a verification found, to print: what there is, a line for each kind of finding and the first few of each."""
    lines = [_amount(found.recordings["singer"], len(found.recordings), _seconds(found.recordings).sum())]
    if found.known:
        groups = found.known.groups
        lines[0] += f"; known are {_amount(groups['singer'], groups['recordings'].sum(), groups['seconds'].sum())}"
    for kind, title in FINDINGS.items():
        part = found.findings[found.findings["finding"] == kind]
        if kind in COMPARED and not found.known:
            continue
        amount = counted(part["recordings"].sum(), "recording") if len(part) else "none"
        if kind == "sample rate" and len(part):
            amount += f" ({listed(Counter(part['detail']))})"
        if kind == "missing" and len(part):
            amount += f", not counting known copies ({len(found.known.copies)})"
        lines.append(f"{title}: {amount}")
        lines += [f"  {where}: {detail}" for where, detail in part[["where", "detail"]].head(MOST_SHOWN).to_numpy()]
        if len(part) > MOST_SHOWN:
            lines.append(f"  and {len(part) - MOST_SHOWN:,} more")
    return "\n".join([*lines, *(f"- {note}" for note in found.notes)])


def clipped_runs(channels: np.ndarray) -> list[int]:
    """The samples of each run at full scale, of `CLIPPED_RUN` or more, in (S, C) channels."""
    is_full = np.pad(np.abs(channels) >= FULL_SCALE, ((1, 1), (0, 0))).T.ravel()  # a channel's runs end with it
    edges = np.flatnonzero(is_full[1:] != is_full[:-1])
    runs = edges[1::2] - edges[::2]
    return runs[runs >= CLIPPED_RUN].tolist()


def _in_recordings(heard: dict, copies: dict[str, str], sample_rate: int, known_copies: Iterable[str]) -> list[tuple]:
    """The findings about single recordings."""
    rows = []
    for path, sound in heard.items():
        if not isinstance(sound, _Sound):
            rows.append(("damaged", path, str(sound) or type(sound).__name__))
            continue
        if sound.ends_early:
            rows.append(("short", path, "what is there is used"))
        if sound.is_silent:
            rows.append(("silent", path, "at 16 bits every sample is 0"))
        if path in copies:
            kind = "known copy" if _stem(path) in known_copies else "copy"
            rows.append((kind, path, f"byte for byte {copies[path]}"))
        if sound.clipped:
            runs = f"{counted(len(sound.clipped), 'run')}, the longest of {max(sound.clipped):,} samples"
            rows.append(("clipped", path, runs))
        if sound.sample_rate != sample_rate:
            rows.append(("sample rate", path, f"{sound.sample_rate:,} Hz"))
    return [(kind, shown(path), 1, detail) for kind, path, detail in rows]


def _compared(recordings: pd.DataFrame, known: Known) -> pd.DataFrame:
    """By singer, context and technique, copies left out: the known and found recordings and seconds, and is_whole."""
    expected = known.groups.set_index(GROUP)
    copies = [(*_folders(stem), 1, seconds) for stem, seconds in known.copies.items()]
    copies = pd.DataFrame(copies, columns=known.groups.columns).groupby(GROUP).sum()
    expected = expected.sub(copies, fill_value=0).reindex(expected.index)
    once = recordings[~recordings["is_copy"]]
    found = once.assign(seconds=_seconds(once), decoded=once["samples"] > 0).groupby(GROUP)
    found = found.agg(found=("path", "size"), found_seconds=("seconds", "sum"), decoded=("decoded", "sum"))
    table = expected.reindex(expected.index.union(found.index, sort=False)).join(found).fillna(0)
    whole = table.pop("decoded") == table["recordings"]
    return table.astype({"recordings": int, "found": int}).assign(is_whole=whole)


def _in_groups(groups: pd.DataFrame, known: Known) -> list[tuple]:
    """The findings about groups, those of the paper's techniques first."""
    rows = []
    is_asked = groups.index.get_level_values("technique").isin(known.clips["train"])
    for group in pd.concat([groups[is_asked], groups[~is_asked]]).reset_index().itertuples():
        where = shown("/".join(part for part in (group.singer, group.context, group.technique) if part))
        minutes = f"{group.found_seconds / 60:.2f} of {group.seconds / 60:.2f} min"
        lacking = group.recordings - group.found
        if lacking > 0:
            detail = f"{group.found} of {counted(group.recordings, 'recording')}, {minutes}"
            rows.append(("missing", where, lacking, detail))
        elif lacking < 0:
            rows.append(("extra", where, -lacking, f"{counted(group.found, 'recording')}, {group.recordings} known"))
        elif group.is_whole and abs(group.found_seconds - group.seconds) > LENGTHS_DIFFER * group.seconds:
            rows.append(("length", where, group.found, minutes))
    return rows


def _problems(groups: pd.DataFrame, recordings: pd.DataFrame, known: Known) -> list[str]:
    """Why the ten techniques, official test singers and clips of the paper cannot be had, a clause each."""
    asked = groups[groups.index.get_level_values("technique").isin(known.clips["train"])]
    lacking = asked["recordings"] - asked["found"]
    ours = recordings[recordings["technique"].isin(known.clips["train"])]
    spoilt = int((~ours["is_usable"] & ~ours["is_copy"]).sum())
    clips = _clips(_asked(recordings, known), known)
    problems = []
    if (lacking > 0).any():
        missing, all_of = int(lacking.clip(lower=0).sum()), int(asked["recordings"].sum())
        problems.append(f"{missing:,} of its {counted(all_of, 'recording')} {'is' if missing == 1 else 'are'} missing")
    if (lacking < 0).any():
        problems.append(f"it has {counted(int(-lacking.clip(upper=0).sum()), 'recording')} more than known")
    if spoilt:
        problems.append(f"{counted(spoilt, 'recording')} cannot be used")
    if clips != known.clips:
        others = [
            name for name in clips["train"] if any(clips[side][name] != known.clips[side][name] for side in clips)
        ]
        in_what = "all techniques" if len(others) == len(clips["train"]) else ", ".join(others)
        problems.append(f"it gives {_in_words(clips)}, expected {_in_words(known.clips)}, and differs in {in_what}")
    return problems


def _asked(recordings: pd.DataFrame, known: Known) -> pd.DataFrame:
    """The usable recordings of the paper's techniques."""
    return recordings[recordings["is_usable"] & recordings["technique"].isin(known.clips["train"])]


def _clips(recordings: pd.DataFrame, known: Known) -> dict[str, dict[str, int]]:
    """By side and technique, the clips that recordings give at the paper's length and sample rate."""
    clips = {side: dict.fromkeys(known.clips[side], 0) for side in known.clips}
    for recording in recordings.itertuples():
        samples = math.ceil(recording.samples * SAMPLE_RATE / recording.sample_rate)
        side = "test" if recording.singer in known.test_singers else "train"
        clips[side][recording.technique] += len(clip_spans(samples, round(CLIP_SECONDS * SAMPLE_RATE)))
    return clips


def _in_words(clips: dict[str, dict[str, int]]) -> str:
    train, test = (sum(clips[side].values()) for side in ("train", "test"))
    return f"{train:,} training and {test:,} test clips"


def _amount(singers: pd.Series, recordings: int, seconds: float) -> str:
    return f"{counted(recordings, 'recording')} by {counted(singers.nunique(), 'singer')}, {seconds / 3600:.2f} h"


def _seconds(recordings: pd.DataFrame) -> pd.Series:
    return recordings["samples"] / recordings["sample_rate"].clip(lower=1)  # damaged ones have neither


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _folders(stem: str) -> tuple[str, str, str]:
    """The singer, context and technique of a recording."""
    singer, *context, technique, _ = stem.split("/")
    return singer, "/".join(context), technique
