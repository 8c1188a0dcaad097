"""The commands, one module a verb."""

import os

os.environ["MPLBACKEND"] = "agg"  # commands only write files; the backend that Jupyter names may not be installed here
