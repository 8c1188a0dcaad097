"""A run: obtain its phases one after the other, score the test singers, write its folder.

A run is a condition with a seed on a corpus. Its folder under `runs/` is named readably and by a hash of all that
decides its outcome, and appears in one step when the run is complete, so that asking for a run twice runs it once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from singtech.data.clips import Corpus
from singtech.files import atomic_folder
from singtech.metrics import confusion, scores
from singtech.models.layers import describe
from singtech.models.network import Network, parameter_count
from singtech.results.rows import write_row
from singtech.training.fit import Run, clip_features, train_phase
from singtech.training.forest import forest_logits
from singtech.training.store import PhaseStore, StoredPhase
from singtech.training.trainer import Machine


@dataclass(frozen=True)
class Result:
    """A run's row, and for each of its phases whether it was trained now (True) or taken from the store.

    The row's seconds are those that its phases took to train, whenever that was.
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
) -> Result:
    """Train what is missing of a run, score it on the corpus's test clips and write its folder.

    Args:
        run: what to run.
        corpus: on what.
        output_dir: holds `phases/` and `runs/`.
        machine: where and how to compute.
        provenance: further entries of the row (commit …).
        configuration: YAML text kept in the run's folder.
        say: takes one line for each thing that a person wants to know.
    Returns:
        The row, with what was trained for it.
    Raises:
        ValueError: the split has no test clips, or settings that do not fit together.
        FloatingPointError: training diverged.
    """
    network = runnable(run, corpus, machine)
    folder = Path(output_dir) / "runs" / run.name(corpus.fingerprint("test"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if (folder / "row.json").exists():
            row = json.loads((folder / "row.json").read_text(encoding="utf-8"))
            changed = corpus.identity()  # clips that neither train nor are tested may have
            if len(run.names["variant"]) < len(row["variant"]):  # what differed did not matter, or is the default now
                changed |= run.names
            if any(row.get(name) != value for name, value in changed.items()):
                row |= changed
                write_row(folder, row)
            return Result(row, folder, (False,) * len(run.phases))
        stored, trained = _obtain_phases(run, corpus, PhaseStore(Path(output_dir) / "phases"), machine, say)
        logits = _logits(run, stored, corpus, machine)
        targets = corpus.targets("test")
        row = _row(run, folder.name, corpus, stored, parameter_count(network))
        row |= scores(targets, logits, corpus.techniques) | dict(provenance or {})
        with atomic_folder(folder) as temporary:
            _predictions(corpus, logits).to_csv(temporary / "predictions.csv", index=False)
            _confusion(corpus, logits).to_csv(temporary / "confusion.csv")
            layers = describe(network, corpus.waveforms.shape[1])
            pd.DataFrame(layers).to_csv(temporary / "layers.csv", index=False)
            (temporary / "config.yaml").write_text(configuration, encoding="utf-8")
            write_row(temporary, row)
    return Result(row, folder, tuple(trained))


def runnable(run: Run, corpus: Corpus, machine: Machine) -> Network:
    """The network of a run that can be made, with its initial weights; what cannot be is told before anything is made.

    Raises:
        ValueError: the corpus lacks clips, the network cannot be built, or the machine cannot compute so.
    """
    if not len(corpus.rows("test")):
        raise ValueError(f"data.split names no test singer of {corpus.name}: a run needs clips to be scored on.")
    if run.setup.selection == "best" and not len(corpus.rows("validation")):
        raise ValueError("selection=best: there is no validation singer; name some in data.split.validation.")
    if run.setup.precision == "16-mixed" and (machine.accelerator == "cpu" or not torch.cuda.is_available()):
        raise ValueError("precision=16-mixed needs an NVIDIA GPU, and there is none: use bf16-mixed or 32-true.")
    machine.trainer()
    try:
        return run.build()
    except (TypeError, RuntimeError) as problem:
        raise ValueError(f"no network can be built with front_end and model.build as given: {problem}") from None


def _obtain_phases(
    run: Run, corpus: Corpus, store: PhaseStore, machine: Machine, say: Callable[[str], None]
) -> tuple[list[StoredPhase], list[bool]]:
    """Each phase of the run from the store, trained where it is missing."""
    stored: list[StoredPhase] = []
    trained = []
    for number, (phase, key) in enumerate(zip(run.phases, run.keys, strict=True)):
        title = f"phase {number + 1}/{len(run.phases)} {phase.name or phase.trains} alpha {phase.alpha:g}"
        entry, was_trained = store.obtain(
            key, lambda work, n=number, t=title: train_phase(run, n, tuple(stored), corpus, work, machine, t)
        )
        done = "trained" if was_trained else "taken from the store"
        say(f"{title}: {phase.epochs} epochs of the {phase.trains} {done} ({key}, {entry.record['seconds']:.1f} s)")
        stored.append(entry)
        trained.append(was_trained)
    return stored, trained


def _logits(run: Run, stored: list[StoredPhase], corpus: Corpus, machine: Machine) -> np.ndarray:
    """(N, K) logits of the test clips: stored features through the last phase's classifier, on the CPU in float32.

    A forest learns from the stored features of the training clips, anew every time: it is not kept.
    """
    features = clip_features(run, tuple(stored), corpus, "test", machine)
    if run.forest is not None:
        known = clip_features(run, tuple(stored), corpus, "train", machine)
        options = (run.names["alpha"], run.setup.seed)
        return forest_logits(run.forest, known, corpus.targets("train"), features, len(corpus.techniques), *options)
    network = run.build()
    stored[-1].load_into(network)
    with torch.no_grad():
        return network.classifier.cpu().float()(torch.from_numpy(features)).numpy()


def _row(run: Run, name: str, corpus: Corpus, stored: list[StoredPhase], parameters: int) -> dict:
    """The run's row but for its scores."""
    records = [entry.record for entry in stored]
    return {
        "run": name,
        **run.names,
        "seed": run.setup.seed,
        "parameters": parameters,
        "epochs": sum(phase.epochs for phase in run.phases),
        "seconds": round(sum(record["seconds"] for record in records), 3),
        "clips_train": len(corpus.rows("train")),
        "clips_test": len(corpus.rows("test")),
        "singers_test": " ".join(sorted(corpus.clips.loc[corpus.rows("test"), "singer"].unique())),
        "device": records[0]["device"],
        "precision": run.setup.precision,
        "torch": torch.__version__,
        "status": "complete",
        **corpus.identity(),
        "phases": " ".join(entry.key for entry in stored),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _predictions(corpus: Corpus, logits: np.ndarray) -> pd.DataFrame:
    """One row a test clip: where it is from, and a logit per technique."""
    clips = corpus.clips.loc[corpus.rows("test"), ["recording", "singer", "technique", "start"]]
    columns = pd.DataFrame(logits, columns=[f"logit_{name}" for name in corpus.techniques])
    return pd.concat([clips.reset_index(drop=True), columns], axis=1)


def _confusion(corpus: Corpus, logits: np.ndarray) -> pd.DataFrame:
    """Test clips by true (rows) and predicted technique (columns)."""
    names = pd.Index(corpus.techniques, name="technique")
    return pd.DataFrame(confusion(corpus.targets("test"), logits), index=names, columns=list(corpus.techniques))
