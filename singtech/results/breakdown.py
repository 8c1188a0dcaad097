"""Where a score comes from: by context, recording, singer, gender, vowel, how common a technique is; confusions.

Technique is confounded with context in VocalSet: spoken is excerpts only, inhaled, trill and trillo are long tones
only. A network that recognised nothing but the context would already score, so scores are shown within each context,
beside the score of the context alone.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from singtech.metrics import BINS, WeightedClips, calibration_error, divide, heading
from singtech.results.commands import command_end, prepare
from singtech.results.intervals import jackknife, without_each
from singtech.results.jackknife import singing
from singtech.results.names import VOWELS, read_gender, read_vowel
from singtech.results.pages import Page, Table, shown, shown_interval
from singtech.results.predictions import Predictions, pool
from singtech.results.summaries import Answer, printed
from singtech.results.thirds import mean_of, split_thirds

PAIRS = 12  # of techniques, the most confused
ALONE = "Context only"
THIRDS = ("fewest", "middle", "most")
CONTEXTS = (
    "Context only names for every clip the technique that has most training clips in its context, without listening. "
    "F1 within a context is over the techniques that it has there."
)
LEVELS = "A recording is named by the mean of its clips' logits."
NAMES = "As the names of the {names} tell. F1 is over the techniques that are there."
CROSSING = (
    "An error crosses contexts if the technique that it names never occurs in the clip's own context in this corpus. "
    "By chance: were errors to fall on the wrong techniques in proportion to how often each is named. A smaller share "
    "says that the context is heard too, or that techniques of one context are the more alike."
)
SINGERS = (
    "F1 is over the techniques that the singer sings. One singer has no interval: intervals are for other singers."
)
RARITY = "The techniques in thirds by their training clips, and the mean F1 of each third."
CALIBRATION = (
    f"Expected calibration error in {BINS} equal bins (Guo et al. 2017); a weighted loss shifts it. The fewer the "
    "clips, the larger it is by chance."
)
CONFUSED = (
    f"Shares of the true technique's test clips; of all pairs the {PAIRS} most confused on these clips, on others "
    "perhaps less so."
)
POOLED = (
    "The clips of all folds are scored together, seed by seed: each singer by a network that did not learn from them. "
    "Intervals are by deleting a fold. A seed that a fold lacks is left out, and so is the context alone."
)
NUMBER = ["part", "line", "metric", "label"]  # what names one number of the page
COLUMNS = [*NUMBER, "mean", "deviation", "low", "high", "units"]

OfConditions = Mapping[str, Sequence[Predictions]]  # label of a condition -> one a seed
Groups = dict[str, Predictions]  # name of a group of clips -> the predictions of its clips
Scores = dict[str, np.ndarray]  # metric -> (1 + n,): with all singers, and without each who has a part in it


@dataclass(frozen=True)
class Part:
    """One table of the page.

    Attributes:
        title, note: what it shows and how it was made.
        head: over the names of its lines.
        groups: divides the clips of a run into the table's lines.
        score: scores the clips of a line under (1 + n, N) weights of them.
        metric: what all scores are, where each is a line of its own; None where each is a metric.
        references: predictions without a network, by label.
    """

    title: str
    note: str
    head: str
    score: Callable[[Predictions, np.ndarray], Scores]
    groups: Callable[[Predictions], Groups] = lambda predictions: {"": predictions}
    metric: str | None = None
    references: OfConditions = field(default_factory=dict)


def breakdown_page(answer: Answer) -> Page:
    """The page of a breakdown, a table a part; its frame has one number a row."""
    collated, data, folds = answer.collated, answer.data, answer.experiment.folds
    predictions = predictions_of(answer)
    left_out = ("no interval", "interval", "folds") if folds else ("no interval",)
    notes = [note for kind, note in answer.notes.items() if kind not in left_out]
    lacking = len(answer.runs) - max(folds, 1) * sum(map(len, predictions.values()))
    if lacking:
        notes.append(f"{_counted(lacking, 'run')} left out: runs/*/predictions.csv is not here.")
    notes += [POOLED] * (folds > 0)
    names = [f"{data}-fold_{fold}" for fold in range(folds)] or [data]
    contexts, missing = pd.concat(map(collated.lengths_by_context, names)), list(answer.missing)
    if predictions and not folds and not contexts["context"].any():
        missing.append(("what the context alone gives", prepare(command_end(collated, data))))
    parts = parts_of(predictions, contexts, answer.experiment.metrics) if predictions else []
    numbers = [summarize(part, predictions) for part in parts]
    frame = pd.concat([*numbers, *[pd.DataFrame(columns=COLUMNS)] * (not numbers)])
    frame = frame.assign(data=data, artefact=answer.experiment.name)[["data", "artefact", *COLUMNS]]
    tables = [_table(part, table, list(predictions)) for part, table in zip(parts, numbers, strict=True)]
    return answer.page(frame=frame, tables=tables, notes=notes, missing=missing)


def predictions_of(answer: Answer) -> dict[str, list[Predictions]]:
    """Read the predictions of each condition's runs, by label; conditions and runs without predictions are left out.

    Over folds, those of a seed are pooled; a seed is left out if a fold lacks it.
    """
    each: dict[str, list[Predictions]] = {}
    for condition in answer.experiment.conditions:
        runs = answer.runs_of(condition)
        for _, of_seed in runs.groupby("seed"):
            folds = {
                fold: read
                for fold, run in zip(of_seed["fold"], of_seed["run"], strict=True)
                if (read := answer.collated.jackknife.predictions(run)) is not None
            }
            if len(folds) == len(answer.experiment.fold_names):
                each.setdefault(condition.label, []).append(pool(folds) if answer.experiment.folds else folds[""])
    return each


def parts_of(predictions: OfConditions, contexts: pd.DataFrame, metrics: Sequence[str]) -> list[Part]:
    """All parts of the page, in order.

    Args:
        predictions: of the page's conditions.
        contexts: technique, split, context, clips of the corpus.
        metrics: those of a part on scores.
    """
    train = contexts[contexts["split"] == "train"]
    clips = train.groupby("technique")["clips"].sum()
    first = next(iter(predictions.values()))[0]
    has_alone = train["context"].any() and "fold" not in first.clips
    alone = {ALONE: [context_only(first.clips, first.techniques, train)]} if has_alone else {}

    def score(predictions: Predictions, weights: np.ndarray) -> Scores:
        scores = predictions.scores(weights)
        return {heading(metric): scores[metric] for metric in metrics}

    def score_thirds(predictions: Predictions, weights: np.ndarray) -> Scores:
        scores = predictions.scores(weights)
        thirds = zip(THIRDS, split_thirds(predictions.techniques, clips), strict=True)
        return {
            f"{third}: {', '.join(map(printed, names))}": mean_of("f1", names, scores)
            for third, names in thirds
            if names
        }

    crossing = []
    if outside := _techniques_elsewhere(first, contexts):
        score_crossing = functools.partial(_score_crossing, outside)
        crossing = [Part("Errors across contexts", CROSSING, "", score_crossing, metric="")]
    genders, vowels = first.clips["singer"].map(read_gender), first.clips["recording"].map(read_vowel)
    by_singer = functools.partial(_by, "singer", str, [])
    by_gender = functools.partial(_by, "singer", read_gender, ["singer"])
    by_vowel = functools.partial(_by, "recording", read_vowel, ["technique"])
    of_genders = [Part("By gender", NAMES.format(names="singers"), "Gender", score, by_gender)]
    of_vowels = [Part("By vowel", NAMES.format(names="recordings"), "Vowel", score, by_vowel)]
    return [
        Part("Within each context", CONTEXTS, "Context", score, _contexts, references=alone),
        *crossing,
        Part("Clips and whole recordings", LEVELS, "Level", score, _levels),
        Part("Each test singer", SINGERS, "Singer", score, by_singer),
        *of_genders * (set(genders) == {"female", "male"}),
        *of_vowels * (set(VOWELS) <= set(vowels)),  # all five: a take may be called a
        Part("Rare and common techniques", RARITY, "Training clips", score_thirds, metric="F1"),
        Part("Are its probabilities true?", CALIBRATION, "", _score_probabilities, metric=""),
        Part("Most confused pairs", CONFUSED, "Pair", _score_pairs, metric=""),
    ]


def summarize(part: Part, predictions: OfConditions) -> pd.DataFrame:
    """The numbers of a part, one a row: line, metric and label of a condition; mean and deviation over the seeds that
    have one, and the 95 % interval of the mean from low to high, nan where a seed has none or one singer is alone."""
    records = []
    for label, runs in {**part.references, **predictions}.items():
        for run in runs:
            for line, clips in part.groups(run).items():
                for name, scores in part.score(clips, without_each(clips.units)).items():
                    names = (line, name) if part.metric is None else (name, part.metric)
                    records.append([part.title, *names, label, float(scores[0]), scores])
    frame = pd.DataFrame(records, columns=[*NUMBER, "score", "scores"])
    if part.score is _score_pairs:
        frame = _most_confused(frame)
    groups = frame.groupby(NUMBER, sort=False)
    table = groups["score"].agg(mean="mean", deviation="std", units="size")
    intervals = [jackknife(np.stack(list(each["scores"]), axis=1)).interval() for _, each in groups]
    table[["low", "high"]] = np.reshape(intervals, (-1, 2))
    table = table.reset_index()
    return table.iloc[table.groupby(NUMBER[:-1], sort=False).ngroup().argsort(kind="stable")][COLUMNS]


def context_only(clips: pd.DataFrame, techniques: Sequence[str], train: pd.DataFrame) -> Predictions:
    """Predict from the context alone, as a deaf listener would: rank its techniques by their training clips in it.

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
    """Predict once a recording, by the mean of its clips' logits."""
    groups = predictions.clips.reset_index(drop=True).groupby("recording", sort=True)
    logits = [predictions.logits[rows.index.to_numpy()].mean(axis=0) for _, rows in groups]
    return Predictions(groups.head(1).sort_values("recording"), predictions.techniques, np.stack(logits))


