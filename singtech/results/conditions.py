"""Read conditions (`conf/condition/*.yaml`) and ablations (`conf/ablation/*.yaml`) without Hydra.

A setting that a file does not have comes from its model's file or from `conf/config.yaml`. A condition with another
alpha, another strategy or an ablation is written `late_crt_wc@0.5`, `late/joint`, `late_crt_wc+no_hidden`.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from singtech.errors import InvalidValue
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
        name: the name of its file in conf/condition; "" if it has no file.
        label: its name in tables and figures.
        model, dc, strategy, alpha: a run belongs to the condition if it has these and `settings`.
        settings: all other settings of the condition and its ablation.
        ablation: the name of its ablation; "" for none.
        ablated: the settings that its ablation sets.
        reference: its name in experiments and claims, as in late_crt_wc@0.5+no_hidden.
        published: its name in paper.csv: the reference without strategy and ablation.
        series: its label without alpha, for a curve over alphas.
        overrides: the arguments that select it on the command line.
        group: the heading of its rows in a long table.
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
        """Its settings without those of its ablation."""
        return self.settings.without(self.ablated)


@dataclass(frozen=True)
class _File:
    """The content of a configuration file: choices of groups, alpha (None if it is not set), and all other settings."""

    label: str
    groups: Mapping[str, str]
    alpha: float | None
    settings: Mapping[str, object] = field(default_factory=dict)


class _Identity(NamedTuple):
    """What a run and its condition have in common, beside settings."""

    model: str
    dc: str
    strategy: str
    alpha: float


def read_condition(
    name: str, strategy: str | None = None, alpha: float | None = None, ablation: str = "", group: str = ""
) -> Condition:
    """Read the condition of a file.

    Args:
        name: of the file in conf/condition, without .yaml.
        strategy, alpha: None for those of the file.
        ablation: the name of an ablation to add; "" for none.
        group: see `Condition`.
    Raises:
        ValueError: there is no such file, or it is no condition.
    """
    file = _file("condition", name)
    if not file.label:
        raise InvalidValue(f'{CONF / "condition" / name}.yaml has no label, expected one as in label: "Late, cRT-WC"')
    base = _identity(file)
    own = _differences(file.settings)
    flipped = _file("ablation", ablation) if ablation else _File("", {}, None)
    ablated = _differences({**{g: c for g, c in flipped.groups.items() if g not in GROUPS}, **flipped.settings})
    model, dc, usual_strategy = (flipped.groups.get(g, getattr(base, g)) for g in GROUPS)
    strategy = strategy or usual_strategy
    own_alpha = base.alpha
    usual_alpha = own_alpha if flipped.alpha is None else flipped.alpha
    alpha = usual_alpha if alpha is None else float(alpha)
    is_ablated = bool(ablated.items or flipped.groups or flipped.alpha is not None)
    changed = f"/{strategy}" * (strategy != usual_strategy)
    at = f"@{alpha:g}" * (alpha != usual_alpha)
    series = printed_label(model, dc, strategy, own_alpha, own, name)
    label = printed_label(model, dc, strategy, own_alpha if alpha == usual_alpha else alpha, own, name)
    overrides = [f"condition={name}"]
    overrides += [f"strategy={hydra_value(strategy)}"] if changed else []
    overrides += [f"alpha={alpha}"] if at else []
    overrides += [f"ablation={ablation}"] if is_ablated else []
    return Condition(
        name,
        label + (f", {ablation}" if is_ablated else ""),
        model,
        dc,
        strategy,
        alpha,
        Settings.of({**own.values, **ablated.values}),
        ablation if is_ablated else "",
        ablated,
        reference=name + changed + at + (f"+{ablation}" if is_ablated else ""),
        published=name + at,
        series=series + (f", {ablation}" if is_ablated else ""),
        overrides=" ".join(overrides),
        group=group,
    )


def condition_of(reference: str) -> Condition:
    """Read the condition that a reference such as late_crt_wc@0.5 names.

    Raises:
        ValueError: it is no reference, or names a file that does not exist.
    """
    parts = _REFERENCE.fullmatch(reference)
    try:
        if parts is None:
            raise InvalidValue(f"{reference!r:.60}")
        alpha = float(parts["alpha"]) if parts["alpha"] else None
    except ValueError:
        raise InvalidValue(f"{reference!r:.60} names no condition, expected one as in late_crt_wc@0.5") from None
    return read_condition(parts["condition"], parts["strategy"], alpha, parts["ablation"] or "")


def column_heads(conditions: Sequence[Condition]) -> dict[str, str]:
    """Name the column of each condition: its alpha or dc if they differ in nothing else, or else its label."""
    if len({(c.model, c.dc, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: f"α = {condition.alpha:g}" for condition in conditions}
    if len({(c.model, c.alpha, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: condition.dc for condition in conditions}
    return {condition.reference: condition.label for condition in conditions}


def setup_of(model: str, dc: str, strategy: str, alpha: float, own: Settings = PAPERS) -> Condition:
    """Make a condition that has no file. Its label starts with that of the most similar condition."""
    label = printed_label(model, dc, strategy, alpha, own)
    return Condition("", label, model, dc, strategy, alpha, own, reference=label, series=label)


def describe(model: str, dc: str, strategy: str, alpha: float, settings: Settings) -> tuple[str, Mapping[str, object]]:
    """Describe a run by the most similar condition and the differences, as in late_crt_wc@0.5+no_hidden schedule=demo.

    Returns:
        The description; and the typed settings that differ from those of the condition.
    """
    nearest = []
    for name, identity, own in _known(_state()):
        if (identity.model, identity.dc) == (model, dc) and (
            settings.holds(own) or (settings.is_earlier and not own.items)
        ):
            far = (identity.strategy != strategy, not _same(identity.alpha, alpha))
            nearest.append((*far, -len(own.items), name, own))
    has_other_strategy, has_other_alpha, _, name, own = min(nearest, default=(True, True, 0, "", PAPERS))
    reference = name + f"/{strategy}" * has_other_strategy + f"@{alpha:g}" * has_other_alpha
    reference = reference if name else f"model={model} dc={dc} strategy={strategy} alpha={alpha:g}"
    rest = settings.without(own)
    ablations = [(len(each.items), each.items, label, each) for label, each in _ablations(_state()) if rest.holds(each)]
    *_, ablation, ablated = max(ablations, default=("", PAPERS))
    rest = rest.without(ablated)
    reference += f"+{ablation}" * bool(ablation)
    words = rest.overrides if not settings.is_earlier else [f"({settings.words})"]
    return " ".join([reference, *words]), settings.without(own).values


def printed_label(model: str, dc: str, strategy: str, alpha: float, own: Settings = PAPERS, name: str = "") -> str:
    """Make the label of a setup: that of the condition that equals it, or that differs in strategy or alpha only.

    Args:
        own: all other settings of the setup.
        name: the condition to prefer among those that are equally similar.
    """
    usual = float(_config()["alpha"])
    nearest = []
    for other, identity, differences in _known(_state()):
        if (identity.model, identity.dc) == (model, dc) and differences == own:
            far = (identity.strategy != strategy, not _same(identity.alpha, alpha))
            nearest.append((*far, not _same(identity.alpha, usual), other != name, other))
    if not nearest:
        network = f"dc={dc}" if model == _default("model") else f"{model}, dc={dc}"
        return f"{network}, {strategy}, α = {alpha:g}"
    is_otherwise_trained, has_another_alpha, *_, other = min(nearest)
    label = _file("condition", other).label
    return label + f", {strategy}" * is_otherwise_trained + f", α = {alpha:g}" * has_another_alpha


def retrains(strategy: str) -> bool:
    """Whether the settings of `retraining` can change a strategy; True if the strategy has no file."""
    path = config_file("strategy", strategy)
    return not path.is_file() or "${retraining" in repr(content(path))


@functools.lru_cache(8)
def _known(state: tuple) -> list[tuple[str, _Identity, Settings]]:
    """The name, identity and settings of every condition with a label. `state` changes when a file does."""
    names = [path.stem for path in config_files("condition")]
    files = {name: _file("condition", name) for name in names}
    return [(name, _identity(file), _differences(file.settings)) for name, file in files.items() if file.label]


@functools.lru_cache(8)
def _ablations(state: tuple) -> list[tuple[str, Settings]]:
    """The name and settings of every ablation that changes neither groups nor alpha. `state` is as in `_known`."""
    names = [path.stem for path in config_files("ablation")]
    files = {name: _file("ablation", name) for name in names}
    return [
        (name, _differences(file.settings))
        for name, file in files.items()
        if file.settings and not file.groups and file.alpha is None
    ]


def _state() -> tuple:
    """Time and size of every file that conditions and ablations depend on."""
    groups = ("condition", "ablation", "model")
    paths = [CONF / "config.yaml", *(path for group in groups for path in config_files(group))]
    return tuple(sorted((str(path), (state := path.stat()).st_mtime_ns, state.st_size) for path in paths))


def _identity(file: _File) -> _Identity:
    """Model, dc, strategy and alpha of a condition: from its file, from its model's file, or the defaults."""
    model = file.groups.get("model", _default("model"))
    path = config_file("model", model)
    chosen = _groups(content(path).get("defaults", ())) if path.is_file() else {}
    groups = {name: file.groups.get(name, chosen.get(name, _default(name))) for name in GROUPS if name != "model"}
    alpha = float(_config()["alpha"]) if file.alpha is None else file.alpha
    return _Identity(model, groups["dc"], groups["strategy"], alpha)


