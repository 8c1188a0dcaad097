"""The phase store: `PhaseStore.obtain` reads a phase from the disk, or trains it.

`<store>/<key>/` holds a finished phase and is written in one step. Its files:

| file | content | reader |
| --- | --- | --- |
| `phase.json` | the settings, seconds, `format`, SHA-256 of each file and of the record | `StoredPhase.record` |
| `weights.safetensors` | the network; nothing of a frozen encoder | `StoredPhase.load_into` |
| `running.safetensors` | running statistics of training, if the weights have others | `StoredPhase.load_into` |
| `optimizer.pt` | the optimizer's state: tensors and plain values | `StoredPhase.optimizer_state` |
| `log.csv` | one row per epoch | people; it may change |
| `features/<clips>-<sha256>.npy` | (N, D) features of a set of clips | `read_features` |

`<store>/.<key>.work/last.ckpt` is the checkpoint of a phase in training (`write_checkpoint`, `read_checkpoint`).

Reading a phase needs no lock. What reads a file that is missing or has changed raises `Damaged`: `obtain` and
`features` then rename the phase, features or checkpoint to `.<name>.damaged-<number>` and make it again. A file of a
newer version raises `Newer` and is not changed.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import nn

from singtech.errors import Damaged, NotThere
from singtech.io.atomic import atomic_folder, hash_file, remove_temporary_files, set_aside, write_bytes
from singtech.io.lock import get_lock_path, hold
from singtech.io.stored import hash_values, parse_json, reading, require_version

log = logging.getLogger(__name__)

FORMAT = 1  # increase it when older code would misread a phase or checkpoint; files without this entry have 0
RECORD, WEIGHTS, OPTIMIZER, LOG = "phase.json", "weights.safetensors", "optimizer.pt", "log.csv"
RUNNING = "running.safetensors"
CHECKPOINT = "last.ckpt"


@dataclass
class Outcome:
    """A trained phase to store; `running` are batch norm's running statistics if the weights have others."""

    weights: Mapping[str, torch.Tensor]
    optimizer_state: dict
    curve: list[dict[str, float]]
    record: dict
    running: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredPhase:
    """A finished phase on the disk."""

    folder: Path

    @property
    def key(self) -> str:
        """Its name in the store."""
        return self.folder.name

    @property
    def record(self) -> dict:
        """The settings of the phase and how long its training took (`phase.json`)."""
        with reading(self.folder / RECORD):
            record = parse_json((self.folder / RECORD).read_bytes(), FORMAT)
            if record["key"] != self.key or record.pop("sha256") != hash_values(record):
                raise ValueError(f"it is not what was stored under {self.key}")
        return record

    def check(self) -> dict:
        """Check the record and the bytes of weights and optimizer; features are checked when they are used."""
        record = self.record
        for name in {WEIGHTS, OPTIMIZER, *record["files"]} - {LOG}:
            path = self.folder / name
            if not path.is_file() or hash_file(path) != record["files"].get(name):
                raise Damaged(f"{path} is not what was stored: it is missing, or its SHA-256 has changed.")
        return record

    @property
    def has_running_statistics(self) -> bool:
        """Whether batch norm's running statistics of training are stored beside recalibrated ones."""
        return (self.folder / RUNNING).is_file()

    def load_into(self, network: nn.Module, running: bool = False) -> None:
        """Load the phase's final weights and batch norm's statistics into a network; call `check` before.

        Args:
            network: of the phase's architecture.
            running: load the running statistics of training where others are stored too.
        """
        weights = load_file(self.folder / WEIGHTS)
        if weights:  # a frozen encoder's phase has none
            network.load_state_dict(weights)
        if running and self.has_running_statistics:
            network.load_state_dict(load_file(self.folder / RUNNING), strict=False)

    def optimizer_state(self) -> dict:
        """Read the optimizer's state at the end of the phase."""
        path = self.folder / OPTIMIZER
        return read_plain(path.read_bytes(), path)

    def features(self, clips: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Read the (N, D) features of clips with a fingerprint; compute and store them if missing or damaged.

        In a read-only folder they are computed and not stored.
        """
        stem = self.folder / "features" / clips[:16]
        pattern = f"{stem.name}-*.npy"
        is_writable = os.access(self.folder, os.W_OK)
        if not (is_writable and get_lock_path(stem).exists()):  # a killed process leaves it
            for path in stem.parent.glob(pattern):
                with contextlib.suppress(Damaged):  # set aside below, under the lock
                    return read_features(path)
        if not is_writable:
            return compute()
        with hold(stem, f"features of phase {self.key} are being computed"):
            for path in sorted(stem.parent.glob(pattern)):
                try:
                    return read_features(path)
                except Damaged as problem:
                    log.warning("%s It is set aside as %s and computed again.", problem, set_aside(path).name)
            remove_temporary_files(stem)
            features = compute()
            with io.BytesIO() as buffer:
                np.save(buffer, features, allow_pickle=False)
                data = buffer.getvalue()
            write_bytes(stem.with_name(features_name(clips, data)), data)
        return features


def features_name(clips: str, data: bytes) -> str:
    """Name a file of features by the clips' fingerprint and the SHA-256 of its bytes."""
    return f"{clips[:16]}-{hashlib.sha256(data).hexdigest()[:32]}.npy"


def read_features(path: Path) -> np.ndarray:
    """Read (N, D) features; the file's name holds the SHA-256 of its bytes."""
    with reading(path):
        data = path.read_bytes()
        if path.name != features_name(path.name.partition("-")[0], data):
            raise ValueError("its SHA-256 has changed")
        return np.load(io.BytesIO(data), allow_pickle=False)


def torch_bytes(value: object) -> bytes:
    """Serialise a value by torch in memory, so that a full disk raises OSError when the bytes are written."""
    with io.BytesIO() as buffer:
        torch.save(value, buffer)
        return buffer.getvalue()


def read_plain(data: bytes, path: Path) -> dict:
    """Read a dictionary of tensors and plain values from the bytes of torch's file, without running code in them."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for files that torch refuses in the next line
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def write_checkpoint(path: Path, values: dict) -> None:
    """Write tensors and plain values in one step, after their SHA-256, because torch does not detect a flipped bit.

    They name the folder, whose name has the phase's key.
    """
    data = torch_bytes(values | {"format": FORMAT, "folder": path.parent.name})
    write_bytes(path, hashlib.sha256(data).digest() + data)


def read_checkpoint(path: Path) -> dict:
    """Read the values of `write_checkpoint`."""
    with reading(path):
        content = path.read_bytes()
        if content[:32] != hashlib.sha256(content[32:]).digest():
            raise ValueError("its SHA-256 has changed")
        values = read_plain(content[32:], path)
        require_version(values, FORMAT)
        if (folder := values.get("folder", path.parent.name)) != path.parent.name:  # earlier versions named none
            raise ValueError(f"it was written in {folder}, for another phase")
        return {name: value for name, value in values.items() if name not in ("format", "folder")}


def find_checkpoint(path: Path) -> Path | None:
    """Find the checkpoint to continue from; None if it is missing, or damaged: then it is set aside with a warning."""
    remove_temporary_files(path)
    if not path.exists():
        return None
    try:
        read_checkpoint(path)
    except Damaged as problem:
        log.warning("%s It is set aside as %s, and its phase begins again.", problem, set_aside(path).name)
        return None
    return path


def open_phases(store: Path, keys: Sequence[str]) -> tuple[StoredPhase, ...]:
    """Open finished phases and check them; raise `NotThere` if one is absent."""
    phases = tuple(StoredPhase(store / key) for key in keys)
    for phase in phases:
        if not phase.folder.is_dir():
            raise NotThere(f"{phase.folder} is absent: the run's phases are on the machine that trained it.")
        try:
            phase.check()
        except Damaged as problem:
            raise Damaged(f"{problem} `singtech store check=true` sets it aside; then run it again.") from None
    return phases


class PhaseStore:
    """Finished phases in one folder, which processes and machines on one file system can share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def find(self, key: str) -> StoredPhase | None:
        """Find the finished phase with a key, and check it; None if there is none."""
        stored = StoredPhase(self.folder / key)
        if not stored.folder.exists():
            return None
        stored.check()
        return stored

    def obtain(
        self, key: str, train: Callable[[Path, Callable[[], None]], Outcome], name: str = "a phase", wait: bool = True
    ) -> tuple[StoredPhase, bool]:
        """Read the phase with a key, or train it. Return it, and whether it was trained now.

        Args:
            key: from `phase_keys`.
            train: trains the phase if it is missing or damaged. Called with the folder of its checkpoints, from which
                it continues, and with a function that raises `LeaseLost` if another process has taken it over.
            name: of the phase, for the message while waiting.
            wait: whether to wait for another process that trains it.
        Raises:
            Busy: another process trains it and `wait` is False, or has taken it over.
        """
        folder, work = self.folder / key, self.folder / f".{key}.work"
        with contextlib.suppress(Damaged):  # set aside below, under the lock
            stored = self.find(key)
            if stored and not (work.exists() or get_lock_path(folder).exists()):  # a killed process leaves these
                return stored, False
        with hold(folder, f"{name} ({key}) is being trained", wait) as require_lease:
            try:
                stored = self.find(key)
            except Damaged as problem:
                log.warning("%s The phase is set aside as %s and trained again.", problem, set_aside(folder).name)
                stored = None
            remove_temporary_files(folder)
            if stored is None:
                work.mkdir(exist_ok=True)
                outcome = train(work, require_lease)
                require_lease()
                self._publish(key, outcome, work)
            shutil.rmtree(work, ignore_errors=True)
        return StoredPhase(folder), stored is None

    def _publish(self, key: str, outcome: Outcome, work: Path) -> None:
        tensors = {
            name: {key: tensor.detach().cpu().contiguous() for key, tensor in each.items()}
            for name, each in ((WEIGHTS, outcome.weights), (RUNNING, outcome.running))
            if each or name == WEIGHTS
        }
        with atomic_folder(self.folder / key) as folder:
            for logs in work.glob("logs/*"):
                shutil.copytree(logs, folder / logs.name)
            for name, each in tensors.items():
                (folder / name).write_bytes(save(each))
            (folder / OPTIMIZER).write_bytes(torch_bytes(outcome.optimizer_state))
            pd.DataFrame(outcome.curve).to_csv(folder / LOG, index=False)
            files = {name: hash_file(folder / name) for name in (*tensors, OPTIMIZER, LOG)}
            record = {"key": key, **outcome.record, "format": FORMAT, "files": files}
            text = json.dumps(record | {"sha256": hash_values(record)}, indent=2) + "\n"
            (folder / RECORD).write_text(text, encoding="utf-8")
