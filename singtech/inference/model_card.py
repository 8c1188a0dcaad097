"""The model card of an exported network: what it is, what it was trained and tested on, what it scores, its limits."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.results.collate import STATE, Collated
from singtech.results.conditions import printed_label
from singtech.results.confusions import confusion
from singtech.results.experiments import COMPARABLE
from singtech.results.pages import pipes, shown, shown_interval
from singtech.results.rows import VARIANT
from singtech.results.settings import read_settings
from singtech.results.summaries import corpus, printed

if TYPE_CHECKING:
    import pandas as pd

_ALIKE = ("data", "fold", "model", "dc", "strategy", "alpha", "settings", VARIANT, *STATE, "status")


def model_card(
    row: Mapping,
    techniques: tuple[str, ...],
    sample_rate: int,
    seconds: float,
    collated: Collated,
    onnx: float | None = None,
) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        row: the run's, of results.csv.
        techniques: in the order of the logits.
        sample_rate, seconds: of a clip.
        collated: for other seeds of the same condition, the intervals, and what is taken for what.
        onnx: how far the logits of its ONNX file are from PyTorch's, as a share of their range; None without one.
    """
    runs = alike(row, collated.results)
    is_vocalset = row["data"] == COMPARABLE
    where = "VocalSet 1.1" if is_vocalset else corpus(row["data"])
    fold = f", fold {row['fold']}" if row["fold"] else ""
    front = {
        "license": "cc-by-4.0" if is_vocalset else "other",
        "library_name": "singtech",
        "pipeline_tag": "audio-classification",
        "tags": ["singing-technique", "audio-classification", "deformable-convolution"],
        **({"datasets": ["vocalset"]} if is_vocalset else {}),
        "metrics": ["f1", "accuracy"],
    }
    setting = f"dc={row['dc']}, strategy={row['strategy']}, alpha={row['alpha']:g}"
    differs = read_settings(row.get("settings", ""), row.get(VARIANT, "")).words
    varied = f", and what differs from the defaults: `{differs}`" if differs else ""
    label = printed_label(row["model"], row["dc"], row["strategy"], row["alpha"])
    parts = [
        "---\n" + "\n".join(f"{name}: {json.dumps(value)}" for name, value in front.items()) + "\n---",
        f"# {label}: which singing technique is it?",
        f"Names one of {len(techniques)} techniques ({', '.join(map(printed, techniques))}) in clips of {seconds:g} s "
        f"at {sample_rate:,} Hz of one singer alone. The method is that of Yamamoto, Nam and Terasawa, *Deformable CNN "
        "and Imbalance-Aware Feature Learning for Singing Technique Classification*, Interspeech 2022; this network "
        "was trained anew by singtech and is not the authors'.",
        "## Use",
        "    from singtech.inference.predictor import load\n\n"
        '    timeline = load("FOLDER").predict(waveform, sample_rate)\n'
        "    timeline.technique, timeline.segments()",
        "or `singtech predict network=FOLDER input=song.wav`. Loading executes nothing of this folder.",
        *([_of_onnx(onnx, sample_rate, seconds)] if onnx is not None else []),
        "## Data and protocol",
        f"Trained on {int(row['clips_train']):,} clips of {where}{fold}, tested on {int(row['clips_test']):,} clips of "
        f"{_singers(row)} {row['singers_test']}. Condition: {row['model']}, {setting}{varied}; "
        f"seed {row['seed']}; {int(row['epochs'])} epochs; {int(row['parameters']):,} parameters; "
        f"commit {row['commit'] or 'not known'}.",
        f"    {row['command']}",
        "## Numbers",
        _numbers(row, runs, collated),
        *_by_technique(row, collated),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(is_vocalset, row)),
        "## Licences and citation",
        "The code is under the MIT licence. "
        + (
            "VocalSet (Wilkins, Seetharaman, Wahl, Pardo, ISMIR 2018) is under CC BY 4.0; name it where you use this."
            if is_vocalset
            else "What holds for the recordings it was trained on, their owner knows."
            if row["data"] != "demo"
            else "The demo's voices are synthetic."
        )
        + " Please cite the paper, the data and singtech.",
    ]
    return "\n\n".join(parts) + "\n"


