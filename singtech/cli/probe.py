"""Decode singer, gender, context and technique from a trained run's features.

A linear probe learns them from half of the recordings of the training singers, and names those of the other half: with
singers that it knows ("same"). For "new" singers it learns from all training clips and names the test clips; the
network has not heard these either. How well singers are decoded says how much of the voice the features hold.

It trains nothing and computes only features that are not stored yet. The numbers are also in
`<output_dir>/tables/<data>/probe-<run>.csv`, or below the folder of `to`.
"""

from dataclasses import dataclass
from pathlib import Path

from singtech.cli.config import allow_own_modules
from singtech.cli.options import command, option
from singtech.io.terminal import format_table
from singtech.loading import StoredRun
from singtech.results.collate import find_run


@dataclass(kw_only=True)
class Options:
    """The options of `singtech probe`."""

    run: str = option("RUN", "a run, by its name or a part of it that no other run has")
    output_dir: Path = option("FOLDER", "where the results are; it may be read-only", Path("outputs"))
    to: str = option("FOLDER", "where to write; <output_dir>/tables by default", "")
    remote_code: bool = option("true", "run the code that comes with a frozen encoder; read it before", False)


@command(Options)
def main(options: Options) -> None:
    """Probe a run; print a table, and the path of its file.

    Raises:
        NotThere: the run's phases or the clips of its corpus are absent.
        SingtechError: its files are damaged or of another version.
    """
    row = find_run(options.output_dir, options.run)
    print(f"probing {row['run']} …", flush=True)
    from singtech.io.atomic import write_text
    from singtech.training.probe import probe

    allow_own_modules()
    run, subsets = StoredRun(row, options.output_dir, remote_code=options.remote_code), ("train", "test")
    frame = probe({name: run.features(name) for name in subsets}, {name: run.corpus.table(name) for name in subsets})
    path = Path(options.to or options.output_dir / "tables") / row["data"] / f"probe-{row['run']}.csv"
    frame.insert(0, "run", row["run"])
    write_text(path, frame.to_csv(index=False))
    columns = {name: frame[name] for name in ("target", "singers", "classes")}
    for name, usual in (("accuracy", "majority"), ("balanced_accuracy", "chance")):
        limits = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        columns[f"{name.removesuffix('_accuracy')} [95 %]"] = [
            f"{mean:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low == low else "") for mean, low, high in limits
        ]
        columns[usual] = frame[usual].map("{:.3f}".format)
    print(format_table(list(columns), zip(*columns.values(), strict=True), words=2), path, sep="\n\n")
