"""Compare and print the settings of a run that differ from the defaults, by the names of Hydra's overrides.

A row stores them as a JSON object (`{"loss": "focal", "loss.gamma": 2.0}`). Rows of an earlier version have a `variant`
instead. Its names and values have changed their meaning, so it is never compared with settings.
"""

import functools
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from singtech.errors import InvalidValue

_PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.@+%-]*")  # Hydra reads it as text without quotes


@dataclass(frozen=True)
class Settings:
    """Settings that can be compared: 2 equals 2.0, and the order of names does not count.

    Attributes:
        items: sorted pairs of name and value, the value as canonical text.
        variant: settings of a run of an earlier version, the text of its row; None for the present version.
        values: name -> value.
    """

    items: tuple[tuple[str, str], ...] = ()
    variant: str | None = None
    values: Mapping[str, object] = field(default_factory=dict, compare=False, hash=False)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "Settings":
        """Make settings of these values."""
        sorted_values = dict(sorted(values.items()))
        return cls(tuple((name, _canonical(value)) for name, value in sorted_values.items()), None, sorted_values)

    @property
    def is_legacy(self) -> bool:
        """Whether they are from a row of an earlier version of singtech."""
        return self.variant is not None

    def includes(self, others: "Settings") -> bool:
        """Whether these settings include all others."""
        return set(others.items) <= set(self.items)

    def without(self, others: "Settings") -> "Settings":
        """Remove the settings that have the names of the others."""
        names = {name for name, _ in others.items}
        return Settings.of({name: value for name, value in self.values.items() if name not in names})

    def without_group(self, group: str) -> "Settings":
        """Remove the settings of a group, such as retraining and retraining.init."""
        return Settings.of({n: v for n, v in self.values.items() if n.split(".")[0] != group})

    def only_groups(self, *groups: str) -> "Settings":
        """Keep only the settings of some groups."""
        return Settings.of({n: v for n, v in self.values.items() if n.split(".")[0] in groups})

    def join(self, others: "Settings") -> "Settings | None":
        """Join these settings and others; None if they contradict each other."""
        own, other = dict(self.items), dict(others.items)
        if self.is_legacy or any(own[name] != other[name] for name in set(own) & set(other)):
            return None
        return Settings.of({**self.values, **others.values})

    @property
    def words(self) -> str:
        """The settings as text in tables: schedule=demo, optimizer.lr=0.001."""
        if self.is_legacy:
            return "stored by an earlier version" + (f", {self.variant}" if self.variant else "")
        return ", ".join(self.overrides)

    @property
    def overrides(self) -> list[str]:
        """The settings as Hydra's overrides, choices of groups first."""
        names = sorted(self.values, key=lambda name: ("." in name, name))
        return [f"{name}={hydra_value(self.values[name])}" for name in names]

    @property
    def command(self) -> str:
        """The settings as the end of a command line, quoted for a shell; "" if there are none."""
        return "".join(f" {shlex.quote(override)}" for override in self.overrides)


DEFAULTS = Settings()  # no differences


@functools.lru_cache(4096)
def read_settings(text: str, variant: str = "") -> Settings:
    """Read the settings of a row. A row of an earlier version has no text.

    Raises:
        ValueError: the text is not a JSON object.
    """
    if not text:
        return Settings(variant=variant)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidValue(f"settings hold {text!r:.40}, expected a JSON object")
    return Settings.of(values)


def own_folder(command: str) -> str:
    """Find the `--config-dir` of a run's command, the user's own configuration folder; "" for none."""
    words = shlex.split(command) if "--config-dir" in command else []
    return words[words.index("--config-dir") + 1] if "--config-dir" in words[:-1] else ""


def hydra_value(value: object) -> str:
    """Write a value as Hydra's command line reads it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{hydra_value(item)}' for name, item in value.items())}}}"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in ("true", "false", "null", "nan", "inf"):
        return text
    text = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # backslashes count before a quote only
    return "'" + text.replace("'", "\\'") + "'"


def _canonical(value: object) -> str:
    """Write a value as JSON that is the same for equal values: whole numbers become floats."""
    floats = json.loads(json.dumps(value, default=str), parse_int=float)
    return json.dumps(floats, sort_keys=True)
