"""Batches of clips for Lightning: clips in, waveforms on the device out."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from singtech.data.clips import Corpus
from singtech.streams import stream_seed


class EpochSampler(Sampler[int]):
    """A new order of the clips in every epoch, made from the seed and the epoch alone.

    Whoever comes to an epoch, after an interruption or in a phase that goes on from another, meets it in the same
    order. Lightning calls `set_epoch` before each epoch, counted from the phase's start.

    Args:
        clips: N.
        seed: of the run.
        first_epoch: epochs before the phase.
        targets: (N,) technique indices, to draw N clips with replacement instead, every technique as likely.
    """

    def __init__(self, clips: int, seed: int, first_epoch: int = 0, targets: np.ndarray | None = None) -> None:
        self.clips, self.seed, self.first_epoch, self.epoch = clips, seed, first_epoch, 0
        self.likelihood = None
        if targets is not None:
            self.likelihood = torch.from_numpy(1.0 / np.bincount(targets)[targets])

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch of the phase comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.clips

    def __iter__(self) -> Iterator[int]:
        draw = torch.Generator().manual_seed(stream_seed(self.seed, f"order/{self.first_epoch + self.epoch}"))
        if self.likelihood is None:
            return iter(torch.randperm(self.clips, generator=draw).tolist())
        return iter(torch.multinomial(self.likelihood, self.clips, replacement=True, generator=draw).tolist())


class ClipDataset(Dataset):
    """Some of a corpus's clips, fetched a batch at a time: (B, S) int16 waveforms and (B,) technique indices."""

    def __init__(self, waveforms: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
        self.waveforms, self.rows, self.targets = waveforms, rows, torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.waveforms[self.rows[items]]), self.targets[items]


class FeatureDataset(Dataset):
    """Features of clips, already computed, in the manner of `ClipDataset`: (B, D) features, (B,) technique indices."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.features, self.targets = torch.from_numpy(features), torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.features[items], self.targets[items]


class VocalSetDataModule(pl.LightningDataModule):
    """A corpus's training clips in the order of each epoch, and any split's clips in the corpus's order.

    Clips come from the corpus's memory-mapped store as int16 and become waveforms between -1 and 1 on the device.

    Args:
        corpus: the prepared clips.
        batch_size: clips a step. The last, smaller batch of an epoch is kept (the paper does not say), unless it is a
            single clip, which has no batch statistics.
        seed: of the run; with the epoch it decides the order.
        first_epoch: epochs of training before this phase.
        keep_last: False leaves the last incomplete batch out, as the authors' published code does.
        features: by split, to give (B, D) features instead of waveforms.
        sampler: `natural`, or `balanced` to train on every technique equally often, see `EpochSampler`.
    """

    def __init__(
        self,
        corpus: Corpus,
        batch_size: int = 64,
        seed: int = 0,
        first_epoch: int = 0,
        keep_last: bool = True,
        features: dict[str, np.ndarray] | None = None,
        sampler: str = "natural",
    ) -> None:
        super().__init__()
        self.corpus, self.batch_size, self.seed, self.first_epoch = corpus, batch_size, seed, first_epoch
        self.keep_last, self.features_of, self.sampler = keep_last, features, sampler

    def train_dataloader(self) -> DataLoader:
        """Training clips, shuffled (or drawn) anew for every epoch."""
        return self._shuffled(self.first_epoch, self.keep_last, balanced=self.sampler == "balanced")

    def val_dataloader(self) -> DataLoader | list:
        """Clips of the validation singers, if the split names any."""
        return self.in_order("validation") if len(self.corpus.rows("validation")) else []

    def in_order(self, split: str) -> DataLoader:
        """Every clip of a split, once, in the corpus's order."""
        return self._loader(self._dataset(split))

    def recalibration(self) -> DataLoader:
        """Training clips, once, in one mixed order that only the seed decides."""
        return self._shuffled(-1, True)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """int16 -> float32 between -1 and 1, on the device."""
        inputs, targets = batch
        return as_waveform(inputs), targets

    def _shuffled(self, first_epoch: int, keep_last: bool, balanced: bool = False) -> DataLoader:
        dataset = self._dataset("train")
        targets = self.corpus.targets("train") if balanced else None
        is_lone = len(dataset) % self.batch_size == 1 and len(dataset) > 1
        drop_last = is_lone or (not keep_last and len(dataset) >= self.batch_size)
        sampler = EpochSampler(len(dataset), self.seed, first_epoch, targets)
        return self._loader(dataset, sampler=sampler, drop_last=drop_last)

    def _dataset(self, split: str) -> Dataset:
        targets = self.corpus.targets(split)
        if self.features_of is not None:
            return FeatureDataset(self.features_of[split], targets)
        return ClipDataset(self.corpus.waveforms, self.corpus.rows(split), targets)

    def _loader(self, dataset: Dataset, **options) -> DataLoader:
        # a generator of its own keeps the loader from drawing from the one that dropout draws from
        own = torch.Generator().manual_seed(0)
        return DataLoader(dataset, batch_size=self.batch_size, collate_fn=_as_fetched, generator=own, **options)


def as_waveform(samples: Tensor) -> Tensor:
    """int16 samples as float32 between -1 and 1; floats pass."""
    return samples.float() / 32768 if samples.dtype == torch.int16 else samples


def _as_fetched(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch
