"""Train and score one run, or a sweep of them."""

import contextlib
import functools
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports that take seconds
    from singtech import __main__ as singtech

    sys.argv.insert(1, "run")
    sys.exit(singtech.main())

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli import config, sweep
from singtech.cli.prepare import check_corpus, prepare_corpus, write_lengths
from singtech.cli.problems import describe_error, is_fixable
from singtech.errors import InvalidValue, require
from singtech.extras import check_installed
from singtech.imbalance.smoothing import require_alpha
from singtech.io.terminal import say, wrap
from singtech.metrics import format_scores
from singtech.settings import COMPONENTS, flatten


def job(cfg: DictConfig) -> float | None:
    """Compute one run: prepare its corpus, train its phases, write its row.

    Returns:
        The macro-F1 on the validation singers, which Hydra's sweepers can maximise; None without such singers.
    """
    choices = HydraConfig.get().runtime.choices
    progress = sweep.get_progress()
    place = f"{progress.place()}: " if progress else ""
    label = cfg.label or f"{choices['model']} dc={choices['dc']} strategy={choices['strategy']}"
    fold = "" if cfg.data.fold is None else f", fold {cfg.data.fold}"
    say("\n" + wrap(f"{place}{label}, alpha {cfg.alpha:g}, seed {cfg.seed}, on {cfg.data.name}{fold}"))
    from singtech.io.lock import Busy
    from singtech.results.collate import rebuild, rebuild_if_due
    from singtech.training.run import execute

    machine = build_machine(cfg)
    try:
        corpus = prepare_corpus(cfg)
    except Exception as problem:
        if not is_fixable(problem):
            raise
        raise config.CorpusProblem(describe_error(problem)) from problem
    run = build_run(cfg, corpus)
    write_lengths(cfg, corpus)
    say(f"== {run.name(corpus.fingerprint('test'))}")
    try:
        with progress.follow(cfg, run, corpus) if progress else contextlib.nullcontext(lambda result: None) as note:
            result = execute(
                run,
                corpus,
                Path(cfg.output_dir),
                machine,
                provenance={"commit": config.read_commit(), "command": sweep.format_command()},
                configuration=OmegaConf.to_yaml(OmegaConf.create(config.drop_neutral(config.resolve(cfg)))),
                say=say,
                wait=not sweep.can_postpone(),
                explain=describe_error,
                after_epoch=progress.note_epochs if progress else None,
            )
            note(result)
    except Busy:
        raise
    except BaseException:
        with contextlib.suppress(Exception):  # the first error matters more
            rebuild(cfg.output_dir)  # a row records how the run ended
        raise
    if sweep.is_sweep():
        sweep.record_run(result.folder.name)
    (rebuild_if_due if sweep.is_sweep() else rebuild)(cfg.output_dir)  # a sweep collates at its end
    say(format_scores(result.row) + ("" if any(result.trained) else "\nnothing had to be trained"))
    return result.row.get("validation_f1")


def check_run(cfg: DictConfig) -> None:
    """Do all of a run that needs no corpus and writes nothing, up to a test of its components on noise.

    Raises:
        SingtechError, OmegaConfBaseException: a setting is wrong.
    """
    from singtech.training.run import runnable
    from singtech.training.trial import try_components

    config.allow_own_modules()
    config.check_settings(cfg)
    hydra = HydraConfig.get()
    given = {override.partition("=")[0] for override in hydra.overrides.task}
    if swept := [name for name in hydra.sweeper.get("params") or {} if name not in given and not sweep.is_sweep()]:
        choice = hydra.runtime.choices["experiments"]
        raise InvalidValue(f"experiments={choice}: it sweeps {' and '.join(swept)}; add -m to run all.")
    corpus: Any = check_corpus(cfg)
    run, machine = build_run(cfg, corpus), build_machine(cfg)
    if sweep.is_sweep() and not sweep.is_local():  # the jobs may have a GPU where this machine has none
        try_components(run)
    else:
        runnable(run, corpus, machine)


def build_run(cfg: DictConfig, corpus):
    """Build the run that a configuration describes, on a corpus.

    Raises:
        InvalidValue: settings contradict each other (see `Setup`, the phases and the components).
        ComponentError: one of the user's own components cannot be imported.
    """
    settings, choices = config.resolve(cfg), HydraConfig.get().runtime.choices
    experiment = settings["experiment"]
    if experiment and not {"rows", "series"} & set(experiment):
        raise InvalidValue(f"{experiment['title']}: it asks for no run; `make figure2` renders it.")
    if settings["dc"]["layers"] and "dc" not in settings["model"]:
        raise InvalidValue(f"dc={choices['dc']}: model={choices['model']} does not use it; omit dc.")
    names = {
        "data": corpus.name,
        "fold": "" if corpus.fold is None else str(corpus.fold),
        **{group: choices[group] for group in ("model", "dc", "strategy")},
        "alpha": require_alpha(settings["alpha"]),
        "settings": json.dumps(config.list_differences(cfg)),
    }
    for name, value in flatten(settings).items():
        require(not isinstance(value, float) or math.isfinite(value), name, value, "a finite number")
    return make_run(settings, names, corpus)


def make_run(settings: Mapping, names: Mapping, corpus):
    """Make the run of plain settings, such as those of a stored run.

    Args:
        settings: all settings, references resolved.
        names: data, fold, model, dc, strategy, alpha and settings, as in the row.
    Raises:
        InvalidValue, ComponentError: see `build_run`.
    """
    from singtech.components import import_component
    from singtech.models.network import Architecture
    from singtech.training.fit import Run, Scoring, Setup
    from singtech.training.forest import Forest
    from singtech.training.phases import read_phases

    forest = settings["forest"]
    components = {group: import_component(settings[group], group) for group in COMPONENTS}
    setup = Setup(
        network=Architecture(components["front_end"], components["model"], components["head"]),
        seed=settings["seed"],
        training_clips=corpus.fingerprint("train"),
        validation_clips=corpus.fingerprint("validation") if settings["selection"] == "best" else "",
        max_batches=settings["schedule"]["max_batches"],
        devices=settings["trainer"]["devices"],
        **{name: settings[name] for name in ("batch_size", "drop_last", "selection", "precision", "rounding")},
    )
    phases = read_phases(settings["strategy"]["phases"], settings["batch_norm"], setup.network.is_frozen)
    if forest and any(phase.trains == "head" for phase in phases):
        raise InvalidValue(f"strategy={names['strategy']}: a forest replaces the head, so there is none to re-train.")
    try:
        forest = Forest(**forest) if forest else None
    except TypeError as problem:
        raise InvalidValue(f"forest={forest}: expected trees and balanced ({problem}).") from None
    samples, techniques = corpus.waveforms.shape[1], len(corpus.techniques)
    scoring = Scoring(**settings["scoring"], corruption=components["corruption"])
    return Run(names, setup, phases, samples, techniques, corpus.sample_rate, forest, scoring)


def build_machine(cfg: DictConfig):
    """Build the `Machine` that a configuration describes.

    Raises:
        InvalidValue: its logger is not installed.
    """
    from hydra.utils import instantiate

    from singtech.training.trainer import Machine

    settings = config.resolve(cfg)
    if extra := settings["logger"]["needs"]:
        check_installed(f"logger={extra}", extra, extra)

    def loggers(folder: Path, about: Mapping) -> list:
        items = [instantiate({"save_dir": str(folder)} | logger) for logger in settings["logger"]["loggers"]]
        return [logger(about) if isinstance(logger, functools.partial) else logger for logger in items]

    return Machine(precision=cfg.precision, loggers=loggers, **settings["trainer"])


main = config.hydra_command(job)
