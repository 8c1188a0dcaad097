"""List what `outputs/` holds, check it, or remove what no row uses.

Without an option, it lists runs, phases and clip stores with their sizes, ages and the rows that use them.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option
from singtech.corpus.download import format_bytes
from singtech.errors import InvalidValue, NotThere
from singtech.io.stored import reading
from singtech.io.terminal import format_table, terminal_width, wrap
from singtech.results.collate import BEFORE, match_one_name


@dataclass(kw_only=True)
class Options:
    """The options of `singtech store`."""

    show: str = option("RUN", "the command and configuration of a row (a part of its name is enough)", "")
    compare: str = option("RUN,RUN", "the different settings and inputs of two runs", "")
    columns: bool = option("true", "what every column of results.csv means", False)
    check: bool = option(
        "true", "read all files; damaged ones are renamed, and the next run that needs them makes them again", False
    )
    remove: str = option("unused", "list what no row uses", "")
    sure: bool = option("true", "with remove=unused: really remove it", False)
    output_dir: Path = option("FOLDER", "where the results are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Print what the options ask for; return 1 if a file is damaged."""
    if options.columns:
        from singtech.results.schema import format_dictionary

        print(format_dictionary())
        return 0
    output_dir = options.output_dir
    if options.remove not in ("", "unused"):
        raise InvalidValue(f"remove={options.remove}: expected unused.")
    if not output_dir.is_dir():
        raise NotThere(f"{output_dir}: there are no results yet. Make some with `make demo`.")
    print(f"reading {output_dir} …", flush=True)
    status = 0
    if options.show:
        lines = _show(output_dir, options.show)
    elif options.compare:
        lines = _compare(output_dir, options.compare)
    elif options.check:
        lines, status = _check(output_dir)
    elif options.remove:
        lines = _remove(output_dir, options.sure)
    else:
        lines = _list(output_dir)
    print(*lines, sep="\n")
    return status


def _list(output_dir: Path) -> list[str]:
    from singtech.training.inventory import survey

    entries = survey(output_dir)
    unused = [entry for entry in entries if entry.is_unused]
    lines = [*_format_entries(entries), f"{len(entries)} entries, {_format_total(entries)}"]
    if unused:
        amount = f"{len(unused)} of them ({_format_total(unused)})"
        lines.append(wrap(f"{amount} are not used by any row: `singtech store remove=unused` lists them."))
    return lines


def _remove(output_dir: Path, sure: bool) -> list[str]:
    from singtech.training.inventory import remove, survey

    unused = [entry for entry in survey(output_dir) if entry.is_unused]
    if not unused:
        earlier = [f"{each} counts as users, until you remove it." for each in sorted(output_dir.glob(f"{BEFORE}*"))]
        return ["Every entry is used by a row; there is nothing to remove.", *earlier]
    if not sure:
        summary = f"{len(unused)} entries, {_format_total(unused)}, are unused. Add sure=true to remove them."
        return [*_format_entries(unused), summary]
    removed, busy = remove(unused, output_dir)
    lines = [f"removed {entry.kind} {entry.name}, {format_bytes(entry.size)}" for entry in removed]
    lines += [f"kept {entry.kind} {entry.name}: another process uses it now" for entry in busy]
    return [*lines, f"{_format_total(removed)} are free again."]


def _check(output_dir: Path) -> tuple[list[str], int]:
    from singtech.training.inventory import check

    count, faults, busy = check(output_dir)
    summary = f"{count - len(busy)} entries looked at"
    if not faults:
        return [*busy, f"{summary}, every one whole."], 0
    return [*busy, *faults, f"{summary}, {len(faults)} damaged; the runs that need them make them again."], 1


def _show(output_dir: Path, part: str) -> list[str]:
    from singtech.training.inventory import collect_rows
    from singtech.training.run import read_configuration

    rows = {row["run"]: row for row in collect_rows(output_dir)}
    row = rows[match_one_name(rows, part, "show")]
    known_command = row.pop("command", "")
    command = known_command or "# the command of this row is unknown"
    lines = [
        wrap(f"{name}: {value}", "#     ", "# ") for name, value in row.items() if str(value) not in ("", "nan", "None")
    ]
    configuration = output_dir / "runs" / row["run"] / "config.yaml"
    settings = f"# {configuration} is absent; the command shows the configuration with --cfg job."
    if configuration.is_file():
        with reading(configuration, known_command and f"this shows it as it was: {known_command} --cfg job"):
            read_configuration(configuration.parent)
            settings = configuration.read_text(encoding="utf-8").rstrip()
    return [*lines, "", command, "", settings]


def _compare(output_dir: Path, runs: str) -> list[str]:
    from singtech.training.inventory import collect_rows, compare_runs

    parts = runs.split(",")
    if len(parts) != 2:
        raise InvalidValue(f"compare={runs}: expected two runs with a comma between them.")
    names = [row["run"] for row in collect_rows(output_dir)]
    first, second = (match_one_name(names, part, "compare") for part in parts)
    lines = compare_runs(output_dir, (first, second))
    if not lines:
        return [f"Nothing that decides the outcome of {first} and {second} differs."]
    return [f"first:  {first}", f"second: {second}", "", format_table(["", "first", "second"], lines)]


def _format_entries(entries: Sequence) -> list[str]:
    """Format a table of each kind of entry; runs of each state have a table of their own."""
    groups = defaultdict(list)
    for entry in entries:
        name = f"runs, {entry.description}" if entry.kind == "run" else entry.kind.replace("phase", "phases")
        groups[name].append(entry)
    lines = []
    for name, group in groups.items():
        lines += [wrap(f"{name}:"), _format_table(group), ""]
    return lines


def _format_table(entries: Sequence) -> str:
    """Format entries of one kind; a long name is not wrapped."""
    has_users, lines = entries[0].kind not in ("run", "damaged"), [["name", "size", "changed", "rows", "what it is"]]
    for entry in entries:
        changed = time.strftime("%Y-%m-%d", time.localtime(entry.change_time))
        users = str(len(set(entry.users)))
        lines.append([entry.name, format_bytes(entry.size), changed, users, entry.description])
    header, *lines = lines if has_users else [line[:3] for line in lines]
    width = max(terminal_width(), max(len(entry.name) for entry in entries) + 24)
    return format_table(header, lines, ends_in_words=has_users, width=width)


def _format_total(entries: Sequence) -> str:
    return format_bytes(sum(entry.size for entry in entries))
