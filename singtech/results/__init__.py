"""From runs to what is read: row.json -> results.csv -> tables and figures, ours beside the paper's numbers.

rows (one run's result) -> collate (all of them: results, layers, confusions) -> experiments (what an artefact asks for,
and the paper's numbers) -> summaries (a condition over its seeds or folds; commands make what is missing, references
say what guessing gives) -> one module a kind of artefact: tables, curves (Figure 3), layers (Table 1), lengths
(Figure 2), confusions (Section 5.3), on what pages and figures share -> index (all on one page). Never torch.
"""
