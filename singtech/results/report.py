"""All results on one corpus as one HTML page that opens from a disk, without a network: tables, figures, recordings.

Whatever has a page in `tables/<data>/` is on it; beside these the runs, confusions, learning curves and every test
recording, which the page's own script shows. What a person named (corpus, recordings, techniques) is escaped.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singtech import metrics
from singtech.results.collate import Collated
from singtech.results.conditions import Condition, setup_of
from singtech.results.experiments import COMPARABLE, Experiment
from singtech.results.groups import groups_of, main_group, named_conditions, wanted
from singtech.results.pages import shown_interval
from singtech.results.predictions import Predictions
from singtech.results.rows import COMPLETE, VARIANT
from singtech.results.settings import Settings, read_settings
from singtech.results.summaries import Answer, answer, corpus, in_order, printed

if TYPE_CHECKING:
    import pandas as pd

PAGE = Path(__file__).parent / "page"
HARDEST = 25
CURVE = ("epoch", "loss", "f1", "validation_f1")


@dataclass(frozen=True)
class Take:
    """What is heard and seen of one recording: data URIs, or "" where there is none."""

    audio: str = ""
    picture: str = ""
    width: int = 0


@dataclass(frozen=True, eq=False)
class Told:
    """What the counted runs say of the test clips, a condition's seeds averaged.

    Attributes:
        labels: of the conditions.
        clips: N rows: recording, singer, technique, context, start.
        techniques: K names.
        probabilities: (conditions, N, K); nan where a condition was not tested on a clip.
    """

    labels: tuple[str, ...]
    clips: "pd.DataFrame"
    techniques: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def of_true(self) -> np.ndarray:
        """(N,) the mean probability of the true technique over the conditions."""
        targets = self.clips["technique"].map(self.techniques.index).to_numpy()
        return np.nanmean(self.probabilities[:, np.arange(len(targets)), targets], axis=0)


def everything_run(collated: Collated, data: str) -> Answer:
    """All conditions that were run with the settings of the most runs, on the corpus's own split, as one answer."""
    group = main_group(collated, data)
    runs = collated.results[collated.results["data"] == data]
    runs = runs[(runs["fold"] == "") & (runs["status"] == COMPLETE)]
    names = ["model", "dc", "strategy", "alpha", "settings", VARIANT]
    known = runs.assign(**{VARIANT: runs.get(VARIANT, "")})[names].drop_duplicates().sort_values(names)
    rows: dict[str, Condition] = {}
    for model, dc, strategy, alpha, text, variant in known.itertuples(index=False):
        setup = _condition(model, dc, strategy, alpha, read_settings(text, variant), group, named_conditions(collated))
        if setup is not None:
            rows.setdefault(setup.label, setup)
    asked = Experiment(
        *("runs", "table", "Runs", "", "Condition"),
        metrics=(*metrics.overall(), "f1_*"),
        conditions=tuple(rows[label] for label in sorted(rows)),
    )
    return answer(asked, collated, data, group)


def _condition(
    model: str, dc: str, strategy: str, alpha: float, settings: Settings, group: Settings, known: Sequence[Condition]
) -> Condition | None:
    """The condition that alike runs are of in a group, one without a name where no file has one; None if of none."""
    setup = setup_of(model, dc, strategy, alpha)
    named = [condition for condition in known if condition.key == setup.key]
    for condition in sorted(named, key=lambda condition: len(condition.settings.items)):
        if wanted(condition, group) == settings:
            return condition
    return setup if wanted(setup, group) == settings else None


def told_by(found: Answer, collated: Collated) -> Told | None:
    """What they say of each test clip; None where no predictions are here."""
    each = {
        summary.condition.label: [p for p in map(collated.draws.predictions, summary.runs) if p is not None]
        for summary in found.summaries
    }
    each = {label: told for label, told in each.items() if told}
    if not each:
        return None
    first = next(iter(each.values()))[0]
    places = _places(first)
    probabilities = np.full((len(each), len(first.clips), len(first.techniques)), np.nan)
    for k, told in enumerate(each.values()):
        alike = [p for p in told if _places(p) == places and p.techniques == first.techniques]
        if alike:
            probabilities[k] = np.mean([p.probabilities for p in alike], axis=0)
    return Told(tuple(each), first.clips.reset_index(drop=True), first.techniques, probabilities)


def hardest_clips(told: Told) -> np.ndarray:
    """The rows of the clips whose technique is least probable, the hardest first."""
    return np.argsort(told.of_true, kind="stable")[:HARDEST]


