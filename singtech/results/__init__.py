"""From runs to pages: row.json -> results.csv -> tables and figures, with the paper's numbers. Never imports torch.

rows (one run's result) -> collate (all of them: results, layers, confusions) -> experiments (the definitions of tables
and figures, and the paper's numbers) -> summaries (each condition over its seeds or folds; commands for the missing
runs; references, the scores of guessing) -> one module per kind of artefact: tables, curves (Figure 3), layers
(Table 1), lengths (Figure 2), confusions (Section 5.3), based on pages and figures -> index (all on one page).

From Python, `singtech.results()` is `collate.read_results`: all rows as one frame.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class _CallableModule(ModuleType):
    """This package, which can also be called."""

    def __call__(self, output_dir: str | Path = "outputs") -> "pd.DataFrame":
        """Read all runs as one frame with typed columns; see `singtech.results.collate.read_results`."""
        from singtech.results.collate import read_results

        return read_results(output_dir)


sys.modules[__name__].__class__ = _CallableModule
