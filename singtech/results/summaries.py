"""Answer an experiment with the runs on one corpus: decide which runs count, and summarize them in a tidy frame."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from singtech import metrics
from singtech.results.collate import STATE, Collated
from singtech.results.commands import MOST_LISTED, command, command_end, has_vocalset_singers, prepare, sweep
from singtech.results.conditions import Condition
from singtech.results.experiments import PAPER_CORPUS, Experiment, Published, find_experiment
from singtech.results.groups import conditions_in, has_folds_alone, main_group
from singtech.results.intervals import over_folds
from singtech.results.jackknife import Jackknife
from singtech.results.pages import Page
from singtech.results.references import references
from singtech.results.rows import COMPLETE, SCORED, VARIANT
from singtech.results.settings import Settings, read_settings
from singtech.techniques import TECHNIQUES

CONDITION = ("condition", "label", "model", "dc", "strategy", "alpha", "settings")
CHANGES = ("change", "change_deviation", "change_low", "change_high")
NUMBERS = ("mean", "deviation", "low", "high", "units", "unit", "paper", "difference", *CHANGES)
COLUMNS = ("data", "artefact", *CONDITION, "metric", *NUMBERS)  # of `Answer.frame`
CIRCUMSTANCES = ("device", "precision", "torch", "commit")
OVER_FOLDS = (
    "No run is on the corpus's own split, so this page is over {folds} folds of the singers. It has no numbers of the "
    "paper, which are of other test singers, and no references."
)
DEMO = (  # its scores under its own schedule, on one machine
    "On the demo (Late, α 0 and 0.2, three roundings of seed 0) joint training names 0 or 1 of 28 trills, re-trained "
    "heads 0 to 4, and heads at the minimum 3 to 10: most trills pass for vibrato, which swings as widely and has "
    "three times their training clips. At `schedule.offset_rate=1` offsets leave the map, and Late cRT-WC scores 0.37 "
    "instead of 0.65 to 0.68; without deformable layers it is 0.63 to 0.67."
)
REHEARSAL = (
    "A rehearsal, trained for an epoch or two to see that everything runs: its numbers and verdicts say nothing."
)
OF_OWN_SPLIT = ("layers", "lengths", "verdicts", "selection", "tuning")  # kinds that are never over folds
OF_ROUNDING = ("condition", "fold", "seed")  # runs that have these alike differ in rounding
FOLDS = 5  # the default of data.folds
SYSTEMS = "Scored systems"  # the group of their rows
ON_SYSTEMS = "Scored systems were trained elsewhere; `singtech score` scored their predictions for the same test clips."
_STATE_CHANGED = "on another state of the corpus (its recordings, split, techniques or clip length have changed)"


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of an experiment on one corpus.

    Attributes:
        experiment: the experiment, with `f1_*` replaced by one metric for each technique.
        data: the corpus.
        runs: one row per run that counts: condition, run, fold, seed and every metric.
        perturbed: the same of runs with perturbed initial weights, and their rounding.
        frame: one row per condition and metric, then one per reference and metric; its columns are `COLUMNS`. Means
            and deviations (n - 1) are over units: seeds, or folds. The value of a fold is the mean over its seeds.
            low and high bound the 95 % interval of the mean. change is the mean difference from the baseline, paired
            by unit, with its own deviation and interval.
        missing: each missing part and the command that makes it.
        sweep: the command that makes all missing runs; "" if none is missing.
        notes: what a reader must know about the numbers: kind of note -> sentence.
        group: the settings that all runs share, without those of their conditions.
        collated: all results.
        published: the paper's numbers.
        expected: how many runs the experiment needs.
        left_out: how many runs of the experiment do not count.
    """

    experiment: Experiment
    data: str
    runs: pd.DataFrame
    perturbed: pd.DataFrame
    frame: pd.DataFrame
    missing: Sequence[tuple[str, str]]
    sweep: str
    notes: Mapping[str, str]
    group: Settings
    collated: Collated
    published: Published
    expected: int
    left_out: int

    @property
    def is_comparable(self) -> bool:
        """Whether the paper's numbers were measured on this corpus."""
        return self.data == PAPER_CORPUS

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The frame's rows of conditions, by condition and metric."""
        return self.frame[self.frame["condition"] != ""].set_index(["condition", "metric"])

    def wide(self, column: str) -> pd.DataFrame:
        """Reshape a column of the frame: one row per condition, one column per metric, in printed order."""
        order = [condition.reference for condition in self.experiment.conditions]
        return self.numbers[column].unstack("metric").reindex(order, columns=list(self.experiment.metrics))

    def paper(self, condition: Condition, metric: str) -> float | None:
        """The number that the paper prints for a condition; None if it prints none."""
        return self.published.get((self.experiment.published, condition.published, metric))

    def runs_of(self, condition: Condition) -> pd.DataFrame:
        """The runs of a condition that count, ordered by fold and seed."""
        return self.runs[self.runs["condition"] == condition.reference]

    def page(self, **parts) -> Page:
        """Make a page of this answer. `parts` are fields of `Page` to add or replace."""
        usual = {name: getattr(self.experiment, name) for name in ("name", "title", "caption", "part")}
        usual |= {name: getattr(self, name) for name in ("data", "frame", "missing", "sweep")}
        if is_rehearsal(self.group):
            usual["title"] += " (rehearsal)"
        usual |= {"notes": tuple(self.notes.values()), "runs": tuple(self.runs["run"]), "delta": self.experiment.delta}
        usual |= {"progress": progress(len(self.runs), self.expected, self.missing, self.left_out)}
        return Page(**usual | parts)


