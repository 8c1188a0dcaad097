"""The parser of the verbs without Hydra's configuration."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf.errors import OmegaConfBaseException

from singtech.cli.options import option, parse_options
from singtech.cli.problems import describe_error
from singtech.errors import InvalidValue


@dataclass(kw_only=True)
class Options:
    """What a verb might take."""

    run: str = option("RUN", "which")
    overlap: float = option("SHARE", "how much", 0.5)
    picture: bool = option("false", "draw", True)
    output_dir: Path = option("FOLDER", "where", Path("outputs"))


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("overlap=0.25", "overlap", 0.25),
        ("picture=false", "picture", False),
        ("output_dir='my folder'", "output_dir", Path("my folder")),
        ("output_dir=late=1", "output_dir", Path("late=1")),
    ],
)
def test_values_have_the_types_of_their_options(typed, name, value):
    options = parse_options(Options, ["run=x", typed])
    assert getattr(options, name) == value
    assert parse_options(Options, ["run=x"]).output_dir == Path("outputs")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["rnu=x"], "rnu=x: no such option (is run meant?); singtech test_options takes run, overlap, picture, "),
        (["--help-me"], "--help-me: no such option; "),
        (["run="], "run=: its value is missing; expected run=RUN."),
        (["run=a", "run=b"], "run=b: run is set twice; set it once."),
        ([], "run is not set: give it a value."),
        (["run=x", "overlap=half"], "overlap=half: expected a number."),
        (["run=x", "picture=often"], "picture=often: expected true or false"),
    ],
)
def test_a_mistake_is_one_sentence(typed, message):
    with pytest.raises((InvalidValue, OmegaConfBaseException)) as problem:
        parse_options(Options, typed)
    assert describe_error(problem.value).startswith(message)
