"""The 1DCNN of Wilkins et al. (ISMIR 2018), Table 2's first baseline: three convolutions on the waveform itself.

It is trained jointly, so alpha smooths only the weights of its loss (Eq. 2). Its sizes are those of Wilkins et al., as
in the re-implementation of the paper's authors. `conf/model/cnn1d.yaml` trains it like their published code. They do
not give the waveform's level. Here it is that of the spectrograms (`singtech.models.level`), so that all models of
Table 2 get the same clip.
"""

from collections import OrderedDict

from torch import Tensor, nn

from singtech.errors import InvalidValue, require_choice
from singtech.models.level import LEVELS, normalise_level

LAYERS = ((16, 128), (8, 64), (32, 256))  # channels and kernel (samples) of the three convolutions, without padding
POOL, STRIDE = 64, 8  # of the max pooling after each convolution, in samples
MIN_SAMPLES = 21_551  # a clip of this length gives one position after the last pooling


class Waveform(nn.Module):
    """(B, S) waveform to (B, 1, S), at a common level."""

    def __init__(self, level: str = "peak") -> None:
        super().__init__()
        require_choice("front_end.level", level, LEVELS)
        self.level = level

    def shape(self, samples: int) -> tuple[int, int]:
        """(1, S) of a clip of `samples` samples."""
        return 1, samples

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, 1, S)."""
        return normalise_level(waveform.float(), self.level).unsqueeze(1)


class WaveformExtractor(nn.Module):
    """(B, 1, S) waveforms to (B, D) features: convolution, batch norm, ReLU and max pooling three times, then dense.

    Args:
        shape: (1, S) of one input.
        features: D, width of the dense layer, which ends in ReLU and dropout.
        dropout: probability to drop a unit of the dense layer.
    Raises:
        InvalidValue: a clip is too short for the three poolings, or the inputs are no waveforms.
    """

    def __init__(self, shape: tuple[int, int], features: int = 32, dropout: float = 0.4) -> None:
        super().__init__()
        if len(shape) != 2:
            raise InvalidValue(f"the 1DCNN takes waveforms, found inputs of shape {shape}: use front_end=waveform.")
        channels, samples = shape
        if samples < MIN_SAMPLES:
            raise InvalidValue(
                f"a clip has {samples} samples, too few for the poolings of the 1DCNN, which need {MIN_SAMPLES}: "
                "use longer clips (data.clip_seconds)."
            )
        blocks = []
        for number, (out_channels, kernel) in enumerate(LAYERS, start=1):
            blocks.append((f"layer{number}", _block(channels, out_channels, kernel)))
            channels, samples = out_channels, (samples - kernel + 1 - POOL) // STRIDE + 1
        self.convolutions = nn.Sequential(OrderedDict(blocks))
        dense = OrderedDict(features=nn.Linear(channels * samples, features), activation=nn.ReLU())
        self.projection = nn.Sequential(OrderedDict(dense, dropout=nn.Dropout(dropout)))
        self.out_features = features

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, S) -> (B, D)."""
        maps = self.convolutions(waveform)  # (B, 32, 217) for 3 s at 44.1 kHz
        return self.projection(maps.flatten(1))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """List the parts in order, with names in the style of Table 1."""
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
