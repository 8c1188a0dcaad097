"""The parser of the verbs that take no Hydra configuration: `name=value` as there, read into a dataclass."""

import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, field, fields
from typing import Any

from omegaconf import OmegaConf

from singtech.cli.problems import closest, guard
from singtech.cli.usage import WIDTH, fill
from singtech.errors import InvalidValue

INDENT = 20


def option(value: str, help: str, default: Any = MISSING) -> Any:
    """A field of a verb's options.

    Args:
        value: what stands for the value in the help, such as FOLDER.
        help: what it does, in a phrase.
        default: the value where the user gives none; without one the user must.
    """
    return field(default=default, metadata={"value": value, "help": help})


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
        InvalidValue: a name is unknown, or its value is missing.
        OmegaConfBaseException: a value has another type, or a needed option is missing.
    """
    known = {each.name: each for each in fields(kind)}
    values = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if name not in known:
            takes = f"singtech {verb(kind)} takes {', '.join(known)}"
            raise InvalidValue(f"{argument}: no such option{closest(name.lstrip('-+'), known)}; {takes}.")
        if not text:
            raise InvalidValue(f"{argument}: its value is missing; expected {name}={known[name].metadata['value']}.")
        is_quoted = text[0] == text[-1] and text[0] in "'\""  # as in Hydra's grammar
        values[name] = text[1:-1] if is_quoted else text
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), values))


def verb(kind: type) -> str:
    """The verb whose options these are, by the module that they stand in."""
    return kind.__module__.rpartition(".")[2]


def usage(kind: type) -> str:
    """The help of a verb: its module's docstring and its options, within 80 columns."""
    doc = fill(inspect.cleandoc(sys.modules[kind.__module__].__doc__ or ""))
    lines = [f"usage: singtech {verb(kind)} [name=value …]", "", doc, ""]
    for each in fields(kind):
        name = f"  {each.name}={each.metadata['value']}"
        default = f" (default {each.default})" if each.default not in (MISSING, "", False, True) else ""
        text = each.metadata["help"] + default
        beside = name.ljust(INDENT) if len(name) < INDENT else name + " "
        lines.append(textwrap.fill(text, WIDTH, initial_indent=beside, subsequent_indent=" " * INDENT))
    return "\n".join(lines)
