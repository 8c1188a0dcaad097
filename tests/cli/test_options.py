"""The parser of the verbs without Hydra's configuration."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from singtech.cli.options import option, read
from singtech.errors import InvalidValue


@dataclass(kw_only=True)
class Options:
    """What a verb might take."""

    run: str = option("RUN", "which")
    overlap: float = option("SHARE", "how much", 0.5)
    picture: bool = option("false", "draw", True)
    input: list[str] = option("FILES", "of what", ())
    audio: str = option("WHICH", "hear", "all", ("all", "none"))
    output_dir: Path = option("FOLDER", "where", Path("outputs"))


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("overlap=0.25", "overlap", 0.25),
        ("picture=false", "picture", False),
        ("input=a b.wav", "input", ["a b.wav"]),
        ("input=[a.wav,'b, c.wav',3]", "input", ["a.wav", "b, c.wav", "3"]),
        ("output_dir='my folder'", "output_dir", Path("my folder")),
        ("run=late=1", "run", "late=1"),
    ],
)
def test_values_have_the_types_of_their_options(typed, name, value):
    options = read(Options, ["run=x", typed])
    assert getattr(options, name) == value
    assert read(Options, ["run=x"]).output_dir == Path("outputs")


def test_a_file_in_brackets_is_one_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("[take 1].wav").touch()
    assert read(Options, ["run=x", "input=[take 1].wav"]).input == ["[take 1].wav"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["rnu=x"], "rnu=x: no such option (is run meant?); singtech test_options takes run, overlap, picture, "),
        (["--help-me"], "--help-me: no such option; "),
        (["run="], "run=: its value is missing; expected run=RUN."),
        ([], "run= is missing; `singtech test_options --help` says what it takes."),
        (["run=x", "overlap=half"], "overlap=half: expected a number."),
        (["run=x", "picture=yes"], "picture=yes: expected true or false."),
        (["run=x", "audio=loud"], "audio=loud: expected all or none."),
        (["run=x", "input=[a.wav"], "input=[a.wav: expected a list, as in "),
    ],
)
def test_a_mistake_is_one_sentence(typed, sentence):
    with pytest.raises(InvalidValue) as problem:
        read(Options, typed)
    assert str(problem.value).startswith(sentence)
