"""Score the predictions of any system for the test clips of a protocol.

The CSV has the columns recording and start, and the named technique in `technique`, or a column
`probability_<technique>` or `logit_<technique>` for every technique. `singtech protocol` lists the clips. The corpus is
VocalSet, without audio, or that of the settings data=…, data.fold=…, as in `singtech run`. The result is stored as a
run, a row of its own in every table; seed=N tells several trainings of a system apart.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from singtech.cli.config import hydra_command_with, read_commit
from singtech.cli.options import option
from singtech.cli.protocol import find_protocol
from singtech.cli.sweep import format_command
from singtech.errors import NotThere
from singtech.io.terminal import format_table
from singtech.results.collate import find_run


@dataclass(kw_only=True)
class Options:
    """The options of `singtech score`."""

    input: Path = option("FILE", "the predictions, a CSV")
    name: str = option("NAME", "name of the system in tables; the file's name by default", "")
    against: str = option("RUN", "a stored run to subtract, clip by clip (a part of its name is enough)", "")
    replace: bool = option("true", "replace other predictions of the same name", False)


@hydra_command_with(Options)
def main(cfg: DictConfig, options: Options) -> None:
    """Score and store the predictions, and print every metric with its interval over singers."""
    from singtech.results.collate import rebuild
    from singtech.results.jackknife import Jackknife
    from singtech.results.scored import compare, read_system, require_same_clips, store_system

    if not options.input.is_file():
        raise NotThere(f"input={options.input}: there is no such file.")
    output_dir, name = Path(cfg.output_dir), options.name or options.input.stem
    protocol = find_protocol(cfg)
    predictions, note = read_system(options.input, protocol)
    jackknife = Jackknife(output_dir / "runs")
    other = find_run(output_dir, options.against, "against")["run"] if options.against else ""
    if other:
        require_same_clips(other, jackknife.predictions(other), predictions)
    words = ["singtech", "score", f"input={options.input}", f"name={name}"]
    command = shlex.join([*words, *shlex.split(format_command("score"))[2:]])
    provenance = {"commit": read_commit(), "command": command}
    row, is_new = store_system(name, cfg.seed, predictions, protocol, output_dir, provenance, options.replace)
    rebuild(output_dir)
    lines = [f"{row['run']}: {len(predictions.clips):,} clips{'' if is_new else ', scored before'}"]
    lines += [note] if note else []
    lines += [f"Difference: {name} less {other}, on the same clips."] if other else []
    header = ["", name, "95 %", *(["difference", "95 %"] if other else [])]
    print(*lines, "", format_table(header, compare(row["run"], other, jackknife, predictions)), sep="\n")
