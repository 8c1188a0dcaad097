"""What selecting on the test singers is worth: selected again on validation singers, and both scored on the test.

The best of several conditions on the test singers is partly the luckiest there. Its score there overstates what it does
elsewhere; what is selected on other singers and then scored on the test singers does not.
"""

from dataclasses import dataclass
from pathlib import Path

from singtech.metrics import heading, is_higher_better
from singtech.results.collate import Collated, csv_text
from singtech.results.experiments import Experiment, Published
from singtech.results.pages import Line, document, latex_table, pipes, shown, shown_change, shown_interval, tabular
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, Summary, answer
from singtech.results.tables import write_texts


@dataclass(frozen=True)
class Selection:
    """The best condition by its mean on the validation singers, and by its mean on the test singers."""

    on_validation: Summary
    on_test: Summary

    def optimism(self, tested: str) -> tuple[float, float | None]:
        """How much better the one that is best on the test singers scores there, and the deviation over the seeds."""
        mean, deviation = self.on_test.change(self.on_validation, tested)
        return (mean if is_higher_better(tested) else -mean), deviation


def render_selection(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write the selection as `<name>.md`, `.csv` and `.tex`; the paths written and the answer."""
    found = answer(experiment, collated, data, group)
    selection = select(found)
    header, lines = _laid_out(found, selection)
    page = document(found, sentence(selection, found), pipes(header, lines, left=1))
    tex = latex_table(found, tabular(header, [lines], left=1))
    texts = {"md": page, "csv": long_form(found, selection), "tex": tex}
    return write_texts(folder / experiment.name, texts), found


def select(found: Answer) -> Selection | None:
    """Both selections among the conditions that were run; None before all were, for the best of a few is another."""
    judged, tested = found.experiment.metrics
    summaries = found.summaries
    if not summaries or any(s.mean(judged) is None or s.mean(tested) is None for s in summaries):
        return None
    sign = 1 if is_higher_better(tested) else -1
    on_validation = max(summaries, key=lambda summary: sign * summary.mean(judged))
    # of those that are alike the same, so that both agree
    on_test = max(summaries, key=lambda summary: (sign * summary.mean(tested), summary is on_validation))
    return Selection(on_validation, on_test)


def sentence(selection: Selection | None, found: Answer) -> str:
    """Both selections and the optimism, in words."""
    if not found.summaries:
        return "This ablation names VocalSet's singers; on a corpus of others hold some out with data.split.validation."
    if selection is None:
        return "Nothing can be selected before every condition was run and scored on the validation singers."
    _, tested = found.experiment.metrics
    ours, theirs = selection.on_validation, selection.on_test
    picked = f"Validation singers select **{ours.condition.label}**, which has an {heading(tested)} of "
    picked += f"{ours.mean(tested):.3f} on the test singers"
    if ours is theirs:
        return f"{picked}; these would have selected the same."
    return (
        f"{picked}; these would have selected **{theirs.condition.label}**, with {theirs.mean(tested):.3f}: selecting "
        f"on the test singers flatters by {shown(*selection.optimism(tested))}."
    )


def long_form(found: Answer, selection: Selection | None) -> str:
    """One line a condition: both means and deviations, and who selected it."""
    judged, tested = found.experiment.metrics
    lines = []
    for summary in found.summaries:
        asked = summary.condition
        numbers = [n for by in (judged, tested) for n in (summary.mean(by), summary.deviation(by))]
        numbers += summary.interval(tested) or (None, None)
        rounded = ["" if number is None else round(number, 6) for number in numbers]
        words = [found.data, found.experiment.name, asked.reference, asked.label, asked.model, asked.dc, asked.strategy]
        lines.append([*words, asked.alpha, *rounded, len(summary.units), _by(summary, selection)])
    header = ["data", "artefact", "condition", "label", "model", "dc", "strategy", "alpha", judged]
    header += ["validation_deviation", tested, "deviation", "low", "high", found.units, "selected_by"]
    return csv_text(header, lines)


def _laid_out(found: Answer, selection: Selection | None) -> tuple[Line, list[Line]]:
    judged, tested = found.experiment.metrics
    lines = []
    for summary in found.summaries:
        numbers = [shown(summary.mean(by), summary.deviation(by)) for by in (judged, tested)]
        lower = None
        if selection is not None:
            lower = summary.mean(tested) - selection.on_test.mean(tested)
        numbers.append(shown_interval(summary.interval(tested)))
        cells = [summary.condition.label, str(len(summary.units)), *numbers, shown_change(lower)]
        lines.append([*cells, _by(summary, selection)])
    names = [heading(judged), f"{heading(tested)} on test singers", "95 %"]
    return [found.experiment.header, "Seeds", *names, "to the best", "selected by"], lines


def _by(summary: Summary, selection: Selection | None) -> str:
    """Who selected a condition."""
    if selection is None:
        return ""
    voters = {"validation": selection.on_validation, "test": selection.on_test}
    return " and ".join(name for name, picked in voters.items() if picked is summary)
