"""Judge each claim of the paper on its test singers and for new singers, in a sentence and a table.

What else could explain the paper's gains, the contrasts of other experiments, is judged in the same way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from singtech.metrics import is_higher_better, label
from singtech.results.conditions import against
from singtech.results.contrasts import judge_contrasts
from singtech.results.experiments import Claim, Contrast, Experiment, find_experiment
from singtech.results.forest_plot import forest_rows
from singtech.results.intervals import UNDECIDED
from singtech.results.pages import NONE, Cell, Finding, Page, Table, shown_change, shown_change_interval, shown_ratio
from singtech.results.summaries import FOLDS, Answer, answer, on_circumstances, progress
from singtech.results.verdicts import MOST, NOT_RUN, POWER, least_seeds, overall, smallest_effect

THESE, NEW = "these singers", "new singers"  # what a verdict is on
UNITS = {THESE: "seeds", NEW: "folds"}  # and what differences pair by
OF_SUMMARY = ("statistic", "interval", "no interval")  # kinds of notes that do not apply to verdicts
HEADER = ("Comparison", "verdict", "metric", "on", "pairs", "difference", "95 %", "p", "p, Holm", "d", "would need")
EXPLANATIONS = "What else could explain the gains (not in the paper)"
EXPLANATIONS_NOTE = (
    "Tested as the claims are, each page's differences together. The pages {pages} have the scores, and intervals for "
    "other singers by the jackknife."
)

Answers = Mapping[str, Answer]  # what a verdict is on, of `UNITS` -> its runs


def claims_page(here: Answer) -> Page:
    """Make the page of verdicts. Its frame has two rows per comparison.

    On the corpus's test singers, differences are paired by seed. For new singers, they are paired by fold.
    """
    experiment, answers = here.experiment, _with_new_singers(here)
    folded = answers[NEW]
    frame = verdicts_frame(answers)
    missing = list(here.missing)
    if folded.missing:
        missing.append(("for new singers, what is not about other α, all at once", folded.sweep))
        missing += [(f"for new singers: {what}", command) for what, command in folded.missing]
    explanations = [_with_new_singers(_explanation(here, name)) for name in experiment.explanations]
    frames = [explanations_frame(each, experiment.name) for each in explanations]
    count = len(here.runs) + len(folded.runs)
    everything = [each for of in (answers, *explanations) for each in of.values()]
    of_all = pd.concat([each.runs for each in everything]).drop_duplicates("run")
    notes = dict(here.notes) | on_circumstances(of_all, [c for each in everything for c in each.experiment.conditions])
    families, tables = experiment.families, [_table(experiment.families, frame)]
    by_family = frame.sort_values("family", key=lambda names: names.map(list(families).index), kind="stable")
    if explanations:
        tables.append(_explanations_table(explanations, frames))
        missing += [each for of in explanations for each in of[THESE].missing]
    return here.page(
        frame=pd.concat([frame, *frames], ignore_index=True),
        lead=[sentence(claim, frame) for claim in experiment.claims],
        tables=tables,
        comparisons=forest_rows(by_family.assign(group=by_family["family"].map(families)), value="difference"),
        findings=[finding(claim, frame) for claim in experiment.claims],
        notes=[note for kind, note in notes.items() if kind not in OF_SUMMARY] + _on_power(experiment, frame),
        missing=missing,
        sweep="",
        runs=of_all["run"].tolist(),
        progress=progress(count, here.expected + folded.expected, missing, here.left_out + folded.left_out),
    )


def verdicts_frame(answers: Answers) -> pd.DataFrame:
    """Make a frame with two rows per comparison of a claim. The comparisons of a family are tested together.

    A difference is the better condition's score minus the worse one's; of a metric whose lower values are better, the
    worse one's minus the better one's.
    """
    experiment = answers[THESE].experiment
    verdicts: dict[tuple[str, ...], dict] = {}
    for family in experiment.families:
        comparisons = _comparisons(experiment, family)
        contrasts = [_contrast(experiment, *comparison) for comparison in comparisons]
        for on, own in answers.items():
            of_family = judge_contrasts(own, contrasts, [metric for *_, metric in comparisons])
            verdicts |= {(*key, on): each for key, each in zip(comparisons, of_family, strict=True)}
    return _frame(
        answers,
        experiment.name,
        [
            [claim.family, claim.section, *comparison, on, verdicts[*comparison, on]]
            for claim in experiment.claims
            for comparison in claim.comparisons
            for on in answers
        ],
    )


def explanations_frame(answers: Answers, artefact: str) -> pd.DataFrame:
    """Make a frame with two rows per contrast of an experiment. Its contrasts are tested together.

    Args:
        artefact: the name of the page.
    """
    experiment = answers[THESE].experiment
    contrasts, metric = experiment.contrasts, experiment.metrics[0]
    verdicts = {name: judge_contrasts(each, contrasts, [metric] * len(contrasts)) for name, each in answers.items()}
    return _frame(
        answers,
        artefact,
        [
            [experiment.name, "", " + ".join(each.plus), " + ".join(each.minus), metric, on, own[number]]
            for number, each in enumerate(contrasts)
            for on, own in verdicts.items()
        ],
    )


def _frame(answers: Answers, artefact: str, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Make a frame of rows: family, section, better, worse, metric, on, and a verdict from `judge_contrasts`."""
    names = ("family", "section", "better", "worse", "metric", "on")
    whole = {"data": answers[THESE].data, "artefact": artefact}
    frame = pd.DataFrame([whole | dict(zip(names, row[:-1], strict=True)) | row[-1] for row in rows])
    return frame.astype({"needed": "Int64"})


