"""The model card of an exported network: what it is, what it was trained and tested on, what it scores, its limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.results.collate import STATE, Collated
from singtech.results.conditions import printed_label
from singtech.results.confusions import confusion
from singtech.results.experiments import COMPARABLE
from singtech.results.pages import Table, corpus, pipes, shown, shown_interval
from singtech.results.rows import VARIANT
from singtech.results.settings import read_settings
from singtech.results.summaries import printed

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).with_suffix(".md.jinja")
_ALIKE = ("data", "fold", "model", "dc", "strategy", "alpha", "settings", VARIANT, *STATE, "status")


def model_card(
    row: Mapping,
    techniques: tuple[str, ...],
    sample_rate: int,
    seconds: float,
    collated: Collated,
    onnx: float | None = None,
    code: str = "",
    split_by: str = "singer",
) -> str:
    """Write the card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        row: the run's, of results.csv.
        techniques: in the order of the logits.
        sample_rate, seconds: of a clip.
        collated: for other seeds of the same condition, the intervals, and the confusions.
        onnx: how far the logits of its ONNX file are from PyTorch's, as a share of their range; None without one.
        code: the name of the file with the user's own classes; "" without one.
        split_by: whether test clips are of other singers than training clips, or only of other recordings.
    """
    import jinja2

    runs = alike(row, collated.results)
    is_vocalset, is_papers = row["data"] == COMPARABLE, row["model"] == "oblong" and not code
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        **{"row": row, "techniques": techniques, "sample_rate": sample_rate, "seconds": seconds, "onnx": onnx},
        **{"code": code, "split_by": split_by, "is_vocalset": is_vocalset, "is_papers": is_papers},
        is_deformable=is_papers and row["dc"] != "none",
        label=printed_label(row["model"], row["dc"], row["strategy"], row["alpha"]),
        corpus="VocalSet 1.1" if is_vocalset else corpus(row["data"]),
        settings=read_settings(row.get("settings", ""), row.get(VARIANT, "")).words,
        seeds=len(runs),
        scores=_scores(row, runs, collated),
        confusions=_confusions(row, collated),
    )


def alike(row: Mapping, results: "pd.DataFrame") -> "pd.DataFrame":
    """Select the run itself, and the newest run of each other seed of its condition on the same clips."""
    runs = results[[all(line.get(n) == row.get(n) for n in _ALIKE) for line in results.to_dict("records")]]
    runs = runs[(runs["seed"] != row["seed"]) | (runs["run"] == row["run"])]
    return runs.sort_values("finished", kind="stable").drop_duplicates("seed", keep="last")


def _scores(row: Mapping, runs: "pd.DataFrame", collated: Collated) -> str:
    """A table of this network's scores, and mean, deviation and interval over the seeds of its condition."""
    lines = []
    for metric in metrics.overall():
        if runs[metric].notna().all():
            low, high = collated.jackknife.estimate(metric, runs["run"]).interval()
            mean = shown(runs[metric].mean(), runs[metric].std())
            lines.append([metrics.label(metric), shown(row[metric]), mean, shown_interval(low, high)])
    return pipes(Table.of(["", "this network", f"mean over {len(runs)} seed{'s' * (len(runs) > 1)}", "95 %"], lines))


def _confusions(row: Mapping, collated: Collated) -> str:
    """A table of each technique's F1, and which others its test clips are most often taken for; "" if not stored."""
    techniques, shares = confusion(collated.confusions, (row["run"],))
    lines = []
    for name, of_name in zip(techniques, shares[0] if len(shares) else (), strict=False):
        others = sorted((-share, other) for share, other in zip(of_name, techniques, strict=True) if other != name)
        most = ", ".join(f"{printed(other)} ({-share:.0%})" for share, other in others[:2] if share < 0)
        lines.append([printed(name), shown(row.get(f"f1_{name}")), most])
    return pipes(Table.of(["", "F1", "its clips are most often taken for"], lines)) if lines else ""
