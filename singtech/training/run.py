"""A run: obtain its phases one after the other, score the test singers, write its folder.

A run is a condition with a seed on a corpus. Its folder under `runs/` is named readably and by a hash of all that
decides its outcome, so that asking for a run twice runs it once. `row.json` is written first and last: a run is
complete when its row says so, and whatever stopped it before, the same run asked for again goes on from what is stored.
"""

import contextlib
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

import numpy as np
import pandas as pd
import torch

from singtech.corpus.clip_store import Corpus
from singtech.errors import Damaged, InvalidValue, Newer
from singtech.io.atomic import encodable, remove_remains, set_aside, write_text
from singtech.io.lock import Busy, Superseded, hold, lock_of
from singtech.metrics import confusion, scores
from singtech.models.deformable import backend_for
from singtech.models.layers import describe
from singtech.models.network import Network, parameter_count
from singtech.results.conditions import describe as describe_condition
from singtech.results.predictions import PREDICTIONS, VALIDATION, read_predictions, score
from singtech.results.rows import COMPLETE, FAILED, INTERRUPTED, ROW, RUNNING, digests, is_intact, read_row, write_row
from singtech.results.schema import protocol
from singtech.results.settings import read_settings
from singtech.training.fit import Run, clip_features, train_phase
from singtech.training.forest import forest_logits
from singtech.training.phase_store import Outcome, PhaseStore, StoredPhase
from singtech.training.trainer import Machine
from singtech.training.trial import try_components

