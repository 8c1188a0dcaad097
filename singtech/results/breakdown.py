"""Where a score comes from: by context, recording, singer, how common a technique is; calibration; confused pairs.

Technique is confounded with context in VocalSet: spoken is excerpts only, inhaled, trill and trillo are long tones
only. A network that recognised nothing but the context would already score, so that what it scores is shown within each
context, beside what the context alone gives away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.collate import Collated, csv_text
from singtech.results.commands import place_of, prepare
from singtech.results.experiments import Experiment, Published
from singtech.results.pages import Line, document, latex_table, pipes, shown, tabular
from singtech.results.predictions import Predictions
from singtech.results.resampling import weighted_scores
from singtech.results.summaries import Answer, answer, printed
from singtech.results.tables import write_texts

if TYPE_CHECKING:
    import pandas as pd

BINS = 15  # of confidence, in the calibration error
PAIRS = 12  # of techniques, the most confused
ALONE = "Context only"
PARTS = ("fewest", "middle", "most")


@dataclass(frozen=True)
class Part:
    """One table of the page.

    Attributes:
        title, note: what it shows and how it was made.
        head: over the lines' names.
        lines: (line, metric) -> label of a condition -> a value a seed.
    """

    title: str
    note: str
    head: str
    lines: dict[tuple[str, str], dict[str, list[float]]]


def render_breakdown(
    experiment: Experiment, collated: Collated, published: Published, data: str, folder: Path
) -> tuple[list[Path], Answer]:
    """Write the parts as `<name>.md` and, one number a line, `.csv`; the paths written and the answer."""
    found = answer(experiment, collated, data)
    told = {
        summary.condition.label: [collated.draws.predictions(run) for run in summary.runs]
        for summary in found.summaries
    }
    lacking = sum(predictions is None for each in told.values() for predictions in each)
    known = {label: [p for p in each if p is not None] for label, each in told.items()}
    known = {label: each for label, each in known.items() if each}
    notes = [note for note in found.notes if not note.startswith(("95 %", "No interval"))]
    if lacking:
        notes.append(f"{lacking} runs are left out, whose runs/*/predictions.csv are not here.")
    contexts = collated.contexts_of(data)
    missing = list(found.missing)
    if known and not contexts["context"].any():
        missing.append(("what the context alone gives", prepare(place_of(collated, data))))
    found = replace(found, notes=tuple(notes), missing=tuple(missing))
    parts = parts_of(known, contexts, found.experiment.metrics) if known else []
    page = document(found, *(text for part in parts for text in _section(part, list(known))))
    tabulars = [tabular(*table, left=2) for table in (_table(part, list(known)) for part in parts)]
    texts = {"md": page, "csv": long_form(found, parts), "tex": latex_table(found, *tabulars)}
    return write_texts(folder / experiment.name, texts), found


def parts_of(told: dict[str, list[Predictions]], contexts: "pd.DataFrame", metrics: dict[str, str]) -> list[Part]:
    """All parts, of the predictions of each condition's runs.

    Args:
        told: label -> one a seed.
        contexts: technique, split, context, clips of the corpus.
        metrics: those of a part on scores, and as printed.
    """
    train = contexts[contexts["split"] == "train"]
    common = train.groupby("technique")["clips"].sum()
    return [
        _by_context(told, train, metrics),
        _by_recording(told, metrics),
        _by_singer(told, metrics),
        _by_count(told, common),
        _calibration(told),
        _confused(told),
    ]


def context_only(clips: "pd.DataFrame", techniques: Sequence[str], train: "pd.DataFrame") -> Predictions:
    """What a listener would say who heard nothing but the context: its techniques by their training clips in it.

    Args:
        clips: the test clips.
        train: technique, context, clips of the training singers. A context that they lack ranks by all of theirs.
    """
    counts = train.pivot_table(index="context", columns="technique", values="clips", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=list(techniques), fill_value=0)
    overall = counts.sum().to_numpy()
    ranked = [counts.loc[c].to_numpy() if c in counts.index else overall for c in clips["context"]]
    return Predictions(clips, tuple(techniques), np.array(ranked, dtype=np.float32))


def by_recording(predictions: Predictions) -> Predictions:
    """One prediction a recording: the mean of its clips' logits."""
    groups = predictions.clips.reset_index(drop=True).groupby("recording", sort=True)
    logits = [predictions.logits[rows.index.to_numpy()].mean(axis=0) for _, rows in groups]
    return Predictions(groups.head(1).sort_values("recording"), predictions.techniques, np.stack(logits))


def calibration_error(predictions: Predictions, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, Eq. 3): |accuracy − confidence| in equal bins of confidence,
    each weighed by its clips."""
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.logits.argmax(axis=1) == predictions.targets
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, right - confidence, bins)  # a bin's clips times its gap
    return float(np.abs(gaps).sum() / len(confidence))


def long_form(found: Answer, parts: Sequence[Part]) -> str:
    """One number a line: part, line, metric and condition; mean and deviation over the seeds."""
    lines = []
    for part in parts:
        for (line, metric), values in part.lines.items():
            for label, each in values.items():
                mean, deviation = _summed(each)
                numbers = ["" if number is None else round(number, 6) for number in (mean, deviation)]
                lines.append([found.data, found.experiment.name, part.title, line, metric, label, *numbers, len(each)])
    header = ["data", "artefact", "part", "line", "metric", "label", "mean", "deviation", "seeds"]
    return csv_text(header, lines)


def _section(part: Part, labels: Sequence[str]) -> list[str]:
    """A part as a heading, its note and a table."""
    header, groups = _table(part, labels)
    return [f"## {part.title}", part.note, pipes(header, [line for group in groups for line in group], left=2)]


def _table(part: Part, labels: Sequence[str]) -> tuple[Line, list[list[Line]]]:
    """A part's header, and its lines in groups, one a name."""
    columns = list(dict.fromkeys([*(label for values in part.lines.values() for label in values), *labels]))
    groups: dict[str, list[Line]] = {}
    for (line, metric), values in part.lines.items():
        group = groups.setdefault(line, [])
        group.append(["" if group else line, metric, *(shown(*_summed(values.get(label, []))) for label in columns)])
    return [part.head or part.title, "", *columns], list(groups.values())


