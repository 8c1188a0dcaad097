"""What the runs say about each condition: mean and deviation over seeds, what is missing, and what was left out."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from singtech import metrics
from singtech.results.collate import STATE, Collated
from singtech.results.commands import command, has_vocalsets_singers, place_of, prepare, sweep
from singtech.results.conditions import Condition
from singtech.results.experiments import COMPARABLE, Experiment
from singtech.results.groups import main_group, rows_in
from singtech.results.references import Reference, references
from singtech.results.resampling import Draws
from singtech.results.rows import COMPLETE, VARIANT
from singtech.results.settings import PAPERS, Settings, read_settings
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

_DECIDES = ["model", "dc", "strategy", "alpha"]  # with its settings, which condition a run is of


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
        group: the settings that its runs share beside their conditions' own.
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
    group: Settings = PAPERS
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
        return next((s for s in self.summaries if s.condition.reference == self.experiment.baseline), None)


def corpus(data: str) -> str:
    """What a reader must know of a corpus that is not the paper's."""
    name = "demo corpus (synthetic voices)" if data == "demo" else f"corpus {data}"
    return f"{name}: not VocalSet, not comparable with the paper"


def answer(experiment: Experiment, collated: Collated, data: str, group: Settings | None = None) -> Answer:
    """Answer an experiment with the runs on one corpus that share these settings.

    Only complete runs count. Of a condition and seed that was run more than once, the run that ended last counts, on
    the current state of the corpus.

    Args:
        group: the settings beside those of each condition; None for those that the most runs share.
    """
    group = main_group(collated, data) if group is None else group
    results = collated.results[collated.results["data"] == data]
    conditions = experiment.conditions
    if not has_vocalsets_singers(data):  # ablations that name VocalSet's singers have no row on a corpus of others
        conditions = tuple(c for c in conditions if not c.settings.names("data.split"))
    folds = _folds(experiment, group)
    scored = results[results["status"] == COMPLETE]
    named = experiment.metrics or metrics.overall()
    experiment = replace(experiment, metrics=_all_metrics(named, scored), conditions=conditions, folds=folds)
    rows = rows_in(conditions, group)
    counted, left_out = _counted(results, experiment, rows, collated)
    groups = dict(iter(counted.groupby("row", sort=False))) if len(counted) else {}
    summaries = tuple(
        _summary(groups.get(number), condition, experiment, collated.draws)
        for number, condition in enumerate(conditions)
    )
    known = references(experiment.references, collated.lengths_of(data))
    place, seeds = place_of(collated, data, folds, group), _wanted_seeds(summaries)
    present = [s for s in summaries if s.condition in rows]
    missing = [] if group.is_earlier else _missing(experiment, present, place, seeds)
    everything = sweep(experiment, place, seeds) if missing else ""
    if len(known) < len(experiment.references):
        clips = prepare(place_of(collated, data, group=group.within("data")))
        missing.append((f"{' and '.join(experiment.references)}, from the clips of the corpus", clips))
    notes = [*on_group(group), *_on_units(experiment, summaries), *_on_left_out(left_out), *_on_circumstances(counted)]
    made, asked = sum(len(s.cells) for s in summaries), len(present) * len(seeds) * max(folds, 1)
    number = sum(left_out.values())
    return Answer(
        *(experiment, data, summaries, tuple(missing), everything, tuple(notes), known, group, made, asked, number)
    )


def has_runs(experiment: Experiment, collated: Collated, data: str, group: Settings) -> bool:
    """Whether complete runs on one corpus are of an experiment's conditions in a group."""
    results = collated.results[collated.results["data"] == data]
    places = {(*condition.key, wanted) for condition, wanted in rows_in(experiment.conditions, group).items()}
    return bool(_places(results[results["status"] == COMPLETE], dict.fromkeys(places, 0)).count(0))


