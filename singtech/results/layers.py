"""Make Table 1: each arrangement's layers, which of them are deformable, and their parameters beside the paper's."""

import pandas as pd

from singtech.results.collate import LAYER
from singtech.results.commands import command, command_end, sweep
from singtech.results.conditions import Condition, column_heads
from singtech.results.experiments import PAPER_CORPUS, Experiment
from singtech.results.groups import expected_settings
from singtech.results.pages import NONE, Page, Table
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, on_group, progress, settings_of

SHAPES = ("model", "front_end", "head", "data")  # groups of settings that change a network's layers
SHORT = Settings.of({"schedule": "smoke"})  # takes seconds and has the same layers
ANY_RUN = "A network's layers come from any of its runs: a schedule, a seed or a strategy changes none."


def layers_page(answer: Answer) -> Page:
    """Make the page of Table 1. Its frame has one row per layer of each arrangement, and one for the total."""
    experiment, collated, data = answer.experiment, answer.collated, answer.data
    shape = answer.group if answer.group.is_legacy else answer.group.only_groups(*SHAPES)
    frame = layers_frame(answer, shape)
    known = set(frame.loc[frame["number"].notna(), "condition"])
    lacking = [condition for condition in experiment.conditions if condition.reference not in known]
    end = command_end(collated, data, group=shape.join(SHORT) or shape)
    missing = [] if shape.is_legacy else [(c.label, command(c, end, [0])) for c in lacking]
    return answer.page(
        frame=frame,
        tables=[*check_marks(experiment, frame), parameters(experiment, frame, data)],
        notes=[*on_group(shape).values(), ANY_RUN],
        missing=missing,
        sweep=sweep(experiment, end, [0]) if missing else "",
        progress=progress(len(known), len(experiment.conditions), missing),
    )


def layers_frame(answer: Answer, shape: Settings) -> pd.DataFrame:
    """Make a frame with one row per layer of each arrangement, and one for the total with the paper's count.

    Args:
        shape: the settings of a group that change the layers.
    """
    tables = []
    for condition in answer.experiment.conditions:
        network = _network(condition, answer.collated.layers, answer.data, shape)
        total = network["parameters"].sum() if len(network) else None
        paper = answer.paper(condition, "parameters")
        table = pd.concat([network, pd.DataFrame([{"layer": "total", "parameters": total, "paper": paper}])])
        words = {name: getattr(condition, name) for name in ("label", "model", "dc")}
        tables.append(table.assign(condition=condition.reference, **words))
    columns = ["data", "artefact", "condition", "label", "model", "dc", *LAYER, "paper"]
    frame = pd.concat(tables).assign(data=answer.data, artefact=answer.experiment.name).reindex(columns=columns)
    return frame.astype(dict.fromkeys(("number", "channels", "parameters", "paper"), "Int64"))


def check_marks(experiment: Experiment, frame: pd.DataFrame) -> list[Table]:
    """Make Table 1 as the paper prints it, with the output shape of each layer; no table without layers.

    ✓ marks a deformable layer, – a layer that cannot be deformable, ? an arrangement that was not run.
    """
    heads = column_heads(experiment.conditions)
    arrangements = [condition.reference for condition in experiment.conditions if condition.dc != "none"]
    layers = frame.dropna(subset="number")
    marks = layers["deformable"].map({"True": "✓", "False": ""}).where(layers["layer"].str.startswith("Conv"), "–")
    marks = _by_arrangement(layers.assign(mark=marks), "mark", arrangements).astype(object).fillna("?")
    lines = [
        [layer.layer, str(layer.channels), layer.output, *marks.loc[layer.number]]
        for layer in _layers(frame).itertuples()
    ]
    header = [experiment.header, "Ch", "Output", *(heads[name] for name in arrangements)]
    return [Table.of(header, lines)] if lines else []


def parameters(experiment: Experiment, frame: pd.DataFrame, data: str) -> Table:
    """Make the table of parameters: each layer, the total, the paper's total and, on its corpus, the difference."""
    heads = column_heads(experiment.conditions)
    counts = _by_arrangement(frame.dropna(subset="number"), "parameters", list(heads)).astype(float)
    each = [[layer.layer, *map(_count, counts.loc[layer.number])] for layer in _layers(frame).itertuples()]
    total = frame.loc[frame["number"].isna(), ["parameters", "paper"]].astype(float)
    paper = (_count(count / 1000, "{:.1f}k") for count in total["paper"])
    sums = [["total, ours", *map(_count, total["parameters"])], ["total, paper", *paper]]
    if data == PAPER_CORPUS:
        differences = (total["parameters"].round(-2) - total["paper"]) / 1000  # rounded as the paper prints it
        sums.append(["difference", *(_count(difference, "{:+z.1f}k") for difference in differences)])
    header, groups = [experiment.header, *heads.values()], [lines for lines in (each, sums) if lines]
    return Table.of(header, *groups, title="Parameters, layer by layer" if each else "")


def _network(condition: Condition, layers: pd.DataFrame, data: str, shape: Settings) -> pd.DataFrame:
    """Read the layers of a condition's network in a group from one of its runs; no row without a run."""
    layers = layers[(layers[["data", "model", "dc"]] == [data, condition.model, condition.dc]).all(axis=1)]
    expected = expected_settings(condition, shape)
    own = [settings if settings.is_legacy else settings.only_groups(*SHAPES) for settings in settings_of(layers)]
    layers = layers.loc[[settings == expected for settings in own]]
    layers = layers[layers["settings"] == layers["settings"].min()]
    return layers[list(LAYER)].sort_values("number").astype({"parameters": int})


def _layers(frame: pd.DataFrame) -> pd.DataFrame:
    """The layers that all arrangements share: number, name, channels and output of each."""
    return frame.dropna(subset="number").drop_duplicates("number").sort_values("number")


def _by_arrangement(layers: pd.DataFrame, column: str, references: list[str]) -> pd.DataFrame:
    """Reshape a column: one row per layer number, one column per arrangement."""
    return layers.pivot(index="number", columns="condition", values=column).reindex(columns=references)


def _count(number: float, form: str = "{:,.0f}") -> str:
    return NONE if number != number else form.format(number)
