"""Components: the classes and functions that a configuration names by `_target_`, ours or a person's own.

Hydra gives each one as a `functools.partial` with its settings. `build` calls it with what comes later (class counts,
shapes). `spec` says what it is for a phase's key: its name and the settings that differ from the defaults in its Python
signature, so that a new setting with a default changes no key. `singtech.training.protocols` says what each kind of
component must offer.
"""

import ast
import functools
import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module, metadata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent
OURS = ("singtech", "torch")  # what these hold is ours: the schema of keys and each phase's record cover it
_folders: set[Path] = set()  # that hold a person's own classes


class ComponentError(Exception):
    """A person's own class raised an exception, or does not do what its kind of component must do."""


def partials(settings: object) -> object:
    """Settings with `_partial_: true` wherever a `_target_` stands, so that Hydra builds nothing yet."""
    if isinstance(settings, Mapping):
        inner = {name: partials(value) for name, value in settings.items()}
        if "_target_" in inner:
            return inner | {"_partial_": True} if inner["_target_"] is not None else None
        return inner
    return [partials(value) for value in settings] if isinstance(settings, list | tuple) else settings


def instantiate(settings: Mapping, group: str) -> functools.partial | None:
    """The component that a group's settings name, not built yet; None where `_target_` is null.

    Args:
        settings: plain values with a `_target_`, perhaps nested.
        group: of the configuration, for messages.
    Raises:
        ValueError: there is no such class or function.
        ComponentError: its file raises an exception when it is imported.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    _require_targets(settings, group)
    prepared = partials(settings)
    if prepared is None:
        return None
    try:
        component = instantiate(prepared, _convert_="all")
    except InstantiationException as problem:
        raise ValueError(f"{group}: {' '.join(str(problem.__cause__ or problem).split())}") from None
    component = _plain_partial(component)
    origin(component)  # notes the folder of a person's own file
    return component


def _plain_partial(component: object) -> object:
    """Partials of Hydra's own kind as plain ones, also among the settings, so that they can be changed and pickled."""
    if not isinstance(component, functools.partial):
        return component
    settings = {name: _plain_partial(value) for name, value in component.keywords.items()}
    return functools.partial(component.func, *component.args, **settings)


def _require_targets(settings: object, group: str) -> None:
    """Check that every `_target_` names something that can be imported."""
    if not isinstance(settings, Mapping):
        return
    for name, value in settings.items():
        _require_targets(value, f"{group}.{name}")
    target = settings.get("_target_")
    if target is not None:
        locate(str(target), f"{group}._target_")


def locate(target: str, setting: str) -> Callable:
    """The class or function of a dotted path.

    Raises:
        ValueError: its module or name does not exist.
        ComponentError: its module raises an exception when it is imported.
    """
    parts = target.split(".")
    where = "its file must be on the Python path or in the folder where the command is given"
    if len(parts) < 2:
        raise ValueError(f"{setting}={target}: expected module.Class; {where}.")
    _note_folder(parts[0])
    for split in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:split])
        try:
            value = import_module(name)
        except ModuleNotFoundError as problem:
            if problem.name and (name == problem.name or name.startswith(f"{problem.name}.")):
                continue  # a class within the module, or no such module
            raise ComponentError(f"{setting}={target}: importing {name} fails: {problem}.") from problem
        except Exception as problem:
            line = getattr(problem, "lineno", None)
            file = getattr(problem, "filename", None)
            place = f"{file}, line {line}" if file and line else outside_line(problem) or name
            raise ComponentError(f"{setting}={target}: {place}: {type(problem).__name__}: {problem}") from problem
        for attribute in parts[split:]:
            if not hasattr(value, attribute):
                raise ValueError(f"{setting}={target}: {name} has no {attribute}.")
            value = getattr(value, attribute)
        if not callable(value):
            raise ValueError(f"{setting}={target}: expected a class or function, found {type(value).__name__}.")
        return value
    raise ValueError(f"{setting}={target}: there is no module {parts[0]}; {where}.")


def _note_folder(module: str) -> None:
    """Remember the folder of a person's own module, so that an exception in it names its line."""
    try:
        file = getattr(find_spec(module), "origin", None) if module not in OURS else None
    except (ImportError, ValueError):
        return
    if file and Path(file).is_file() and not _is_installed(Path(file)):
        _folders.add(Path(file).resolve().parent)


def _is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed package or to Python."""
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or Path(os.__file__).parent in path.parents


def load_file(path: Path) -> ModuleType:
    """The module in a person's own file, under the file's name, so that `mine.py` holds `mine.Class`.

    Raises:
        FileNotFoundError: there is no such file.
        ComponentError: it raises an exception.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"code={path}: there is no such file.")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"code={path}: expected a Python file.")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    _folders.add(path.parent)
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ComponentError(f"{outside_line(problem) or path}: {type(problem).__name__}: {problem}") from problem
    return module


