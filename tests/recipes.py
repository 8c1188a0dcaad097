"""The recipes of docs/how-to/, read from the pages, so that what a reader copies is what the tests run."""

import shlex
from dataclasses import dataclass

from tests.pages import PAGES, read_blocks

HOW_TO = [page for page in PAGES if page.match("docs/how-to/own-*.md")]


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


def read_recipes(page):
    """Title -> recipe, of all sections of a page that have both files and a command."""
    files, commands = {}, {}
    for block in read_blocks(page):
        title = block.heading.removeprefix("Add ")
        title = title[:1].upper() + title[1:]
        if block.language == "sh":
            commands[title] = (*commands.get(title, ()), *block.commands)
        else:
            name, _, text = block.text.partition("\n")
            files.setdefault(title, {})[name.removeprefix("# ")] = f"{text}\n"
    return {title: Recipe(files[title], commands[title]) for title in files if title in commands}


RECIPES = {title: recipe for page in HOW_TO for title, recipe in read_recipes(page).items()}
