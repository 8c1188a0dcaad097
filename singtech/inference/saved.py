"""Read and write a trained network as a folder: `model.safetensors` and `config.json`, as the Hugging Face Hub has it.

Reading a folder runs no code from it. `config.json` names front end, extractor and head by names in `CLASSES` or by
classes of torch.nn. The user's own classes come only from the file or package that the user names (`code`).
"""

import contextlib
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from singtech.components import import_target
from singtech.corpus.audio import SAMPLE_RATES
from singtech.errors import Diverged, InvalidValue, NotThere
from singtech.io.atomic import hash_file, write_bytes, write_text
from singtech.io.stored import hash_values, one_line, parse_json, reading
from singtech.models.cnn1d import Waveform, WaveformExtractor
from singtech.models.constant_q import ConstantQ
from singtech.models.encoders import Crepe, HubEncoder, Resemblyzer
from singtech.models.heads import MLP, Cosine, LayerMixture
from singtech.models.network import Architecture, Network
from singtech.models.oblong import OblongExtractor
from singtech.models.shortcuts import Shortcuts
from singtech.models.spectrogram import MultiResolutionSpectrogram

CLASSES: dict[str, Callable[..., nn.Module]] = {
    kind.__name__: kind
    for kind in (
        *(MultiResolutionSpectrogram, ConstantQ, Waveform, OblongExtractor, WaveformExtractor),
        *(HubEncoder, Resemblyzer, Crepe, Shortcuts, nn.Linear, Cosine, MLP, LayerMixture),
    )
}
PARTS = ("front_end", "extractor", "head")
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
FORMAT = 3  # version of config.json; from 3 on it has a digest
# More than any network has; a description that asks for more must not fill the memory.
MAX_INPUTS = 1 << 27  # numbers in a clip, and in what the front end makes of it
MAX_WEIGHTS = 1 << 26  # numbers in a layer of an encoder, whose weights are not in the folder


@dataclass(frozen=True)
class Description:
    """All about a network except its weights.

    Attributes:
        parts: for each of `PARTS`, the name of its class as `is`, and its settings. A setting can be a class too.
        techniques: K names, in the order of the logits.
        sample_rate: in Hz, of the training clips.
        samples: S of a training clip.
        origin: the row of the run, for information only.
        code: the module with the user's own classes, if the network has some.
    """

    parts: Mapping[str, Mapping]
    techniques: tuple[str, ...]
    sample_rate: int
    samples: int
    origin: Mapping = field(default_factory=dict)
    code: ModuleType | None = field(default=None, compare=False, repr=False)

    def _read_component(self, part: str, settings: Mapping) -> functools.partial:
        """Find a class, and return it with its settings.

        Raises:
            InvalidValue: it is not in `CLASSES`, torch.nn or the user's own code.
        """
        if not isinstance(settings, Mapping) or not isinstance(settings.get("is"), str):
            raise InvalidValue(f"{part} names no class")
        name = settings["is"]
        if settings.get("remote_code"):
            raise InvalidValue(f"{part} asks for code of an encoder, which no folder of a model may run")
        target = CLASSES.get(name) or _find_torch_class(name) or self._find_own_class(part, name)
        values = {key: self._read_setting(f"{part}.{key}", value) for key, value in settings.items() if key != "is"}
        return functools.partial(target, **values)

    def _read_setting(self, part: str, value: object) -> object:
        if isinstance(value, list | tuple):
            return [self._read_setting(part, item) for item in value]
        return self._read_component(part, value) if isinstance(value, Mapping) and "is" in value else value

    def _find_own_class(self, part: str, name: str) -> Callable:
        """Find a class that the user's own code defines and does not only import."""
        names = name.split(".")
        code = self.code.__name__ if self.code else ""
        if code in names[:-1]:
            with contextlib.suppress(InvalidValue):  # there is no such class
                target = import_target(".".join(names[names.index(code) :]), part)
                if f"{target.__module__}.".startswith(f"{code}."):
                    return target
        file = f"{names[-2]}.py, or its package's folder" if len(names) > 1 else "its file"
        raise InvalidValue(f"{part} is {name!r}, a class that is not singtech's: name its file, code={file}")

    def build(self, weights: float = math.inf) -> Network:
        """Build the network in eval mode, with initial weights.

        Args:
            weights: the number of weights that are stored.
        Raises:
            InvalidValue: a part names no class, or a class that `code` does not define; or its settings contradict each
                other, or ask for far more weights or too large inputs.
        """
        if self.sample_rate not in SAMPLE_RATES:
            raise InvalidValue(f"no recording has {self.sample_rate} Hz")
        architecture = Architecture(*(self._read_component(part, self.parts[part]) for part in PARTS))
        check = functools.partial(_check_weights, max(weights, MAX_WEIGHTS))
        try:
            with register_module_parameter_registration_hook(check):
                network = architecture.build(self.samples, len(self.techniques), self.sample_rate, seed=0).eval()
            inputs = max(self.samples, math.prod(network.front_end.shape(self.samples)))  # type: ignore[operator]
        except (ArithmeticError, AttributeError, MemoryError, RuntimeError, TypeError, ValueError) as problem:
            raise InvalidValue(f"no network can be built with its settings ({one_line(problem)})") from None
        if inputs > MAX_INPUTS:
            raise InvalidValue(f"its front end makes {inputs:,} numbers of a clip; at most {MAX_INPUTS:,} are possible")
        return network


