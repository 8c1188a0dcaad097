"""Verify recordings: decode each to its end, and compare all with what VocalSet should hold."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import mixed, read_channels, to_int16
from singtech.corpus.cutting import clip_spans
from singtech.corpus.manifest import (
    copies_of,
    counted,
    in_words,
    list_recordings,
    printable,
    process_recordings,
    recording_name,
    require_printable,
)
from singtech.corpus.vocalset import CLIP_SECONDS, SAMPLE_RATE, ExpectedContents

GROUP = ["singer", "context", "technique"]
FULL_SCALE = 32767 / 32768  # the loudest that 16 bits hold on both sides
CLIPPED_RUN = 3  # samples in a row at full scale; a note that only touches it stays there for one or two
LENGTHS_DIFFER = 0.01  # of a group's seconds
COMPARED = ("missing", "extra", "length", "known copy")  # with the expected contents
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
    """The result of verifying recordings.

    Attributes:
        recordings: a row a recording: path, singer, technique, context, samples and sample_rate (0 if damaged),
            seconds, and whether it is_copy and is_usable (once).
        findings: a row for each finding: finding (see `FINDINGS`), where (a path, or a singer, context and technique),
            recordings (how many it concerns), detail.
        notes: a line for each other oddity of the files.
        expected: the contents that the recordings were compared with, or None.
        problems: why the paper's protocol cannot be run on them, a clause each.
    """

    recordings: pd.DataFrame
    findings: pd.DataFrame
    notes: list[str]
    expected: ExpectedContents | None
    problems: list[str]

    def conclusion(self) -> str:
        """Say in one sentence whether the paper's protocol can be run on them."""
        if self.expected is None:
            usable, total = int(self.recordings["is_usable"].sum()), counted(len(self.recordings), "recording")
            return f"Compared with nothing, for only VocalSet's content is known: {usable:,} of {total} can be used."
        if self.problems:
            return f"The paper's protocol cannot be run on it: {'; '.join(self.problems)}."
        in_protocol = self.recordings["is_usable"] & self.recordings["technique"].isin(self.expected.clips["train"])
        recordings = counted(in_protocol.sum(), "recording")
        return f"The paper's protocol can be run on it: {recordings} after copies, {_sums(self.expected.clips)}."


class _Sound(NamedTuple):
    """What decoding a recording shows."""

    samples: int
    sample_rate: int
    ends_early: bool
    is_silent: bool
    clipped: list[int]
    digest: str


def verify(source: Source, sample_rate: int = SAMPLE_RATE, expected: ExpectedContents | None = None) -> Verification:
    """Decode every recording of a source, of any technique, and compare the source with the expected contents."""
    recordings, notes = list_recordings(source)

    def decode(path: str) -> _Sound:
        require_printable(path)
        data = source.read(path)
        channels, header = read_channels(data)
        is_silent = not to_int16(mixed(channels))[0].any()
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        return _Sound(len(channels), header.sample_rate, header.ends_early, is_silent, clipped_runs(channels), digest)

    results = dict(process_recordings(decode, recordings["path"], "decoding", lambda path: 10 * source.size(path)))
    sounds = {path: sound for path, sound in results.items() if isinstance(sound, _Sound)}
    copies = copies_of({path: sound.digest for path, sound in sounds.items()})
    columns = pd.DataFrame(sounds, index=_Sound._fields).T.reindex(recordings["path"])
    for name in ("samples", "sample_rate"):
        recordings[name] = columns[name].fillna(0).to_numpy(int)
    recordings["seconds"] = recordings["samples"] / recordings["sample_rate"].clip(lower=1)
    recordings["is_copy"] = recordings["path"].isin(copies)
    recordings["is_usable"] = ~recordings["is_copy"] & (columns["is_silent"] == False).to_numpy()  # noqa: E712
    findings = _of_recordings(results, copies, sample_rate, expected.copies if expected else ())
    problems: list[str] = []
    if expected:
        groups = _compare(recordings, expected)
        findings = [*_of_groups(groups, expected), *findings]
        problems = _problems(groups, recordings, expected)
    table = pd.DataFrame(findings, columns=["finding", "where", "recordings", "detail"])
    return Verification(recordings, table, notes, expected, problems)