def write_report(
    path: Path,
    collated: Collated,
    data: str,
    answers: Sequence[Answer],
    folder: Path,
    takes: Mapping[str, Take],
    sounds: Mapping[str, object],
    write,
) -> None:
    """Write the page.

    Args:
        path: where to.
        answers: to the experiments, in order, whose pages are in `folder`.
        takes: recording -> what is heard and seen of it.
        sounds: clip_seconds and khz of the recordings, and `silent`, which can be heard and why no others.
        write: takes path and text.
    """
    import jinja2
    from markupsafe import Markup

    found = everything_run(collated, data)
    told = told_by(found, collated)
    counted = _counted([found, *answers], collated)
    parts = [{"id": "runs", "title": "What was run", "body": _runs(counted, collated, data), "progress": ""}]
    for each in answers:
        text = (folder / f"{each.experiment.name}.md").read_text(encoding="utf-8")
        words = {"id": each.experiment.name, "title": each.experiment.title, "progress": each.progress}
        parts.append(words | {"body": rendered(text, folder)})
    parts += [
        {"id": "f1", "title": "F1 of each technique across conditions", "body": _by_technique(found)},
        {"id": "confusions", "title": "Confusions", "body": _choice("matrix", "Condition")},
        {"id": "learning", "title": "Learning curves by phase", "body": _choice("curves", "Run")},
        {"id": "hardest", "title": "The hardest clips", "body": _hardest(told)},
        {"id": "recordings", "title": "Every test recording", "body": _recordings(told, str(sounds["silent"]))},
    ]
    payload = {
        "confusions": _confusions(found, collated),
        "curves": _curves(found, collated),
        "conditions": list(told.labels) if told else [],
        "techniques": list(told.techniques) if told else [],
        "recordings": _takes(told, takes) if told else [],
        **sounds,
    }
    where = "VocalSet" if data == COMPARABLE else data
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((PAGE / "template.html").read_text(encoding="utf-8"))
    page = template.render(
        title=f"singtech report: {where}",
        warning="" if data == COMPARABLE else f"{corpus(data)[0].upper()}{corpus(data)[1:]}.",
        facts=_facts(counted, collated, data),
        parts=[part | {"body": Markup(part["body"])} for part in parts],
        footer="Made by singtech from outputs/; method: Yamamoto, Nam and Terasawa, Interspeech 2022.",
        data=Markup(_json(payload)),
        style=Markup((PAGE / "style.css").read_text(encoding="utf-8")),
        script=Markup((PAGE / "script.js").read_text(encoding="utf-8")),
    )
    write(path, page)


def rendered(text: str, folder: Path) -> str:
    """A Markdown page below its heading as HTML, pictures inlined, tables sortable and captioned with the heading.

    HTML in the page is shown as text, and links lead nowhere but within the page.
    """
    from markdown_it import MarkdownIt

    heading, _, body = text.partition("\n")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = reader.render(re.sub("^## ", "### ", body, flags=re.MULTILINE))
    html = re.sub(r'<img src="([^"]*)" alt="([^"]*)" />', lambda m: _picture(folder / m[1], m[2]), html)
    title, (before, *tables) = heading.lstrip("# "), html.split("<table>")
    captions = [title if len(tables) == 1 else f"{title} ({k} of {len(tables)})" for k in range(1, len(tables) + 1)]
    for caption, text in zip(captions, tables, strict=True):
        inner, _, after = text.partition("</table>")
        before += _sortable(inner, caption) + after
    return before


def grouped(rows: Sequence[str]) -> list[list[str]]:
    """Rows of a table in groups: one whose first cell is empty belongs to the row above it."""
    groups: list[list[str]] = []
    for row in rows:
        first = re.search(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL)
        if groups and first and not first[1].strip():
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def table(caption: str, header: Sequence[str], lines: Sequence[Sequence[str]], long: Sequence[int] = ()) -> str:
    """An HTML table of escaped cells; columns in `long` hold sentences."""
    kinds = [' class="long"' if k in long else "" for k in range(len(header))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, header, strict=True))
    body = ""
    for line in lines:
        cells = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, line, strict=True))
        body += f"<tbody><tr>{cells}</tr></tbody>"
    return _framed(f"<thead><tr>{head}</tr></thead>{body}", caption)


def _framed(inner: str, caption: str) -> str:
    told = escape(caption, quote=True)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{told}"><table class="sortable">'
        f"<caption>{escape(caption)}</caption>{inner}</table></div>"
    )


def _sortable(html: str, caption: str) -> str:
    head = re.search(r"<thead>.*?</thead>", html, flags=re.DOTALL)[0].replace("<th", '<th scope="col"', 99)
    head = re.sub(r"<th [^>]*></th>", "<td></td>", head.replace('<th scope="col"ead>', "<thead>"))
    body = re.search(r"<tbody>(.*?)</tbody>", html, flags=re.DOTALL)
    rows = re.findall(r"<tr>.*?</tr>", body[1], flags=re.DOTALL) if body else []
    groups = "".join(f"<tbody>{''.join(group)}</tbody>" for group in grouped(rows))
    return _framed(re.sub(r' style="[^"]*"', "", head + groups), caption)


