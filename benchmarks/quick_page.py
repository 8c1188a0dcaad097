"""The page of `make bench ARGS=quick=true`, made from its JSON alone."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate


def render(record: Mapping) -> str:
    """The page, in Markdown."""
    machine = next(iter(rows(record, "machine")), {})
    device = machine.get("device", "an unknown device")
    lines = [f"# {'Rehearsal on' if record['rehearsal'] else 'Measured on'} {device}", ""]
    if record["rehearsal"]:
        lines += [
            "**A rehearsal: without CUDA, with sizes cut, and the processor's own kernels in place of Triton's.",
            "It shows that all parts run. Its figures and verdicts say nothing about a GPU.**",
            "",
        ]
    lines += [about(record, machine), ""]
    for title, text, body in (
        ("GPU tests", "", tests(record)),
        (
            "Deformable convolution, layer by layer",
            "Forward and backward, all four gradients, beside torchvision's, which has float32 alone. Memory is what "
            "each takes beyond its operands. The floor is what operations and bytes (`benchmarks/counts.py`) take at "
            "the speeds above.",
            convolutions(record),
        ),
        ("Triton or torchvision", "", verdicts(record)),
        (
            "A training step",
            "On clips that are on the device: ours, ours with torchvision's operator, and the straightforward way, "
            "which has float32 alone and is given the spectrograms.",
            steps(record),
        ),
        (
            "Two epochs of Late",
            "On clips of noise, as a run trains them; the first epoch compiles kernels.",
            epochs(record),
        ),
        (
            "All of `make paper`",
            "From nothing, one phase after another, estimated from a few steps of each network.",
            paper(record),
        ),
        ("Errors", "", "\n".join(f"- {line}" for line in errors(record)) or "None."),
    ):
        lines += [f"## {title}", "", *([text, ""] if text else []), body, ""]
    return "\n".join(lines)


def rows(record: Mapping, *parts: str) -> list[dict]:
    """The rows of parts, or of those whose names begin so, one after the other."""
    return [
        row
        for name, part in record["parts"].items()
        if name.startswith(parts)
        for row in part["rows"]
    ]  # fmt: skip


def errors(record: Mapping, only: str = "") -> list[str]:
    """What went wrong in all parts, or in one."""
    found = []
    for name, part in record["parts"].items():
        if only not in ("", name):
            continue
        for row in part["rows"]:
            if "error" in row:
                what = " ".join(str(row[key]) for key in ("dc", "precision") if key in row)
                found.append(f"{name}{f' ({what})' if what else ''}: {row['error']}")
        if "error" in part:
            found.append(f"{name}: {part['error']}")
    return found


def about(record: Mapping, machine: Mapping) -> str:
    """Date, versions, device and its two speeds."""
    said = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    lines = [f"{record['date']}, commit {record['commit'] or 'unknown'}; {said}."]
    if machine:
        memory = f", {machine['memory_bytes'] / 1e9:.3g} GB" if "memory_bytes" in machine else ""
        memory += f", capability {machine['capability']}" if "capability" in machine else ""
        peaks = ", ".join(f"{flops / 1e12:.3g} TFLOP/s in {name}" for name, flops in machine["flops"].items())
        size = machine["size"]
        lines.append(
            f"{machine['device']}{memory}; {machine['processor']}. Measured: {peaks}, "
            f"{machine['bandwidth'] / 1e9:.3g} GB/s. "
            f"{size['batch']} clips a step, spectrograms of {'×'.join(map(str, size['shape']))}."
        )
    return "\n".join(lines)


def tests(record: Mapping) -> str:
    """A line."""
    return "\n".join(
        f"{r['passed']} passed, {r['failed']} failed, {r['skipped']} skipped." for r in rows(record, "tests")
    )


def convolutions(record: Mapping) -> str:
    """A line for each layer and precision."""
    head = "layer precision backend ours torchvision gain verdict floor times_floor memory torchvision's_memory".split()
    return table(
        head,
        [
            [
                row["layer"], row["precision"], row["backend"], ms(row, "ours_seconds"), ms(row, "torchvision_seconds"),
                times(row, "gain_over_torchvision"), row.get("verdict", "unknown"), ms(row, "floor_seconds"),
                times(row, "times_floor"), gb(row, "ours_peak_bytes"), gb(row, "torchvision_peak_bytes"),
            ]
            for row in rows(record, "layer")
        ],
    )  # fmt: skip


def verdicts(record: Mapping) -> str:
    """A sentence for each layer: what becomes of its kernel."""
    lines = []
    found = rows(record, "layer")
    for layer in sorted({row["layer"] for row in found}):
        by = {row["precision"]: row.get("verdict") for row in found if row["layer"] == layer}
        keeps = [precision for precision, verdict in by.items() if verdict == "keep"]
        if None in by.values() and len(keeps) < len(by):
            text = "not decided, see the errors"
        elif len(keeps) == len(by):
            text = "keep, Triton gains 1.5 or more over torchvision"
        elif keeps:
            text = f"keep in {' and '.join(keeps)} only"
        else:
            text = "remove (`singtech/models/backends/fused.py`), Triton gains less than 1.5 over torchvision"
        lines.append(f"- layer {layer}: {text}")
    return "\n".join(lines)


def steps(record: Mapping) -> str:
    """A line for each arrangement and precision."""
    head = (
        "dc precision batch ours torchvision straightforward gain gain_over_straightforward floor times_floor".split()
    )
    head += ["memory", "torchvision's_memory", "straightforward_memory"]
    return table(
        head,
        [
            [
                row["dc"], row["precision"], row["batch"], ms(row, "ours_seconds"), ms(row, "torchvision_seconds"),
                ms(row, "straightforward_seconds"), times(row, "gain_over_torchvision"),
                times(row, "gain_over_straightforward"), ms(row, "floor_seconds"), times(row, "times_floor"),
                gb(row, "ours_peak_bytes"), gb(row, "torchvision_peak_bytes"), gb(row, "straightforward_peak_bytes"),
            ]
            for row in rows(record, "step")
        ],
    )  # fmt: skip


def epochs(record: Mapping) -> str:
    """A line for each precision."""
    return table(
        ["precision", "clips", "batch", "backend", "first epoch", "second epoch", "a step of it", "with all", "memory"],
        [
            [
                row["precision"], row["clips"], row["batch"], row["backend"],
                *(f"{seconds:.3g} s" for seconds in row["epoch_seconds"]), ms(row, "step_seconds"),
                f"{row['whole_seconds']:.3g} s", gb(row, "peak_bytes"),
            ]
            for row in rows(record, "epochs")
            if "epoch_seconds" in row
        ],
    )  # fmt: skip


def paper(record: Mapping) -> str:
    """A line for each precision."""
    return table(
        ["precision", "hours", "epochs of networks", "epochs of heads", "a clip"],
        [
            [
                row["precision"], f"{row['hours']:.3g}", row["network_epochs"], row["head_epochs"],
                ", ".join(f"{name}: {1000 * seconds:.3g} ms" for name, seconds in row["clip_seconds"].items()),
            ]
            for row in rows(record, "paper")
            if "hours" in row
        ],
    )  # fmt: skip


def table(head: Sequence[str], lines: list[list]) -> str:
    """A table, or that there is none."""
    if not lines:
        return "Not measured, see the errors."
    return tabulate(lines, [name.replace("_", " ") for name in head], "github", disable_numparse=True)


def ms(row: Mapping, name: str) -> str:
    """Milliseconds, if they were measured."""
    return f"{1000 * row[name]:.3g} ms" if row.get(name) is not None else ""


def times(row: Mapping, name: str) -> str:
    """How many times, likewise."""
    return f"{row[name]:.3g}×" if row.get(name) is not None else ""


def gb(row: Mapping, name: str) -> str:
    """Gigabytes, likewise."""
    return f"{row[name] / 1e9:.3g} GB" if row.get(name) is not None else ""
