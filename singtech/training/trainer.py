"""The machine that trains a phase: Lightning's Trainer with our settings, and its checkpoints."""

import ctypes
import logging
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from singtech.components import ComponentError, find_user_line
from singtech.corpus.clip_store import Corpus
from singtech.errors import Diverged, InvalidValue
from singtech.models.deformable import backend_for, choose_backend
from singtech.models.network import Network
from singtech.training.callbacks import PreserveSignals
from singtech.training.phase_store import read_checkpoint, write_checkpoint

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class Machine:
    """Where and how to compute. Only `precision` and `devices` change results by more than rounding.

    Args:
        accelerator: `auto` picks a GPU, Apple's MPS or the CPU; or Lightning's name of one.
        devices: how many train together; everything else is done on one.
        precision: one of `PRECISIONS`.
        deformable: the backend of deformable convolutions, see `singtech.models.deformable.deform_conv2d`.
        deterministic: use only GPU operations that repeat to the bit.
        resident: keep a corpus's clips in a GPU's memory where they take no more than a quarter of it.
        cache_features: re-train classifiers on features computed once, where the extractor is in eval mode.
        progress: show bars.
        loggers: called with a phase's folder and the names and numbers of the phase, gives Lightning loggers.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    deformable: str = "auto"
    deterministic: bool = False
    resident: bool = True
    cache_features: bool = True
    progress: bool = True
    loggers: Callable[[Path, Mapping], list] = field(default=lambda folder, about: [])

    def trainer(self, callbacks: list[Callback] | None = None, devices: int = 1, **options) -> pl.Trainer:
        """A quiet Trainer on this machine, on one device or on several that share every batch.

        Raises:
            InvalidValue: Lightning refuses the machine.
        """
        make_ready()
        try:
            return pl.Trainer(
                accelerator=self.accelerator,
                devices=devices,
                strategy="auto" if devices == 1 else DDPStrategy(start_method="spawn"),
                use_distributed_sampler=False,  # our loaders know their share
                precision=self.precision,  # type: ignore[arg-type]  # `PRECISIONS` are among Lightning's names
                deterministic=self.deterministic,
                plugins=[WholeCheckpoints(), LightningEnvironment()],  # we start processes, also in a Slurm job
                callbacks=[*(callbacks or []), PreserveSignals(make_ready)],
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                **{"logger": False, **options},
            )
        except ValueError as problem:
            raise InvalidValue(f"trainer: {problem}") from None

    @property
    def device(self) -> torch.device:
        """Where a single process of this machine computes."""
        return self.trainer().strategy.root_device

    def ready(self, network: Network, device: torch.device) -> Network:
        """The network, with this machine's backend for its deformable layers, or the best one on the device."""
        choose_backend(network, backend_for(device, self.deformable))
        return network

    def clips_on(self, device: torch.device, corpus: Corpus) -> Tensor | None:
        """(N, S) int16, all clips of a corpus in a GPU's memory; None if not `resident` or they take too much room."""
        if not self.resident or self.devices > 1 or device.type != "cuda":
            return None
        key = (corpus.folder, corpus.state, device)
        if key not in _RESIDENT:
            _RESIDENT.clear()
            torch.cuda.empty_cache()
            free, total = torch.cuda.mem_get_info(device)
            if corpus.waveforms.nbytes > min(total / 4, free / 2):
                return None
            _RESIDENT[key] = torch.from_numpy(np.ascontiguousarray(corpus.waveforms)).to(device)
        return _RESIDENT[key]


_RESIDENT: dict[tuple, Tensor] = {}  # one corpus at a time, from run to run


@contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Turn Lightning's exit after ctrl-C back into KeyboardInterrupt, and restore the handler of ctrl-C.

    Kill the processes that train together before this one releases its locks.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException as end:
        for process in getattr(trainer.strategy.launcher, "procs", []):
            process.kill()
            process.join()
        if isinstance(end, SystemExit) and trainer.interrupted:
            signal.signal(signal.SIGINT, handler)
            raise (end.__context__ if isinstance(end.__context__, KeyboardInterrupt) else KeyboardInterrupt) from None
        raise


@contextmanager
def raise_from_processes() -> Iterator[None]:
    """Raise here what went wrong in one of several processes that train together."""
    try:
        yield
    except ProcessRaisedException as problem:  # its text ends with a traceback and the error
        lines = str(problem).strip().splitlines()
        end_of_traceback = max((number for number, line in enumerate(lines) if line.startswith("  ")), default=-1)
        kind, _, text = lines[min(end_of_traceback + 1, len(lines) - 1)].partition(": ")
        full_disk = re.match(r"\[Errno (\d+)\] ([^:]*)", text) if kind == "OSError" else None
        if full_disk:
            raise OSError(int(full_disk[1]), full_disk[2]) from problem
        if kind.endswith("Diverged"):
            raise Diverged(text) from problem
        line = find_user_line(str(problem))
        if line and not re.search("out of memory|can't allocate memory", text):
            raise ComponentError(f"{line}: {kind.rpartition('.')[2]}: {text}") from problem
        raise RuntimeError(text or kind) from problem
    except ProcessExitedException as problem:
        cause = "out of memory? " if problem.signal_name == "SIGKILL" else ""
        raise RuntimeError(f"{cause}a process that trained with others ended: {problem}") from problem


LIGHTNING = r"(pytorch_lightning|lightning_fabric)\."


def make_ready() -> None:
    """Let glibc keep memory, and hide Lightning's advice, which is about things that are meant so."""
    keep_memory()
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=LIGHTNING)  # clips come from memory, epochs may be short


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints by `write_checkpoint` and `read_checkpoint`: in one step, of plain values."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint over the one before."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, map_location: object = None, weights_only: object = True) -> dict:
        """Read a checkpoint onto the CPU."""
        return read_checkpoint(Path(path))


def keep_memory() -> None:
    """Let glibc keep freed memory for the next step instead of giving it back and asking for it page by page.

    A step on the CPU takes and frees the same large maps every time; this made one 1.6 times faster on two cores.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # names and numbers of <malloc.h>
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
        ctypes.CDLL(None).mallopt(option, value)
