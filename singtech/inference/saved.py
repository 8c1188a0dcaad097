"""A trained network as a folder that stands alone: `model.safetensors`, `config.json`; nothing in it is ever executed.

`config.json` names front end, extractor and head by words of `CLASSES`, never by something to import, and every value
of it is checked before a network is built. A class of a person's own is taken only from the file that they name
(`code`).
The layout is that of the Hugging Face Hub.
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from singtech.io.atomic import write_bytes, write_text
from singtech.models.cnn1d import Waveform, WaveformExtractor
from singtech.models.network import Architecture, Network
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram

CLASSES = {
    kind.__name__: kind
    for kind in (MultiResolutionSpectrogram, Waveform, OblongExtractor, WaveformExtractor, nn.Linear)
}
PARTS = ("front_end", "extractor", "head")
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
FORMAT = 2  # of config.json, raised when its meaning changes; 1 is read too
MOST_BYTES = 1 << 20  # of a description
MOST_SAMPLES = 1 << 24  # of a clip, over six minutes at 44.1 kHz
MOST = 4096  # of any other whole number in the settings: channels, window lengths


@dataclass(frozen=True)
class Description:
    """What a network is, beside its weights.

    Attributes:
        parts: of each of `PARTS` its class as `is`, a word of `CLASSES` or `module.Class` of a person's own file, and
            its settings; plain values.
        techniques: K names, in the order of the logits.
        sample_rate: in Hz, of the clips that it learned from.
        samples: S of such a clip.
        origin: where it comes from, for people: the run's row. Nothing depends on it.
        code: the module with the person's own classes, where they are needed.
    """

    parts: Mapping[str, Mapping]
    techniques: tuple[str, ...]
    sample_rate: int
    samples: int
    origin: Mapping = field(default_factory=dict)
    code: ModuleType | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, value, most in (("sample_rate", self.sample_rate, 10**6), ("samples", self.samples, MOST_SAMPLES)):
            if type(value) is not int or not 0 < value <= most:
                raise ValueError(f"{name} is {value!r:.60}, expected a whole number from 1 to {most:,}")
        names = self.techniques
        if not names or len(names) > MOST or not all(_is_name(n) for n in names):
            raise ValueError("techniques holds no list of names")
        if len(set(names)) < len(names):
            raise ValueError("techniques names one twice")
        if not isinstance(self.parts, Mapping) or set(self.parts) != set(PARTS) or not isinstance(self.origin, Mapping):
            raise ValueError(f"expected the parts {', '.join(PARTS)}, and an origin")
        _check_plain(self.parts)
        for part in PARTS:
            self._class(part)

    def _class(self, part: str) -> functools.partial:
        """A part's class with its settings.

        Raises:
            ValueError: it is none of `CLASSES`, and not in the person's own code.
        """
        described = self.parts[part]
        name = described.get("is") if isinstance(described, Mapping) else None
        if not _is_name(name):
            raise ValueError(f"{part} names no class")
        settings = {key: value for key, value in described.items() if key != "is"}
        if name in CLASSES:
            return functools.partial(CLASSES[name], **settings)
        module, _, attribute = name.rpartition(".")
        stem = module.rpartition(".")[2]
        own = getattr(self.code, attribute, None) if self.code and self.code.__name__ == stem else None
        if not callable(own) or getattr(own, "__module__", None) != stem:  # what the file only imports is not its own
            file = f"{stem}.py" if stem else "its file"
            raise ValueError(f"{part} is {name!r:.60}, a class that is not singtech's: name its file, code={file}")
        return functools.partial(own, **settings)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight by its name, without memory for any, so that a file's can be checked before.

        Raises:
            ValueError: as `build`.
        """
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in self.build().state_dict().items()}

    def build(self) -> Network:
        """The network with weights that are yet to be loaded, in eval mode.

        Raises:
            ValueError: its settings do not fit each other.
        """
        architecture = Architecture(*(self._class(part) for part in PARTS))
        try:
            return architecture.build(self.samples, len(self.techniques), self.sample_rate, seed=0).eval()
        except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError, AttributeError) as problem:
            raise ValueError(f"no network can be built with its settings ({_line(problem)})") from None


