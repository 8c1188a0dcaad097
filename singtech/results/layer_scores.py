"""The score of each layer of frozen encoders, as a figure and a table with a layer a row."""

from matplotlib.figure import Figure

from singtech.metrics import label
from singtech.results.conditions import Condition
from singtech.results.figures import TWO_COLUMNS, blank, entitle, plot, print_style, without_runs
from singtech.results.long_tail import STYLES, name_of
from singtech.results.pages import Page, Table, shown, shown_interval
from singtech.results.summaries import Answer

APART = 0.08  # between encoders at a layer


def layer_scores_page(answer: Answer) -> Page:
    """The page of the layers of encoders. Its frame has the number of the layer too."""
    numbers = {row.reference: layer_of(row) for row in answer.experiment.conditions}
    frame = answer.frame.assign(layer=answer.frame["condition"].map(numbers))
    return answer.page(frame=frame, tables=[_table(answer)], figure=draw(answer))


def layer_of(row: Condition) -> int:
    """The layer that a row sets."""
    return int(str(row.own.values["model.layer"]))


def encoders_of(answer: Answer) -> dict[str, list[Condition]]:
    """The rows of each encoder, by its label, a layer each."""
    encoders: dict[str, list[Condition]] = {}
    for row in answer.experiment.conditions:
        encoders.setdefault(name_of(row), []).append(row)
    return encoders


@print_style()
def draw(answer: Answer) -> Figure:
    """The figure: the score of each encoder over its layers, with 95 % intervals."""
    (metric,) = answer.experiment.metrics
    scores = answer.numbers.xs(metric, level="metric")
    if not scores["mean"].notna().any():
        return blank(without_runs(answer))
    figure, axes = plot(TWO_COLUMNS, 2.7)
    for number, (name, rows) in enumerate(encoders_of(answer).items()):
        of_rows = scores.reindex([row.reference for row in rows])
        if not of_rows["mean"].notna().any():
            continue
        colour, mark = STYLES[number % len(STYLES)]
        x = [layer_of(row) + APART * number for row in rows]
        axes.plot(x, of_rows["mean"], f"{mark}-", color=colour, label=name, markersize=4, linewidth=0.9)
        axes.vlines(x, of_rows["low"], of_rows["high"], color=colour, linewidth=0.9, alpha=0.6)
    axes.set(xlabel="layer; 0 is the input of the first transformer layer", ylabel=label(metric))
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    figure.legend(loc="outside right center")
    entitle(figure, answer)
    return figure


def _table(answer: Answer) -> Table:
    """A layer a line; of each encoder its score and the interval."""
    (metric,) = answer.experiment.metrics
    encoders, lines = encoders_of(answer), []
    for rows in zip(*encoders.values(), strict=True):
        line = [str(layer_of(rows[0]))]
        for row in rows:
            score = answer.numbers.loc[(row.reference, metric)]
            line += [shown(score["mean"], score["deviation"]), shown_interval(score["low"], score["high"])]
        lines.append(line)
    return Table.of([answer.experiment.header, *(head for name in encoders for head in (name, "95 %"))], lines)
