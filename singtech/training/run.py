"""Execute a run: obtain its phases one after the other, score the test singers, write its folder.

A run is a condition with a seed on a corpus. The name of its folder under `runs/` contains a hash of all that decides
its outcome, so a repeated command trains only once. `row.json` is written at the start and at the end; its status tells
whether the run is complete. The same command continues an interrupted run from the stored phases.
"""

import contextlib
import functools
import glob
import logging
import platform
import shutil
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

from singtech.corpus.clip_store import Corpus
from singtech.errors import Damaged, InvalidValue, Newer
from singtech.io.atomic import escape_text, set_aside, write_text
from singtech.io.lock import Busy, LeaseLost, get_lock_path, hold
from singtech.metrics import score_clips
from singtech.models.deformable import backend_for
from singtech.models.layers import describe
from singtech.models.network import Network, parameter_count
from singtech.results.conditions import describe as describe_condition
from singtech.results.conditions import read_yaml
from singtech.results.predictions import CONFUSION, PREDICTIONS, VALIDATION, Predictions, read_predictions, score
from singtech.results.rows import COMPLETE, FAILED, INTERRUPTED, RUNNING, check_result, digests, read_row, write_row
from singtech.results.schema import protocol
from singtech.results.settings import read_settings
from singtech.training.fit import Run, Task, train_phase
from singtech.training.phase_store import Outcome, PhaseStore, StoredPhase
from singtech.training.scoring import predict, scored_clips
from singtech.training.trainer import Machine
from singtech.training.trial import try_components

