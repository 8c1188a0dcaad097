"""Callbacks of a phase: what is frozen, progress bars, checkpoints, the best epoch, signals."""

import copy
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import Tensor
from tqdm import tqdm

from singtech.io.interrupts import end_if_asked
from singtech.training.module import TechniqueModule
from singtech.training.recalibration import recalibrate


class FreezeExtractor(Callback):
    """Hold everything but the head fixed (Section 3.3).

    Args:
        mode: `eval`, or `train`, in which dropout and batch statistics still move.
    """

    def __init__(self, mode: str = "eval") -> None:
        self.mode = mode

    def setup(self, trainer: pl.Trainer, module: TechniqueModule, stage: str) -> None:
        """Leave a gradient to what the phase moves alone, before devices agree on what they share."""
        moved = [parameter for parameter in module.trained_parameters() if parameter.requires_grad]
        module.network.requires_grad_(False)
        for parameter in moved:
            parameter.requires_grad_(True)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Set the modes; the head is in training."""
        module.network.train(self.mode == "train")
        module.network.classifier.train()


class ValidateRecalibrated(Callback):
    """Validate with batch-norm statistics estimated on some training clips, as the network will be used.

    Args:
        waveforms: gives (B, S) batches on the device that it is called with.
    """

    def __init__(self, waveforms: Callable[[torch.device], Iterable[Tensor]]) -> None:
        self.waveforms, self.running = waveforms, {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Keep the running statistics of training and estimate others."""
        self.running = {name: value.clone() for name, value in module.network.named_buffers()}
        recalibrate(module.network, self.waveforms(module.device))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Give training its running statistics back."""
        for name, value in module.network.named_buffers():
            value.copy_(self.running[name])


class BestEpoch(Checkpoint):
    """Keep the weights and the optimizer's state of the epoch with the highest macro F1 on the validation singers.

    Of equal epochs the first counts. The state travels in the checkpoints.
    """

    def __init__(self) -> None:
        self.best: dict = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Look at the epoch that has just ended."""
        entry = module.curve[-1]
        if entry["validation_f1"] > self.best.get("f1", -1.0):
            state = {"weights": module.moving_state(), "optimizer": module.optimizers().optimizer.state_dict()}
            self.best = {"epoch": entry["epoch"], "f1": entry["validation_f1"], **copy.deepcopy(state)}

    def state_dict(self) -> dict:
        """For the checkpoint."""
        return self.best

    def load_state_dict(self, state_dict: dict) -> None:
        """From the checkpoint."""
        self.best = dict(state_dict)


class EpochCheckpoint(Checkpoint):
    """Write the state of training after every epoch, in one step, over that of the epoch before.

    Args:
        path: of the checkpoint.
        require_lease: called after every epoch; raises where another process has taken the phase over.
    """

    def __init__(self, path: Path, require_lease: Callable[[], None] | None = None) -> None:
        self.path, self.require_lease = path, require_lease

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Called after all other callbacks, as Lightning does for checkpoints."""
        if self.require_lease is not None:
            self.require_lease()
        trainer.save_checkpoint(self.path)


class KeepSignals(Callback):
    """Leave SIGTERM to the handler that was there before; Lightning would end training as if by ctrl-C.

    On Slurm SIGTERM only announces the end of a job that is pre-empted and queued again.

    Args:
        prepare: called in each of the processes that train together.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self.prepare = prepare

    def setup(self, trainer: pl.Trainer, module: TechniqueModule, stage: str) -> None:
        """Called before Lightning sets its own handler."""
        self.prepare()
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_) -> None:
        """Called after it has."""
        signal.signal(signal.SIGTERM, self.handler)

    on_predict_start = on_train_start


class _Progress(Callback):
    """One bar.

    Args:
        title: before the bar.
        is_shown: False draws nothing.
    """

    def __init__(self, title: str, is_shown: bool = True) -> None:
        self.title, self.is_shown, self.bar = title, is_shown, None

    def count(self, *_) -> None:
        """One batch on."""
        self.bar.update()
        end_if_asked()

    def close(self, *_) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    on_exception = close


class PhaseProgress(_Progress):
    """One bar for a phase, over all its batches, so that the estimate is the time to the phase's end.

    Args:
        epochs: of the phase.
    """

    def __init__(self, title: str, epochs: int, is_shown: bool = True) -> None:
        super().__init__(title, is_shown)
        self.epochs = epochs

    def on_train_start(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Open the bar at the epoch that training goes on from."""
        batches = int(trainer.num_training_batches)
        initial = batches * trainer.current_epoch
        self.bar = progress_bar(self.title, "batch", batches * self.epochs, self.is_shown, initial)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Show the scores of the epoch before."""
        if module.curve:
            last = module.curve[-1]
            text = f"epoch {trainer.current_epoch}/{self.epochs}: loss {last['loss']:.3f}, F1 {last['f1']:.3f}"
            if "validation_f1" in last:
                text += f", validation F1 {last['validation_f1']:.3f}"
            self.bar.set_postfix_str(text, refresh=False)

    on_train_batch_end = _Progress.count
    on_train_end = _Progress.close


class PassProgress(_Progress):
    """One bar for one pass over clips without training."""

    def on_predict_start(self, trainer: pl.Trainer, module: TechniqueModule) -> None:
        """Open the bar."""
        self.bar = progress_bar(self.title, "batch", sum(trainer.num_predict_batches), self.is_shown)

    on_predict_batch_end = _Progress.count
    on_predict_end = _Progress.close


def progress_bar(title: str, unit: str, total: int, is_shown: bool = True, initial: int = 0) -> tqdm:
    """A bar with an estimate; redrawn seldom where it goes to no terminal."""
    return tqdm(
        desc=title,
        unit=unit,
        total=total,
        initial=initial,
        disable=not is_shown,
        mininterval=0.2 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
        leave=True,
        smoothing=0.05,
        bar_format="{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}, {remaining} left{postfix}]",
    )


def counted(items: Iterable, bar: tqdm) -> Iterator:
    """The items, each of them counted by the bar when it has been used."""
    for item in items:
        yield item
        bar.update()
