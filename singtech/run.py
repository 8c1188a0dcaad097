"""Train and score one run, or a sweep of them: python -m singtech.run [-m] [dc=late strategy=crt_wc alpha=0.2 …]."""

import contextlib
import functools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from singtech.config import (
    MENDABLE,
    CorpusProblem,
    check_logger,
    command,
    command_line,
    commit,
    plain,
    scientific,
    sentence,
    variant,
)
from singtech.prepare import corpus_of, keep_lengths
from singtech.sweep import WORKER, is_sweep, may_come_later


def job(cfg: DictConfig) -> None:
    """One run: its corpus, its phases, its row."""
    asked = f"dc={cfg.dc.name} strategy={cfg.strategy.name} alpha={float(cfg.alpha):g} seed={cfg.seed}"
    print(f"\n{cfg.model.name} {asked} on {cfg.data.name or 'a folder'}", flush=True)  # what follows takes seconds
    from singtech.locks import Busy
    from singtech.results.collate import rebuild, rebuild_if_due
    from singtech.training.runs import execute

    try:
        corpus = corpus_of(cfg)
    except MENDABLE as problem:
        raise CorpusProblem(sentence(problem)) from problem
    run = run_of(cfg, corpus)
    run = replace(run, names=run.names | {"variant": variant(cfg)})
    keep_lengths(cfg, corpus, run.names["variant"])
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
    row = result.row
    shown = "  ".join(
        f"{label} {row[name]:.3f}"
        for label, name in (
            ("F1", "f1"),
            ("Acc.", "accuracy"),
            ("B-Acc.", "balanced_accuracy"),
            ("Top-2", "top2_accuracy"),
            ("Top-3", "top3_accuracy"),
        )
    )
    there = "" if any(result.trained) else "  (nothing had to be trained)"
    print(f"{shown}{there}", flush=True)


def run_of(cfg: DictConfig, corpus):
    """The run that a configuration asks for, on a corpus, its `variant` not told yet.

    Raises:
        ValueError: as `Setup`, `Phase` and the network's own arguments do; or a choice that the model has no use for.
    """
    from hydra.utils import get_method

    from singtech.training.fit import Run, Setup
    from singtech.training.forest import Forest
    from singtech.training.phases import read_phases

    settings = plain(cfg)
    if "experiment" in settings and not {"rows", "series"} & set(settings["experiment"]):
        raise ValueError(f"{settings['experiment']['title']}: it asks for no run; `make figure2` renders it.")
    model = settings["model"]
    for group, choice in model["fixed"].items():
        chosen = settings[group]["name"]
        if chosen != choice:
            raise ValueError(f"{group}={chosen}: model={model['name']} has no use for it; leave {group} out.")
    arguments = dict(model["build"])
    target = arguments.pop("_target_")
    build = functools.partial(
        get_method(target),
        samples=corpus.waveforms.shape[1],
        techniques=len(corpus.techniques),
        seed=settings["seed"],
        **arguments,
    )
    setup = Setup(
        model={"target": target, **arguments},
        optimizer=settings["optimizer"],
        seed=settings["seed"],
        training_clips=corpus.fingerprint("train"),
        validation_clips=corpus.fingerprint("validation") if settings["selection"] == "best" else "",
        batch_size=settings["batch_size"],
        keep_last=settings["keep_last"],
        max_batches=settings["schedule"]["max_batches"],
        loss_reduction=settings["loss_reduction"],
        batch_norm=settings["batch_norm"],
        selection=settings["selection"],
        precision=settings["precision"],
        devices=settings["trainer"]["devices"],
    )
    phases = read_phases(settings["strategy"]["phases"])
    names = {
        "data": corpus.name,
        "fold": "" if corpus.fold is None else str(corpus.fold),
        "model": model["name"],
        "dc": settings["dc"]["name"],
        "strategy": settings["strategy"]["name"],
        "alpha": float(settings["alpha"]),
        "variant": "",
    }
    try:
        forest = Forest(**model["forest"]) if model["forest"] else None
    except TypeError as problem:
        raise ValueError(f"model.forest={model['forest']}: expected trees and balanced ({problem}).") from None
    return Run(names, setup, phases, build, forest)


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
