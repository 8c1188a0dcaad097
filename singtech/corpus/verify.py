"""Verify recordings: decode each to its end, and compare all with what VocalSet should hold."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import clip_spans, mixed, read_channels, to_int16
from singtech.corpus.manifest import (
    content_digest,
    copies_of,
    counted,
    in_words,
    list_recordings,
    printable,
    process_recordings,
    recording_name,
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
        clips: by side and technique, that the recordings give in the paper's protocol; None if not compared.
    """

    recordings: pd.DataFrame
    findings: pd.DataFrame
    notes: list[str]
    expected: ExpectedContents | None
    clips: dict[str, dict[str, int]] | None

    @property
    def is_whole(self) -> bool:
        """Whether the paper's protocol can be run on the recordings, or nothing is known of them."""
        return self.expected is None or self.clips == self.expected.clips

    def conclusion(self) -> str:
        """Say in one sentence whether the paper's protocol can be run on them."""
        if self.expected is None or self.clips is None:
            usable, total = self.recordings["is_usable"].sum(), counted(len(self.recordings), "recording")
            return f"Compared with nothing, for only VocalSet's content is known: {usable:,} of {total} can be used."
        clips, expected = self.clips, self.expected.clips
        if self.is_whole:
            return f"The paper's protocol can be run on it: it gives {_sums(clips)}."
        differing = [t for t in expected["train"] if any(clips[side][t] != expected[side][t] for side in clips)]
        return (
            f"The paper's protocol cannot be run on it: it gives {_sums(clips)}, expected {_sums(expected)}; "
            f"different are {', '.join(differing)}."
        )


class _Sound(NamedTuple):
    """What decoding a recording shows; its findings are pairs of kind and detail."""

    samples: int
    sample_rate: int
    is_silent: bool
    digest: str
    findings: list[tuple[str, str]]


def verify(source: Source, sample_rate: int = SAMPLE_RATE, expected: ExpectedContents | None = None) -> Verification:
    """Decode every recording of a source, of any technique, and compare the source with the expected contents."""
    recordings, notes = list_recordings(source)
    sounds: dict[str, _Sound] = {}
    findings: list[tuple[str, str, int, str]] = []
    for path, result in process_recordings(
        source, lambda _, data: _decode(data, sample_rate), recordings["path"], "decoding"
    ):
        if isinstance(result, _Sound):
            sounds[path] = result
            findings += [(kind, path, 1, detail) for kind, detail in result.findings]
        else:
            findings.append(("damaged", printable(path), 1, str(result) or type(result).__name__))
    copies = copies_of({path: sound.digest for path, sound in sounds.items()})
    for copy, original in copies.items():
        kind = "known copy" if expected and recording_name(copy) in expected.copies else "copy"
        findings.append((kind, copy, 1, f"byte for byte {original}"))
    lengths = pd.DataFrame({path: sound[:2] for path, sound in sounds.items()}, ["samples", "sample_rate"], dtype=int).T
    recordings = recordings.join(lengths, on="path").fillna(0).astype(lengths.dtypes)
    recordings["seconds"] = recordings["samples"] / recordings["sample_rate"].clip(lower=1)
    recordings["is_copy"] = recordings["path"].isin(copies)
    heard = [path for path, sound in sounds.items() if not sound.is_silent]
    recordings["is_usable"] = recordings["path"].isin(heard) & ~recordings["is_copy"]
    if expected:
        findings = _compare(recordings, expected) + findings
    table = pd.DataFrame(findings, columns=["finding", "where", "recordings", "detail"])
    clips = _clips(recordings[recordings["is_usable"]], expected) if expected else None
    return Verification(recordings, table, notes, expected, clips)


def _decode(data: bytes, sample_rate: int) -> _Sound:
    """Decode a recording; say what is odd in it."""
    channels, header = read_channels(data)
    is_silent = not to_int16(mixed(channels))[0].any()
    runs = clipped_runs(channels)
    findings = []
    if header.ends_early:
        findings.append(("short", "what is there is used"))
    if is_silent:
        findings.append(("silent", "at 16 bits every sample is 0"))
    if runs:
        findings.append(("clipped", f"{counted(len(runs), 'run')}, the longest of {max(runs):,} samples"))
    if header.sample_rate != sample_rate:
        findings.append(("sample rate", f"{header.sample_rate:,} Hz"))
    return _Sound(len(channels), header.sample_rate, is_silent, content_digest(data), findings)


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


def _compare(recordings: pd.DataFrame, expected: ExpectedContents) -> list[tuple[str, str, int, str]]:
    """Return the findings about each singer, context and technique, copies left out."""
    table = expected.groups.set_index(GROUP)
    for name, seconds in expected.copies.items():
        singer, *context, technique, _ = name.split("/")
        table.loc[(singer, "/".join(context), technique)] -= [1, seconds]
    once = recordings[~recordings["is_copy"]].assign(is_decoded=recordings["samples"] > 0).groupby(GROUP)
    present = once.agg(present=("path", "size"), present_seconds=("seconds", "sum"), is_whole=("is_decoded", "all"))
    table = table.reindex(table.index.union(present.index, sort=False)).join(present).fillna(0)
    findings = []
    for group in table.astype({"recordings": int, "present": int}).itertuples():
        name = printable("/".join(filter(None, group.Index)))
        minutes = f"{group.present_seconds / 60:.2f} of {group.seconds / 60:.2f} min"
        missing = group.recordings - group.present
        if missing > 0:
            detail = f"{group.present} of {counted(group.recordings, 'recording')}, {minutes}"
            findings.append(("missing", name, missing, detail))
        elif missing < 0:
            detail = f"{counted(group.present, 'recording')}, {group.recordings} known"
            findings.append(("extra", name, -missing, detail))
        elif group.is_whole and abs(group.present_seconds - group.seconds) > LENGTHS_DIFFER * group.seconds:
            findings.append(("length", name, group.present, minutes))
    return findings


def _clips(recordings: pd.DataFrame, expected: ExpectedContents) -> dict[str, dict[str, int]]:
    """Count by side and technique the clips that recordings give at the paper's length and sample rate."""
    clips = {side: dict.fromkeys(expected.clips[side], 0) for side in expected.clips}
    for recording in recordings[recordings["technique"].isin(clips["train"])].itertuples():
        samples = -(-recording.samples * SAMPLE_RATE // recording.sample_rate)
        side = "test" if recording.singer in expected.test_singers else "train"
        clips[side][recording.technique] += len(clip_spans(samples, round(CLIP_SECONDS * SAMPLE_RATE)))
    return clips


def _sums(clips: Mapping[str, Mapping[str, int]]) -> str:
    train, test = (sum(clips[side].values()) for side in ("train", "test"))
    return f"{train:,} training and {test:,} test clips"


def _amount(singers: pd.Series, recordings: int, seconds: float) -> str:
    return f"{counted(recordings, 'recording')} by {counted(singers.nunique(), 'singer')}, {seconds / 3600:.2f} h"