def _table(part: Part, frame: pd.DataFrame, labels: Sequence[str]) -> Table:
    """A part as printed, a line a group: the numbers of each metric, their intervals below."""
    columns = list(dict.fromkeys([*part.references, *labels]))
    groups: dict[str, list[list[str]]] = {}
    for (line, metric), rows in frame.groupby(["line", "metric"], sort=False):
        group, rows = groups.setdefault(line, []), rows.set_index("label").reindex(columns)
        group.append(["" if group else line, metric, *map(shown, rows["mean"], rows["deviation"])])
        if rows["low"].notna().any():
            group.append(["", "95 %", *map(shown_interval, rows["low"], rows["high"])])
    table = Table.of([part.head or part.title, "", *columns], *groups.values(), words=2, title=part.title)
    return replace(table, note=part.note)


def _most_confused(frame: pd.DataFrame) -> pd.DataFrame:
    """The scores of the pairs that are most confused, on the mean over the conditions, most confused first."""
    means = frame.groupby(["line", "label"])["score"].mean().groupby("line").mean()
    means = means[means > 0].sort_index().sort_values(ascending=False, kind="stable").head(PAIRS)
    rank = {line: number for number, line in enumerate(means.index)}
    frame = frame[frame["line"].isin(rank)]
    return frame.sort_values("line", key=lambda lines: lines.map(rank), kind="stable")


