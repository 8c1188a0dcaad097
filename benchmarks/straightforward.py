"""The straightforward way to train the oblong CNN, which `make bench` measures ours against and tests compare it with.

It is what the paper's words give when each is taken from the library that has it: torch's layers in the order in which
Section 4.2 names them, torchvision's deformable convolution, librosa's spectrograms of recordings that are opened for
every clip, in data-loader workers, float32, torch's default memory layout, Adam. It computes what ours does to within
rounding, and knows nothing of `singtech`.
"""

import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import DeformConv2d

# Table 1: channels, kernel, pooling.
LAYERS = ((32, (4, 1), (4, 4)), (64, (16, 1), (4, 4)), (128, (1, 4), (3, 3)), (128, (1, 16), (2, 2)))
FLOOR = 1e-5  # magnitude at which the logarithm begins
SILENCE = 1e-5


class Clip(NamedTuple):
    """Where a clip is, and the index of its technique."""

    path: Path
    start: float
    target: int


class ClipDataset(Dataset):
    """Clips read from their recordings and transformed whenever they are asked for.

    Args:
        clips: which.
        clip_seconds, sample_rate: of each; the recordings have that sample rate too, and one channel.
        n_fft, win_lengths, hop_length: of the spectrograms, in samples.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        clip_seconds: float = 3.0,
        sample_rate: int = 44100,
        n_fft: int = 2048,
        win_lengths: Sequence[int] = (2048, 1024, 512),
        hop_length: int = 512,
    ) -> None:
        self.clips, self.clip_seconds, self.sample_rate = clips, clip_seconds, sample_rate
        self.n_fft, self.win_lengths, self.hop_length = n_fft, win_lengths, hop_length

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> tuple[np.ndarray, int]:
        """(W, F, T) spectrograms and the technique's index."""
        clip = self.clips[item]
        start, stop = (round(t * self.sample_rate) for t in (clip.start, clip.start + self.clip_seconds))
        waveform, _ = soundfile.read(clip.path, start=start, stop=stop, dtype="float32")  # faster than librosa.load
        return self.spectrograms(waveform), clip.target

    def spectrograms(self, waveform: np.ndarray) -> np.ndarray:
        """(S,) -> (W, F, T): decades above the floor, of the clip without its mean and with its peak at 1."""
        waveform = waveform - waveform.mean()
        waveform = waveform / max(np.abs(waveform).max(), SILENCE)
        magnitudes = [
            np.abs(
                librosa.stft(
                    waveform, n_fft=self.n_fft, hop_length=self.hop_length, win_length=length, pad_mode="reflect"
                )
            )
            for length in self.win_lengths
        ]
        return np.log10(np.maximum(np.stack(magnitudes) / np.sqrt(self.n_fft), FLOOR) / FLOOR).astype(np.float32)


def loader(dataset: Dataset, batch_size: int, workers: int) -> DataLoader:
    """Shuffled batches from worker processes that stay from epoch to epoch."""
    return DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class Deformable(nn.Module):
    """Offsets and a mask from a convolution that starts at zero, and torchvision's modulated deformable convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.taps, self.pads = kernel[0] * kernel[1], same(kernel)
        self.shift = nn.Conv2d(in_channels, 3 * self.taps, kernel)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)
        self.conv = DeformConv2d(in_channels, out_channels, kernel, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, O, F, T)."""
        maps = F.pad(maps, self.pads)
        field = self.shift(maps)
        offset, mask = field[:, : 2 * self.taps], 2 * torch.sigmoid(field[:, 2 * self.taps :])
        return self.conv(maps, offset, mask)


