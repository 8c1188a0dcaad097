"""Train and score one run, or a sweep of them."""

import contextlib
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import CorpusProblem, commit, differences, hydra_command, plain, scientific
from singtech.cli.prepare import corpus_of, write_lengths
from singtech.cli.problems import is_fixable, sentence
from singtech.cli.sweep import can_postpone, command_line, is_sweep
from singtech.errors import InvalidValue
from singtech.extras import check_installed
from singtech.imbalance.smoothing import checked_alpha
from singtech.io.interrupts import raise_if_reader_gone
from singtech.metrics import headline
from singtech.settings import COMPONENTS

say = raise_if_reader_gone()(print)


def job(cfg: DictConfig) -> float | None:
    """Make one run: its corpus, its phases, its row.

    Returns:
        Its macro-F1 on the validation singers, for Hydra's sweepers to maximise; None where there are none.
    """
    choices = HydraConfig.get().runtime.choices
    title = f"{choices['model']} dc={choices['dc']} strategy={choices['strategy']} alpha={cfg.alpha:g} seed={cfg.seed}"
    corpus_name = choices["data"] if OmegaConf.is_missing(cfg.data, "name") else cfg.data.name
    say(f"\n{cfg.label or title} on {corpus_name}")  # the next line takes seconds
    from singtech.io.lock import Busy
    from singtech.results.collate import rebuild, rebuild_if_due
    from singtech.training.run import execute

    components_of(cfg)  # a wrong name shows before a corpus is fetched
    machine = machine_of(cfg)
    try:
        corpus = corpus_of(cfg)
    except Exception as problem:
        if not is_fixable(problem):
            raise
        raise CorpusProblem(sentence(problem)) from problem
    run = run_of(cfg, corpus)
    write_lengths(cfg, corpus)
    say(f"== {run.name(corpus.fingerprint('test'))}")
    try:
        result = execute(
            run,
            corpus,
            Path(cfg.output_dir),
            machine,
            provenance={"commit": commit(), "command": command_line()},
            configuration=OmegaConf.to_yaml(OmegaConf.create(scientific(plain(cfg)))),
            say=say,
            wait=not can_postpone(),
            explain=sentence,
        )
    except Busy:
        raise
    except BaseException:
        with contextlib.suppress(Exception):  # the error matters more
            rebuild(cfg.output_dir)  # the row says how the run ended
        raise
    (rebuild_if_due if is_sweep() else rebuild)(cfg.output_dir)  # a sweep's end collates in any case
    reused = "" if any(result.trained) else "  (nothing had to be trained)"
    say(f"{headline(result.row)}{reused}")
    return result.row.get("validation_f1")


def components_of(cfg: DictConfig) -> dict:
    """The component that each group names, not built yet; None where it names none."""
    from singtech.components import instantiate

    return {group: instantiate(plain(cfg[group]), group) for group in COMPONENTS}


def run_of(cfg: DictConfig, corpus):
    """The run that a configuration asks for, on a corpus.

    Raises:
        InvalidValue: settings do not fit together, as `Setup`, the phases and the components say.
        ComponentError: a component of the user's own cannot be imported.
    """
    from singtech.models.network import Architecture
    from singtech.training.fit import Run, Setup
    from singtech.training.forest import Forest
    from singtech.training.phases import read_phases

    settings, choices = plain(cfg), HydraConfig.get().runtime.choices
    experiment, forest = settings["experiment"], settings["forest"]
    if experiment and not {"rows", "series"} & set(experiment):
        raise InvalidValue(f"{experiment['title']}: it asks for no run; `make figure2` renders it.")
    if settings["dc"]["layers"] and "dc" not in settings["model"]:
        raise InvalidValue(f"dc={choices['dc']}: model={choices['model']} has no use for it; leave dc out.")
    components = components_of(cfg)
    setup = Setup(
        network=Architecture(components["front_end"], components["model"], components["head"]),
        seed=settings["seed"],
        training_clips=corpus.fingerprint("train"),
        validation_clips=corpus.fingerprint("validation") if settings["selection"] == "best" else "",
        max_batches=settings["schedule"]["max_batches"],
        devices=settings["trainer"]["devices"],
        **{
            name: settings[name]
            for name in ("batch_size", "drop_last", "batch_norm", "selection", "precision", "rounding")
        },
    )
    phases = read_phases(settings["strategy"]["phases"])
    names = {
        "data": corpus.name,
        "fold": "" if corpus.fold is None else str(corpus.fold),
        **{group: choices[group] for group in ("model", "dc", "strategy")},
        "alpha": checked_alpha(settings["alpha"]),
        "settings": json.dumps(differences(cfg)),
    }
    if forest and any(phase.trains == "head" for phase in phases):
        raise InvalidValue(f"strategy={choices['strategy']}: a forest replaces the head, so there is none to re-train.")
    try:
        forest = Forest(**forest) if forest else None
    except TypeError as problem:
        raise InvalidValue(f"forest={forest}: expected trees and balanced ({problem}).") from None
    samples, techniques = corpus.waveforms.shape[1], len(corpus.techniques)
    return Run(names, setup, phases, samples, techniques, corpus.sample_rate, forest)


def machine_of(cfg: DictConfig):
    """The machine that a configuration describes.

    Raises:
        InvalidValue: its logger is not installed.
    """
    from hydra.utils import instantiate

    from singtech.training.trainer import Machine

    settings = plain(cfg)
    if extra := settings["logger"]["needs"]:
        check_installed(f"logger={extra}", extra, extra)

    def loggers(folder: Path, about: Mapping) -> list:
        built = [instantiate({"save_dir": str(folder)} | logger) for logger in settings["logger"]["loggers"]]
        return [logger(about) if isinstance(logger, functools.partial) else logger for logger in built]

    return Machine(precision=cfg.precision, loggers=loggers, **settings["trainer"])


main = hydra_command(job)

if __name__ == "__main__":
    sys.exit(main())
