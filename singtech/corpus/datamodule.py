"""Batch clips for Lightning. Clips are int16 in the store, and become waveforms on the device."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from singtech.corpus.clip_store import Corpus
from singtech.streams import derive_seed


class EpochSampler(Sampler[int]):
    """Order the clips of each epoch. The order depends only on the seed and the epoch.

    So it is the same after an interruption, and in a phase that continues another. Lightning calls
    `set_epoch` before each epoch, counted from the phase's start.

    Args:
        clips: N.
        seed: of the run.
        first_epoch: epochs before the phase.
        draw: function of a generator and the finished share of the phase; returns indices of clips. By default every
            clip once, shuffled.
        epochs: of the phase.
        passes: number of versions of each clip, one after the other; each epoch uses the next one.
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
        """Set the next epoch of the phase."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.clips

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, f"order/{self.first_epoch + self.epoch}"))
        if self.draw is None:
            order = torch.randperm(self.clips, generator=generator)
        else:
            order = torch.as_tensor(self.draw(generator, self.epoch / self.epochs))
        return iter((order + self.clips * (self.epoch % self.passes)).tolist())


class SharedBatches(BatchSampler):
    """Batch a sampler's clips, and yield one device's share of each batch.

    Args:
        sampler: the order of the clips.
        batch_size: clips a step, over all devices.
        drop_last: omit the last, smaller batch.
        rank: index of the device.
        devices: number of devices.
    """

    sampler: EpochSampler

    def __init__(
        self, sampler: EpochSampler, batch_size: int, drop_last: bool, rank: int = 0, devices: int = 1
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.rank, self.devices = rank, devices

    def __iter__(self) -> Iterator[list[int]]:
        return (batch[self.rank :: self.devices] for batch in super().__iter__())


class ClipRows(Dataset):
    """Rows of an array and their (n,) technique indices, read in batches.

    Args:
        values: (N, S) int16 waveforms or (N, D) features.
        rows: (n,) indices into `values`.
        targets: (n,) technique indices.
    """

    def __init__(self, values: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
        self.values, self.rows, self.targets = values, rows, torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: Sequence[int]) -> tuple:
        return torch.from_numpy(self.values[self.rows[items]]), self.targets[items]


class Windows(Dataset):
    """Overlapping windows of a subset's recordings, as long as a clip, read in batches.

    The clips of a recording are consecutive rows of the store, without gaps. The first window is the first clip,
    and none ends after the last clip; a recording of one clip has one window.

    Args:
        corpus: the clips.
        subset: of the split.
        hop: from the start of one window to the next, as a share of a clip; above 0, at most 1.
    Attributes:
        recordings: (n,) the recording of each window, as the index of its first clip in the subset.
        targets: (n,) technique indices.
    """

    def __init__(self, corpus: Corpus, subset: str, hop: float) -> None:
        rows, self.values, self.hop = corpus.rows(subset), corpus.waveforms, hop
        clips, samples = corpus.clips.iloc[rows].reset_index(drop=True), self.values.shape[1]
        step = max(1, round(hop * samples))
        windows = [
            (group.index[0], rows[group.index[0]] + start // samples, start % samples)
            for _, group in clips.groupby("recording", sort=False)
            for start in range(0, max(group["samples"].sum() - samples, 0) + 1, step)
        ]
        self.recordings, self.rows, self.offsets = map(np.array, zip(*windows, strict=True))
        self.targets = torch.from_numpy(corpus.targets(subset)[self.recordings])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        pairs = zip(self.rows[items], self.offsets[items], strict=True)
        windows = [self.values[row : row + 2].reshape(-1)[o : o + self.values.shape[1]] for row, o in pairs]
        return torch.from_numpy(np.stack(windows)), self.targets[items]


class Margins(NamedTuple):
    """What waveforms hold of their recordings before and after each clip.

    Attributes:
        samples: M; the waveforms are (B, M + S + M).
        before, after: (B,) how many of the M samples on each side are audio; the others are zeros.
    """

    samples: int
    before: np.ndarray
    after: np.ndarray

    def of(self, clips: np.ndarray) -> "Margins":
        """Return the margins of some clips of the batch."""
        return Margins(self.samples, self.before[clips], self.after[clips])


class ClipsWithMargins(ClipRows):
    """Training clips with audio of the training clips before and after each in its recording.

    Args:
        values: (N, S) int16 waveforms; or (N,) numbers of rows, to give (B, 3) rows of the clip before, the clip, and
            the clip after instead of waveforms, -1 for none.
        corpus: with the training clips.
        samples: M of the margins, at most S.
    """

    def __init__(self, values: np.ndarray, corpus: Corpus, samples: int) -> None:
        rows, clips = corpus.rows("train"), corpus.clips
        super().__init__(values, rows, corpus.targets("train"))
        self.samples = samples
        follows = find_successors(clips, corpus.sample_rate, corpus.waveforms.shape[1])
        is_after = np.append(follows, False)  # row n + 1 after row n
        before, after = np.where(is_after[rows - 1], rows - 1, -1), np.where(is_after[rows], rows + 1, -1)
        self.neighbours = np.stack([before, rows, after], axis=1)
        self.lengths = np.minimum(clips["samples"].to_numpy(), samples)

    def __getitems__(self, items: Sequence[int]) -> tuple:
        rows = self.neighbours[items]
        before, after = (np.where(rows[:, side] < 0, 0, self.lengths[rows[:, side]]) for side in (0, 2))
        is_audio = self.values.ndim == 2
        inputs = read_with_margins(self.values, rows, self.samples) if is_audio else torch.from_numpy(rows)
        return inputs, self.targets[items], Margins(self.samples, before, after)


def find_successors(clips: pd.DataFrame, sample_rate: int, clip_samples: int) -> np.ndarray:
    """(N - 1,) whether the audio of a training clip n + 1 follows that of a training clip n without a gap."""
    start, recording = (clips["start"] * sample_rate).round().to_numpy(), clips["recording"].to_numpy()
    is_training = (clips["split"] == "train").to_numpy()
    is_next = (recording[1:] == recording[:-1]) & (start[1:] == start[:-1] + clip_samples)
    return is_next & is_training[1:] & is_training[:-1]


def read_with_margins(values: Any, rows: Any, samples: int) -> Tensor:
    """Read clips with the end of the clip before and the beginning of the clip after.

    Args:
        values: (N, S) array or tensor.
        rows: (B, 3), see `ClipsWithMargins`.
        samples: M.
    Returns:
        (B, M + S + M), zeros where there is no clip.
    """
    clip_samples, pieces = values.shape[1], []
    spans = (slice(clip_samples - samples, None), slice(None), slice(0, samples))
    for row, span in zip(rows.T, spans, strict=True):
        piece = torch.as_tensor(values[row, span])
        piece[row < 0] = 0
        pieces.append(piece)
    return torch.cat(pieces, dim=1)


class VocalSetDataModule(pl.LightningDataModule):
    """Load training clips in the order of each epoch, or the clips of any subset in the corpus's order.

    Args:
        corpus: the prepared clips.
        batch_size: clips a step, over all devices. The last, smaller batch of an epoch is used too (the paper does not
            say), unless a device has fewer than two clips, which have no batch statistics.
        seed: of the run; seed and epoch give the order.
        first_epoch: epochs of training before this phase.
        epochs: of the phase.
        drop_last: leave the last incomplete batch out, as the authors' published code does.
        features: by subset, (n, D) features to give instead of waveforms; for training clips also several
            passes of n, one after the other.
        draw: see `EpochSampler`.
        resident: None, or (N, S) int16, all clips of the corpus on the device.
        margin: share of a clip that training batches hold of the recording before and after each clip, at most 1; if it
            is above 0, they also have `Margins`.
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
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        self.corpus, self.batch_size, self.seed, self.first_epoch = corpus, batch_size, seed, first_epoch
        self.epochs, self.drop_last, self.features, self.draw = epochs, drop_last, features, draw
        self.resident, self.margin = resident, math.ceil(margin * corpus.waveforms.shape[1])

    def train_dataloader(self) -> DataLoader:
        """Return the training clips, with a new order for every epoch."""
        rank, devices = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        dataset = self._make_dataset("train")
        if self.margin:
            dataset = ClipsWithMargins(dataset.values, self.corpus, self.margin)
        return self._make_loader(dataset, batch_sampler=self._make_batches(rank, devices))

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation clips, if the split has any."""
        return self.ordered_loader("validation") if len(self.corpus.rows("validation")) else []

    def ordered_loader(self, subset: str, hop: float | None = None) -> DataLoader:
        """Return every clip of a subset, or of the whole corpus for "", once, in the corpus's order.

        Args:
            hop: for the windows of the subset's recordings instead, see `Windows`.
        """
        dataset = self._make_dataset(subset) if hop is None else Windows(self.corpus, subset, hop)
        return self._make_loader(dataset, batch_size=self.batch_size)

    def recalibration_loader(self) -> DataLoader:
        """Return each training clip once, in a random order that depends only on the seed."""
        clips = len(self.corpus.rows("train"))
        sampler = EpochSampler(clips, self.seed, first_epoch=-1)
        batches = SharedBatches(sampler, self.batch_size, self._is_last_too_small(clips))
        return self._make_loader(self._make_dataset("train"), batch_sampler=batches)

    def on_after_batch_transfer(self, batch: tuple, dataloader_idx: int) -> tuple:
        """Turn int16 samples, or rows of the corpus, into float32 between -1 and 1, on the device."""
        inputs, *others = batch
        return self.waveforms(inputs), *others

    def waveforms(self, inputs: Tensor) -> Tensor:
        """Return the (B, S) waveforms of a batch on the device; (B, D) features do not change."""
        if self.resident is not None and inputs.dtype == torch.int64:
            is_alone = inputs.ndim == 1
            inputs = self.resident[inputs] if is_alone else read_with_margins(self.resident, inputs, self.margin)
        return to_waveform(inputs)

    def batch_clips(self, epoch: int, batch: int) -> list[str]:
        """Name the clips in a batch of an epoch, over all devices: "recording at start s"."""
        batches = self._make_batches()
        batches.sampler.set_epoch(epoch)
        rows = self.corpus.rows("train")
        items = np.asarray(list(batches)[batch]) % len(rows)
        clips = self.corpus.clips.iloc[rows[items]]
        return [f"{clip.recording} at {clip.start:g} s" for clip in clips.itertuples()]

    def _make_batches(self, rank: int = 0, devices: int = 1) -> SharedBatches:
        """Return one device's share of the batches of training clips."""
        clips = len(self.corpus.rows("train"))
        passes = len(self._make_dataset("train")) // clips  # of features under dropout
        sampler = EpochSampler(clips, self.seed, self.first_epoch, self.draw, self.epochs, passes)
        drop_last = self._is_last_too_small(clips, devices) or (self.drop_last and clips >= self.batch_size)
        return SharedBatches(sampler, self.batch_size, drop_last, rank, devices)

    def _is_last_too_small(self, clips: int, devices: int = 1) -> bool:
        """Whether the last batch is too small: batch norm needs two clips on every device."""
        last = clips % self.batch_size
        return 0 < last < 2 * devices and clips > last

    def _make_dataset(self, subset: str) -> ClipRows:
        corpus, features = self.corpus, (self.features or {}).get(subset)
        if not subset:
            return ClipRows(corpus.waveforms, np.arange(len(corpus.clips)), np.full(len(corpus.clips), -1))
        targets = corpus.targets(subset)
        if features is not None:
            return ClipRows(features, np.arange(len(features)), np.resize(targets, len(features)))  # for each pass
        values = corpus.waveforms if self.resident is None else np.arange(len(corpus.waveforms))  # rows of `resident`
        return ClipRows(values, corpus.rows(subset), targets)

    def _make_loader(self, dataset: Dataset, **options) -> DataLoader:
        generator = torch.Generator().manual_seed(0)  # else it would use the generator of dropout
        return DataLoader(dataset, collate_fn=tuple, generator=generator, **options)


def to_waveform(samples: Tensor) -> Tensor:
    """Turn int16 samples into float32 between -1 and 1; floats do not change."""
    return samples.float() / 32768 if samples.dtype == torch.int16 else samples
