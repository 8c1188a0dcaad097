"""Read conditions (`conf/condition/*.yaml`) and ablations (`conf/ablation/*.yaml`) without Hydra.

Settings that a file does not set come from its model's file or from `conf/config.yaml`. A condition with another
alpha, another strategy, an ablation or other settings of its own is written `late_crt_wc@0.5`, `late/joint`,
`late_crt_wc+no_hidden`, `late_focal+loss.gamma=0.5`.
"""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.config_paths import CONF, find_config_file, list_config_files
from singtech.errors import InvalidValue
from singtech.results.rows import SCORED
from singtech.results.settings import DEFAULTS, Settings, hydra_value

GROUPS = ("model", "dc", "strategy")
NOT_SETTINGS = ("label", "alpha", "seed", "defaults", "hydra")


@dataclass(frozen=True)
class Condition:
    """A named setup: a row of a table or a point of a figure.

    Attributes:
        name: the name of its file in conf/condition; "" if it has no file.
        label: its name in tables and figures.
        model, dc, strategy, alpha: a run belongs to the condition if it has these and `settings`.
        settings: all other settings of the condition, its ablation and its own.
        ablation: the name of its ablation; "" for none.
        changes: the settings that its ablation sets.
        own: the settings that its row sets and that differ from the defaults.
        reference: its name in experiments and claims, such as late_crt_wc@0.5+no_hidden.
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
    settings: Settings = DEFAULTS
    ablation: str = ""
    changes: Settings = DEFAULTS
    own: Settings = DEFAULTS
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
    def base(self) -> Settings:
        """Its settings without those of its ablation."""
        return self.settings.without(self.changes)


@dataclass(frozen=True)
class _File:
    """A file of conf/condition or conf/ablation: its choices of `GROUPS`, alpha (None for none) and settings."""

    label: str
    groups: Mapping[str, str]
    alpha: float | None
    settings: Settings


def read_condition(
    name: str,
    strategy: str | None = None,
    alpha: float | None = None,
    ablation: str = "",
    group: str = "",
    settings: Mapping[str, object] | None = None,
) -> Condition:
    """Read the condition of a file.

    Args:
        name: of the file in conf/condition, without .yaml.
        strategy, alpha: None for the values of the file.
        ablation: the name of an ablation to add; "" for none.
        group: see `Condition`.
        settings: other settings to set, by their dotted names, such as loss.gamma.
    Raises:
        ValueError: there is no such file, or it does not define a condition.
    """
    base = _condition(name)
    ablation_file = _file("ablation", ablation) if ablation else _File("", {}, None, DEFAULTS)
    has_ablation = bool(ablation_file.settings.items or ablation_file.groups or ablation_file.alpha is not None)
    model, dc, usual_strategy = (ablation_file.groups.get(g, getattr(base, g)) for g in GROUPS)
    strategy = strategy or usual_strategy
    usual_alpha = base.alpha if ablation_file.alpha is None else ablation_file.alpha
    alpha = usual_alpha if alpha is None else float(alpha)
    strategy_suffix = f"/{strategy}" * (strategy != usual_strategy)
    alpha_suffix = f"@{alpha:g}" * (alpha != usual_alpha)
    series = printed_label(model, dc, strategy, base.alpha, base.settings, name)
    label = printed_label(model, dc, strategy, alpha if alpha_suffix else base.alpha, base.settings, name)
    overrides = [f"condition={name}"]
    overrides += [f"strategy={hydra_value(strategy)}"] if strategy_suffix else []
    overrides += [f"alpha={alpha}"] if alpha_suffix else []
    overrides += [f"ablation={ablation}"] if has_ablation else []
    given = Settings.of(settings or {})
    additions = [ablation] * has_ablation + given.overrides
    merged = {**base.settings.values, **ablation_file.settings.values, **given.values}
    choices = {**_groups(_config()), "model": model, "dc": dc, "strategy": strategy, **merged}
    own = Settings.of({n: v for n, v in given.values.items() if not _is_default(n, v, choices)})
    return Condition(
        *(name, ", ".join([label, *additions]), model, dc, strategy, alpha),
        settings=Settings.of({n: v for n, v in merged.items() if n in own.values or n not in given.values}),
        ablation=ablation * has_ablation,
        changes=ablation_file.settings,
        own=own,
        reference="+".join([name + strategy_suffix + alpha_suffix, *additions]),
        published=name + alpha_suffix,
        series=", ".join([series, *additions]),
        overrides=" ".join(overrides) + given.command,
        group=group,
    )


def column_heads(conditions: Sequence[Condition]) -> dict[str, str]:
    """Name the column of each condition: its alpha or dc if the conditions differ only in this, or else its label.

    Scored systems do not count as conditions that differ.
    """
    if systems := {condition.reference: condition.label for condition in conditions if condition.strategy == SCORED}:
        return column_heads([each for each in conditions if each.reference not in systems]) | systems
    if len({(c.model, c.dc, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: f"α = {condition.alpha:g}" for condition in conditions}
    if len({(c.model, c.alpha, c.strategy, c.settings) for c in conditions}) == 1 < len(conditions):
        return {condition.reference: condition.dc for condition in conditions}
    return {condition.reference: condition.label for condition in conditions}


def against(first: Condition, second: Condition) -> str:
    """Name the comparison of two conditions, and what they share only once: `Late, cRT-WC: α 0.2 against 1`."""
    if first.series == second.series and first.alpha != second.alpha:
        return f"{first.series}: α {first.alpha:g} against {second.alpha:g}"
    sides = [each.label.split(", ") for each in (first, second)]
    shared = [one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*sides, strict=False))]
    ends = [", ".join(side[len(shared) :]) for side in sides]
    if not shared or not all(ends):
        return f"{first.label} against {second.label}"
    return f"{', '.join(shared)}: {ends[0]} against {ends[1]}"


def describe(model: str, dc: str, strategy: str, alpha: float, settings: Settings) -> tuple[str, Mapping[str, object]]:
    """Describe a run by the most similar condition and the differences: late_crt_wc@0.5+no_hidden schedule=demo.

    Returns:
        The description; and the typed settings that differ from those of the condition.
    """
    similar = [condition for condition in _conditions(_file_times()) if settings.includes(condition.settings)]
    nearest = _find_nearest(similar, model, dc, strategy, alpha)
    reference = f"model={model} dc={dc} strategy={strategy} alpha={alpha:g}"
    if nearest:
        reference = nearest.name + f"/{strategy}" * (nearest.strategy != strategy)
        reference += f"@{alpha:g}" * (nearest.key[-1] != round(alpha, 9))
    differences = settings.without(nearest.settings if nearest else DEFAULTS)
    candidates = {name: each for name, each in _ablations(_file_times()).items() if differences.includes(each)}
    ablation = max(candidates, key=lambda name: (len(candidates[name].items), candidates[name].items, name), default="")
    rest = differences.without(candidates[ablation]) if ablation else differences
    words = [f"({settings.words})"] if settings.is_legacy else rest.overrides
    return " ".join([reference + f"+{ablation}" * bool(ablation), *words]), differences.values


def printed_label(model: str, dc: str, strategy: str, alpha: float, own: Settings = DEFAULTS, name: str = "") -> str:
    """Make the label of a setup from that of the condition that is equal, or differs only in strategy or alpha.

    Args:
        own: all other settings of the setup.
        name: the condition to prefer among those that are equally similar.
    """
    similar = [condition for condition in _conditions(_file_times()) if condition.settings == own]
    nearest = _find_nearest(similar, model, dc, strategy, alpha, name)
    if nearest is None:
        network = f"dc={dc}" if model == _default("model") else f"{model}, dc={dc}"
        return f"{network}, {strategy}, α = {alpha:g}"
    has_other_alpha = nearest.key[-1] != round(alpha, 9)
    return nearest.label + f", {strategy}" * (nearest.strategy != strategy) + f", α = {alpha:g}" * has_other_alpha


def retrains(strategy: str) -> bool:
    """Whether the settings of `retraining` can change a strategy; True if the strategy has no file."""
    path = find_config_file("strategy", strategy)
    return not path.is_file() or "${retraining" in repr(read_yaml(path))


def read_yaml(path: Path) -> dict:
    """Read a YAML file of names and values. It is read again only when it changes.

    Raises:
        ValueError: it is not YAML, or does not hold names and values.
    """
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(512)
def _read(path: Path, change_time: int) -> dict:
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


def _find_nearest(
    conditions: Iterable[Condition], model: str, dc: str, strategy: str, alpha: float, name: str = ""
) -> Condition | None:
    """Find the condition of a network that is most similar in strategy, alpha and settings."""
    default_alpha = float(_config()["alpha"])

    def distance(condition: Condition) -> tuple:
        is_other = condition.strategy != strategy, condition.key[-1] != round(alpha, 9)
        return *is_other, -len(condition.settings.items), condition.alpha != default_alpha, condition.name != name

    candidates = [condition for condition in conditions if (condition.model, condition.dc) == (model, dc)]
    return min(candidates, key=distance, default=None)


@functools.lru_cache(8)
def _conditions(state: tuple) -> list[Condition]:
    """Read every condition that has a file, sorted by name. `state` changes when a file changes."""
    names = [path.stem for path in list_config_files("condition")]
    return [_condition(name) for name in names if _file("condition", name).label]


@functools.lru_cache(8)
def _ablations(state: tuple) -> dict[str, Settings]:
    """Read the settings of every ablation that changes neither groups nor alpha. `state`: see `_conditions`."""
    files = {path.stem: _file("ablation", path.stem) for path in list_config_files("ablation")}
    return {n: f.settings for n, f in files.items() if f.settings.items and not f.groups and f.alpha is None}


def _file_times() -> tuple:
    """List the change time of every file that conditions and ablations depend on."""
    paths = [
        CONF / "config.yaml",
        *(path for name in ("condition", "ablation", "model") for path in list_config_files(name)),
    ]
    return tuple((path, path.stat().st_mtime_ns) for path in paths)


def _condition(name: str) -> Condition:
    """Read a condition without ablation. Its model's file and the defaults complete its own file."""
    file = _file("condition", name)
    if not file.label:
        raise InvalidValue(f'{CONF / "condition" / name}.yaml has no label, expected one as in label: "Late, cRT-WC"')
    model = file.groups.get("model", _default("model"))
    path = find_config_file("model", model)
    model_groups = _groups(read_yaml(path)) if path.is_file() else {}
    dc, strategy = (file.groups.get(group, model_groups.get(group, _default(group))) for group in ("dc", "strategy"))
    alpha = float(_config()["alpha"]) if file.alpha is None else file.alpha
    return Condition(name, file.label, model, dc, strategy, alpha, file.settings)