CONFIGURATION, CONFUSION, LAYERS = "config.yaml", "confusion.csv", "layers.csv"
FAILURE = "failure.txt"  # the traceback of a run that failed
RUN_FILES = (ROW, CONFIGURATION, PREDICTIONS, VALIDATION, CONFUSION, LAYERS, FAILURE)
VERSIONED = ("torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "librosa", "soxr")

log = logging.getLogger(__name__)

_other_code: set[str] = set()  # versions that this process has mentioned


@dataclass(frozen=True)
class Result:
    """A run's row, and for each of its phases whether it was trained now (True) or taken from the store.

    The row's seconds are the training time of the phases that this run trained, `seconds_shared` that of all others.
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
) -> Result:
    """Train what is missing of a run, score it on the corpus's test clips and write its folder.

    The row is there from the start, with status `running`; it ends `complete`, `failed` with the reason, or
    `interrupted`. A run that is asked for again goes on from what is stored.

    Args:
        run: what to run.
        corpus: on what.
        output_dir: holds `phases/` and `runs/`.
        machine: where and how to compute.
        provenance: further entries of the row (commit, command …).
        configuration: YAML text kept in the run's folder.
        say: takes one line for each thing that a person wants to know.
        wait: for another process that works on the same run or phase.
        explain: makes of an error the sentence that the row keeps.
    Returns:
        The row, with what was trained for it.
    Raises:
        InvalidValue: the split has no test clips, or settings do not fit together; the run then leaves no row.
        Busy: another process works on it, and `wait` is False; or it took the run over.
        Newer: a newer version wrote the row, or one of the phases.
        Diverged: a loss is not finite.
    """
    network = runnable(run, corpus, machine)
    commit = dict(provenance or {}).get("commit", "")
    folder = Path(output_dir) / "runs" / run.name(corpus.fingerprint("test"))
    store = PhaseStore(Path(output_dir) / "phases")
    if (row := _current(folder, run, corpus)) is not None:
        return Result(row, folder, (False,) * len(run.phases))
    with hold(folder, f"run {folder.name} is being made", wait) as require_lease:
        row = _earlier_row(folder, say)
        if row is not None and row["status"] == COMPLETE and (row := _whole(row, folder)) is not None:
            trained = [False] * len(run.phases)
            if not _is_judged(folder, row, corpus):  # the split may name others; they decide nothing else
                stored, trained = _obtain_phases(run, corpus, store, machine, say, wait, commit, folder.name)
                judged = _validation_logits(run, stored, corpus, machine)
                require_lease()
                row = _keep_validation(folder, row, corpus, judged)
                row |= {"files": _digests(folder)} if row.get("files") else {}
                write_row(folder, row)
            return Result(_followed(folder, row, run, corpus), folder, tuple(trained))
        begun = _condition(run, folder.name, corpus, parameter_count(network)) | dict(provenance or {})
        begun["protocol"] = protocol(begun)
        folder.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            remove_remains(folder / name)
        write_text(folder / CONFIGURATION, configuration)
        write_row(folder, begun | {"status": RUNNING})
        try:
            stored, trained = _obtain_phases(run, corpus, store, machine, say, wait, commit, folder.name)
            logits = _logits(run, stored, corpus, "test", machine)
            judged = _validation_logits(run, stored, corpus, machine)
            require_lease()
            write_text(folder / PREDICTIONS, _predictions(corpus, "test", logits).to_csv(index=False))
            write_text(folder / CONFUSION, _confusion(corpus, logits).to_csv())
            layers = pd.DataFrame(describe(network, corpus.waveforms.shape[1]))
            write_text(folder / LAYERS, layers.to_csv(index=False))
            row = begun | _circumstances(stored, folder.name)
            row |= scores(corpus.targets("test"), logits, corpus.techniques)
            row = _keep_validation(folder, row, corpus, judged)
            (folder / FAILURE).unlink(missing_ok=True)
            write_row(folder, row | {"files": _digests(folder), "status": COMPLETE})
        except BaseException as problem:
            # A full disk leaves the row with status running. After a take-over the row is the other process's.
            with contextlib.suppress(OSError, Superseded):
                require_lease()
                _end(folder, begun, problem, explain, store)
            raise
        return Result(read_row(folder) or row, folder, tuple(trained))


def _digests(folder: Path) -> str:
    """The digests of a run's files, for its row."""
    return digests(folder, (CONFIGURATION, PREDICTIONS, VALIDATION, CONFUSION, LAYERS))


def _end(
    folder: Path, begun: dict, problem: BaseException, explain: Callable[[BaseException], str], store: PhaseStore
) -> None:
    """Write down how a run ended that did not come to its end."""
    if isinstance(problem, Busy) and not any((store.folder / key).exists() for key in begun["phases"].split()):
        shutil.rmtree(folder)  # nothing of it is there that its row would keep
        return
    ended = {"status": INTERRUPTED}
    if isinstance(problem, Exception) and not isinstance(problem, Busy):
        write_text(folder / FAILURE, encodable("".join(traceback.format_exception(problem))))
        ended = {"status": FAILED, "reason": encodable(explain(problem))}
    write_row(folder, begun | ended | {"finished": _now()})


def is_complete(folder: Path) -> bool:
    """Whether a run's folder holds its whole result."""
    try:
        row = read_row(folder)
    except (Damaged, Newer):
        return False
    return row is not None and row["status"] == COMPLETE


def _earlier_row(folder: Path, say: Callable[[str], None]) -> dict | None:
    """The row of an earlier attempt, and a line about it; a damaged one is set aside with its folder.

    Raises:
        Newer: a newer version wrote it; it is left as it is.
    """
    try:
        row = read_row(folder)
    except Newer as problem:
        raise Newer(f"{folder / ROW}: {problem}; use that version, or another output_dir.") from None
    except Damaged as problem:
        log.warning("%s is damaged (%s); it is set aside as %s.", folder, problem, set_aside(folder).name)
        return None
    if row is not None and row["status"] == RUNNING:  # the lock is ours, so whoever ran it was killed
        row["status"] = INTERRUPTED
    if row is not None and row["status"] == FAILED:
        say(f"it failed before ({row.get('reason', '')}); it is tried again.")
    elif row is not None and row["status"] == INTERRUPTED:
        say("it was interrupted before; it goes on from what is stored.")
    return row


def _whole(row: dict, folder: Path) -> dict | None:
    """A complete row with the scores of its predictions; None where these must be made again."""
    path = folder / PREDICTIONS
    try:
        read_predictions(path)
        return score(row, folder)
    except FileNotFoundError:
        return None
    except Damaged as problem:
        log.warning("%s It is now %s; the run makes its predictions again.", problem, set_aside(path).name)
        return None


def _current(folder: Path, run: Run, corpus: Corpus) -> dict | None:
    """The row of a complete run that nobody works on and that needs no change, read without its lock; else None."""
    try:
        row = None if lock_of(folder).exists() else read_row(folder)
        if row is None or row["status"] != COMPLETE or not is_intact(row) or score(row, folder) is not row:
            return None
        contexts = read_predictions(folder / PREDICTIONS).clips["context"]
    except (FileNotFoundError, Damaged, Newer):
        return None
    has_contexts = list(contexts) == list(corpus.clips.iloc[corpus.rows("test")]["context"])
    is_current = _changed(folder, row, run, corpus).items() <= row.items()
    return row if has_contexts and is_current and _is_judged(folder, row, corpus) else None


def _changed(folder: Path, row: dict, run: Run, corpus: Corpus) -> dict:
    """The entries of a complete row as they are now, of those that decide nothing."""
    changed = corpus.identity()  # clips that neither train nor are tested may have
    settings, stored = (read_settings(text).items for text in (run.names["settings"], row.get("settings", "")))
    if len(settings) < len(stored):  # what differed did not matter, or is the default now
        changed |= run.names
    if any(other != folder for other in folder.parent.glob(f"{glob.escape(folder.name[:-8])}*")):
        changed["finished"] = _now()  # of the same condition with other code, tables show the newest
    return changed


def _followed(folder: Path, row: dict, run: Run, corpus: Corpus) -> dict:
    """A complete row, brought up to date where what differs decides nothing."""
    changed = _changed(folder, row, run, corpus)
    is_changed = row.get("digest") and not is_intact(row)  # by hand: it has the scores of its predictions now
    if is_changed or any(row.get(name) != value for name, value in changed.items()):
        write_row(folder, row | changed)
        row = read_row(folder) or row
    _keep_contexts(folder / PREDICTIONS, corpus)
    return row


def _is_judged(folder: Path, row: dict, corpus: Corpus) -> bool:
    """Whether a complete run's score on the validation singers is of those that the corpus has now."""
    clips, path = corpus.clips.iloc[corpus.rows("validation")], folder / VALIDATION
    if not len(clips) or not path.is_file():
        return not len(clips) and not path.is_file()
    if row.get("corpus_fingerprint") != corpus.identity()["corpus_fingerprint"]:
        return False
    try:
        return list(read_predictions(path).clips["recording"]) == list(clips["recording"])
    except Damaged:
        return False


def _validation_logits(run: Run, stored: list[StoredPhase], corpus: Corpus, machine: Machine) -> np.ndarray | None:
    """(N, K) logits of the validation singers' clips; None where there are none."""
    return _logits(run, stored, corpus, "validation", machine) if len(corpus.rows("validation")) else None


def _keep_validation(folder: Path, row: dict, corpus: Corpus, logits: np.ndarray | None) -> dict:
    """Write what a run makes of the validation singers; the row with their score."""
    row = {name: value for name, value in row.items() if name != "validation_f1"}
    if logits is None:
        (folder / VALIDATION).unlink(missing_ok=True)
        return row
    write_text(folder / VALIDATION, _predictions(corpus, "validation", logits).to_csv(index=False))
    return row | {"validation_f1": scores(corpus.targets("validation"), logits, corpus.techniques)["f1"]}


def _keep_contexts(path: Path, corpus: Corpus) -> None:
    """Tell the context of each clip in predictions that were written before they held it."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    clips = corpus.clips.iloc[corpus.rows("test")]
    if "context" not in frame and list(frame["recording"]) == list(clips["recording"]):
        frame.insert(3, "context", list(clips["context"]))
        write_text(path, frame.to_csv(index=False))


def runnable(run: Run, corpus: Corpus, machine: Machine) -> Network:
    """The network of a run, with its initial weights; a run that cannot be made is refused before anything is made.

    Raises:
        ValueError: the corpus lacks clips, or the machine cannot compute so.
        ComponentError: a component does not do what it must.
    """
    if not len(corpus.rows("test")):
        raise InvalidValue(f"data.split names no test singer of {corpus.name}: a run needs clips to be scored on.")
    if run.setup.selection == "best" and not len(corpus.rows("validation")):
        raise InvalidValue("selection=best: there is no validation clip; name some singers in data.split.validation.")
    if run.setup.precision == "16-mixed" and (machine.accelerator == "cpu" or not torch.cuda.is_available()):
        raise InvalidValue("precision=16-mixed needs an NVIDIA GPU, and there is none: use bf16-mixed or 32-true.")
    backend_for(machine.trainer(devices=machine.devices).strategy.root_device, machine.deformable)
    try_components(run)
    return run.build()


def _obtain_phases(
    run: Run,
    corpus: Corpus,
    store: PhaseStore,
    machine: Machine,
    say: Callable[[str], None],
    wait: bool,
    commit: str,
    name: str,
) -> tuple[list[StoredPhase], list[bool]]:
    """Each phase of the run from the store, trained where it is missing."""
    stored: list[StoredPhase] = []
    trained = []
    for number, (phase, key) in enumerate(zip(run.phases, run.keys, strict=True)):
        title = f"phase {number + 1}/{len(run.phases)} {phase.name or phase.trains}"

        def train(work: Path, require_lease: Callable[[], None], n: int = number, title: str = title) -> Outcome:
            outcome = train_phase(run, n, tuple(stored), corpus, work, machine, title, require_lease)
            outcome.record |= {"version": metadata.version("singtech"), "commit": commit, "run": name}
            return outcome

        entry, was_trained = store.obtain(key, train, title, wait)
        done = "trained" if was_trained else "taken from the store"
        say(f"{title}: {phase.describe()} {done} ({key}, {entry.record['seconds']:.1f} s)")
        _say_of_other_code(entry, commit, title, say)
        stored.append(entry)
        trained.append(was_trained)
    return stored, trained


def _say_of_other_code(entry: StoredPhase, commit: str, title: str, say: Callable[[str], None]) -> None:
    """Say in one line, once in a process, that phases were made by another version of the code."""
    this_version, maker = f"{metadata.version('singtech')}@{commit}", made_by(entry)
    if this_version != maker and maker not in _other_code:
        _other_code.add(maker)
        say(f"{title} was made by {maker}, not by this version, {this_version}: the row names both.")


def made_by(entry: StoredPhase) -> str:
    """The version and commit that made a phase, as "0.1.0@ab12cd34ef56"."""
    record = entry.record
    return f"{record.get('version', '')}@{record.get('commit', '')}"


def _logits(run: Run, stored: list[StoredPhase], corpus: Corpus, split: str, machine: Machine) -> np.ndarray:
    """(N, K) logits of a split's clips: stored features through the last phase's classifier, on the CPU in float32.

    A forest learns from the stored features of the training clips, anew every time: it is not kept.
    """
    features = clip_features(run, tuple(stored), corpus, split, machine)
    if run.forest is not None:
        known = clip_features(run, tuple(stored), corpus, "train", machine)
        options = (run.names["alpha"], run.setup.seed)
        return forest_logits(run.forest, known, corpus.targets("train"), features, len(corpus.techniques), *options)
    network = run.build()
    stored[-1].load_into(network)
    with torch.no_grad():
        return network.classifier.cpu().float().eval()(torch.from_numpy(features)).numpy()


def _condition(run: Run, name: str, corpus: Corpus, parameters: int) -> dict:
    """What a run's row says from its start."""
    names = run.names
    settings = read_settings(names["settings"])
    return {
        "run": name,
        "condition": describe_condition(names["model"], names["dc"], names["strategy"], names["alpha"], settings)[0],
        **names,
        "seed": run.setup.seed,
        "parameters": parameters,
        "epochs": sum(phase.epochs for phase in run.phases),
        "clips_train": len(corpus.rows("train")),
        "clips_test": len(corpus.rows("test")),
        "singers_test": " ".join(sorted(corpus.clips.loc[corpus.rows("test"), "singer"].unique())),
        "precision": run.setup.precision,
        "torch": torch.__version__,
        "versions": versions(),
        **corpus.identity(),
        "recipe": run.recipe,
        "phases": " ".join(run.keys),
    }


def _circumstances(stored: list[StoredPhase], name: str) -> dict:
    """The entries of a row that its phases give. A phase records the run that trained it: its time is that row's."""
    records = [entry.record for entry in stored]
    own, shared = (
        round(sum(record["seconds"] for record in records if (record.get("run") == name) == is_own), 3)
        for is_own in (True, False)
    )
    return {
        "seconds": own,
        "seconds_shared": shared,
        "device": records[0]["device"],
        "made_by": " ".join(map(made_by, stored)),
        "finished": _now(),
    }


def versions() -> str:
    """The versions of what decides numbers, as "python 3.11.9 torch 2.11.0 …"."""
    named = {name: metadata.version(name) for name in VERSIONED}
    return " ".join(f"{name} {version}" for name, version in {"python": platform.python_version(), **named}.items())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _predictions(corpus: Corpus, split: str, logits: np.ndarray) -> pd.DataFrame:
    """One row a clip of a split: where it is from, and a logit per technique."""
    clips = corpus.clips.loc[corpus.rows(split), ["recording", "singer", "technique", "context", "start"]]
    columns = pd.DataFrame(logits, columns=[f"logit_{name}" for name in corpus.techniques])
    return pd.concat([clips.reset_index(drop=True), columns], axis=1)


def _confusion(corpus: Corpus, logits: np.ndarray) -> pd.DataFrame:
    """Test clips by true (rows) and predicted technique (columns)."""
    names = pd.Index(corpus.techniques, name="technique")
    return pd.DataFrame(confusion(corpus.targets("test"), logits), index=names, columns=list(corpus.techniques))