def report(verification: Verification) -> str:
    """Write how much there is, a line for each kind of finding and the first few of each."""
    recordings, findings, expected = verification.recordings, verification.findings, verification.expected
    lines = [_amount(recordings["singer"], len(recordings), recordings["seconds"].sum())]
    if expected:
        groups = expected.groups
        lines[0] += f"; known are {_amount(groups['singer'], groups['recordings'].sum(), groups['seconds'].sum())}"
    for kind, title in FINDINGS.items():
        part = findings[findings["finding"] == kind]
        if kind in COMPARED and not expected:
            continue
        amount = counted(part["recordings"].sum(), "recording") if len(part) else "none"
        if kind == "sample rate" and len(part):
            amount += f" ({in_words(Counter(part['detail']))})"
        if kind == "missing" and len(part) and expected:
            amount += f", not counting known copies ({len(expected.copies)})"
        lines.append(f"{title}: {amount}")
        lines += [f"  {item}: {detail}" for item, detail in part[["where", "detail"]].head(MOST_SHOWN).to_numpy()]
        if len(part) > MOST_SHOWN:
            lines.append(f"  and {len(part) - MOST_SHOWN:,} more")
    return "\n".join([*lines, *(f"- {note}" for note in verification.notes)])


def clipped_runs(channels: np.ndarray) -> list[int]:
    """Return the samples of each run at full scale, of `CLIPPED_RUN` or more, in (S, C) channels."""
    is_full = np.pad(np.abs(channels) >= FULL_SCALE, ((1, 1), (0, 0))).T.ravel()  # a channel's runs end with it
    edges = np.flatnonzero(is_full[1:] != is_full[:-1])
    runs = edges[1::2] - edges[::2]
    return runs[runs >= CLIPPED_RUN].tolist()


def _of_recordings(
    results: Mapping[str, Any], copies: Mapping[str, str], sample_rate: int, known_copies: Iterable[str]
) -> list[tuple[str, str, int, str]]:
    """Return the findings about single recordings."""
    rows = []
    for path, sound in results.items():
        if not isinstance(sound, _Sound):
            rows.append(("damaged", path, str(sound) or type(sound).__name__))
            continue
        if sound.ends_early:
            rows.append(("short", path, "what is there is used"))
        if sound.is_silent:
            rows.append(("silent", path, "at 16 bits every sample is 0"))
        if path in copies:
            kind = "known copy" if recording_name(path) in known_copies else "copy"
            rows.append((kind, path, f"byte for byte {copies[path]}"))
        if sound.clipped:
            runs = f"{counted(len(sound.clipped), 'run')}, the longest of {max(sound.clipped):,} samples"
            rows.append(("clipped", path, runs))
        if sound.sample_rate != sample_rate:
            rows.append(("sample rate", path, f"{sound.sample_rate:,} Hz"))
    return [(kind, printable(path), 1, detail) for kind, path, detail in rows]


def _compare(recordings: pd.DataFrame, expected: ExpectedContents) -> pd.DataFrame:
    """Return a row for each singer, context and technique, copies left out.

    Returns:
        Expected recordings and seconds; present recordings and their seconds; whether all were decoded; whether the
        technique is in_protocol.
    """
    table = expected.groups.set_index(GROUP)
    for name, seconds in expected.copies.items():
        singer, *context, technique, _ = name.split("/")
        table.loc[(singer, "/".join(context), technique)] -= [1, seconds]
    once = recordings[~recordings["is_copy"]].assign(is_decoded=recordings["samples"] > 0).groupby(GROUP)
    present = once.agg(present=("path", "size"), present_seconds=("seconds", "sum"), decoded=("is_decoded", "sum"))
    table = table.reindex(table.index.union(present.index, sort=False)).join(present).fillna(0)
    table = table.astype({"recordings": int, "present": int}).reset_index()
    table["is_whole"] = table["decoded"] == table["recordings"]
    table["in_protocol"] = table["technique"].isin(expected.clips["train"])
    return table


