"""Read the definitions of the paper's tables and figures (`experiments/*.yaml`) and its numbers (`paper.csv`)."""

import csv
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singtech.config_paths import list_config_files
from singtech.errors import InvalidValue
from singtech.results.conditions import Condition, read_condition, read_yaml
from singtech.results.intervals import DELTA
from singtech.results.settings import hydra_value

PAPER_CORPUS = "vocalset"  # the only corpus that can be compared with the paper
KINDS = "table curve layers lengths confusion verdicts breakdown selection tuning rounding frontier long_tail".split()
KINDS += ["nested", "layer_scores"]
NUMBER_OF_METRICS = {"curve": 1, "long_tail": 1, "layer_scores": 1}
NUMBER_OF_METRICS |= {"selection": 2, "nested": 2}  # those of validation and of test
REFERENCES = ("chance", "majority")
PARTS = {"paper": "The paper", "beyond": "Beyond it", "statistics": "Statistics"}  # of the report, as printed
UNITS = ("seed", "data.fold", "rounding")  # what a sweep repeats conditions over
ROW_FIELDS = ("condition", "strategy", "alpha", "ablation", "group", "settings")
_FIELDS: dict[str, Callable] = {  # of `Experiment`, as they stand in a file
    **dict.fromkeys(("metrics", "references", "techniques", "explanations"), tuple),
    **{"published": str, "baseline": str, "part": str, "folds": int, "position": int, "delta": float, "families": dict},
}


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that comparisons of conditions can support.

    Attributes:
        family: name of the claims whose comparisons are tested together.
        section: the section of the paper with the sentence.
        statement: the claim as a clause that can follow "that".
        metrics: columns of results.csv to compare.
        pairs: references of the better and the worse condition of each comparison, such as late_crt_wc@0.5.
        short: the claim in a few words; "" for the statement.
    """

    family: str
    section: str
    statement: str
    metrics: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    short: str = ""

    @property
    def comparisons(self) -> list[tuple[str, str, str]]:
        """Better condition, worse condition and metric of each comparison."""
        return [(*pair, metric) for pair in self.pairs for metric in self.metrics]


@dataclass(frozen=True)
class Contrast:
    """The sum of the scores of some conditions, less the sum of the scores of others.

    Attributes:
        label: as printed.
        plus, minus: the conditions to add and to subtract, as in late_crt_wc@0.5.
        statement: the sentence that a positive difference supports; "" for none.
    """

    label: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    statement: str = ""


@dataclass(frozen=True)
class Method:
    """A method of a tuning, and what is tried.

    Attributes:
        name: as printed.
        setting: what is tuned.
        values: the values tried, as printed.
        rows: the references of their conditions.
        sweep: the arguments of `singtech run -m` that run them.
    """

    name: str
    setting: str
    values: tuple[str, ...]
    rows: tuple[str, ...]
    sweep: str


@dataclass(frozen=True)
class Experiment:
    """The conditions that one table or figure compares, in printed order.

    Attributes:
        name: name of its file and artefact, such as table3.
        kind: how it is rendered, one of `KINDS`.
        header: heading of the column of labels.
        metrics: columns of results.csv; `f1_*`, `recall_*` and `auc_*` mean all techniques that are not named before.
            Empty for the usual metrics of the whole test set.
        published: the artefact of paper.csv whose numbers are printed beside those of the runs.
        references: dummy classifiers (chance, majority) to print below the rows.
        baseline: the reference of the row that all others are compared with, paired by seed or fold; "" for none.
        folds: number of cross-validation folds; 0 for the corpus's own split.
        techniques: the techniques that a confusion matrix shows.
        is_transposed: whether metrics are the rows and conditions the columns.
        has_thirds: whether a table shows the recall of techniques with many, medium and few training clips below.
        claims: the claims to judge.
        contrasts: differences that a table shows below its rows, with verdicts.
        methods: the methods of a tuning; the first is what the others are compared with.
        ratios: the imbalance ratios of a long tail, at each of which it has its rows.
        families: name of a family of claims -> its printed heading.
        explanations: names of experiments whose contrasts with a statement are judged beside the claims.
        delta: smallest difference of scores that matters to a claim.
        position: its place in the paper's order.
        part: the part of the report that shows it, one of `PARTS`.
        swept: references of the conditions that `singtech run -m experiments=<name>` runs.
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
    has_thirds: bool = False
    claims: tuple[Claim, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    methods: tuple[Method, ...] = ()
    ratios: tuple[float, ...] = ()
    families: dict[str, str] = field(default_factory=dict)
    explanations: tuple[str, ...] = ()
    delta: float = DELTA
    position: int = 99  # of those that are not in the paper
    part: str = "beyond"
    swept: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        rows = [condition.reference for condition in self.conditions]
        claim_rows = [name for claim in self.claims for pair in claim.pairs for name in pair]
        expected_metrics = NUMBER_OF_METRICS.get(self.kind, len(self.metrics))
        _require([self.kind], KINDS, "kind")
        _require([self.part], list(PARTS), "part")
        _require(self.references, REFERENCES, "references")
        _require([self.baseline] if self.baseline else [], rows, "baseline")
        _require(claim_rows, rows, "claims")
        _require([name for each in self.contrasts for name in each.plus + each.minus], rows, "contrasts")
        _require([claim.family for claim in self.claims], list(self.families), "family")
        if len(self.metrics) != expected_metrics:
            raise InvalidValue(f"a {self.kind} has {expected_metrics} metrics, not {len(self.metrics)}")
        if self.kind == "confusion" and len(rows) != 1:
            raise InvalidValue(f"a confusion has one row, not {len(rows)}")
        if self.kind == "tuning" and not (self.methods and self.metrics):
            raise InvalidValue("a tuning has methods, and metrics, of which the first selects")
        if len(set(rows)) < len(rows):
            raise InvalidValue(f"two rows are the same: {', '.join(rows)}")

    @property
    def unit(self) -> str:
        """The unit over which means are computed: fold or seed."""
        return "fold" if self.folds else "seed"

    @property
    def fold_names(self) -> list[str]:
        """The numbers of the folds as text, as in column `fold` of results.csv; "" is the corpus's own split."""
        return list(map(str, range(self.folds))) or [""]

    def label(self, reference: str) -> str:
        """Find the printed label of a row by its reference."""
        return next((each.label for each in self.conditions if each.reference == reference), reference)


Published = Mapping[tuple[str, str, str], float]  # (artefact, condition such as late_crt_wc@0.5, metric) -> value


def read_experiments() -> list[Experiment]:
    """Read singtech's and the user's own experiments, in the paper's order; others come last.

    Raises:
        ValueError: a file lacks what an experiment needs.
    """
    experiments = map(read_experiment, list_config_files("experiments"))
    return sorted(experiments, key=lambda experiment: (experiment.position, experiment.name))


def find_experiment(name: str) -> Experiment:
    """Read an experiment by its name.

    Raises:
        ValueError: there is none of that name, or its file lacks what an experiment needs.
    """
    paths = {path.stem: path for path in list_config_files("experiments")}
    _require([name], list(paths), "experiments")
    return read_experiment(paths[name])


def read_experiment(path: str | os.PathLike) -> Experiment:
    """Read an experiment. Its `rows` name conditions; each entry of the `series` of a curve names one, and its alphas.
    Each entry of the `methods` of a tuning names one, the setting that it `tunes`, and the `values` tried.

    Raises:
        ValueError: the file is not YAML, or lacks what an experiment needs.
    """
    path = Path(path)
    try:
        file = read_yaml(path)
        experiment = file["experiment"]
        kind = experiment["kind"]
        rows = [] if kind in ("lengths", "curve", "tuning") else experiment["rows"]
        if kind == "curve":
            rows = [entry | {"alpha": alpha} for entry in experiment["series"] for alpha in entry["alpha"]]
        if ratios := tuple(map(float, experiment["ratios"])) if kind == "long_tail" else ():
            rows = _repeat(rows, "data.long_tail", experiment["ratios"])
        if kind == "nested":
            rows = _repeat(rows, "data.inner_fold", (None, *range(1, int(experiment["folds"]))))
        if kind == "layer_scores":
            rows = _repeat(rows, "model.layer", range(int(experiment["layers"])))
        conditions = tuple(map(_condition, rows))
        methods = [_method(entry) for entry in experiment["methods"]] if kind == "tuning" else []
        conditions += tuple(condition for _, tried in methods for condition in tried)
        fields: dict[str, Any] = {name: str(experiment[name]).strip() for name in ("title", "caption", "header")}
        fields |= {name: read(experiment[name]) for name, read in _FIELDS.items() if name in experiment}
        return Experiment(
            name=path.stem,
            kind=kind,
            **{"published": path.stem} | fields,
            conditions=conditions,
            is_transposed=bool(experiment.get("transposed", False)),
            has_thirds=bool(experiment.get("thirds", False)),
            claims=tuple(map(_claim, experiment.get("claims", ()))),
            contrasts=tuple(map(_contrast, experiment.get("contrasts", ()))),
            methods=tuple(method for method, _ in methods),
            ratios=ratios,
            swept=_swept(file.get("hydra", {}).get("sweeper", {}).get("params", {})),
        )
    except KeyError as error:
        raise InvalidValue(f"{path}: an experiment needs {error}, as in table3.yaml.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidValue(f"{path}: not an experiment as in table3.yaml ({' '.join(str(error).split())}).") from error


def read_paper_numbers(path: str | os.PathLike) -> dict[tuple[str, str, str], float]:
    """Read the numbers that the paper prints, by artefact, condition such as late_crt_wc@0.5, and metric."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return {(line["artefact"], line["condition"], line["metric"]): float(line["value"]) for line in lines}


def _require(names: Iterable[str], choices: Sequence[str], field: str) -> None:
    """Raise an error if a name is not among the choices."""
    unknown = [name for name in names if name not in choices]
    if unknown:
        raise InvalidValue(f"{field}: {unknown[0]!r}, expected one of {', '.join(choices)}")


def _swept(params: Mapping[str, Any]) -> frozenset[str]:
    """Find the conditions of a sweep over the product of these parameters; none if they name no condition."""
    import yaml

    values = {name: str(text).split(",") for name, text in params.items() if name not in UNITS}
    references = set()
    for product in itertools.product(*values.values()):
        entry = dict(zip(values, product, strict=True))
        settings = {name: yaml.safe_load(entry.pop(name)) for name in list(entry) if name not in ROW_FIELDS}
        settings = {name: value for name, value in settings.items() if value is not None}
        try:
            references.add(_condition(entry | {"settings": settings}).reference)
        except (ValueError, KeyError):  # of a person's own sweep, which Hydra refuses if it is wrong
            return frozenset()
    return frozenset(references)


def _repeat(rows: Iterable[Mapping], setting: str, values: Sequence) -> list[dict]:
    """Repeat each row with each value of a setting; None leaves the row as it is."""
    settings = [{} if value is None else {setting: value} for value in values]
    return [{**row, "settings": row.get("settings", {}) | each} for row in rows for each in settings]


def _condition(entry: Mapping) -> Condition:
    """Read a row: a condition, optionally with a strategy, an alpha, an ablation, other settings, and a heading."""
    _require(entry, ROW_FIELDS, "a row sets")
    alpha = float(entry["alpha"]) if "alpha" in entry else None
    words = {name: str(entry[name]) for name in ("strategy", "ablation", "group") if name in entry}
    settings = dict(entry.get("settings", {}))
    return read_condition(str(entry["condition"]), alpha=alpha, settings=settings, **words)


def _method(entry: Mapping) -> tuple[Method, list[Condition]]:
    """Read a method of a tuning: the fields of a row, a setting and its values."""
    name, setting, values = str(entry["method"]), str(entry["tunes"]), list(entry["values"])
    row = {field: value for field, value in entry.items() if field not in ("method", "tunes", "values")}
    tried = [_condition(row | ({setting: v} if setting in ROW_FIELDS else {"settings": {setting: v}})) for v in values]
    sweep = " ".join([*(f"{n}={v}" for n, v in row.items()), f"{setting}={','.join(map(hydra_value, values))}"])
    return Method(name, setting, tuple(map(str, values)), tuple(each.reference for each in tried), sweep), tried


def _contrast(entry: Mapping) -> Contrast:
    plus, minus = (tuple(map(str, entry[name])) for name in ("plus", "minus"))
    return Contrast(str(entry["label"]), plus, minus, str(entry.get("says", "")))


def _claim(entry: Mapping) -> Claim:
    pairs = tuple((str(better), str(worse)) for better, worse in entry["pairs"])
    metrics = tuple(entry.get("metrics", ["f1"]))
    family, section, says = (str(entry[name]) for name in ("family", "section", "says"))
    return Claim(family, section, says, metrics, pairs, str(entry.get("short", "")))
