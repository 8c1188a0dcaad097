"""Verify recordings: decode each to its end, compare all with the content of VocalSet, find copies by their sound."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from singtech.corpus.archive import Source
from singtech.corpus.audio import find_clip_spans, mix_to_mono, read_channels, to_int16
from singtech.corpus.manifest import (
    escape,
    hash_content,
    list_counts,
    list_recordings,
    map_copies,
    plural,
    process_recordings,
    recording_name,
)
from singtech.corpus.near_copies import CORRELATION, correlate, find_candidates, make_fingerprint, resample
from singtech.corpus.vocalset import CLIP_SECONDS, SAMPLE_RATE, ExpectedContents

GROUP = ["singer", "context", "technique"]
FULL_SCALE = 32767 / 32768  # the largest 16-bit value that exists with both signs
CLIPPED_RUN = 3  # samples in a row at full scale; a peak that only reaches it has one or two
LENGTH_TOLERANCE = 0.01  # of a group's seconds
COMPARISON_FINDINGS = ("missing", "extra", "length", "known copy")  # with the expected contents
FINDINGS = {
    "missing": "missing",
    "extra": "more than known",
    "length": f"of another length, their group's by more than {LENGTH_TOLERANCE:.0%}",
    "damaged": "damaged",
    "short": "up to 1% shorter than the header says",
    "silent": "silent",
    "known copy": "byte for byte another one, as known",
    "copy": "byte for byte another one",
    "near copy": "of the sound of another one, in other bytes; prepare keeps both",
    "clipped": f"clipped, {CLIPPED_RUN} samples or more in a row at full scale",
    "sample rate": "of another sample rate",
}
MAX_EXAMPLES = 6


@dataclass(frozen=True, eq=False)
class Verification:
    """The result of verifying recordings.

    Attributes:
        recordings: a row for each recording: path, singer, technique, context, subset (if the split is known), samples
            and sample_rate (0 if damaged), seconds, is_copy and is_usable.
        findings: a row for each finding: finding (see `FINDINGS`), where (a path, or a singer, context and technique),
            recordings (their number), detail.
        notes: a line for each other oddity.
        expected: the expected contents, or None.
        clips: number by subset and technique in the paper's protocol; None without expected contents.
    """

    recordings: pd.DataFrame
    findings: pd.DataFrame
    notes: list[str]
    expected: ExpectedContents | None
    clips: dict[str, dict[str, int]] | None

    @property
    def is_whole(self) -> bool:
        """Whether the paper's protocol can be run on the recordings; True without expected contents."""
        return self.expected is None or self.clips == self.expected.clips

    def conclusion(self) -> str:
        """Say in one sentence whether the paper's protocol can be run on the recordings."""
        if self.expected is None or self.clips is None:
            usable, total = self.recordings["is_usable"].sum(), plural(len(self.recordings), "recording")
            return f"Not compared, because only VocalSet's content is known: {usable:,} of {total} can be used."
        clips, expected = self.clips, self.expected.clips
        if self.is_whole:
            return f"The paper's protocol can be run on it: it gives {_sum_clips(clips)}."
        different = [t for t in expected["train"] if any(clips[subset][t] != expected[subset][t] for subset in clips)]
        return (
            f"The paper's protocol cannot be run on it: it gives {_sum_clips(clips)}, expected {_sum_clips(expected)}; "
            f"different are {', '.join(different)}."
        )


class _Sound(NamedTuple):
    """Result of decoding a recording; its findings are pairs of kind and detail."""

    samples: int
    sample_rate: int
    is_silent: bool
    digest: str
    findings: list[tuple[str, str]]
    fingerprint: np.ndarray


