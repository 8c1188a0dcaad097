"""Group runs by their settings: a page shows runs of one group.

Some settings of a run that differ from the defaults belong to its condition or to an ablation of it. The others are the
settings of its group. A run with all settings of an ablation belongs to the ablation's row if the same group has other
runs without the ablation. If it has none, the ablation's settings are settings of the group.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from singtech.results.collate import Collated
from singtech.results.conditions import Condition, retrains
from singtech.results.experiments import read_experiments
from singtech.results.rows import COMPLETE, SCORED, VARIANT
from singtech.results.settings import DEFAULTS, Settings, read_settings

RETRAINING = "retraining"  # settings that have no effect in a strategy without re-training


@dataclass(frozen=True)
class Group:
    """Runs on one corpus with the same settings, except those of their conditions.

    Attributes:
        settings: the settings that they share.
        runs: number of complete runs.
        on_own_split: how many of them are on the corpus's own split; the others are on its folds.
        finished: when the newest run finished.
    """

    settings: Settings
    runs: int
    on_own_split: int
    finished: str


@dataclass(frozen=True)
class _ConditionRuns(Group):
    """Runs of one condition with the same settings, less those of their condition.

    Attributes:
        rest_of_ablation: their settings without those of their condition and ablation; None if they have no ablation.
        retrains: whether the settings of re-training affect them.
    """

    rest_of_ablation: Settings | None
    retrains: bool

    def fits(self, rest: Settings | None, group: Settings) -> bool:
        """Whether runs with these other settings belong to a group."""
        return rest == group or (not self.retrains and not group.is_legacy and rest == group.without_group(RETRAINING))


@functools.lru_cache(16)
def list_groups(collated: Collated, data: str) -> list[Group]:
    """Group the complete runs on a corpus: largest group first, the newest first among equally large ones."""
    return group_runs(collated.results[collated.results["data"] == data], experiment_conditions())


def main_group(collated: Collated, data: str) -> Settings:
    """The settings of the largest group of runs on a corpus."""
    groups = list_groups(collated, data)
    return groups[0].settings if groups else DEFAULTS


def has_folds_alone(collated: Collated, data: str, group: Settings) -> bool:
    """Whether a group has complete runs on a corpus's folds and none on its own split."""
    return any(not each.on_own_split for each in list_groups(collated, data) if each.settings == group)


def experiment_conditions() -> list[Condition]:
    """The conditions of all experiments."""
    return [row for experiment in read_experiments() for row in experiment.conditions]


def expected_settings(condition: Condition, group: Settings) -> Settings | None:
    """Join the settings of a condition and a group; None if they contradict each other."""
    if group.is_legacy:
        return None if condition.settings.items else group
    settings = group.join(condition.settings)
    return settings if settings is None or retrains(condition.strategy) else settings.without_group(RETRAINING)


def conditions_in(conditions: Sequence[Condition], group: Settings) -> dict[Condition, Settings]:
    """List the conditions that can have runs in a group, with the settings of these runs.

    If the group has all settings of an ablation, the ablation is equal to its condition. It is then left out if the
    condition is also in `conditions`.
    """
    without_ablation = {(condition.key, condition.base) for condition in conditions if not condition.ablation}
    rows = {}
    for condition in conditions:
        is_redundant = condition.changes.items and group.includes(condition.changes)
        settings = expected_settings(condition, group)
        if settings is not None and not (is_redundant and (condition.key, condition.base) in without_ablation):
            rows[condition] = settings
    return rows


def group_runs(runs: pd.DataFrame, conditions: Sequence[Condition]) -> list[Group]:
    """Group the complete runs among runs on one corpus.

    Args:
        runs: rows of results.csv.
        conditions: the conditions and ablations whose settings are not settings of a group.
    """
    setups = _read(runs, conditions)
    plain = [setup for setup in setups if setup.rest_of_ablation is None]
    group_settings = {setup.settings for setup in plain if setup.retrains}
    others = [setup for setup in plain if not setup.retrains]
    group_settings |= {s.settings for s in others if not any(s.fits(s.settings, g) for g in group_settings)}
    for setup in setups:
        if (rest := setup.rest_of_ablation) is not None and not any(setup.fits(rest, g) for g in group_settings):
            group_settings.add(setup.settings)
    groups = []
    for settings in group_settings:
        members = [s for s in setups if s.fits(s.settings, settings) or s.fits(s.rest_of_ablation, settings)]
        runs, on_own_split = sum(s.runs for s in members), sum(s.on_own_split for s in members)
        groups.append(Group(settings, runs, on_own_split, max(s.finished for s in members)))
    groups.sort(key=lambda group: (len(group.settings.items), group.settings.words))
    return sorted(groups, key=lambda group: (group.runs, group.finished), reverse=True)


def _read(runs: pd.DataFrame, conditions: Sequence[Condition]) -> list[_ConditionRuns]:
    """Collect the runs that have the same condition and settings; fewest settings first."""
    complete = runs[(runs["status"] == COMPLETE) & (runs["strategy"] != SCORED)]
    names = ["model", "dc", "strategy", "alpha", "settings", VARIANT]
    by_setup = complete.assign(own=complete["fold"] == "").groupby(names, sort=True)
    sizes = by_setup.agg(runs=("own", "size"), own=("own", "sum"), finished=("finished", "max"))
    setups = []
    for (*setup, alpha, text, variant), number, own, finished in sizes.itertuples(name=None):
        settings, key = read_settings(text, variant), (*setup, round(alpha, 9))
        rows = [] if settings.is_legacy else [condition for condition in conditions if condition.key == key]
        bases = [row.base for row in rows if settings.includes(row.settings if row.own.items else row.base)]
        base = max(bases, key=lambda base: len(base.items), default=DEFAULTS)
        ablated_settings = [row.settings for row in rows if row.changes.items and settings.includes(row.settings)]
        largest = max(ablated_settings, key=lambda each: (len(each.items), each.items), default=None)
        rest = settings if settings.is_legacy else settings.without(base)
        of_ablation = settings.without(largest) if largest else None
        setups.append(_ConditionRuns(rest, int(number), int(own), str(finished), of_ablation, retrains(setup[-1])))
    return sorted(setups, key=lambda setup: (len(setup.settings.items), setup.settings.items))
