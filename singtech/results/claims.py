"""Judge each claim of the paper on its test singers and for new singers, in a sentence and a table."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from singtech.metrics import is_higher_better, label
from singtech.results.experiments import Claim, Experiment
from singtech.results.pages import NONE, Cell, Line, Page, Table, shown_change
from singtech.results.resampling import Draws
from singtech.results.summaries import Answer, answer, paired_differences, progress
from singtech.results.verdicts import MOST, NOT_RUN, UNDECIDED, Verdict, judge, overall

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
UNITS = {"these singers": "seeds", "new singers": "singers"}  # what a verdict is on -> what differences pair by
OF_SUMMARY = ("statistic", "interval", "no interval")  # kinds of notes that do not apply to verdicts
HEADER = ("Comparison", "metric", "on", "pairs", "difference", "95 %", "p", "p, Holm", "d", "verdict", "would need")


def claims_page(here: Answer) -> Page:
    """Make the page of verdicts. Its frame has one row per comparison and ground.

    There are two grounds. On the corpus's test singers, differences are paired by seed. For new singers, they are
    paired by singer over all folds.
    """
    experiment = here.experiment
    folded = answer(replace(experiment, folds=FOLDS), here.collated, here.data, here.group)
    over_singers = functools.partial(by_singer, draws=here.collated.draws)
    frame = verdicts_frame(experiment, {"these singers": (here, by_seed), "new singers": (folded, over_singers)})
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
    experiment: Experiment, answers: dict[str, tuple[Answer, Callable[..., list[float]]]]
) -> "pd.DataFrame":
    """Make a frame with one row per comparison of a claim and ground. The comparisons of a family are tested together.

    A difference is the better condition's score minus the worse one's; of a metric whose lower values are better, the
    worse one's minus the better one's.

    Args:
        answers: ground -> its runs, and a function that returns the differences between the runs of two conditions.
    """
    import pandas as pd

    verdicts: dict[tuple[str, ...], Verdict] = {}
    for family in experiment.families:
        comparisons = _comparisons(experiment, family)
        for ground, (of_ground, differences) in answers.items():
            runs = {c.reference: of_ground.runs_of(c) for c in of_ground.experiment.conditions}
            pairs = [(*_ordered(better, worse, metric), metric) for better, worse, metric in comparisons]
            each = [differences(runs[a], runs[b], metric) if a in runs and b in runs else [] for a, b, metric in pairs]
            verdicts |= {(*key, ground): each for key, each in zip(comparisons, judge(each), strict=True)}
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


def by_seed(better: "pd.DataFrame", worse: "pd.DataFrame", metric: str) -> list[float]:
    """Subtract scores seed by seed."""
    return paired_differences(better, worse, [metric], "seed")[metric].dropna().tolist()


def by_singer(better: "pd.DataFrame", worse: "pd.DataFrame", metric: str, draws: Draws) -> list[float]:
    """Subtract scores singer by singer, over the folds and seeds that both conditions have; average over seeds.

    A singer's score is over the techniques that the singer sings. Singers without a clip for the metric are left out,
    and so are runs without predictions.

    Args:
        better, worse: runs of two conditions, with fold, seed and run.
    """
    import pandas as pd

    pairs = better.merge(worse, on=["fold", "seed"], suffixes=("", "_worse"))
    runs = zip(pairs["run"], pairs["run_worse"], strict=True)
    differences = [singer_scores(a, metric, draws) - singer_scores(b, metric, draws) for a, b in runs]
    return pd.concat(differences).dropna().groupby(level=0).mean().tolist() if differences else []


def singer_scores(run: str, metric: str, draws: Draws) -> "pd.Series":
    """Compute the score of each test singer of a run; nan for a singer without a clip for the metric."""
    import pandas as pd

    predictions = draws.predictions(run)
    if predictions is None:
        return pd.Series(dtype=float)
    singers = sorted(predictions.clips["singer"].unique())
    each = np.stack([(predictions.clips["singer"] == singer).to_numpy() for singer in singers])
    scores = predictions.scores(each.astype(np.float32)).get(metric, np.full(len(singers), np.nan))
    return pd.Series(scores, singers)


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
        NONE if row.low != row.low else f"{row.low:+.3f} to {row.high:+.3f}",
        _probability(row.p),
        _probability(row.p_holm),
        NONE if row.effect != row.effect else f"{row.effect:+.2f}",
        row.verdict,
        _needs(row, unit) if row.verdict == UNDECIDED else "",
    ]
    return list(map(Cell, texts))


def _needs(row: Any, unit: str) -> str:
    import pandas as pd

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
