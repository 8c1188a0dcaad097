"""What was measured: a line on the terminal as it comes, a row of a CSV, a table for docs/explanation/speed.md."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks.counts import Count
from benchmarks.machine import Machine
from singtech.cli.config import read_commit

COLUMNS = (
    "part what ours straightforward ratio unit flops bytes floor_seconds times_floor target "
    "machine device torch commit date"
).split()
RATES = ("x real time",)  # units of which more is better
SHOWN = ("part", "what", "GFLOP", "GB", "ours", "straightforward", "ratio", "floor", "times floor", "target")
WIDTHS = (9, 38, 7, 8, 13, 15, 8, 10, 11, 18)


@dataclass(frozen=True)
class Target:
    """What is aimed at: a column and its bound, least for a ratio and most for all else."""

    column: str
    bound: float

    def said(self, row: Mapping) -> str:
        """The target, and whether the row meets it."""
        value = row[self.column]
        if self.column == "ratio":
            text, is_met = f"{self.bound:g}x", value >= self.bound
        elif self.column == "times_floor":
            text, is_met = f"{self.bound:g}x the floor", value <= self.bound
        else:
            text, is_met = f"{self.bound:g} {row['unit']}", value <= self.bound
        return f"{text}: {'met' if is_met else 'missed'}"


@dataclass(frozen=True)
class Measurement:
    """One figure of ours beside the straightforward way's, if that has one.

    Attributes:
        part, what: of the benchmark.
        ours, straightforward: medians, in the unit.
        count: the operations and bytes behind it, if it is a matter of those.
        precision: in which they are done.
        target: what is aimed at.
    """

    part: str
    what: str
    ours: float
    straightforward: float | None = None
    unit: str = "s"
    count: Count | None = None
    precision: str = "float32"
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is."""
        if self.straightforward is None:
            return None
        better, worse = (self.ours, self.straightforward)[:: 1 if self.unit in RATES else -1]
        return better / worse


class Report:
    """Takes measurements as they come.

    Args:
        machine: that they are of.
        folder: to which `bench.csv` is added and `bench.md` written.
    Raises:
        ValueError: there is a `bench.csv` with other columns.
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder, self.rows = machine, folder, []
        self.csv = folder / "bench.csv"
        if self.csv.is_file() and self.csv.read_text(encoding="utf-8").splitlines()[:1] != [",".join(COLUMNS)]:
            raise ValueError(f"{self.csv} has other columns than {', '.join(COLUMNS)}: move it away.")
        self.about = {"machine": machine.name, "device": machine.device_name, "torch": torch.__version__}
        self.about |= {"commit": read_commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
        print(self.heading, flush=True)
        print(_line(SHOWN), flush=True)

    @property
    def heading(self) -> str:
        """The machine and its two speeds."""
        peaks = ", ".join(f"{flops / 1e12:.3g} TFLOP/s in {name}" for name, flops in self.machine.flops.items())
        where = f"{self.machine.name}; {self.machine.device_name}; torch {torch.__version__}"
        return f"{where}. Floors by {peaks} and {self.machine.bandwidth / 1e9:.3g} GB/s, measured."

    def add(self, measurement: Measurement) -> None:
        """Print it, and add its row to the CSV."""
        row = self._row(measurement)
        is_new = not self.csv.is_file()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.csv.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow({name: "" if value is None else value for name, value in row.items()})
        self.rows.append(row)
        print(_line(_cells(row)), flush=True)

    def markdown(self) -> str:
        """The table for docs/explanation/speed.md; also written to `bench.md`."""
        table = tabulate([_cells(row) for row in self.rows], SHOWN, "github", disable_numparse=True)
        text = f"{self.heading}\n\n{table}\n"
        (self.folder / "bench.md").write_text(text, encoding="utf-8")
        return text

    def _row(self, measurement: Measurement) -> dict:
        row = dict.fromkeys(COLUMNS)
        for name in ("part", "what", "ours", "straightforward", "ratio", "unit"):
            row[name] = getattr(measurement, name)
        if measurement.count is not None:
            row["flops"], row["bytes"] = measurement.count.flops, measurement.count.bytes
            row["floor_seconds"] = self.machine.floor(measurement.count, measurement.precision)
            row["times_floor"] = measurement.ours / row["floor_seconds"]
        row["target"] = measurement.target.said(row) if measurement.target else None
        return row | self.about


def _cells(row: Mapping) -> tuple[str, ...]:
    """A row as it is shown."""

    def of(name: str, unit: str = "", scale: float = 1.0) -> str:
        if row[name] is None:
            return ""
        value = row[name] / scale
        return f"{value:,.0f}{unit}" if abs(value) >= 1000 else f"{value:.3g}{unit}"

    unit = f" {row['unit']}"
    floor, times = of("floor_seconds", " s"), of("times_floor", "x")
    return (
        row["part"], row["what"], of("flops", scale=1e9), of("bytes", scale=1e9), of("ours", unit),
        of("straightforward", unit), of("ratio", "x"), floor, times, row["target"] or "",
    )  # fmt: skip


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
