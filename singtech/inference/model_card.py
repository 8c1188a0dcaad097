"""Write the model card of an exported network: description, training and test data, scores and limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.results.collate import STATE, Collated
from singtech.results.conditions import printed_label
from singtech.results.confusions import confusion, draw_shares
from singtech.results.experiments import PAPER_CORPUS
from singtech.results.figures import plot, print_style
from singtech.results.pages import Table, corpus, pipes, shown, shown_interval
from singtech.results.rows import VARIANT
from singtech.results.settings import read_settings
from singtech.results.summaries import printed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_suffix(".md.jinja")
PICTURE = "confusion.png"  # beside the card
TASK = {"type": "audio-classification", "name": "Singing technique classification"}
_CONDITION_COLUMNS = ("data", "fold", "model", "dc", "strategy", "alpha", "settings", VARIANT, *STATE, "status")


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
        row: the row of the run in results.csv.
        techniques: in the order of the logits.
        sample_rate, seconds: of a clip.
        collated: all results, for the other seeds of the condition, the intervals and the confusions.
        onnx: largest difference of the ONNX file's logits from PyTorch's, as a share of their range; None without one.
        code: the name of the file with the user's own classes; "" without one.
        split_by: "singer" or "recording": what training and test clips do not share.
    """
    import jinja2

    runs = select_condition_runs(row, collated.results)
    is_vocalset, is_papers = row["data"] == PAPER_CORPUS, row["model"] == "oblong" and not code
    is_deformable = is_papers and row["dc"] != "none"
    label = printed_label(row["model"], row["dc"], row["strategy"], row["alpha"])
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        **{"row": row, "techniques": techniques, "sample_rate": sample_rate, "seconds": seconds, "onnx": onnx},
        **{"code": code, "split_by": split_by, "is_vocalset": is_vocalset, "is_papers": is_papers},
        metadata=_metadata(row, label, is_deformable),
        label=label,
        has_picture=has_confusion(row, collated),
        corpus="VocalSet 1.1" if is_vocalset else corpus(row["data"]),
        settings=read_settings(row.get("settings", ""), row.get(VARIANT, "")).words,
        seeds=len(runs),
        scores=_score_table(row, runs, collated),
        confusions=_confusion_table(row, collated),
    )


def has_confusion(row: Mapping, collated: Collated) -> bool:
    """Whether the confusions of a run are stored, so that they can be drawn."""
    return bool((collated.confusions["run"] == row["run"]).any())


@print_style()
def draw_confusion(row: Mapping, collated: Collated) -> "Figure":
    """Draw the confusion matrix of one run, in percent of each technique's test clips."""
    techniques, (shares, *_) = confusion(collated.confusions, (row["run"],))
    size = 2.2 + 0.4 * max(len(techniques), 4)
    figure, axes = plot(size, size)
    draw_shares(axes, techniques, shares)
    title = "Percent of the test clips of a technique"
    axes.set_title(title + ("" if row["data"] == PAPER_CORPUS else f"\n{_corpus_name(row['data'])}"), fontsize=9)
    return figure


def _corpus_name(data: str) -> str:
    if data == PAPER_CORPUS:
        return "VocalSet 1.1"
    return "Synthetic voices of singtech's demo, no singing" if data == "demo" else f"Corpus {data}, not VocalSet"


def _metadata(row: Mapping, label: str, is_deformable: bool) -> str:
    """Write the front matter, whose scores the Hub shows beside the card."""
    import yaml

    is_vocalset = row["data"] == PAPER_CORPUS
    dataset = {
        "type": "singtech-demo" if row["data"] == "demo" else row["data"],
        "name": _corpus_name(row["data"]),
        "config": f"fold {row['fold']}" if row["fold"] else "the paper's split" if is_vocalset else "its split",
        "split": "test",
    }
    scores = [
        {"type": name, "name": metrics.label(name), "value": round(float(row[name]), 4)}
        for name in ("f1", "accuracy", "balanced_accuracy")
        if row.get(name) is not None and row[name] == row[name]
    ]
    content = {
        "license": "cc-by-4.0" if is_vocalset else "other",
        "library_name": "singtech",
        "pipeline_tag": TASK["type"],
        "tags": ["singing-technique", TASK["type"], *["deformable-convolution"] * is_deformable],
        **({"datasets": [row["data"]]} if is_vocalset else {}),
        "metrics": ["f1", "accuracy"],
        "model-index": [
            {"name": f"{label} (singtech)", "results": [{"task": TASK, "dataset": dataset, "metrics": scores}]}
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def select_condition_runs(row: Mapping, results: "pd.DataFrame") -> "pd.DataFrame":
    """Select the run itself, and the newest run of each other seed of its condition on the same clips."""
    runs = results[[all(line.get(n) == row.get(n) for n in _CONDITION_COLUMNS) for line in results.to_dict("records")]]
    runs = runs[(runs["seed"] != row["seed"]) | (runs["run"] == row["run"])]
    return runs.sort_values("finished", kind="stable").drop_duplicates("seed", keep="last")


def _score_table(row: Mapping, runs: "pd.DataFrame", collated: Collated) -> str:
    """Make a table of this network's scores, and of mean, deviation and interval over the seeds."""
    lines = []
    for metric in metrics.list_overall():
        if runs[metric].notna().all():
            low, high = collated.jackknife.estimate(metric, runs["run"]).interval()
            mean = shown(runs[metric].mean(), runs[metric].std())
            lines.append([metrics.label(metric), shown(row[metric]), mean, shown_interval(low, high)])
    return pipes(Table.of(["", "this network", f"mean over {len(runs)} seed{'s' * (len(runs) > 1)}", "95 %"], lines))


def _confusion_table(row: Mapping, collated: Collated) -> str:
    """Make a table of each technique's F1 and its two most common confusions; "" if they are not stored."""
    techniques, shares = confusion(collated.confusions, (row["run"],))
    lines = []
    for name, fractions in zip(techniques, shares[0] if len(shares) else (), strict=False):
        others = sorted((-share, other) for share, other in zip(fractions, techniques, strict=True) if other != name)
        taken_for = ", ".join(f"{printed(other)} ({-share:.0%})" for share, other in others[:2] if share < 0)
        lines.append([printed(name), shown(row.get(f"f1_{name}")), taken_for])
    return pipes(Table.of(["", "F1", "its clips are most often taken for"], lines)) if lines else ""
