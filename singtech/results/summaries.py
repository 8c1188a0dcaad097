"""What the runs say about each condition: mean and deviation over seeds, what is missing, and what was left out."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from singtech.results.collate import STATE, Collated
from singtech.results.commands import command, is_choice, place_of, prepare, sweep
from singtech.results.experiments import COMPARABLE, Condition, Experiment
from singtech.results.references import Reference, references
from singtech.results.resampling import Draws
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

_DECIDES = ["model", "dc", "strategy", "alpha", "variant"]  # which condition a run is of


@dataclass(frozen=True)
class Summary:
    """A condition over its seeds, or over folds of the singers.

    Attributes:
        condition: which.
        cells: (fold, seed) of every run that counts; the fold is "" on the corpus's own split.
        values: metric -> one value a cell.
        runs: their names.
        intervals: metric -> the 95 % interval of its mean (`singtech.results.resampling`), where the runs' predictions
            are there.
    """

    condition: Condition
    cells: tuple[tuple[str, int], ...] = ()
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def units(self) -> tuple[int, ...]:
        """What the mean goes over: the folds where there are some, else the seeds."""
        return tuple(sorted({int(fold or seed) for fold, seed in self.cells}))

    def mean(self, metric: str) -> float | None:
        """Mean over the units, a fold's value being the mean of its seeds; None where a run lacks the metric."""
        return _mean(_by_unit(self._known(metric))) if self._is_whole(metric) else None

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the units (n - 1); None with fewer than two."""
        return _deviation(_by_unit(self._known(metric))) if self._is_whole(metric) else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of the mean; None where a run lacks the metric or its predictions."""
        return self.intervals.get(metric) if self._is_whole(metric) else None

    def change(self, baseline: "Summary", metric: str) -> tuple[float | None, float | None]:
        """Mean and deviation of the differences from the baseline over the units that both have."""
        differences = self.differences(baseline, metric)
        return _mean(differences), _deviation(differences)

    def differences(self, baseline: "Summary", metric: str) -> list[float]:
        """Ours less the baseline's, of each unit of the runs that both have."""
        ours, theirs = self._known(metric), baseline._known(metric)
        return _by_unit({cell: ours[cell] - theirs[cell] for cell in ours if cell in theirs})

    def _known(self, metric: str) -> dict[tuple[str, int], float]:
        values = zip(self.cells, self.values.get(metric, ()), strict=False)
        return {cell: value for cell, value in values if not isnan(value)}

    def _is_whole(self, metric: str) -> bool:
        return len(self._known(metric)) == len(self.cells)


