"""The phase store: `PhaseStore.obtain` takes a phase from the disk, or trains it once.

`<store>/<key>/` holds a finished phase. It appears in one step. Its files:

| file | content | reader |
| --- | --- | --- |
| `phase.json` | what was trained, seconds, `format`, SHA-256 of each file and of the record | `StoredPhase.record` |
| `weights.safetensors` | the network | `StoredPhase.load_into` |
| `optimizer.pt` | the optimizer's state: tensors and plain values | `StoredPhase.optimizer_state` |
| `log.csv` | one row an epoch | people |
| `features/<clips>-<sha256>.npy` | (N, D) features of a set of clips | `read_features` |

`<store>/.<key>.work/last.ckpt` is the checkpoint of a phase in training (`write_checkpoint`, `read_checkpoint`).

Reading a phase takes no lock. A damaged file raises `Damaged`: `obtain` and `features` then set the phase, the features
or the checkpoint aside as `.<name>.damaged-<number>` and make it again. A file of a newer version raises `Newer` and
stays.
"""

import contextlib
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
from safetensors.torch import load_file, save
from torch import nn

from singtech.errors import Damaged, Newer
from singtech.io.atomic import atomic_folder, hash_file, remove_temporary_files, set_aside, write_bytes
from singtech.io.lock import get_lock_path, hold

log = logging.getLogger(__name__)

FORMAT = 1  # raised when an earlier version would misread a phase or a checkpoint; 0 is a file without the entry
RECORD, WEIGHTS, OPTIMIZER, LOG = "phase.json", "weights.safetensors", "optimizer.pt", "log.csv"
CHECKPOINT = "last.ckpt"
REMEDY = "`singtech store check=true` looks through the store and sets aside what is damaged."


