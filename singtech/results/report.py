"""All results on one corpus as one HTML page that opens from a disk, without a network: tables, figures, recordings.

It holds every page of `tables/<data>/`, and beside these the runs, confusions, learning curves and every test
recording, which the page's own script shows. Names that a user chose (corpus, recordings, techniques) are escaped.
"""

import functools
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from singtech import metrics
from singtech.errors import Damaged
from singtech.io.atomic import write_text
from singtech.io.stored import reading
from singtech.results.claims import UNITS
from singtech.results.clips import HARDEST, ClipProbabilities, RecordingMedia, compare, describe_recordings, wrong_clips
from singtech.results.collate import Collated
from singtech.results.conditions import Condition, printed_label
from singtech.results.experiments import PAPER_CORPUS, PARTS, Experiment
from singtech.results.groups import expected_settings, experiment_conditions, has_folds_alone, list_groups, main_group
from singtech.results.overview import FIGURE, MOST_RANKED, beside_paper, compare_best, is_drawn, rank, scale
from singtech.results.pages import Page, corpus, html, png, templates
from singtech.results.rows import COMPLETE, SCORED, VARIANT
from singtech.results.settings import read_settings
from singtech.results.summaries import Answer, in_order, printed, settings_of
from singtech.results.summaries import answer as answer_experiment

log = logging.getLogger(__name__)

CURVE = ("epoch", "loss", "f1", "validation_f1")
RUN = ("seed", "fold", "f1", "accuracy", "parameters", "epochs", "seconds", "device", "torch", "commit")
CIRCUMSTANCES = {
    "seed": "Numbers of the seeds",
    "fold": "Folds",
    "device": "Device",
    "precision": "Precision",
    "versions": "Versions",
    "commit": "Commits",
    "corpus_fingerprint": "State of the corpus",
}


def answer_everything(collated: Collated, data: str) -> Answer:
    """Answer with all conditions that were run with the settings of the most runs, on the corpus's own split.

    If no run is on it, on the corpus's folds. The conditions with the best macro-F1 come first.
    """
    group = main_group(collated, data)
    runs = collated.results[collated.results["data"] == data]
    has_folds = has_folds_alone(collated, data, group)
    runs = runs[((runs["fold"] != "") == has_folds) & (runs["status"] == COMPLETE) & (runs["strategy"] != SCORED)]
    names = ["model", "dc", "strategy", "alpha", "settings", VARIANT]
    conditions: dict[str, tuple[float, Condition]] = {}  # label -> negative macro-F1, condition
    named = sorted(experiment_conditions(), key=lambda condition: len(condition.settings.items))
    for model, dc, strategy, alpha, *texts in runs[names].drop_duplicates().sort_values(names).itertuples(index=False):
        label, settings = printed_label(model, dc, strategy, alpha), read_settings(*texts)
        unnamed = Condition("", label, model, dc, strategy, alpha, reference=label, series=label)
        alike = [condition for condition in [*named, unnamed] if condition.key == unnamed.key]
        fitting = [condition for condition in alike if expected_settings(condition, group) == settings]
        if fitting and fitting[0].label not in conditions:
            same = (runs[names] == [model, dc, strategy, alpha, *texts]).all(axis=1)
            conditions[fitting[0].label] = (-runs.loc[same, "f1"].mean(), fitting[0])
    everything = Experiment(
        *("runs", "table", "Runs", "", "Condition"),
        metrics=(*metrics.list_overall(), "f1_*"),
        conditions=tuple(condition for _, condition in sorted(conditions.values(), key=lambda pair: pair[0])),
    )
    return answer_experiment(everything, collated, data, group)


