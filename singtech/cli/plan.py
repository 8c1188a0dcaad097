"""Count what a sweep would train, and estimate its time and disk space.

It takes the settings of `singtech run -m`; the default is the whole paper. It counts the runs and phases that are
stored and those that are missing, and estimates the time from a short measurement on this machine. It trains nothing.
It does not download or cut VocalSet, but prepares a smaller corpus.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import allow_own_modules, check_settings, hydra_command, read_words
from singtech.cli.prepare import UnpreparedCorpus, prepare_corpus
from singtech.cli.problems import run_verb
from singtech.cli.sweep import composed, list_axes
from singtech.config_paths import CONF, EXPERIMENTS
from singtech.corpus.download import format_bytes
from singtech.io.atomic import expand_home
from singtech.io.terminal import format_seconds, format_table, wrap

PAPER_EXPERIMENTS = ("table2", "table3", "figure3")  # their runs give all numbers of the paper
HYDRA_FLAGS = {"-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"}


def main() -> int:
    """Print the plan, or let Hydra print the help or the configuration."""
    if HYDRA_FLAGS & set(sys.argv[1:]):
        return hydra_command(lambda cfg: None)()
    return run_verb(lambda: job(read_words(sys.argv[1:])))


def job(arguments: Sequence[str]) -> None:
    """Print the plan of the sweeps that `singtech run -m` would run with these arguments."""
    allow_own_modules()
    print("counting runs and phases, and trying a few steps of each network …", flush=True)
    print(describe_plan(*_split_arguments(arguments)))


def describe_plan(experiments: Sequence[str], overrides: Sequence[str]) -> str:
    """Describe the plan of the experiments with these settings.

    Raises:
        SingtechError, HydraException: as `singtech run` does for the same settings.
    """
    import pandas as pd

    from singtech.corpus.archive import ZENODO_SIZE
    from singtech.run import build_machine, build_run
    from singtech.training.planning import Plan, describe_speeds

    runs: list[tuple] = []
    corpora: dict[str, Any] = {}
    for experiment, cfg in compose_runs(experiments, overrides):
        if not runs:
            plan = Plan(Path(cfg.output_dir))
        data = OmegaConf.to_yaml(cfg.data, resolve=True)
        corpus = corpora[data] = corpora.get(data) or _find_corpus(cfg)
        run = build_run(cfg, corpus)
        row = str(replace(run, setup=replace(run.setup, seed=0)))
        runs.append((experiment, row, plan.add(run, corpus, build_machine(cfg))))
    by_experiment = pd.DataFrame(runs, columns=["experiment", "row", "stored"]).groupby("experiment", sort=False)
    table = by_experiment.agg(rows=("row", "nunique"), runs=("row", "size"), stored=("stored", "sum"))
    table["to make"] = table["runs"] - table["stored"]
    to_train = ", ".join(f"{plan.count(part)} of the {part}" for part in ("network", "head"))
    phases = f"{len(plan.phases)} for the runs to make, {len(plan.stored_keys)} stored; to train: {to_train}"
    lines = [
        format_table(["experiment", *table], table.reset_index().to_numpy()),
        "",
        _item("runs", f"{len(plan.runs)} different ones, {sum(plan.runs.values())} stored"),
        _item("phases", phases),
        _item("epochs", f"{plan.epochs('network'):,} through the network, {plan.epochs('head'):,} of the head"),
    ]
    if plan.missing_phases:
        speeds = plan.measure_speeds(build_machine(cfg))
        device = next(iter(speeds.values())).device
        time = f"about {format_seconds(plan.seconds(speeds))} on {device}, one run after another; roughly, from a few "
        time += f"steps of each network on noise (a clip: {describe_speeds(list(speeds.values()))})"
        lines.append(_item("time", time))
    unprepared = [corpus for corpus in corpora.values() if isinstance(corpus, UnpreparedCorpus)]
    size = plan.bytes_needed() + sum(corpus.bytes_needed for corpus in unprepared)
    size += ZENODO_SIZE * any(not corpus.is_here for corpus in unprepared)
    folder = plan.output_dir.absolute()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    disk = f"about {format_bytes(size)} more in {plan.output_dir}, where {format_bytes(free)} are free"
    notes = dict.fromkeys(wrap(corpus.note) for corpus in unprepared)
    return "\n".join([*lines, _item("disk", disk), *notes])


def compose_runs(experiments: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[str, DictConfig]]:
    """Yield (experiment, configuration) for every run of `singtech run -m experiments=… <overrides>`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for experiment in experiments:
            choice = [f"experiments={experiment}"]
            params = compose("config", choice, return_hydra_config=True).hydra.sweeper.params
            for run in product(*list_axes(params, overrides)):
                with composed(compose("config", [*choice, *run], return_hydra_config=True)) as cfg:
                    check_settings(cfg)
                    yield experiment, cfg


def _find_corpus(cfg: DictConfig) -> Any:
    """Prepare the corpus, or open it. VocalSet, which takes minutes and gigabytes, is only opened."""
    from singtech.corpus.archive import find_source

    if HydraConfig.get().runtime.choices["data"] != "vocalset":
        return prepare_corpus(cfg)
    is_here = find_source(expand_home(cfg.data.root)) is not None
    return (prepare_corpus(cfg, make=False) if is_here else None) or UnpreparedCorpus(cfg, is_here)


def _split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into experiments, by default the paper's, and settings."""
    flags = get_args_parser().parse_args(arguments)
    names = [word for word in flags.overrides if word.startswith("experiments=")]
    experiments = names[-1].partition("=")[2].split(",") if names else list(PAPER_EXPERIMENTS)
    settings = [word for word in flags.overrides if word not in names]
    if flags.config_dir:
        folders = [Path(flags.config_dir).resolve(), EXPERIMENTS.parent]
        settings.append(f"hydra.searchpath=[{','.join(repr(f'file://{folder}') for folder in folders)}]")
    return experiments, settings


def _item(name: str, text: str) -> str:
    """Write a named sentence, wrapped beside its name."""
    return wrap(text, " " * 8, name.ljust(8))