def verify(
    source: Source,
    sample_rate: int = SAMPLE_RATE,
    expected: ExpectedContents | None = None,
    subsets: Callable[[pd.DataFrame], list[str]] | None = None,
) -> Verification:
    """Decode every recording of a source, of any technique, and compare the source with the expected contents.

    Args:
        subsets: gives the subset of each row of a table of recordings; None if the split is not known.
    """
    recordings, notes = list_recordings(source)
    sounds: dict[str, _Sound] = {}
    findings: list[tuple[str, str, int, str]] = []
    decode = functools.partial(_decode, sample_rate)
    for path, result in process_recordings(source, decode, recordings["path"], "decoding"):
        if isinstance(result, _Sound):
            sounds[path] = result
            findings += [(kind, path, 1, detail) for kind, detail in result.findings]
        else:
            findings.append(("damaged", escape(path), 1, str(result) or type(result).__name__))
    copies = map_copies({path: sound.digest for path, sound in sounds.items()})
    for copy, original in copies.items():
        kind = "known copy" if expected and recording_name(copy) in expected.copies else "copy"
        findings.append((kind, copy, 1, f"byte for byte {original}"))
    if subsets is not None:
        recordings["subset"] = subsets(recordings)
    findings += _find_near_copies(source, recordings, {p: s.fingerprint for p, s in sounds.items() if p not in copies})
    lengths = pd.DataFrame({path: sound[:2] for path, sound in sounds.items()}, ["samples", "sample_rate"], dtype=int).T
    recordings = recordings.join(lengths, on="path").fillna(0).astype(lengths.dtypes)
    recordings["seconds"] = recordings["samples"] / recordings["sample_rate"].clip(lower=1)
    recordings["is_copy"] = recordings["path"].isin(copies)
    audible = [path for path, sound in sounds.items() if not sound.is_silent]
    recordings["is_usable"] = recordings["path"].isin(audible) & ~recordings["is_copy"]
    if expected:
        findings = _compare(recordings, expected) + findings
    table = pd.DataFrame(findings, columns=["finding", "where", "recordings", "detail"])
    clips = _count_clips(recordings[recordings["is_usable"]], expected) if expected else None
    return Verification(recordings, table, notes, expected, clips)


def _decode(sample_rate: int, _: str, data: bytes) -> _Sound:
    """Decode a recording, and list its oddities."""
    channels, header = read_channels(data)
    waveform = mix_to_mono(channels)
    is_silent = not to_int16(waveform)[0].any()
    runs = find_clipped_runs(channels)
    oddities = [
        ("short", header.ends_early, "the existing part is used"),
        ("silent", is_silent, "at 16 bits every sample is 0"),
        ("clipped", runs, f"{plural(len(runs), 'run')}, the longest of {max(runs, default=0):,} samples"),
        ("sample rate", header.sample_rate != sample_rate, f"{header.sample_rate:,} Hz"),
    ]
    findings = [(kind, detail) for kind, is_so, detail in oddities if is_so]
    fingerprint = make_fingerprint(resample(waveform, header.sample_rate))
    return _Sound(len(channels), header.sample_rate, is_silent, hash_content(data), findings, fingerprint)


def _find_near_copies(
    source: Source, recordings: pd.DataFrame, fingerprints: Mapping[str, np.ndarray]
) -> list[tuple[str, str, int, str]]:
    """Return a finding for each pair of recordings with the same sound; candidates are read once more."""
    paths, table = list(fingerprints), recordings.set_index("path")

    @functools.lru_cache(8)
    def read(path: str) -> np.ndarray:
        channels, header = read_channels(source.read(path))
        return resample(mix_to_mono(channels), header.sample_rate)

    findings = []
    for candidate in sorted(find_candidates(list(fingerprints.values()))):
        first, second = paths[candidate.first], paths[candidate.second]
        correlation, seconds = correlate(read(first), read(second), candidate.lag)
        if correlation < CORRELATION:
            continue
        place = f", {abs(seconds):.2f} s {'after' if seconds > 0 else 'before'} its start" * (abs(seconds) >= 0.005)
        names = [name for name in ("singer", "technique", "subset") if name in table]
        pairs = {name: table.loc[[first, second], name].tolist() for name in names}
        others = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        words = "".join(f"; {name}s {escape(' and '.join(pair))}" for name, pair in others.items())
        leakage = ": leakage" if {"singer", "subset"} & others.keys() else ""
        findings.append(("near copy", escape(second), 1, f"the sound of {escape(first)}{place}{words}{leakage}"))
    return findings


