"""Conditions: each is one file of `conf/condition`, each ablation one of `conf/ablation`, read here without Hydra.

What a file leaves out has the default of `conf/config.yaml`, or the choice that its model makes. A condition with an
alpha, a strategy or an ablation of its own is written `late_crt_wc@0.5`, `late/joint`, `late_crt_wc+no_hidden`.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from singtech.places import CONF, config_file, config_files
from singtech.results.settings import PAPERS, Settings, hydra_value

GROUPS = ("model", "dc", "strategy")
NOT_SETTINGS = ("label", "alpha", "seed", "defaults", "hydra")
_NAME = "[^@/+]+"
_REFERENCE = re.compile(
    rf"(?P<condition>{_NAME})(/(?P<strategy>{_NAME}))?(@(?P<alpha>{_NAME}))?(\+(?P<ablation>{_NAME}))?"
)


@dataclass(frozen=True)
class Condition:
    """A named setup: a row of a table or a point of a figure.

    Attributes:
        name: of its file in conf/condition; "" of a setup that no file names.
        label: as printed wherever it stands.
        model, dc, strategy, alpha: what decides which runs are of it, together with
        settings: all else that it and its ablation set.
        ablation: the name of its ablation; "" for none.
        ablated: those of its settings that its ablation sets.
        reference: how experiments, claims and paper.csv name it.
        published: its reference without strategy and ablation, by which paper.csv has it.
        series: the label of all its alphas together.
        overrides: how a command asks for it.
        group: what heads the rows of its kind in a long table.
    """

    name: str
    label: str
    model: str
    dc: str
    strategy: str
    alpha: float
    settings: Settings = PAPERS
    ablation: str = ""
    ablated: Settings = PAPERS
    reference: str = ""
    published: str = ""
    series: str = ""
    overrides: str = ""
    group: str = ""

    @property
    def key(self) -> tuple[str, str, str, float]:
        """Model, dc, strategy and alpha."""
        return self.model, self.dc, self.strategy, round(self.alpha, 9)

    @property
    def own(self) -> Settings:
        """Its settings less its ablation's."""
        return self.settings.without(self.ablated)


@dataclass(frozen=True)
class _File:
    """What a configuration file sets: choices of groups, alpha (None if it is not set), and all else."""

    label: str
    groups: Mapping[str, str]
    alpha: float | None
    settings: Mapping[str, object] = field(default_factory=dict)


def read_condition(
    name: str, strategy: str | None = None, alpha: float | None = None, ablation: str = "", group: str = ""
) -> Condition:
    """A condition, by its file's name, with another strategy or alpha, or an ablation, where these are there.

    Raises:
        ValueError: there is no such file, or it is no condition.
    """
    file = _file(f"condition/{name}", f"condition={name}")
    if not file.label:
        raise ValueError(f'{CONF / "condition" / name}.yaml has no label, expected one as in label: "Late, cRT-WC"')
    base = _identity(file)
    own = _differences(file.settings)
    flipped = _file(f"ablation/{ablation}", f"ablation={ablation}") if ablation else _File("", {}, None)
    ablated = _differences({**{g: c for g, c in flipped.groups.items() if g not in GROUPS}, **flipped.settings})
    model, dc, usual = (flipped.groups.get(g, base[g]) for g in GROUPS)
    ours = strategy or usual
    own_alpha = float(base["alpha"])
    usual_alpha = own_alpha if flipped.alpha is None else flipped.alpha
    chosen = usual_alpha if alpha is None else float(alpha)
    is_ablated = bool(ablated.items or flipped.groups or flipped.alpha is not None)
    changed = f"/{ours}" * (ours != usual)
    at = f"@{chosen:g}" * (chosen != usual_alpha)
    series = printed_label(model, dc, ours, own_alpha, own, name)
    label = printed_label(model, dc, ours, own_alpha if chosen == usual_alpha else chosen, own, name)
    asked = [f"condition={name}"]
    asked += [f"strategy={hydra_value(ours)}"] if changed else []
    asked += [f"alpha={chosen}"] if at else []
    asked += [f"ablation={ablation}"] if is_ablated else []
    return Condition(
        name,
        label + (f", {ablation}" if is_ablated else ""),
        model,
        dc,
        ours,
        chosen,
        Settings.of({**own.values, **ablated.values}),
        ablation if is_ablated else "",
        ablated,
        reference=name + changed + at + (f"+{ablation}" if is_ablated else ""),
        published=name + at,
        series=series + (f", {ablation}" if is_ablated else ""),
        overrides=" ".join(asked),
        group=group,
    )


def condition_of(reference: str) -> Condition:
    """The condition that a reference such as late_crt_wc@0.5 names.

    Raises:
        ValueError: it is not understood, or names what is not there.
    """
    parts = _REFERENCE.fullmatch(reference)
    try:
        if parts is None:
            raise ValueError(f"{reference!r:.60}")
        alpha = float(parts["alpha"]) if parts["alpha"] else None
    except ValueError:
        raise ValueError(f"{reference!r:.60} names no condition, expected one as in late_crt_wc@0.5") from None
    return read_condition(parts["condition"], parts["strategy"], alpha, parts["ablation"] or "")