def write_report(
    path: Path,
    answer: Answer,
    clips: ClipProbabilities | None,
    pages: Sequence[Page],
    media: Mapping[str, RecordingMedia],
    sounds: Mapping[str, object],
    maps: Sequence[Mapping] = (),
) -> None:
    """Write the report beside the figures of its pages.

    Args:
        answer: the answer with all conditions.
        clips: what they make of each test clip; None where no predictions are stored.
        pages: of the experiments, in order.
        media: sound and picture of each recording.
        sounds: clip_seconds and khz of the recordings, and `silent`, a sentence on what cannot be heard.
        maps: of features, see `singtech.results.feature_map.describe_maps`.
    """
    collated, data = answer.collated, answer.data
    runs = collated.results[collated.results["data"] == data]
    used = {run for page in [answer.page(), *pages] for run in page.runs}
    is_used, differs = runs["run"].isin(used), [settings.words for settings in settings_of(runs)]
    f1 = ["f1", *(name for name in answer.experiment.metrics if metrics.split_column(name))]
    payload = {
        "confusions": _confusions(answer),
        "curves": _curves(answer),
        "conditions": clips.labels if clips else [],
        "techniques": clips.techniques if clips else [],
        "recordings": describe_recordings(clips, media) if clips else [],
        "mcnemar": [[float(f"{p:.3g}") for p in row] for row in compare(clips)] if clips else [],
        "maps": maps,
        **sounds,
    }
    numbers = {c.label: answer.numbers.loc[[(c.reference, name) for name in f1]] for c in answer.experiment.conditions}
    wrong = wrong_clips(clips) if clips else None
    there = [page for page in pages if page.runs or not page.missing]  # what was not run has no section
    figure = next((page for page in there if page.name == FIGURE and is_drawn(page)), None)
    differences = next((page for page in there if page.findings and page.comparisons), None)
    common, ranks = _shared_notes(there), rank(answer)
    findings = [finding for page in there for finding in page.findings]
    body = functools.partial(html, folder=path.parent, elsewhere=common)
    parts = {part: [page for page in there if page.part == part] for part in PARTS}
    links = {part: [(page.name, page.title) for page in of_part] for part, of_part in parts.items()}
    links["statistics"] += [("notes", "How to read the numbers")] if common else []
    page = templates().get_template("template.html")
    text = page.render(
        corpus="VocalSet" if data == PAPER_CORPUS else data,
        warning="" if data == PAPER_CORPUS else corpus(data)[0].upper() + corpus(data)[1:],
        ranks=ranks,
        scale=scale(ranks) if ranks else (0, 1),
        next_best=compare_best(answer),
        most_ranked=MOST_RANKED,
        figure=figure,
        differences=differences,
        png=functools.partial(png, path.parent),
        findings=findings,
        singers=[on for on in UNITS if any(finding.verdicts[on][1] for finding in findings)],
        beside=beside_paper(pages),
        is_comparable=answer.is_comparable,
        parts=parts,
        part_titles=PARTS,
        links=links,
        common=common,
        missing=[page for page in pages if page.missing],
        facts=_facts(runs[is_used], runs, collated, data),
        run_columns=[name for name in RUN if name in runs and (runs[name].notna() & (runs[name] != "")).any()],
        runs=runs.assign(used=is_used.map({True: "yes", False: ""}), differs=differs).to_dict("records"),
        has_intervals=answer.frame["low"].notna().any(),
        f1=f1,
        numbers=numbers,
        hardest=None if wrong is None else list(wrong.head(HARDEST).itertuples()),
        wrong=0 if wrong is None else len(wrong),
        payload=payload,
        printed=printed,
        html=lambda page: body(page, is_drawn=page in (figure, differences)),
    )
    write_text(path, text)


def _shared_notes(pages: Sequence[Page]) -> list[str]:
    """The notes that several pages or tables have, in the order of the pages."""
    notes = [note for page in pages for note in [*page.notes, *(table.note for table in page.tables)] if note]
    return [note for note, count in Counter(notes).items() if count > 1]


