"""The 1DCNN of Wilkins et al. (ISMIR 2018), Table 2's first baseline: three convolutions on the waveform itself.

It is trained jointly, so alpha smooths only the weights of its loss (Eq. 2). Sizes are those of Wilkins et al., as the
paper's authors re-implemented them; `conf/model/cnn1d.yaml` holds how their published code trains it. They do not say
the waveform's level. Here it is the spectrograms' (`singtech.models.level`), so that the models of Table 2 get the same
clip.
"""

from collections import OrderedDict

from torch import Tensor, nn

from singtech.errors import InvalidValue
from singtech.models.level import checked_level, levelled

LAYERS = ((16, 128), (8, 64), (32, 256))  # channels and kernel (samples) of the three convolutions, without padding
POOL, STRIDE = 64, 8  # of the max pooling after each
LEAST_SAMPLES = 21_551  # of a clip that gives one position after the last pooling


class Waveform(nn.Module):
    """(B, S) waveform to (B, 1, S), at a common level."""

    def __init__(self, level: str = "peak") -> None:
        super().__init__()
        self.level = checked_level(level)

    def shape(self, samples: int) -> tuple[int, int]:
        """(1, S) of a clip of `samples` samples."""
        return 1, samples

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, 1, S)."""
        return levelled(waveform.float(), self.level).unsqueeze(1)


class WaveformExtractor(nn.Module):
    """(B, 1, S) waveforms to (B, D) features: convolution, batch norm, ReLU and max pooling three times, then dense.

    Args:
        shape: (1, S) of one input.
        features: D, width of the dense layer, which ends in ReLU and dropout.
        dropout: after it.
    Raises:
        InvalidValue: a clip is too short for the three poolings.
    """

    def __init__(self, shape: tuple[int, int], features: int = 32, dropout: float = 0.4) -> None:
        super().__init__()
        channels, samples = shape
        if samples < LEAST_SAMPLES:
            raise InvalidValue(
                f"a clip has {samples} samples, too few for the poolings of the 1DCNN, which need {LEAST_SAMPLES}: "
                "use longer clips (data.clip_seconds)."
            )
        blocks = []
        for number, (out_channels, kernel) in enumerate(LAYERS, start=1):
            blocks.append((f"layer{number}", _block(channels, out_channels, kernel)))
            channels, samples = out_channels, (samples - kernel + 1 - POOL) // STRIDE + 1
        self.convolutions = nn.Sequential(OrderedDict(blocks))
        self.projection = nn.Sequential(
            OrderedDict(
                features=nn.Linear(channels * samples, features), activation=nn.ReLU(), dropout=nn.Dropout(dropout)
            )
        )
        self.out_features = features

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, S) -> (B, D)."""
        maps = self.convolutions(waveform)  # (B, 32, 217) for 3 s at 44.1 kHz
        return self.projection(maps.flatten(1))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """The parts in order, under names in the style of Table 1."""
        convolutions = [
            (f"Conv1d({kernel}), MP({POOL}/{STRIDE})", block)
            for block, (_, kernel) in zip(self.convolutions, LAYERS, strict=True)
        ]
        return [*convolutions, ("Flatten", nn.Flatten()), ("FC (Feature)", self.projection)]


def _block(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, max pooling and ReLU; ReLU after pooling gives the same values."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv1d(in_channels, channels, kernel),
            norm=nn.BatchNorm1d(channels),
            pool=nn.MaxPool1d(POOL, STRIDE),
            activation=nn.ReLU(inplace=True),
        )
    )
