"""Read and write a trained network as a folder: `model.safetensors` and `config.json`, as the Hugging Face Hub has it.

Reading a folder executes nothing from it. `config.json` names front end, extractor and head by words of `CLASSES` or by
classes of torch.nn. A class of a person's own comes only from the file or package that this person names (`code`).
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from singtech.errors import Damaged, InvalidValue, Newer, NotThere
from singtech.io.atomic import write_bytes, write_text
from singtech.models.cnn1d import Waveform, WaveformExtractor
from singtech.models.network import Architecture, Network
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram

CLASSES: dict[str, Callable[..., nn.Module]] = {
    kind.__name__: kind
    for kind in (MultiResolutionSpectrogram, Waveform, OblongExtractor, WaveformExtractor, nn.Linear)
}
PARTS = ("front_end", "extractor", "head")
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
FORMAT = 2  # of config.json, raised when its meaning changes; 1 is read too
MOST_BYTES = 1 << 20  # of config.json
MOST_SAMPLES = 1 << 24  # of a clip, over six minutes at 44.1 kHz
MOST = 4096  # of any other whole number in the settings of `CLASSES`, so that none of them fills the memory


@dataclass(frozen=True)
class Description:
    """What a network is, beside its weights.

    Attributes:
        parts: for each of `PARTS`, the name of its class as `is`, and its settings. A setting may be such a class too.
        techniques: K names, in the order of the logits.
        sample_rate: in Hz, of the training clips.
        samples: S of such a clip.
        origin: the run's row, for people. Nothing depends on it.
        code: the module with the person's own classes, where the network has some.
    Raises:
        InvalidValue: a value does not fit.
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
                raise InvalidValue(f"{name} is {value!r:.60}, expected a whole number from 1 to {most:,}")
        if not self.techniques or not all(_is_name(name) for name in self.techniques):
            raise InvalidValue("techniques holds no list of names")
        if len(set(self.techniques)) < len(self.techniques):
            raise InvalidValue("techniques names one twice")
        if not isinstance(self.parts, Mapping) or set(self.parts) != set(PARTS) or not isinstance(self.origin, Mapping):
            raise InvalidValue(f"expected the parts {', '.join(PARTS)}, and an origin")
        for part in PARTS:
            self._component(part, self.parts[part])

    def _component(self, part: str, described: object) -> functools.partial:
        """A class with its settings, from its description.

        Raises:
            InvalidValue: it is not in `CLASSES`, torch.nn or the person's own code; or a setting is too large.
        """
        if not isinstance(described, Mapping) or not _is_name(described.get("is")):
            raise InvalidValue(f"{part} names no class")
        name = described["is"]
        settings = {key: self._setting(f"{part}.{key}", value) for key, value in described.items() if key != "is"}
        if name in CLASSES:
            _require_small(settings)
        target = CLASSES.get(name) or _torch_class(name) or self._own_class(part, name)
        return functools.partial(target, **settings)

    def _setting(self, part: str, value: object) -> object:
        if isinstance(value, list | tuple):
            return [self._setting(part, item) for item in value]
        return self._component(part, value) if isinstance(value, Mapping) and "is" in value else value

    def _own_class(self, part: str, name: str) -> Callable:
        """A class that the person's own code defines, not one that it only imports."""
        module, _, attribute = name.rpartition(".")
        stem = module.rpartition(".")[2]
        if self.code:
            package = self.code.__name__
            is_within = stem != package and module.startswith(f"{package}.")
            try:
                target = getattr(import_module(module) if is_within else self.code, attribute, None)
            except ModuleNotFoundError:
                target = None
            is_its_own = f"{getattr(target, '__module__', None)}.".startswith(f"{package}.")
            if target is not None and callable(target) and is_its_own and (is_within or stem == package):
                return target
        file = f"{stem}.py, or its package's folder" if stem else "its file"
        raise InvalidValue(f"{part} is {name!r:.60}, a class that is not singtech's: name its file, code={file}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight by its name, computed without memory for the weights.

        Raises:
            InvalidValue: as `build`.
        """
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in self.build().state_dict().items()}

    def build(self) -> Network:
        """Build the network in eval mode, with initial weights.

        Raises:
            InvalidValue: its settings do not fit each other.
        """
        architecture = Architecture(*(self._component(part, self.parts[part]) for part in PARTS))
        try:
            return architecture.build(self.samples, len(self.techniques), self.sample_rate, seed=0).eval()
        except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError, AttributeError) as problem:
            raise InvalidValue(f"no network can be built with its settings ({_line(problem)})") from None


def described_parts(settings: Mapping) -> dict[str, dict]:
    """The parts of a network, for a `Description`, from the configuration of its run."""
    if "build" in settings["model"]:  # of a run stored by an earlier version
        arguments = dict(settings["model"]["build"])
        return _parts_of_format_1(arguments.pop("_target_").rpartition(".")[2].removesuffix("_network"), arguments)
    groups = dict(zip(PARTS, ("front_end", "model", "head"), strict=True))
    return {part: _described(settings[group]) for part, group in groups.items()}


def _described(value):
    """A configuration's value with `is` in place of every `_target_`."""
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "_target_" not in value:
        return {key: _described(item) for key, item in value.items()}
    target = value["_target_"]
    if target is None:
        return None
    name = target.rpartition(".")[2]
    is_own_class = target.partition(".")[0] in ("singtech", "torch") and name in CLASSES
    settings = {key: _described(item) for key, item in value.items() if not key.startswith("_")}
    return {"is": name if is_own_class else target, **settings}


def _parts_of_format_1(kind: object, arguments: Mapping) -> dict[str, dict]:
    """The parts of a network described by an earlier version.

    Raises:
        InvalidValue: its kind is unknown.
    """
    settings = dict(arguments) if isinstance(arguments, Mapping) else {}
    if kind == "oblong" and isinstance(settings.get("front_end"), Mapping):
        front_end, extractor = {"is": "MultiResolutionSpectrogram", **settings.pop("front_end")}, "OblongExtractor"
    elif kind == "cnn1d":
        front_end, extractor = {"is": "Waveform", "level": settings.pop("level", "peak")}, "WaveformExtractor"
    else:
        raise InvalidValue(f"model is {kind!r:.60}, expected oblong or cnn1d")
    return {"front_end": front_end, "extractor": {"is": extractor, **settings}, "head": {"is": "Linear"}}


def write_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description into an existing folder."""
    weights = save({name: value.contiguous() for name, value in network.state_dict().items()}, {"format": "pt"})
    write_bytes(folder / WEIGHTS, weights)
    content = {
        "format": FORMAT,
        "parts": {part: dict(settings) for part, settings in description.parts.items()},
        "techniques": list(description.techniques),
        "sample_rate": description.sample_rate,
        "samples": description.samples,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "origin": dict(description.origin),
    }
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_model(folder: Path, code: ModuleType | None = None) -> tuple[Network, Description]:
    """Read a model folder: its network in eval mode, and its description.

    Args:
        code: the module with the person's own classes, where the network has some.
    Raises:
        NotThere: there is no model.
        Newer: a newer version wrote it.
        Damaged: its description or its weights are damaged, or not what this version builds.
    """
    path, weights = Path(folder) / DESCRIPTION, Path(folder) / WEIGHTS
    if not path.is_file():
        raise NotThere(f"{folder}: no model, for it has no {DESCRIPTION}; make one with `singtech export`.")
    try:
        content = _read_content(path)
        description = _description(content, code)
        shapes = description.shapes()
    except Newer:
        raise
    except KeyError as problem:
        raise Damaged(f"{path} is no description of a model: it has no {problem}.") from None
    except (TypeError, ValueError, RecursionError) as problem:  # JSON's errors are ValueErrors
        raise Damaged(f"{path} is no description of a model: {_line(problem)}.") from None
    try:
        values = _read_weights(weights, shapes, content.get("weights_sha256"))
        network = description.build()
        network.load_state_dict(values)
    except FileNotFoundError:
        raise NotThere(f"{weights} is not there: fetch the model's folder whole.") from None
    except (OSError, ValueError, SafetensorError, RuntimeError) as problem:
        raise Damaged(f"{weights} does not fit its {DESCRIPTION} ({_line(problem)}): fetch both anew.") from None
    return network, description


def _read_content(path: Path) -> dict:
    """The content of a `config.json` of a format that this version reads."""
    if path.stat().st_size > MOST_BYTES:
        raise InvalidValue(f"it is larger than {MOST_BYTES:,} bytes")
    content = json.loads(path.read_text(encoding="utf-8"))
    number = content.get("format") if isinstance(content, dict) else None
    if type(number) is int and number > FORMAT:
        raise Newer(f"{path}: format {number} is newer than {FORMAT}, which this version reads: update singtech.")
    if number not in (1, FORMAT):
        raise InvalidValue(f"it is of neither format 1 nor {FORMAT}, which this version reads")
    if not isinstance(content.get("techniques"), list):
        raise InvalidValue("techniques holds no list of names")
    return content


def _description(content: Mapping, code: ModuleType | None) -> Description:
    is_old = content["format"] == 1
    parts = _parts_of_format_1(content["model"], content["arguments"]) if is_old else content["parts"]
    techniques, origin = tuple(content["techniques"]), content.get("origin", {})
    return Description(parts, techniques, content["sample_rate"], content["samples"], origin, code)


def _read_weights(path: Path, shapes: Mapping, sha256: str | None) -> dict[str, torch.Tensor]:
    """The weights of a file, checked before they take memory.

    Args:
        sha256: of the file; None in the folders of earlier versions.
    """
    with path.open("rb") as file:
        if sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise InvalidValue("it is not the file that was written")
    with safe_open(path, "pt") as file:
        if {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()} != shapes:  # noqa: SIM118
            raise InvalidValue("names or shapes differ")
    values = load_file(path)
    if not all(value.isfinite().all() for value in values.values() if value.is_floating_point()):
        raise InvalidValue("it holds numbers that are not finite")
    return values


def _torch_class(name: str) -> type[nn.Module] | None:
    """The class that a path such as torch.nn.ReLU names."""
    target = getattr(nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    return target if isinstance(target, type) and issubclass(target, nn.Module) else None


def _is_name(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= 80 and value.isprintable()  # nothing that a terminal obeys


def _require_small(settings: Mapping) -> None:
    """Check the whole numbers in the settings of one of `CLASSES`."""
    for value in settings.values():
        for number in value if isinstance(value, list) else [value]:
            if type(number) is int and not 0 <= number <= MOST:
                raise InvalidValue(f"settings hold {number!r:.40}, expected whole numbers from 0 to {MOST}")


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200].rstrip(".")
