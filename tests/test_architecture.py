"""Who may import whom: the table of docs/contributing.rst, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_deeplinear

PACKAGE = Path(sklearn_deeplinear.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

LEVELS = {
    **dict.fromkeys(
        ["_results", "_parameters", "_warnings", "_training_warning", "_compat", "_all_or_nothing"],
        0,
    ),
    "_documentation": 0,
    **dict.fromkeys(["theory", "nn", "datasets", "_arrays"], 1),
    **dict.fromkeys(["dynamics", "callbacks", "_streamed"], 2),
    **dict.fromkeys(["estimators", "model_selection", "inspection"], 3),
    **dict.fromkeys(["results", "__init__"], 4),
}
# Rooms of `dynamics`: its files at the top are the public tools.
ROOMS = {"networks": 0, "runs": 1, "compression": 1, "step_sizes": 1, "": 2}
DASK = "theory/_distributed.py"
SKORCH = {"dynamics/runs/_minibatch.py", "dynamics/runs/_resident_net.py"}
# The two derivations of the same thing that the tests play against each other.
THIRD_PARTY = {"theory": {"numpy", "scipy"}, "nn": {"numpy", "torch"}}


def imports(tree):
    """Yield (dotted name, is inside a function) for everything that `tree` imports."""
    nested = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in nested) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((f"{module}.{alias.name}", node in nested) for alias in node.names)


def offences(source, file):
    """Imports in the `source` of `file` (a path inside the package) that are not allowed."""
    part = file.split("/")[0].removesuffix(".py")
    found = []
    for name, nested in imports(ast.parse(source)):
        top, *rest = name.split(".")
        if top == "sklearn_deeplinear":
            above, level = LEVELS.get(rest[0], 5), LEVELS[part]
            legal = rest[0] == part or above < level or (above == level and level > 1)
            if rest[0] == part == "dynamics":
                legal = _is_below(room(rest[1:]), room(file.split("/")[1:]))
        elif top == "":
            legal = False
        elif top == "skorch":
            legal = part == "callbacks" or file in SKORCH
        elif top == "dask":
            legal = file == DASK and nested
        elif top == "matplotlib":
            legal = part == "inspection" and nested
        elif top == "sklearn":
            legal = part == "_compat" or not any(r[0] == "_" and r[1] != "_" for r in rest)
        else:
            legal = True
        known = {"sklearn_deeplinear", "dask", *sys.stdlib_module_names}
        if part in THIRD_PARTY and top not in known:
            legal = legal and top in THIRD_PARTY[part]
        if not legal:
            found.append(name)
    return found


def room(path):
    """Room of `dynamics` that a file or module below it lies in."""
    return path[0] if path[0] in ROOMS else ""


def _is_below(other, own):
    return other == own or ROOMS[other] < ROOMS[own]


def test_a_file_imports_only_what_its_place_allows():
    found = {file: offences((PACKAGE / file).read_text(encoding="utf-8"), file) for file in FILES}
    assert {file: wrong for file, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("_results.py", "from sklearn_deeplinear.theory import SecondMoments"),
        ("theory/_a.py", "import torch"),
        ("theory/_a.py", "from sklearn.utils import check_array"),
        ("theory/_a.py", "def f():\n    import dask"),
        ("theory/_distributed.py", "import dask"),
        ("theory/_a.py", "from sklearn_deeplinear.nn import LinearNetwork"),
        ("theory/_a.py", "def f():\n    import torch.linalg"),
        ("nn/_a.py", "from sklearn_deeplinear.theory._moments import SecondMoments"),
        ("nn/_a.py", "import scipy.linalg"),
        ("nn/_a.py", "from .other import f"),
        ("dynamics/_a.py", "from sklearn_deeplinear.estimators import DeepLinearRegressor"),
        ("dynamics/_a.py", "def f():\n    from skorch import NeuralNet"),
        ("estimators/_a.py", "from skorch.callbacks import Callback"),
        ("estimators/_a.py", "from sklearn.utils._param_validation import Interval"),
        ("estimators/_a.py", "from sklearn.linear_model import _base"),
        ("estimators/_a.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("inspection/_a.py", "import matplotlib.pyplot as plt"),
        ("inspection/_a.py", "from sklearn_deeplinear import DeepLinearRegressor"),
    ],
)
def test_an_offence_is_seen(file, line):
    assert len(offences(line, file)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("_compat.py", "from sklearn.utils._param_validation import Interval"),
        ("theory/_a.py", "from __future__ import annotations\nimport math, scipy.linalg"),
        ("dynamics/runs/_minibatch.py", "def f():\n    from skorch import NeuralNet"),
        ("theory/_distributed.py", "def f():\n    from dask import compute"),
        ("dynamics/_a.py", "from sklearn_deeplinear.theory import SecondMoments"),
        ("model_selection/_a.py", "from sklearn_deeplinear.estimators import DeepLinearRegressor"),
        ("inspection/_a.py", "def plot():\n    import matplotlib.pyplot as plt"),
    ],
)
def test_what_is_allowed_passes(file, line):
    assert offences(line, file) == []


def loaded_by(code):
    """Names of the modules that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_theory_loads_nothing_but_itself_numpy_and_linear_algebra():
    """Nor other parts of scipy, which take as long as all the rest."""
    floor = loaded_by("import numpy, scipy.linalg, numpy.polynomial")
    more = loaded_by("import sklearn_deeplinear.theory") - floor
    tops = {name.split(".")[0] for name in more}
    assert tops - {"sklearn_deeplinear", *sys.stdlib_module_names} == set()


DATA_AND_DISPLAYS = "from sklearn_deeplinear import TrainingWarning, datasets, inspection"
EVERYTHING = "from sklearn_deeplinear import *; import sklearn_deeplinear.dynamics"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import sklearn_deeplinear as p; p.__version__, dir(p), p.theory", {"sklearn", "torch"}),
        (DATA_AND_DISPLAYS, {"torch"}),
        ("from sklearn_deeplinear import DeepLinearRegressorCV", {"torch"}),
        (EVERYTHING, set()),
    ],
)
def test_nothing_is_loaded_before_it_is_used(code, absent):
    """Plotting, mini-batch training and dask not even with the estimators."""
    assert loaded_by(code) & (absent | {"matplotlib", "skorch", "dask"}) == set()