def alike(row: Mapping, results: "pd.DataFrame") -> "pd.DataFrame":
    """The run itself, and of its condition's other seeds on the same clips the newest."""
    runs = results[[all(line.get(n) == row.get(n) for n in _ALIKE) for line in results.to_dict("records")]]
    runs = runs[(runs["seed"] != row["seed"]) | (runs["run"] == row["run"])]
    return runs.sort_values("finished", kind="stable").drop_duplicates("seed", keep="last")


def _singers(row: Mapping) -> str:
    """Introduce the test singers. A split may be by recording, unless it is a fold's or the corpus's official one."""
    is_official = row["data"] in (COMPARABLE, "demo") and "data.split" not in row.get("settings", "")
    return "singers that it never heard:" if is_official or row["fold"] else "the test split, sung by"


def _numbers(row: Mapping, runs: "pd.DataFrame", collated: Collated) -> str:
    """This network's scores, and mean, deviation and interval over the seeds of its condition."""
    seeds = len(runs)
    cells, names = [(row["fold"], int(seed)) for seed in runs["seed"]], list(runs["run"])
    lines = []
    for metric in metrics.overall():
        values = runs[metric].dropna()
        if len(values) < seeds:
            continue
        deviation = float(values.std()) if seeds > 1 else None
        interval = collated.draws.interval(cells, names, metric)
        lines.append(
            [
                metrics.label(metric),
                shown(row[metric]),
                shown(float(values.mean()), deviation),
                shown_interval(interval),
            ]
        )
    table = pipes(["", "this network", f"mean over {seeds} seed{'s' * (seeds > 1)}", "95 %"], lines, left=1)
    return f"{table}\n\n95 %: over other singers, recordings, clips{' and seeds' if seeds > 1 else ''}, by resampling."


def _by_technique(row: Mapping, collated: Collated) -> list[str]:
    """F1 of each technique, and what its test clips are most often taken for, as a table; nothing if it is not kept."""
    if row["run"] not in set(collated.confusions["run"]):
        return []
    techniques, shares = confusion(collated.confusions, (row["run"],))
    lines = []
    for name, told in zip(techniques, shares[0], strict=True):
        others = [(share, other) for share, other in zip(told, techniques, strict=True) if other != name and share > 0]
        most = [f"{printed(other)} ({share:.0%})" for share, other in sorted(others, key=lambda o: (-o[0], o[1]))[:2]]
        f1 = row.get(f"f1_{name}")
        lines.append([printed(name), shown(f1 if f1 == f1 else None), ", ".join(most)])
    return [pipes(["", "F1", "its clips are most often taken for"], lines, left=1)]


def _of_onnx(differs: float, sample_rate: int, seconds: float) -> str:
    shape = f"(clips, {round(seconds * sample_rate)})"
    return (
        f"`model.onnx` takes `waveform`, float32 of shape {shape} at {sample_rate:,} Hz with full scale at 1, to "
        "`logits`, in the order of the techniques in its metadata. Resampling and the cutting into windows are the "
        f"caller's. In onnxruntime its logits were PyTorch's to within {max(differs, 1e-7):.0e} of their range, on "
        "five synthetic clips."
    )


def _limits(is_vocalset: bool, row: Mapping) -> list[str]:
    limits = [
        f"{len(row['singers_test'].split())} test singers are few; see the intervals.",
        "It always names one of its techniques, also where nobody sings, several sing, or instruments play.",
        "Its probabilities are not calibrated.",
    ]
    if is_vocalset:
        limits.insert(
            1,
            "In VocalSet technique is confounded with what is sung: spoken is excerpts only, inhaled, trill and trillo "
            "are long tones only. It may have learned the one for the other.",
        )
    if row["data"] == "demo":
        limits.insert(0, "**It learned from synthetic voices and says nothing about singers.**")
    return limits