def what_differs(conditions: Sequence[Condition]) -> dict[str, str]:
    """Heads of columns by reference: what conditions differ in, if it is alpha or dc alone, else their labels."""
    if len({(c.model, c.dc, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: f"α = {condition.alpha:g}" for condition in conditions}
    if len({(c.model, c.alpha, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: condition.dc for condition in conditions}
    return {condition.reference: condition.label for condition in conditions}


def setup_of(model: str, dc: str, strategy: str, alpha: float, own: Settings = PAPERS) -> Condition:
    """What runs of this model, dc, strategy and alpha are of, under the label of the condition nearest to it."""
    label = printed_label(model, dc, strategy, alpha, own)
    return Condition("", label, model, dc, strategy, alpha, own, reference=label, series=label)


def printed_label(model: str, dc: str, strategy: str, alpha: float, own: Settings = PAPERS, name: str = "") -> str:
    """The one label of a setup: of the condition that is just this, or that differs from it in strategy or alpha only.

    Args:
        model, dc, strategy, alpha: the setup's.
        own: all else that it sets.
        name: the condition that is preferred among those that are equally near.
    """
    usual = float(_config()["alpha"])
    nearest = []
    for other, theirs, differences in _known(_state()):
        if (theirs["model"], theirs["dc"]) == (model, dc) and differences == own:
            far = (theirs["strategy"] != strategy, not _same(theirs["alpha"], alpha))
            nearest.append((*far, not _same(theirs["alpha"], usual), other != name, other))
    if not nearest:
        network = f"dc={dc}" if model == _default("model") else f"{model}, dc={dc}"
        return f"{network}, {strategy}, α = {alpha:g}"
    is_otherwise_trained, has_another_alpha, *_, other = min(nearest)
    label = _file(f"condition/{other}", f"condition={other}").label
    return label + f", {strategy}" * is_otherwise_trained + f", α = {alpha:g}" * has_another_alpha


def retrains(strategy: str) -> bool:
    """Whether a strategy has a re-training that its settings could change; one that no file describes may have."""
    path = config_file("strategy", strategy)
    return not path.is_file() or "${retraining" in repr(content(path))


@functools.lru_cache(8)
def _known(state: tuple) -> list[tuple[str, dict[str, object], Settings]]:
    """The name, identity and own settings of every condition with a label, for as long as no file changes."""
    names = [path.stem for path in config_files("condition")]
    files = {name: _file(f"condition/{name}", f"condition={name}") for name in names}
    return [(name, _identity(file), _differences(file.settings)) for name, file in files.items() if file.label]


def _state() -> tuple:
    """What tells whether a file of a condition, or one that it rests on, has changed."""
    paths = [CONF / "config.yaml", *config_files("condition"), *config_files("model")]
    return tuple(sorted((str(path), (state := path.stat()).st_mtime_ns, state.st_size) for path in paths))


def _identity(file: _File) -> dict[str, object]:
    """Model, dc, strategy and alpha of a condition: its own, those that its model chooses, the defaults."""
    model = file.groups.get("model", _default("model"))
    path = config_file("model", model)
    chosen = _groups(content(path).get("defaults", ())) if path.is_file() else {}
    groups = {name: file.groups.get(name, chosen.get(name, _default(name))) for name in GROUPS if name != "model"}
    return {"model": model, **groups, "alpha": float(_config()["alpha"]) if file.alpha is None else file.alpha}


def _file(place: str, asked: str) -> _File:
    """A file of conf/condition or conf/ablation.

    Raises:
        ValueError: it is not there, or holds something else.
    """
    path = config_file(*place.split("/"))
    if not path.is_file():
        raise ValueError(f"{path} is not there, which {asked} names")
    said = content(path)
    alpha, label = said.get("alpha"), said.get("label", "")
    if not isinstance(alpha, int | float | None) or isinstance(alpha, bool) or not isinstance(label, str):
        raise ValueError(f"{path}: expected a number as alpha and a text as label")
    groups = _groups(said.get("defaults", ()))
    rest = {name: value for name, value in said.items() if name not in NOT_SETTINGS}
    chosen = {name: choice for name, choice in groups.items() if name not in GROUPS}
    alpha = None if alpha is None else float(alpha)
    return _File(label, {g: groups[g] for g in GROUPS if g in groups}, alpha, chosen | dict(flat(rest)))


def flat(settings: object, prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings by their dotted names."""
    if isinstance(settings, Mapping):
        named = {f"{prefix}.{key}" if prefix else str(key): item for key, item in settings.items()}
        return [pair for name, item in named.items() for pair in flat(item, name)]
    return [(prefix, settings)]


def _differences(settings: Mapping[str, object]) -> Settings:
    """Settings less those that conf/config.yaml has anyway."""
    if not settings:
        return Settings()
    usual = Settings.of(_groups(_config().get("defaults", ())) | dict(flat(_config())))
    return Settings.of({n: v for n, v in settings.items() if not usual.holds(Settings.of({n: v}))})


def _groups(defaults: object) -> dict[str, str]:
    """The choices of a defaults list, by group."""
    entries = [entry for entry in defaults if isinstance(entry, Mapping)] if isinstance(defaults, list) else []
    return {
        str(name).removeprefix("override ").strip().lstrip("/"): choice
        for entry in entries
        for name, choice in entry.items()
    }


def _default(group: str) -> str:
    return str(_groups(_config().get("defaults", ())).get(group, ""))


def _config() -> dict:
    return content(CONF / "config.yaml")


def _same(one: float, other: float) -> bool:
    return round(one, 9) == round(other, 9)


def content(path: Path) -> dict:
    """A YAML file of names and values, read once for as long as it does not change.

    Raises:
        ValueError: it is no YAML that holds names and values.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(512)
def _read(path: Path, *_: int) -> dict:
    import yaml

    try:
        read = _loader()(path.read_text(encoding="utf-8")).get_single_data()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path} holds {type(read).__name__}, expected names and values")
    return read


@functools.cache
def _loader() -> type:
    """YAML as OmegaConf reads it: 1e-3 is a number, a date is a text."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass

    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in Loader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = resolvers
    number = r"[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+"  # YAML 1.1 wants a point before the e and a sign after
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{number}$"), list("-+0123456789."))
    return Loader
