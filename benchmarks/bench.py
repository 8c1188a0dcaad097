"""How fast it is, beside the straightforward way: `make bench`, or `python -m benchmarks.bench [only=PART,…]`.

Takes the GPU if there is one. Measures this machine's speed first, then each part:
    operator   deformable convolution, forward and backward, every backend beside torchvision's
    step       a training step with its batch, beside `benchmarks/straightforward.py`
    sweep      epochs really trained for the paper, and what one more alpha costs
    prepare    decoding and cutting recordings, beside librosa.load; memory as the corpus grows
    start      until a command's first line, once each
    scaling    only if asked for: a figure of seconds and memory over clips, batch and epochs
Options: only=PART,PART  device=cpu  output_dir=outputs. Rows are added to `bench.csv` there; `bench.md` is the table.
`quick=true` is for the first hour with a GPU, see `benchmarks/quick.py`: its figures in eight minutes, on one page.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import convolution, preparing, quick, scaling, starting, step, sweep
from benchmarks.machine import measured
from benchmarks.report import Report
from singtech.training.trainer import prepare_process

PARTS = {
    "operator": convolution.measure,
    "step": step.measure,
    "sweep": sweep.measure,
    "prepare": preparing.measure,
    "start": starting.measure,
    "scaling": scaling.measure,
}
USUAL = ("operator", "step", "sweep", "prepare", "start")


def main(arguments: Sequence[str]) -> None:
    """Run the parts that are asked for and print their table."""
    options = options_of(arguments)
    device = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    if options["quick"] == "true":
        quick.main(device, Path(options["output_dir"]))
        return
    prepare_process()  # memory is kept, for the straightforward operator as for ours
    folder = Path(options["output_dir"])
    report = Report(measured(torch.device(device)), folder)
    failed = []
    for part in options["only"].split(","):
        started = time.perf_counter()
        try:
            for measurement in PARTS[part](report.machine, *([folder] if part == "scaling" else [])):
                report.add(measurement)
        except Exception:  # the other parts are worth having
            traceback.print_exc()
            failed.append(part)
        print(f"{part} took {time.perf_counter() - started:.0f} s", flush=True)
    print(f"\n{report.markdown()}\n{report.csv}, {folder / 'bench.md'}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def options_of(arguments: Sequence[str]) -> dict[str, str]:
    """The options, as they are or as given.

    Raises:
        SystemExit: one that there is not, or a part that there is not.
    """
    options = {"only": ",".join(USUAL), "device": "", "output_dir": "outputs", "quick": "false"}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise SystemExit(f"{argument!r} is not understood: there are {', '.join(f'{o}=' for o in options)}.")
        options[name] = value
    if options["quick"] not in ("true", "false"):
        raise SystemExit(f"quick={options['quick']} is not understood: expected true or false.")
    unknown = [part for part in options["only"].split(",") if part not in PARTS]
    if unknown:
        raise SystemExit(f"only={options['only']}: no part {unknown[0]}, there are {', '.join(PARTS)}.")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