def _places(runs: "pd.DataFrame", rows: dict[tuple, int]) -> list[int]:
    """Which row each run is of, by model, dc, strategy, alpha and settings; -1 for none."""
    variants = runs[VARIANT] if VARIANT in runs else [""] * len(runs)
    settings = (read_settings(*texts) for texts in zip(runs["settings"], variants, strict=True))
    keys = zip(*(runs[name] for name in _DECIDES), settings, strict=True)
    return [rows.get((m, dc, strategy, round(alpha, 9), each), -1) for m, dc, strategy, alpha, each in keys]


def on_group(group: Settings) -> list[str]:
    """Which settings the runs of a page share, where these are not the paper's."""
    if group.is_earlier:
        return [f"These runs were {group.words}: their settings have other names today, and no more are made of them."]
    return [f"Settings that differ from the paper's: {group.words}."] if group.items else []


def printed(technique: str) -> str:
    """A technique's name as a person writes it."""
    return technique.replace("_", " ")


def in_order(techniques: Iterable[str]) -> list[str]:
    """Techniques in the paper's order, those that it does not have after them by name."""
    techniques = sorted(techniques)
    return [name for name in TECHNIQUES if name in techniques] + [n for n in techniques if n not in TECHNIQUES]


def _all_metrics(names: Iterable[str], results: "pd.DataFrame") -> tuple[str, ...]:
    """The metrics with `f1_*` written out: one a technique that the runs were scored on, or that the paper has."""
    names, written = list(names), []
    for name in names:
        if not name.endswith(metrics.EACH):
            written.append(name)
            continue
        of_techniques = {column: of[1] for column in results if (of := metrics.technique_of(column)) and of[0] == name}
        there = [technique for column, technique in of_techniques.items() if results[column].notna().any()]
        each = [f"{name.removesuffix('*')}{technique}" for technique in in_order(there or TECHNIQUES)]
        written += [column for column in each if column not in names]
    return tuple(written)


def _folds(experiment: Experiment, group: Settings) -> int:
    """Over how many folds an experiment goes in a group, which may have another number of them."""
    number = group.values.get("data.folds")
    return number if experiment.folds and isinstance(number, int) else experiment.folds


def _counted(
    runs: "pd.DataFrame", experiment: Experiment, rows: dict[Condition, Settings], collated: Collated
) -> tuple["pd.DataFrame", dict[str, int]]:
    """Of the runs on one corpus those that count for the conditions, and how many do not, by the reason."""
    runs = runs.assign(**{name: "" for name in (*STATE, "recipe", "finished", VARIANT) if name not in runs})
    runs = runs[(runs["fold"] != "") == (experiment.folds > 0)].sort_values("finished", kind="stable")
    settings = [read_settings(*texts) for texts in zip(runs["settings"], runs[VARIANT], strict=True)]
    runs = runs.assign(cut=[_cut(each) for each in settings])
    places = {(*condition.key, wanted): experiment.conditions.index(condition) for condition, wanted in rows.items()}
    wanted = set(rows.values())
    runs = runs.assign(
        row=_places(runs, places), is_current=_is_current(runs, [each in wanted for each in settings], collated)
    )
    folds = list(map(str, range(experiment.folds))) or [""]
    asked = runs[(runs["row"] >= 0) & runs["fold"].isin(folds)]
    complete = asked[asked["status"] == COMPLETE]
    current = complete[complete["is_current"]]
    is_same = _has_newest(current, current, ["row"], "recipe")
    same = current[is_same]
    latest = same.drop_duplicates(["row", "fold", "seed"], keep="last")
    changed = "(its recordings, split, techniques or clip length have changed)"
    return latest, {
        "not complete": len(asked) - len(complete),
        f"on another state of the corpus {changed}": len(complete) - len(current),
        "of other code or settings files than the newest run of the row": len(current) - len(same),
        "made anew since": len(same) - len(latest),
    }


