"""Where a score comes from: by context, recording, singer, how common a technique is; calibration; confused pairs.

Technique is confounded with context in VocalSet: spoken is excerpts only, inhaled, trill and trillo are long tones
only. A network that recognised nothing but the context would already score, so that what it scores is shown within each
context, beside what the context alone gives away.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech.metrics import heading, mean_of_known, ratio
from singtech.results.collate import Collated, csv_text
from singtech.results.commands import place_of, prepare
from singtech.results.experiments import Experiment, Published
from singtech.results.pages import Line, document, latex_table, pipes, shown, shown_interval, tabular
from singtech.results.predictions import Predictions
from singtech.results.resampling import Draws, interval_of, weighted_scores, weighted_shares
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, answer, printed
from singtech.results.tables import write_texts

if TYPE_CHECKING:
    import pandas as pd

BINS = 15  # of confidence, in the calibration error
PAIRS = 12  # of techniques, the most confused
ALONE = "Context only"
PARTS = ("fewest", "middle", "most")

Told = dict[str, list[Predictions]]  # label of a condition -> one a seed
Groups = Callable[[Predictions], dict[str, Predictions]]  # a run's predictions in groups of clips, by their names
Score = Callable[[Predictions, np.ndarray], dict[str, np.ndarray]]  # of (R, N) weights of the clips: metric -> (R,)


@dataclass(frozen=True)
class Cell:
    """A number of one condition.

    Attributes:
        values: one a seed, nan of nothing.
        draws: of each seed (R,), what it comes to on the same resampled clips.
    """

    values: list[float] = field(default_factory=list)
    draws: list[np.ndarray] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Over the seeds that have one."""
        return statistics.fmean(known) if (known := self._known()) else None

    @property
    def deviation(self) -> float | None:
        """Sample deviation over them; None of fewer than two."""
        return statistics.stdev(known) if len(known := self._known()) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean; None where a seed has no number."""
        return interval_of([self.draws]) if len(self._known()) == len(self.draws) > 0 else None

    def _known(self) -> list[float]:
        return [value for value in self.values if np.isfinite(value)]


Lines = dict[tuple[str, str], dict[str, Cell]]  # (line, metric) -> label of a condition -> its number


@dataclass(frozen=True)
class Part:
    """One table of the page.

    Attributes:
        title, note: what it shows and how it was made.
        head: over the lines' names.
        lines: its numbers.
    """

    title: str
    note: str
    head: str
    lines: Lines


def render_breakdown(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write the parts as `<name>.md` and, one number a line, `.csv`; the paths written and the answer."""
    found = answer(experiment, collated, data, group)
    told = {
        summary.condition.label: [collated.draws.predictions(run) for run in summary.runs]
        for summary in found.summaries
    }
    lacking = sum(predictions is None for each in told.values() for predictions in each)
    known = {label: [p for p in each if p is not None] for label, each in told.items()}
    known = {label: each for label, each in known.items() if each}
    notes = [note for note in found.notes if not note.startswith("No interval")]
    if lacking:
        notes.append(f"{lacking} runs are left out, whose runs/*/predictions.csv are not here.")
    contexts = collated.contexts_of(data)
    missing = list(found.missing)
    if known and not contexts["context"].any():
        missing.append(("what the context alone gives", prepare(place_of(collated, data))))
    found = replace(found, notes=tuple(notes), missing=tuple(missing))
    parts = parts_of(known, contexts, found.experiment.metrics, collated.draws) if known else []
    page = document(found, *(text for part in parts for text in _section(part, list(known))))
    texts = {"md": page, "csv": long_form(found, parts), "tex": _latex(found, parts, list(known))}
    return write_texts(folder / experiment.name, texts), found


