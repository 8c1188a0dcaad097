"""From runs to what is read: row.json -> results.csv -> tables and figures, ours beside the paper's numbers.

rows (one run's result) -> collate (all of them, results.csv) -> experiments (what an artefact asks for, and the paper's
numbers) -> summaries (a condition over its seeds) -> tables (Markdown, CSV, LaTeX) and figures (PNG, PDF). Never torch.
"""
