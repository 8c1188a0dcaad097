"""Methods with their best value of one number each, as validation singers select it, compared on the test singers.

Every method gets the same number of values, plain training too: otherwise a method gains by its tuning. The test
singers select nothing, so they do not flatter what was selected.
"""

from dataclasses import replace

import pandas as pd

from singtech.config_paths import EXPERIMENTS
from singtech.metrics import heading, is_higher_better
from singtech.results.commands import command_end
from singtech.results.contrasts import contrasts_frame, contrasts_table
from singtech.results.experiments import Contrast, Method, read_experiment
from singtech.results.forest_plot import forest_rows
from singtech.results.groups import conditions_in
from singtech.results.pages import NONE, Page, Table, shown, shown_interval
from singtech.results.selections import OTHER_SINGERS
from singtech.results.summaries import Answer


def tuning_page(answer: Answer) -> Page:
    """The page of a tuning. Its frame has one row per condition and metric, then one per difference and metric."""
    experiment = answer.experiment
    if not experiment.conditions:
        return answer.page(lead=[OTHER_SINGERS], missing=[], sweep="")
    selected = select(answer)
    plain, *others = experiment.methods
    sides = {each: (selected[each.name], selected[plain.name]) for each in others}
    contrasts = tuple(
        Contrast(f"{each.name} against {plain.name}", *(((rows[0],), (rows[1],)) if all(rows) else ((), ())))
        for each, rows in sides.items()
    )
    tested = replace(experiment, metrics=experiment.metrics[1:], contrasts=contrasts)
    changes = contrasts_frame(replace(answer, experiment=tested))
    tried = pd.DataFrame(
        [
            (row, each.name, value, row == selected[each.name])
            for each in experiment.methods
            for row, value in zip(each.rows, each.values, strict=True)
        ],
        columns=["condition", "method", "value", "is_selected"],
    )
    frame = answer.frame.merge(tried, on="condition", how="left")
    return answer.page(
        frame=pd.concat([frame, changes.assign(data=answer.data, artefact=experiment.name)]),
        tables=[_table(answer, selected), contrasts_table(replace(answer, experiment=tested), changes)],
        comparisons=forest_rows(changes[changes["metric"] == tested.metrics[0]], label="contrast"),
        notes=[*answer.notes.values(), *_at_the_edge(experiment.methods, selected)],
        missing=_missing(answer),
        sweep="",
    )


def select(answer: Answer) -> dict[str, str]:
    """The row with the best mean on the validation singers, by method, over the seeds that all its values have.

    The first of equal ones counts. It is "" before every value of the method was run, for the best of a few is another.
    """
    judge = answer.experiment.metrics[0]
    scores = answer.runs.pivot(index="seed", columns="condition", values=judge) * (1 if is_higher_better(judge) else -1)
    selected = {}
    for method in answer.experiment.methods:
        means = scores.reindex(columns=list(method.rows)).dropna().mean()
        selected[method.name] = "" if means.isna().any() else str(means.idxmax())
    return selected


def _table(answer: Answer, selected: dict[str, str]) -> Table:
    experiment, lines = answer.experiment, []
    judge, *tested = experiment.metrics
    for method in experiment.methods:
        row = selected[method.name]
        line = [method.name, method.setting, ", ".join(method.values)]
        if not row:
            lines.append([*line, NONE, "0", *[NONE] * (1 + 2 * len(tested))])
            continue
        numbers = answer.numbers.loc[row]
        line += [method.values[method.rows.index(row)], str(numbers.loc[judge, "units"])]
        line.append(shown(numbers.loc[judge, "mean"], numbers.loc[judge, "deviation"]))
        for metric in tested:
            of_metric = numbers.loc[metric]
            line += [shown(of_metric["mean"], of_metric["deviation"])]
            line += [shown_interval(of_metric["low"], of_metric["high"])]
        lines.append(line)
    heads = [experiment.header, "setting", "values", "selected", "Seeds", heading(judge)]
    return Table.of([*heads, *(head for metric in tested for head in (heading(metric), "95 %"))], lines, words=4)


def _at_the_edge(methods: tuple[Method, ...], selected: dict[str, str]) -> list[str]:
    """Note the methods whose first or last value was selected."""
    names = [each.name for each in methods if selected[each.name] in (each.rows[0], each.rows[-1])]
    if not names:
        return []
    return [f"Selected at an end of its values, so that one beyond may be better: {'; '.join(names)}."]


def _missing(answer: Answer) -> list[tuple[str, str]]:
    """Each method that lacks a seed of a value, with the sweep that makes it."""
    if not answer.missing:
        return []
    possible = {condition.reference for condition in conditions_in(answer.experiment.conditions, answer.group)}
    cells = set(zip(answer.runs["condition"], answer.runs["seed"], strict=True))
    seeds = sorted(set(answer.runs["seed"])) or [0]
    end = command_end(answer.collated, answer.data, group=answer.group)
    missing = []
    for method in answer.experiment.methods:
        wanted = {(row, seed) for row in method.rows if row in possible for seed in seeds}
        if lacking := len(wanted - cells):
            sweep = f"singtech run -m {method.sweep} seed={','.join(map(str, seeds))}{end}"
            missing.append((f"{method.name}, {lacking} of {len(wanted)} runs", sweep))
    return missing


if __name__ == "__main__":  # for `make tuning`
    print(*(each.sweep for each in read_experiment(EXPERIMENTS / "tuning.yaml").methods), sep="\n")