def answer(
    experiment: Experiment,
    collated: Collated,
    data: str,
    group: Settings | None = None,
    published: Published | None = None,
) -> Answer:
    """Answer an experiment with the runs on one corpus that share these settings.

    Only complete runs on the current state of the corpus count. If a condition and seed was run more than once, the
    newest run counts. If a group has runs on folds alone, the experiment is answered over these.

    Args:
        group: the settings that the runs share, without those of their conditions; None for the most common ones.
        published: the paper's numbers.
    """
    group = main_group(collated, data) if group is None else group
    results = collated.results[collated.results["data"] == data]
    can_have_folds = experiment.kind not in OF_OWN_SPLIT and not experiment.folds
    if use_folds := can_have_folds and has_folds_alone(collated, data, group):
        experiment = replace(experiment, folds=FOLDS, references=(), published="")
    conditions = experiment.conditions
    if experiment.folds or not has_vocalset_singers(data):  # no rows for ablations that name VocalSet's singers
        conditions = tuple(c for c in conditions if not any(n.startswith("data.split") for n in c.settings.values))
    folds = group.values.get("data.folds") if experiment.folds else 0
    named = experiment.metrics or tuple(dict.fromkeys(m for claim in experiment.claims for m in claim.metrics))
    experiment = replace(
        experiment,
        metrics=_all_metrics(named or metrics.list_usual(), results[results["status"] == COMPLETE]),
        conditions=conditions,
        folds=folds if isinstance(folds, int) else experiment.folds,
    )
    if experiment.kind == "nested":  # inner folds from 1 to folds - 1
        is_there = [int(str(c.own.values.get("data.inner_fold", 0))) < experiment.folds for c in conditions]
        conditions = tuple(itertools.compress(conditions, is_there))
        experiment = replace(experiment, conditions=conditions)
    rows = conditions_in(conditions, group)
    counted, left_out = _counted(results, experiment, rows, collated)
    runs, perturbed = counted[counted["rounding"] == 0], counted[counted["rounding"] != 0]
    of_guessing = references(experiment.references, collated.lengths_by_technique(data))
    networks, needed = runs, experiment
    if experiment.kind == "table" and not group.is_legacy:
        experiment, runs = _with_systems(experiment, runs, results, collated, data, group)
    frame = summarize(runs, experiment, data, collated.jackknife, published or {}, of_guessing)
    end = command_end(collated, data, experiment.folds, group)
    seeds = sorted(set(networks["seed"].tolist())) or [0]
    present = [condition for condition in conditions if condition in rows]
    missing = [] if group.is_legacy else _missing(experiment, present, networks, end, seeds)
    is_swept = {condition.reference for condition in present} <= experiment.swept
    is_swept |= experiment.kind == "verdicts"  # whose page says what its sweep leaves out
    everything = sweep(experiment, end, seeds) if missing and is_swept else ""
    if len(of_guessing) < len(experiment.references):
        clips = prepare(command_end(collated, data, group=group.only_groups("data")))
        missing.append((f"{' and '.join(experiment.references)}, from the clips of the corpus", clips))
    notes = on_group(group) | ({"over folds": OVER_FOLDS.format(folds=experiment.folds)} if use_folds else {})
    notes |= {"demo": DEMO} if data == "demo" and group.includes(Settings.of({"schedule": "demo"})) else {}
    notes |= _on_units(experiment, runs, frame, collated.jackknife)
    floor = on_rounding(needed, counted)
    if not floor and len(conditions) > 1 and (results["rounding"] != 0).any():
        others = replace(find_experiment("rounding"), metrics=experiment.metrics, folds=experiment.folds)
        floor = on_rounding(others, _counted(results, others, conditions_in(others.conditions, group), collated)[0])
    reasons = ", ".join(f"{count} {why}" for why, count in left_out.items() if count)
    notes |= floor | ({"left out": f"Runs left out: {reasons}."} if reasons else {})
    notes |= on_circumstances(networks, conditions)
    notes |= {"systems": ON_SYSTEMS} if len(runs) > len(networks) else {}
    return Answer(
        *(experiment, data, runs, perturbed, frame, tuple(missing), everything, notes, group, collated),
        published=published or {},
        expected=len(present) * len(seeds) * max(experiment.folds, 1) + len(runs) - len(networks),
        left_out=sum(left_out.values()),
    )


