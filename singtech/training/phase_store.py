"""The phase store: a phase is obtained by its key, trained if nobody has, taken from the disk if somebody did.

`<store>/<key>/` holds a finished phase: `weights.safetensors` (the network), `optimizer.pt` (plain tensors, read with
weights only), `log.csv` (one row an epoch), `phase.json` (what was trained, how long it took, and the SHA-256 of
each file) and `features/` (what the extractor makes of a set of clips, named after the clips and their own SHA-256).
It appears in one step when the phase is done. Until then `<store>/.<key>.work/` holds the checkpoint of the last
finished epoch. What is damaged is set aside as `<store>/.<key>.damaged-<number>` and made again.
"""

import hashlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from singtech.io.atomic import atomic_folder, file_digest, remove_remains, set_aside, write_bytes
from singtech.io.lock import hold, lock_of, require, watch

log = logging.getLogger(__name__)

# What phase.json held before it held digests: such phases are believed if they are all there.
RECORD_WITHOUT_DIGESTS = {"key", "phase", "setup", "before", "epoch", "seconds", "device", "torch"}
RECORD, WEIGHTS, OPTIMIZER, LOG = "phase.json", "weights.safetensors", "optimizer.pt", "log.csv"


class Damaged(Exception):
    """Something stored is not what was stored; the sentence says what and where."""


@dataclass
class Outcome:
    """What training a phase gives, ready to be stored."""

    weights: Mapping[str, torch.Tensor]
    optimizer_state: dict
    curve: list[dict[str, float]]
    record: dict


