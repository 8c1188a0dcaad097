"""What `outputs/` holds, and housekeeping: singtech store [show=RUN] [compare=RUN,RUN] [check=true] …

Without a setting it lists runs, phases and clip stores with their sizes, ages and which rows use them.
    show=RUN            the command line and configuration of a row of results.csv (a part of its name is enough)
    compare=RUN,RUN     what decides the outcome of the two and differs
    check=true          read every byte; what is damaged is set aside and made again by the next run that needs it
    remove=unused       what no row uses: says what would go; with sure=true it goes
    output_dir=FOLDER   where to look, outputs by default
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from singtech.io.interrupts import quietly_interrupted

OPTIONS = {"output_dir": "outputs", "show": "", "compare": "", "check": "false", "remove": "", "sure": "false"}


@quietly_interrupted
def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence, or if something is damaged."""
    arguments = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        output_dir = Path(options["output_dir"])
        if not output_dir.is_dir():
            raise FileNotFoundError(f"{output_dir}: nothing is there yet. Make something with `make demo`.")
        print(f"reading {output_dir} …", flush=True)
        if options["show"]:
            lines, status = _shown(output_dir, options["show"]), 0
        elif options["compare"]:
            lines, status = _compared(output_dir, options["compare"]), 0
        elif options["check"] == "true":
            lines, status = _checked(output_dir)
        elif options["remove"]:
            lines, status = _removed(output_dir, options["sure"] == "true"), 0
        else:
            lines, status = _listed(output_dir), 0
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(*lines, sep="\n")
    return status


def _listed(output_dir: Path) -> list[str]:
    from singtech.training.inventory import survey

    entries = survey(output_dir)
    unused = [entry for entry in entries if entry.is_unused]
    total = sum(entry.size for entry in entries)
    lines = [_table(entries), "", f"{len(entries)} entries, {_size(total)}"]
    if unused:
        lines.append(
            f"{len(unused)} of them ({_size(sum(e.size for e in unused))}) are used by no row: "
            "`singtech store remove=unused` names them."
        )
    return lines


def _removed(output_dir: Path, sure: bool) -> list[str]:
    from singtech.training.inventory import remove, survey

    unused = [entry for entry in survey(output_dir) if entry.is_unused]
    if not unused:
        return ["Every entry is used by a row; there is nothing to remove."]
    size = _size(sum(entry.size for entry in unused))
    if not sure:
        return [_table(unused), "", f"{len(unused)} entries, {size}, would go. Add sure=true to remove them."]
    gone, kept = remove(unused, output_dir)
    lines = [f"removed {entry.kind} {entry.name}, {_size(entry.size)}" for entry in gone]
    lines += [f"kept {entry.kind} {entry.name}: somebody uses it now" for entry in kept]
    return [*lines, f"{_size(sum(entry.size for entry in gone))} are free again."]


def _checked(output_dir: Path) -> tuple[list[str], int]:
    from tqdm import tqdm

    from singtech.training.inventory import check

    count, faults, busy = check(output_dir, lambda entries: tqdm(entries, "checking", unit="entry", disable=None))
    looked_at = f"{count - len(busy)} entries looked at"
    if not faults:
        return [*busy, f"{looked_at}, every one whole."], 0
    return [*busy, *faults, f"{looked_at}, {len(faults)} damaged; the runs that need them make them again."], 1


def _shown(output_dir: Path, part: str) -> list[str]:
    (row,) = _found(output_dir, part)
    empty = ("", "nan", "None")
    lines = [f"# {name}: {value}" for name, value in row.items() if str(value) not in empty and name != "command"]
    configuration = output_dir / "runs" / row["run"] / "config.yaml"
    command = row.get("command", "")
    if configuration.is_file():
        settings = configuration.read_text(encoding="utf-8").rstrip()
    else:
        settings = f"# {configuration} is not here; with --cfg job the command shows the configuration."
    return [*lines, "", command or "# no command is known of this row", "", settings]


def _compared(output_dir: Path, runs: str) -> list[str]:
    from tabulate import tabulate

    from singtech.training.inventory import differences

    parts = runs.split(",")
    if len(parts) != 2:
        raise ValueError(f"compare={runs}: expected two runs with a comma between them.")
    ours, theirs = (_found(output_dir, part)[0]["run"] for part in parts)
    found = differences(output_dir, (ours, theirs))
    if not found:
        return [f"Nothing that decides the outcome of {ours} and {theirs} differs."]
    return [tabulate(found, ["", ours, theirs], disable_numparse=True)]


def _found(output_dir: Path, part: str) -> list[dict]:
    """The one row whose run is called so, or has it in its name."""
    from singtech.training.inventory import rows_of

    rows = rows_of(output_dir)
    found = [row for row in rows if row["run"] == part] or [row for row in rows if part in row["run"]]
    if len(found) != 1:
        some = f": {', '.join(row['run'] for row in found[:5])}{' …' if len(found) > 5 else ''}" if found else ""
        raise ValueError(f"{part}: {len(found)} rows in {output_dir} are called so{some}; expected one.")
    return found


def _table(entries: Sequence) -> str:
    from tabulate import tabulate

    lines = [
        [entry.kind, entry.name, _size(entry.size), _age(entry.changed), _users(entry), entry.says[:60]]
        for entry in entries
    ]
    header = ["", "name", "size", "age", "rows that use it", "what it is"]
    return tabulate(lines, header, disable_numparse=True, colalign=("left", "left", "right", "right", "right", "left"))


def _users(entry) -> str:
    from singtech.training.inventory import NOW

    return "" if entry.kind in ("run", "damaged", "remains") else str(len(set(entry.users) - {NOW}))


def _size(count: int) -> str:
    from singtech.corpus.download import in_bytes

    return in_bytes(count)


def _age(changed: float) -> str:
    seconds = max(0.0, time.time() - changed)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options = dict(OPTIONS)
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise ValueError(f"{argument!r} is not understood; singtech store --help says what is.")
        options[name] = value
    for name, choices in {"check": ("true", "false"), "sure": ("true", "false"), "remove": ("", "unused")}.items():
        if options[name] not in choices:
            raise ValueError(f"{name}={options[name]}: expected {' or '.join(filter(None, choices))}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