def _check_weights(most: float, module: nn.Module, name: str, weights: nn.Parameter | None) -> None:
    """Refuse a layer with more numbers among its weights, before their memory is used."""
    if weights is not None and weights.numel() > most:
        raise InvalidValue(f"the {name} of a layer has {weights.numel():,} numbers, more than all of {WEIGHTS}")


def describe_parts(settings: Mapping) -> dict[str, dict]:
    """Return the parts of a network for a `Description`, from the configuration of its run."""
    groups = dict(zip(PARTS, ("front_end", "model", "head"), strict=True))
    return {part: _replace_targets(settings[group]) for part, group in groups.items()}


def _replace_targets(value):
    """Replace every `_target_` in a value of a configuration by `is`."""
    if isinstance(value, list | tuple):
        return [_replace_targets(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "_target_" not in value:
        return {key: _replace_targets(item) for key, item in value.items()}
    target = value["_target_"]
    if target is None:
        return None
    name = target.rpartition(".")[2]
    is_listed = target.partition(".")[0] in ("singtech", "torch") and name in CLASSES
    settings = {key: _replace_targets(item) for key, item in value.items() if not key.startswith("_")}
    return {"is": name if is_listed else target, **settings}


def write_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description into an existing folder.

    Raises:
        Diverged: a weight is not finite, or a buffer holds NaN.
    """
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    is_finite = all(value.isfinite().all() for value in network.parameters())
    if not is_finite or any(value.isnan().any() for value in weights.values()):
        raise Diverged("the network's weights hold NaN or infinite numbers: it cannot predict; train it again.")
    write_bytes(folder / WEIGHTS, save(weights, {"format": "pt"}))
    content = {
        "format": FORMAT,
        "parts": {part: dict(settings) for part, settings in description.parts.items()},
        "techniques": list(description.techniques),
        "sample_rate": description.sample_rate,
        "samples": description.samples,
        "weights_sha256": hash_file(folder / WEIGHTS),
        "origin": dict(description.origin),
    }
    content["digest"] = hash_values(content)
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_model(folder: Path, code: ModuleType | None = None) -> tuple[Network, Description]:
    """Read a model folder: its network in eval mode, and its description.

    Args:
        code: the module with the user's own classes, if the network has some.
    Raises:
        NotThere: there is no model.
        Newer: a newer version wrote it.
        Damaged: its description or its weights are damaged, or do not fit this version.
    """
    path, weights = Path(folder) / DESCRIPTION, Path(folder) / WEIGHTS
    if not path.is_file():
        raise NotThere(f"{folder}: no model, because {DESCRIPTION} is missing; make one with `singtech export`.")
    if not weights.is_file():
        raise NotThere(f"{weights} is missing: copy the whole folder of the model.")
    fitting = functools.partial(reading, weights, "copy both again", f"does not fit its {DESCRIPTION}")
    with fitting(), safe_open(weights, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
    with reading(path, "copy the folder again", "is no description of a model"):
        content = parse_json(path.read_bytes(), FORMAT)
        size, digest = (content["sample_rate"], content["samples"]), content["weights_sha256"]
        description = Description(content["parts"], tuple(content["techniques"]), *size, content["origin"], code)
        network = description.build(sum(map(math.prod, shapes.values())))
    with fitting():
        if {name: tuple(value.shape) for name, value in network.state_dict().items()} != shapes:
            raise ValueError("its layers have other sizes")
        if hash_file(weights) != digest:
            raise ValueError("its content was changed")
        network.load_state_dict(load_file(weights))
    with reading(path, "copy the folder again", "is no description of a model"):
        if content.get("digest") != hash_values(content) and (content["format"] > 2 or "digest" in content):
            raise ValueError("it has changed since it was written")
    return network, description


def _find_torch_class(name: str) -> type[nn.Module] | None:
    """Find the class of a name such as torch.nn.ReLU."""
    target = getattr(nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    return target if isinstance(target, type) and issubclass(target, nn.Module) else None
