"""Nothing is unpickled: a file that others wrote never runs as code."""

import ast
from pathlib import Path

import pytest

import singtech

SOURCES = sorted(Path(singtech.__file__).parent.rglob("*.py"))
UNPICKLERS = ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
EXCEPTIONS = {"UnpicklingError", "PicklingError", "PickleError"}  # may be caught
SAFE_IF = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
UNSAFE = {
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("pd.read_pickle", "pandas.read_pickle", "eval", "exec", "compile", "__import__", "torch.hub.load"),
    *("np.lib.format.read_array", "np.lib.npyio.NpzFile"),
}


def dotted(node):
    """`np.load` of the expression `np.load`; "" of any other."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def faults(code):
    """What in some code could unpickle, a line each."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [f"import {name.name}" for name in node.names if name.name.partition(".")[0] in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            module, names = node.module or "", {name.name for name in node.names}
            if module.partition(".")[0] in UNPICKLERS and names - EXCEPTIONS:
                found.append(f"from {module} import {', '.join(names)}")
            if module in ("torch", "numpy", "yaml", "pandas") and names & {"load", "load_all", "read_pickle"}:
                found.append(f"from {module} import {', '.join(names)}")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            keyword, value = SAFE_IF.get(name, ("", None))
            given = {each.arg: getattr(each.value, "value", ...) for each in node.keywords}
            if (keyword and given.get(keyword, ...) is not value) or given.get("allow_pickle") is True:
                found.append(f"{name} without {keyword or 'allow_pickle'}={value or False}")
            if name in UNSAFE or name.endswith(".load_from_checkpoint"):
                found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_in_the_package_unpickles(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        *(
            "import pickle",
            "import joblib",
            "from pickle import loads",
            "from torch import load",
            "from numpy import load",
        ),
        *("torch.load(path)", "torch.load(path, weights_only=False)", "torch.load(path, weights_only=safe)"),
        *("np.load(path)", "np.load(path, mmap_mode='r')", "numpy.load(path, allow_pickle=True)", "eval(text)"),
        *("yaml.load(text, Loader=yaml.Loader)", "pd.read_pickle(path)", "TechniqueModule.load_from_checkpoint(path)"),
        *("np.save(path, array, allow_pickle=True)", "from numpy import load"),
    ],
)
def test_what_unpickles_would_be_found(code):
    assert len(faults(code)) >= 1


@pytest.mark.parametrize(
    "code",
    [
        *("torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "yaml.safe_load(text)"),
        *("from pickle import UnpicklingError", "OmegaConf.load(path)", "json.loads(text)", "pickled.load(path)"),
    ],
)
def test_what_unpickles_nothing_is_let_be(code):
    assert faults(code) == []
