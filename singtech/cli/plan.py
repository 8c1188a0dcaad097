"""Count what a sweep would train, and estimate its time and disk.

It takes the settings that `singtech run -m` takes; the default is the whole paper. It counts runs and phases, those
needed and those there, and estimates the time from a short measurement on this machine. It trains nothing. VocalSet is
neither fetched nor cut for it; a smaller corpus is prepared if it is not yet.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from singtech.cli.config import check_settings, find_own_code, hydra_command
from singtech.cli.problems import guard
from singtech.corpus.download import in_bytes
from singtech.places import CONF, EXPERIMENTS

PAPER = ("table2", "table3", "figure3")  # all numbers of the paper come from the runs of these
FOR_HYDRA = {"-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"}


def main() -> int:
    """Print the plan; Hydra answers what asks for help or the configuration alone."""
    arguments = sys.argv[1:]
    if FOR_HYDRA & set(arguments):
        return hydra_command(lambda cfg: None)()
    return guard(lambda: job(arguments))


def job(arguments: Sequence[str]) -> None:
    """Print the plan of the sweeps that `singtech run -m` would make of these arguments."""
    find_own_code()
    print("counting runs and phases, and trying a few steps of each network …", flush=True)
    print(report(*_read(arguments)))


def report(experiments: Sequence[str], overrides: Sequence[str]) -> str:
    """The plan of the experiments with these settings, in words.

    Raises:
        SingtechError, HydraException: as `singtech run` raises for the same settings.
    """
    import pandas as pd
    from tabulate import tabulate

    from singtech.corpus.archive import ZENODO_SIZE
    from singtech.run import machine_of, run_of
    from singtech.training.planning import Plan, in_words

    runs: list[tuple] = []
    corpora: dict[str, Any] = {}
    for experiment, cfg in compose_runs(experiments, overrides):
        if not runs:
            plan = Plan(Path(cfg.output_dir))
        data = OmegaConf.to_yaml(cfg.data, resolve=True)
        if data not in corpora:
            corpora[data] = _corpus(cfg)
        run = run_of(cfg, corpora[data])
        row = str(replace(run, setup=replace(run.setup, seed=0)))
        runs.append((experiment, row, plan.add(run, corpora[data], machine_of(cfg))))
    by_experiment = pd.DataFrame(runs, columns=["experiment", "row", "there"]).groupby("experiment", sort=False)
    table = by_experiment.agg(rows=("row", "nunique"), runs=("row", "size"), there=("there", "sum"))
    table["to make"] = table["runs"] - table["there"]
    to_train = " and ".join(f"{plan.count(part)} of the {part}" for part in ("network", "head"))
    lines = [
        tabulate(table.reset_index(), headers="keys", showindex=False),
        "",
        f"runs    {len(plan.runs)} different ones, {sum(plan.runs.values())} there",
        f"phases  {len(plan.phases)} different ones for the runs to make, {len(plan.stored)} there;"
        f" {to_train} to train",
        f"epochs  {plan.epochs('network'):,} through the network, {plan.epochs('head'):,} of the head",
    ]
    if plan.missing:
        speeds = plan.measure(machine_of(cfg))
        device = next(iter(speeds.values())).device
        lines += [
            f"time    about {_duration(plan.seconds(speeds))} on {device}, one run after the other; roughly, from a",
            f"        few steps of each network on noise (a clip: {in_words(list(speeds.values()))})",
        ]
    unprepared = [corpus for corpus in corpora.values() if isinstance(corpus, Unprepared)]
    needed = plan.bytes_needed() + sum(corpus.bytes_needed for corpus in unprepared)
    if any(not corpus.is_here for corpus in unprepared):
        needed += ZENODO_SIZE
    folder = plan.output_dir.absolute()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    lines.append(f"disk    about {in_bytes(needed)} more in {plan.output_dir}, where {in_bytes(free)} are free")
    return "\n".join([*lines, *dict.fromkeys(corpus.note for corpus in unprepared)])


def compose_runs(experiments: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[str, DictConfig]]:
    """(experiment, configuration) of every run of the sweeps `singtech run -m experiments=… <overrides>`."""
    parser = OverridesParser.create()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for experiment in experiments:
            first = [f"experiments={experiment}"]
            swept = compose("config", first, return_hydra_config=True).hydra.sweeper.params or {}
            settings = [*(f"{name}={values}" for name, values in swept.items()), *overrides]
            (runs,) = BasicSweeper.split_arguments(parser.parse_overrides(settings), max_batch_size=None)
            for run in runs:
                cfg = compose("config", [*first, *run], return_hydra_config=True)
                HydraConfig.instance().set_config(cfg)  # what a run under `hydra.main` finds there
                with open_dict(cfg):
                    del cfg["hydra"]
                check_settings(cfg)
                yield experiment, cfg


class Unprepared:
    """A corpus that is not prepared, as far as a plan or a launcher needs it; VocalSet's numbers of clips."""

    state = "not prepared"

    def __init__(self, cfg: DictConfig, is_here: bool) -> None:
        import numpy as np

        from singtech.corpus.vocalset import CLIPS

        data = cfg.data
        self.name = data.name
        self.clips = {split: sum(clips.values()) for split, clips in CLIPS.items()}
        self.techniques, self.fold, self.sample_rate = tuple(data.techniques or ()), data.fold, data.sample_rate
        self.waveforms = np.empty((0, round(data.clip_seconds * data.sample_rate)), np.int16)
        self.bytes_needed = self.waveforms.itemsize * self.waveforms.shape[1] * sum(self.clips.values())
        self.is_here, self.settings = is_here, OmegaConf.to_yaml(data, resolve=True)
        what = "is not prepared yet, `make data` does it" if is_here else "is not here, `make data` fetches it (2.1 GB)"
        clips = f"{self.clips['train']:,} training and {self.clips['test']:,} test clips"
        self.note = f"VocalSet {what}: counted with the {clips} of its official split."

    def rows(self, split: str) -> range:
        """As many indices as the split has clips."""
        return range(self.clips.get(split, 0))

    def fingerprint(self, split: str) -> str:
        """A fingerprint that no prepared corpus has."""
        return f"{split} clips of {self.settings}"


def _corpus(cfg: DictConfig) -> object:
    """The corpus, prepared if it is not yet; VocalSet, which takes minutes and gigabytes, only if it is already."""
    from singtech.cli.prepare import corpus_of
    from singtech.corpus.archive import find_source

    if HydraConfig.get().runtime.choices["data"] != "vocalset":
        return corpus_of(cfg)
    is_here = find_source(Path(cfg.data.root).expanduser()) is not None
    return (corpus_of(cfg, make=False) if is_here else None) or Unprepared(cfg, is_here)


def _read(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The experiments, by default the paper's, and the settings among the arguments."""
    experiments, settings = list(PAPER), []
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        if name == "experiments":
            experiments = value.split(",")
        elif name in ("--config-dir", "-cd"):
            folders = [Path(value or next(words, ".")).resolve(), EXPERIMENTS.parent]
            settings.append(f"hydra.searchpath=[{','.join(repr(f'file://{folder}') for folder in folders)}]")
        elif word not in ("-m", "--multirun"):
            settings.append(word)
    return experiments, settings


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
