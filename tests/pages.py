"""The pages that a reader sees, README.md and docs/: their blocks of code, and the commands in them."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import singtech

ROOT = Path(singtech.__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("", "sh")  # a block that is indented, or says so


@dataclass(frozen=True)
class Block:
    """A block of code. `heading` is that of its section; `language` is "" for an indented block."""

    page: Path
    heading: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines, continued lines joined."""
        return [line.strip() for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page."""
    heading, language, kept = "", None, []
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if language:
            if line == "```":
                yield Block(page, heading, language, "\n".join(kept))
                language, kept = None, []
            else:
                kept.append(line)
        elif line.startswith("    "):
            kept.append(line[4:])
        else:
            if kept:
                yield Block(page, heading, "", "\n".join(kept))
            language, kept = None, []
            if opened := re.fullmatch(r"```(\w*)", line):
                language = opened[1] or "text"
            elif titled := re.fullmatch(r"#+ (.+)", line):
                heading = titled[1]


def shell_blocks() -> list[Block]:
    """The blocks that a reader types into a shell."""
    return [block for page in PAGES for block in read_blocks(page) if block.language in SHELL]


def programs(command: str) -> Iterator[list[str]]:
    """Yield the words of each program of a command line, without comment, variables and the shell's own words."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|"):
            while found and (found[0] in ("do", "done") or re.fullmatch(r"[A-Z_]+=.*", found[0])):
                del found[0]
            if found and found[0] not in ("for", "wait"):
                yield found
            found = []
        else:
            found.append(word)


def inline_commands() -> Iterator[tuple[Path, str]]:
    """Yield the commands that stand in the text of a page, in backticks."""
    for page in PAGES:
        text = re.sub(r"(?ms)^```\w*\n.*?^```$", "", page.read_text(encoding="utf-8"))
        for command in re.findall(r"`((?:singtech|make|python -m) [a-z][^`…<]*)`", text):
            yield page, " ".join(command.split())


def made_by_make(words: list[str]) -> Iterator[list[str]]:
    """Yield the words of the programs that `make …` would start, sweeps of a loop one by one."""
    dry = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in dry.replace("\\\n", " ").splitlines():
        loops = re.findall(r"for sweep in (.*?); do \S+ (-m singtech.run -m) \$sweep(.*?)\|\|", line)
        for sweeps, start, settings in loops:
            yield from (["python", *shlex.split(f"{start} {sweep} {settings}")] for sweep in shlex.split(sweeps))
        if not loops and (started := re.search(r"\S*python (-m (?:singtech|benchmarks)\b[^;|&]*)", line)):
            yield ["python", *shlex.split(started[1])]