def _scored(told: dict[str, list[Predictions]], groups: Callable[[Predictions], dict[str, np.ndarray]], metrics: dict):
    """(line, metric) -> label -> a value a seed, of groups of clips: each line's name and which clips are of it."""
    lines: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, each in told.items():
        for predictions in each:
            named = groups(predictions)
            scores = weighted_scores(predictions, np.stack(list(named.values())).astype(np.float32))
            for place, line in enumerate(named):
                for metric, heading in metrics.items():
                    values = lines.setdefault((line, heading), {}).setdefault(label, [])
                    values.append(float(scores[metric][place]))
    return lines


def _by_context(told: dict[str, list[Predictions]], train: "pd.DataFrame", metrics: dict[str, str]) -> Part:
    def groups(predictions: Predictions) -> dict[str, np.ndarray]:
        clips = predictions.clips
        named = {"all": np.ones(len(clips), dtype=bool)}
        for context in sorted(set(clips["context"])):
            here = (clips["context"] == context).to_numpy()
            sung = clips.loc[here, "technique"].nunique()
            techniques = "1 technique" if sung == 1 else f"{sung} techniques"
            named[f"{printed(context) or 'not told'} ({here.sum()} clips, {techniques})"] = here
        return named

    first = next(iter(told.values()))[0]
    alone = {ALONE: [context_only(first.clips, first.techniques, train)]} if train["context"].any() else {}
    note = (
        "Context only names for every clip the technique that has most training clips in its context, without "
        "listening. F1 within a context is over the techniques that it has there."
    )
    return Part("Within each context", note, "Context", _scored(alone | told, groups, metrics))


def _by_recording(told: dict[str, list[Predictions]], metrics: dict[str, str]) -> Part:
    lines = {}
    for name, made in (("clips", lambda p: p), ("recordings", by_recording)):
        every = {label: [made(p) for p in each] for label, each in told.items()}
        count = len(next(iter(every.values()))[0].clips)
        lines |= _scored(every, lambda p, n=name, c=count: {f"{c:,} {n}": np.ones(len(p.clips), dtype=bool)}, metrics)
    note = "A recording is named by the mean of its clips' logits."
    return Part("Clips and whole recordings", note, "Level", lines)


def _by_singer(told: dict[str, list[Predictions]], metrics: dict[str, str]) -> Part:
    def groups(predictions: Predictions) -> dict[str, np.ndarray]:
        singers = predictions.clips["singer"]
        return {
            f"{singer} ({(singers == singer).sum()} clips)": (singers == singer).to_numpy()
            for singer in sorted(set(singers))
        }

    note = "F1 is over the techniques that the singer sings."
    return Part("Each test singer", note, "Singer", _scored(told, groups, metrics))


def _by_count(told: dict[str, list[Predictions]], common: "pd.Series") -> Part:
    """Mean F1 of the techniques in thirds, by their training clips."""
    lines: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, each in told.items():
        for predictions in each:
            order = sorted(predictions.techniques, key=lambda name: common.get(name, 0))
            scores = weighted_scores(predictions, np.ones((1, len(predictions.clips)), dtype=np.float32))
            for part, names in zip(PARTS, np.array_split(order, len(PARTS)), strict=True):
                if not len(names):
                    continue
                values = [scores[f"f1_{name}"][0] for name in names]
                line = f"{part}: {', '.join(map(printed, names))}"
                lines.setdefault((line, "F1"), {}).setdefault(label, []).append(_mean(values))
    note = "The techniques in thirds by their training clips, and the mean F1 of each third."
    return Part("Rare and common techniques", note, "Training clips", lines)


def _calibration(told: dict[str, list[Predictions]]) -> Part:
    lines: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, each in told.items():
        for p in each:
            right = (p.logits.argmax(axis=1) == p.targets).mean()
            confidence = p.probabilities.max(axis=1).mean()
            for line, value in (
                ("expected calibration error", calibration_error(p)),
                ("mean probability of what is named", confidence),
                ("share named right", right),
            ):
                lines.setdefault((line, ""), {}).setdefault(label, []).append(float(value))
    note = f"Expected calibration error in {BINS} equal bins (Guo et al. 2017); a weighted loss shifts it."
    return Part("Are its probabilities true?", note, "", lines)


def _confused(told: dict[str, list[Predictions]]) -> Part:
    """The pairs of techniques that are most confused over all conditions, as shares of the true one's clips."""
    shares: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, each in told.items():
        for p in each:
            named = p.logits.argmax(axis=1)
            for k, true in enumerate(p.techniques):
                clips = p.targets == k
                for j, taken in enumerate(p.techniques):
                    if j != k and clips.any():
                        values = shares.setdefault((true, taken), {}).setdefault(label, [])
                        values.append(float((named[clips] == j).mean()))
    mean = {pair: np.mean([np.mean(each) for each in values.values()]) for pair, values in shares.items()}
    worst = sorted((pair for pair in mean if mean[pair] > 0), key=lambda pair: (-mean[pair], pair))[:PAIRS]
    lines = {(f"{printed(true)} taken for {printed(taken)}", ""): shares[true, taken] for true, taken in worst}
    return Part("Most confused pairs", "Shares of the true technique's test clips.", "Pair", lines)


def _summed(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample deviation of the values that are numbers."""
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