def _picture(path: Path, alt: str) -> str:
    uri = data_uri(path.read_bytes(), "image/png") if path.is_file() else ""
    return f'<figure><img class="plot" src="{uri}" alt="{alt}; its numbers are in the table beside it"></figure>'


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as they stand in a page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _json(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _counted(answers: Sequence[Answer], collated: Collated) -> "pd.DataFrame":
    """The rows of the runs that stand in a table."""
    runs = {run for each in answers for summary in each.summaries for run in summary.runs}
    return collated.results[collated.results["run"].isin(runs)]


def _facts(counted: "pd.DataFrame", collated: Collated, data: str) -> list[tuple[str, str]]:
    """What the tables rest on, name and text: the corpus, and of the runs in them seeds and circumstances."""
    lengths = collated.lengths_of(data)
    minutes, recordings = lengths["minutes"].sum(), lengths["recordings"].sum()
    clips = ", ".join(f"{n:,} {split}" for split, n in lengths.groupby("split")["clips"].sum().items())
    techniques = lengths["technique"].nunique()
    held = f"{data}: {minutes:,.1f} minutes, {recordings:,} recordings, {techniques} technique{'s' * (techniques > 1)}"
    facts = [("Corpus", f"{held}; clips: {clips}" if len(lengths) else f"{data}, not prepared here")]
    tests = sorted({name for text in counted.get("singers_test", ()) for name in text.split()})
    facts += [("Test singers", ", ".join(tests))] if tests else []
    group, *others = [each.settings.words or "the paper's" for each in groups_of(collated, data)] or ["the paper's"]
    facts.append(("Settings", group))
    if others:
        facts.append(("Other settings", f"{'; '.join(others)}: each has a folder of its own beside this page"))
    every = int((collated.results["data"] == data).sum())
    facts.append(("Runs", f"{len(counted)} in tables, of {every} on this corpus"))
    names = {
        "seed": "Numbers of the seeds",
        "fold": "Folds",
        "device": "Device",
        "precision": "Precision",
        "versions": "Versions",
    }
    names |= {"commit": "Commits", "corpus_fingerprint": "State of the corpus"}
    for column, name in names.items():
        numbers = counted[column].value_counts().to_dict() if column in counted else {}
        if column == "versions":
            numbers = {re.sub(r"(\S+ \S+) ", r"\1, ", text): runs for text, runs in numbers.items()}
        if set(numbers) - {""}:
            facts.append((name, _told(numbers, {"fold": "own split"}.get(column, "not said"))))
    return facts


def _told(numbers: Mapping[object, int], unsaid: str) -> str:
    """Values in order, and of how many runs each is where there are several."""
    each = [(str(value) or unsaid, runs) for value, runs in sorted(numbers.items())]
    return "; ".join(f"{value} ({runs} run{'s' * (runs > 1)})" if len(each) > 1 else value for value, runs in each)


def _runs(counted: "pd.DataFrame", collated: Collated, data: str) -> str:
    """Every run on the corpus, counted or not, with what it cost and how to make it again."""
    results = collated.results[collated.results["data"] == data]
    in_tables = set(counted["run"])
    columns = ("seed", "fold", "f1", "accuracy", "parameters", "epochs", "seconds", "device", "torch", "commit")
    header = ["run", "status", "in tables", *("F1" if c == "f1" else c for c in columns), "differs in", "command"]
    lines = []
    for row in results.to_dict("records"):
        cells = [escape(row["run"]), escape(row["status"]), "yes" if row["run"] in in_tables else "—"]
        cells += [_cell(row.get(name)) for name in columns]
        differs = read_settings(row["settings"], row.get(VARIANT, "")).words
        lines.append([*cells, escape(differs), f"<code>{escape(str(row.get('command', '')))}</code>"])
    return table("Every run, what it cost, and the command that makes it again", header, lines, long=(14,))


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "—"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.3f}"
    return escape(str(value))


def _by_technique(found: Answer) -> str:
    """A table of mean F1, a condition a row, a technique a column, shaded by value; below each its 95 % interval."""
    metrics = ["f1", *(name for name in found.experiment.metrics if name.startswith("f1_"))]
    body = ""
    for summary in found.summaries:
        cells = [f"<td>{escape(summary.condition.label)}</td>", *(_shade(summary.mean(name)) for name in metrics)]
        between = ["95 %", *(shown_interval(summary.interval(name)) for name in metrics)] if summary.intervals else []
        below = [f'<td class="between">{text.replace(" to", "&nbsp;to")}</td>' for text in between]
        rows = ["".join(cells), "".join(below)]
        body += f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows if row)}</tbody>"
    names = ["Condition", "macro", *(printed(name.removeprefix("f1_")) for name in metrics[1:])]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    caption = "Mean F1 over seeds, darker is higher"
    if any(summary.intervals for summary in found.summaries):
        caption += "; below it its 95 % interval over singers, recordings, clips and seeds"
    return _framed(f"<thead><tr>{head}</tr></thead>{body}", caption)


