"""Parse the `name=value` arguments of the verbs without a Hydra configuration into a dataclass."""

import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, field, fields
from types import NoneType
from typing import Any, get_args

from omegaconf import OmegaConf

from singtech.cli.problems import run_verb, suggest_name
from singtech.cli.usage import WIDTH, wrap_text
from singtech.errors import InvalidValue

INDENT = 20


def option(value: str, help: str, default: Any = MISSING) -> Any:
    """Define one option of a verb, a field of its dataclass.

    Args:
        value: the word for the value in the help, such as FOLDER.
        help: its effect, in a phrase.
        default: the value if the user sets none. An option without a default is required.
    """
    return field(default=default, metadata={"value": value, "help": help})


def command(schema: type) -> Callable[[Callable], Callable[..., int]]:
    """Turn a function of the dataclass `schema` into a program that returns its exit status."""

    def decorate(job: Callable[[Any], int | None]) -> Callable[..., int]:
        @functools.wraps(job)
        def main(argv: Sequence[str] | None = None) -> int:
            arguments = list(sys.argv[1:] if argv is None else argv)
            if {"-h", "--help"} & set(arguments):
                return run_verb(lambda: print(format_help(schema)))
            return run_verb(lambda: job(parse_options(schema, arguments)))

        return main

    return decorate


def parse_options(schema: type, arguments: Sequence[str]) -> Any:
    """Read `name=value` arguments into the dataclass `schema`.

    Raises:
        InvalidValue: a name is unknown or repeated, or its value is missing.
        OmegaConfBaseException: a value has another type, or a required option is missing.
    """
    options = {item.name: item for item in fields(schema)}
    values = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if name not in options:
            usage_text = f"singtech {schema.__module__.rpartition('.')[2]} takes {', '.join(options)}"
            raise InvalidValue(f"{argument}: no such option{suggest_name(name.lstrip('-+'), options)}; {usage_text}.")
        if name in values:
            raise InvalidValue(f"{argument}: {name} is set twice; set it once.")
        if not text:
            raise InvalidValue(f"{argument}: its value is missing; expected {name}={options[name].metadata['value']}.")
        is_quoted = text[0] == text[-1] and text[0] in "'\""  # as in Hydra's grammar
        is_null = text == "null" and NoneType in get_args(options[name].type)
        values[name] = None if is_null else text[1:-1] if is_quoted else text
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))


def format_help(schema: type) -> str:
    """Write the help of a verb, its module's docstring and its options, in 80 columns."""
    doc = wrap_text(inspect.cleandoc(sys.modules[schema.__module__].__doc__ or ""))
    lines = [f"usage: singtech {schema.__module__.rpartition('.')[2]} [name=value …]", "", doc, ""]
    for item in fields(schema):
        name = f"  {item.name}={item.metadata['value']}"
        default = f" (default {item.default})" if item.default not in (MISSING, "", False, True) else ""
        text = item.metadata["help"] + default
        indent = name.ljust(INDENT) if len(name) < INDENT else name + " "
        lines.append(textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=" " * INDENT))
    return "\n".join(lines)
