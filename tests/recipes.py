"""The recipes of CONTRIBUTING.md, read from the file, so that what a reader copies is what the tests run."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import singtech

CONTRIBUTING = Path(singtech.__file__).parent.parent / "CONTRIBUTING.md"


@dataclass(frozen=True)
class Recipe:
    """What a recipe says.

    Attributes:
        files: text by path, below the folder that a person works in.
        commands: one line each.
    """

    files: dict[str, str]
    commands: tuple[str, ...]

    def write(self, folder):
        """Write its files into a folder."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def arguments(self, number=0):
        """What follows `singtech run` in one of its commands."""
        program, verb, *arguments = shlex.split(self.commands[number])
        assert (program, verb) == ("singtech", "run")
        return arguments


def read_recipes(text):
    """Title -> recipe, of all sections that have a command."""
    recipes = {}
    for section in re.split(r"(?m)^### ", text)[1:]:
        title, _, body = section.partition("\n")
        files, commands = {}, []
        for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", body.split("\n## ")[0]):
            if language == "sh":
                commands += block.splitlines()
            else:
                name, _, rest = block.partition("\n")
                files[name.removeprefix("# ")] = rest
        if commands:
            recipes[title] = Recipe(files, tuple(commands))
    return recipes


RECIPES = read_recipes(CONTRIBUTING.read_text(encoding="utf-8"))
