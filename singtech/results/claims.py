"""The paper's claims one by one: what the runs say on its test singers and for new ones, as sentences and a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from singtech.metrics import is_higher_better, label
from singtech.results.collate import Collated, csv_text
from singtech.results.experiments import Claim, Experiment, Published
from singtech.results.pages import NONE, Line, document, latex_table, pipes, shown_change, tabular
from singtech.results.resampling import Draws, weighted_scores
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, Summary, answer
from singtech.results.tables import write_texts
from singtech.results.verdicts import MOST, NOT_RUN, UNDECIDED, Verdict, judge, overall

FOLDS = 5
Comparison = tuple[str, str, str]  # references of better and worse, and the metric


@dataclass(frozen=True)
class Ground:
    """What verdicts rest on: runs on the corpus's own test singers, or on folds of all its singers.

    Attributes:
        on: how it is called.
        unit: what the differences are paired over.
        verdicts: on each comparison.
    """

    on: str
    unit: str
    verdicts: dict[Comparison, Verdict]


def render_claims(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write the verdicts as `<name>.md`, `.csv` and `.tex`; the paths written and the answer."""
    found, grounds = grounds_of(experiment, collated, data, group)
    said = [f"- {sentence(claim, grounds)}" for claim in experiment.claims]
    lines = list(_lines(experiment, grounds))
    page = document(found, "\n".join(said), pipes([*_HEADER], [line for group in lines for line in group], left=3))
    tex = latex_table(found, tabular([*_HEADER], lines, left=3))
    texts = {"md": page, "csv": long_form(experiment, data, grounds), "tex": tex}
    return write_texts(folder / experiment.name, texts), found


def grounds_of(
    experiment: Experiment, collated: Collated, data: str, group: Settings | None = None
) -> tuple[Answer, tuple[Ground, Ground]]:
    """The verdicts on the corpus's own test singers and for new ones; and the answer, with what both lack."""
    metrics = dict.fromkeys(metric for claim in experiment.claims for metric in claim.metrics)
    asked = replace(experiment, metrics=tuple(metrics))
    here, folded = (answer(replace(asked, folds=folds), collated, data, group) for folds in (0, FOLDS))
    grounds = (
        Ground("these singers", "seeds", _judged(asked, here, Summary.differences)),
        Ground("new singers", "singers", _judged(asked, folded, lambda a, b, m: by_singer(a, b, m, collated.draws))),
    )
    missing = list(here.missing)
    if folded.missing:
        missing.append(("for new singers, what is not about other α, all at once", folded.sweep))
        missing += [(f"for new singers: {what}", command) for what, command in folded.missing]
    notes = tuple(note for note in here.notes if not note.startswith(("Ours:", "95 %", "No interval")))
    found = replace(here, experiment=asked, missing=tuple(missing), sweep="", notes=notes)
    made, wanted = here.made + folded.made, here.asked + folded.asked
    return replace(found, made=made, asked=wanted, left_out=here.left_out + folded.left_out), grounds


def by_singer(better: Summary, worse: Summary, metric: str, draws: Draws) -> list[float]:
    """The difference of each singer's score, a singer's seeds averaged, over the folds and seeds that both have.

    A score is over the techniques that the singer sings. Singers without a clip that the metric is about are left out,
    and so are runs whose predictions are not there.
    """
    theirs = dict(zip(worse.cells, worse.runs, strict=True))
    differences: dict[str, list[float]] = {}
    for cell, run in zip(better.cells, better.runs, strict=True):
        if cell not in theirs:
            continue
        ours, others = singer_scores(run, metric, draws), singer_scores(theirs[cell], metric, draws)
        for singer in ours:
            if singer in others:
                differences.setdefault(singer, []).append(ours[singer] - others[singer])
    return [float(np.mean(differences[singer])) for singer in sorted(differences)]


def singer_scores(run: str, metric: str, draws: Draws) -> dict[str, float]:
    """The score of each test singer of a run, of those who have one."""
    predictions = draws.predictions(run)
    if predictions is None:
        return {}
    singers = sorted(predictions.clips["singer"].unique())
    each = np.stack([(predictions.clips["singer"] == singer).to_numpy() for singer in singers])
    scores = weighted_scores(predictions, each.astype(np.float32)).get(metric, np.full(len(singers), np.nan))
    return {singer: float(score) for singer, score in zip(singers, scores, strict=True) if np.isfinite(score)}


def sentence(claim: Claim, grounds: Sequence[Ground]) -> str:
    """A claim and what became of it, one sentence."""
    ends = []
    for ground in grounds:
        verdicts = [ground.verdicts[comparison] for comparison in claim.comparisons]
        ends.append(f"{'on' if ground.unit == 'seeds' else 'for'} {ground.on} {_shortly(verdicts, ground.unit)}")
    return f"Section {claim.section}, that {claim.says}: {'; '.join(ends)}."


