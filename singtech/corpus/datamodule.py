"""Batch clips for Lightning: int16 clips from the store, waveforms on the device."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from singtech.corpus.clip_store import Corpus
from singtech.streams import stream_seed


class EpochSampler(Sampler[int]):
    """Order the clips of every epoch by the seed and the epoch alone.

    An epoch has the same order after an interruption, and in a phase that continues another. Lightning calls
    `set_epoch` before each epoch, counted from the phase's start.

    Args:
        clips: N.
        seed: of the run.
        first_epoch: epochs before the phase.
        draw: takes a generator and the share of the phase that is over, returns the indices of the clips; by default
            every clip once, shuffled.
        epochs: of the phase.
        passes: how many versions of each clip there are, one after the other; epochs take them in turn.
    """

    def __init__(
        self,
        clips: int,
        seed: int,
        first_epoch: int = 0,
        draw: Callable | None = None,
        epochs: int = 1,
        passes: int = 1,
    ) -> None:
        self.clips, self.seed, self.first_epoch, self.epoch, self.epochs = clips, seed, first_epoch, 0, epochs
        self.draw, self.passes = draw, passes

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the phase that comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.clips

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(stream_seed(self.seed, f"order/{self.first_epoch + self.epoch}"))
        if self.draw is None:
            order = torch.randperm(self.clips, generator=generator)
        else:
            order = torch.as_tensor(self.draw(generator, self.epoch / self.epochs))
        return iter((order + self.clips * (self.epoch % self.passes)).tolist())


class SharedBatches(BatchSampler):
    """Batch a sampler's clips, and take of each batch one device's share.

    Args:
        sampler: the order of the clips.
        batch_size: clips a step, over all devices.
        drop_last: leave the last, smaller batch out.
        rank: which device, from 0.
        devices: how many.
    """

    sampler: EpochSampler

    def __init__(
        self, sampler: EpochSampler, batch_size: int, drop_last: bool, rank: int = 0, devices: int = 1
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.rank, self.devices = rank, devices

    def __iter__(self) -> Iterator[list[int]]:
        return (batch[self.rank :: self.devices] for batch in super().__iter__())


class Rows(Dataset):
    """Some rows of an array and their (n,) technique indices, fetched a batch at a time.

    Args:
        values: (N, S) int16 waveforms or (N, D) features.
        rows: (n,) indices into `values`.
        targets: (n,) technique indices.
    """

    def __init__(self, values: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
        self.values, self.rows, self.targets = values, rows, torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.values[self.rows[items]]), self.targets[items]


class VocalSetDataModule(pl.LightningDataModule):
    """Give training clips in the order of each epoch, and any subset's clips in the corpus's order.

    Clips are int16 in the corpus's memory-mapped store, or on the device, and become waveforms between -1 and 1 on the
    device.

    Args:
        corpus: the prepared clips.
        batch_size: clips a step, shared by all devices that train together. The last, smaller batch of an epoch is kept
            (the paper does not say), unless it leaves a device less than two clips, which have no batch statistics.
        seed: of the run; with the epoch it decides the order.
        first_epoch: epochs of training before this phase.
        epochs: of the phase.
        drop_last: leave the last incomplete batch out, as the authors' published code does.
        features: by subset, (n, D) features to give instead of waveforms; of the training clips also several passes
            of n, one after the other.
        draw: see `EpochSampler`.
        resident: (N, S) int16, all the corpus's clips on the device, or None.
    """

    def __init__(
        self,
        corpus: Corpus,
        batch_size: int = 64,
        seed: int = 0,
        first_epoch: int = 0,
        epochs: int = 1,
        drop_last: bool = False,
        features: dict[str, np.ndarray] | None = None,
        draw: Callable | None = None,
        resident: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.corpus, self.batch_size, self.seed, self.first_epoch = corpus, batch_size, seed, first_epoch
        self.epochs, self.drop_last, self.features, self.draw = epochs, drop_last, features, draw
        self.resident = resident
        self.datasets: dict[str, Rows] = {}

    def train_dataloader(self) -> DataLoader:
        """Return the training clips, shuffled (or drawn) again for every epoch."""
        rank, devices = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return self._loader(self._dataset("train"), batch_sampler=self._batches(rank, devices))

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation clips, if the split has any."""
        return self.in_order("validation") if len(self.corpus.rows("validation")) else []

    def in_order(self, subset: str) -> DataLoader:
        """Return every clip of a subset, once, in the corpus's order."""
        return self._loader(self._dataset(subset), batch_size=self.batch_size)

    def recalibration(self) -> DataLoader:
        """Return the training clips, once, in one mixed order that only the seed decides."""
        clips = len(self.corpus.rows("train"))
        sampler = EpochSampler(clips, self.seed, first_epoch=-1)
        batches = SharedBatches(sampler, self.batch_size, self._drops_last(clips))
        return self._loader(self._dataset("train"), batch_sampler=batches)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Turn int16, or rows of the corpus, to float32 between -1 and 1, on the device."""
        inputs, targets = batch
        return self.waveforms(inputs), targets

    def waveforms(self, inputs: Tensor) -> Tensor:
        """Return the (B, S) waveforms of a batch on the device; (B, D) features pass."""
        return as_waveform(self.resident[inputs] if self.resident is not None and inputs.ndim == 1 else inputs)

    def batch_clips(self, epoch: int, batch: int) -> list[str]:
        """Name the clips of a batch of an epoch of the phase, over all devices: "recording at start s"."""
        batches = self._batches()
        batches.sampler.set_epoch(epoch)
        rows = self.corpus.rows("train")
        items = np.asarray(list(batches)[batch]) % len(rows)
        clips = self.corpus.clips.iloc[rows[items]]
        return [f"{clip.recording} at {clip.start:g} s" for clip in clips.itertuples()]

    def _batches(self, rank: int = 0, devices: int = 1) -> SharedBatches:
        """Return one device's share of the batches of training clips."""
        clips = len(self.corpus.rows("train"))
        passes = len(self._dataset("train")) // clips  # of features under dropout
        sampler = EpochSampler(clips, self.seed, self.first_epoch, self.draw, self.epochs, passes)
        drop_last = self._drops_last(clips, devices) or (self.drop_last and clips >= self.batch_size)
        return SharedBatches(sampler, self.batch_size, drop_last, rank, devices)

    def _drops_last(self, clips: int, devices: int = 1) -> bool:
        """Whether the last batch is too small: batch norm needs two clips on every device."""
        last = clips % self.batch_size
        return 0 < last < 2 * devices and clips > last

    def _dataset(self, subset: str) -> Rows:
        if subset not in self.datasets:
            rows, values = self.corpus.rows(subset), self.corpus.waveforms
            if self.resident is not None:
                values = np.arange(len(values))  # rows of the clips on the device
            if self.features is not None and subset in self.features:
                values = self.features[subset]
                rows = np.arange(len(values))
            targets = np.resize(self.corpus.targets(subset), len(rows))  # repeated for each pass of features
            self.datasets[subset] = Rows(values, rows, targets)
        return self.datasets[subset]

    def _loader(self, dataset: Dataset, **options) -> DataLoader:
        generator = torch.Generator().manual_seed(0)  # or the loader would draw from the one that dropout draws from
        return DataLoader(dataset, collate_fn=_identity, generator=generator, **options)


def as_waveform(samples: Tensor) -> Tensor:
    """Turn int16 samples to float32 between -1 and 1; floats pass."""
    return samples.float() / 32768 if samples.dtype == torch.int16 else samples


def _identity(batch: Any) -> Any:
    return batch
