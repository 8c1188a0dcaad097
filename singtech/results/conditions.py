"""Read conditions (`conf/condition/*.yaml`) and ablations (`conf/ablation/*.yaml`) without Hydra.

A setting that a file does not have comes from its model's file or from `conf/config.yaml`. A condition with another
alpha, another strategy or an ablation is written `late_crt_wc@0.5`, `late/joint`, `late_crt_wc+no_hidden`.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.config_paths import CONF, find_config_file, list_config_files
from singtech.errors import InvalidValue
from singtech.results.settings import PAPERS, Settings, hydra_value

GROUPS = ("model", "dc", "strategy")
NOT_SETTINGS = ("label", "alpha", "seed", "defaults", "hydra")


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
    """A file of conf/condition or conf/ablation: its choices of `GROUPS`, alpha (None if it sets none), the rest."""

    label: str
    groups: Mapping[str, str]
    alpha: float | None
    settings: Settings


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
    base = _condition(name)
    flipped = _file("ablation", ablation) if ablation else _File("", {}, None, PAPERS)
    is_ablated = bool(flipped.settings.items or flipped.groups or flipped.alpha is not None)
    model, dc, usual_strategy = (flipped.groups.get(g, getattr(base, g)) for g in GROUPS)
    strategy = strategy or usual_strategy
    usual_alpha = base.alpha if flipped.alpha is None else flipped.alpha
    alpha = usual_alpha if alpha is None else float(alpha)
    changed = f"/{strategy}" * (strategy != usual_strategy)
    at = f"@{alpha:g}" * (alpha != usual_alpha)
    series = printed_label(model, dc, strategy, base.alpha, base.settings, name)
    label = printed_label(model, dc, strategy, alpha if at else base.alpha, base.settings, name)
    overrides = [f"condition={name}"]
    overrides += [f"strategy={hydra_value(strategy)}"] if changed else []
    overrides += [f"alpha={alpha}"] if at else []
    overrides += [f"ablation={ablation}"] if is_ablated else []
    return Condition(
        *(name, label + f", {ablation}" * is_ablated, model, dc, strategy, alpha),
        settings=Settings.of({**base.settings.values, **flipped.settings.values}),
        ablation=ablation * is_ablated,
        ablated=flipped.settings,
        reference=name + changed + at + f"+{ablation}" * is_ablated,
        published=name + at,
        series=series + f", {ablation}" * is_ablated,
        overrides=" ".join(overrides),
        group=group,
    )


def column_heads(conditions: Sequence[Condition]) -> dict[str, str]:
    """Name the column of each condition: its alpha or dc if they differ in nothing else, or else its label."""
    if len({(c.model, c.dc, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: f"α = {condition.alpha:g}" for condition in conditions}
    if len({(c.model, c.alpha, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: condition.dc for condition in conditions}
    return {condition.reference: condition.label for condition in conditions}


def describe(model: str, dc: str, strategy: str, alpha: float, settings: Settings) -> tuple[str, Mapping[str, object]]:
    """Describe a run by the most similar condition and the differences, as in late_crt_wc@0.5+no_hidden schedule=demo.

    Returns:
        The description; and the typed settings that differ from those of the condition.
    """
    similar = [condition for condition in _conditions(_state()) if settings.holds(condition.settings)]
    nearest = _nearest(similar, model, dc, strategy, alpha)
    reference = f"model={model} dc={dc} strategy={strategy} alpha={alpha:g}"
    if nearest:
        reference = nearest.name + f"/{strategy}" * (nearest.strategy != strategy)
        reference += f"@{alpha:g}" * (nearest.key[-1] != round(alpha, 9))
    differences = settings.without(nearest.settings if nearest else PAPERS)
    held = {name: each for name, each in _ablations(_state()).items() if differences.holds(each)}
    ablation = max(held, key=lambda name: (len(held[name].items), held[name].items, name), default="")
    rest = differences.without(held[ablation]) if ablation else differences
    words = [f"({settings.words})"] if settings.is_earlier else rest.overrides
    return " ".join([reference + f"+{ablation}" * bool(ablation), *words]), differences.values


def printed_label(model: str, dc: str, strategy: str, alpha: float, own: Settings = PAPERS, name: str = "") -> str:
    """Make the label of a setup: that of the condition that equals it, or that differs in strategy or alpha only.

    Args:
        own: all other settings of the setup.
        name: the condition to prefer among those that are equally similar.
    """
    similar = [condition for condition in _conditions(_state()) if condition.settings == own]
    nearest = _nearest(similar, model, dc, strategy, alpha, name)
    if nearest is None:
        network = f"dc={dc}" if model == _default("model") else f"{model}, dc={dc}"
        return f"{network}, {strategy}, α = {alpha:g}"
    has_other_alpha = nearest.key[-1] != round(alpha, 9)
    return nearest.label + f", {strategy}" * (nearest.strategy != strategy) + f", α = {alpha:g}" * has_other_alpha


def retrains(strategy: str) -> bool:
    """Whether the settings of `retraining` can change a strategy; True if the strategy has no file."""
    path = find_config_file("strategy", strategy)
    return not path.is_file() or "${retraining" in repr(content(path))


def content(path: Path) -> dict:
    """Read a YAML file of names and values. It is read again only when it changes.

    Raises:
        ValueError: it is not YAML, or does not hold names and values.
    """
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(512)
def _read(path: Path, changed: int) -> dict:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (ValueError, OSError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InvalidValue(f"{path} is no YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(values, dict):
        raise InvalidValue(f"{path} holds {type(values).__name__}, expected names and values")
    return values


def _nearest(
    conditions: Iterable[Condition], model: str, dc: str, strategy: str, alpha: float, name: str = ""
) -> Condition | None:
    """The condition of a network that is most similar in strategy, alpha and settings, or else has the usual alpha."""
    usual = float(_config()["alpha"])

    def distance(condition: Condition) -> tuple:
        is_other = condition.strategy != strategy, condition.key[-1] != round(alpha, 9)
        return *is_other, -len(condition.settings.items), condition.alpha != usual, condition.name != name

    of_network = [condition for condition in conditions if (condition.model, condition.dc) == (model, dc)]
    return min(of_network, key=distance, default=None)


@functools.lru_cache(8)
def _conditions(state: tuple) -> list[Condition]:
    """Every condition by its file, sorted by name. `state` changes when a file does."""
    names = [path.stem for path in list_config_files("condition")]
    return [_condition(name) for name in names if _file("condition", name).label]


@functools.lru_cache(8)
def _ablations(state: tuple) -> dict[str, Settings]:
    """The settings of every ablation that changes neither groups nor alpha. `state` is as in `_conditions`."""
    files = {path.stem: _file("ablation", path.stem) for path in list_config_files("ablation")}
    return {n: f.settings for n, f in files.items() if f.settings.items and not f.groups and f.alpha is None}


def _state() -> tuple:
    """The time of every file that conditions and ablations depend on."""
    paths = [
        CONF / "config.yaml",
        *(path for name in ("condition", "ablation", "model") for path in list_config_files(name)),
    ]
    return tuple((path, path.stat().st_mtime_ns) for path in paths)


def _condition(name: str) -> Condition:
    """A condition without ablation; what its file does not set is from its model's file, or the default."""
    file = _file("condition", name)
    if not file.label:
        raise InvalidValue(f'{CONF / "condition" / name}.yaml has no label, expected one as in label: "Late, cRT-WC"')
    model = file.groups.get("model", _default("model"))
    path = find_config_file("model", model)
    chosen = _groups(content(path)) if path.is_file() else {}
    dc, strategy = (file.groups.get(group, chosen.get(group, _default(group))) for group in ("dc", "strategy"))
    alpha = float(_config()["alpha"]) if file.alpha is None else file.alpha
    return Condition(name, file.label, model, dc, strategy, alpha, file.settings)


