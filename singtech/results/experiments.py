"""What an artefact of the paper asks for (`experiments/<name>.yaml`), and what the paper prints (`paper.csv`)."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMPARABLE = "vocalset"  # the only corpus on which a difference from the paper means something


@dataclass(frozen=True)
class Condition:
    """A row of a table or a point of a figure: a model with its dc, strategy and alpha, by the name that is printed."""

    label: str
    model: str
    dc: str
    strategy: str
    alpha: float


@dataclass(frozen=True)
class Experiment:
    """The conditions that one table or figure compares, in printed order."""

    name: str  # table3
    title: str
    caption: str
    header: str  # over the labels
    metrics: dict[str, str]  # column of results.csv -> as printed
    conditions: tuple[Condition, ...]
    is_figure: bool


Published = Mapping[tuple[str, str, float | None, str], float]  # (artefact, label, alpha, metric) -> value


def read_experiments(folder: str | os.PathLike) -> list[Experiment]:
    """Every experiment of a folder, by name.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: a file lacks what an experiment needs.
    """
    paths = sorted(Path(folder).glob("*.yaml"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no experiments/*.yaml; is singtech installed whole?")
    return [read_experiment(path) for path in paths]


def read_experiment(path: str | os.PathLike) -> Experiment:
    """One experiment: `rows` make a table, `series` (each with a list of alphas) a figure.

    Raises:
        ValueError: the file is no YAML, or lacks what an experiment needs.
    """
    import yaml

    path = Path(path)
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))["experiment"]
        is_figure = "series" in asked
        conditions = [
            Condition(entry["label"], entry["model"], entry["dc"], entry["strategy"], float(alpha))
            for entry in asked["series" if is_figure else "rows"]
            for alpha in (entry["alpha"] if is_figure else [entry["alpha"]])
        ]
        if is_figure and len(asked["metrics"]) != 1:
            raise ValueError(f"a figure draws one metric, here are {len(asked['metrics'])}")
        words = {name: str(asked[name]).strip() for name in ("title", "caption", "header")}
        return Experiment(
            path.stem, **words, metrics=dict(asked["metrics"]), conditions=tuple(conditions), is_figure=is_figure
        )
    except KeyError as error:
        raise ValueError(f"{path}: an experiment needs {error}, as in table3.yaml.") from error
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not an experiment as in table3.yaml ({' '.join(str(error).split())}).") from error


def read_published(path: str | os.PathLike) -> dict[tuple[str, str, float | None, str], float]:
    """The numbers that the paper prints, by artefact, label as printed, alpha (None where it has none) and metric."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {
            (line["artefact"], line["label"], float(line["alpha"]) if line["alpha"] else None, line["metric"]): float(
                line["value"]
            )
            for line in csv.DictReader(file)
        }
