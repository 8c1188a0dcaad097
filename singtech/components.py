"""Import and build components: classes and functions that a configuration names by `_target_`, also the user's own.

`import_component` returns each component as a `functools.partial` with its settings. `build` calls it with arguments
that are known later (class counts, shapes). `describe` gives its part of a phase's key: its name, and the settings that
differ from the defaults in its Python signature. So a new setting with a default changes no key.
`singtech.training.protocols` defines what each kind of component must offer.
"""

import ast
import functools
import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module, metadata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from singtech.errors import InvalidValue, NotThere, SingtechError
from singtech.io.atomic import expand_home, hash_file

PACKAGE = Path(__file__).resolve().parent
BUILT_IN = ("singtech", "torch")  # keys hold no hash of their code; the key schema covers it
_user_folders: set[Path] = set()  # folders with the user's own classes


class ComponentError(SingtechError):
    """One of the user's own classes raised an exception, or does not do what its kind of component must do."""


def import_component(settings: Any, setting: str) -> Any:
    """Import the component that settings name, without building it: Hydra's `instantiate` with every `_partial_` true.

    Args:
        settings: plain values with a `_target_`, which may be nested.
        setting: their name in the configuration, for messages.
    Returns:
        A partial of the class or function; None if `_target_` is null; values without a `_target_` as they are.
    Raises:
        InvalidValue: there is no such class or function, or a text where its signature has a number.
        ComponentError: its file raises an exception when it is imported.
    """
    if isinstance(settings, list | tuple):
        return [import_component(value, setting) for value in settings]
    if not isinstance(settings, Mapping):
        return settings
    inner = {name: import_component(v, f"{setting}.{name}") for name, v in settings.items() if name != "_partial_"}
    if "_target_" not in inner:
        return inner
    target = inner.pop("_target_")
    if target is None:
        return None
    component = import_target(str(target), f"{setting}._target_")
    for name, parameter in list_parameters(component).items():
        is_number = isinstance(parameter.default, int | float) and "str" not in str(parameter.annotation)
        if is_number and isinstance(value := inner.get(name), str):
            expected = "true or false" if isinstance(parameter.default, bool) else "a number"
            raise InvalidValue(f"{setting}.{name}={value}: expected {expected}, such as {parameter.default}.")
    return functools.partial(component, **inner)


def import_target(target: str, setting: str) -> Callable:
    """Import the class or function `module.Class`.

    Raises:
        InvalidValue: its module or name does not exist.
        ComponentError: its module raises an exception when it is imported.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise InvalidValue(f"{setting}={target}: expected module.Class.")
    try:
        top = target.partition(".")[0]
        spec = find_spec(top) if top not in BUILT_IN else None
        if spec and spec.has_location and not _is_installed(Path(str(spec.origin))):
            _user_folders.add(Path(str(spec.origin)).resolve().parent)  # an exception in it then names its line
        value = getattr(import_module(module), name)
    except Exception as problem:
        line = find_user_line(problem)
        if isinstance(problem, SyntaxError):
            line = f"{problem.filename}, line {problem.lineno}"
        if line:
            raise ComponentError(f"{setting}={target}: {line}: {type(problem).__name__}: {problem}") from problem
        hint = " on the Python path or in the current folder" * isinstance(problem, ModuleNotFoundError)
        raise InvalidValue(f"{setting}={target}: {problem}{hint}.") from None
    if not callable(value):
        raise InvalidValue(f"{setting}={target}: expected a class or function, found {type(value).__name__}.")
    identify_code(value)  # remembers the folder of the user's own file
    return value


def _is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed package or to Python."""
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or Path(os.__file__).parent in path.parents


def import_file(path: Path) -> ModuleType:
    """Import the user's own file or package folder by its name: a class in `mine.py` is `mine.Class`.

    Raises:
        NotThere: there is no such file or package.
        ComponentError: it raises an exception.
    """
    path = expand_home(path).resolve()
    path = path.parent if path.name == "__init__.py" else path
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise NotThere(f"code={path}: there is no such file, or it is a folder without __init__.py.")
    spec = spec_from_file_location(path.stem, file)
    if spec is None or spec.loader is None:
        raise InvalidValue(f"code={path}: expected a Python file.")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    _user_folders.add(file.parent)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # it may import modules beside it
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ComponentError(f"{find_user_line(problem) or path}: {type(problem).__name__}: {problem}") from problem
    return module


