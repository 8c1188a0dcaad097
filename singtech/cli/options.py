"""The parser of the verbs that take no Hydra configuration: `name=value` as there, read into a dataclass."""

import difflib
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any

from singtech.cli.problems import guard
from singtech.errors import InvalidValue

WIDTH, INDENT = 80, 20
NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}


def option(value: str, help: str, default: Any = MISSING, choices: Sequence[str] = ()) -> Any:
    """A field of a verb's options.

    Args:
        value: what stands for the value in the help, such as FOLDER.
        help: what it does, in a phrase.
        default: the value where the user gives none; without one the user must.
        choices: the values that are allowed; any by default.
    """
    return field(default=default, metadata={"value": value, "help": help, "choices": choices})


def command(kind: type) -> Callable[[Callable], Callable[..., int]]:
    """Make of a function of `kind`, a keyword-only dataclass of `option`s, a program that returns its exit status."""

    def decorate(job: Callable[[Any], int | None]) -> Callable[..., int]:
        @functools.wraps(job)
        def main(argv: Sequence[str] | None = None) -> int:
            arguments = list(sys.argv[1:] if argv is None else argv)
            if {"-h", "--help"} & set(arguments):
                return guard(lambda: print(usage(kind)))
            return guard(lambda: job(read(kind, arguments)))

        return main

    return decorate


def read(kind: type, arguments: Sequence[str]) -> Any:
    """Read `name=value` arguments into the dataclass `kind`.

    Raises:
        InvalidValue: a name is unknown, a value is absent or of another type, or a needed option is absent.
    """
    known = {each.name: each for each in fields(kind)}
    values = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if name not in known:
            close = difflib.get_close_matches(name.lstrip("-+"), known, n=1)
            meant = f" (is {close[0]} meant?)" if close else ""
            raise InvalidValue(f"{argument}: no such option{meant}; singtech {verb(kind)} takes {', '.join(known)}.")
        if not text:
            raise InvalidValue(f"{argument}: its value is missing; expected {name}={known[name].metadata['value']}.")
        values[name] = _value(known[name], text)
    for name, each in known.items():
        if name not in values and each.default is MISSING:
            raise InvalidValue(f"{name}= is missing; `singtech {verb(kind)} --help` says what it takes.")
    return kind(**values)


def verb(kind: type) -> str:
    """The verb whose options these are, by the module that they stand in."""
    return kind.__module__.rpartition(".")[2]


def usage(kind: type) -> str:
    """The help of a verb: its module's docstring and its options, within 80 columns."""
    doc = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
    lines = [f"usage: singtech {verb(kind)} [name=value …]", ""]
    for paragraph in doc.split("\n\n"):
        lines += [textwrap.fill(" ".join(paragraph.split()), WIDTH), ""]
    for each in fields(kind):
        name = f"  {each.name}={each.metadata['value']}"
        default = f" (default {each.default})" if each.default not in (MISSING, "", False, True) else ""
        text = each.metadata["help"] + default
        beside = name.ljust(INDENT) if len(name) < INDENT else name + " "
        lines.append(textwrap.fill(text, WIDTH, initial_indent=beside, subsequent_indent=" " * INDENT))
    return "\n".join(lines)


def _value(each: Field, text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]  # quotes, as in Hydra's grammar
    choices = ("true", "false") if each.type is bool else each.metadata["choices"]
    if choices and text not in choices:
        raise InvalidValue(f"{each.name}={text}: expected {' or '.join(filter(None, choices))}.")
    if each.type is bool:
        return text == "true"
    if each.type is Path:
        return Path(text).expanduser()
    if each.type in NUMBERS:
        try:
            return each.type(text)  # type: ignore[operator]
        except ValueError:
            raise InvalidValue(f"{each.name}={text}: expected {NUMBERS[each.type]}.") from None
    return _items(each.name, text) if each.type == list[str] else text


def _items(name: str, text: str) -> list[str]:
    """The items of a list in brackets; any other text, or what a file is called, is one item."""
    import yaml

    if not text.startswith("[") or Path(text).exists():
        return [text]
    try:
        return [str(item) for item in yaml.safe_load(text)]
    except yaml.YAMLError:
        raise InvalidValue(f"""{name}={text}: expected a list, as in "{name}=[a,'b c']".""") from None
