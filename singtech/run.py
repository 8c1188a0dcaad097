"""Train and score one run, or a sweep of them: python -m singtech.run [-m] [dc=late strategy=crt_wc alpha=0.2 …]."""

import contextlib
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import (
    MENDABLE,
    CorpusProblem,
    check_logger,
    command,
    command_line,
    commit,
    plain,
    scientific,
    sentence,
    settings_of,
)
from singtech.cli.prepare import corpus_of, keep_lengths
from singtech.cli.sweep import WORKER, is_sweep, may_come_later
from singtech.imbalance.smoothing import checked_alpha
from singtech.metrics import headline
from singtech.settings import COMPONENTS


def job(cfg: DictConfig) -> float | None:
    """One run: its corpus, its phases, its row.

    Returns:
        Its macro-F1 on the validation singers, for Hydra's sweepers to maximise; None where there are none.
    """
    choices = HydraConfig.get().runtime.choices
    named = f"{choices['model']} dc={choices['dc']} strategy={choices['strategy']} alpha={cfg.alpha:g} seed={cfg.seed}"
    corpus_name = choices["data"] if OmegaConf.is_missing(cfg.data, "name") else cfg.data.name
    print(f"\n{cfg.label or named} on {corpus_name}", flush=True)  # the next line takes seconds
    from singtech.io.lock import Busy
    from singtech.results.collate import rebuild, rebuild_if_due
    from singtech.training.run import execute

    components_of(cfg)  # a wrong name shows before a corpus is fetched
    try:
        corpus = corpus_of(cfg)
    except MENDABLE as problem:
        raise CorpusProblem(sentence(problem)) from problem
    run = run_of(cfg, corpus)
    keep_lengths(cfg, corpus)
    print(f"== {run.name(corpus.fingerprint('test'))}", flush=True)
    try:
        result = execute(
            run,
            corpus,
            Path(cfg.output_dir),
            machine_of(cfg),
            provenance={"commit": commit(), "command": command_line()},
            configuration=OmegaConf.to_yaml(OmegaConf.create(scientific(plain(cfg)))),
            say=functools.partial(print, flush=True),
            wait=not may_come_later(),
            explain=sentence,
        )
    except Busy:
        raise
    except BaseException:
        with contextlib.suppress(Exception):  # what happened matters more
            rebuild(cfg.output_dir)  # the row says what became of it
        raise
    (rebuild_if_due if is_sweep() else rebuild)(cfg.output_dir)  # a sweep's end does it in any case
    reused = "" if any(result.trained) else "  (nothing had to be trained)"
    print(f"{headline(result.row)}{reused}", flush=True)
    return result.row.get("validation_f1")


def components_of(cfg: DictConfig) -> dict:
    """The component that each group names, not built yet; None where it names none.

    Raises:
        ValueError: there is no such class.
        ComponentError: a file of the person's own raises an exception when it is imported.
    """
    from singtech.components import instantiate

    return {group: instantiate(plain(cfg[group]), group) for group in COMPONENTS}


def run_of(cfg: DictConfig, corpus):
    """The run that a configuration asks for, on a corpus.

    Raises:
        ValueError: as `Setup`, the phases and the components do; or an arrangement that the model has no use for.
        ComponentError: a component of the person's own cannot be imported.
    """
    from singtech.models.network import Architecture
    from singtech.training.fit import Run, Setup
    from singtech.training.forest import Forest
    from singtech.training.phases import read_phases

    settings, choices = plain(cfg), HydraConfig.get().runtime.choices
    asked = settings["experiment"]
    if asked and not {"rows", "series"} & set(asked):
        raise ValueError(f"{asked['title']}: it asks for no run; `make figure2` renders it.")
    if settings["dc"]["layers"] and "dc" not in settings["model"]:
        raise ValueError(f"dc={choices['dc']}: model={choices['model']} has no use for it; leave dc out.")
    components = components_of(cfg)
    setup = Setup(
        network=Architecture(components["front_end"], components["model"], components["head"]),
        seed=settings["seed"],
        training_clips=corpus.fingerprint("train"),
        validation_clips=corpus.fingerprint("validation") if settings["selection"] == "best" else "",
        max_batches=settings["schedule"]["max_batches"],
        devices=settings["trainer"]["devices"],
        **{name: settings[name] for name in ("batch_size", "drop_last", "batch_norm", "selection", "precision")},
    )
    phases = read_phases(settings["strategy"]["phases"])
    names = {
        "data": corpus.name,
        "fold": "" if corpus.fold is None else str(corpus.fold),
        **{group: choices[group] for group in ("model", "dc", "strategy")},
        "alpha": checked_alpha(settings["alpha"]),
        "settings": json.dumps(settings_of(cfg)),
    }
    forest = settings["forest"]
    if forest and any(phase.trains == "head" for phase in phases):
        raise ValueError(f"strategy={choices['strategy']}: a forest replaces the head, so there is none to re-train.")
    try:
        forest = Forest(**forest) if forest else None
    except TypeError as problem:
        raise ValueError(f"forest={forest}: expected trees and balanced ({problem}).") from None
    samples, techniques = corpus.waveforms.shape[1], len(corpus.techniques)
    return Run(names, setup, phases, samples, techniques, corpus.sample_rate, forest)


def machine_of(cfg: DictConfig):
    """The machine that a configuration describes."""
    from hydra.utils import instantiate

    from singtech.training.trainer import Machine

    check_logger(cfg.logger.get("needs"))

    def loggers(folder: Path, about: Mapping) -> list:
        made = [instantiate({"save_dir": str(folder)} | logger) for logger in plain(cfg.logger)["loggers"]]
        return [logger(about) if isinstance(logger, functools.partial) else logger for logger in made]

    settings = plain(cfg.trainer)
    del settings["side_by_side"]  # which is read before there is a configuration
    settings["progress"] &= WORKER not in os.environ  # several bars at once are none
    return Machine(precision=cfg.precision, loggers=loggers, **settings)


main = command(job)

if __name__ == "__main__":
    main()
