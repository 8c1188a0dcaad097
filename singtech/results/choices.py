"""What choosing on the test singers is worth: the choice made again on validation singers, and both scored on the test.

The best of several conditions on the test singers is partly the luckiest there. Its score there overstates what it does
elsewhere; what a choice on other singers scores on the test singers does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.results.collate import Collated, csv_text
from singtech.results.experiments import Experiment, Published
from singtech.results.pages import Line, document, latex_table, pipes, shown, shown_change, shown_interval, tabular
from singtech.results.summaries import Answer, Summary, answer
from singtech.results.tables import write_texts

JUDGED, TESTED = "validation_f1", "f1"


@dataclass(frozen=True)
class Choice:
    """The best condition by its mean on the validation singers, and by its mean on the test singers."""

    on_validation: Summary
    on_test: Summary

    @property
    def optimism(self) -> tuple[float, float | None]:
        """How much more the one that is best on the test singers scores there, and the deviation over the seeds."""
        return self.on_test.change(self.on_validation, TESTED)


def render_choice(
    experiment: Experiment, collated: Collated, published: Published, data: str, folder: Path
) -> tuple[list[Path], Answer]:
    """Write the choice as `<name>.md`, `.csv` and `.tex`; the paths written and the answer."""
    found = answer(experiment, collated, data)
    choice = chosen(found.summaries)
    header, lines = _laid_out(found, choice)
    said = sentence(choice, found)
    page = document(found, said, pipes(header, lines, left=1))
    tex = latex_table(found, tabular(header, [lines], left=1))
    texts = {"md": page, "csv": long_form(found, choice), "tex": tex}
    return write_texts(folder / experiment.name, texts), found


def chosen(summaries: Sequence[Summary]) -> Choice | None:
    """Both choices among the conditions that were run; None before all were, for the best of a few is another."""
    if not summaries or any(s.mean(JUDGED) is None or s.mean(TESTED) is None for s in summaries):
        return None
    on_validation = max(summaries, key=lambda summary: summary.mean(JUDGED))
    on_test = max(summaries, key=lambda summary: (summary.mean(TESTED), summary is on_validation))  # alike: they agree
    return Choice(on_validation, on_test)


def sentence(choice: Choice | None, found: Answer) -> str:
    """The choices and the optimism, in words."""
    if not found.summaries:
        return "This choice names VocalSet's singers; on a corpus of others hold some out with data.split.validation."
    if choice is None:
        return "No choice can be made before every condition was run and scored on the validation singers."
    ours, theirs = choice.on_validation, choice.on_test
    picked = f"Validation singers choose **{ours.condition.label}**, which has an F1 of {ours.mean(TESTED):.3f}"
    if ours is theirs:
        return f"{picked} on the test singers; these would have chosen the same."
    return (
        f"{picked} on the test singers; these would have chosen **{theirs.condition.label}**, with "
        f"{theirs.mean(TESTED):.3f}: choosing on the test singers flatters by {shown(*choice.optimism)}."
    )


def long_form(found: Answer, choice: Choice | None) -> str:
    """One line a condition: both means and deviations, and who chose it."""
    lines = []
    for summary in found.summaries:
        asked = summary.condition
        numbers = [n for by in (JUDGED, TESTED) for n in (summary.mean(by), summary.deviation(by))]
        rounded = ["" if number is None else round(number, 6) for number in [*numbers, *_ends(summary)]]
        words = [found.data, found.experiment.name, asked.label, asked.model, asked.dc, asked.strategy, asked.alpha]
        lines.append([*words, *rounded, len(summary.units), _by(summary, choice)])
    header = ["data", "artefact", "label", "model", "dc", "strategy", "alpha", JUDGED, "validation_deviation", TESTED]
    return csv_text([*header, "deviation", "low", "high", found.units, "chosen_by"], lines)


def _ends(summary: Summary) -> tuple[float | None, float | None]:
    """Of the interval of the mean on the test singers."""
    return summary.interval(TESTED) or (None, None)


def _laid_out(found: Answer, choice: Choice | None) -> tuple[Line, list[Line]]:
    lines = []
    for summary in found.summaries:
        numbers = [shown(summary.mean(by), summary.deviation(by)) for by in (JUDGED, TESTED)]
        lower = None
        if choice is not None:
            lower = summary.mean(TESTED) - choice.on_test.mean(TESTED)
        numbers.append(shown_interval(summary.interval(TESTED)))
        cells = [summary.condition.label, str(len(summary.units)), *numbers, shown_change(lower)]
        lines.append([*cells, _by(summary, choice)])
    metrics = [*found.experiment.metrics.values(), "95 %"]
    return [found.experiment.header, "Seeds", *metrics, "to the best", "chosen by"], lines


def _by(summary: Summary, choice: Choice | None) -> str:
    """Who chose a condition."""
    if choice is None:
        return ""
    voters = {"validation": choice.on_validation, "test": choice.on_test}
    return " and ".join(name for name, picked in voters.items() if picked is summary)
