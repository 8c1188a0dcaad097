"""The Lightning module that trains a network or its head."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from singtech.errors import Diverged
from singtech.models.deformable import DeformableConv2d
from singtech.models.network import Network
from singtech.streams import derive_seed
from singtech.training.protocols import Augmentation, Constraint, Loss, Mixture, Optimizer, normalizer

Batch = tuple[Tensor, Tensor, Tensor]  # loss, logits and targets
GPU_LOSS_BATCHES = 16  # reading losses waits for a GPU, so they are read together


class TechniqueModule(LightningModule):
    """A network in training.

    `curve` holds a dict for each finished epoch: epoch (counted over the run), loss, accuracy and macro F1 on the
    training clips, and the same on the validation singers if there are any. Checkpoints hold it.

    Args:
        network: front end, extractor and head.
        criterion: the loss.
        optimizer: called with the parameters to train.
        techniques: K.
        seed: of the run.
        trains: `network`, or `head` alone.
        first_epoch: epochs of training before this phase.
        optimizer_state: the optimizer's first state.
        augment: changes the training waveforms.
        learnable: trained in place of the head's own weights.
        on_features: whether batches hold (B, D) features instead of (B, S) waveforms.
        whole_checkpoints: False leaves the extractor out of checkpoints, for phases that do not change it.
        batch_clips: gives the names of the clips in a batch of an epoch, for the message of a diverged run.
        offset_rate: factor on the learning rate of the layers that predict offsets.
        decay: of the learning rate over the phase's steps: `none`, `linear` or `cosine`.
        mix: mixes the clips of a batch.
        constraint: called with the head after every step.
    """

    def __init__(
        self,
        network: Network,
        criterion: Loss,
        optimizer: Optimizer,
        techniques: int,
        seed: int,
        *,
        trains: str = "network",
        first_epoch: int = 0,
        optimizer_state: dict | None = None,
        augment: Augmentation | None = None,
        learnable: nn.Module | None = None,
        on_features: bool = False,
        whole_checkpoints: bool = True,
        batch_clips: Callable[[int, int], list[str]] | None = None,
        offset_rate: float = 1.0,
        decay: str = "none",
        mix: Mixture | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__()
        self.network, self.criterion, self.learnable, self.augment = network, criterion, learnable, augment
        self.optimizer, self.optimizer_state, self.seed, self.trains = optimizer, optimizer_state, seed, trains
        self.first_epoch, self.on_features, self.batch_clips = first_epoch, on_features, batch_clips
        self.offset_rate, self.decay, self.mix, self.constraint = offset_rate, decay, mix, constraint
        self.strict_loading = whole_checkpoints
        self.curve: list[dict[str, float]] = []
        self.train_batches: list[Batch] = []  # of the epoch
        self.validation_batches: list[Batch] = []
        self.train_metrics, self.validation_metrics = _Metrics(techniques), _Metrics(techniques)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, S) waveforms or (B, D) features -> (B, K) logits."""
        if self.trains == "network":
            return self.network(inputs)
        if not self.on_features:
            with torch.no_grad():
                inputs = self.network.features(inputs)
        head = self.network.classifier if self.learnable is None else self.learnable
        return head(inputs)

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters to train: the network's, or the head's alone; and the loss's, if it has any."""
        part = self.network if self.trains == "network" else self.learnable or self.network.classifier
        of_loss = self.criterion.parameters() if isinstance(self.criterion, nn.Module) else ()
        return [*part.parameters(), *of_loss]

    def configure_optimizers(self) -> Any:
        """The phase's optimizer, with the state of the phase before, and the decay of its learning rate."""
        optimizer = self.optimizer(self._groups())
        if self.offset_rate != 1:
            optimizer.param_groups[-1]["lr"] *= self.offset_rate
        if self.optimizer_state is not None:
            rates = [group.get("lr") for group in optimizer.param_groups]
            optimizer.load_state_dict(self.optimizer_state)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group.pop("initial_lr", None)  # of the decay of the phase before
                if rate is not None:
                    group["lr"] = rate
        if self.decay == "none":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(decay_factor, self.decay, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _groups(self) -> list:
        """The parameters to train; with an own rate for offsets, those of their layers as a second group."""
        parameters = self.trained_parameters()
        if self.offset_rate == 1:
            return parameters
        layers = [layer.shift for layer in self.network.modules() if isinstance(layer, DeformableConv2d)]
        offsets = [parameter for layer in layers for parameter in layer.parameters()]
        known = set(map(id, offsets))
        others = [parameter for parameter in parameters if id(parameter) not in known]
        return [{"params": others}, {"params": offsets}]

    def on_train_epoch_start(self) -> None:
        """Seed dropout from the run's seed and the epoch alone."""
        self.epoch_start = time.perf_counter()
        if self.trains == "network":
            self.network.train()
        if hasattr(self.criterion, "begin_epoch"):
            self.criterion.begin_epoch(self.current_epoch / int(self.trainer.max_epochs or 1))
        torch.manual_seed(derive_seed(self.seed, f"dropout/{self.absolute_epoch}{self._rank_suffix}"))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch: (B, S) waveforms or (B, D) features, (B,) technique indices.

        Where several devices share a batch, each one's loss is scaled so that the mean of their gradients is the
        gradient of the loss over the whole batch.

        Raises:
            Diverged: the loss of this batch, or on a GPU of one of the last `GPU_LOSS_BATCHES`, is not finite.
        """
        inputs, targets = batch
        if self.augment is not None:
            name = f"augment/{self.absolute_epoch}/{batch_idx}{self._rank_suffix}"
            inputs = self.augment(inputs, torch.Generator().manual_seed(derive_seed(self.seed, name)))
        labels = targets
        if self.mix is not None:
            name = f"mix/{self.absolute_epoch}/{batch_idx}{self._rank_suffix}"
            generator = torch.Generator().manual_seed(derive_seed(self.seed, name))
            inputs, labels = self.mix(inputs, targets, generator)
        loss = self._loss(inputs, labels, self.train_batches, targets)
        interval = GPU_LOSS_BATCHES if loss.is_cuda else 1
        if (batch_idx + 1) % interval == 0:
            self._require_finite(batch_idx + 1 - interval)
        if not torch.distributed.is_initialized():
            return loss
        share = normalizer(self.criterion, labels)
        whole = share.clone()
        torch.distributed.all_reduce(whole)
        return loss * share * torch.distributed.get_world_size() / whole

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the constraint act on the head."""
        if self.constraint is not None:
            self.constraint(self.network.classifier)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """The loss of a batch of the validation singers, for the curve."""
        self._loss(*batch, self.validation_batches)

    def on_train_epoch_end(self) -> None:
        """Log the epoch and add it to the curve.

        Raises:
            Diverged: a loss, or that on the validation singers, is not finite.
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
        checkpoint["state_dict"] = self.changing_state(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore the curve."""
        self.curve = list(checkpoint["curve"])

    def changing_state(self, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """A state, by default the present one, without the extractor's if the phase does not change it."""
        state = self.state_dict() if state is None else state
        frozen = () if self.strict_loading else ("network.front_end.", "network.extractor.")
        return {name: value for name, value in state.items() if not name.startswith(frozen)}

    @property
    def absolute_epoch(self) -> int:
        """Epochs of the run before this one, over all its phases."""
        return self.first_epoch + self.current_epoch

    @property
    def _rank_suffix(self) -> str:
        return f"/{self.global_rank}" if self.global_rank else ""

    @property
    def _advice(self) -> str:
        rate = getattr(self.optimizer, "keywords", {}).get("lr")
        return f"training has diverged; try a smaller optimizer.lr than {rate}."

    def _require_finite(self, first_batch: int) -> None:
        """Stop at the first loss of the epoch that is not finite, from a batch on."""
        losses = torch.stack([loss for loss, _, _ in self.train_batches[first_batch:]])
        for batch, value in enumerate(losses.tolist(), first_batch):
            if not math.isfinite(value):
                clips = self.batch_clips(self.current_epoch, batch) if self.batch_clips else []
                names = f" of {len(clips)} clips ({', '.join(clips)})" if clips else ""
                epoch = self.absolute_epoch + 1
                raise Diverged(f"the loss is {value} in epoch {epoch}, batch {batch + 1}{names}: {self._advice}")

    def _loss(self, inputs: Tensor, labels: Tensor, batches: list[Batch], targets: Tensor | None = None) -> Tensor:
        """The loss of a batch against its labels; the curve scores it against its targets."""
        logits = self(inputs).float()
        loss = self.criterion(logits, labels)
        batches.append((loss.detach(), logits.detach(), labels if targets is None else targets))
        return loss


def decay_factor(decay: str, steps: int, step: int) -> float:
    """What a step multiplies the learning rate by: from 1 to 0 over the steps."""
    progress = min(step / steps, 1.0)
    return 1 - progress if decay == "linear" else (1 + math.cos(math.pi * progress)) / 2


class _Metrics(nn.Module):
    """Mean loss, accuracy and macro F1 of an epoch."""

    def __init__(self, techniques: int) -> None:
        super().__init__()
        self.loss = MeanMetric(nan_strategy="disable")  # a loss that is not finite must show
        scores: dict[str, Metric | MetricCollection] = {
            "accuracy": MulticlassAccuracy(techniques, average="micro"),
            "f1": MulticlassF1Score(techniques, average="macro"),
        }
        self.scores = MetricCollection(scores, compute_groups=False)

    def compute(self, batches: list[Batch]) -> dict[str, float]:
        """The metrics over an epoch's batches, which are then dropped."""
        losses, logits, targets = zip(*batches, strict=True)
        counts = torch.tensor([len(batch) for batch in targets], device=losses[0].device)
        self.loss.update(torch.stack(losses), counts)
        self.scores.update(torch.cat(logits), torch.cat(targets))
        values = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        batches.clear()
        return {name: float(value) for name, value in values.items()}
