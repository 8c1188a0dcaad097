"""The Lightning module that trains a network or its head."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from singtech.errors import Diverged
from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network
from singtech.streams import derive_seed
from singtech.training import augmentation
from singtech.training.phases import Training
from singtech.training.protocols import Augmentation, Constraint, Loss, Mixture, normalizer

Batch = tuple[Tensor, Tensor, Tensor]  # loss, logits and targets
WARMUP = 0.1  # share of a phase's steps
GPU_LOSS_BATCHES = 16  # reading losses waits for a GPU, so they are read together


class TechniqueModule(LightningModule):
    """A network in training.

    `curve` has a dict for each finished epoch: epoch (counted over the run), loss, accuracy and macro F1 on the
    training clips, and the same on the validation singers if there are any. Checkpoints contain it.

    Args:
        network: front end, extractor and head.
        phase: what is trained, and how. Checkpoints contain the extractor only if the phase changes it.
        criterion: the loss.
        techniques: K.
        seed: of the run.
        first_epoch: epochs of training before this phase.
        optimizer_state: from which the optimizer starts.
        augment: changes the training waveforms or their spectrograms.
        learnable: module to train in place of the head's own weights.
        batch_clips: called with epoch and batch, gives the names of its clips for the message of a diverged run.
        mix: mixes the clips of a batch.
        constraint: called with the head after every step, changes it.
        batch_size: clips a step, over all devices.
    """

    def __init__(
        self,
        network: Network,
        phase: Training,
        criterion: Loss,
        techniques: int,
        seed: int,
        *,
        first_epoch: int = 0,
        optimizer_state: dict | None = None,
        augment: Augmentation | None = None,
        learnable: nn.Module | None = None,
        batch_clips: Callable[[int, int], list[str]] | None = None,
        mix: Mixture | None = None,
        constraint: Constraint | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        self.network, self.phase, self.criterion, self.learnable = network, phase, criterion, learnable
        self.techniques, self.seed, self.first_epoch, self.batch_size = techniques, seed, first_epoch, batch_size
        self.augment, self.mix, self.constraint, self.optimizer_state = augment, mix, constraint, optimizer_state
        self.batch_clips = batch_clips
        self.offset_rate = getattr(phase, "offset_rate", 1.0)
        self.label_smoothing = getattr(phase, "label_smoothing", 0.0)
        self.strict_loading = phase.changes_extractor
        self.curve: list[dict[str, float]] = []
        self.train_batches: list[Batch] = []  # of the current epoch
        self.validation_batches: list[Batch] = []
        self.train_metrics, self.validation_metrics = _Metrics(techniques), _Metrics(techniques)

    def forward(self, inputs: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, S) waveforms or (B, D) features -> (B, K) logits; `change` is of the front end's output."""
        if self.phase.trains == "network":
            outputs = self.network.front_end(inputs)
            return self.network.classifier(self.network.extractor(outputs if change is None else change(outputs)))
        if not self.phase.is_on_features:
            with torch.no_grad():
                inputs = self.network.features(inputs)
        head = self.network.classifier if self.learnable is None else self.learnable
        return head(inputs)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """List the parameters to train: the network's, or the head's alone; and those of the loss if it has any."""
        part = self.network if self.phase.trains == "network" else self.learnable or self.network.classifier
        loss_parameters = self.criterion.parameters() if isinstance(self.criterion, nn.Module) else ()
        return [*part.parameters(), *loss_parameters]

    def configure_optimizers(self) -> Any:
        """Build the phase's optimizer with the state of the previous phase, and the decay of its learning rate."""
        optimizer = self.phase.optimizer_settings(self._parameter_groups())
        if self.offset_rate != 1:
            optimizer.param_groups[-1]["lr"] *= self.offset_rate
        if self.optimizer_state is not None:
            rates = [group.get("lr") for group in optimizer.param_groups]
            optimizer.load_state_dict(self.optimizer_state)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group.pop("initial_lr", None)  # from the decay of the previous phase
                if rate is not None:
                    group["lr"] = rate
        if self.phase.decay == "none":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, functools.partial(decay_factor, self.phase.decay, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list:
        """Group the parameters to train: if offsets have their own rate, their layers are a second group."""
        parameters = self.trainable_parameters()
        if self.offset_rate == 1:
            return parameters
        layers = [layer.shift for layer in self.network.modules() if isinstance(layer, DeformableConv2d)]
        offsets = [parameter for layer in layers for parameter in layer.parameters()]
        offset_ids = set(map(id, offsets))
        others = [parameter for parameter in parameters if id(parameter) not in offset_ids]
        return [{"params": others}, {"params": offsets}]

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the run's seed and the epoch."""
        self.epoch_start = time.perf_counter()
        if self.phase.trains == "network":
            self.network.train()
        if hasattr(self.criterion, "begin_epoch"):
            self.criterion.begin_epoch(self.current_epoch / int(self.trainer.max_epochs or 1))
        torch.manual_seed(derive_seed(self.seed, f"dropout/{self.absolute_epoch}{self._rank_suffix}"))

    def training_step(self, batch: tuple, batch_idx: int) -> Tensor:
        """The loss of a batch: (B, S) waveforms or (B, D) features, (B,) technique indices, and perhaps `Margins`.

        If several devices share a batch, the loss of each is scaled so that the mean of their gradients is the gradient
        of the loss over the whole batch.

        Raises:
            Diverged: the loss of this batch is not finite; on a GPU, one of the last `GPU_LOSS_BATCHES`.
        """
        inputs, targets, *margins = batch
        stages = augmentation.stages(self.augment)
        generators = self._augment_generators(batch_idx, len(targets)) if stages else []
        if "waveforms" in stages:
            inputs = stages["waveforms"](inputs, generators, *margins)
        labels = targets
        if self.mix is not None:
            name = f"mix/{self.absolute_epoch}/{batch_idx}{self._rank_suffix}"
            generator = torch.Generator().manual_seed(derive_seed(self.seed, name))
            inputs, labels = self.mix(inputs, targets, generator)
        if self.label_smoothing:
            labels = smooth_labels(labels, self.techniques, self.label_smoothing)
        change = functools.partial(stages["spectrograms"], generators=generators) if "spectrograms" in stages else None
        loss = self._loss(self(inputs, change), labels, targets, self.train_batches)
        interval = GPU_LOSS_BATCHES if loss.is_cuda else 1
        if (batch_idx + 1) % interval == 0:
            self._require_finite(batch_idx + 1 - interval)
        if not torch.distributed.is_initialized():
            return loss
        divisor = normalizer(self.criterion, labels)
        total = divisor.clone()
        torch.distributed.all_reduce(total)
        return loss * divisor * torch.distributed.get_world_size() / total

    def on_train_batch_end(self, *_: Any) -> None:
        """Apply the constraint to the head."""
        if self.constraint is not None:
            self.constraint(self.network.classifier)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Compute the loss of a batch of the validation singers for the curve."""
        inputs, targets = batch
        self._loss(self(inputs), targets, targets, self.validation_batches)

    def on_train_epoch_end(self) -> None:
        """Log the epoch and add it to the curve.

        Raises:
            Diverged: a training or validation loss is not finite.
        """
        self._require_finite(0)
        values = self.train_metrics.compute(self.train_batches)
        if self.validation_batches:
            validation = self.validation_metrics.compute(self.validation_batches)
            values |= {f"validation_{name}": value for name, value in validation.items()}
        epoch = self.absolute_epoch + 1
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(f"{name} is {value} in epoch {epoch}: {self._advice}")
        self.log_dict(values)
        seconds = round(time.perf_counter() - self.epoch_start, 4)
        self.curve.append({"epoch": epoch, **values, "seconds": seconds})

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add the curve; leave out a fixed extractor."""
        checkpoint["curve"] = self.curve
        checkpoint["state_dict"] = self.state_to_save(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore the curve."""
        self.curve = list(checkpoint["curve"])

    def state_to_save(self, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Take a state dict, by default the current one, without the extractor if the phase does not change it."""
        state = self.state_dict() if state is None else state
        fixed_parts = () if self.strict_loading else ("network.front_end.", "network.extractor.")
        return {name: value for name, value in state.items() if not name.startswith(fixed_parts)}

    @property
    def absolute_epoch(self) -> int:
        """Number of epochs of the run before this one, over all its phases."""
        return self.first_epoch + self.current_epoch

    @property
    def _rank_suffix(self) -> str:
        return f"/{self.global_rank}" if self.global_rank else ""

    def _augment_generators(self, batch: int, clips: int) -> list[torch.Generator]:
        """Seed a generator for each clip of a batch by its place in the epoch, or the same one for all of them."""
        if augmentation.takes_one_generator(self.augment):
            names = [f"{batch}{self._rank_suffix}"]
        else:
            devices = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
            first = batch * self.batch_size + self.global_rank  # see `SharedBatches`
            names = [f"clip/{first + devices * clip}" for clip in range(clips)]
        seeds = [derive_seed(self.seed, f"augment/{self.absolute_epoch}/{name}") for name in names]
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    @property
    def _advice(self) -> str:
        rate = getattr(self.phase.optimizer_settings, "keywords", {}).get("lr")
        return f"training has diverged; try a smaller optimizer.lr than {rate}."

    def _require_finite(self, first_batch: int) -> None:
        """Raise `Diverged` at the first loss that is not finite, from batch `first_batch` of the epoch on."""
        losses = torch.stack([loss for loss, _, _ in self.train_batches[first_batch:]])
        for batch, value in enumerate(losses.tolist(), first_batch):
            if not math.isfinite(value):
                clips = self.batch_clips(self.current_epoch, batch) if self.batch_clips else []
                names = f" of {len(clips)} clips ({', '.join(clips)})" if clips else ""
                epoch = self.absolute_epoch + 1
                raise Diverged(f"the loss is {value} in epoch {epoch}, batch {batch + 1}{names}: {self._advice}")

    def _loss(self, logits: Tensor, labels: Tensor, targets: Tensor, batches: list[Batch]) -> Tensor:
        """Compute the loss of a batch from its labels; the curve scores the logits against the targets."""
        logits = logits.float()
        loss = self.criterion(logits, labels)
        batches.append((loss.detach(), logits.detach(), targets))
        return loss


def decay_factor(decay: str, steps: int, step: int) -> float:
    """Factor on the learning rate at a step.

    `linear` and `cosine` fall from 1 to 0 over the steps. `warmup_cosine` rises linearly to 1 over the first tenth of
    the steps, then falls by a cosine.
    """
    warmup = math.ceil(WARMUP * steps) if decay == "warmup_cosine" else 0
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return 1 - progress if decay == "linear" else (1 + math.cos(math.pi * progress)) / 2


def smooth_labels(labels: Tensor, techniques: int, smoothing: float) -> Tensor:
    """Spread a share of each label over all techniques, like torch's `label_smoothing`.

    Args:
        labels: (B,) technique indices or (B, K) shares.
        techniques: K.
        smoothing: the share.
    Returns:
        (B, K) shares.
    """
    shares = F.one_hot(labels, techniques).float() if labels.ndim == 1 else labels
    return (1 - smoothing) * shares + smoothing / techniques


class _Metrics(nn.Module):
    """Mean loss, accuracy and macro F1 of an epoch."""

    def __init__(self, techniques: int) -> None:
        super().__init__()
        self.loss = MeanMetric(nan_strategy="disable")  # nan must stay visible
        scores: dict[str, Metric | MetricCollection] = {
            "accuracy": MulticlassAccuracy(techniques, average="micro"),
            "f1": MulticlassF1Score(techniques, average="macro"),
        }
        self.scores = MetricCollection(scores, compute_groups=False)

    def compute(self, batches: list[Batch]) -> dict[str, float]:
        """Compute the metrics over an epoch's batches, and clear the list."""
        losses, logits, targets = zip(*batches, strict=True)
        counts = torch.tensor([len(batch) for batch in targets], device=losses[0].device)
        self.loss.update(torch.stack(losses), counts)
        self.scores.update(torch.cat(logits), torch.cat(targets))
        values = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        batches.clear()
        return {name: float(value) for name, value in values.items()}