def _of_groups(groups: pd.DataFrame, expected: ExpectedContents) -> list[tuple[str, str, int, str]]:
    """Return the findings about groups, those of the paper's techniques first."""
    rows = []
    for group in groups.sort_values("in_protocol", ascending=False, kind="stable").itertuples():
        name = printable("/".join(part for part in (group.singer, group.context, group.technique) if part))
        minutes = f"{group.present_seconds / 60:.2f} of {group.seconds / 60:.2f} min"
        missing = group.recordings - group.present
        if missing > 0:
            detail = f"{group.present} of {counted(group.recordings, 'recording')}, {minutes}"
            rows.append(("missing", name, missing, detail))
        elif missing < 0:
            detail = f"{counted(group.present, 'recording')}, {group.recordings} known"
            rows.append(("extra", name, -missing, detail))
        elif group.is_whole and abs(group.present_seconds - group.seconds) > LENGTHS_DIFFER * group.seconds:
            rows.append(("length", name, group.present, minutes))
    return rows


def _problems(groups: pd.DataFrame, recordings: pd.DataFrame, expected: ExpectedContents) -> list[str]:
    """Say, a clause each, why the ten techniques, official test singers and clips of the paper are not all there."""
    groups = groups[groups["in_protocol"]]
    missing = (groups["recordings"] - groups["present"]).clip(lower=0).sum()
    extra = (groups["present"] - groups["recordings"]).clip(lower=0).sum()
    recordings = recordings[recordings["technique"].isin(expected.clips["train"])]
    unusable = (~recordings["is_usable"] & ~recordings["is_copy"]).sum()
    problems = []
    if missing:
        total = counted(groups["recordings"].sum(), "recording")
        problems.append(f"{missing:,} of its {total} {'is' if missing == 1 else 'are'} missing")
    if extra:
        problems.append(f"it has {counted(extra, 'recording')} more than known")
    if unusable:
        problems.append(f"{counted(unusable, 'recording')} cannot be used")
    clips = _clips(recordings[recordings["is_usable"]], expected)
    if clips != expected.clips:
        techniques = [t for t in clips["train"] if any(clips[side][t] != expected.clips[side][t] for side in clips)]
        names = "all techniques" if len(techniques) == len(clips["train"]) else ", ".join(techniques)
        problems.append(f"it gives {_sums(clips)}, expected {_sums(expected.clips)}, and differs in {names}")
    return problems


def _clips(recordings: pd.DataFrame, expected: ExpectedContents) -> dict[str, dict[str, int]]:
    """Count by side and technique the clips that recordings give at the paper's length and sample rate."""
    clips = {side: dict.fromkeys(expected.clips[side], 0) for side in expected.clips}
    for recording in recordings.itertuples():
        samples = -(-recording.samples * SAMPLE_RATE // recording.sample_rate)
        side = "test" if recording.singer in expected.test_singers else "train"
        clips[side][recording.technique] += len(clip_spans(samples, round(CLIP_SECONDS * SAMPLE_RATE)))
    return clips


def _sums(clips: Mapping[str, Mapping[str, int]]) -> str:
    train, test = (sum(clips[side].values()) for side in ("train", "test"))
    return f"{train:,} training and {test:,} test clips"


def _amount(singers: pd.Series, recordings: int, seconds: float) -> str:
    return f"{counted(recordings, 'recording')} by {counted(singers.nunique(), 'singer')}, {seconds / 3600:.2f} h"