def _file(group: str, name: str) -> _File:
    """Read a file of conf/condition or conf/ablation, and the files of its group that its defaults name before it."""
    path = find_config_file(group, name)
    if not path.is_file():
        raise InvalidValue(f"{path} is not there, which {group}={name} names")
    values = read_yaml(path)
    alpha, label = values.get("alpha"), values.get("label", "")
    if not isinstance(alpha, int | float | None) or not isinstance(label, str):
        raise InvalidValue(f"{path}: expected a number as alpha and a text as label")
    groups = _groups(values)
    settings: dict[str, object] = {n: choice for n, choice in groups.items() if n not in GROUPS}
    settings |= flatten({n: value for n, value in values.items() if n not in NOT_SETTINGS})
    group_choices = {n: choice for n, choice in groups.items() if n in GROUPS}
    own = _File(label, group_choices, None if alpha is None else float(alpha), _differences(settings))
    entries = values.get("defaults")
    names = [each for each in entries if isinstance(each, str)] if isinstance(entries, list) else []
    for base in (_file(group, each) for each in reversed(names) if each != "_self_"):
        own = _File(
            own.label or base.label,
            {**base.groups, **own.groups},
            base.alpha if own.alpha is None else own.alpha,
            Settings.of({**base.settings.values, **own.settings.values}),
        )
    return own


