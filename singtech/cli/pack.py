"""Pack all complete runs into one file, without weights or sound.

It holds rows, predictions, settings, layers and the corpora's clips. `singtech merge` adds them to another results
folder, and `singtech tables` renders them there.
"""

from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option


@dataclass(kw_only=True)
class Options:
    """What `singtech pack` takes."""

    to: Path = option("FILE", "a zip file to write")
    output_dir: Path = option("FOLDER", "where the results are", Path("outputs"))


@command(Options)
def main(options: Options) -> None:
    """Pack the runs, and print how many there are."""
    from singtech.results.packing import pack

    packed, left_out = pack(options.output_dir, options.to)
    more = f"; {left_out} not complete were left out" if left_out else ""
    print(f"{options.to}: {packed} runs, {options.to.stat().st_size / 1e6:.1f} MB{more}.")