def _with_new_singers(here: Answer) -> Answers:
    """Answer an experiment for new singers, too."""
    folded = answer(replace(here.experiment, folds=FOLDS), here.collated, here.data, here.group)
    return dict(zip(UNITS, (here, folded), strict=True))


def _explanation(here: Answer, name: str) -> Answer:
    """Answer an experiment with the runs of this group, as far as its contrasts with plain words need it."""
    experiment = find_experiment(name)
    contrasts = tuple(contrast for contrast in experiment.contrasts if contrast.statement)
    needed = {reference for contrast in contrasts for reference in (*contrast.plus, *contrast.minus)}
    conditions = tuple(condition for condition in experiment.conditions if condition.reference in needed)
    parts: dict[str, Any] = {"contrasts": contrasts, "conditions": conditions, "metrics": experiment.metrics[:1]}
    kind = here.experiment.kind  # of verdicts, which are over folds only if they are told to be
    return answer(replace(experiment, kind=kind, **parts), here.collated, here.data, here.group)


def sentence(claim: Claim, frame: pd.DataFrame) -> str:
    """Write a claim and its verdicts in one sentence."""
    ends = [
        f"{'on' if on == THESE else 'for'} {on} {_shortly(rows, UNITS[on])}" for on, rows in _rows(claim, frame).items()
    ]
    return f"Section {claim.section}, that {claim.statement}: {'; '.join(ends)}."


def finding(claim: Claim, frame: pd.DataFrame) -> Finding:
    """Write a claim and its verdicts in a few words."""
    rows = _rows(claim, frame)
    verdicts = {
        on: (overall([row.verdict for row in each]), _in_few_words(each, UNITS[on])) for on, each in rows.items()
    }
    pairs = zip(*rows.values(), strict=True)
    anchor = next((_anchor(pair[0]) for pair in pairs if {row.verdict for row in pair} != {NOT_RUN}), "")
    return Finding(claim.short or claim.statement, claim.section, anchor, verdicts)


def _rows(claim: Claim, frame: pd.DataFrame) -> dict[str, list[Any]]:
    """The rows of a claim's comparisons, by what their verdicts are on."""
    rows = {(row.better, row.worse, row.metric, row.on): row for row in frame.itertuples()}
    return {on: [rows[*comparison, on] for comparison in claim.comparisons] for on in UNITS}


def explanation_sentence(contrast: Contrast, frame: pd.DataFrame) -> str:
    """Write a contrast in plain words, and its verdicts: for new singers only if folds were run."""
    ends = []
    for row in frame[frame["label"] == contrast.label].itertuples():
        if row.on == THESE or row.verdict != NOT_RUN:
            ends.append(f"{'on' if row.on == THESE else 'for'} {row.on} {_shortly([row], UNITS[row.on])}")
    return f"{contrast.statement} ({contrast.label}): {'; '.join(ends)}."


def _comparisons(experiment: Experiment, family: str) -> list[tuple[str, str, str]]:
    """List each comparison of a family once: better, worse, metric."""
    claims = [claim for claim in experiment.claims if claim.family == family]
    return list(dict.fromkeys(comparison for claim in claims for comparison in claim.comparisons))


def _on_power(experiment: Experiment, frame: pd.DataFrame) -> list[str]:
    """Note the smallest difference that so many seeds find in the first family."""
    family, heading = next(iter(experiment.families.items()))
    comparisons = len(_comparisons(experiment, family))
    seeds = int(frame.loc[frame["on"] == THESE, "units"].max())
    if not seeds or not comparisons:
        return []
    among, least = f"among the {comparisons} comparisons of {heading}", least_seeds(comparisons)
    text = f"Power on these singers {among}: "
    if seeds < least:
        text += f"{_counted(seeds, 'seeds')} cannot support any difference, however large; "
    effect = smallest_effect(max(seeds, least), comparisons)
    text += f"{max(seeds, least)} seeds find a difference of {effect:.1f} standard deviations over seeds with "
    return [f"{text}probability {POWER:g}."]