def parameters(target: Callable) -> dict[str, inspect.Parameter]:
    """The parameters of a class or function by name; empty where Python cannot tell."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}


def build(component: Callable, **offered: object) -> object:
    """Call a component with its own settings, and with those of the offered arguments that its signature names."""
    target, _ = unwrapped(component)
    known = parameters(target)
    return component(**{name: value for name, value in offered.items() if name in known})


def unwrapped(component: Callable) -> tuple[Callable, dict[str, object]]:
    """The class or function of a component, and its settings by name."""
    if not isinstance(component, functools.partial):
        return component, {}
    names = list(parameters(component.func))
    return component.func, dict(zip(names, component.args, strict=False)) | component.keywords


def spec(value: object) -> object:
    """What decides an outcome, as plain values: of a component or dataclass its name and what is not the default.

    Fields of a dataclass that do not count in comparisons (`compare=False`) are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        defaults = {field.name: _default(field) for field in fields(value)}
        return _spec(type(value), settings, defaults)
    if isinstance(value, functools.partial | type) or inspect.isfunction(value):
        target, settings = unwrapped(value)
        return _spec(target, settings, {name: p.default for name, p in parameters(target).items()})
    if isinstance(value, Mapping):
        return {str(name): spec(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [spec(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 0 and 0.0 are one value
    return value


def _default(field) -> object:
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()


def _spec(target: Callable, settings: Mapping, defaults: Mapping) -> dict:
    empty = inspect.Parameter.empty
    plain = {name: spec(value) for name, value in settings.items()}
    usual = {name: spec(defaults[name]) for name in plain if defaults.get(name, empty) is not empty}
    differing = {name: value for name, value in plain.items() if name not in usual or value != usual[name]}
    code = origin(target)
    if not code:
        return {"is": target.__name__, **differing}
    files = _files_of({**defaults, **settings})
    return {"is": target.__name__, **differing, "code": code} | ({"files": files} if files else {})


def origin(component: Callable) -> str:
    """Where a class that is not ours comes from: the hash of its file and its imports, or its package and version.

    Raises:
        ValueError: it is in no file, as in a notebook.
    """
    target, _ = unwrapped(component)
    name = getattr(target, "__module__", None) or ""
    if name.partition(".")[0] in OURS:
        return ""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise ValueError(f"{target.__name__} is defined in no file: write it into a .py file and name that.")
    path = Path(file).resolve()
    package = _distribution(name.partition(".")[0]) if _is_installed(path) else ""
    if package:
        return package
    _folders.add(path.parent)
    return f"sha256:{_code_hash(module)}"


@functools.cache  # what runs is the code that was imported, whatever its file holds later
def _code_hash(module: ModuleType) -> str:
    """The hash of a person's own file and of those beside it that it imports, directly or through others."""
    files = [Path(str(module.__file__)).resolve()]
    for file in files:
        files += [beside for beside in _imports_beside(file) if beside not in files]
    contents = [file.read_bytes() for file in files]
    whole = contents[0] if len(contents) == 1 else b"".join(sorted(hashlib.sha256(c).digest() for c in contents))
    return hashlib.sha256(whole).hexdigest()[:16]


def _imports_beside(file: Path) -> list[Path]:
    """The files that a Python file imports from a person's own folders."""
    names = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            names += [*filter(None, [node.module]), *(f"{base}{alias.name}" for alias in node.names)]
    paths = [folder / name.replace(".", "/") for name in names for folder in [file.parent, *sorted(_folders)]]
    files = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return list(dict.fromkeys(file.resolve() for file in files if file.is_file()))


@functools.cache
def _content_hash(path: Path, *_: float) -> str:
    """The hash of a file, once for as long as it does not change."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _files_of(settings: Mapping) -> dict[str, str]:
    """The hashes of the files that settings name, such as those of pretrained weights."""
    paths = {name: Path(value).expanduser() for name, value in settings.items() if isinstance(value, str | Path)}
    return {
        name: _content_hash(path.resolve(), path.stat().st_mtime_ns, path.stat().st_size)
        for name, path in paths.items()
        if path.is_file()
    }


@functools.cache
def _distribution(package: str) -> str:
    names = metadata.packages_distributions().get(package, [])
    return f"{names[0]}=={metadata.version(names[0])}" if names else ""


def outside_line(problem: BaseException) -> str:
    """The deepest line of a person's own files that an exception went through: "mine.py, line 12, in forward".

    Returns "" where it went through none.
    """
    while problem is not None:
        place = _outside([(f.filename, f.lineno, f.name) for f in traceback.extract_tb(problem.__traceback__)])
        if place:
            return place
        problem = problem.__cause__
    return ""


def outside_line_of(traced: str) -> str:
    """The same of a traceback's text."""
    return _outside(re.findall(r'^  File "(.+)", line (\d+), in (.+)$', traced, re.MULTILINE))


def _outside(frames: Sequence[tuple]) -> str:
    """The last of frames (file, line, name) that is in a person's own file, in words."""
    for file, line, name in reversed(frames):
        path = Path(file).resolve()
        if path.is_file() and path.parent in _folders and PACKAGE not in path.parents:
            return f"{file}, line {line}, in {name}"
    return ""


def short_name(target: str) -> str:
    """The last part of a dotted path, as a name in a table."""
    return re.split(r"[.:]", target)[-1]
