"""Callbacks of a phase: fixed extractor, progress bar, checkpoints, best epoch, signals.

In all of them `module` is a `singtech.training.module.TechniqueModule`.
"""

import copy
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, WeightAveraging
from torch import Tensor
from tqdm import tqdm

from singtech.io.interrupts import raise_if_signalled
from singtech.io.terminal import progress_bar
from singtech.training.recalibration import recalibrate


class FreezeExtractor(Callback):
    """Hold everything but the head fixed (Section 3.3).

    Args:
        mode: of the extractor: `eval`, or `train`, in which dropout and batch statistics are active.
    """

    def __init__(self, mode: str = "eval") -> None:
        self.mode = mode

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """Switch off the gradients of all parameters that are not trained, before devices share the others."""
        parameters = [parameter for parameter in module.trainable_parameters() if parameter.requires_grad]
        module.network.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Set the mode of the extractor; the head is in training mode."""
        module.network.train(self.mode == "train")
        module.network.classifier.train()


class ValidateRecalibrated(Callback):
    """Validate with batch-norm statistics estimated on some training clips, as in the evaluation.

    Args:
        waveforms: called with a device, gives (B, S) batches on it.
    """

    def __init__(self, waveforms: Callable[[torch.device], Iterable[Tensor]]) -> None:
        self.waveforms = waveforms

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Save the running statistics of training, and estimate new ones."""
        self.running = {name: value.clone() for name, value in module.network.named_buffers()}
        recalibrate(module.network, self.waveforms(module.device))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Restore the running statistics of training."""
        for name, value in module.network.named_buffers():
            value.copy_(self.running[name])


class BestEpoch(Checkpoint):
    """Store the weights and the optimizer's state of the epoch with the highest macro F1 on the validation singers.

    The first of equally good epochs counts. Checkpoints contain this state.
    """

    def __init__(self) -> None:
        self.best: dict = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Compare the epoch with the best earlier one."""
        entry = module.curve[-1]
        if entry["validation_f1"] > self.best.get("f1", -1.0):
            state = {"weights": module.state_to_save(), "optimizer": module.optimizers().optimizer.state_dict()}
            self.best = {"epoch": entry["epoch"], "f1": entry["validation_f1"], **copy.deepcopy(state)}

    def state_dict(self) -> dict:
        return self.best

    def load_state_dict(self, state_dict: dict) -> None:
        self.best = dict(state_dict)


class LastEpochs(WeightAveraging):
    """Average the weights after the last epochs of a phase. Checkpoints contain the mean; validation does not use it.

    Args:
        number: of epochs.
    """

    def __init__(self, number: int) -> None:
        super().__init__(use_buffers=False)
        self.number = number

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the first epoch that counts."""
        super().setup(trainer, pl_module, stage)
        self.first = int(trainer.max_epochs or 0) - self.number

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the weights count: after an epoch, one of the last ones."""
        return epoch_idx is not None and epoch_idx >= self.first

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the present weights: before the last epochs there is no mean."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the present weights."""

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict) -> None:
        """Restore the mean; checkpoints of a head lack the fixed extractor, which the module has."""
        whole = pl_module.state_dict() | checkpoint["state_dict"]
        super().on_load_checkpoint(trainer, pl_module, checkpoint | {"state_dict": whole})


class EpochCheckpoint(Checkpoint):
    """Write the state of training after every epoch, in one step, over that of the previous epoch.

    Args:
        path: of the checkpoint.
        require_lease: raises `LeaseLost` if another process has taken over the phase.
    """

    def __init__(self, path: Path, require_lease: Callable[[], None] | None = None) -> None:
        self.path, self.require_lease = path, require_lease

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Write the checkpoint; Lightning calls checkpoints after all other callbacks."""
        if self.require_lease is not None:
            self.require_lease()
        trainer.save_checkpoint(self.path)


class PreserveSignals(Callback):
    """Keep the process's own handler of SIGTERM; Lightning's handler would end training as ctrl-C does.

    Slurm sends SIGTERM before it stops a job to restart it later.

    Args:
        prepare: called in each of the processes that train together.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self.prepare = prepare

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """Remember the handler before Lightning replaces it."""
        self.prepare()
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_: Any, **__: Any) -> None:
        """Restore the handler that Lightning has replaced."""
        signal.signal(signal.SIGTERM, self.handler)


class Progress(Callback):
    """A bar over all batches of a phase, with the remaining time.

    Args:
        title: text before the bar.
        is_shown: False draws nothing.
        after_epoch: called after every epoch but the last with the epochs so far, all epochs, and the seconds so far.
    """

    def __init__(
        self, title: str, is_shown: bool = True, after_epoch: Callable[[int, int, float], None] | None = None
    ) -> None:
        self.title, self.is_shown, self.after_epoch = title, is_shown, after_epoch
        self.bar = tqdm(disable=True)  # until training starts

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Open the bar at the epoch from which training continues."""
        batches = int(trainer.num_training_batches)
        initial = batches * trainer.current_epoch
        total = batches * int(trainer.max_epochs or 0)
        self.bar = progress_bar(self.title, "batches", total, self.is_shown, initial=initial)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Show the scores of the previous epoch."""
        if module.curve:
            last = module.curve[-1]
            scores = f"loss {last['loss']:.3f}, F1 {last['f1']:.3f}"
            if "validation_f1" in last:  # a line of a terminal has no room for the loss too
                scores = f"F1 {last['f1']:.3f} (validation {last['validation_f1']:.3f})"
            text = f"epoch {trainer.current_epoch}/{trainer.max_epochs}, {scores}"
            self.bar.set_postfix_str(text, refresh=False)
            if self.after_epoch:
                seconds = sum(entry["seconds"] for entry in module.curve)
                self.after_epoch(trainer.current_epoch, int(trainer.max_epochs or 0), seconds)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Advance by one batch."""
        self.bar.update()
        raise_if_signalled()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the bar."""
        self.bar.close()

    on_exception = on_train_end