def _by(column: str, read: Callable[[str], str], counts: Sequence[str], predictions: Predictions) -> Groups:
    """The predictions of the clips of each value that is read from a column; how many clips, and values of other
    columns, they have stands in their names."""
    groups, values = {}, predictions.clips[column].map(read)
    for name in sorted(set(values)):
        is_chosen = (values == name).to_numpy()
        clips = predictions.clips[is_chosen]
        numbers = [_counted(len(clips), "clip"), *(_counted(clips[each].nunique(), each) for each in counts)]
        label = f"{name or 'not told'} ({', '.join(numbers)})"
        groups[label] = replace(predictions, clips=clips, logits=predictions.logits[is_chosen])
    return groups


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _contexts(predictions: Predictions) -> Groups:
    return {"all": predictions} | _by("context", printed, ["technique"], predictions)


def _levels(predictions: Predictions) -> Groups:
    whole = by_recording(predictions)
    return {_counted(len(predictions.clips), "clip"): predictions, _counted(len(whole.clips), "recording"): whole}


def _techniques_elsewhere(predictions: Predictions, contexts: pd.DataFrame) -> dict[str, np.ndarray]:
    """context -> (K,) whether a technique never occurs in it; empty where contexts are not told or have all alike."""
    clips = predictions.clips
    told = {*zip(contexts["context"], contexts["technique"], strict=True)}
    told |= {*zip(clips["context"], clips["technique"], strict=True)}
    names = {context for context, _ in told}
    if contexts.empty or "" in names:
        return {}
    outside = {c: np.array([(c, technique) not in told for technique in predictions.techniques]) for c in names}
    return outside if any(each.any() for each in outside.values()) else {}


def _score_crossing(outside: Mapping[str, np.ndarray], predictions: Predictions, weights: np.ndarray) -> Scores:
    """The share of errors that cross contexts, and that expected by chance.

    The chance of an error on clip n is that of techniques j outside its context among all wrong ones, each as likely as
    it is named: sum of q_j over the former by that over the latter.
    """
    each, named = np.eye(len(predictions.techniques), dtype=bool), predictions.logits.argmax(axis=1)
    is_outside = np.stack([outside[context] for context in predictions.clips["context"]])
    crosses, errors = is_outside[np.arange(len(named)), named], weights * (named != predictions.targets)
    often = weights @ each[named]
    by_chance = divide(often @ is_outside.T, often @ ~each[predictions.targets].T)
    return {
        "share of errors that cross": divide(errors @ crosses, errors.sum(axis=1)),
        "by chance": divide(np.where(errors > 0, errors * by_chance, 0).sum(axis=1), errors.sum(axis=1)),
    }


def _score_probabilities(predictions: Predictions, weights: np.ndarray) -> Scores:
    clips = WeightedClips(predictions.targets, predictions.logits, weights)
    confidence, right = predictions.probabilities.max(axis=1), predictions.logits.argmax(axis=1) == predictions.targets
    return {
        "expected calibration error": calibration_error(clips),
        "mean probability of what is named": divide(weights @ confidence, weights.sum(axis=1)),
        "share named right": divide(weights @ right, weights.sum(axis=1)),
    }


def _score_pairs(predictions: Predictions, weights: np.ndarray) -> Scores:
    shares, names = predictions.shares(weights), list(map(printed, predictions.techniques))
    has_part = singing(predictions, weights)
    pairs = ((k, j) for k in range(len(names)) for j in range(len(names)) if j != k)
    return {f"{names[k]} taken for {names[j]}": shares[has_part[:, k], k, j] for k, j in pairs}
