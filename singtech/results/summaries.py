"""What the runs say about each condition: mean and deviation over seeds, what is missing, and what was left out."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from singtech.places import CONF
from singtech.results.experiments import COMPARABLE, Condition, Experiment

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """A condition over its seeds."""

    condition: Condition
    seeds: tuple[int, ...]
    values: dict[str, tuple[float, ...]]  # metric -> one value a seed

    def mean(self, metric: str) -> float | None:
        """Mean over the seeds; None without a run, or where a run lacks the metric."""
        values = self.values.get(metric, ())
        return None if not values or any(map(isnan, values)) else statistics.fmean(values)

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the seeds (n - 1); None with fewer than two."""
        return None if self.mean(metric) is None or len(self.seeds) < 2 else statistics.stdev(self.values[metric])


@dataclass(frozen=True)
class Answer:
    """What the runs on one corpus say to an experiment."""

    experiment: Experiment
    data: str
    summaries: tuple[Summary, ...]  # in the order of the experiment's conditions
    missing: tuple[tuple[str, str], ...]  # (what, the command that makes it)
    sweep: str  # the command that makes all of it, as far as it is missing
    notes: tuple[str, ...]  # what a reader must know of the numbers, a sentence each

    @property
    def is_comparable(self) -> bool:
        """Whether the paper's numbers were measured on this corpus."""
        return self.data == COMPARABLE

    @property
    def title(self) -> str:
        """The experiment's title, with the corpus where it is not the paper's."""
        return self.experiment.title + ("" if self.is_comparable else f" — {corpus(self.data)}")


def corpus(data: str) -> str:
    """What a reader must know of a corpus that is not the paper's."""
    name = "demo corpus (synthetic voices)" if data == "demo" else f"corpus {data}"
    return f"{name}: not VocalSet, not comparable with the paper"


def answer(experiment: Experiment, results: "pd.DataFrame", data: str) -> Answer:
    """Answer an experiment with the runs on one corpus.

    Only complete runs count whose `variant` is empty: all but the condition is as the corpus has it by default. Of a
    condition and seed that was run more than once, the run that ended last counts, on the newest state of the corpus.
    """
    counted, left_out = _counted(results[results["data"] == data], experiment.conditions)
    summaries = tuple(_summary(counted, condition, experiment.metrics) for condition in experiment.conditions)
    notes = [*_on_seeds(experiment, summaries), *left_out, *_on_circumstances(counted)]
    seeds = sorted({seed for summary in summaries for seed in summary.seeds}) or [0]
    missing = tuple(_missing(experiment, summaries, data, seeds))
    sweep = f"python -m singtech.run -m experiments={experiment.name} seed={','.join(map(str, seeds))}{_choice(data)}"
    return Answer(experiment, data, summaries, missing, sweep, tuple(notes))


def command(condition: Condition, data: str, seeds: Sequence[int]) -> str:
    """The command that runs a condition with these seeds."""
    model = "" if condition.model == "oblong" else f" model={condition.model}"
    choices = f"dc={condition.dc} strategy={condition.strategy} alpha={condition.alpha}"
    multirun = " -m" if len(seeds) > 1 else ""
    return f"python -m singtech.run{multirun}{model} {choices} seed={','.join(map(str, seeds))}{_choice(data)}"


def _choice(data: str) -> str:
    """How a command names the corpus: the default not at all, a folder of one's own by its name."""
    if data == COMPARABLE:
        return ""
    is_choice = (CONF / "data" / f"{data}.yaml").is_file()
    return (
        f" data={data}" if is_choice else f' data=folder data.name={data} data.root=FOLDER "data.split.test=[SINGERS]"'
    )


def _asked(results: "pd.DataFrame", conditions: Iterable[Condition]) -> "pd.DataFrame":
    """The runs of any of the conditions."""
    wanted = {(asked.model, asked.dc, asked.strategy, round(asked.alpha, 9)) for asked in conditions}
    keys = zip(results["model"], results["dc"], results["strategy"], results["alpha"].round(9), strict=True)
    return results.loc[[key in wanted for key in keys]]


