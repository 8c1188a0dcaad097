"""Group runs by their settings, because a page shows only runs that share them.

The settings of a run that differ from the defaults belong partly to its condition or to a named ablation. The rest are
the settings of its group. A run with all settings of an ablation belongs to the ablation's row if there are also runs
of the same group without the ablation. If there are none, the ablation's settings are settings of the group.
"""

import functools
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
class _Setup:
    """Runs of one condition with the same settings.

    Attributes:
        rest: their settings without those of their condition.
        rest_of_ablation: their settings without those of their condition and ablation; None if they have no ablation.
        retrains: whether the settings of re-training can change them.
    """

    rest: Settings
    rest_of_ablation: Settings | None
    retrains: bool
    runs: int
    finished: str

    def fits(self, rest: Settings | None, group: Settings) -> bool:
        """Whether runs with these other settings belong to a group."""
        return rest == group or (not self.retrains and not group.is_earlier and rest == group.without_group(RETRAINING))


@functools.lru_cache(16)
def groups_of(collated: Collated, data: str) -> list[Group]:
    """Group the complete runs on a corpus: largest group first, the newest first among equally large ones."""
    return grouped(collated.results[collated.results["data"] == data], named_conditions())


def main_group(collated: Collated, data: str) -> Settings:
    """The settings of the largest group of runs on a corpus."""
    groups = groups_of(collated, data)
    return groups[0].settings if groups else PAPERS


def named_conditions() -> list[Condition]:
    """The conditions of all experiments."""
    return [row for experiment in read_experiments() for row in experiment.conditions]


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
    setups = _read(runs, conditions)
    plain = [setup for setup in setups if setup.rest_of_ablation is None]
    known = {setup.rest for setup in plain if setup.retrains}
    known |= {s.rest for s in plain if not s.retrains and not any(s.fits(s.rest, group) for group in known)}
    for setup in setups:
        if setup.rest_of_ablation is not None and not any(setup.fits(setup.rest_of_ablation, group) for group in known):
            known.add(setup.rest)
    groups = []
    for settings in known:
        members = [s for s in setups if s.fits(s.rest, settings) or s.fits(s.rest_of_ablation, settings)]
        groups.append(Group(settings, sum(s.runs for s in members), max(s.finished for s in members)))
    groups.sort(key=lambda group: (len(group.settings.items), group.settings.words))
    return sorted(groups, key=lambda group: (group.runs, group.finished), reverse=True)


def _read(runs: "pd.DataFrame", conditions: Sequence[Condition]) -> list[_Setup]:
    """Collect the runs that have the same condition and settings; fewest settings first."""
    complete = runs[runs["status"] == COMPLETE]
    names = ["model", "dc", "strategy", "alpha", "settings", VARIANT]
    alike = complete.groupby(names, sort=True)["finished"].agg(["size", "max"])
    setups = []
    for (*setup, alpha, text, variant), number, finished in alike.itertuples(name=None):
        settings, key = read_settings(text, variant), (*setup, round(alpha, 9))
        rows = [] if settings.is_earlier else [condition for condition in conditions if condition.key == key]
        own = max((row.own for row in rows if settings.holds(row.own)), key=lambda own: len(own.items), default=PAPERS)
        ablated = [row.settings for row in rows if row.ablated.items and settings.holds(row.settings)]
        whole = max(ablated, key=lambda each: (len(each.items), each.items), default=None)
        rest = settings if settings.is_earlier else settings.without(own)
        rest_of_ablation = settings.without(whole) if whole else None
        setups.append(_Setup(rest, rest_of_ablation, retrains(setup[-1]), int(number), str(finished)))
    return sorted(setups, key=lambda setup: (len(setup.rest.items), setup.rest.items))
