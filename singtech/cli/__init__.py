"""The commands, one module a verb."""

import os
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"  # commands only write files; the backend that Jupyter names may not be installed here
for name in ("stdout", "stderr"):
    if getattr(sys, name) is None:  # it is closed, and the next file that is opened would get its number
        setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
