"""Pack all complete runs into one file, without weights or sound.

It holds rows, predictions, settings, layers and the lists of clips. `singtech merge` adds them to another results
folder, and `singtech tables` renders them there.
"""

from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option


@dataclass(kw_only=True)
class Options:
    """The options of `singtech pack`."""

    to: Path = option("FILE", "a zip file to write")
    output_dir: Path = option("FOLDER", "where the results are", Path("outputs"))


@command(Options)
def main(options: Options) -> None:
    """Pack the runs, and print how many there are."""
    from singtech.results.packing import pack

    count, omitted = pack(options.output_dir, options.to)
    omission = f"; {omitted} changed or not complete were left out" if omitted else ""
    print(f"{options.to}: {count} runs, {options.to.stat().st_size / 1e6:.1f} MB{omission}.")
