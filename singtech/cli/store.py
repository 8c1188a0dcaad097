"""Show what `outputs/` holds, check it, or remove what no row uses.

Without an option it lists runs, phases and clip stores with their sizes, ages and the rows that use them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.cli.export import only_match
from singtech.cli.options import command, option
from singtech.corpus.download import in_bytes
from singtech.errors import InvalidValue, NotThere


@dataclass(kw_only=True)
class Options:
    """What `singtech store` takes."""

    show: str = option("RUN", "the command and configuration of a row (a part of its name is enough)", "")
    compare: str = option("RUN,RUN", "what decides the outcome of the two runs and differs", "")
    columns: bool = option("true", "what every column of results.csv means", False)
    check: bool = option(
        "true", "read every byte; what is damaged is set aside, and the next run that needs it makes it again", False
    )
    remove: str = option("unused", "list what no row uses", "")
    sure: bool = option("true", "with remove=unused: remove it", False)
    output_dir: Path = option("FOLDER", "where the results are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Do what the options ask for; 1 if something is damaged."""
    if options.columns:
        from singtech.results.schema import dictionary

        print(dictionary())
        return 0
    output_dir = options.output_dir
    if options.remove not in ("", "unused"):
        raise InvalidValue(f"remove={options.remove}: expected unused.")
    if not output_dir.is_dir():
        raise NotThere(f"{output_dir}: nothing is there yet. Make something with `make demo`.")
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
    lines = [_table(entries), "", f"{len(entries)} entries, {_total(entries)}"]
    if unused:
        some = f"{len(unused)} of them ({_total(unused)})"
        lines.append(f"{some} are used by no row: `singtech store remove=unused` names them.")
    return lines


def _remove(output_dir: Path, sure: bool) -> list[str]:
    from singtech.training.inventory import remove, survey

    unused = [entry for entry in survey(output_dir) if entry.is_unused]
    if not unused:
        return ["Every entry is used by a row; there is nothing to remove."]
    if not sure:
        summary = f"{len(unused)} entries, {_total(unused)}, would go. Add sure=true to remove them."
        return [_table(unused), "", summary]
    gone, in_use = remove(unused, output_dir)
    lines = [f"removed {entry.kind} {entry.name}, {in_bytes(entry.size)}" for entry in gone]
    lines += [f"kept {entry.kind} {entry.name}: somebody uses it now" for entry in in_use]
    return [*lines, f"{_total(gone)} are free again."]


def _check(output_dir: Path) -> tuple[list[str], int]:
    from tqdm import tqdm

    from singtech.training.inventory import check

    count, faults, busy = check(output_dir, lambda entries: tqdm(entries, "checking", unit="entry", disable=None))
    looked_at = f"{count - len(busy)} entries looked at"
    if not faults:
        return [*busy, f"{looked_at}, every one whole."], 0
    return [*busy, *faults, f"{looked_at}, {len(faults)} damaged; the runs that need them make them again."], 1


def _show(output_dir: Path, part: str) -> list[str]:
    from singtech.training.inventory import rows_of

    rows = {row["run"]: row for row in rows_of(output_dir)}
    row = rows[only_match(rows, part, "show")]
    command = row.pop("command", "") or "# no command is known of this row"
    lines = [f"# {name}: {value}" for name, value in row.items() if str(value) not in ("", "nan", "None")]
    configuration = output_dir / "runs" / row["run"] / "config.yaml"
    if configuration.is_file():
        settings = configuration.read_text(encoding="utf-8").rstrip()
    else:
        settings = f"# {configuration} is not here; with --cfg job the command shows the configuration."
    return [*lines, "", command, "", settings]


def _compare(output_dir: Path, runs: str) -> list[str]:
    from tabulate import tabulate

    from singtech.training.inventory import differences, rows_of

    parts = runs.split(",")
    if len(parts) != 2:
        raise InvalidValue(f"compare={runs}: expected two runs with a comma between them.")
    names = [row["run"] for row in rows_of(output_dir)]
    first, second = (only_match(names, part, "compare") for part in parts)
    lines = differences(output_dir, (first, second))
    if not lines:
        return [f"Nothing that decides the outcome of {first} and {second} differs."]
    return [tabulate(lines, ["", first, second], disable_numparse=True)]


def _table(entries: Sequence) -> str:
    from tabulate import tabulate

    lines = []
    for entry in entries:
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.changed))
        users = "" if entry.kind in ("run", "damaged") else len(set(entry.users))
        lines.append([entry.kind, entry.name, in_bytes(entry.size), changed, users, entry.description[:60]])
    header = ["", "name", "size", "changed", "rows that use it", "what it is"]
    return tabulate(lines, header, disable_numparse=True, colalign=("left", "left", "right", "right", "right", "left"))


def _total(entries: Sequence) -> str:
    return in_bytes(sum(entry.size for entry in entries))