def parts_of(told: Told, contexts: "pd.DataFrame", metrics: Sequence[str], draws: Draws) -> list[Part]:
    """All parts, of the predictions of each condition's runs.

    Args:
        told: label -> one a seed.
        contexts: technique, split, context, clips of the corpus.
        metrics: those of a part on scores.
        draws: resamples the clips of each line for its interval.
    """
    train = contexts[contexts["split"] == "train"]

    def scored(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
        scores = weighted_scores(predictions, weights)
        return {heading(metric): scores[metric] for metric in metrics}

    return [
        _by_context(told, train, scored, draws),
        _by_recording(told, scored, draws),
        _by_singer(told, scored, draws),
        _by_count(told, train.groupby("technique")["clips"].sum(), draws),
        _calibration(told, draws),
        _confused(told, draws),
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


def calibration_error(predictions: Predictions, weights: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017, Eq. 3): |accuracy − confidence| in equal bins of confidence,
    each weighed by its clips.

    Args:
        predictions: N clips.
        weights: (R, N) how often each clip counts.
    Returns:
        (R,) errors.
    """
    confidence, right = _confidence(predictions)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), which] = right - confidence
    return ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))  # a bin's clips times its gap


def long_form(found: Answer, parts: Sequence[Part]) -> str:
    """One number a line: part, line, metric and condition; mean and deviation over the seeds, the mean's 95 % interval
    from low to high."""
    lines = []
    for part in parts:
        for (line, metric), cells in part.lines.items():
            for label, cell in cells.items():
                numbers = (cell.mean, cell.deviation, *(cell.interval or (None, None)))
                written = ["" if number is None else round(number, 6) for number in numbers]
                words = [found.data, found.experiment.name, part.title, line, metric, label]
                lines.append([*words, *written, len(cell.values)])
    header = ["data", "artefact", "part", "line", "metric", "label", "mean", "deviation", "low", "high", "seeds"]
    return csv_text(header, lines)


def _latex(found: Answer, parts: Sequence[Part], labels: Sequence[str]) -> str:
    """A LaTeX `table` a part, the notes in the first: one of all would be longer than a page."""
    tables = []
    for number, part in enumerate(parts, start=1):
        asked = found.experiment
        title, name = f"{asked.title}: {part.title}", f"{asked.name}-{number}"
        of_part = replace(found, experiment=replace(asked, title=title, name=name, caption=part.note))
        notes = of_part if number == 1 else replace(of_part, notes=(), missing=())
        tables.append(latex_table(notes, tabular(*_table(part, labels), left=2)))
    return "\n".join(tables) or latex_table(found)


def _section(part: Part, labels: Sequence[str]) -> list[str]:
    """A part as a heading, its note and a table."""
    header, groups = _table(part, labels)
    return [f"## {part.title}", part.note, pipes(header, [line for group in groups for line in group], left=2)]


def _table(part: Part, labels: Sequence[str]) -> tuple[Line, list[list[Line]]]:
    """A part's header, and its lines in groups, one a name: of each metric the numbers, below them their intervals."""
    columns = list(dict.fromkeys([*(label for cells in part.lines.values() for label in cells), *labels]))
    groups: dict[str, list[Line]] = {}
    for (line, metric), cells in part.lines.items():
        group = groups.setdefault(line, [])
        each = [cells.get(label, Cell()) for label in columns]
        group.append(["" if group else line, metric, *(shown(cell.mean, cell.deviation) for cell in each)])
        group.append(["", "95 %", *(shown_interval(cell.interval) for cell in each)])
    return [part.head or part.title, "", *columns], list(groups.values())


def _lines(told: Told, groups: Groups, score: Score, draws: Draws) -> Lines:
    """The numbers of every group of every condition's runs."""
    lines: Lines = {}
    for label, each in told.items():
        for predictions in each:
            for line, part in groups(predictions).items():
                once = np.ones((1, len(part.clips)), dtype=np.float32)
                scores = score(part, np.concatenate([once, draws.weights_of(part.clips)]))
                for metric, values in scores.items():
                    cell = lines.setdefault((line, metric), {}).setdefault(label, Cell())
                    cell.values.append(float(values[0]))
                    cell.draws.append(values[1:])
    return lines


def _of_all(told: Told, score: Score, draws: Draws, metric: str = "") -> Lines:
    """The numbers of all clips together, a line each of what `score` names."""
    lines = _lines(told, lambda predictions: {"": predictions}, score, draws)
    return {(line, metric): cells for (_, line), cells in lines.items()}


def _among(predictions: Predictions, chosen: np.ndarray) -> Predictions:
    """Those of (N,) chosen clips."""
    return replace(predictions, clips=predictions.clips[chosen], logits=predictions.logits[chosen])


def _clips(predictions: Predictions, noun: str = "clip") -> str:
    return f"{len(predictions.clips):,} {noun}{'s' * (len(predictions.clips) != 1)}"


def _by_context(told: Told, train: "pd.DataFrame", scored: Score, draws: Draws) -> Part:
    def groups(predictions: Predictions) -> dict[str, Predictions]:
        named = {"all": predictions}
        for context in sorted(set(predictions.clips["context"])):
            here = _among(predictions, (predictions.clips["context"] == context).to_numpy())
            sung = here.clips["technique"].nunique()
            techniques = "1 technique" if sung == 1 else f"{sung} techniques"
            named[f"{printed(context) or 'not told'} ({_clips(here)}, {techniques})"] = here
        return named

    first = next(iter(told.values()))[0]
    alone = {ALONE: [context_only(first.clips, first.techniques, train)]} if train["context"].any() else {}
    note = (
        "Context only names for every clip the technique that has most training clips in its context, without "
        "listening. F1 within a context is over the techniques that it has there."
    )
    return Part("Within each context", note, "Context", _lines(alone | told, groups, scored, draws))


def _by_recording(told: Told, scored: Score, draws: Draws) -> Part:
    def groups(predictions: Predictions) -> dict[str, Predictions]:
        whole = by_recording(predictions)
        return {_clips(predictions): predictions, _clips(whole, "recording"): whole}

    note = "A recording is named by the mean of its clips' logits, which are not resampled for its interval."
    return Part("Clips and whole recordings", note, "Level", _lines(told, groups, scored, draws))


def _by_singer(told: Told, scored: Score, draws: Draws) -> Part:
    def groups(predictions: Predictions) -> dict[str, Predictions]:
        singers = predictions.clips["singer"]
        each = {name: _among(predictions, (singers == name).to_numpy()) for name in sorted(set(singers))}
        return {f"{name} ({_clips(theirs)})": theirs for name, theirs in each.items()}

    note = (
        "F1 is over the techniques that the singer sings. The intervals are of this singer: of other recordings and "
        "clips, not of other singers. A resample may lack a technique of few recordings; its F1 is over the others."
    )
    return Part("Each test singer", note, "Singer", _lines(told, groups, scored, draws))


def _by_count(told: Told, common: "pd.Series", draws: Draws) -> Part:
    """Mean F1 of the techniques in thirds, by their training clips."""

    def score(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
        scores = weighted_scores(predictions, weights)
        order = sorted(predictions.techniques, key=lambda name: common.get(name, 0))
        thirds = zip(PARTS, np.array_split(order, len(PARTS)), strict=True)
        return {
            f"{part}: {', '.join(map(printed, names))}": mean_of_known(np.stack([scores[f"f1_{n}"] for n in names], 1))
            for part, names in thirds
            if len(names)
        }

    note = "The techniques in thirds by their training clips, and the mean F1 of each third."
    return Part("Rare and common techniques", note, "Training clips", _of_all(told, score, draws, "F1"))


def _calibration(told: Told, draws: Draws) -> Part:
    def score(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
        confidence, right = _confidence(predictions)
        return {
            "expected calibration error": calibration_error(predictions, weights),
            "mean probability of what is named": ratio(weights @ confidence, weights.sum(axis=1)),
            "share named right": ratio(weights @ right, weights.sum(axis=1)),
        }

    note = (
        f"Expected calibration error in {BINS} equal bins (Guo et al. 2017); a weighted loss shifts it. The fewer the "
        "clips, the larger it is by chance: resamples hold some clips twice, so that its interval lies too high."
    )
    return Part("Are its probabilities true?", note, "", _of_all(told, score, draws))


def _confused(told: Told, draws: Draws) -> Part:
    """The pairs of techniques that are most confused over all conditions, as shares of the true one's clips."""

    def score(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
        shares, names = weighted_shares(predictions, weights), list(map(printed, predictions.techniques))
        return {
            f"{true} taken for {taken}": shares[:, k, j]
            for k, true in enumerate(names)
            for j, taken in enumerate(names)
            if j != k
        }

    lines = _of_all(told, score, draws)
    means = {pair: [cell.mean for cell in cells.values() if cell.mean is not None] for pair, cells in lines.items()}
    shares = {pair: statistics.fmean(known) for pair, known in means.items() if known}
    worst = sorted((pair for pair in shares if shares[pair] > 0), key=lambda pair: (-shares[pair], pair))[:PAIRS]
    note = (
        f"Shares of the true technique's test clips; of all pairs the {PAIRS} most confused on these clips, on others "
        "perhaps less so."
    )
    return Part("Most confused pairs", note, "Pair", {pair: lines[pair] for pair in worst})


def _confidence(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the probability of what is named, and (N,) whether that is right."""
    return predictions.probabilities.max(axis=1), predictions.logits.argmax(axis=1) == predictions.targets