def _shade(value: float | None) -> str:
    return "<td>—</td>" if value is None else f'<td class="heat" style="--share:{value:.3f}">{value:.3f}</td>'


def _choice(name: str, label: str) -> str:
    return (
        f'<div class="choices"><label>{label} <select id="{name}-of"></select></label></div>'
        f'<div class="wide" id="{name}" tabindex="0" role="region" aria-label="{label}"></div>'
        "<noscript>This part needs the page's script.</noscript>"
    )


def _hardest(told: Told | None) -> str:
    if told is None:
        return "<p>No run's predictions are here.</p>"
    lines = []
    mean = np.nanmean(told.probabilities, axis=0)
    for n in hardest_clips(told):
        clip = told.clips.iloc[n]
        recording = escape(clip["recording"], quote=True)
        link = f'<a href="#recordings" data-take="{recording}">{recording}</a>'
        named = told.techniques[int(mean[n].argmax())]
        cells = [link, f"{clip['start']:.1f} s", escape(printed(clip["technique"])), f"{told.of_true[n]:.3f}"]
        lines.append([*cells, escape(printed(named)), f"{mean[n].max():.3f}"])
    header = ["recording", "from", "sung", "probability of it", "taken for", "probability"]
    return table(
        f"The {HARDEST} clips whose technique is least probable, over all conditions", header, lines, long=(0,)
    )


def _recordings(told: Told | None, silent: str) -> str:
    if told is None:
        return "<p>No run's predictions are here: bring <code>runs/*/predictions.csv</code> along.</p>"
    selects = "".join(
        f'<label>{name} <select id="take-{name.lower()}"></select></label>'
        for name in ("Singer", "Technique", "Context", "By")
    )
    return (
        f"{f'<p>{escape(silent)}</p>' if silent else ''}"
        f'<div class="choices">{selects}</div><p id="takes-count" class="quiet" aria-live="polite"></p>'
        '<ul class="takes" id="takes" aria-label="Recordings"></ul><div id="take"></div>'
        "<noscript>This part needs the page's script.</noscript>"
    )


def _takes(told: Told, takes: Mapping[str, Take]) -> list[dict]:
    """Each test recording with its clips and per mille of each technique by each condition."""
    found = []
    for recording, rows in told.clips.groupby("recording", sort=True):
        take = takes.get(recording, Take())
        first = rows.iloc[0]
        clips = []
        for n in rows.index:
            by = told.probabilities[:, n]
            whole = [None if np.isnan(each).any() else np.rint(1000 * each).astype(int).tolist() for each in by]
            clips.append({"start": float(told.clips["start"][n]), "by": whole})
        words = {name: first[name] for name in ("singer", "technique", "context")}
        seen = {"audio": take.audio, "picture": take.picture, "width": take.width}
        found.append({"name": recording, **words, **seen, "clips": clips})
    return found


def _confusions(found: Answer, collated: Collated) -> list[dict]:
    told = []
    for summary in found.summaries:
        pairs = collated.confusions[collated.confusions["run"].isin(summary.runs)]
        techniques = in_order({*pairs["technique"], *pairs["predicted"]})
        counts = defaultdict(int)
        for _, technique, predicted, clips in pairs.itertuples(index=False):
            counts[technique, predicted] += int(clips)
        matrix = [[counts[true, named] for named in techniques] for true in techniques]
        if techniques:
            told.append({"label": summary.condition.label, "techniques": techniques, "counts": matrix})
    return told


def _curves(found: Answer, collated: Collated) -> list[dict]:
    """Loss and F1 of every epoch of each counted run's phases, where the phases are here."""
    import pandas as pd

    phases = dict(zip(collated.results["run"], collated.results.get("phases", ()), strict=False))
    told = []
    for run in (run for summary in found.summaries for run in summary.runs):
        parts = []
        for key in phases.get(run, "").split():
            folder = collated.output_dir / "phases" / key
            try:
                log = pd.read_csv(folder / "log.csv")
                name = json.loads((folder / "phase.json").read_text(encoding="utf-8"))["phase"]["name"]
                columns = {c: [round(float(v), 4) for v in log[c]] for c in CURVE if c in log}
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if {"epoch", "loss", "f1"} <= set(columns) and all(np.isfinite(v).all() for v in columns.values()):
                parts.append({"name": str(name), **columns})
        if parts:
            told.append({"run": run, "phases": parts})
    return told


def _places(predictions: Predictions) -> list[tuple[str, float]]:
    return list(zip(predictions.clips["recording"], predictions.clips["start"], strict=True))
