"""The commands, one module for each verb."""

import os
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"  # commands only write files; Jupyter may name a backend that is not installed
for name in ("stdout", "stderr"):
    if getattr(sys, name) is None:  # closed: the next open file would get its number
        setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
