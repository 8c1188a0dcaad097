"""The phase store: a phase is obtained by its key, trained if nobody has, taken from the disk if somebody did.

`<store>/<key>/` holds a finished phase: `weights.safetensors` (the network), `optimizer.pt` (plain tensors, read with
weights only), `log.csv` (one row an epoch), `phase.json` (what was trained, how long it took) and `features/` (what the
extractor makes of a set of clips). It appears in one step when the phase is done. Until then `<store>/.<key>.work/`
holds the checkpoint of the last finished epoch.
"""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from singtech.files import atomic_folder, atomic_path


@dataclass
class Outcome:
    """What training a phase gives, ready to be stored."""

    network: nn.Module
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
        """What was trained and how long it took (`phase.json`)."""
        return json.loads((self.folder / "phase.json").read_text(encoding="utf-8"))

    def load_into(self, network: nn.Module) -> None:
        """Give the network the weights and running statistics that the phase ended with.

        Raises:
            ValueError: the stored weights are damaged or those of another network.
        """
        path = self.folder / "weights.safetensors"
        try:
            network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as problem:
            reason = str(problem).splitlines()[0]
            raise ValueError(
                f"{path} cannot be read ({reason}): remove the folder {self.folder} and run again to train it anew."
            ) from None

    def optimizer_state(self) -> dict:
        """The optimiser's state at the phase's end."""
        return torch.load(self.folder / "optimizer.pt", map_location="cpu", weights_only=True)

    def features(self, clips: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """(N, D) features of a set of clips, computed once.

        Args:
            clips: their fingerprint.
            compute: gives the features if they are not there yet.
        """
        path = self.folder / "features" / f"{clips[:16]}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)
        features = compute()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, features, allow_pickle=False)
        return features


class PhaseStore:
    """Finished phases under one folder, which processes and machines on one file system can share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def find(self, key: str) -> StoredPhase | None:
        """The finished phase with that key, if it is there."""
        folder = self.folder / key
        return StoredPhase(folder) if (folder / "phase.json").exists() else None

    def obtain(self, key: str, train: Callable[[Path], Outcome]) -> tuple[StoredPhase, bool]:
        """The phase with that key, and whether it had to be trained.

        Args:
            key: from `phase_keys`.
            train: trains the phase, keeping its checkpoints in the folder that it is given, and going on from those it
                finds there. Called only if the phase is not stored; other processes wait for it meanwhile.
        """
        found = self.find(key)
        if found:
            return found, False
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{key}.lock"):
            found = self.find(key)
            if found:
                return found, False
            work = self.folder / f".{key}.work"
            work.mkdir(exist_ok=True)
            self._publish(key, train(work), work)
            shutil.rmtree(work, ignore_errors=True)
        return StoredPhase(self.folder / key), True

    def _publish(self, key: str, outcome: Outcome, work: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in outcome.network.state_dict().items()}
        with atomic_folder(self.folder / key) as folder:
            for logs in work.glob("logs/*"):
                shutil.copytree(logs, folder / logs.name)
            (folder / "weights.safetensors").write_bytes(save(weights))
            with io.BytesIO() as buffer:  # so that a full disk is Python's OSError, not torch's or safetensors' own
                torch.save(outcome.optimizer_state, buffer)
                (folder / "optimizer.pt").write_bytes(buffer.getvalue())
            pd.DataFrame(outcome.curve).to_csv(folder / "log.csv", index=False)
            record = json.dumps({"key": key, **outcome.record}, indent=2) + "\n"
            (folder / "phase.json").write_text(record, encoding="utf-8")