def _is_current(runs: "pd.DataFrame", is_wanted: Sequence[bool], collated: Collated) -> np.ndarray:
    """Which runs are on the current state of the corpus, which is what `corpora/` says of it, or of each of its folds.

    Where that says nothing, and for settings that cut the corpus otherwise, the newest complete run decides among those
    that cut it alike; all folds are of one state. A run with settings that nobody asked for decides nothing.
    """
    places = list(zip(runs["data"], runs["fold"], strict=True))
    said = {place: collated.state(*place) for place in set(places)}
    known = [said[place] for place in places]
    states = zip(*(runs[name] for name in STATE), strict=True)
    each = zip(runs["cut"], known, states, strict=True)
    fits = np.array([cut != "" or known is None or state == known for cut, known, state in each], dtype=bool)
    deciding = runs[fits & (runs["status"] == COMPLETE) & np.array(is_wanted, dtype=bool)]
    is_current = fits & _has_newest(runs, deciding, ["cut"], STATE[0])
    return is_current & _has_newest(runs, deciding, ["cut", "fold"], STATE[1])


def _has_newest(runs: "pd.DataFrame", complete: "pd.DataFrame", by: list[str], fingerprint: str) -> np.ndarray:
    """Which runs have the fingerprint of the complete run that ended last among those alike in `by`."""
    newest = dict(zip(zip(*(complete[name] for name in by), strict=True), complete[fingerprint], strict=True))
    there = zip(zip(*(runs[name] for name in by), strict=True), runs[fingerprint], strict=True)
    return np.array([newest.get(key) == value for key, value in there], dtype=bool)


def _cut(settings: Settings) -> str:
    """What of a run's settings decides which clips there are."""
    if settings.is_earlier:
        return " ".join(setting for setting in settings.variant.split() if setting.startswith("data."))
    return settings.within("data").words


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


def _missing(
    experiment: Experiment, summaries: Sequence[Summary], place: str, wanted: Sequence[int]
) -> list[tuple[str, str]]:
    """Each condition that lacks a seed which another has, or a fold, with the command that fills it."""
    missing = []
    for summary in summaries:
        lacking: dict[tuple[int, ...], list[str]] = {}
        for fold in map(str, range(experiment.folds)) if experiment.folds else [""]:
            seeds = tuple(seed for seed in wanted if (fold, seed) not in summary.cells)
            if seeds:
                lacking.setdefault(seeds, []).append(fold)
        for seeds, folds in lacking.items():
            where = f", {_listed('fold', folds)}" if experiment.folds else ""
            what = f"{summary.condition.label}{where}, {_listed('seed', seeds)}"
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
        each = "; ".join(f"{s.condition.label} has {_listed(unit, s.units)}" for s in others)
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
        notes.append(
            f"To {experiment.label(experiment.baseline)}: mean ± deviation of the differences, {unit} by {unit}."
        )
    return notes


def _on_left_out(reasons: dict[str, int]) -> list[str]:
    """Which runs do not count, and why."""
    left_out = [f"{count} {why}" for why, count in reasons.items() if count]
    return [f"Runs left out: {', '.join(left_out)}."] if left_out else []


def _listed(unit: str, items: Sequence[object]) -> str:
    return f"{unit}{'s' * (len(items) > 1)} {', '.join(map(str, items))}"


def _on_circumstances(runs: "pd.DataFrame") -> list[str]:
    """Where and with what the runs were made, where the rows say so."""
    makers = _makers(runs)
    names = [name for name in ("device", "precision", "torch", "commit") if name in runs]
    there = {name: sorted(set(runs[name]) - {""}) for name in names if name != "commit" or len(makers) < 2}
    said = [f"{name} {_first(values)}" for name, values in there.items() if values]
    notes = [f"Runs made with {'; '.join(said)}."] if said else []
    if len(makers) > 1:
        notes.append(f"The phases of these runs were made by different versions of singtech: {_first(makers)}.")
    return notes


def _makers(runs: "pd.DataFrame") -> list[str]:
    """The versions and commits that made the phases of runs; of a run that does not say them, its commit."""
    told = runs["made_by"] if "made_by" in runs else [""] * len(runs)
    commits = runs["commit"] if "commit" in runs else [""] * len(runs)
    return sorted({maker for made, commit in zip(told, commits, strict=True) for maker in (made or commit).split()})


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
