"""The commands that make what a table or figure lacks."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from singtech.places import CONF
from singtech.results.collate import Collated
from singtech.results.conditions import Condition
from singtech.results.experiments import COMPARABLE, Experiment
from singtech.results.settings import PAPERS, Settings, read_settings

if TYPE_CHECKING:
    import pandas as pd


def command(condition: Condition, place: str, seeds: Sequence[int], folds: Sequence[str] = ()) -> str:
    """The command that runs a condition with these seeds, on these folds of the corpus at `place_of`."""
    model = "" if condition.model == "oblong" else f"model={condition.model} "
    spelled = f"{model}dc={condition.dc} strategy={condition.strategy} alpha={condition.alpha}"
    fold = f" data.fold={','.join(folds)}" if any(folds) else ""
    multirun = " -m" if len(seeds) * max(len(folds), 1) > 1 else ""
    asked = f"{condition.overrides or spelled}{fold} seed={','.join(map(str, seeds))}"
    return f"python -m singtech.run{multirun} {asked}{place}"


def sweep(experiment: Experiment, place: str, seeds: Sequence[int]) -> str:
    """The command that runs all that an experiment asks for."""
    return f"python -m singtech.run -m experiments={experiment.name} seed={','.join(map(str, seeds))}{place}"


def prepare(place: str) -> str:
    """The command that says what clips a corpus has."""
    return f"singtech prepare{place}"


def tables(collated: Collated) -> str:
    """The command that collates all runs."""
    return f"singtech tables{_output_of(collated)}"


def report(collated: Collated, data: str) -> str:
    """The command that puts all of a corpus on one page."""
    return f"singtech report data={data}{_output_of(collated)}"


def place_of(collated: Collated, data: str, folds: int = 0, group: Settings = PAPERS) -> str:
    """How a command ends: with the corpus, as it was named when it was last opened, with the settings of a group, and
    with where the results are."""
    named = collated.settings(data, folds) or _named(data)
    return (f" {named}" if named else "") + group.command + _output_of(collated) + _own_folder(collated, data, group)


def own_folders(results: "pd.DataFrame") -> list[Path]:
    """The configuration folders of a person's own that runs were made with and that still exist."""
    commands = results["command"].unique() if "command" in results else []
    words = [shlex.split(command) for command in commands if "--config-dir" in command]
    folders = [Path(each[each.index("--config-dir") + 1]) for each in words if "--config-dir" in each]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _own_folder(collated: Collated, data: str, group: Settings) -> str:
    """The configuration folder of the person's own that runs with these settings were made with."""
    runs = collated.results[collated.results["data"] == data]
    if not group.items or "command" not in runs or "settings" not in runs:
        return ""
    for command, settings in zip(runs["command"], runs["settings"], strict=True):
        words = command.split() if "--config-dir" in command else []
        if words and settings and read_settings(settings).holds(group):
            return f" --config-dir {shlex.quote(shlex.split(command)[words.index('--config-dir') + 1])}"
    return ""


def _named(data: str) -> str:
    """A corpus by its name: the default not at all, a folder of one's own with what must be filled in."""
    if data == COMPARABLE:
        return ""
    return (
        f"data={data}"
        if has_vocalsets_singers(data)
        else f'data=folder data.name={data} data.root=FOLDER "data.split.test=[SINGERS]"'
    )


def _output_of(collated: Collated) -> str:
    is_default = collated.output_dir.resolve() == Path("outputs").resolve()
    return "" if is_default else f" {shlex.quote(f'output_dir={collated.output_dir}')}"


def has_vocalsets_singers(data: str) -> bool:
    """Whether a corpus is one of `conf/data`, with VocalSet's singers, and not a person's own."""
    return (CONF / "data" / f"{data}.yaml").is_file()
