"""Judge each claim of the paper on its test singers and for new singers, in a sentence and a table."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from singtech.metrics import is_higher_better, label
from singtech.results.experiments import Claim, Experiment
from singtech.results.intervals import UNDECIDED
from singtech.results.pages import NONE, Cell, Line, Page, Table, shown_change, shown_change_interval
from singtech.results.summaries import FOLDS, Answer, answer, paired_differences, progress
from singtech.results.verdicts import MOST, NOT_RUN, Comparison, Verdict, by_fold, by_seed, judge, overall

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"these singers": "seeds", "new singers": "folds"}  # what a verdict is on -> what differences pair by
OF_SUMMARY = ("statistic", "interval", "no interval")  # kinds of notes that do not apply to verdicts
HEADER = ("Comparison", "metric", "on", "pairs", "difference", "95 %", "p", "p, Holm", "d", "verdict", "would need")


def claims_page(here: Answer) -> Page:
    """Make the page of verdicts. Its frame has one row per comparison and ground.

    There are two grounds. On the corpus's test singers, differences are paired by seed. For new singers, they are
    paired by fold.
    """
    experiment = here.experiment
    folded = answer(replace(experiment, folds=FOLDS), here.collated, here.data, here.group)
    frame = verdicts_frame(experiment, {"these singers": (here, over_seeds), "new singers": (folded, over_folds)})
    missing = list(here.missing)
    if folded.missing:
        missing.append(("for new singers, what is not about other α, all at once", folded.sweep))
        missing += [(f"for new singers: {what}", command) for what, command in folded.missing]
    runs, left_out = [*here.runs["run"], *folded.runs["run"]], here.left_out + folded.left_out
    return here.page(
        frame=frame,
        lead=[sentence(claim, frame) for claim in experiment.claims],
        tables=[_table(experiment, frame)],
        notes=[note for kind, note in here.notes.items() if kind not in OF_SUMMARY],
        missing=missing,
        sweep="",
        runs=runs,
        progress=progress(len(runs), here.expected + folded.expected, missing, left_out),
    )


def verdicts_frame(
    experiment: Experiment, answers: dict[str, tuple[Answer, Callable[..., Comparison]]]
) -> "pd.DataFrame":
    """Make a frame with one row per comparison of a claim and ground. The comparisons of a family are tested together.

    A difference is the better condition's score minus the worse one's; of a metric whose lower values are better, the
    worse one's minus the better one's.

    Args:
        answers: ground -> its runs, and a function that compares the runs of two conditions.
    """
    import pandas as pd

    verdicts: dict[tuple[str, ...], Verdict] = {}
    for family in experiment.families:
        comparisons = _comparisons(experiment, family)
        for ground, (of_ground, compare) in answers.items():
            runs = {c.reference: of_ground.runs_of(c) for c in of_ground.experiment.conditions}
            pairs = [(*_ordered(better, worse, metric), metric) for better, worse, metric in comparisons]
            each = [
                compare(runs[a], runs[b], metric) if a in runs and b in runs else by_seed([]) for a, b, metric in pairs
            ]
            of_family = judge(each, experiment.delta)
            verdicts |= {(*key, ground): each for key, each in zip(comparisons, of_family, strict=True)}
    data = next(iter(answers.values()))[0].data
    rows = [
        {
            **{"data": data, "artefact": experiment.name, "family": claim.family, "section": claim.section},
            **{"better": better, "worse": worse, "metric": metric, "on": ground},
            **asdict(verdicts[better, worse, metric, ground]),
        }
        for claim in experiment.claims
        for better, worse, metric in claim.comparisons
        for ground in answers
    ]
    return pd.DataFrame(rows).astype({"needed": "Int64"})


def over_seeds(better: "pd.DataFrame", worse: "pd.DataFrame", metric: str) -> Comparison:
    """Compare the runs of two conditions seed by seed."""
    return by_seed(paired_differences(better, worse, [metric])[metric].dropna().tolist())


def over_folds(better: "pd.DataFrame", worse: "pd.DataFrame", metric: str) -> Comparison:
    """Compare the runs of two conditions fold by fold."""
    return by_fold(paired_differences(better, worse, [metric])[metric].unstack("seed").to_numpy())


def sentence(claim: Claim, frame: "pd.DataFrame") -> str:
    """Write a claim and its verdicts in one sentence."""
    rows = {(row.better, row.worse, row.metric, row.on): row for row in frame.itertuples()}
    ends = []
    for ground, unit in UNITS.items():
        of_claim = [rows[(*comparison, ground)] for comparison in claim.comparisons]
        ends.append(f"{'on' if unit == 'seeds' else 'for'} {ground} {_shortly(of_claim, unit)}")
    return f"Section {claim.section}, that {claim.statement}: {'; '.join(ends)}."


def _comparisons(experiment: Experiment, family: str) -> list[tuple[str, str, str]]:
    """List each comparison of a family once: better, worse, metric."""
    claims = [claim for claim in experiment.claims if claim.family == family]
    return list(dict.fromkeys(comparison for claim in claims for comparison in claim.comparisons))


def _ordered(better: str, worse: str, metric: str) -> tuple[str, str]:
    """Order two conditions: the second one's score is subtracted from the first one's."""
    return (better, worse) if is_higher_better(metric) else (worse, better)


def _table(experiment: Experiment, frame: "pd.DataFrame") -> Table:
    """Make a table with one line per comparison, grouped by family, and a second line if new singers have a verdict."""
    rows = frame.drop_duplicates(["family", "better", "worse", "metric", "on"])
    groups = []
    for family, heading in experiment.families.items():
        lines = [[Cell(heading, is_heading=True), *[Cell()] * (len(HEADER) - 1)]]
        for row in rows[rows["family"] == family].itertuples():
            is_first = row.on == next(iter(UNITS))
            if is_first or row.verdict != NOT_RUN:
                first, second = map(experiment.label, _ordered(row.better, row.worse, row.metric))
                words = [f"{first} − {second}", label(row.metric)] if is_first else ["", ""]
                lines.append([*map(Cell, [*words, row.on]), *_cells(row, UNITS[row.on])])
        groups.append(lines)
    return Table(list(HEADER), groups, words=3)


def _cells(row: Any, unit: str) -> Line:
    if row.verdict == NOT_RUN:
        return list(map(Cell, ("0", *[NONE] * 5, row.verdict, "")))
    texts = [
        _counted(row.units, unit),
        shown_change(row.difference, row.deviation),
        shown_change_interval(row.low, row.high),
        _probability(row.p),
        _probability(row.p_holm),
        NONE if row.effect != row.effect else f"{row.effect:+.2f}",
        row.verdict,
        _needs(row, unit) if row.verdict == UNDECIDED else "",
    ]
    return list(map(Cell, texts))


def _needs(row: Any, unit: str) -> str:
    import pandas as pd

    if row.seeds < 2 and unit == "folds":
        return "a second seed"
    if pd.isna(row.needed):
        return f"over {MOST:,} {unit}"
    return f"{'at least ' if row.deviation != row.deviation else ''}{row.needed} {unit}"


def _shortly(rows: Sequence[Any], unit: str) -> str:
    """Write the verdict on a claim with the numbers of its only comparison, or with the count of each verdict."""
    import pandas as pd

    verdicts = [row.verdict for row in rows]
    verdict = overall(verdicts)
    if set(verdicts) == {NOT_RUN}:
        return NOT_RUN
    if len(rows) == 1:
        row = rows[0]
        text = f"{shown_change(row.difference, row.deviation)} over {_counted(row.units, unit)}"
        text += f", adjusted p = {row.p_holm:.2g}"
    else:
        counts = {each: verdicts.count(each) for each in dict.fromkeys(verdicts)}
        text = ", ".join(f"{count} of {len(rows)} comparisons {each}" for each, count in counts.items())
    if verdict == UNDECIDED:
        undecided = [row for row in rows if row.verdict == UNDECIDED]
        most = max(undecided, key=lambda row: MOST + 1 if pd.isna(row.needed) else row.needed)
        text += f", it would need {_needs(most, unit)}"
    return f"**{verdict if verdict != NOT_RUN else 'not run whole'}** ({text})"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
