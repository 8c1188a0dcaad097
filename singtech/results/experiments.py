"""What an artefact of the paper asks for (`experiments/<name>.yaml`), and what the paper prints (`paper.csv`)."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singtech.places import config_files
from singtech.results.conditions import Condition, condition_of, content, read_condition

COMPARABLE = "vocalset"  # the only corpus on which a difference from the paper means something
KINDS = ("table", "curve", "layers", "lengths", "confusion", "verdicts", "breakdown", "selection")
REFERENCES = ("chance", "majority")
ROW = ("condition", "strategy", "alpha", "ablation", "group")
_LAST = 99  # the position of what is not in the paper


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that comparisons of conditions can support or not.

    Attributes:
        family: whose comparisons are tested together.
        section: where the paper says so.
        says: the claim, to follow "that".
        metrics: columns of results.csv in which the differences are taken.
        pairs: references of the claimed better and of the worse, as in late_crt_wc@0.5.
    """

    family: str
    section: str
    says: str
    metrics: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @property
    def comparisons(self) -> list[tuple[str, str, str]]:
        """Better, worse and metric of each."""
        return [(*pair, metric) for pair in self.pairs for metric in self.metrics]


@dataclass(frozen=True)
class Experiment:
    """The conditions that one table or figure compares, in printed order.

    Attributes:
        name: of its file and artefact: table3.
        kind: one of `KINDS`, which says how it is rendered.
        header: over the labels.
        metrics: columns of results.csv; `f1_*` and `recall_*` stand for all techniques not named before, and none at
            all for every metric of the whole test set.
        published: the artefact of paper.csv whose numbers stand beside ours.
        references: which of `REFERENCES` a table shows below its rows.
        baseline: the reference of the row that every other is compared with, seed by seed; "" for none.
        folds: over how many folds of the singers its rows go; 0 is the corpus's own split.
        techniques: those that a confusion is about.
        is_transposed: the metrics are the lines and the conditions the columns.
        claims: those that verdicts are on.
        families: of the claims, by name, and how each is printed.
        position: in the paper's order.
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
            raise ValueError(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.kind == "curve" and len(self.metrics) != 1:
            raise ValueError(f"a curve draws one metric, here are {len(self.metrics)}")
        if self.kind == "selection" and len(self.metrics) != 2:
            raise ValueError(f"a selection has a metric on validation and one on test singers, not {len(self.metrics)}")
        if self.kind == "confusion" and len(self.conditions) != 1:
            raise ValueError(f"a confusion shows one row, here are {len(self.conditions)}")
        unknown = [name for name in self.references if name not in REFERENCES]
        if unknown:
            raise ValueError(f"references name {unknown[0]!r}, expected {' or '.join(REFERENCES)}")
        rows = [condition.reference for condition in self.conditions]
        twice = [reference for reference in rows if rows.count(reference) > 1]
        if twice:
            raise ValueError(f"two rows are {twice[0]!r}")
        if self.baseline and self.baseline not in rows:
            raise ValueError(f"baseline {self.baseline!r} is no row, there are {', '.join(rows)}")
        strangers = [name for claim in self.claims for pair in claim.pairs for name in pair if name not in rows]
        if strangers:
            raise ValueError(f"a claim compares {strangers[0]!r}, which is no row, there are {', '.join(rows)}")
        homeless = [claim.family for claim in self.claims if claim.family not in self.families]
        if homeless:
            raise ValueError(f"a claim is of the family {homeless[0]!r}, which families does not name")

    def label(self, reference: str) -> str:
        """The printed label of a row, by its reference."""
        return next((each.label for each in self.conditions if each.reference == reference), reference)


Published = Mapping[tuple[str, str, str], float]  # (artefact, condition as in late_crt_wc@0.5, metric) -> value


def read_experiments(folder: str | os.PathLike | None = None) -> list[Experiment]:
    """Every experiment of a folder, in the paper's order, what goes beyond it last.

    Without a folder, ours and a person's own.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: a file lacks what an experiment needs.
    """
    paths = config_files("experiments") if folder is None else sorted(Path(folder).glob("*.yaml"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no experiments/*.yaml; is singtech installed whole?")
    return sorted(map(read_experiment, paths), key=lambda experiment: (experiment.position, experiment.name))


def read_experiment(path: str | os.PathLike) -> Experiment:
    """One experiment: `rows` name conditions, and so does each of the `series` of a curve, for several alphas.

    Raises:
        ValueError: the file is no YAML, or lacks what an experiment needs.
    """
    path = Path(path)
    try:
        asked = content(path)["experiment"]
        kind, conditions = _text(asked["kind"]), ()
        if kind == "curve":
            conditions = tuple(_condition(entry | {"alpha": a}) for entry in asked["series"] for a in entry["alpha"])
        elif kind != "lengths":
            conditions = tuple(map(_condition, asked["rows"]))
        return Experiment(
            path.stem,
            kind,
            **{name: _text(asked[name]).strip() for name in ("title", "caption", "header")},
            metrics=tuple(map(_text, asked.get("metrics", ()))),
            conditions=conditions,
            published=_text(asked.get("published", path.stem)),
            references=tuple(map(_text, asked.get("references", ()))),
            baseline=_reference(asked["baseline"]) if asked.get("baseline") else "",
            folds=int(asked.get("folds", 0)),
            techniques=tuple(map(_text, asked.get("techniques", ()))),
            is_transposed=bool(asked.get("transposed", False)),
            claims=tuple(map(_claim, asked.get("claims", ()))),
            families=_texts(asked.get("families", {})),
            position=int(asked.get("position", _LAST)),
        )
    except KeyError as error:
        raise ValueError(f"{path}: an experiment needs {error}, as in table3.yaml.") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: not an experiment as in table3.yaml ({' '.join(str(error).split())}).") from error


def read_published(path: str | os.PathLike) -> dict[tuple[str, str, str], float]:
    """The numbers that the paper prints, by artefact, condition as in late_crt_wc@0.5, and metric.

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
        raise ValueError(f"{path}: it has no column {error}; is singtech installed whole?") from error
    except (TypeError, ValueError, csv.Error) as error:
        why = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: not the paper's numbers ({why}); is singtech installed whole?") from error


def _condition(entry: Mapping) -> Condition:
    """A row: the name of a condition; with it, where it is otherwise, its strategy, its alpha, an ablation; a group."""
    unknown = set(entry) - set(ROW)
    if unknown:
        raise ValueError(f"a row sets {min(map(str, unknown))!r}, expected {', '.join(ROW)}")
    words = {name: _text(entry[name]) for name in ("strategy", "ablation", "group") if name in entry}
    alpha = float(entry["alpha"]) if "alpha" in entry else None
    return read_condition(_text(entry["condition"]), alpha=alpha, **words)


def _claim(entry: Mapping) -> Claim:
    words = {name: _text(entry[name]) for name in ("family", "section", "says")}
    pairs = tuple((_reference(better), _reference(worse)) for better, worse in entry["pairs"])
    return Claim(**words, metrics=tuple(map(_text, entry.get("metrics", ["f1"]))), pairs=pairs)


def _reference(value: object) -> str:
    """A reference in the form that rows have: late@0.50 is late@0.5."""
    return condition_of(_text(value)).reference


def _text(value: object) -> str:
    """A text or number as text; of anything else the text could be endless (YAML's lists may hold themselves)."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} where text belongs")
    return str(value)


def _texts(names: Mapping) -> dict[str, str]:
    return {_text(name): _text(heading) for name, heading in names.items()}
