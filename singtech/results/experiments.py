"""What an artefact of the paper asks for (`experiments/<name>.yaml`), and what the paper prints (`paper.csv`)."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singtech.places import CONF

COMPARABLE = "vocalset"  # the only corpus on which a difference from the paper means something
KINDS = ("table", "curve", "layers", "lengths", "confusion", "verdicts", "breakdown", "choice")
REFERENCES = ("chance", "majority")
DEFAULTS = {"dc": "late", "strategy": "crt_wc", "alpha": 0.2}  # of conf/config.yaml
_LAST = 99  # the position of what is not in the paper


@dataclass(frozen=True)
class Condition:
    """A row of a table or a point of a figure: a model with its dc, strategy and alpha, by the name that is printed.

    Attributes:
        variant: the settings that its choice flips, as results.csv spells them; "" for none.
        overrides: how a command asks for it: `condition=late`, `choice=flatten`; "" is by its dc, strategy and alpha.
        group: what heads the rows of its kind in a long table.
    """

    label: str
    model: str
    dc: str
    strategy: str
    alpha: float
    variant: str = ""
    overrides: str = ""
    group: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that comparisons of conditions can support or not.

    Attributes:
        family: whose comparisons are tested together.
        section: where the paper says so.
        says: the claim, to follow "that".
        metrics: columns of results.csv in which the differences are taken.
        pairs: labels of the claimed better and of the worse.
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
        metrics: column of results.csv -> as printed; `f1_*` and `recall_*` stand for all techniques not named before.
        published: the artefact of paper.csv whose numbers stand beside ours, by label.
        references: which of `REFERENCES` a table shows below its rows.
        baseline: the label of the row that every other is compared with, seed by seed; "" for none.
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
    metrics: dict[str, str] = field(default_factory=dict)
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
        if self.kind == "confusion" and len(self.conditions) != 1:
            raise ValueError(f"a confusion shows one row, here are {len(self.conditions)}")
        unknown = [name for name in self.references if name not in REFERENCES]
        if unknown:
            raise ValueError(f"references name {unknown[0]!r}, expected {' or '.join(REFERENCES)}")
        if self.baseline and self.baseline not in [condition.label for condition in self.conditions]:
            raise ValueError(f"baseline {self.baseline!r} is no row's label")
        labels = {condition.label for condition in self.conditions}
        strangers = [label for claim in self.claims for pair in claim.pairs for label in pair if label not in labels]
        if strangers:
            raise ValueError(f"a claim compares {strangers[0]!r}, which is no row's label")
        homeless = [claim.family for claim in self.claims if claim.family not in self.families]
        if homeless:
            raise ValueError(f"a claim is of the family {homeless[0]!r}, which families does not name")


Published = Mapping[tuple[str, str, float | None, str], float]  # (artefact, label, alpha, metric) -> value


def read_experiments(folder: str | os.PathLike) -> list[Experiment]:
    """Every experiment of a folder, in the paper's order, what goes beyond it last.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: a file lacks what an experiment needs.
    """
    paths = sorted(Path(folder).glob("*.yaml"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no experiments/*.yaml; is singtech installed whole?")
    return sorted(map(read_experiment, paths), key=lambda experiment: (experiment.position, experiment.name))


def read_experiment(path: str | os.PathLike) -> Experiment:
    """One experiment: `rows` are conditions, and so is every alpha of each of the `series` of a curve.

    Raises:
        ValueError: the file is no YAML, or lacks what an experiment needs.
    """
    import yaml

    path = Path(path)
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))["experiment"]
        kind, conditions = _text(asked["kind"]), ()
        if kind == "curve":
            conditions = tuple(_condition(entry, alpha) for entry in asked["series"] for alpha in entry["alpha"])
        elif kind != "lengths":
            conditions = tuple(_condition(entry, entry["alpha"]) for entry in asked["rows"])
        return Experiment(
            path.stem,
            kind,
            **{name: _text(asked[name]).strip() for name in ("title", "caption", "header")},
            metrics=_texts(asked["metrics"] if kind in ("table", "curve", "breakdown", "choice") else {}),
            conditions=conditions,
            published=_text(asked.get("published", path.stem)),
            references=tuple(map(_text, asked.get("references", ()))),
            baseline=_text(asked.get("baseline", "")),
            folds=int(asked.get("folds", 0)),
            techniques=tuple(map(_text, asked.get("techniques", ()))),
            is_transposed=bool(asked.get("transposed", False)),
            claims=tuple(map(_claim, asked.get("claims", ()))),
            families=_texts(asked.get("families", {})),
            position=int(asked.get("position", _LAST)),
        )
    except KeyError as error:
        raise ValueError(f"{path}: an experiment needs {error}, as in table3.yaml.") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not an experiment as in table3.yaml ({' '.join(str(error).split())}).") from error


def read_published(path: str | os.PathLike) -> dict[tuple[str, str, float | None, str], float]:
    """The numbers that the paper prints, by artefact, label as printed, alpha (None where it has none) and metric.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return {
                (
                    line["artefact"],
                    line["label"],
                    float(line["alpha"]) if line["alpha"] else None,
                    line["metric"],
                ): float(line["value"])
                for line in csv.DictReader(file, strict=True)
            }
    except KeyError as error:
        raise ValueError(f"{path}: it has no column {error}; is singtech installed whole?") from error
    except (TypeError, ValueError, csv.Error) as error:
        why = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: not the paper's numbers ({why}); is singtech installed whole?") from error


