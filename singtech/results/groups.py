"""Group runs by their settings, because a page shows only runs that share them.

The settings of a run that differ from the defaults belong partly to its condition or to a named ablation. The rest are
the settings of its group. A run with all settings of an ablation belongs to the ablation's row if there are also runs
of the same group without the ablation. If there are none, the ablation's settings are settings of the group.
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

RETRAINING = "retraining"  # settings that have no effect in a strategy without re-training


@dataclass(frozen=True)
class Group:
    """Runs on one corpus that share their settings, apart from those of their conditions.

    Attributes:
        settings: the settings that they share.
        runs: number of complete runs.
        finished: when the newest run finished.
    """

    settings: Settings
    runs: int
    finished: str


@dataclass(frozen=True)
class _Reading:
    """Runs of one condition with the same settings.

    Attributes:
        rest: their settings without those of their condition.
        rest_of_ablation: their settings without those of their condition and ablation; None if they have no ablation.
    """

    rest: Settings
    rest_of_ablation: Settings | None
    retrains: bool
    runs: int
    finished: str

    def is_of(self, group: Settings) -> bool:
        """Whether the runs belong to a group, as runs of a condition or of an ablation."""
        rests = [rest for rest in (self.rest, self.rest_of_ablation) if rest is not None]
        return any(_alike(rest, group, self.retrains) for rest in rests)


def groups_of(collated: Collated, data: str) -> list[Group]:
    """Group the complete runs on a corpus: largest group first, the newest first among equally large ones."""
    known = collated.memory.setdefault("groups", {})
    if data not in known:
        known[data] = grouped(collated.results[collated.results["data"] == data], named_conditions(collated))
    return known[data]


def main_group(collated: Collated, data: str) -> Settings:
    """The settings of the largest group of runs on a corpus."""
    groups = groups_of(collated, data)
    return groups[0].settings if groups else PAPERS


def named_conditions(collated: Collated) -> list[Condition]:
    """The conditions of all experiments."""
    if "conditions" not in collated.memory:
        collated.memory["conditions"] = [row for experiment in read_experiments() for row in experiment.conditions]
    return collated.memory["conditions"]


def wanted(condition: Condition, group: Settings) -> Settings | None:
    """The settings that a run of a condition has in a group; None if the two contradict each other."""
    if group.is_earlier:
        return None if condition.settings.items else group
    joined = group.joined(condition.settings)
    return joined if joined is None or retrains(condition.strategy) else joined.without_group(RETRAINING)


def rows_in(conditions: Sequence[Condition], group: Settings) -> dict[Condition, Settings]:
    """The conditions that can have runs in a group, with the settings of these runs.

    If the group has all settings of an ablation, the ablation equals its condition. It is then left out if the
    condition is also in `conditions`.
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
    """Group the complete runs among runs on one corpus.

    Args:
        runs: rows of results.csv.
        conditions: the conditions and ablations whose settings do not count for the group.
    """
    readings = _read(runs, conditions)
    group_settings = {reading.rest for reading in readings if reading.rest_of_ablation is None and reading.retrains}
    more = {reading.rest for reading in readings if reading.rest_of_ablation is None and not reading.retrains}
    group_settings |= {rest for rest in more if not any(_alike(rest, group, False) for group in group_settings)}
    for reading in readings:
        rest = reading.rest_of_ablation
        if rest is not None and not any(_alike(rest, group, reading.retrains) for group in group_settings):
            group_settings.add(reading.rest)
    groups = []
    for settings in group_settings:
        members = [reading for reading in readings if reading.is_of(settings)]
        groups.append(Group(settings, sum(r.runs for r in members), max(r.finished for r in members)))
    groups.sort(key=lambda group: (len(group.settings.items), group.settings.words))
    return sorted(groups, key=lambda group: (group.runs, group.finished), reverse=True)


def _read(runs: "pd.DataFrame", conditions: Sequence[Condition]) -> list[_Reading]:
    """Collect the runs that have the same condition and settings; fewest settings first."""
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
    """Whether runs with these settings belong to a group. Without re-training, its settings do not count."""
    return rest == group or (not has_retraining and not group.is_earlier and rest == group.without_group(RETRAINING))