class OblongCNN(nn.Module):
    """(B, W, F, T) spectrograms to (B, K) logits.

    Args:
        dc: numbers, 1 to 4, of the deformable layers.
        techniques: K.
        dropout, hidden_dropout: after each convolutional block, and after the hidden layer.
    """

    def __init__(
        self, dc: Sequence[int] = (), techniques: int = 10, dropout: float = 0.3, hidden_dropout: float = 0.4
    ) -> None:
        super().__init__()
        blocks, channels = [], 3
        for number, (out_channels, kernel, pool) in enumerate(LAYERS, start=1):
            if number in dc:
                conv = Deformable(channels, out_channels, kernel)
            else:
                conv = nn.Sequential(nn.ZeroPad2d(same(kernel)), nn.Conv2d(channels, out_channels, kernel))
            blocks += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(), nn.MaxPool2d(pool), nn.Dropout(dropout)]
            channels = out_channels
        self.convolutions = nn.Sequential(*blocks)
        self.projection = nn.Sequential(
            nn.Linear(channels, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Dropout(hidden_dropout), nn.Linear(50, 30)
        )
        self.classifier = nn.Linear(30, techniques)

    def features(self, spectrograms: Tensor) -> Tensor:
        """(B, W, F, T) -> (B, 30)."""
        return self.projection(self.convolutions(spectrograms).mean(dim=(2, 3)))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """(B, W, F, T) -> (B, K)."""
        return self.classifier(self.features(spectrograms))


def same(kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below that keep a map's size; an even kernel's odd one comes last."""
    height, width = kernel
    return (width - 1) // 2, width // 2, (height - 1) // 2, height // 2


def named_as_here(named: Mapping[str, Tensor], dc: Sequence[int]) -> dict[str, Tensor]:
    """Weights (or their gradients) of `singtech`'s oblong network under the names that they have in `OblongCNN`.

    Args:
        named: by the names of `singtech.models.network.oblong_network`.
        dc: its deformable layers.
    """
    names = {"extractor.projection.hidden": "projection.0", "extractor.projection.norm": "projection.1"}
    names |= {"extractor.projection.features": "projection.4", "classifier": "classifier"}
    for number in range(1, len(LAYERS) + 1):
        block, here = f"extractor.convolutions.layer{number}", 5 * (number - 1)
        names |= {f"{block}.conv": f"convolutions.{here}.{'conv' if number in dc else '1'}"}
        names |= {f"{block}.conv.shift": f"convolutions.{here}.shift", f"{block}.norm": f"convolutions.{here + 1}"}
    renamed = {}
    for name, value in named.items():
        module, _, kind = name.rpartition(".")
        renamed[f"{names[module]}.{kind}"] = value
    return renamed


def training_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple, weights: Tensor) -> Tensor:
    """Forward, backward and the optimiser's step on a batch; the loss."""
    spectrograms, targets = (part.to(weights.device, non_blocking=True) for part in batch)
    optimizer.zero_grad()
    loss = F.cross_entropy(network(spectrograms), targets, weights)
    loss.backward()
    optimizer.step()
    return loss.detach()


class Training:
    """A network on its way, a stretch of steps at a time.

    Args:
        clips: to train on.
        dc: the deformable layers.
        batch_size: clips a step.
        workers: processes that read and transform clips.
        device: where to train.
    """

    def __init__(self, clips: Sequence[Clip], dc: Sequence[int], batch_size: int, workers: int, device: str) -> None:
        self.device = torch.device(device)
        techniques = max(clip.target for clip in clips) + 1
        self.network = OblongCNN(dc, techniques).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        counts = torch.bincount(torch.tensor([clip.target for clip in clips]))
        self.weights = counts.float().pow(-0.2).to(self.device)
        self.batches = loader(ClipDataset(clips), batch_size, workers)

    def seconds_a_step(self, steps: int) -> float:
        """Seconds of one of so many steps in the middle of an epoch, where as many batches are read as are used.

        The first step is left out; so are batches that the workers read ahead, which are waited for afterwards.
        """
        self.network.train()
        batches = iter(self.batches)
        self._step(next(batches))
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self._step(next(batches))
        self._wait()
        seconds = (time.perf_counter() - started) / steps
        for _ in batches:
            pass
        return seconds

    def _step(self, batch: tuple[Tensor, Tensor]) -> None:
        training_step(self.network, self.optimizer, batch, self.weights)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def serve(connection: Connection, *arguments) -> None:
    """Train in a process of one's own: for each number of steps that comes, the seconds of one; until None comes."""
    training = Training(*arguments)
    while (steps := connection.recv()) is not None:
        connection.send(training.seconds_a_step(steps))
