"""Read the definitions of the paper's tables and figures (`experiments/*.yaml`) and its numbers (`paper.csv`)."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singtech.errors import InvalidValue, NotThere
from singtech.places import config_files
from singtech.results.conditions import Condition, condition_of, content, read_condition

COMPARABLE = "vocalset"  # the only corpus that can be compared with the paper
KINDS = ("table", "curve", "layers", "lengths", "confusion", "verdicts", "breakdown", "selection")
REFERENCES = ("chance", "majority")
ROW = ("condition", "strategy", "alpha", "ablation", "group")
_LAST = 99  # position of an experiment that is not in the paper


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that comparisons of conditions can support.

    Attributes:
        family: name of the claims whose comparisons are tested together.
        section: the section of the paper with the sentence.
        statement: the claim as a clause that can follow "that".
        metrics: columns of results.csv to compare.
        pairs: references of the better and the worse condition of each comparison, as in late_crt_wc@0.5.
    """

    family: str
    section: str
    statement: str
    metrics: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @property
    def comparisons(self) -> list[tuple[str, str, str]]:
        """Better condition, worse condition and metric of each comparison."""
        return [(*pair, metric) for pair in self.pairs for metric in self.metrics]


@dataclass(frozen=True)
class Experiment:
    """The conditions that one table or figure compares, in printed order.

    Attributes:
        name: name of its file and artefact, as in table3.
        kind: how it is rendered, one of `KINDS`.
        header: heading of the column of labels.
        metrics: columns of results.csv; `f1_*` and `recall_*` stand for all techniques that are not named before.
            Empty: all metrics of the whole test set.
        published: the artefact of paper.csv whose numbers are printed beside those of the runs.
        references: those of `REFERENCES` that a table shows below its rows.
        baseline: the reference of the row that all others are compared with, paired by seed or fold; "" for none.
        folds: number of cross-validation folds; 0 for the corpus's own split.
        techniques: those that a confusion matrix shows.
        is_transposed: whether metrics are the rows and conditions the columns.
        claims: those that get verdicts.
        families: name of a family of claims -> its printed heading.
        position: its place in the paper's order.
    """

    name: str
    kind: str
    title: str
    caption: str
    header: str
    metrics: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    published: str = ""
    references: tuple[str, ...] = ()
    baseline: str = ""
    folds: int = 0
    techniques: tuple[str, ...] = ()
    is_transposed: bool = False
    claims: tuple[Claim, ...] = ()
    families: dict[str, str] = field(default_factory=dict)
    position: int = _LAST

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidValue(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.kind == "curve" and len(self.metrics) != 1:
            raise InvalidValue(f"a curve draws one metric, here are {len(self.metrics)}")
        if self.kind == "selection" and len(self.metrics) != 2:
            raise InvalidValue(
                f"a selection has a metric on validation and one on test singers, not {len(self.metrics)}"
            )
        if self.kind == "confusion" and len(self.conditions) != 1:
            raise InvalidValue(f"a confusion shows one row, here are {len(self.conditions)}")
        unknown = [name for name in self.references if name not in REFERENCES]
        if unknown:
            raise InvalidValue(f"references name {unknown[0]!r}, expected {' or '.join(REFERENCES)}")
        rows = [condition.reference for condition in self.conditions]
        twice = [reference for reference in rows if rows.count(reference) > 1]
        if twice:
            raise InvalidValue(f"two rows are {twice[0]!r}")
        if self.baseline and self.baseline not in rows:
            raise InvalidValue(f"baseline {self.baseline!r} is no row, there are {', '.join(rows)}")
        strangers = [name for claim in self.claims for pair in claim.pairs for name in pair if name not in rows]
        if strangers:
            raise InvalidValue(f"a claim compares {strangers[0]!r}, which is no row, there are {', '.join(rows)}")
        homeless = [claim.family for claim in self.claims if claim.family not in self.families]
        if homeless:
            raise InvalidValue(f"a claim is of the family {homeless[0]!r}, which families does not name")

    def label(self, reference: str) -> str:
        """The printed label of a row, by its reference."""
        return next((each.label for each in self.conditions if each.reference == reference), reference)


Published = Mapping[tuple[str, str, str], float]  # (artefact, condition as in late_crt_wc@0.5, metric) -> value


def read_experiments(folder: str | os.PathLike | None = None) -> list[Experiment]:
    """Read all experiments of a folder, in the paper's order; those that are not in the paper come last.

    Args:
        folder: None for singtech's and the user's own experiments.
    Raises:
        FileNotFoundError: the folder has none.
        ValueError: a file lacks what an experiment needs.
    """
    paths = config_files("experiments") if folder is None else sorted(Path(folder).glob("*.yaml"))
    if not paths:
        raise NotThere(f"{folder}: no experiments/*.yaml; is singtech installed whole?")
    return sorted(map(read_experiment, paths), key=lambda experiment: (experiment.position, experiment.name))


def read_experiment(path: str | os.PathLike) -> Experiment:
    """Read an experiment. `rows` name its conditions; each of the `series` of a curve names one and several alphas.

    Raises:
        ValueError: the file is not YAML, or lacks what an experiment needs.
    """
    path = Path(path)
    try:
        experiment = content(path)["experiment"]
        kind = _text(experiment["kind"])
        conditions: tuple[Condition, ...] = ()
        if kind == "curve":
            conditions = tuple(
                _condition(entry | {"alpha": a}) for entry in experiment["series"] for a in entry["alpha"]
            )
        elif kind != "lengths":
            conditions = tuple(map(_condition, experiment["rows"]))
        return Experiment(
            path.stem,
            kind,
            **{name: _text(experiment[name]).strip() for name in ("title", "caption", "header")},
            metrics=tuple(map(_text, experiment.get("metrics", ()))),
            conditions=conditions,
            published=_text(experiment.get("published", path.stem)),
            references=tuple(map(_text, experiment.get("references", ()))),
            baseline=_reference(experiment["baseline"]) if experiment.get("baseline") else "",
            folds=int(experiment.get("folds", 0)),
            techniques=tuple(map(_text, experiment.get("techniques", ()))),
            is_transposed=bool(experiment.get("transposed", False)),
            claims=tuple(map(_claim, experiment.get("claims", ()))),
            families=_texts(experiment.get("families", {})),
            position=int(experiment.get("position", _LAST)),
        )
    except KeyError as error:
        raise InvalidValue(f"{path}: an experiment needs {error}, as in table3.yaml.") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidValue(f"{path}: not an experiment as in table3.yaml ({' '.join(str(error).split())}).") from error


def read_published(path: str | os.PathLike) -> dict[tuple[str, str, str], float]:
    """Read the numbers that the paper prints, by artefact, condition as in late_crt_wc@0.5, and metric.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return {
                (line["artefact"], line["condition"], line["metric"]): float(line["value"])
                for line in csv.DictReader(file, strict=True)
            }
    except KeyError as error:
        raise InvalidValue(f"{path}: it has no column {error}; is singtech installed whole?") from error
    except (TypeError, ValueError, csv.Error) as error:
        why = " ".join(str(error).split())[:120]
        raise InvalidValue(f"{path}: not the paper's numbers ({why}); is singtech installed whole?") from error


def _condition(entry: Mapping) -> Condition:
    """Read a row: the name of a condition, and optionally another strategy, another alpha, an ablation or a group."""
    unknown = set(entry) - set(ROW)
    if unknown:
        raise InvalidValue(f"a row sets {min(map(str, unknown))!r}, expected {', '.join(ROW)}")
    words = {name: _text(entry[name]) for name in ("strategy", "ablation", "group") if name in entry}
    alpha = float(entry["alpha"]) if "alpha" in entry else None
    return read_condition(_text(entry["condition"]), alpha=alpha, **words)


def _claim(entry: Mapping) -> Claim:
    words = {name: _text(entry[name]) for name in ("family", "section")}
    pairs = tuple((_reference(better), _reference(worse)) for better, worse in entry["pairs"])
    return Claim(
        **words, statement=_text(entry["says"]), metrics=tuple(map(_text, entry.get("metrics", ["f1"]))), pairs=pairs
    )


def _reference(value: object) -> str:
    """Write a reference as rows have it: late@0.50 is late@0.5."""
    return condition_of(_text(value)).reference


def _text(value: object) -> str:
    """Convert a text or number to text. Other values are refused, because a YAML list may contain itself."""
    if not isinstance(value, str | int | float):
        raise InvalidValue(f"{type(value).__name__} where text belongs")
    return str(value)


def _texts(names: Mapping) -> dict[str, str]:
    return {_text(name): _text(heading) for name, heading in names.items()}