def _condition(entry: Mapping, alpha: object) -> Condition:
    """A row as a condition; `condition` and `choice` are how a command asks for it."""
    return Condition(
        **{name: _text(entry[name]) for name in ("label", "model", "dc", "strategy")},
        alpha=float(alpha),
        variant=_variant(_text(entry["choice"])) if "choice" in entry else "",
        overrides=" ".join(_overrides(entry, float(alpha))),
        group=_text(entry.get("group", "")),
    )


def _overrides(entry: Mapping, alpha: float) -> list[str]:
    """How a command asks for a row that has a name: by its condition, or by its choice and what is not the default."""
    named = [f"{group}={_text(entry[group])}" for group in ("condition", "choice") if group in entry]
    if "condition" in entry or "choice" not in entry:
        return named
    asked = {"dc": _text(entry["dc"]), "strategy": _text(entry["strategy"]), "alpha": alpha}
    set_already = _settings(_text(entry["choice"]))
    return [f"{n}={v}" for n, v in asked.items() if n not in set_already and v != DEFAULTS[n]] + named


def _claim(entry: Mapping) -> Claim:
    words = {name: _text(entry[name]) for name in ("family", "section", "says")}
    pairs = tuple((_text(better), _text(worse)) for better, worse in entry["pairs"])
    return Claim(**words, metrics=tuple(map(_text, entry.get("metrics", ["f1"]))), pairs=pairs)


def _text(value: object) -> str:
    """A text or number as text; of anything else the text could be endless (YAML's lists may hold themselves)."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} where text belongs")
    return str(value)


def _texts(names: Mapping) -> dict[str, str]:
    return {_text(name): _text(heading) for name, heading in names.items()}


def _variant(choice: str) -> str:
    """The settings of `conf/choice/<choice>.yaml`, as the column `variant` spells them: without alpha, by name."""
    settings = _settings(choice)
    settings.pop("alpha", None)
    return " ".join(f"{name}={settings[name]}".replace(" ", "") for name in sorted(settings))


def _settings(choice: str) -> dict[str, object]:
    """What `conf/choice/<choice>.yaml` sets, by dotted names."""
    from omegaconf import OmegaConf

    path = CONF / "choice" / f"{choice}.yaml"
    if not path.is_file():
        raise ValueError(f"{path} is not there, which choice={choice} names")
    return dict(_flat(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))


def _flat(settings: object, prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings by their dotted names."""
    if isinstance(settings, Mapping):
        return [pair for key, item in settings.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, settings)]
