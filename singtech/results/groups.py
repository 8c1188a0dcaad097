"""Which runs share their settings: a page shows those of its conditions that do, and keeps others apart.

What a run differs in from the defaults is partly its condition's own, or that of a named ablation. What remains is the
group that it belongs to. A run that holds all that an ablation sets belongs to the ablation's row, and makes no group,
where runs without the ablation are there; where none are, it is shown as what it is, with these settings.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singtech.results.collate import Collated
from singtech.results.conditions import Condition, retrains
from singtech.results.experiments import read_experiments
from singtech.results.rows import COMPLETE, VARIANT
from singtech.results.settings import PAPERS, Settings, read_settings

if TYPE_CHECKING:
    import pandas as pd

RETRAINING = "retraining"  # the group of settings that a strategy without re-training never has


@dataclass(frozen=True)
class Group:
    """Runs on one corpus with the same settings beside those of their conditions.

    Attributes:
        settings: these.
        runs: how many complete runs are of it.
        finished: when the last of them was.
    """

    settings: Settings
    runs: int
    finished: str


@dataclass(frozen=True)
class _Reading:
    """Alike runs: what remains of their settings without an ablation, and with one (None where they hold none)."""

    rest: Settings
    rest_of_ablation: Settings | None
    retrains: bool
    runs: int
    finished: str

    def is_of(self, group: Settings) -> bool:
        """Whether the runs belong to a group, as a condition's or as an ablation's."""
        rests = [rest for rest in (self.rest, self.rest_of_ablation) if rest is not None]
        return any(_alike(rest, group, self.retrains) for rest in rests)


def groups_of(collated: Collated, data: str) -> list[Group]:
    """The groups of a corpus's complete runs, that of the most runs first, of as many the most recent."""
    known = collated.memory.setdefault("groups", {})
    if data not in known:
        known[data] = grouped(collated.results[collated.results["data"] == data], named_conditions(collated))
    return known[data]


def main_group(collated: Collated, data: str) -> Settings:
    """The settings that the most runs on a corpus share."""
    groups = groups_of(collated, data)
    return groups[0].settings if groups else PAPERS


def named_conditions(collated: Collated) -> list[Condition]:
    """Every row of every experiment."""
    if "conditions" not in collated.memory:
        collated.memory["conditions"] = [row for asked in read_experiments() for row in asked.conditions]
    return collated.memory["conditions"]


def wanted(condition: Condition, group: Settings) -> Settings | None:
    """The settings that a run of a condition has in a group; None where the two contradict each other."""
    if group.is_earlier:
        return None if condition.settings.items else group
    joined = group.joined(condition.settings)
    return joined if joined is None or retrains(condition.strategy) else joined.without_group(RETRAINING)


def rows_in(conditions: Sequence[Condition], group: Settings) -> dict[Condition, Settings]:
    """The conditions that have runs in a group, and with which settings.

    An ablation that sets only what all of the group have is none there, beside the condition without it.
    """
    whole = {(condition.key, condition.own) for condition in conditions if not condition.ablation}
    rows = {}
    for condition in conditions:
        is_empty = condition.ablated.items and group.holds(condition.ablated)
        settings = wanted(condition, group)
        if settings is not None and not (is_empty and (condition.key, condition.own) in whole):
            rows[condition] = settings
    return rows


def grouped(runs: "pd.DataFrame", conditions: Sequence[Condition]) -> list[Group]:
    """The groups of the complete ones among runs on one corpus.

    Args:
        runs: rows of results.csv.
        conditions: whose own settings, and whose ablations', make no group.
    """
    readings = _read(runs, conditions)
    made = {reading.rest for reading in readings if reading.rest_of_ablation is None and reading.retrains}
    more = {reading.rest for reading in readings if reading.rest_of_ablation is None and not reading.retrains}
    made |= {rest for rest in more if not any(_alike(rest, group, False) for group in made)}
    for reading in readings:
        rest = reading.rest_of_ablation
        if rest is not None and not any(_alike(rest, group, reading.retrains) for group in made):
            made.add(reading.rest)
    groups = []
    for settings in made:
        ours = [reading for reading in readings if reading.is_of(settings)]
        groups.append(Group(settings, sum(r.runs for r in ours), max(r.finished for r in ours)))
    groups.sort(key=lambda group: (len(group.settings.items), group.settings.words))
    return sorted(groups, key=lambda group: (group.runs, group.finished), reverse=True)


def _read(runs: "pd.DataFrame", conditions: Sequence[Condition]) -> list[_Reading]:
    """How alike runs can be read, those of few settings first."""
    by_key = defaultdict(list)
    for condition in conditions:
        by_key[condition.key].append(condition)
    complete = runs[runs["status"] == COMPLETE]
    complete = complete.assign(**{n: "" for n in ("finished", VARIANT) if n not in complete})
    names = ["model", "dc", "strategy", "alpha", "settings", VARIANT]
    alike = complete.groupby(names, sort=True)["finished"].agg(["size", "max"])
    readings = []
    for (model, dc, strategy, alpha, text, variant), number, finished in alike.itertuples(name=None):
        settings, rows = read_settings(text, variant), by_key[model, dc, strategy, round(alpha, 9)]
        rest, rest_of_ablation = settings, None
        if not settings.is_earlier:
            own = [row.own for row in rows if settings.holds(row.own)]
            rest = settings.without(max(own, key=lambda each: len(each.items), default=PAPERS))
            ablated = [row.settings for row in rows if row.ablated.items and settings.holds(row.settings)]
            if ablated:
                rest_of_ablation = settings.without(max(ablated, key=lambda each: (len(each.items), each.items)))
        readings.append(_Reading(rest, rest_of_ablation, retrains(strategy), int(number), str(finished)))
    return sorted(readings, key=lambda reading: (len(reading.rest.items), reading.rest.items))


def _alike(rest: Settings, group: Settings, has_retraining: bool) -> bool:
    """Whether runs with these settings belong to a group; without re-training, to all that differ in that."""
    return rest == group or (not has_retraining and not group.is_earlier and rest == group.without_group(RETRAINING))
