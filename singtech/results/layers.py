"""Table 1: the layers of each arrangement, which of them are deformable, and their parameters beside the paper's."""

from pathlib import Path
from typing import TYPE_CHECKING

from singtech.results.collate import LAYER, Collated, csv_text
from singtech.results.commands import command, place_of, sweep
from singtech.results.conditions import Condition, what_differs
from singtech.results.experiments import Experiment, Published
from singtech.results.groups import main_group, wanted
from singtech.results.pages import NONE, Line, document, latex_table, pipes, tabular
from singtech.results.rows import VARIANT
from singtech.results.settings import Settings, read_settings
from singtech.results.summaries import Answer, on_group
from singtech.results.tables import write_texts

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "?"  # whether a layer of an arrangement that was not run is deformable
SHAPES = ("model", "front_end", "head", "data")  # groups of settings that decide what a network's layers are
SHORT = Settings.of({"schedule": "smoke"})  # a run of seconds says the layers as well as a whole one


def render_layers(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write Table 1 as `<name>.md`, `.csv` and `.tex` into `folder`; the paths written and the answer."""
    group = main_group(collated, data) if group is None else group
    shape = group if group.is_earlier else group.within(*SHAPES)
    networks = {c.reference: _layers(c, collated.layers, data, shape) for c in experiment.conditions}
    lacking = [condition for condition in experiment.conditions if not len(networks[condition.reference])]
    place = place_of(collated, data, group=shape.joined(SHORT) or shape)
    found = Answer(
        experiment,
        data,
        group=shape,
        missing=() if shape.is_earlier else tuple((c.label, command(c, place, [0])) for c in lacking),
        sweep="" if shape.is_earlier else sweep(experiment, place, [0]),
        made=len(networks) - len(lacking),
        asked=len(networks),
        notes=(
            *on_group(shape),
            "A network's layers come from any of its runs: a schedule, a seed or a strategy changes none.",
        ),
    )
    header, lines = check_marks(found, networks)
    counted, each, total = parameters(found, networks, published)
    parts = [pipes(counted, [*each, *total], left=1)]
    tabulars = [tabular(counted, [each, total] if each else [total], left=1)]
    if lines:
        parts = [pipes(header, lines, left=1), "Parameters, layer by layer:", *parts]
        tabulars = [tabular(header, [lines], left=1), *tabulars]
    texts = {
        "md": document(found, *parts),
        "csv": long_form(found, networks, published),
        "tex": latex_table(found, *tabulars, packages="amssymb,booktabs,graphicx"),
    }
    return write_texts(folder / experiment.name, texts), found


def check_marks(found: Answer, networks: dict[str, "pd.DataFrame"]) -> tuple[Line, list[Line]]:
    """Table 1 as the paper prints it, and what comes out of each layer: header and lines."""
    heads = what_differs(found.experiment.conditions)
    arrangements = [c for c in found.experiment.conditions if c.dc != "none"]
    lines = []
    for number, name, channels, output in _union(networks):
        marks = [_mark(networks[arrangement.reference], number) for arrangement in arrangements]
        lines.append([name, str(channels), output, *marks])
    return [
        found.experiment.header,
        "Ch",
        "Output",
        *(heads[arrangement.reference] for arrangement in arrangements),
    ], lines


def parameters(
    found: Answer, networks: dict[str, "pd.DataFrame"], published: Published
) -> tuple[Line, list[Line], list[Line]]:
    """Header, each layer's parameters, and their sum with the paper's count and, on its corpus, the difference."""
    each = [
        [name, *(_count(network, number) for network in networks.values())] for number, name, *_ in _union(networks)
    ]
    ours = [_total(network) for network in networks.values()]
    paper = [_printed(found, published, condition) for condition in found.experiment.conditions]
    total = [
        ["total, ours", *(NONE if count is None else f"{count:,}" for count in ours)],
        ["total, paper", *(NONE if count is None else f"{count / 1000:.1f}k" for count in paper)],
    ]
    if found.is_comparable:
        total.append(["difference", *map(_thousands, ours, paper)])
    return [found.experiment.header, *what_differs(found.experiment.conditions).values()], each, total


def long_form(found: Answer, networks: dict[str, "pd.DataFrame"], published: Published) -> str:
    """One line a layer of each arrangement, and one for the whole of it with the paper's count."""
    lines = []
    for condition in found.experiment.conditions:
        words = [found.data, found.experiment.name, condition.reference, condition.label, condition.model, condition.dc]
        network = networks[condition.reference]
        lines += [[*words, *layer, ""] for layer in zip(*(network[name] for name in LAYER), strict=True)]
        total, paper = _total(network), _printed(found, published, condition)
        lines.append([*words, "", "total", *[""] * 3, *("" if n is None else int(n) for n in (total, paper))])
    return csv_text(["data", "artefact", "condition", "label", "model", "dc", *LAYER, "paper"], lines)


def _layers(condition: Condition, layers: "pd.DataFrame", data: str, shape: Settings) -> "pd.DataFrame":
    """The layers of a condition's network in a group, from whichever of its runs there is.

    Args:
        shape: those of the group's settings that decide them.
    """
    same = (layers["data"] == data) & (layers["model"] == condition.model) & (layers["dc"] == condition.dc)
    layers, asked = layers[same], wanted(condition, shape)
    said = [read_settings(*texts) for texts in zip(layers["settings"], layers[VARIANT], strict=True)]
    fits = [(settings if settings.is_earlier else settings.within(*SHAPES)) == asked for settings in said]
    layers = layers.loc[fits]
    return layers[layers["settings"] == layers["settings"].min()].sort_values("number").astype({"parameters": int})


def _union(networks: dict[str, "pd.DataFrame"]) -> list[tuple[int, str, int, str]]:
    """Number, name, channels and output of each layer, which the arrangements share."""
    columns = ("number", "layer", "channels", "output")
    lines = [line for network in networks.values() for line in zip(*(network[c] for c in columns), strict=True)]
    return sorted({line[0]: line for line in reversed(lines)}.values())


def _mark(network: "pd.DataFrame", number: int) -> str:
    """A check mark on a deformable layer, as in Table 1 a dash on a layer that never is one."""
    row = network[network["number"] == number]
    if not len(row):
        return UNKNOWN
    if not row["layer"].item().startswith("Conv"):
        return "–"
    return "✓" if row["deformable"].item() == "True" else ""


def _count(network: "pd.DataFrame", number: int) -> str:
    row = network[network["number"] == number]
    return f"{row['parameters'].item():,}" if len(row) else NONE


def _total(network: "pd.DataFrame") -> int | None:
    return int(network["parameters"].sum()) if len(network) else None


def _printed(found: Answer, published: Published, condition: Condition) -> float | None:
    return published.get((found.experiment.published, condition.published, "parameters"))


def _thousands(ours: int | None, paper: float | None) -> str:
    """Ours as the paper would print it, less the paper's."""
    if ours is None or paper is None:
        return NONE
    return f"{(round(ours, -2) - paper) / 1000 + 0.0:+.1f}k"