CONFIGURATION, LAYERS = "config.yaml", "layers.csv"
FAILURE = "failure.txt"  # the traceback of a run that failed
RESULT_FILES = (CONFIGURATION, PREDICTIONS, VALIDATION, CONFUSION, LAYERS)
VERSIONED = ("torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "librosa", "soxr")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A run's row, and for each of its phases whether it was trained now (True) or taken from the store.

    The row's `seconds` are the training time of the phases that this run trained, `seconds_shared` that of its others.
    """

    row: dict
    folder: Path
    trained: tuple[bool, ...]


def execute(
    run: Run,
    corpus: Corpus,
    output_dir: Path,
    machine: Machine,
    provenance: Mapping | None = None,
    configuration: str = "",
    say: Callable[[str], None] = print,
    wait: bool = True,
    explain: Callable[[BaseException], str] = str,
    after_epoch: Callable[[int, int, int, float], None] | None = None,
) -> Result:
    """Train the missing phases of a run, score it on the corpus's test clips and write its folder.

    The row exists from the start, with status `running`. In the end the status is `complete`, `failed` with the reason,
    or `interrupted`. A complete run is only read. If it is damaged or no longer fits the corpus, it is made again from
    its stored phases.

    Args:
        run: the condition and seed.
        corpus: the clips to train and test on.
        output_dir: holds `phases/` and `runs/`.
        machine: where and how to compute.
        provenance: further entries of the row (commit, command …).
        configuration: YAML text for the run's folder.
        say: called with each line for the user.
        wait: whether to wait for another process that works on the same run or phase.
        explain: turns an error into the reason in the row.
        after_epoch: called on one device after an epoch that is not the last of its phase, with the phase's number from
            0, its epochs so far, all its epochs, and the seconds so far.
    Returns:
        The row, and which phases were trained now.
    Raises:
        InvalidValue: the split has no test clips, or settings contradict each other; then no row is written.
        Busy: another process works on it and `wait` is False, or has taken over the run.
        Newer: a newer version wrote the row, or one of the phases.
        Diverged: a loss is not finite.
    """
    network = runnable(run, corpus, machine)
    folder = Path(output_dir) / "runs" / run.name(corpus.fingerprint("test"))
    store = PhaseStore(Path(output_dir) / "phases")
    nothing_trained = (False,) * len(run.phases)
    with contextlib.suppress(Damaged):  # set aside below, under the lock
        row = read_current(folder, run, corpus)
        if row is not None and not get_lock_path(folder).exists():  # a killed process leaves its lock
            return Result(row, folder, nothing_trained)
    with hold(folder, f"run {folder.name} is being made", wait) as require_lease:
        try:
            row = read_current(folder, run, corpus)
            if row is not None:
                return Result(row, folder, nothing_trained)
            _say_how_it_ended(folder, say)
        except Damaged as problem:
            log.warning("%s Its run is set aside as %s.", problem, set_aside(folder).name)
        first_row = _condition(run, folder.name, corpus, parameter_count(network)) | dict(provenance or {})
        first_row["protocol"] = protocol(first_row)
        folder.mkdir(parents=True, exist_ok=True)
        for half_written in folder.glob(".*.tmp"):
            half_written.unlink()
        write_text(folder / CONFIGURATION, configuration)
        write_row(folder, first_row | {"status": RUNNING})

        def note_time(stored: list[StoredPhase]) -> None:  # a killed run has spent it too
            require_lease()
            first_row.update(_training_time(stored, folder.name))
            write_row(folder, first_row | {"status": RUNNING})

        try:
            maker = {"version": metadata.version("singtech"), "commit": first_row.get("commit", ""), "run": folder.name}
            stored, trained = _obtain_phases(run, corpus, store, machine, maker, say, wait, after_epoch, note_time)
            predictions = {
                split: predict(run, tuple(stored), corpus, split, machine)
                for split in ("test", "validation")
                if len(corpus.rows(split))
            }
            require_lease()
            row = first_row | _training_time(stored, folder.name) | _circumstances(stored)
            row |= _write_results(folder, network, corpus, predictions)
            write_row(folder, row | {"files": digests(folder, RESULT_FILES), "status": COMPLETE})
        except BaseException as problem:
            # On a full disk the status stays running. After a take-over the row belongs to the other process.
            with contextlib.suppress(OSError, LeaseLost):
                require_lease()
                _record_end(folder, first_row, problem, explain, store)
            raise
        return Result(read_row(folder) or row, folder, tuple(trained))


def read_current(folder: Path, run: Run, corpus: Corpus) -> dict | None:
    """Read the row of a complete run that fits the present settings and corpus; None if the run must be made.

    Metrics that were added after the run was scored come from its predictions.
    """
    row = read_row(folder)
    if row is None or row["status"] != COMPLETE or not row.get("digest"):  # the oldest have none
        return None
    phases = folder.parent.parent / "phases"
    if any(not (phases / key).exists() and any(phases.glob(f".{key}.damaged-*")) for key in run.keys):
        return None  # a phase was set aside
    if not (folder / PREDICTIONS).is_file():
        return None
    read_predictions(folder / PREDICTIONS)
    settings, stored = (read_settings(text).items for text in (run.names["settings"], row["settings"]))
    if len(settings) < len(stored):  # a stored difference has no effect, or is the default now
        return None
    if not corpus.identity().items() <= row.items():  # clips outside training and test have changed
        return None
    validation = scored_clips(run, corpus, "validation")["recording"]
    path = folder / VALIDATION
    if list(validation) != (list(read_predictions(path).clips["recording"]) if path.is_file() else []):
        return None
    is_alone = list(folder.parent.glob(glob.escape(folder.name[:-8]) + "[0-9a-f]" * 8)) == [folder]
    return score(row, folder) if is_alone else None  # else make it again: tables show the newest run of several


def read_configuration(folder: Path) -> dict:
    """Read the configuration of a run, its values not yet checked. Call this in `reading`."""
    path = folder / CONFIGURATION
    check_result(path.read_bytes(), path.name, read_row(folder) or {})
    return read_yaml(path)


def _write_results(folder: Path, network: Network, corpus: Corpus, predictions: Mapping[str, Predictions]) -> dict:
    """Write predictions, confusion matrix and layers; return the scores for the row."""
    test = predictions["test"]
    write_text(folder / PREDICTIONS, test.to_csv())
    write_text(folder / CONFUSION, test.confusion_csv())
    layers = pd.DataFrame(describe(network, corpus.waveforms.shape[1]))
    write_text(folder / LAYERS, layers.to_csv(index=False))
    for name in (VALIDATION, FAILURE):  # of an earlier attempt
        (folder / name).unlink(missing_ok=True)
    row = score_clips(test.targets, test.logits, corpus.techniques)
    if validation := predictions.get("validation"):
        write_text(folder / VALIDATION, validation.to_csv())
        row["validation_f1"] = score_clips(validation.targets, validation.logits, corpus.techniques)["f1"]
    return row


def _record_end(
    folder: Path, row: dict, problem: BaseException, explain: Callable[[BaseException], str], store: PhaseStore
) -> None:
    """Record a failed or interrupted run."""
    if isinstance(problem, Busy) and not any((store.folder / key).exists() for key in row["phases"].split()):
        shutil.rmtree(folder)  # no phase is stored that the row would protect
        return
    end = {"status": INTERRUPTED}
    if isinstance(problem, Exception) and not isinstance(problem, Busy):
        write_text(folder / FAILURE, "".join(traceback.format_exception(problem)))
        end = {"status": FAILED, "reason": escape_text(explain(problem))}
    write_row(folder, row | end | {"finished": _now()})


def is_complete(folder: Path) -> bool:
    """Whether a run's folder has a complete row."""
    with contextlib.suppress(Damaged, Newer):
        return (read_row(folder) or {}).get("status") == COMPLETE
    return False


def _say_how_it_ended(folder: Path, say: Callable[[str], None]) -> None:
    """Say that an earlier attempt failed or was interrupted. Its process has ended, because this one holds the lock."""
    row = read_row(folder) or {"status": ""}
    if row["status"] == FAILED:
        say(f"it failed before ({row.get('reason', '')}); it is tried again.")
    if row["status"] in (RUNNING, INTERRUPTED):
        say("it was interrupted before; it goes on from what is stored.")


def runnable(run: Run, corpus: Corpus, machine: Machine) -> Network:
    """Build a run's network with its initial weights, and refuse a run that cannot be trained.

    Raises:
        ValueError: the corpus lacks clips, or the machine cannot compute as the settings require.
        ComponentError: a component does not do what its kind must do.
    """
    if run.techniques < 2:
        raise InvalidValue(f"{corpus.name} has one technique: a run needs two or more to tell apart.")
    if not len(corpus.rows("test")):
        raise InvalidValue(f"data.split names no test singer of {corpus.name}: a run needs clips to be scored on.")
    if run.setup.selection == "best" and not len(corpus.rows("validation")):
        raise InvalidValue("selection=best: there is no validation clip; name some singers in data.split.validation.")
    averages = [getattr(phase, name, None) for phase in run.phases for name in ("average", "last_epochs")]
    if run.setup.selection == "best" and any(averages):
        raise InvalidValue("selection=best keeps the weights of one epoch: omit schedule.average and .last_epochs.")
    if run.setup.precision == "16-mixed" and (machine.accelerator == "cpu" or not torch.cuda.is_available()):
        raise InvalidValue("precision=16-mixed needs an NVIDIA GPU, and there is none: use bf16-mixed or 32-true.")
    backend_for(machine.make_trainer(devices=machine.devices).strategy.root_device, machine.deformable)
    try_components(run)
    return run.build()


def _obtain_phases(
    run: Run,
    corpus: Corpus,
    store: PhaseStore,
    machine: Machine,
    maker: Mapping[str, str],
    say: Callable[[str], None],
    wait: bool,
    after_epoch: Callable[[int, int, int, float], None] | None,
    after_phase: Callable[[list[StoredPhase]], None],
) -> tuple[list[StoredPhase], list[bool]]:
    """Obtain each phase of the run from the store; train the missing ones.

    Args:
        maker: version and commit of the code and the run's name, for the records of phases trained now.
        after_phase: called after each phase that was trained now, with all phases so far.
    """
    stored: list[StoredPhase] = []
    trained = []
    for number, (phase, key) in enumerate(zip(run.phases, run.keys, strict=True)):
        title = f"phase {number + 1}/{len(run.phases)} {phase.name or phase.trains}"

        def train(work: Path, require_lease: Callable[[], None], n: int = number, title: str = title) -> Outcome:
            tell = functools.partial(after_epoch, n) if after_epoch and machine.devices == 1 else None
            outcome = train_phase(Task(run, n, tuple(stored), corpus, work, machine, title, require_lease, tell))
            outcome.record |= maker
            return outcome

        entry, was_trained = store.obtain(key, train, title, wait)
        done = ("trained" if phase.trains else "stored") if was_trained else "taken from the store"
        other = "" if made_by(entry.record) == made_by(maker) else f", made by {made_by(entry.record)}"
        say(f"{title}: {phase.describe()} {done} ({key}, {entry.record['seconds']:.1f} s{other})")
        stored.append(entry)
        trained.append(was_trained)
        if was_trained:
            after_phase(stored)
    return stored, trained


def made_by(record: Mapping) -> str:
    """Name the version and commit that made a phase, as "0.1.0@ab12cd34ef56"; "unknown" in an earlier record."""
    return f"{record.get('version', '')}@{record.get('commit', '')}".strip("@") or "unknown"


def _condition(run: Run, name: str, corpus: Corpus, parameters: int) -> dict:
    """Make the entries of a run's row that are known at its start."""
    names = run.names
    settings = read_settings(names["settings"])
    return {
        "run": name,
        "condition": describe_condition(names["model"], names["dc"], names["strategy"], names["alpha"], settings)[0],
        **names,
        "seed": run.setup.seed,
        "rounding": run.setup.rounding,
        "parameters": parameters,
        "epochs": sum(phase.epochs for phase in run.phases),
        "clips_train": len(corpus.rows("train")),
        "training_counts": " ".join(map("{}={}".format, corpus.techniques, corpus.counts("train"))),
        "clips_test": len(scored_clips(run, corpus, "test")),
        "singers_test": " ".join(sorted(corpus.clips.loc[corpus.rows("test"), "singer"].unique())),
        "precision": run.setup.precision,
        "torch": torch.__version__,
        "versions": versions(),
        **corpus.identity(),
        "recipe": run.recipe,
        "phases": " ".join(run.keys),
    }


def _training_time(stored: list[StoredPhase], name: str) -> dict:
    """Make the entries of a row with the time of its phases, which counts for the run that trained them."""
    records = [entry.record for entry in stored]
    return {
        column: round(sum(record["seconds"] for record in records if (record.get("run") == name) == is_own), 3)
        for column, is_own in (("seconds", True), ("seconds_shared", False))
    }


def _circumstances(stored: list[StoredPhase]) -> dict:
    """Make the other entries of a row from its phases."""
    records = [entry.record for entry in stored]
    return {
        "device": records[0]["device"],
        "threads": records[0].get("threads"),  # phases of earlier versions do not tell
        "made_by": " ".join(made_by(entry.record) for entry in stored),
        "finished": _now(),
        **{name: value for name, value in records[-1].items() if name == "head_gap"},
    }


def versions() -> str:
    """List the versions of the libraries that decide numbers, as "python 3.11.9 torch 2.11.0 …"."""
    named = {name: metadata.version(name) for name in VERSIONED}
    return " ".join(f"{name} {version}" for name, version in {"python": platform.python_version(), **named}.items())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