@dataclass(frozen=True)
class Answer:
    """What the runs on one corpus say to an experiment.

    Attributes:
        experiment: what was asked, every metric written out.
        data: on which corpus.
        summaries: in the order of the experiment's conditions.
        missing: what, and the command that makes it.
        sweep: the command that makes all the runs that are missing; "" where none is.
        notes: what a reader must know of the numbers, a sentence each.
        references: what they are to be read against.
        made: how many of the runs that are asked for are there.
        asked: how many are asked for.
        left_out: how many runs were left out.
    """

    experiment: Experiment
    data: str
    summaries: tuple[Summary, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    sweep: str = ""
    notes: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    made: int = 0
    asked: int = 0
    left_out: int = 0

    @property
    def is_comparable(self) -> bool:
        """Whether the paper's numbers were measured on this corpus."""
        return self.data == COMPARABLE

    @property
    def title(self) -> str:
        """The experiment's title, with the corpus where it is not the paper's."""
        return self.experiment.title + ("" if self.is_comparable else f" — {corpus(self.data)}")

    @property
    def progress(self) -> str:
        """How much of it is there, in a few words."""
        if self.made < self.asked:
            return f"{self.made} of {self.asked} runs" + (f", {self.left_out} left out" if self.left_out else "")
        return f"lacks {self.missing[0][0]}" if self.missing else "complete"

    @property
    def units(self) -> str:
        """What the means go over."""
        return "folds" if self.experiment.folds else "seeds"

    @property
    def baseline(self) -> Summary | None:
        """The summary that the others are compared with."""
        return next((s for s in self.summaries if s.condition.label == self.experiment.baseline), None)


def corpus(data: str) -> str:
    """What a reader must know of a corpus that is not the paper's."""
    name = "demo corpus (synthetic voices)" if data == "demo" else f"corpus {data}"
    return f"{name}: not VocalSet, not comparable with the paper"


def answer(experiment: Experiment, collated: Collated, data: str) -> Answer:
    """Answer an experiment with the runs on one corpus.

    Only complete runs count whose settings are the corpus's defaults but for what the condition itself flips. Of a
    condition and seed that was run more than once, the run that ended last counts, on the current state of the corpus.
    """
    results = collated.results[collated.results["data"] == data]
    conditions = experiment.conditions
    if not is_choice(data):  # choices that name VocalSet's singers have no row on a corpus of other singers
        conditions = tuple(c for c in conditions if "data.split" not in c.variant)
    scored = results[results["status"] == "complete"]
    experiment = replace(experiment, metrics=_all_metrics(experiment.metrics, scored), conditions=conditions)
    counted, left_out = _counted(results, experiment, collated)
    groups = {_key(*key): runs for key, runs in counted.groupby(_DECIDES, sort=False)} if len(counted) else {}
    summaries = tuple(_summary(groups.get(_asked(c)), c, experiment, collated.draws) for c in experiment.conditions)
    known = references(experiment.references, collated.lengths_of(data))
    place, seeds = place_of(collated, data, experiment.folds), _wanted_seeds(summaries)
    missing = _missing(experiment, summaries, place)
    everything = sweep(experiment, place, seeds) if missing else ""
    if len(known) < len(experiment.references):
        missing.append((f"{' and '.join(experiment.references)}, from the clips of the corpus", prepare(place)))
    notes = [*_on_units(experiment, summaries), *_on_left_out(left_out), *_on_circumstances(counted)]
    made, asked = sum(len(s.cells) for s in summaries), len(summaries) * len(seeds) * max(experiment.folds, 1)
    number = sum(left_out.values())
    return Answer(experiment, data, summaries, tuple(missing), everything, tuple(notes), known, made, asked, number)


def printed(technique: str) -> str:
    """A technique's name as a person writes it."""
    return technique.replace("_", " ")


def in_order(techniques: Iterable[str]) -> list[str]:
    """Techniques in the paper's order, those that it does not have after them by name."""
    techniques = sorted(techniques)
    return [name for name in TECHNIQUES if name in techniques] + [n for n in techniques if n not in TECHNIQUES]


def _all_metrics(metrics: dict[str, str], results: "pd.DataFrame") -> dict[str, str]:
    """The metrics with `f1_*` written out: one a technique that the runs were scored on, or that the paper has."""
    written = {}
    for name, heading in metrics.items():
        if not name.endswith("_*"):
            written[name] = heading
            continue
        prefix = name.removesuffix("*")
        there = [n.removeprefix(prefix) for n in results if n.startswith(prefix) and results[n].notna().any()]
        all_of_them = {f"{prefix}{technique}": printed(technique) for technique in in_order(there or TECHNIQUES)}
        written |= {name: heading for name, heading in all_of_them.items() if name not in metrics}
    return written


def _key(model: str, dc: str, strategy: str, alpha: float, variant: str) -> tuple:
    return model, dc, strategy, round(alpha, 9), variant


def _asked(condition: Condition) -> tuple:
    return _key(condition.model, condition.dc, condition.strategy, condition.alpha, condition.variant)


def _counted(runs: "pd.DataFrame", experiment: Experiment, collated: Collated) -> tuple["pd.DataFrame", dict[str, int]]:
    """Of the runs on one corpus those that count for the conditions, and how many do not, by the reason."""
    names = (*STATE, "finished")
    runs = runs.assign(**{name: "" for name in names if name not in runs}, cut=runs["variant"].map(_cut))
    runs = runs[(runs["fold"] != "") == (experiment.folds > 0)].sort_values("finished", kind="stable")
    runs = runs.assign(is_current=_is_current(runs, {c.variant for c in experiment.conditions}, collated))
    wanted = {_asked(condition) for condition in experiment.conditions}
    without_variant = {key[:-1] for key in wanted}
    folds = list(map(str, range(experiment.folds))) or [""]
    keys = [_key(*key) for key in zip(*(runs[name] for name in _DECIDES), strict=True)]
    asked = runs.loc[[key in wanted and fold in folds for key, fold in zip(keys, runs["fold"], strict=True)]]
    alike = runs.loc[[key[:-1] in without_variant and key not in wanted and key[-1] != "" for key in keys]]
    others = alike["variant"][alike["status"] == "complete"].tolist()
    short = [variant for variant in others if "schedule.max_batches=" in variant]
    longer = [variant for variant in others if variant not in short]
    complete = asked[asked["status"] == "complete"]
    current = complete[complete["is_current"]]
    latest = current.drop_duplicates([*_DECIDES, "fold", "seed"], keep="last")
    changed = "(its recordings, split, techniques or clip length have changed)"
    return latest, {
        "shortened by trainer=smoke": len(short),
        f"with other settings than the default ({_first(sorted(set(longer)))})": len(longer),
        "not complete": len(asked) - len(complete),
        f"on another state of the corpus {changed}": len(complete) - len(current),
        "made anew since": len(current) - len(latest),
    }


def _is_current(runs: "pd.DataFrame", variants: set[str], collated: Collated) -> np.ndarray:
    """Which runs are on the current state of the corpus, which is what `corpora/` says of it, or of each of its folds.

    Where that says nothing, and for choices that cut the corpus otherwise, the newest complete run decides among those
    that cut it alike; all folds are of one state. A run with settings that nobody asked for decides nothing.
    """
    places = list(zip(runs["data"], runs["fold"], strict=True))
    said = {place: collated.state(*place) for place in set(places)}
    known = [said[place] for place in places]
    states = zip(*(runs[name] for name in STATE), strict=True)
    each = zip(runs["cut"], known, states, strict=True)
    fits = np.array([cut != "" or known is None or state == known for cut, known, state in each], dtype=bool)
    deciding = runs[fits & (runs["status"] == "complete") & runs["variant"].isin(variants)]
    is_current = fits & _has_newest(runs, deciding, ["cut"], STATE[0])
    return is_current & _has_newest(runs, deciding, ["cut", "fold"], STATE[1])


def _has_newest(runs: "pd.DataFrame", complete: "pd.DataFrame", by: list[str], fingerprint: str) -> np.ndarray:
    """Which runs have the fingerprint of the complete run that ended last among those alike in `by`."""
    newest = dict(zip(zip(*(complete[name] for name in by), strict=True), complete[fingerprint], strict=True))
    there = zip(zip(*(runs[name] for name in by), strict=True), runs[fingerprint], strict=True)
    return np.array([newest.get(key) == value for key, value in there], dtype=bool)


def _cut(variant: str) -> str:
    """What of a variant decides which clips there are."""
    return " ".join(setting for setting in variant.split() if setting.startswith("data."))


def _summary(runs: "pd.DataFrame | None", condition: Condition, experiment: Experiment, draws: Draws) -> Summary:
    if runs is None:
        return Summary(condition)
    runs = runs.sort_values(["fold", "seed"])
    cells = tuple(zip(runs["fold"], (int(seed) for seed in runs["seed"]), strict=True))
    values = {metric: tuple(runs[metric].tolist()) for metric in experiment.metrics if metric in runs}
    names = tuple(runs["run"])
    intervals = {metric: draws.interval(cells, names, metric) for metric in values}
    known = {metric: interval for metric, interval in intervals.items() if interval is not None}
    return Summary(condition, cells, values, names, known)


def _wanted_seeds(summaries: Iterable[Summary]) -> list[int]:
    return sorted({seed for summary in summaries for _, seed in summary.cells}) or [0]


def _missing(experiment: Experiment, summaries: Sequence[Summary], place: str) -> list[tuple[str, str]]:
    """Each condition that lacks a seed which another has, or a fold, with the command that fills it."""
    missing = []
    wanted = _wanted_seeds(summaries)
    for summary in summaries:
        lacking: dict[tuple[int, ...], list[str]] = {}
        for fold in map(str, range(experiment.folds)) if experiment.folds else [""]:
            seeds = tuple(seed for seed in wanted if (fold, seed) not in summary.cells)
            if seeds:
                lacking.setdefault(seeds, []).append(fold)
        for seeds, folds in lacking.items():
            where = f", {_listed('fold', folds)}" if experiment.folds else ""
            name = _name(experiment, summary.condition).rstrip(",")
            what = f"{name}{where}, {_listed('seed', seeds)}"
            missing.append((what, command(summary.condition, place, seeds, folds)))
    return missing


def _on_units(experiment: Experiment, summaries: Sequence[Summary]) -> list[str]:
    """What the means rest on, and which of them rest on others than most."""
    there = [summary for summary in summaries if summary.units]
    if not there:
        return []
    unit = "fold" if experiment.folds else "seed"
    counts = Counter(summary.units for summary in there)
    usual = max(counts, key=lambda units: (counts[units], len(units)))
    others = [summary for summary in there if summary.units != usual]
    many = any(len(summary.units) > 1 for summary in there)
    notes = [
        f"Ours: {f'mean ± sample standard deviation (n - 1) over {unit}s' if many else f'one {unit}, so no deviation'}."
    ]
    if others:
        each = "; ".join(f"{_name(experiment, s.condition)} has {_listed(unit, s.units)}" for s in others)
        notes.append(f"{unit.title()}s are uneven, so the means do not pair: {_listed(unit, usual)}, but {each}.")
    else:
        notes.append(f"{_listed(unit, usual).capitalize()}.")
    if experiment.folds:
        seeds = ", ".join(map(str, _wanted_seeds(there)))
        notes.append(f"A fold's value is the mean over its seeds ({seeds}, where none is missing).")
    lacking = sum(1 for s in there if s.values and not s.intervals)
    if lacking < len(there):
        notes.append(
            "95 %: interval of the mean over resampled singers, their recordings and clips, and seeds where there "
            "are several: of one seed the luck in training is not in it. Where all clips are alike, as of a rare "
            "technique that is always or never found, it has no width and says nothing."
        )
    if lacking:
        notes.append(f"No interval for {lacking} rows: their runs/*/predictions.csv are not here.")
    if experiment.baseline:
        notes.append(f"To {experiment.baseline}: mean ± deviation of the differences, {unit} by {unit}.")
    return notes


def _on_left_out(reasons: dict[str, int]) -> list[str]:
    """Which runs do not count, and why."""
    left_out = [f"{count} {why}" for why, count in reasons.items() if count]
    return [f"Runs left out: {', '.join(left_out)}."] if left_out else []


def _name(experiment: Experiment, condition: Condition) -> str:
    """A condition's name among the others of its table or figure."""
    return f"{condition.label}, α = {condition.alpha:g}," if experiment.kind == "curve" else condition.label


def _listed(unit: str, items: Sequence[object]) -> str:
    return f"{unit}{'s' * (len(items) > 1)} {', '.join(map(str, items))}"


def _on_circumstances(runs: "pd.DataFrame") -> list[str]:
    """Where and with what the runs were made, where the rows say so."""
    names = [name for name in ("device", "precision", "torch", "commit") if name in runs]
    there = {name: sorted(set(runs[name]) - {""}) for name in names}
    said = [f"{name} {_first(found)}" for name, found in there.items() if found]
    return [f"Runs made with {'; '.join(said)}."] if said else []


def _first(items: Sequence[str], most: int = 4) -> str:
    return " | ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _by_unit(values: dict[tuple[str, int], float]) -> list[float]:
    """One value a unit: the mean over the seeds of each fold, or each seed's own."""
    units: dict[int, list[float]] = {}
    for (fold, seed), value in values.items():
        units.setdefault(int(fold or seed), []).append(value)
    return list(map(statistics.fmean, units.values()))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