def report(verification: Verification) -> str:
    """Describe the total, then each kind of finding with its first examples."""
    recordings, findings, expected = verification.recordings, verification.findings, verification.expected
    lines = [_sum_up(recordings["singer"], len(recordings), recordings["seconds"].sum())]
    if expected:
        groups = expected.groups
        lines[0] += f"; known are {_sum_up(groups['singer'], groups['recordings'].sum(), groups['seconds'].sum())}"
    for kind, title in FINDINGS.items():
        rows = findings[findings["finding"] == kind]
        if kind in COMPARISON_FINDINGS and not expected:
            continue
        amount = plural(rows["recordings"].sum(), "recording") if len(rows) else "none"
        if kind == "sample rate" and len(rows):
            amount += f" ({list_counts(Counter(rows['detail']))})"
        lines.append(f"{title}: {amount}")
        lines += [f"  {item}: {detail}" for item, detail in rows[["where", "detail"]].head(MAX_EXAMPLES).to_numpy()]
        if len(rows) > MAX_EXAMPLES:
            lines.append(f"  and {len(rows) - MAX_EXAMPLES:,} more")
    return "\n".join([*lines, *(f"- {note}" for note in verification.notes)])


def find_clipped_runs(channels: np.ndarray) -> list[int]:
    """Find runs of `CLIPPED_RUN` or more samples at full scale in (S, C) channels; return their lengths."""
    is_full_scale = np.pad(np.abs(channels) >= FULL_SCALE, ((1, 1), (0, 0))).T.ravel()  # a channel's runs end with it
    edges = np.flatnonzero(is_full_scale[1:] != is_full_scale[:-1])
    runs = edges[1::2] - edges[::2]
    return runs[runs >= CLIPPED_RUN].tolist()


def _compare(recordings: pd.DataFrame, expected: ExpectedContents) -> list[tuple[str, str, int, str]]:
    """Return the findings about each singer, context and technique, without copies."""
    table = expected.groups.set_index(GROUP)
    for name, seconds in expected.copies.items():
        singer, *context, technique, _ = name.split("/")
        table.loc[(singer, "/".join(context), technique)] -= [1, seconds]
    unique = recordings[~recordings["is_copy"]].assign(is_decoded=recordings["samples"] > 0).groupby(GROUP)
    present = unique.agg(present=("path", "size"), present_seconds=("seconds", "sum"), is_whole=("is_decoded", "all"))
    table = table.reindex(table.index.union(present.index, sort=False)).join(present).fillna(0)
    findings = []
    for group in table.astype({"recordings": int, "present": int}).itertuples():
        name = escape("/".join(filter(None, group.Index)))
        minutes = f"{group.present_seconds / 60:.2f} of {group.seconds / 60:.2f} min"
        missing = group.recordings - group.present
        if missing > 0:
            detail = f"{group.present} of {plural(group.recordings, 'recording')}, {minutes}"
            findings.append(("missing", name, missing, detail))
        elif missing < 0:
            detail = f"{plural(group.present, 'recording')}, {group.recordings} known"
            findings.append(("extra", name, -missing, detail))
        elif group.is_whole and abs(group.present_seconds - group.seconds) > LENGTH_TOLERANCE * group.seconds:
            findings.append(("length", name, group.present, minutes))
    return findings


def _count_clips(recordings: pd.DataFrame, expected: ExpectedContents) -> dict[str, dict[str, int]]:
    """Count clips of the paper's length and sample rate by subset and technique."""
    clips = {subset: dict.fromkeys(expected.clips[subset], 0) for subset in expected.clips}
    for recording in recordings[recordings["technique"].isin(clips["train"])].itertuples():
        samples = -(-recording.samples * SAMPLE_RATE // recording.sample_rate)
        subset = "test" if recording.singer in expected.test_singers else "train"
        clips[subset][recording.technique] += len(find_clip_spans(samples, round(CLIP_SECONDS * SAMPLE_RATE)))
    return clips


def _sum_clips(clips: Mapping[str, Mapping[str, int]]) -> str:
    train, test = (sum(clips[subset].values()) for subset in ("train", "test"))
    return f"{train:,} training and {test:,} test clips"


def _sum_up(singers: pd.Series, recordings: int, seconds: float) -> str:
    return f"{plural(recordings, 'recording')} by {plural(singers.nunique(), 'singer')}, {seconds / 3600:.2f} h"