@dataclass(frozen=True)
class StoredPhase:
    """A finished phase on the disk."""

    folder: Path

    @property
    def key(self) -> str:
        """The name that the store knows it by."""
        return self.folder.name

    @property
    def record(self) -> dict:
        """What was trained and how long it took (`phase.json`).

        Raises:
            Damaged: it cannot be read, or is another phase's.
        """
        path = self.folder / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            is_old = set(record) == RECORD_WITHOUT_DIGESTS
            fits = record["key"] == self.key and (is_old or record.pop("sha256") == _digest(record))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
            raise Damaged(f"{path} cannot be read ({_line(problem)})") from None
        if not fits:
            raise Damaged(f"{path} is not what was stored under {self.key}")
        return record

    def check(self) -> dict:
        """The record, once every file was found to be what was stored; the features are looked at when they are used.

        Raises:
            Damaged: a file is missing or has changed.
        """
        record = self.record
        for name in (WEIGHTS, OPTIMIZER, LOG):
            path = self.folder / name
            try:
                digest = file_digest(path)
            except OSError as problem:
                raise Damaged(f"{path} cannot be read ({problem.strerror})") from None
            if "files" in record and digest != record["files"].get(name):
                raise Damaged(f"{path} is not what was stored: its SHA-256 has changed")
        return record

    def load_into(self, network: nn.Module) -> None:
        """Give the network the weights and running statistics that the phase ended with.

        Raises:
            ValueError: the stored weights are damaged or those of another network.
        """
        path = self.folder / WEIGHTS
        try:
            network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as problem:
            raise ValueError(f"{path} does not fit ({_line(problem)}): {REMEDY}") from None

    def optimizer_state(self) -> dict:
        """The optimiser's state at the phase's end; nothing but tensors and plain values is read.

        Raises:
            ValueError: it holds anything else.
        """
        path = self.folder / OPTIMIZER
        return plain(path.read_bytes(), path)

    def features(self, clips: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """(N, D) features of a set of clips, computed once.

        Args:
            clips: their fingerprint.
            compute: gives the features if they are not there yet, or are damaged.
        """
        place = self.folder / "features" / clips[:16]
        with hold(place, f"features of phase {self.key} are being computed"):
            for path in sorted(place.parent.glob(f"{place.name}-*.npy")):
                try:
                    return read_features(path)
                except Damaged as problem:
                    log.warning("%s; it is set aside as %s and computed anew.", problem, set_aside(path).name)
            remove_remains(place)
            features = compute()
            with io.BytesIO() as buffer:
                np.save(buffer, features, allow_pickle=False)
                data = buffer.getvalue()
            write_bytes(place.with_name(features_name(clips, data)), data)
        return features


def plain(data: bytes, path: Path) -> dict:
    """What torch wrote, if it is a dictionary of tensors and plain values; no code of it is run.

    Args:
        data: as written.
        path: where from, for the message.
    Raises:
        ValueError: it is not, or is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch advises about files that it is about to refuse
            held = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as problem:  # torch has no kind of its own for what it cannot read
        raise ValueError(f"{path} cannot be read ({_line(problem)}): {REMEDY}") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path} holds no dictionary: {REMEDY}")
    return held


def torch_bytes(value: object) -> bytes:
    """What torch makes of a value, in memory, so that a full disk is Python's OSError when it is written."""
    with io.BytesIO() as buffer:
        torch.save(value, buffer)
        return buffer.getvalue()


def write_checkpoint(path: Path, held: dict) -> None:
    """Write tensors and plain values in one step, behind their SHA-256: torch itself reads a flipped bit as a number.

    Raises:
        OSError: the disk is full, say; what was there before is as it was.
    """
    data = torch_bytes(held)
    write_bytes(path, hashlib.sha256(data).digest() + data)


def read_checkpoint(path: Path) -> dict:
    """What `write_checkpoint` wrote.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    digest, data = content[:32], content[32:]
    if digest != hashlib.sha256(data).digest():
        raise ValueError(f"{path} is not what was written: its SHA-256 has changed")
    return plain(data, path)


REMEDY = "`singtech store check=true` looks through the store and sets aside what is damaged."


def features_name(clips: str, data: bytes) -> str:
    """The name of a file of features: of which clips, and of its own bytes."""
    return f"{clips[:16]}-{hashlib.sha256(data).hexdigest()[:32]}.npy"


def read_features(path: Path) -> np.ndarray:
    """(N, D) features.

    Raises:
        Damaged: the file's bytes are not those that its name says.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise Damaged(f"{path} cannot be read ({problem.strerror})") from None
    if path.name != features_name(path.name.partition("-")[0], data):
        raise Damaged(f"{path} is not what was stored: its SHA-256 has changed")
    return np.load(io.BytesIO(data), allow_pickle=False)


class PhaseStore:
    """Finished phases under one folder, which processes and machines on one file system can share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def find(self, key: str) -> StoredPhase | None:
        """The finished phase with that key, if it is there and whole.

        Raises:
            Damaged: it is there, but not whole.
        """
        stored = StoredPhase(self.folder / key)
        if not stored.folder.exists():
            return None
        stored.check()
        return stored

    def obtain(
        self, key: str, train: Callable[[Path, Callable[[], None]], Outcome], what: str = "a phase", wait: bool = True
    ) -> tuple[StoredPhase, bool]:
        """The phase with that key, and whether it had to be trained.

        Args:
            key: from `phase_keys`.
            train: trains the phase, keeping its checkpoints in the folder that it is given, and going on from those it
                finds there; it is also given what raises `Superseded` once another process trains in its stead. Called
                only if the phase is not stored whole.
            what: is trained, to say who else is doing it.
            wait: for another process that trains it.
        Raises:
            Busy: another process trains it, and `wait` is False.
        """
        try:
            found = self.find(key)
        except Damaged:
            found = None  # said and set aside below, under the lock
        place, work = self.folder / key, self.folder / f".{key}.work"
        if found and not (work.exists() or lock_of(place).exists()):  # who was killed once it was there left those
            return found, False
        with hold(place, f"{what} ({key}) is being trained", wait) as lease:
            try:
                found = self.find(key)
            except Damaged as problem:
                log.warning("%s; the phase is set aside as %s and trained anew.", problem, set_aside(place).name)
                found = None
            remove_remains(place)
            if found:
                shutil.rmtree(work, ignore_errors=True)
                return found, False
            work.mkdir(exist_ok=True)
            outcome = train(work, watch(lease))
            require(lease)
            if place.exists():  # who took over while this process was asleep has finished, and let go
                return StoredPhase(place), False
            self._publish(key, outcome, work)
            shutil.rmtree(work, ignore_errors=True)
        return StoredPhase(place), True

    def _publish(self, key: str, outcome: Outcome, work: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in outcome.weights.items()}
        with atomic_folder(self.folder / key) as folder:
            for logs in work.glob("logs/*"):
                shutil.copytree(logs, folder / logs.name)
            (folder / WEIGHTS).write_bytes(save(weights))
            (folder / OPTIMIZER).write_bytes(torch_bytes(outcome.optimizer_state))
            pd.DataFrame(outcome.curve).to_csv(folder / LOG, index=False)
            files = {name: file_digest(folder / name) for name in (WEIGHTS, OPTIMIZER, LOG)}
            record = {"key": key, **outcome.record, "files": files}
            text = json.dumps(record | {"sha256": _digest(record)}, indent=2) + "\n"
            (folder / RECORD).write_text(text, encoding="utf-8")


def _digest(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:120] or type(problem).__name__