def long_form(experiment: Experiment, data: str, grounds: Sequence[Ground]) -> str:
    """One line a comparison and ground."""
    header = ["data", "artefact", "family", "section", "better", "worse", "metric", "on", "units", "difference"]
    header += ["deviation", "low", "high", "p", "p_holm", "effect", "verdict", "needed"]
    lines = []
    for claim in experiment.claims:
        for better, worse, metric in claim.comparisons:
            for ground in grounds:
                v = ground.verdicts[better, worse, metric]
                numbers = [v.mean, v.deviation, *(v.interval or (None, None)), v.p, v.adjusted, v.effect]
                rounded = ["" if number is None else round(number, 6) for number in numbers]
                words = [data, experiment.name, claim.family, claim.section, better, worse, metric, ground.on, v.units]
                lines.append([*words, *rounded, v.word, v.needed if v.needed is not None else ""])
    return csv_text(header, lines)


_HEADER = (
    "Comparison",
    "metric",
    "on",
    "pairs",
    "difference",
    "95 %",
    "p",
    "p, Holm",
    "d",
    "verdict",
    "would need",
)


def _judged(
    experiment: Experiment, found: Answer, differences: Callable[[Summary, Summary, str], list[float]]
) -> dict[Comparison, Verdict]:
    """A verdict on every comparison, each family tested as one; where less is better, of what is less."""
    rows = {summary.condition.reference: summary for summary in found.summaries}
    verdicts: dict[Comparison, Verdict] = {}
    for family in experiment.families:
        claims = [claim for claim in experiment.claims if claim.family == family]
        comparisons = list(dict.fromkeys(c for claim in claims for c in claim.comparisons))
        pairs = [(rows.get(better), rows.get(worse), metric) for better, worse, metric in comparisons]
        pairs = [(a, b, metric) if is_higher_better(metric) else (b, a, metric) for a, b, metric in pairs]
        each = [differences(a, b, metric) if a and b else [] for a, b, metric in pairs]
        verdicts |= dict(zip(comparisons, judge(each), strict=True))
    return verdicts


def _lines(experiment: Experiment, grounds: Sequence[Ground]) -> list[list[Line]]:
    """The table's lines, in groups by family."""
    groups = []
    for family, heading in experiment.families.items():
        claims = [claim for claim in experiment.claims if claim.family == family]
        group = [[f"*{heading}*", *[""] * (len(_HEADER) - 1)]]
        for better, worse, metric in dict.fromkeys(c for claim in claims for c in claim.comparisons):
            for number, ground in enumerate(grounds):
                if number and ground.verdicts[better, worse, metric].word == NOT_RUN:
                    continue
                what = ["", ""] if number else [_pair(experiment, better, worse, metric), label(metric)]
                group.append([*what, ground.on, *_cells(ground.verdicts[better, worse, metric], ground.unit)])
        groups.append(group)
    return groups


def _cells(verdict: Verdict, unit: str) -> Line:
    if verdict.word == NOT_RUN:
        return ["0", *[NONE] * 5, verdict.word, ""]
    interval = NONE if verdict.interval is None else f"{verdict.interval[0]:+.3f} to {verdict.interval[1]:+.3f}"
    return [
        _counted(verdict.units, unit),
        shown_change(verdict.mean, verdict.deviation),
        interval,
        _probability(verdict.p),
        _probability(verdict.adjusted),
        NONE if verdict.effect is None else f"{verdict.effect:+.2f}",
        verdict.word,
        _needs(verdict, unit) if verdict.word == UNDECIDED else "",
    ]


def _needs(verdict: Verdict, unit: str) -> str:
    if verdict.needed is None:
        return f"over {MOST:,} {unit}"
    return f"{'at least ' if verdict.deviation is None else ''}{verdict.needed} {unit}"


def _shortly(verdicts: Sequence[Verdict], unit: str) -> str:
    """What became of a claim, with the numbers of its only comparison or the count of each verdict."""
    word = overall(verdicts)
    if word == NOT_RUN and all(verdict.word == NOT_RUN for verdict in verdicts):
        return "not run"
    if len(verdicts) == 1:
        (verdict,) = verdicts
        told = f"{shown_change(verdict.mean, verdict.deviation)} over {_counted(verdict.units, unit)}"
        told += f", adjusted p = {verdict.adjusted:.2g}"
    else:
        counts = {w: sum(v.word == w for v in verdicts) for w in dict.fromkeys(v.word for v in verdicts)}
        told = ", ".join(f"{count} of {len(verdicts)} comparisons {w}" for w, count in counts.items())
    undecided = [verdict for verdict in verdicts if verdict.word == UNDECIDED]
    if word == UNDECIDED and undecided:
        most = max(undecided, key=lambda v: MOST + 1 if v.needed is None else v.needed)
        told += f", it would need {_needs(most, unit)}"
    return f"**{word}** ({told})" if word != NOT_RUN else f"**not run whole** ({told})"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _pair(experiment: Experiment, better: str, worse: str, metric: str) -> str:
    """A difference as printed, which is of the better less the worse, or where less is better the other way round."""
    better, worse = experiment.label(better), experiment.label(worse)
    return f"{better} − {worse}" if is_higher_better(metric) else f"{worse} − {better}"
