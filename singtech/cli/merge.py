"""Add the runs of a packed file to a results folder.

It adds all runs, or none if the folder has a run of the same name with other content. `singtech tables` renders them.
"""

from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option


@dataclass(kw_only=True)
class Options:
    """The options of `singtech merge`."""

    file: Path = option("FILE", "a file that `singtech pack` wrote")
    output_dir: Path = option("FOLDER", "where to add the runs", Path("outputs"))


@command(Options)
def main(options: Options) -> None:
    """Merge the runs, and print how many were added."""
    from singtech.results.collate import rebuild
    from singtech.results.packing import merge

    new, existing = merge(options.file, options.output_dir)
    rebuild(options.output_dir)
    print(f"{options.output_dir}: {new} runs added" + (f", {existing} were there before." if existing else "."))