def _file(group: str, name: str) -> _File:
    """Read a file of conf/condition or conf/ablation.

    Raises:
        ValueError: it does not exist, or its alpha or label has the wrong type.
    """
    path = find_config_file(group, name)
    if not path.is_file():
        raise InvalidValue(f"{path} is not there, which {group}={name} names")
    values = content(path)
    alpha, label = values.get("alpha"), values.get("label", "")
    if not isinstance(alpha, int | float | None) or not isinstance(label, str):
        raise InvalidValue(f"{path}: expected a number as alpha and a text as label")
    groups = _groups(values)
    settings: dict[str, object] = {n: choice for n, choice in groups.items() if n not in GROUPS}
    settings |= flat({n: value for n, value in values.items() if n not in NOT_SETTINGS})
    chosen = {n: choice for n, choice in groups.items() if n in GROUPS}
    return _File(label, chosen, None if alpha is None else float(alpha), _differences(settings))


def flat(settings: object, prefix: str = "") -> dict[str, object]:
    """Flatten nested settings to dotted names and values."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    pairs: dict[str, object] = {}
    for key, value in settings.items():
        pairs |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return pairs


def _differences(settings: Mapping[str, object]) -> Settings:
    """The settings that differ from conf/config.yaml."""
    usual = Settings.of(_groups(_config()) | flat(_config())) if settings else PAPERS
    return Settings.of({n: v for n, v in settings.items() if not usual.holds(Settings.of({n: v}))})


def _groups(values: Mapping[str, object]) -> dict[str, str]:
    """Read the choices of a file's defaults list: group -> choice."""
    defaults = values.get("defaults")
    entries = [entry for entry in defaults if isinstance(entry, Mapping)] if isinstance(defaults, list) else []
    choices = [pair for entry in entries for pair in entry.items()]
    return {str(name).removeprefix("override ").strip().lstrip("/"): choice for name, choice in choices}


def _default(group: str) -> str:
    return str(_groups(_config()).get(group, ""))


def _config() -> dict:
    return content(CONF / "config.yaml")