def described_parts(settings: Mapping) -> dict[str, dict]:
    """The parts of a network, for a `Description`, from the configuration of its run."""
    if "build" in settings["model"]:  # of a run stored by an earlier version
        arguments = dict(settings["model"]["build"])
        return _parts_of_format_1(arguments.pop("_target_").rpartition(".")[2].removesuffix("_network"), arguments)
    groups = dict(zip(PARTS, ("front_end", "model", "head"), strict=True))
    return {part: _described(settings[group]) for part, group in groups.items()}


def _described(component: Mapping) -> dict:
    target = component["_target_"]
    name = target.rpartition(".")[2]
    is_ours = target.partition(".")[0] in ("singtech", "torch") and name in CLASSES
    settings = {key: value for key, value in component.items() if not key.startswith("_")}
    return {"is": name if is_ours else target, **settings}


def _parts_of_format_1(kind: object, arguments: Mapping) -> dict[str, dict]:
    """The parts of a network described by an earlier version.

    Raises:
        ValueError: it is of no kind that there was.
    """
    settings = dict(arguments) if isinstance(arguments, Mapping) else {}
    if kind == "oblong" and isinstance(settings.get("front_end"), Mapping):
        front_end = {"is": "MultiResolutionSpectrogram", **settings.pop("front_end")}
        return {"front_end": front_end, "extractor": {"is": "OblongExtractor", **settings}, "head": {"is": "Linear"}}
    if kind == "cnn1d":
        front_end = {"is": "Waveform", "level": settings.pop("level", "peak")}
        return {"front_end": front_end, "extractor": {"is": "WaveformExtractor", **settings}, "head": {"is": "Linear"}}
    raise ValueError(f"model is {kind!r:.60}, expected oblong or cnn1d")


def write_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description into an existing folder."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(weights, {"format": "pt"}))
    content = {
        "format": FORMAT,
        "parts": {part: dict(settings) for part, settings in description.parts.items()},
        "techniques": list(description.techniques),
        "sample_rate": description.sample_rate,
        "samples": description.samples,
        "origin": dict(description.origin),
    }
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_model(folder: Path, code: ModuleType | None = None) -> tuple[Network, Description]:
    """The network of a model folder in eval mode, and what it is.

    Args:
        code: the module with the person's own classes, where the network has some.
    Raises:
        FileNotFoundError: there is no model there.
        ValueError: it is damaged, hostile or of another version; one sentence says what.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no model, for it has no {DESCRIPTION}; make one with singtech.cli.export.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
            raise ValueError(f"it is of neither format 1 nor {FORMAT}, which this version reads")
        if not isinstance(content.get("techniques"), list):
            raise ValueError("techniques holds no list of names")
        is_old = content["format"] == 1
        parts = _parts_of_format_1(content["model"], content["arguments"]) if is_old else content["parts"]
        options = {name: content[name] for name in ("sample_rate", "samples")}
        techniques, origin = tuple(content["techniques"]), content.get("origin", {})
        description = Description(parts, techniques, origin=origin, code=code, **options)
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
    """Check that settings are small plain values, so that building a network can take neither long nor much memory."""
    if depth > 4:
        raise ValueError("settings are nested too deeply")
    if isinstance(value, Mapping):
        for name, item in value.items():
            if type(name) is not str:
                raise ValueError("settings hold a name that is no text")
            _check_plain(item, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > 64:
            raise ValueError("settings hold a list of more than 64")
        for item in value:
            _check_plain(item, depth + 1)
    elif type(value) is int and not 0 <= value <= MOST:
        raise ValueError(f"settings hold {value!r:.40}, expected whole numbers from 0 to {MOST}")
    elif type(value) is float and not math.isfinite(value):
        raise ValueError("settings hold a number that is not finite")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise ValueError(f"settings hold {type(value).__name__}")


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200].rstrip(".")