def _file(group: str, name: str) -> _File:
    """Read a file of conf/condition or conf/ablation.

    Raises:
        ValueError: it does not exist, or its alpha or label has the wrong type.
    """
    path = config_file(group, name)
    if not path.is_file():
        raise InvalidValue(f"{path} is not there, which {group}={name} names")
    settings = content(path)
    alpha, label = settings.get("alpha"), settings.get("label", "")
    if not isinstance(alpha, int | float | None) or isinstance(alpha, bool) or not isinstance(label, str):
        raise InvalidValue(f"{path}: expected a number as alpha and a text as label")
    groups = _groups(settings.get("defaults", ()))
    rest = {name: value for name, value in settings.items() if name not in NOT_SETTINGS}
    chosen = {name: choice for name, choice in groups.items() if name not in GROUPS}
    alpha = None if alpha is None else float(alpha)
    return _File(label, {g: groups[g] for g in GROUPS if g in groups}, alpha, chosen | dict(flat(rest)))


def flat(settings: object, prefix: str = "") -> list[tuple[str, object]]:
    """Flatten nested settings to pairs of dotted name and value."""
    if isinstance(settings, Mapping):
        named = {f"{prefix}.{key}" if prefix else str(key): item for key, item in settings.items()}
        return [pair for name, item in named.items() for pair in flat(item, name)]
    return [(prefix, settings)]


def _differences(settings: Mapping[str, object]) -> Settings:
    """The settings that differ from conf/config.yaml."""
    if not settings:
        return Settings()
    usual = Settings.of(_groups(_config().get("defaults", ())) | dict(flat(_config())))
    return Settings.of({n: v for n, v in settings.items() if not usual.holds(Settings.of({n: v}))})


def _groups(defaults: object) -> dict[str, str]:
    """Read the choices of a defaults list: group -> choice."""
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
    """Read a YAML file of names and values. It is read again only when it changes.

    Raises:
        ValueError: it is not YAML, or does not hold names and values.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(512)
def _read(path: Path, *_: int) -> dict:
    import yaml

    try:
        read = _loader()(path.read_text(encoding="utf-8")).get_single_data()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidValue(f"{path} is no YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(read, dict):
        raise InvalidValue(f"{path} holds {type(read).__name__}, expected names and values")
    return read


@functools.cache
def _loader() -> type:
    """Make a YAML loader that reads as OmegaConf does: 1e-3 is a number, a date is a text."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in Loader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = resolvers
    number = r"[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+"  # YAML 1.1 wants a point before the e and a sign after
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{number}$"), list("-+0123456789."))
    return Loader
