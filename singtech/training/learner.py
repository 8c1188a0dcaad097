"""The Lightning modules: one trains the whole network, one re-trains the classifier on features held fixed."""

import copy
import inspect
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from singtech.models.network import Network
from singtech.streams import stream_seed
from singtech.training.loss import weighted_cross_entropy
from singtech.training.recalibration import recalibrate


class Learner(LightningModule):
    """Training by the weighted loss of Section 3.2; what is trained is the subclass's to say.

    `curve` holds a dict for each finished epoch: epoch (counted over the run), loss, accuracy and macro F1 on the
    training clips, the same on the validation singers if there are any. `best` holds the epoch, weights and optimiser
    state of the epoch with the highest macro F1 on the validation singers, the first of equal ones, where epochs are
    selected. Both travel in the checkpoints.

    Args:
        network: front end, extractor and classifier.
        weights: (K,) loss weights.
        optimizer: name (a class of `torch.optim`) and its arguments.
        seed: of the run.
        first_epoch: epochs of training before this phase.
        optimizer_state: the optimiser's state to go on from.
        reduction: of the loss over a batch, see `weighted_cross_entropy`.
        selects: whether to keep the best epoch.
        devices: how many share every batch.
        name_clips: gives the names of the clips in a batch of an epoch of the phase, for the message of a lost run.
    """

    def __init__(
        self,
        network: Network,
        weights: Tensor,
        optimizer: dict,
        seed: int,
        first_epoch: int = 0,
        optimizer_state: dict | None = None,
        reduction: str = "weights",
        selects: bool = False,
        devices: int = 1,
        name_clips: Callable[[int, int], list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.optimizer_settings, self.optimizer_state = network, optimizer, optimizer_state
        self.seed, self.first_epoch, self.reduction = seed, first_epoch, reduction
        self.register_buffer("weights", weights, persistent=False)
        self.selects, self.best, self.curve = selects, {}, []
        self.devices, self.name_clips = devices, name_clips
        self.unread: deque[_Loss] = deque()
        self.seen, self.validation_seen = [], []  # of the epoch: each batch's loss, logits and targets
        self.meters, self.validation_meters = _meters(len(weights)), _meters(len(weights))

    def trained(self) -> nn.Module:
        """The part whose weights move."""
        raise NotImplementedError

    def set_modes(self) -> None:
        """Put every layer into the mode that it is trained in."""
        raise NotImplementedError

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The run's optimiser on the part that is trained, with the state that it left off at."""
        settings = dict(self.optimizer_settings)
        chosen, parameters = optimizer_class(settings.pop("name")), list(self.trained().parameters())
        can_fuse = "fused" in inspect.signature(chosen).parameters and not {"foreach", "differentiable"} & set(settings)
        if can_fuse and parameters[0].is_cuda:
            settings.setdefault("fused", True)  # one kernel for all weights
        optimizer = chosen(parameters, **settings)
        if self.optimizer_state is not None:
            ours = [{k: group[k] for k in ("lr", "fused") if k in group} for group in optimizer.param_groups]
            groups = [group | own for group, own in zip(self.optimizer_state["param_groups"], ours, strict=True)]
            optimizer.load_state_dict(self.optimizer_state | {"param_groups": groups})
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Dropout draws from the seed and the epoch, whatever was drawn before."""
        self.epoch_started = time.perf_counter()
        self.set_modes()
        share = f"/{self.global_rank}" if self.global_rank else ""
        torch.manual_seed(stream_seed(self.seed, f"dropout/{self.absolute_epoch}{share}"))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The weighted loss of a batch: (B, S) waveforms or (B, D) features, (B,) technique indices.

        Where several devices share a batch, each one's loss is scaled so that the mean of their gradients is the
        gradient of the loss over the whole batch.

        Raises:
            FloatingPointError: the loss of a batch before is not finite.
        """
        loss = self._measured(batch, self.seen)
        self._look_at_losses()  # of before: a GPU need not be waited for
        self.unread.append(_Loss.of(batch_idx, loss))
        if self.devices == 1:
            return loss
        share = self.weights[batch[1]].sum() if self.reduction == "weights" else loss.new_tensor(len(batch[1]))
        whole = share.clone()
        torch.distributed.all_reduce(whole)
        return loss * share * self.devices / whole

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """The same on validation singers, for the curve alone."""
        self._measured(batch, self.validation_seen)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """(B, S) waveforms -> (B, D) features."""
        return self.network.features(batch[0]).float()

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the curve.

        Raises:
            FloatingPointError: the loss of the last batch, or that on the validation singers, is not finite.
        """
        self._look_at_losses(wait=True)
        entry = {"epoch": self.absolute_epoch + 1, **_read(self.meters, self.seen)}
        if self.validation_seen:
            of_validation = _read(self.validation_meters, self.validation_seen)
            entry |= {f"validation_{name}": value for name, value in of_validation.items()}
        if not all(map(math.isfinite, entry.values())):
            name, value = next((name, value) for name, value in entry.items() if not math.isfinite(value))
            raise FloatingPointError(f"{name} is {value} in epoch {entry['epoch']}: {self._advice}")
        self.log_dict({name: value for name, value in entry.items() if name != "epoch"})
        self.curve.append(entry | {"seconds": round(time.perf_counter() - self.epoch_started, 4)})
        if self.selects and entry["validation_f1"] > self.best.get("f1", -1.0):
            kept = {"weights": self.network.state_dict(), "optimizer": self.optimizers().optimizer.state_dict()}
            self.best = {"epoch": entry["epoch"], "f1": entry["validation_f1"], **copy.deepcopy(kept)}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Let the curve and the best epoch travel with the weights."""
        checkpoint["curve"], checkpoint["best"] = self.curve, self.best

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Take them up where they were; the device may be another."""
        for state in checkpoint["optimizer_states"]:
            for group in state["param_groups"]:
                group.pop("fused", None)
        self.curve, self.best = list(checkpoint["curve"]), dict(checkpoint["best"])

    @property
    def absolute_epoch(self) -> int:
        """Epochs of the run before this one, over all its phases."""
        return self.first_epoch + self.current_epoch

    @property
    def _advice(self) -> str:
        return f"training has diverged; try a smaller optimizer.lr than {self.optimizer_settings.get('lr')}."

    def _look_at_losses(self, wait: bool = False) -> None:
        """Stop at a loss that is not finite, among those that are known by now."""
        while self.unread and (wait or self.unread[0].is_known()):
            batch, loss, copied = self.unread.popleft()
            if copied is not None:
                copied.synchronize()
            if not math.isfinite(value := float(loss)):
                clips = self.name_clips(self.current_epoch, batch) if self.name_clips else []
                of = f" of {len(clips)} clips ({', '.join(clips)})" if clips else ""
                epoch = self.absolute_epoch + 1
                raise FloatingPointError(f"the loss is {value} in epoch {epoch}, batch {batch + 1}{of}: {self._advice}")

    def _measured(self, batch: tuple[Tensor, Tensor], seen: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        inputs, targets = batch
        logits = self(inputs).float()
        loss = weighted_cross_entropy(logits, targets, self.weights, self.reduction)
        seen.append((loss.detach(), logits.detach(), targets))
        return loss


class _Loss(NamedTuple):
    """A batch's loss, on its way from a GPU or there."""

    batch: int
    value: Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def of(cls, batch: int, loss: Tensor) -> "_Loss":
        if not loss.is_cuda:
            return cls(batch, loss.detach(), None)
        value = torch.empty((), dtype=loss.dtype, pin_memory=True).copy_(loss.detach(), non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return cls(batch, value, copied)

    def is_known(self) -> bool:
        return self.copied is None or self.copied.query()


class NetworkLearner(Learner):
    """Trains extractor and classifier together.

    Args:
        training_clips: gives (B, S) waveforms on the device that it is told, on which batch norm's statistics are
            estimated for each look at the validation singers and then forgotten; None to look with the running ones.
    """

    def __init__(
        self, *args, training_clips: Callable[[torch.device], Iterable[Tensor]] | None = None, **options
    ) -> None:
        super().__init__(*args, **options)
        self.training_clips, self.running = training_clips, {}

    def on_validation_epoch_start(self) -> None:
        """Judge the network by the statistics that it will be used with."""
        if self.training_clips is not None:
            self.running = {name: value.clone() for name, value in self.network.named_buffers()}
            recalibrate(self.network, self.training_clips(self.device))

    def on_validation_epoch_end(self) -> None:
        """Give training its running statistics back."""
        for name, value in self.network.named_buffers():
            if name in self.running:
                value.copy_(self.running[name])

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, K)."""
        return self.network(waveform)

    def trained(self) -> nn.Module:
        """The whole network."""
        return self.network

    def set_modes(self) -> None:
        """Dropout on, batch norm by batch."""
        self.network.train()


class ClassifierLearner(Learner):
    """Re-trains the classifier alone, "after fixing the weights of the feature extractor part" (Section 3.3).

    It takes features where they are given (two dimensions, the second of them D) and waveforms otherwise.

    Args:
        extractor: `eval` or `train`, the mode of the fixed extractor.
    """

    def __init__(self, *args, extractor: str = "eval", **options) -> None:
        super().__init__(*args, **options)
        self.extractor_mode = extractor
        self.network.extractor.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, D) features or (B, S) waveforms -> (B, K)."""
        if inputs.shape[1] != self.network.classifier.in_features:
            with torch.no_grad():
                inputs = self.network.features(inputs)
        return self.network.classifier(inputs)

    def trained(self) -> nn.Module:
        """The classifier."""
        return self.network.classifier

    def set_modes(self) -> None:
        """The extractor as told, the classifier in training."""
        self.network.train()
        self.network.extractor.train(self.extractor_mode == "train")


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of `torch.optim` with that name.

    Raises:
        ValueError: there is none.
    """
    found = getattr(torch.optim, str(name), None)
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise ValueError(f"optimizer.name={name}: torch.optim has no such optimiser; the paper's is Adam.")
    return found


def _meters(techniques: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "loss": MeanMetric(nan_strategy="disable"),  # a loss that is not finite is to be seen
            "accuracy": MulticlassAccuracy(techniques, average="micro"),
            "f1": MulticlassF1Score(techniques, average="macro"),
        }
    )


def _read(meters: nn.ModuleDict, seen: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
    """What the meters come to over an epoch's batches, which are then forgotten."""
    losses, logits, targets = zip(*seen, strict=True)
    for name, meter in meters.items():
        if name == "loss":
            meter.update(torch.stack(losses), torch.tensor([len(some) for some in targets], device=losses[0].device))
        else:
            meter.update(torch.cat(logits), torch.cat(targets))
    values = {name: float(meter.compute()) for name, meter in meters.items()}
    for meter in meters.values():
        meter.reset()
    seen.clear()
    return values