def _counted(runs: "pd.DataFrame", conditions: Iterable[Condition]) -> tuple["pd.DataFrame", list[str]]:
    """Of the runs on one corpus those that count for the conditions, and a sentence on those that do not."""
    runs = runs.assign(**{name: "" for name in ("data_fingerprint", "finished") if name not in runs})
    runs = runs.sort_values("finished", kind="stable")
    complete = runs[(runs["status"] == "complete") & (runs["variant"] == "")]
    state = complete["data_fingerprint"].iloc[-1] if len(complete) else ""
    asked, complete = _asked(runs, conditions), _asked(complete, conditions)
    current = complete[complete["data_fingerprint"] == state]
    latest = current.drop_duplicates(["model", "dc", "strategy", "alpha", "seed"], keep="last")
    unfinished = asked["status"] != "complete"
    variants = asked["variant"][~unfinished & (asked["variant"] != "")]
    reasons = {
        f"with other settings than the default ({_first(sorted(set(variants)))})": len(variants),
        "not complete": unfinished.sum(),
        "on an earlier state of the corpus": len(complete) - len(current),
        "made anew since": len(current) - len(latest),
    }
    left_out = [f"{count} {why}" for why, count in reasons.items() if count]
    return latest, [f"Runs left out: {', '.join(left_out)}."] if left_out else []


def _summary(runs: "pd.DataFrame", condition: Condition, metrics: Iterable[str]) -> Summary:
    runs = _asked(runs, [condition]).sort_values("seed")
    values = {metric: tuple(runs[metric].tolist()) if metric in runs else () for metric in metrics}
    return Summary(condition, tuple(runs["seed"].tolist()), values)


def _missing(
    experiment: Experiment, summaries: Sequence[Summary], data: str, wanted: Sequence[int]
) -> list[tuple[str, str]]:
    """Each condition that lacks a seed which another has, with the command that fills it."""
    missing = []
    for summary in summaries:
        seeds = [seed for seed in wanted if seed not in summary.seeds]
        if seeds:
            name = _name(experiment, summary.condition).rstrip(",")
            missing.append((f"{name}, {_seeds(seeds)}", command(summary.condition, data, seeds)))
    return missing


def _on_seeds(experiment: Experiment, summaries: Sequence[Summary]) -> list[str]:
    """How many seeds the means rest on, and which of them rest on others than most."""
    there = [summary for summary in summaries if summary.seeds]
    if not there:
        return []
    counts = Counter(summary.seeds for summary in there)
    usual = max(counts, key=lambda seeds: (counts[seeds], len(seeds)))
    others = [summary for summary in there if summary.seeds != usual]
    many = any(len(summary.seeds) > 1 for summary in there)
    notes = [f"Ours: {'mean ± sample standard deviation (n - 1) over seeds' if many else 'one seed, so no deviation'}."]
    if others:
        each = "; ".join(f"{_name(experiment, summary.condition)} has {_seeds(summary.seeds)}" for summary in others)
        notes.append(f"Seeds are uneven, so the means do not pair: {_seeds(usual)}, but {each}.")
    else:
        notes.append(f"Seeds: {', '.join(map(str, usual))}.")
    return notes


def _name(experiment: Experiment, condition: Condition) -> str:
    """A condition's name among the others of its table or figure."""
    return f"{condition.label}, α = {condition.alpha:g}," if experiment.is_figure else condition.label


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _on_circumstances(runs: "pd.DataFrame") -> list[str]:
    """Where and with what the runs were made, where the rows say so."""
    names = [name for name in ("device", "precision", "torch", "commit") if name in runs]
    there = {name: sorted(set(runs[name]) - {""}) for name in names}
    said = [f"{name} {_first(found)}" for name, found in there.items() if found]
    return [f"Runs made with {'; '.join(said)}."] if said else []


def _first(items: Sequence[str], most: int = 4) -> str:
    return " | ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