@dataclass
class Outcome:
    """A trained phase, ready to be stored."""

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
        """Its name in the store."""
        return self.folder.name

    @property
    def record(self) -> dict:
        """What was trained and how long it took (`phase.json`).

        Raises:
            Damaged: it cannot be read, or is another phase's.
            Newer: a newer version wrote it.
        """
        path = self.folder / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            is_newer = record.get("format", 0) > FORMAT
            is_whole = is_newer or (record["key"] == self.key and record.pop("sha256") == _digest(record))
        except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as problem:
            raise Damaged(f"{path} cannot be read ({_line(problem)})") from None
        if is_newer:
            raise Newer(_newer_sentence(path, record["format"]))
        if not is_whole:
            raise Damaged(f"{path} is not what was stored under {self.key}")
        return record

    def check(self) -> dict:
        """Read the record and the bytes of all files but the features, which are checked when they are used.

        Raises:
            Damaged: a file is missing or has changed.
            Newer: a newer version wrote the phase.
        """
        record = self.record
        for name in (WEIGHTS, OPTIMIZER, LOG):
            path = self.folder / name
            if not path.is_file() or hash_file(path) != record["files"].get(name):
                raise Damaged(f"{path} is not what was stored: it is missing, or its SHA-256 has changed")
        return record

    def load_into(self, network: nn.Module) -> None:
        """Give the network the weights and running statistics that the phase ended with; `check` has read them."""
        network.load_state_dict(load_file(self.folder / WEIGHTS))

    def optimizer_state(self) -> dict:
        """The optimizer's state at the phase's end.

        Raises:
            Damaged: it holds anything but tensors and plain values.
        """
        path = self.folder / OPTIMIZER
        return read_plain(path.read_bytes(), path)

    def features(self, clips: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """(N, D) features of a set of clips, computed once.

        Args:
            clips: their fingerprint.
            compute: gives the features where none are stored, or they are damaged.
        """
        stem = self.folder / "features" / clips[:16]
        with hold(stem, f"features of phase {self.key} are being computed"):
            for path in sorted(stem.parent.glob(f"{stem.name}-*.npy")):
                try:
                    return read_features(path)
                except Damaged as problem:
                    log.warning("%s; it is set aside as %s and computed again.", problem, set_aside(path).name)
            remove_temporary_files(stem)
            features = compute()
            with io.BytesIO() as buffer:
                np.save(buffer, features, allow_pickle=False)
                data = buffer.getvalue()
            write_bytes(stem.with_name(features_name(clips, data)), data)
        return features


def features_name(clips: str, data: bytes) -> str:
    """The name of a file of features: the clips' fingerprint, and the SHA-256 of its own bytes."""
    return f"{clips[:16]}-{hashlib.sha256(data).hexdigest()[:32]}.npy"


def read_features(path: Path) -> np.ndarray:
    """(N, D) features.

    Raises:
        Damaged: the file's name does not fit its bytes.
    """
    data = path.read_bytes()
    if path.name != features_name(path.name.partition("-")[0], data):
        raise Damaged(f"{path} is not what was stored: its SHA-256 has changed")
    return np.load(io.BytesIO(data), allow_pickle=False)


def torch_bytes(value: object) -> bytes:
    """Torch's bytes of a value, made in memory: a full disk is then an OSError when they are written."""
    with io.BytesIO() as buffer:
        torch.save(value, buffer)
        return buffer.getvalue()


def read_plain(data: bytes, path: Path) -> dict:
    """The dictionary of tensors and plain values in torch's bytes; no code of the file runs.

    Args:
        data: as `torch_bytes` gives them.
        path: their file, for the message.
    Raises:
        Damaged: they hold anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on files that it refuses next
            values = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as problem:  # torch has no kind of its own for a file that it cannot read
        raise Damaged(f"{path} cannot be read ({_line(problem)}): {REMEDY}") from None
    return values


def write_checkpoint(path: Path, values: dict) -> None:
    """Write tensors and plain values in one step, behind their SHA-256: torch itself reads a flipped bit as a number.

    Raises:
        OSError: the disk is full, for example; the file before stays.
    """
    data = torch_bytes(values | {"format": FORMAT})
    write_bytes(path, hashlib.sha256(data).digest() + data)


def read_checkpoint(path: Path) -> dict:
    """The values that `write_checkpoint` wrote.

    Raises:
        FileNotFoundError: there is none.
        Damaged: its bytes have changed.
        Newer: a newer version wrote it.
    """
    content = path.read_bytes()
    digest, data = content[:32], content[32:]
    if digest != hashlib.sha256(data).digest():
        raise Damaged(f"{path} is not what was written: its SHA-256 has changed")
    values = read_plain(data, path)
    number = values.pop("format", 0)
    if number > FORMAT:
        raise Newer(_newer_sentence(path, number))
    return values


def find_checkpoint(path: Path) -> Path | None:
    """The checkpoint to go on from; None where there is none, or a damaged one, which is set aside with a warning.

    Raises:
        Newer: a newer version wrote it.
    """
    remove_temporary_files(path)
    try:
        read_checkpoint(path)
    except FileNotFoundError:
        return None
    except Damaged:
        log.warning("%s is damaged and set aside as %s: its phase begins again.", path, set_aside(path).name)
        return None
    return path


class PhaseStore:
    """Finished phases under one folder, which processes and machines on one file system can share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def find(self, key: str) -> StoredPhase | None:
        """The finished phase with that key; None where there is none.

        Raises:
            Damaged: it exists, but is not whole.
            Newer: a newer version wrote it.
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
            train: trains the phase. Called, where the phase is not stored whole, with the folder for its checkpoints,
                from which it goes on, and with a function that raises `Superseded` once another process trains it.
            what: the phase's name, for the line about a wait.
            wait: for another process that trains it.
        Raises:
            Busy: another process trains it, and `wait` is False; or took it over.
            Newer: a newer version wrote it.
        """
        folder, work = self.folder / key, self.folder / f".{key}.work"
        with contextlib.suppress(Damaged):  # set aside below, under the lock
            stored = self.find(key)
            if stored and not (work.exists() or get_lock_path(folder).exists()):  # a killed process may leave those
                return stored, False
        with hold(folder, f"{what} ({key}) is being trained", wait) as require_lease:
            try:
                stored = self.find(key)
            except Damaged as problem:
                log.warning("%s; the phase is set aside as %s and trained again.", problem, set_aside(folder).name)
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
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in outcome.weights.items()}
        with atomic_folder(self.folder / key) as folder:
            for logs in work.glob("logs/*"):
                shutil.copytree(logs, folder / logs.name)
            (folder / WEIGHTS).write_bytes(save(weights))
            (folder / OPTIMIZER).write_bytes(torch_bytes(outcome.optimizer_state))
            pd.DataFrame(outcome.curve).to_csv(folder / LOG, index=False)
            files = {name: hash_file(folder / name) for name in (WEIGHTS, OPTIMIZER, LOG)}
            record = {"key": key, **outcome.record, "format": FORMAT, "files": files}
            text = json.dumps(record | {"sha256": _digest(record)}, indent=2) + "\n"
            (folder / RECORD).write_text(text, encoding="utf-8")


def _digest(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _newer_sentence(path: Path, number: int) -> str:
    return f"{path} has format {number}, this version of singtech reads up to {FORMAT}: install a newer one"


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:120] or type(problem).__name__