def _contrast(experiment: Experiment, better: str, worse: str, metric: str) -> Contrast:
    """Make the difference that is positive if a claim is right."""
    first, second = (better, worse) if is_higher_better(metric) else (worse, better)
    rows = {each.reference: each for each in experiment.conditions}
    return Contrast(against(rows[first], rows[second]), (first,), (second,))


def _table(families: Mapping[str, str], frame: pd.DataFrame, **parts: Any) -> Table:
    """Make a table with one line per comparison, grouped by family, and a second line if new singers have a verdict."""
    rows = frame.drop_duplicates(["family", "better", "worse", "metric", "on"])
    groups = []
    for family, heading in families.items():
        lines = [[Cell(heading, is_heading=True), *[Cell()] * (len(HEADER) - 1)]]
        for row in rows[rows["family"] == family].itertuples():
            if row.on == THESE or row.verdict != NOT_RUN:
                names = [Cell(row.label, anchor=_anchor(row)), Cell(row.verdict), Cell(label(row.metric))]
                names = names if row.on == THESE else [Cell(), Cell(row.verdict), Cell()]
                lines.append([*names, Cell(row.on), *_cells(row, UNITS[row.on])])
        groups.append(lines)
    return Table(list(HEADER), groups, words=4, **parts)


def _explanations_table(explanations: Sequence[Answers], frames: Sequence[pd.DataFrame]) -> Table:
    """Make the table of what else could explain the gains, below one sentence per contrast."""
    experiments = [answers[THESE].experiment for answers in explanations]
    lead = [
        explanation_sentence(contrast, frame)
        for experiment, frame in zip(experiments, frames, strict=True)
        for contrast in experiment.contrasts
    ]
    note = EXPLANATIONS_NOTE.format(pages=" and ".join(f"`{each.name}`" for each in experiments))
    families = {experiment.name: experiment.title for experiment in experiments}
    return _table(families, pd.concat(frames), title=EXPLANATIONS, note=note, lead=lead)


def _cells(row: Any, unit: str) -> list[Cell]:
    if row.verdict == NOT_RUN:
        return list(map(Cell, ("0", *[NONE] * 5, "")))
    texts = [
        _counted(row.units, unit),
        shown_change(row.difference, row.deviation),
        shown_change_interval(row.low, row.high),
        _probability(row.p) if row.units > 1 else NONE,
        _probability(row.p_holm) if row.units > 1 else NONE,
        shown_ratio(row.effect),
        _needs(row, unit) if row.verdict == UNDECIDED else "",
    ]
    return list(map(Cell, texts))


def _needs(row: Any, unit: str) -> str:
    if row.seeds < 2 and unit == "folds":
        return "a second seed"
    if pd.isna(row.needed):
        return f"over {MOST:,} {unit}"
    return f"{'at least ' if row.deviation != row.deviation else ''}{row.needed} {unit}"


def _shortly(rows: Sequence[Any], unit: str) -> str:
    """Write the verdict on a claim with the numbers of its only comparison, or with the count of each verdict."""
    verdicts = [row.verdict for row in rows]
    verdict = overall(verdicts)
    if set(verdicts) == {NOT_RUN}:
        return NOT_RUN
    if len(rows) == 1:
        row = rows[0]
        text = f"{shown_change(row.difference, row.deviation)} over {_counted(row.units, unit)}"
        text += f", adjusted p = {row.p_holm:.2g}" if row.units > 1 else ""
    else:
        counts = {each: verdicts.count(each) for each in dict.fromkeys(verdicts)}
        text = ", ".join(f"{count} of {len(rows)} comparisons {each}" for each, count in counts.items())
    if verdict == UNDECIDED:
        undecided = [row for row in rows if row.verdict == UNDECIDED]
        most = max(undecided, key=lambda row: MOST + 1 if pd.isna(row.needed) else row.needed)
        text += f", it would need {_needs(most, unit)}"
    return f"**{verdict if verdict != NOT_RUN else 'not run whole'}** ({text})"


def _in_few_words(rows: Sequence[Any], unit: str) -> str:
    """Write the difference of a claim's only comparison, or how many of its comparisons have each verdict."""
    run = [row for row in rows if row.verdict != NOT_RUN]
    if not run:
        return ""
    if len(rows) == 1:
        return f"{shown_change(run[0].difference)} over {_counted(run[0].units, unit)}"
    verdicts = [row.verdict for row in rows]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
    return f"{counts} of {len(rows)} comparisons"


def _anchor(row: Any) -> str:
    """Name the row of a comparison in a table."""
    return re.sub(r"[^\w.-]+", "-", "-".join([row.artefact, row.family, row.better, row.worse, row.metric]))


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
