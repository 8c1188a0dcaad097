"""What selecting on the test singers is worth: selected again on validation singers, and both scored on the test.

The best of several conditions on the test singers is partly the luckiest there. Its score there overstates what it does
elsewhere; what is selected on other singers and then scored on the test singers does not. How much it overstates is
also estimated from the test singers alone, by selecting on resampled ones.
"""

from dataclasses import dataclass

import numpy as np

from singtech.metrics import heading, is_higher_better
from singtech.results.intervals import NAN, draw_singers, optimism
from singtech.results.pages import Page, Table, shown, shown_change, shown_interval
from singtech.results.summaries import Answer, paired_differences

RESAMPLES = 500
OTHER_SINGERS = (
    "This ablation names VocalSet's singers; on a corpus of others hold some out with data.split.validation."
)


@dataclass(frozen=True)
class Selection:
    """The best condition by its mean on the validation singers, and by its mean on the test singers.

    Attributes:
        on_validation, on_test: their references.
        optimism, deviation: how much better the one that is best on the test singers scores there, over the seeds.
        resampled: how much selecting on the test singers flatters at least, by resampling them; nan if not known.
    """

    on_validation: str
    on_test: str
    optimism: float
    deviation: float
    resampled: float

    def by(self, condition: str) -> str:
        """Who selected a condition: validation, test, or both."""
        selected = {"validation": self.on_validation, "test": self.on_test}
        return " and ".join(name for name, reference in selected.items() if reference == condition)


def selection_page(answer: Answer) -> Page:
    """The page of a selection; its frame has a column more: who selected each condition."""
    selection = select(answer)
    selected_by = {c.reference: selection.by(c.reference) if selection else "" for c in answer.experiment.conditions}
    frame = answer.frame.assign(selected_by=answer.frame["condition"].map(selected_by))
    return answer.page(lead=[sentence(selection, answer)], tables=[_table(answer, selection, selected_by)], frame=frame)


def select(answer: Answer) -> Selection | None:
    """Both selections among the conditions that were run; None before all were, for the best of a few is another."""
    judged, tested = answer.experiment.metrics
    means = answer.wide("mean")
    if means.empty or means.isna().any(axis=None):
        return None
    sign = 1 if is_higher_better(tested) else -1
    means = (sign * means).assign(reference=means.index)
    on_validation = str(means[judged].idxmax())
    means["agrees"] = means.index == on_validation  # of equal ones the same, so that both agree
    on_test = str(means.sort_values([tested, "agrees"], kind="stable").index[-1])
    members = {c.reference: answer.runs_of(c) for c in answer.experiment.conditions}
    gain = sign * paired_differences(members[on_test], members[on_validation], [tested])[tested]
    gain = gain.groupby(level=answer.experiment.unit).mean()
    return Selection(on_validation, on_test, float(gain.mean()), float(gain.std()), _resampled(answer, tested, sign))


def _resampled(answer: Answer, metric: str, sign: int) -> float:
    """The optimism on resampled test singers; nan where a run's predictions are absent."""
    columns = []
    for condition in answer.experiment.conditions:
        scores = []
        for predictions in map(answer.collated.jackknife.predictions, answer.runs_of(condition)["run"]):
            if predictions is None:
                return NAN
            weights = draw_singers(predictions.clips["singer"], RESAMPLES)
            weights = np.concatenate([np.ones_like(weights[:1]), weights])
            scores.append(sign * predictions.scores(weights)[metric])
        columns.append(np.mean(scores, axis=0))
    table = np.stack(columns, axis=1)
    return optimism(table[0], table[1:])


def sentence(selection: Selection | None, answer: Answer) -> str:
    """Both selections and the optimism, in words."""
    experiment = answer.experiment
    if not experiment.conditions:
        return OTHER_SINGERS
    if selection is None:
        return "Nothing can be selected before every condition was run and scored on the validation singers."
    tested, mean = experiment.metrics[1], answer.wide("mean")[experiment.metrics[1]]
    on_validation, on_test = selection.on_validation, selection.on_test
    selected = f"Validation singers select **{experiment.label(on_validation)}**, which has an {heading(tested)} of "
    selected += f"{mean[on_validation]:.3f} on the test singers"
    resampled = ""
    if selection.resampled == selection.resampled:
        resampled = f" On resampled test singers, selecting flatters by {selection.resampled:.3f} at least."
    if on_validation == on_test:
        return f"{selected}; these would have selected the same.{resampled}"
    return (
        f"{selected}; these would have selected **{experiment.label(on_test)}**, with {mean[on_test]:.3f}: selecting "
        f"on the test singers flatters by {shown(selection.optimism, selection.deviation)}.{resampled}"
    )


def _table(answer: Answer, selection: Selection | None, selected_by: dict[str, str]) -> Table:
    judged, tested = answer.experiment.metrics
    lines = []
    for condition in answer.experiment.conditions:
        validation, test = (answer.numbers.loc[(condition.reference, metric)] for metric in (judged, tested))
        lower = test["mean"] - answer.wide("mean").at[selection.on_test, tested] if selection else None
        numbers = [shown(by["mean"], by["deviation"]) for by in (validation, test)]
        numbers += [shown_interval(test["low"], test["high"]), shown_change(lower)]
        lines.append([condition.label, str(test["units"]), *numbers, selected_by[condition.reference]])
    names = [heading(judged), f"{heading(tested)} on test singers", "95 %"]
    return Table.of([answer.experiment.header, "Seeds", *names, "to the best", "selected by"], lines)
