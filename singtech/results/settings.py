"""What a run differs in from the defaults: typed settings by the names of Hydra's overrides, compared and printed.

A row says them as text, a JSON object (`{"loss": "focal", "loss.gamma": 2.0}`). Rows that an earlier version stored
have a `variant` instead, whose names and values mean other things today: these are never compared with settings.
"""

import functools
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

_PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.@+%-]*")  # a text that Hydra reads as a text without quotes


@dataclass(frozen=True)
class Settings:
    """Settings that can be compared: 2 equals 2.0, and the order of names decides nothing.

    Attributes:
        items: name and value of each, as canonical text, sorted.
        variant: what a run of an earlier version was stored with; None of the present one.
        values: the values as they were read, by name.
    """

    items: tuple[tuple[str, str], ...] = ()
    variant: str | None = None
    values: Mapping[str, object] = field(default_factory=dict, compare=False, hash=False)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "Settings":
        """The settings of these values."""
        ordered = {name: values[name] for name in sorted(values)}
        return cls(tuple((name, _canonical(value)) for name, value in ordered.items()), None, ordered)

    @property
    def is_earlier(self) -> bool:
        """Whether an earlier version stored them."""
        return self.variant is not None

    def holds(self, others: "Settings") -> bool:
        """Whether all of the others are among them."""
        return not self.is_earlier and set(others.items) <= set(self.items)

    def without(self, others: "Settings") -> "Settings":
        """Them less the others."""
        taken = {name for name, _ in others.items}
        return Settings.of({name: value for name, value in self.values.items() if name not in taken})

    def without_group(self, group: str) -> "Settings":
        """Them less those of a group: retraining, retraining.init."""
        return Settings.of({n: v for n, v in self.values.items() if n != group and not n.startswith(f"{group}.")})

    def within(self, *groups: str) -> "Settings":
        """Those of some groups alone."""
        return Settings.of({n: v for n, v in self.values.items() if n.split(".")[0] in groups})

    def names(self, prefix: str) -> list[str]:
        """The names that begin so."""
        return [name for name in self.values if name.startswith(prefix)]

    def joined(self, others: "Settings") -> "Settings | None":
        """Them and the others; None where both set something and differ in it."""
        ours, theirs = dict(self.items), dict(others.items)
        if self.is_earlier or any(ours[name] != theirs[name] for name in set(ours) & set(theirs)):
            return None
        return Settings.of({**self.values, **others.values})

    @property
    def words(self) -> str:
        """As a reader sees them: schedule=demo, optimizer.lr=0.001."""
        if self.is_earlier:
            return "stored by an earlier version" + (f", {self.variant}" if self.variant else "")
        return ", ".join(self.overrides)

    @property
    def overrides(self) -> list[str]:
        """As Hydra's overrides, those of groups first."""
        names = sorted(self.values, key=lambda name: ("." in name, name))
        return [f"{name}={hydra_value(self.values[name])}" for name in names]

    @property
    def command(self) -> str:
        """As the end of a command line, quoted for a shell; "" where there are none."""
        return "".join(f" {shlex.quote(override)}" for override in self.overrides)


PAPERS = Settings()  # of a run that differs in nothing


@functools.lru_cache(4096)
def read_settings(text: str, variant: str = "") -> Settings:
    """The settings that a row says; without a text those of a run that an earlier version stored.

    Raises:
        ValueError: the text is no JSON object.
    """
    if not text:
        return Settings(variant=variant)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ValueError(f"settings hold {text!r:.40}, expected a JSON object")
    return Settings.of(values)


def hydra_value(value: object) -> str:
    """A value as Hydra's command line reads it."""
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
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # backslashes count before a quote only
    return "'" + doubled.replace("'", "\\'") + "'"


def _canonical(value: object) -> str:
    """A value as text that is the same for equal values."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(float(value)) if abs(value) < 1 << 53 else repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{json.dumps(str(n))}:{_canonical(value[n])}' for n in sorted(value, key=str))}}}"
    return json.dumps(str(value))