def summarize(
    runs: pd.DataFrame,
    experiment: Experiment,
    data: str,
    jackknife: Jackknife,
    published: Published,
    of_guessing: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """Compute the frame that `Answer.frame` describes.

    Args:
        runs: the runs that count: condition, run, fold, seed, metrics.
        jackknife: the runs' scores without each test singer, from which the intervals are computed.
        of_guessing: label of a reference -> metric -> score.
    """
    names, unit = list(experiment.metrics), experiment.unit
    baseline = runs[runs["condition"] == experiment.baseline]
    tables = []
    for condition in experiment.conditions:
        members = runs[runs["condition"] == condition.reference]
        table = pd.DataFrame(index=names)
        if len(members):
            values = members.groupby(unit)[names].mean()
            table = pd.DataFrame({"mean": values.mean(), "deviation": values.std()}, names)
            table[["low", "high"]] = intervals(members, names, jackknife)
            table = table.where(members[names].notna().all(), axis=0)
        table = table.assign(units=members[unit].nunique(), unit=f"{unit}s")
        table["paper"] = [published.get((experiment.published, condition.published, metric)) for metric in names]
        if condition.reference != experiment.baseline and len(members) and len(baseline):
            changes = paired_differences(members, baseline, names).groupby(level=unit).mean()
            table = table.assign(change=changes.mean(), change_deviation=changes.std())
            table[["change_low", "change_high"]] = intervals(members, names, jackknife, baseline)
        words = {name: getattr(condition, name) for name in ("label", "model", "dc", "strategy", "alpha")}
        tables.append(table.assign(condition=condition.reference, **words, settings=condition.settings.words))
    for label, scores in of_guessing.items():
        tables.append(pd.DataFrame({"mean": scores}, names).assign(condition="", label=label))
    empty = pd.DataFrame(columns=[*CONDITION, *NUMBERS], index=pd.Index([], dtype=object))
    frame = pd.concat(tables or [empty]).rename_axis("metric").reset_index()
    frame = frame.assign(data=data, artefact=experiment.name).reindex(columns=list(COLUMNS))
    numbers = [name for name in NUMBERS if name not in ("units", "unit")]
    frame = frame.astype(dict.fromkeys(["alpha", *numbers], float) | {"units": "Int64"})
    return frame.assign(difference=(frame["mean"] - frame["paper"]) if data == PAPER_CORPUS else float("nan"))


def paired_differences(runs: pd.DataFrame, others: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Subtract from each run the other run of the same fold and seed.

    Returns:
        One row per fold and seed, nan if only one of them has it; one column per metric.
    """
    cells = ["fold", "seed"]
    own, other = (each[[*cells, *names]].set_index(cells) for each in (runs, others))
    return own - other


def correlation(pairs: pd.DataFrame) -> float:
    """Pearson's correlation of two columns over pairs; over folds where there are several, else over seeds.

    Args:
        pairs: by fold and seed.
    Returns:
        nan of fewer than three pairs, and of scores that are all alike.
    """
    unit = "fold" if pairs.index.get_level_values("fold").nunique() > 1 else "seed"
    means = pairs.groupby(level=unit).mean().dropna()
    return float(means.corr().iloc[0, 1]) if len(means) > 2 and means.nunique().min() > 1 else math.nan


def intervals(
    runs: pd.DataFrame, names: Sequence[str], jackknife: Jackknife, others: pd.DataFrame | None = None
) -> np.ndarray:
    """(metrics, 2) the 95 % interval of each mean; of the mean paired difference, given other runs.

    The runs of one split are judged by its test singers, those of cross-validation by their folds.
    """
    if (runs["fold"] != "").any():
        cells = runs.set_index(["fold", "seed"]) if others is None else paired_differences(runs, others, names)
        estimates = [over_folds(cells[name].unstack("seed").to_numpy()) for name in names]
    else:
        sides = [each.set_index("seed")["run"] for each in ((runs,) if others is None else (runs, others))]
        seeds = sides[0].index.intersection(sides[-1].index)
        estimates = [jackknife.estimate(name, *(side[seeds] for side in sides)) for name in names]
    return np.reshape([estimate.interval() for estimate in estimates], (-1, 2))


def progress(runs: int, expected: int, missing: Sequence[tuple[str, str]], left_out: int = 0) -> str:
    """How many of an answer's runs exist, in a few words."""
    if runs < expected:
        return f"{runs} of {expected} runs" + (f", {left_out} left out" if left_out else "")
    return f"lacks {missing[0][0]}" if missing else "complete"


def has_runs(experiment: Experiment, collated: Collated, data: str, group: Settings) -> bool:
    """Whether a group has a complete run on one corpus of any of an experiment's conditions."""
    results = collated.results[(collated.results["data"] == data) & (collated.results["status"] == COMPLETE)]
    return any(_references(results, settings_of(results), conditions_in(experiment.conditions, group)))


def on_group(group: Settings) -> dict[str, str]:
    """Note the settings that the runs of a page share, if they differ from the paper's."""
    if group.is_legacy:
        text = f"These runs were {group.words}. Their settings have other names today, so no command makes more."
        return {"settings": text}
    notes = {"rehearsal": REHEARSAL} if is_rehearsal(group) else {}
    return notes | ({"settings": f"Settings that differ from the paper's: {group.words}."} if group.items else {})


def is_rehearsal(group: Settings) -> bool:
    """Whether runs were trained only to see that everything runs."""
    return group.values.get("schedule") in ("rehearsal", "smoke")


def printed(technique: str) -> str:
    """The name of a technique with spaces instead of underscores."""
    return technique.replace("_", " ")


def in_order(techniques: Iterable[str]) -> list[str]:
    """Sort techniques in the paper's order; techniques that the paper does not have come last, by name."""
    techniques = set(techniques)
    return [name for name in TECHNIQUES if name in techniques] + sorted(techniques - set(TECHNIQUES))


def _all_metrics(names: Iterable[str], results: pd.DataFrame) -> tuple[str, ...]:
    """Replace `f1_*` by one metric for each technique that the runs have a score for, or else for the paper's."""
    names, written = list(names), []
    for name in names:
        each = [name]
        if name.endswith(metrics.PER_TECHNIQUE):
            scored = results.columns[results.notna().any()]
            techniques = [of[1] for column in scored if (of := metrics.split_column(column)) and of[0] == name]
            columns = [f"{name.removesuffix('*')}{technique}" for technique in in_order(techniques or TECHNIQUES)]
            each = [column for column in columns if column not in names]
        written += each
    return tuple(written)


def settings_of(runs: pd.DataFrame) -> list[Settings]:
    """The settings of each row of results.csv or layers.csv."""
    return [read_settings(*texts) for texts in zip(runs["settings"], runs[VARIANT], strict=True)]


def _references(runs: pd.DataFrame, settings: Sequence[Settings], rows: Mapping[Condition, Settings]) -> list[str]:
    """The reference of each run's condition, by the settings of runs and conditions; "" for none."""
    known = {(*condition.key, wanted): condition.reference for condition, wanted in rows.items()}
    keys = zip(runs["model"], runs["dc"], runs["strategy"], runs["alpha"].round(9), settings, strict=True)
    return [known.get(key, "") for key in keys]


def _counted(
    runs: pd.DataFrame, experiment: Experiment, rows: Mapping[Condition, Settings], collated: Collated
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Select the runs on one corpus that count for the conditions, and count the others by reason."""
    runs = runs.assign(**{name: float("nan") for name in experiment.metrics if name not in runs})
    runs = runs[((runs["fold"] != "") == (experiment.folds > 0)) & (runs["strategy"] != SCORED)]
    runs = runs.sort_values("finished", kind="stable")
    settings = settings_of(runs)
    wanted = set(rows.values())
    runs = runs.assign(
        condition=_references(runs, settings, rows),
        cut=[_cut(each) for each in settings],
        is_wanted=[each in wanted for each in settings],
    )
    candidates = runs.assign(is_current=_is_current(runs, collated))
    candidates = candidates[(runs["condition"] != "") & runs["fold"].isin(experiment.fold_names)]
    complete = candidates[candidates["status"] == COMPLETE]
    current = complete[complete["is_current"]]
    same = current[current["recipe"] == current.groupby("condition")["recipe"].transform("last")]
    latest = same.drop_duplicates(["condition", "fold", "seed", "rounding"], keep="last")
    return latest.sort_values(["fold", "seed", "rounding"]), {
        "not complete": len(candidates) - len(complete),
        _STATE_CHANGED: len(complete) - len(current),
        "of other code or settings files than the newest run of the row": len(current) - len(same),
        "replaced by a newer run": len(same) - len(latest),
    }


def _with_systems(
    experiment: Experiment, runs: pd.DataFrame, results: pd.DataFrame, collated: Collated, data: str, group: Settings
) -> tuple[Experiment, pd.DataFrame]:
    """Add the scored systems of a corpus to an experiment and its runs, as a last group of rows.

    A system counts if it was scored on the split or the folds of the experiment, on the test clips that the runs have,
    and on the state of the corpus that these or `corpora/` record.
    """
    systems = results[(results["strategy"] == SCORED) & (results["status"] == COMPLETE)]
    systems = systems[systems["fold"].isin(experiment.fold_names)]
    alike = [_splits(each) == _splits(group) for each in settings_of(systems)]
    systems = systems[np.array(alike, dtype=bool)]
    tested: dict[str, set] = {}  # by fold; runs by clips and by recordings differ
    for fold, *scored in zip(runs["fold"], runs["singers_test"], runs["clips_test"], strict=True):
        tested.setdefault(fold, set()).add(tuple(scored))
    states = dict(zip(runs["fold"], runs[STATE[0]], strict=True))
    own = zip(systems["fold"], systems["singers_test"], systems["clips_test"], systems[STATE[0]], strict=True)
    fits = []
    for fold, singers, clips, state in own:
        known = states.get(fold) or (collated.state(data, fold) or ("",))[0]
        is_tested = (singers, clips) in tested.get(fold, {(singers, clips)})
        fits.append(is_tested and (not known or state in ("", known)))
    systems = systems[np.array(fits, dtype=bool)].sort_values("finished", kind="stable")
    systems = systems.drop_duplicates(["model", "fold", "seed"], keep="last").sort_values(["model", "fold", "seed"])
    if not len(systems):
        return experiment, runs
    labels, conditions = {condition.label for condition in experiment.conditions}, []
    for name in systems["model"].unique():
        label = f"{name} (scored)" if name in labels else name
        setup = (label, name, "", SCORED, math.nan)
        conditions.append(Condition("", *setup, reference=f"{SCORED} {name}", series=label, group=SYSTEMS))
    systems = systems.assign(**{name: float("nan") for name in experiment.metrics if name not in systems})
    systems = systems.assign(condition=f"{SCORED} " + systems["model"])
    rows = (*experiment.conditions, *conditions)
    return replace(experiment, conditions=rows), pd.concat([runs, systems]) if len(runs) else systems


def _splits(settings: Settings) -> dict[str, str]:
    """The settings that decide which clips test: not the sample rate, and not how training recordings are thinned."""
    others = ("data.sample_rate", "data.long_tail")
    return {n: v for n, v in settings.items if n.split(".")[0] == "data" and not n.startswith(others)}


def _is_current(runs: pd.DataFrame, collated: Collated) -> pd.Series:
    """Mark the runs on the current state of the corpus, which `corpora/` records for the corpus or for each fold.

    If `corpora/` does not record it, or a run has other `data` settings, the newest complete run with the same `data`
    settings decides. All folds then have one state. Runs with settings that the experiment does not have never decide.
    """
    states = {data_fold: collated.state(*data_fold) for data_fold in set(zip(runs["data"], runs["fold"], strict=True))}
    known = [states[data_fold] for data_fold in zip(runs["data"], runs["fold"], strict=True)]
    each = zip(runs["cut"], known, zip(*(runs[name] for name in STATE), strict=True), strict=True)
    fits = [cut != "" or expected is None or state == expected for cut, expected, state in each]
    is_current = pd.Series(fits, runs.index, dtype=bool)
    deciding = runs[is_current & (runs["status"] == COMPLETE) & runs["is_wanted"].astype(bool)]
    for by, fingerprint in ((["cut"], STATE[0]), (["cut", "fold"], STATE[1])):
        newest = deciding.groupby(by)[fingerprint].last().rename("newest")
        is_current &= runs[fingerprint] == runs.join(newest, on=by)["newest"]
    return is_current


def _cut(settings: Settings) -> str:
    """The settings of a run that decide which clips it has."""
    if settings.is_legacy:
        return " ".join(setting for setting in (settings.variant or "").split() if setting.startswith("data."))
    return settings.only_groups("data").words


def _missing(
    experiment: Experiment, conditions: Sequence[Condition], runs: pd.DataFrame, end: str, seeds: Sequence[int]
) -> list[tuple[str, str]]:
    """List each condition that lacks a seed that another one has, or a fold, with the command that makes it."""
    cells = set(zip(runs["condition"], runs["fold"], runs["seed"], strict=True))
    missing = []
    for condition in conditions:
        lacking: dict[tuple[int, ...], list[str]] = {}
        for fold in experiment.fold_names:
            of_fold = tuple(seed for seed in seeds if (condition.reference, fold, seed) not in cells)
            lacking.setdefault(of_fold, []).append(fold)
        for of_folds, folds in lacking.items():
            if of_folds:
                words = [condition.label, *([_listed("fold", folds)] * (experiment.folds > 0))]
                what = ", ".join([*words, _listed("seed", of_folds)])
                missing.append((what, command(condition, end, of_folds, folds)))
    return missing


def _on_units(experiment: Experiment, runs: pd.DataFrame, frame: pd.DataFrame, jackknife: Jackknife) -> dict[str, str]:
    """Note which seeds or folds each mean covers, which rows differ, and which have intervals."""
    if not len(runs):
        return {}
    unit, references = experiment.unit, [condition.reference for condition in experiment.conditions]
    units = {name: sorted(set(runs.loc[runs["condition"] == name, unit].astype(int))) for name in references}
    each = [numbers for numbers in units.values() if numbers]
    usual = max(each, key=lambda numbers: (each.count(numbers), len(numbers)))
    over = f"mean ± sample standard deviation (n - 1) over {unit}s"
    notes = {"statistic": f"Ours: {over if max(map(len, each)) > 1 else f'one {unit}, so no deviation'}."}
    notes["units"] = f"{_listed(unit, usual).capitalize()}."
    uneven = {name: numbers for name, numbers in units.items() if numbers not in ([], usual)}
    if uneven:
        others = "; ".join(f"{experiment.label(name)} has {_listed(unit, its)}" for name, its in uneven.items())
        notes["units"] = f"{unit.title()}s are uneven, so the means do not pair: {_listed(unit, usual)}, but {others}."
    if experiment.folds:
        seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
        notes["folds"] = f"A fold's value is the mean over its seeds ({seeds}, where none is missing)."
        if has_one_singer_folds(runs):
            notes["folds"] += " Each fold tests one singer: its macro averages are over the techniques that they sing."
    of_runs = frame[frame["condition"].isin(runs["condition"])]
    has_interval = of_runs["low"].notna().groupby(of_runs["condition"]).any()
    if has_interval.any():
        way = "Student over folds, whose singers share a network" if experiment.folds else "the jackknife over singers"
        way = "Student over folds, which are singers here" if has_one_singer_folds(runs) else way
        notes["interval"] = (
            f"95 %: interval of the mean for other singers, and for other seeds if there are several, by {way}. With "
            "one seed it does not include all variation of training. It may reach beyond 0 and 1 where singers are "
            "few. A number that all singers have alike, or one alone, has no interval."
        )
    if not has_interval.all():
        lacking = has_interval[~has_interval].index
        has_scores = all(map(jackknife.scores, runs.loc[runs["condition"].isin(lacking), "run"]))
        why = (
            "each number is of one singer, or all singers have it alike"
            if has_scores
            else "runs/*/predictions.csv is not here"
        )
        why = "there is one fold" if experiment.folds else why
        notes["no interval"] = f"No interval for {len(lacking)} row{'s' * (len(lacking) > 1)}: {why}."
    if experiment.baseline:
        base = experiment.label(experiment.baseline)
        notes["baseline"] = f"To {base}: mean ± deviation of the differences, {unit} by {unit}."
    return notes


def has_one_singer_folds(runs: pd.DataFrame) -> bool:
    """Whether the runs are on folds, each of which tests one singer."""
    return bool((runs["fold"] != "").all() and (runs["singers_test"].str.split().str.len() == 1).all())


def pooled_deviation(runs: pd.DataFrame, metric: str, cells: Sequence[str]) -> tuple[float, int]:
    """Pool the variance of a metric within cells, such as the perturbations of each condition, fold and seed.

    Returns:
        The standard deviation, nan if no cell has two runs; and its degrees of freedom.
    """
    values = runs.groupby(list(cells))[metric]
    degrees = values.transform("count").ge(2).sum() - values.count().ge(2).sum()
    squares = ((runs[metric] - values.transform("mean")) ** 2)[values.transform("count").ge(2)].sum()
    return (math.sqrt(squares / degrees) if degrees else math.nan), int(degrees)


def on_rounding(experiment: Experiment, runs: pd.DataFrame) -> dict[str, str]:
    """Note how much rounding alone moves the first metric that runs with perturbed initial weights have."""
    floors = {metric: pooled_deviation(runs, metric, OF_ROUNDING) for metric in experiment.metrics}
    metric, (deviation, degrees) = next(((m, floor) for m, floor in floors.items() if floor[1]), ("", (0, 0)))
    if not degrees:
        return {}
    perturbed = set(runs.loc[runs["rounding"] != 0, "condition"])
    labels = [condition.label for condition in experiment.conditions if condition.reference in perturbed]
    return {
        "rounding": (
            f"Rounding: initial weights changed by 1e-7 move {metrics.label(metric)} by ± {deviation:.3f}, and so the "
            f"difference of two networks by ± {math.sqrt(2) * deviation:.3f} (standard deviations at one seed, "
            f"{degrees} degrees of freedom; {_first(labels)})."
        )
    }


def on_circumstances(runs: pd.DataFrame, conditions: Iterable[Condition]) -> dict[str, str]:
    """Note the device, precision and versions that the runs were made with, and which were trained on other devices
    or with another number of threads than most."""
    versions = runs["made_by"].where(runs["made_by"] != "", runs["commit"])  # of each phase, or of the run
    makers = sorted({maker for text in versions for maker in text.split()})
    names = CIRCUMSTANCES if len(makers) < 2 else CIRCUMSTANCES[:-1]  # several versions get their own note
    values = {name: sorted(set(runs[name]) - {""}) for name in names}
    circumstances = "; ".join(f"{name} {_first(each)}" for name, each in values.items() if each)
    notes = {"circumstances": f"Runs made with {circumstances}."} if circumstances else {}
    versions = {"versions": f"The phases of these runs were made by different versions of singtech: {_first(makers)}."}
    return notes | _on_machines(runs, conditions) | (versions if len(makers) > 1 else {})


def _on_machines(runs: pd.DataFrame, conditions: Iterable[Condition]) -> dict[str, str]:
    """Note the kinds of device and numbers of threads, if these differ, and at which seeds differences mix them."""
    threads = runs["threads"].where(runs["threads"] > 0)  # nan on a GPU, and where it is not known
    if len(set(runs["device"]) - {""}) < 2 and threads.nunique() < 2:
        return {}
    labels = {condition.reference: condition.label for condition in conditions}
    words = [f", {number:.0f} thread{'s' * (number > 1)}" if number > 0 else "" for number in threads]
    kinds = runs.assign(threads=threads, kind=runs["device"] + words)
    counts = "; ".join(f"{count} on {kind}" for kind, count in sorted(kinds["kind"].value_counts().items()))
    mixed = []
    for (fold, seed), cell in kinds.groupby(["fold", "seed"]):
        if max(cell["device"].nunique(), cell["threads"].nunique()) > 1:
            others = cell.loc[cell["kind"] != cell["kind"].mode()[0], "condition"].map(labels)
            mixed.append(f"seed {seed}{f' of fold {fold}' * (fold != '')} ({_first(list(others))} unlike the others)")
    text = f"Runs were trained on different devices or with different numbers of threads: {counts}. "
    which = (
        f"Differences mix them, and so contain their rounding, at {_first(mixed)}." if mixed else "No seed mixes them."
    )
    return {"machines": text + which}


def _listed(unit: str, items: Sequence[object]) -> str:
    if len(items) > MOST_LISTED and list(map(str, items)) == [str(n) for n in range(len(items))]:
        return f"{unit}s 0 to {len(items) - 1}"
    return f"{unit}{'s' * (len(items) > 1)} {', '.join(map(str, items))}"


def _first(items: Sequence[str], most: int = 4) -> str:
    return " | ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