def list_parameters(target: Callable) -> dict[str, inspect.Parameter]:
    """List the parameters of a class or function by name; none if Python does not know them."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}


def build(component: Any, **arguments: object) -> Any:
    """Call a component with its settings and those of the arguments that its signature has."""
    names = list_parameters(unwrap(component)[0])
    return component(**{name: value for name, value in arguments.items() if name in names})


def unwrap(component: Callable) -> tuple[Callable, dict[str, object]]:
    """Return the class or function of a component, and its settings by name."""
    if not isinstance(component, functools.partial):
        return component, {}
    names = list(list_parameters(component.func))
    return component.func, dict(zip(names, component.args, strict=False)) | component.keywords


def describe(value: object) -> Any:
    """Describe a value for a phase's key: the name of a component or dataclass, and its non-default settings.

    Fields of a dataclass with `compare=False` are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        defaults = {field.name: field.default for field in fields(value) if field.default is not MISSING}
        defaults |= {f.name: f.default_factory() for f in fields(value) if f.default_factory is not MISSING}
        return _describe_call(type(value), settings, defaults)
    if isinstance(value, functools.partial | type) or inspect.isfunction(value):
        target, settings = unwrap(value)
        parameters = list_parameters(target).items()
        return _describe_call(target, settings, {name: p.default for name, p in parameters if p.default is not p.empty})
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 0 and 0.0 are one value
    return value


def _describe_call(target: Callable, settings: Mapping, defaults: Mapping) -> dict:
    described: dict[str, Any] = {"is": target.__name__}
    for name, value in settings.items():
        is_usual = name in defaults and describe(value) == describe(defaults[name])
        if not is_usual and name not in getattr(target, "not_hashed", ()):
            described[name] = describe(value)
    if hash_weights := getattr(target, "hash_weights", None):  # of weights that are no part of a stored phase
        described["weights"] = hash_weights(**settings)
    if code := identify_code(target):
        described["code"] = code
        values = {**defaults, **settings}
        paths = {name: expand_home(value) for name, value in values.items() if isinstance(value, str | Path)}
        if files := {name: _hash_file(path) for name, path in paths.items() if path.is_file()}:
            described["files"] = files  # such as pretrained weights
    return described


def identify_code(component: Callable) -> str:
    """Identify the code of the user's component by the hash of its file and imports, or by its package and version.

    Returns "" for a component of singtech or torch.

    Raises:
        InvalidValue: it is not defined in a file, but in a notebook, for example.
    """
    target, _ = unwrap(component)
    name = getattr(target, "__module__", None) or ""
    if name.partition(".")[0] in BUILT_IN:
        return ""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise InvalidValue(f"{target.__name__} is not defined in a file: write it into a .py file and name that file.")
    path = Path(file).resolve()
    if _is_installed(path) and (package := _find_distribution(name.partition(".")[0])):
        return package
    _user_folders.add(path.parent)
    return f"sha256:{_hash_code(module)}"


@functools.cache  # a file may change later, but the imported code runs
def _hash_code(module: ModuleType) -> str:
    """Hash the user's own file and the user's files that it imports, also indirectly."""
    files = [Path(str(module.__file__)).resolve()]
    for file in files:
        files += [imported for imported in _list_imports(file) if imported not in files]
    contents = [file.read_bytes() for file in files]
    combined = contents[0] if len(contents) == 1 else b"".join(sorted(hashlib.sha256(c).digest() for c in contents))
    return hashlib.sha256(combined).hexdigest()[:16]


def _list_imports(file: Path) -> list[Path]:
    """List the files that a Python file imports from the user's own folders."""
    names = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""  # of `from module import name`
            names += [*filter(None, [module]), *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
    paths = [folder / name.replace(".", "/") for name in names for folder in [file.parent, *sorted(_user_folders)]]
    files = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return list(dict.fromkeys(file.resolve() for file in files if file.is_file()))


def _hash_file(path: Path) -> str:
    return _hash_content(path.resolve(), path.stat().st_mtime_ns, path.stat().st_size)


@functools.cache
def _hash_content(path: Path, *_: float) -> str:
    """Hash a file, once for each time and size."""
    return f"sha256:{hash_file(path)[:16]}"


def hash_files(paths: Iterable[Path]) -> str:
    """Hash the contents of files, in their order."""
    return f"sha256:{hashlib.sha256(' '.join(map(_hash_file, paths)).encode()).hexdigest()[:16]}"


@functools.cache
def _find_distribution(package: str) -> str:
    names = metadata.packages_distributions().get(package, [])
    return f"{names[0]}=={metadata.version(names[0])}" if names else ""


def find_user_line(problem: BaseException | str) -> str:
    """Find the innermost line of the user's own files in a traceback: "mine.py, line 12, in forward"; "" if none is.

    Args:
        problem: an exception, or the text of a traceback.
    """
    text = problem if isinstance(problem, str) else "".join(traceback.format_exception(problem))
    for file, line, name in reversed(re.findall(r'^ *File "(.+)", line (\d+), in (.+)$', text, re.MULTILINE)):
        path = Path(file).resolve()
        if path.is_file() and path.parent in _user_folders and PACKAGE not in path.parents:
            return f"{file}, line {line}, in {name}"
    return ""