def flatten(settings: object, prefix: str = "") -> dict[str, object]:
    """Flatten nested settings to dotted names and values."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    pairs: dict[str, object] = {}
    for key, value in settings.items():
        pairs |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return pairs


def _differences(settings: Mapping[str, object]) -> Settings:
    """Find the settings that differ from conf/config.yaml."""
    defaults = Settings.of(_groups(_config()) | flatten(_config())) if settings else DEFAULTS
    return Settings.of({n: v for n, v in settings.items() if not defaults.includes(Settings.of({n: v}))})


def _is_default(name: str, value: object, choices: Mapping[str, object]) -> bool:
    """Whether a setting has this value in the file of its group's choice, or else in conf/config.yaml."""
    group = name.split(".")[0]
    if name in _groups(_config()):
        return _groups(_config())[name] == value
    path = find_config_file(group, str(choices.get(group)))
    defaults = flatten(read_yaml(path), group) if path.is_file() else flatten(_config())
    return Settings.of(defaults).includes(Settings.of({name: value}))


def _groups(values: Mapping[str, object]) -> dict[str, str]:
    """Read the choices of a file's defaults list: group -> choice."""
    defaults = values.get("defaults")
    entries = [entry for entry in defaults if isinstance(entry, Mapping)] if isinstance(defaults, list) else []
    choices = [pair for entry in entries for pair in entry.items()]
    return {str(name).removeprefix("override ").strip().lstrip("/"): choice for name, choice in choices}


def _default(group: str) -> str:
    return str(_groups(_config()).get(group, ""))


def _config() -> dict:
    return read_yaml(CONF / "config.yaml")
