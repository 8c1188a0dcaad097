"""Write the reference pages of the documentation from the code. MkDocs calls `on_…` while it builds.

A page asks for a part by a comment, `<!-- generated: commands -->`, where `commands` is a key of `PARTS`. GitHub shows
only the text around it.
"""

import functools
import inspect
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_args

import yaml

from singtech.__main__ import VERBS
from singtech.config_paths import CONF
from singtech.results.schema import COLUMNS
from singtech.settings import Settings

ROOT = Path(__file__).parent.parent
CONTRIBUTING = "reference/contributing.md"
MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_files(files, config):
    """Add CONTRIBUTING.md to the pages."""
    from mkdocs.structure.files import File

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](../")
    files.append(File.generated(config, CONTRIBUTING, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Fill in the generated parts, and lead links to CONTRIBUTING.md to its page."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+CONTRIBUTING\.md", f"]({up}{CONTRIBUTING}", markdown)
    return MARK.sub(lambda mark: PARTS[mark[1]](), markdown)


def write_commands() -> str:
    """A section for each verb, with its help as the terminal shows it."""
    with ThreadPoolExecutor(4) as pool:
        helps = pool.map(read_help, VERBS)
    sections = zip(VERBS.items(), helps, strict=True)
    return "\n\n".join(f"## {verb}\n\n{text.capitalize()}.\n\n{fence(shown)}" for (verb, text), shown in sections)


def read_help(verb: str) -> str:
    """Return what `singtech <verb> --help` prints."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "singtech", verb, "--help"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_targets() -> str:
    """A table of the Makefile's targets."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z0-9_-]+):.*?## (.*)$", text, flags=re.MULTILINE)
    return table(["target", "effect"], [(f"`make {name}`", words) for name, words in targets])


def write_columns() -> str:
    """A table of the data dictionary."""
    rows = [(f"`{column.name}`", column.type, column.unit, column.meaning) for column in COLUMNS]
    return table(["column", "type", "unit", "meaning"], rows)


def write_settings() -> str:
    """A table of every setting: its name, its default, the comment beside it, and its type."""
    defaults = read_defaults()
    lines = read_yaml_lines(CONF / "config.yaml")
    for group, choice in defaults.items():
        if (path := CONF / group / f"{choice}.yaml").is_file():
            lines |= {f"{group}.{name}": line for name, line in read_yaml_lines(path).items() if name != "defaults"}
    rows = []
    for name, kind, default, meaning in list_settings(Settings):
        value, comment = lines.pop(name, (default, ""))
        rows.append((f"`{name}`", f"`{value}`" if value else "", comment or meaning, f"`{kind}`"))
    rows += [
        (f"`{name}`", f"`{value}`" if value else "", comment, "")
        for name, (value, comment) in lines.items()
        if name.partition(".")[0] in defaults and "." in name and not name.endswith("._target_")
    ]
    return table(["setting", "default", "meaning", "type"], sorted(rows, key=lambda row: ("." in row[0], row[0])))


def write_groups() -> str:
    """A section for each group of conf/: what each choice is, and its file."""
    sections = []
    for group, default in read_defaults().items():
        paths = sorted((CONF / group).glob("*.yaml"))
        if not paths:
            continue
        text = [f"### {group}\n"]
        for path in paths:
            name = f"{group}={path.stem}" + (" (the default)" if path.stem == default else "")
            content = path.read_text(encoding="utf-8").strip()
            title = f"{name}: {read_comment(path)[0]}".rstrip(": ").replace('"', "&quot;")
            text.append(f'??? abstract "{title}"\n\n' + indent(fence(content, "yaml")))
        sections.append("\n".join(text))
    return "\n\n".join(sections)


def write_ablations() -> str:
    """A table of the ablations: what is left open, what the authors' code does, why the default is the default."""
    rows = [(f"`ablation={path.stem}`", " ".join(read_comment(path))) for path in sorted(CONF.glob("ablation/*.yaml"))]
    return table(["alternative", "what it changes, and why the default is the default"], rows)


def read_defaults() -> dict[str, str]:
    """Group -> its default choice, in the order of `conf/config.yaml`."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return {group: choice for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}


def read_comment(path: Path) -> list[str]:
    """Return the sentences of the comment at the top of a settings file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: first_setting(lines)] if "@package" not in line]
    return re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(comment).strip())


def first_setting(lines: list[str]) -> int:
    """Return the number of the first line that is no comment."""
    return next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))


def read_yaml_lines(path: Path) -> dict[str, tuple[str, str]]:
    """Return the value as written, and the comment beside it, of each setting of a file by its dotted name."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()

    def walk(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if isinstance(value, yaml.MappingNode) and value.value:
                yield from walk(value, f"{name}.")
            else:
                is_long = value.end_mark.line > value.start_mark.line + 1
                written = "" if is_long else text[value.start_mark.index : value.end_mark.index].strip()
                yield name, (written, read_comment_beside(lines, key.start_mark.line))

    root = yaml.compose(text)
    return dict(walk(root, "")) if isinstance(root, yaml.MappingNode) else {}


def read_comment_beside(lines: list[str], number: int) -> str:
    """Return the comment behind a line of code, and its further lines below."""
    _, mark, comment = lines[number].partition(" # ")
    more = itertools.takewhile(lambda line: re.match(r"\s{8,}# ", line), lines[number + 1 :])
    return " ".join([comment.strip(), *(line.strip(" #") for line in more)]) if mark else ""


def list_settings(schema: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and comment of the settings of a dataclass that have a type."""
    lines = inspect.getsource(schema).splitlines()
    for item in fields(schema):
        if is_dataclass(item.type):
            yield from list_settings(item.type, f"{prefix}{item.name}.")
        elif not str(item.type).startswith("dict"):  # a component: its class says what it takes
            kind = item.type if get_args(item.type) else getattr(item.type, "__name__", item.type)
            default = "" if item.default is MISSING else yaml.safe_dump(item.default).split("\n")[0]
            (number,) = [n for n, line in enumerate(lines) if line.startswith(f"    {item.name}: ")]
            comment = read_comment_beside(lines, number)
            yield f"{prefix}{item.name}", str(kind).replace("typing.", ""), default, comment


def table(header: list[str], rows: list[tuple]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def fence(text: str, language: str = "text") -> str:
    """Write a block of code."""
    return f"```{language}\n{text}\n```"


def indent(text: str) -> str:
    """Indent a block, as what a collapsed section holds must be."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines()) + "\n"


PARTS = {
    "commands": functools.cache(write_commands),
    "targets": write_targets,
    "columns": write_columns,
    "settings": write_settings,
    "groups": write_groups,
    "ablations": write_ablations,
}
