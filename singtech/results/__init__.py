"""From runs to pages: row.json -> results.csv -> tables and figures, with the paper's numbers. Never imports torch.

rows (one run's result) -> collate (all of them: results, layers, confusions) -> experiments (the definitions of tables
and figures, and the paper's numbers) -> summaries (each condition over its seeds or folds; commands for the missing
runs; references, the scores of guessing) -> one module per kind of artefact: tables, curves (Figure 3), layers
(Table 1), lengths (Figure 2), confusions (Section 5.3), based on pages and figures -> index (all on one page).
"""