def _facts(used: pd.DataFrame, runs: pd.DataFrame, collated: Collated, data: str) -> list[tuple[str, str]]:
    """What the tables rest on, name and text: the corpus; seeds and circumstances of the runs that they use."""
    lengths = collated.lengths_by_technique(data)
    minutes, recordings = lengths["minutes"].sum(), lengths["recordings"].sum()
    clips = ", ".join(f"{n:,} {split}" for split, n in lengths.groupby("split")["clips"].sum().items())
    techniques = lengths["technique"].nunique()
    held = f"{data}: {minutes:,.1f} minutes, {recordings:,} recordings, {techniques} technique{'s' * (techniques > 1)}"
    facts = [("Corpus", f"{held}; clips: {clips}" if len(lengths) else f"{data}, not prepared here")]
    group, *others = [each.settings.words or "the paper's" for each in list_groups(collated, data)] or ["the paper's"]
    elsewhere = f"{'; '.join(others)}: each has a folder of its own beside this page" if others else ""
    facts += [
        ("Test singers", ", ".join(sorted({name for text in used["singers_test"] for name in text.split()}))),
        ("Settings", group),
        ("Other settings", elsewhere),
        ("Runs", f"{len(used)} in tables, of {len(runs)} on this corpus"),
        *(
            (name, _counts(used[column], column))
            for column, name in CIRCUMSTANCES.items()
            if (used[column] != "").any()
        ),
    ]
    return [(name, text) for name, text in facts if text]


def _counts(values: pd.Series, column: str) -> str:
    """A column's values in order, and how many runs have each where there are several."""
    unknown = "own split" if column == "fold" else "not said"
    counts = values.value_counts().sort_index()
    texts = [str(value) or unknown for value in counts.index]
    if column == "versions":  # "python 3.12 torch 2.14"
        texts = [", ".join(map(" ".join, zip(t.split()[::2], t.split()[1::2], strict=False))) for t in texts]
    if len(texts) == 1:
        return texts[0]
    return "; ".join(f"{text} ({n} run{'s' * (n > 1)})" for text, n in zip(texts, counts, strict=True))


def _confusions(answer: Answer) -> list[dict]:
    """Counts of clips by true and predicted technique, of each condition over its runs."""
    matrices, confusions = [], answer.collated.confusions
    for condition in answer.experiment.conditions:
        pairs = confusions[confusions["run"].isin(answer.runs_of(condition)["run"])]
        if names := in_order([*pairs["technique"], *pairs["predicted"]]):
            counts = pairs.pivot_table(index="technique", columns="predicted", values="clips", aggfunc="sum")
            counts = counts.reindex(index=names, columns=names).fillna(0).astype(int).to_numpy().tolist()
            matrices.append({"label": condition.label, "techniques": names, "counts": counts})
    return matrices


def _curves(answer: Answer) -> list[dict]:
    """Loss and F1 of every epoch of each run's phases, where the phases are stored."""

    @functools.cache  # runs share phases
    def read(key: str) -> dict | None:
        folder = answer.collated.output_dir / "phases" / key
        if not (folder / "log.csv").is_file():
            return None
        try:
            with reading(folder):
                record, content = json.loads((folder / "phase.json").read_bytes()), (folder / "log.csv").read_bytes()
                if record["files"]["log.csv"] != hashlib.sha256(content).hexdigest():
                    raise ValueError("log.csv has changed")
                epochs = pd.read_csv(io.BytesIO(content.strip() or b"epoch"))  # a phase without epochs has an empty one
                name = record["phase"]["name"]
                columns = {c: [round(float(v), 4) for v in epochs[c]] for c in CURVE if c in epochs}
        except Damaged as problem:
            log.warning("%s Its learning curve is left out.", problem)
            return None
        is_whole = {"epoch", "loss", "f1"} <= set(columns) and all(np.isfinite(v).all() for v in columns.values())
        return {"name": str(name), **columns} if is_whole else None

    pairs = zip(answer.runs["run"], answer.runs["phases"], strict=True)
    curves = [(run, [curve for key in keys.split() if (curve := read(key))]) for run, keys in pairs]
    return [{"run": run, "phases": phases} for run, phases in curves if phases]
