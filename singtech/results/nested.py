"""Nested cross-validation: select a condition within each fold's training singers, score it on the fold's test singers.

So no score chooses what it judges. Within a fold, each of the other folds validates once.
"""

from collections.abc import Sequence

import pandas as pd

from singtech.metrics import heading, is_higher_better
from singtech.results.conditions import Condition
from singtech.results.intervals import over_folds
from singtech.results.pages import NONE, Page, Table, shown, shown_change, shown_change_interval
from singtech.results.summaries import Answer
from singtech.results.verdicts import judge

NOTE = (
    "Differences are from {first}, paired by fold and seed; intervals and p are Student's over the folds. The table of "
    "candidates is for information: its scores on test singers selected nothing."
)


def nested_page(answer: Answer) -> Page:
    """The page of a nested cross-validation. Its frame has a column more: the folds that selected the condition."""
    scores = scores_by_fold(answer)
    frame = answer.frame.assign(selected_by=answer.frame["condition"].map(lambda name: _folds_of(scores, name)))
    if not len(scores):
        return answer.page(lead=["Nothing is selected before every candidate was run within a fold."], frame=frame)
    first = candidates(answer)[0][0]
    return answer.page(
        lead=[_sentence(answer, scores)],
        tables=[_folds_table(answer, scores), _candidates_table(answer)],
        frame=frame,
        notes=[*answer.notes.values(), NOTE.format(first=first.label)],
    )


def candidates(answer: Answer) -> list[Sequence[Condition]]:
    """The rows of each candidate: trained on all singers of the other folds, then without each inner fold."""
    rows, number = answer.experiment.conditions, answer.experiment.folds
    return [rows[start : start + number] for start in range(0, len(rows), number)]


def scores_by_fold(answer: Answer) -> pd.DataFrame:
    """Select in each fold and seed the candidate with the best mean on its inner folds; the first of equal ones.

    Returns:
        A row for each fold and seed in which every candidate was run: fold, seed, selected (its reference), judge (mean
        on the validation singers), tested (its score on the test singers), first (that of the first candidate).
    """
    judge_name, tested = answer.experiment.metrics
    sign = 1 if is_higher_better(judge_name) else -1
    tables = {name: _by_condition(answer, name) for name in (judge_name, tested)}
    inner = pd.DataFrame(
        {outer.reference: _mean(tables[judge_name], rest) for outer, *rest in candidates(answer)},
        index=tables[judge_name].index,
    )
    outer = tables[tested].reindex(columns=inner.columns)
    is_whole = inner.notna().all(axis=1) & outer.notna().all(axis=1)
    inner, outer = inner[is_whole], outer[is_whole]
    lines = []
    for cell, row in (sign * inner).iterrows():
        name = str(row.idxmax())
        scores = {"judge": inner.at[cell, name], "tested": outer.at[cell, name], "first": outer.loc[cell].iloc[0]}
        lines.append({"fold": cell[0], "seed": cell[1], "selected": name, **scores})
    return pd.DataFrame(lines, columns=["fold", "seed", "selected", "judge", "tested", "first"])


def _by_condition(answer: Answer, metric: str) -> pd.DataFrame:
    """A metric with one row per fold and seed, one column per condition."""
    return answer.runs.pivot(index=["fold", "seed"], columns="condition", values=metric)


def _mean(table: pd.DataFrame, rows: Sequence[Condition]) -> pd.Series:
    """The mean over these conditions; nan where one is missing."""
    return table.reindex(columns=[row.reference for row in rows]).mean(axis=1, skipna=False)


def _sentence(answer: Answer, scores: pd.DataFrame) -> str:
    experiment, metric = answer.experiment, heading(answer.experiment.metrics[1])
    differences = scores.assign(d=scores["tested"] - scores["first"]).pivot(index="fold", columns="seed", values="d")
    (verdict,) = judge([over_folds(differences.to_numpy())], experiment.delta)
    counts = scores["selected"].map(experiment.label).value_counts(sort=True)
    names = ", ".join(f"**{name}** {number} of {len(scores)} times" for name, number in counts.items())
    first = candidates(answer)[0][0].label
    change = f"{shown_change(verdict.difference)} ({shown_change_interval(verdict.low, verdict.high)})"
    return (
        f"Validation singers select {names}. What they select has an {metric} of {scores['tested'].mean():.3f} on the "
        f"test singers, {first} {scores['first'].mean():.3f}: {change}, {verdict.verdict}."
    )


def _folds_table(answer: Answer, scores: pd.DataFrame) -> Table:
    judge_name, tested = answer.experiment.metrics
    first = candidates(answer)[0][0].label
    lines = [
        [
            *(row.fold, str(row.seed), answer.experiment.label(row.selected)),
            *(*map(shown, (row.judge, row.tested, row.first)), shown_change(row.tested - row.first)),
        ]
        for row in scores.itertuples()
    ]
    metric = heading(tested)
    heads = ["Fold", "Seed", "selected", f"{heading(judge_name)}, inner folds", metric, f"{metric} of {first}"]
    return Table.of([*heads, "difference"], lines, title="What each fold selects")


def _candidates_table(answer: Answer) -> Table:
    judge_name, tested = answer.experiment.metrics
    inner, outer = (_by_condition(answer, name) for name in (judge_name, tested))
    (first, *_), *_ = candidates(answer)
    scores = outer.reindex(columns=[own.reference for own, *_ in candidates(answer)])
    comparisons = {
        own.reference: over_folds((scores[own.reference] - scores[first.reference]).unstack("seed").to_numpy())
        for own, *_ in candidates(answer)[1:]
        if (scores[own.reference] - scores[first.reference]).notna().any()
    }
    verdicts = dict(zip(comparisons, judge(list(comparisons.values()), answer.experiment.delta), strict=True))
    lines = []
    for own, *rest in candidates(answer):
        of_inner = _mean(inner, rest).dropna()
        line = [str(len(of_inner)), shown(of_inner.mean()), shown(scores[own.reference].mean())]
        if each := verdicts.get(own.reference):
            p = f"{each.p_holm:.3f}" if each.seeds > 1 else NONE
            line += [shown_change(each.difference), shown_change_interval(each.low, each.high), p]
        else:
            line += [NONE] * 3
        lines.append([own.label, each.verdict if each else NONE, *line])
    scores_heads = [f"{heading(judge_name)}, inner folds", heading(tested)]
    heads = [answer.experiment.header, "verdict", "folds × seeds", *scores_heads, "difference", "95 %", "p, Holm"]
    return Table.of(heads, lines, words=2, title="Candidates")


def _folds_of(scores: pd.DataFrame, name: str) -> str:
    """The folds that selected a condition; in how many seeds, where seeds differ."""
    texts = []
    for fold, cells in scores.groupby("fold"):
        number = int((cells["selected"] == name).sum())
        if number:
            texts.append(str(fold) if number == len(cells) else f"{fold} ({number} of {len(cells)} seeds)")
    return ", ".join(texts)
