"""The machine that trains a phase: Lightning's Trainer with this package's settings, and its checkpoints."""

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
from pytorch_lightning.utilities.exceptions import MisconfigurationException
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
    """Settings of the computation. Only `precision` and `devices` change results by more than rounding.

    Args:
        accelerator: `auto` picks a GPU, Apple's MPS or the CPU; or Lightning's name of one.
        devices: number of devices that train together; all other work is done on one.
        precision: one of `PRECISIONS`.
        deformable: the backend of deformable convolutions, see `singtech.models.deformable.deform_conv2d`.
        deterministic: use only GPU operations that give the same bits in each run.
        resident: keep a corpus's clips in a GPU's memory if they need at most a quarter of it.
        progress: show progress bars.
        loggers: called with a phase's folder and a dict that describes the phase, gives Lightning loggers.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    deformable: str = "auto"
    deterministic: bool = False
    resident: bool = True
    progress: bool = True
    loggers: Callable[[Path, Mapping], list] = field(default=lambda folder, phase_info: [])

    def make_trainer(self, callbacks: list[Callback] | None = None, devices: int = 1, **options) -> pl.Trainer:
        """Make a Trainer without output, for one device or several that share every batch.

        Raises:
            InvalidValue: Lightning refuses the machine.
        """
        prepare_process()
        try:
            return pl.Trainer(
                accelerator=self.accelerator,
                devices=devices,
                strategy="auto" if devices == 1 else DDPStrategy(start_method="spawn"),
                use_distributed_sampler=False,  # our data loaders split the batches
                precision=self.precision,  # type: ignore[arg-type]  # `PRECISIONS` are among Lightning's names
                deterministic=self.deterministic,
                plugins=[AtomicCheckpointIO(), LightningEnvironment()],  # we start the processes, even in a Slurm job
                callbacks=[*(callbacks or []), PreserveSignals(prepare_process)],
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                **{"logger": False, **options},
            )
        except (ValueError, ModuleNotFoundError, MisconfigurationException) as problem:
            hint = " Omit trainer.accelerator to compute on what is there." if self.accelerator != "auto" else ""
            raise InvalidValue(f"trainer.accelerator={self.accelerator}: {problem}{hint}") from None

    @property
    def device(self) -> torch.device:
        """The device of a single process."""
        return self.make_trainer().strategy.root_device

    def set_backend(self, network: Network, device: torch.device) -> Network:
        """Set the backend of the network's deformable layers, by default the fastest on the device; return it."""
        choose_backend(network, backend_for(device, self.deformable))
        return network

    def load_clips(self, device: torch.device, corpus: Corpus) -> Tensor | None:
        """Load a corpus's clips into a GPU's memory, (N, S) int16; None if not `resident` or too large."""
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


_RESIDENT: dict[tuple, Tensor] = {}  # clips of one corpus at a time, kept from run to run


@contextmanager
def handle_interrupts(trainer: pl.Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt in place of Lightning's exit after ctrl-C, and restore the handler of ctrl-C.

    Kill the other processes that train with this one, before this one releases its locks.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException as error:
        for process in getattr(trainer.strategy.launcher, "procs", []):
            process.kill()
            process.join()
        if isinstance(error, SystemExit) and trainer.interrupted:
            signal.signal(signal.SIGINT, handler)
            cause = error.__context__
            raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt) from None
        raise


@contextmanager
def raise_from_processes() -> Iterator[None]:
    """Raise the error of one of several processes that train together in this process."""
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


def prepare_process() -> None:
    """Let glibc keep memory, and hide Lightning's advice about things that are intended here."""
    keep_memory()
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # such as few data workers and short epochs
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints in our format: written in one step, with plain values only."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint over the previous one."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, map_location: object = None, weights_only: object = True) -> dict:
        """Read a checkpoint onto the CPU."""
        return read_checkpoint(Path(path))


def keep_memory() -> None:
    """Let glibc keep freed memory for the next step instead of returning it to the system.

    Every step on the CPU allocates the same large maps; with this a step was 1.6 times faster on two cores.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # names and numbers of <malloc.h>
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
        ctypes.CDLL(None).mallopt(option, value)
