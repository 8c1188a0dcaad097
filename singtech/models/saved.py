"""A trained network as a folder that stands alone: `model.safetensors`, `config.json`; nothing in it is ever executed.

`config.json` names the kind of network by a word of `KINDS`, never by something to import, and every value of it is
looked at before a network is built. The layout is that of the Hugging Face Hub.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from singtech.files import write_bytes, write_text
from singtech.models.cnn1d import cnn1d_network
from singtech.models.network import Network, oblong_network

KINDS: dict[str, Callable[..., Network]] = {"oblong": oblong_network, "cnn1d": cnn1d_network}
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
FORMAT = 1  # of config.json, raised when its meaning changes
MOST_BYTES = 1 << 20  # of a description
MOST_SAMPLES = 1 << 24  # of a clip, over six minutes at 44.1 kHz
MOST = 4096  # of any other whole number in the arguments: channels, window lengths


@dataclass(frozen=True)
class Description:
    """What a network is, beside its weights.

    Attributes:
        kind: one of `KINDS`.
        arguments: those of its function, but for the three below and the seed; plain values.
        techniques: K names, in the order of the logits.
        sample_rate: in Hz, of the clips that it learned from.
        samples: S of such a clip.
        origin: where it comes from, for people: the run's row. Nothing depends on it.
    """

    kind: str
    arguments: Mapping
    techniques: tuple[str, ...]
    sample_rate: int
    samples: int
    origin: Mapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"model is {self.kind!r:.60}, expected one of {', '.join(KINDS)}")
        for name, value, most in (("sample_rate", self.sample_rate, 10**6), ("samples", self.samples, MOST_SAMPLES)):
            if type(value) is not int or not 0 < value <= most:
                raise ValueError(f"{name} is {value!r:.60}, expected a whole number from 1 to {most:,}")
        names = self.techniques
        if not names or len(names) > MOST or not all(_is_name(n) for n in names):
            raise ValueError("techniques holds no list of names")
        if len(set(names)) < len(names):
            raise ValueError("techniques names one twice")
        if not isinstance(self.arguments, Mapping) or not isinstance(self.origin, Mapping):
            raise ValueError("arguments or origin is no object")
        _check_plain(self.arguments)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each weight by its name, told without memory for any: those of a file can be looked at before.

        Raises:
            ValueError: as `build`.
        """
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in self.build().state_dict().items()}

    def build(self) -> Network:
        """The network with weights that are yet to be loaded, in eval mode.

        Raises:
            ValueError: its arguments do not fit each other.
        """
        taken = {"samples", "techniques", "seed"} & set(self.arguments)
        if taken:
            raise ValueError(f"arguments holds {', '.join(sorted(taken))}, which stand elsewhere")
        options = {"samples": self.samples, "techniques": len(self.techniques), "seed": 0}
        try:
            return KINDS[self.kind](**options, **self.arguments).eval()
        except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as problem:
            raise ValueError(f"no network can be built with its arguments ({_line(problem)})") from None


def write_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description into an existing folder."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(weights, {"format": "pt"}))
    told = {
        "format": FORMAT,
        "model": description.kind,
        "arguments": dict(description.arguments),
        "techniques": list(description.techniques),
        "sample_rate": description.sample_rate,
        "samples": description.samples,
        "origin": dict(description.origin),
    }
    write_text(folder / DESCRIPTION, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def read_model(folder: Path) -> tuple[Network, Description]:
    """The network of a model folder in eval mode, and what it is.

    Raises:
        FileNotFoundError: there is no model there.
        ValueError: it is damaged, hostile or of another version; one sentence says what.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no model, for it has no {DESCRIPTION}; make one with singtech.export.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}, which this version reads")
        if not isinstance(told.get("techniques"), list):
            raise ValueError("techniques holds no list of names")
        options = {name: told[name] for name in ("arguments", "sample_rate", "samples")}
        description = Description(
            told["model"], techniques=tuple(told["techniques"]), origin=told.get("origin", {}), **options
        )
        shapes = description.shapes()
    except KeyError as problem:
        raise ValueError(f"{path} is no description of a model: it has no {problem}.") from None
    except (TypeError, ValueError, RecursionError) as problem:  # JSON's errors are ValueErrors
        raise ValueError(f"{path} is no description of a model: {_line(problem)}.") from None
    weights = Path(folder) / WEIGHTS
    try:
        with safe_open(weights, "pt") as file:
            if {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()} != shapes:  # noqa: SIM118
                raise ValueError("names or shapes differ")
        values = load_file(weights)
        if not all(value.isfinite().all() for value in values.values() if value.is_floating_point()):
            raise ValueError("it holds numbers that are not finite")
        network = description.build()
        network.load_state_dict(values)
    except FileNotFoundError:
        raise FileNotFoundError(f"{weights} is not there: fetch the model's folder whole.") from None
    except (OSError, ValueError, SafetensorError, RuntimeError) as problem:
        raise ValueError(f"{weights} does not fit its {DESCRIPTION} ({_line(problem)}): fetch both anew.") from None
    return network, description


def _is_name(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= 80 and value.isprintable()  # nothing that a terminal obeys


def _check_plain(value: object, depth: int = 0) -> None:
    """That arguments are small plain values, so that building a network can take neither long nor much memory."""
    if depth > 4:
        raise ValueError("arguments are nested too deeply")
    if isinstance(value, Mapping):
        for name, item in value.items():
            if type(name) is not str:
                raise ValueError("arguments holds a name that is no text")
            _check_plain(item, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > 64:
            raise ValueError("arguments holds a list of more than 64")
        for item in value:
            _check_plain(item, depth + 1)
    elif type(value) is int and not 0 <= value <= MOST:
        raise ValueError(f"arguments holds {value!r:.40}, expected whole numbers from 0 to {MOST}")
    elif type(value) is float and not math.isfinite(value):
        raise ValueError("arguments holds a number that is not finite")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise ValueError(f"arguments holds {type(value).__name__}")


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200].rstrip(".")
