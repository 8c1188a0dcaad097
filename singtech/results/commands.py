"""Write commands, such as those that make the missing runs of a table or figure."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from singtech.config_paths import CONF
from singtech.results.collate import Collated
from singtech.results.conditions import Condition
from singtech.results.experiments import PAPER_CORPUS, Experiment
from singtech.results.settings import DEFAULTS, Settings, own_folder, read_settings

MOST_LISTED = 10  # seeds or folds; more are written as a range


def command(condition: Condition, end: str, seeds: Sequence[int], folds: Sequence[str] = ()) -> str:
    """Write the command that runs a condition with these seeds and folds.

    Args:
        end: the end of the command, from `command_end`.
    """
    model = "" if condition.model == "oblong" else f"model={condition.model} "
    options = f"{model}dc={condition.dc} strategy={condition.strategy} alpha={condition.alpha}"
    fold = _fold(folds) if any(folds) else ""
    multirun = " -m" if len(seeds) * max(len(folds), 1) > 1 else ""
    overrides = f"{condition.overrides or options}{fold} seed={','.join(map(str, seeds))}"
    return f"singtech run{multirun} {overrides}{end}"


def sweep(experiment: Experiment, end: str, seeds: Sequence[int]) -> str:
    """Write the command that makes all runs of an experiment."""
    folds = _fold(experiment.fold_names) if experiment.folds else ""
    return f"singtech run -m experiments={experiment.name}{folds} seed={','.join(map(str, seeds))}{end}"


def _fold(folds: Sequence[str]) -> str:
    """Write the folds of a sweep; many of them as a range."""
    is_range = len(folds) > MOST_LISTED and list(folds) == [str(fold) for fold in range(len(folds))]
    return f" 'data.fold=range({len(folds)})'" if is_range else f" data.fold={','.join(folds)}"


def prepare(end: str) -> str:
    """Write the command that prepares the clips of a corpus."""
    return f"singtech prepare{end}"


def tables(collated: Collated) -> str:
    """Write the command that collates all runs."""
    return f"singtech tables{_output_of(collated)}"


def report(collated: Collated, data: str) -> str:
    """Write the command that makes the report of a corpus."""
    return f"singtech report data={data}{_output_of(collated)}"


def command_end(collated: Collated, data: str, folds: int = 0, group: Settings = DEFAULTS) -> str:
    """Write the end of a command: the corpus, a group's settings and the results folder.

    The corpus gets the settings of its last use.
    """
    corpus = collated.settings(data, folds) or _corpus_settings(data, folds)
    return (f" {corpus}" if corpus else "") + group.command + _output_of(collated) + _own_folder(collated, data, group)


def _own_folder(collated: Collated, data: str, group: Settings) -> str:
    """Write the user's `--config-dir` of the runs with these settings; "" if there is none."""
    runs = collated.results[collated.results["data"] == data]
    for command, settings in zip(runs["command"], runs["settings"], strict=True):
        folder = own_folder(command)
        if group.items and folder and read_settings(settings).includes(group):
            return f" --config-dir {shlex.quote(folder)}"
    return ""


def _corpus_settings(data: str, folds: int) -> str:
    """Write the settings that select a corpus: "" for the default; with words to replace for the user's own corpus."""
    if data == PAPER_CORPUS:
        return ""
    if has_vocalset_singers(data):
        return f"data={data}"
    return f"data=folder data.name={data} data.root=FOLDER" + ' "data.split.test=[SINGERS]"' * (not folds)


def _output_of(collated: Collated) -> str:
    is_default = collated.output_dir.resolve() == Path("outputs").resolve()
    return "" if is_default else f" {shlex.quote(f'output_dir={collated.output_dir}')}"


def has_vocalset_singers(data: str) -> bool:
    """Whether a corpus is one of `conf/data`: these have VocalSet's singers, unlike the user's own corpora."""
    return (CONF / "data" / f"{data}.yaml").is_file()
