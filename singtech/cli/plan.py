"""What a sweep would do, before it does it: singtech plan [experiments=table2,figure3] [seed=0,1,2 …].

For the same settings as `singtech.run -m` takes it counts the runs and phases that are asked for and those that are
there, estimates the time from a short measurement on this machine, and the disk. It trains nothing. VocalSet is
neither fetched nor cut for it; a smaller corpus is prepared if it is not yet.
"""

import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from singtech.cli import usage
from singtech.cli.config import MENDABLE, check_values, command, find_own_code, sentence
from singtech.io.interrupts import quietly_interrupted
from singtech.places import CONF, EXPERIMENTS

PAPER = ("table2", "table3", "figure3")  # all numbers of the paper come from the runs of these


@quietly_interrupted
def main() -> None:
    """The command; a person's mistake is one sentence."""
    arguments = sys.argv[1:]
    if usage.ASKS & set(arguments):
        command(main)()  # by Hydra, as the other commands
        return
    try:
        check_values(arguments)
        find_own_code(str(Path.cwd()))
        print("counting runs and phases, and trying a few steps of each network …", flush=True)
        print(report(*_asked(arguments)))
    except MENDABLE as problem:
        raise SystemExit(f"error: {sentence(problem)}") from None


def report(experiments: Sequence[str], overrides: Sequence[str]) -> str:
    """The plan of the experiments with these settings, in words.

    Raises:
        ValueError, HydraException: as `singtech.run` does for the same settings.
    """
    from tabulate import tabulate

    from singtech.corpus.archive import ZENODO_SIZE
    from singtech.run import machine_of, run_of
    from singtech.training.planning import Plan, in_words

    counts: dict[str, list] = {}
    rows: dict[str, set] = {}
    corpora: dict[str, object] = {}
    plan = None
    for experiment, cfg in composed(experiments, overrides):
        plan = plan or Plan(Path(cfg.output_dir))
        asked = OmegaConf.to_yaml(cfg.data, resolve=True)
        if asked not in corpora:
            corpora[asked] = _corpus(cfg)
        run = run_of(cfg, corpora[asked])
        is_there = plan.add(run, corpora[asked], machine_of(cfg))
        rows.setdefault(experiment, set()).add(str(replace(run, setup=replace(run.setup, seed=0))))
        count = counts.setdefault(experiment, [0, 0, 0])
        for column, amount in enumerate((1, is_there, not is_there)):
            count[column] += amount
    to_train = " and ".join(f"{plan.count(part)} of the {part}" for part in ("network", "head"))
    lines = [
        tabulate(
            [[name, len(rows[name]), *count] for name, count in counts.items()],
            ["experiment", "rows", "runs", "there", "to make"],
        ),
        "",
        f"runs    {len(plan.runs)} different ones, {sum(plan.runs.values())} there",
        f"phases  {len(plan.phases)} different ones for the runs to make, {len(plan.there)} there; {to_train} to train"
        + (f" ({len(plan.begun)} begun, counted whole)" if plan.begun else ""),
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
    free = shutil.disk_usage(_existing(plan.output_dir)).free
    lines.append(f"disk    about {_size(needed)} more in {plan.output_dir}, where {_size(free)} are free")
    return "\n".join([*lines, *dict.fromkeys(corpus.note for corpus in unprepared)])


def composed(experiments: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[str, DictConfig]]:
    """(experiment, configuration) of every run of the sweeps `singtech.run -m experiments=… <overrides>`."""
    given = OverridesParser.create().parse_overrides(list(overrides))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for experiment in experiments:
            first = [f"experiments={experiment}"]
            swept = compose("config", first, return_hydra_config=True).hydra.sweeper.params or {}
            named = {override.get_key_element() for override in given}
            asked = [f"{name}={values}" for name, values in swept.items() if name not in named]
            choices = [_values(override) for override in (*OverridesParser.create().parse_overrides(asked), *given)]
            for job in itertools.product(*choices):
                cfg = compose("config", [*first, *job], return_hydra_config=True)
                HydraConfig.instance().set_config(cfg)  # what a run under `hydra.main` finds there
                with open_dict(cfg):
                    del cfg["hydra"]
                yield experiment, cfg


def _values(override) -> list[str]:
    """A setting's values, each as an override of its own."""
    if not override.is_sweep_override():
        return [override.input_line]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


class Unprepared:
    """VocalSet as it will be once it is prepared, as far as a plan asks."""

    name, state = "vocalset", "not prepared"

    def __init__(self, cfg: DictConfig, is_here: bool) -> None:
        import numpy as np

        from singtech.corpus.vocalset import CLIPS

        self.clips = {split: sum(clips.values()) for split, clips in CLIPS.items()}
        self.techniques, self.fold, self.sample_rate = tuple(cfg.data.techniques), cfg.data.fold, cfg.data.sample_rate
        self.waveforms = np.empty((0, round(cfg.data.clip_seconds * cfg.data.sample_rate)), np.int16)
        self.bytes_needed = self.waveforms.itemsize * self.waveforms.shape[1] * sum(self.clips.values())
        self.is_here, self.settings = is_here, OmegaConf.to_yaml(cfg.data, resolve=True)
        what = "is not prepared yet, `make data` does it" if is_here else "is not here, `make data` fetches it (2.1 GB)"
        clips = f"{self.clips['train']:,} training and {self.clips['test']:,} test clips"
        self.note = f"VocalSet {what}: counted with the {clips} of its official split."

    def rows(self, split: str) -> range:
        """As many indices as the split has clips."""
        return range(self.clips.get(split, 0))

    def fingerprint(self, split: str) -> str:
        """One that no corpus has."""
        return f"{split} clips of VocalSet by {self.settings}"


def _corpus(cfg: DictConfig) -> object:
    """The corpus, prepared if it is not yet; VocalSet, which takes minutes and gigabytes, only if it is already."""
    from singtech.cli.prepare import corpus_of
    from singtech.corpus.archive import find_source

    if HydraConfig.get().runtime.choices["data"] != "vocalset":
        return corpus_of(cfg)
    is_here = find_source(Path(cfg.data.root).expanduser()) is not None
    return (corpus_of(cfg, make=False) if is_here else None) or Unprepared(cfg, is_here)


def _asked(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The experiments that are asked for, the paper's by default, and the settings."""
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


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
