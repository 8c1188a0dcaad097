"""Errors the user can fix. Any other exception is a bug and shows its traceback."""

from collections.abc import Collection


class SingtechError(Exception):
    """A user's mistake, in one sentence: what was found, what was expected, what to do."""


class InvalidValue(SingtechError, ValueError):
    """A setting, an argument or an input has a wrong value."""


class NotThere(SingtechError, FileNotFoundError):
    """A file or folder that is needed does not exist."""


class Damaged(SingtechError, ValueError):
    """A file that singtech wrote cannot be read: it is cut short, edited, or another kind of file."""


class Foreign(Damaged):
    """A file or folder bears a name that singtech did not give to it, or leads nowhere; no check renames it."""


class Newer(SingtechError, ValueError):
    """A file was written by a newer version of singtech; it is never changed or removed."""


class Conflict(SingtechError, ValueError):
    """Two files that should agree contradict each other."""


class MissingExtra(SingtechError, ImportError):
    """A setting needs an optional package that is not installed."""


class NoConnection(SingtechError, ConnectionError):
    """A server cannot be reached, or refuses the request."""


class NoSpace(SingtechError, OSError):
    """The disk has too little free space."""


class Diverged(SingtechError, FloatingPointError):
    """A loss is not finite."""


def require(is_valid: bool, setting: str, value: object, expected: str) -> None:
    """Raise `InvalidValue` with the setting, its value and what was expected, unless the value is valid."""
    if not is_valid:
        raise InvalidValue(f"{setting}={value}: expected {expected}.")


def require_choice(setting: str, value: object, choices: Collection[str]) -> None:
    """Raise `InvalidValue` unless a setting has one of its choices."""
    require(value in choices, setting, value, " or ".join(choices))
