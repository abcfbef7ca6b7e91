"""The front door: names that load when they are asked for look as if they were always there."""

import ast
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_deeplinear
from sklearn_deeplinear import DeepLinearRegressor, estimators


def test_a_star_brings_the_public_names():
    names = {}
    exec("from sklearn_deeplinear import *", names)
    assert {name for name in names if name != "__builtins__"} == set(sklearn_deeplinear.__all__)
    assert names["DeepLinearRegressor"] is estimators.DeepLinearRegressor


def test_completion_lists_public_names_and_packages_before_they_are_loaded():
    packages = {m.name for m in pkgutil.iter_modules(sklearn_deeplinear.__path__) if m.ispkg}
    code = "import sklearn_deeplinear; print(*dir(sklearn_deeplinear))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    listed = done.stdout.split()
    assert packages | set(sklearn_deeplinear.__all__) <= set(listed)
    assert all(hasattr(sklearn_deeplinear, name) for name in listed)


def test_type_checkers_see_each_public_name():
    source = Path(sklearn_deeplinear.__file__).read_text(encoding="utf-8")
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body[:-1] for alias in node.names}
    assert {*seen, block.body[-1].target.id} == set(sklearn_deeplinear.__all__)


def test_a_pickle_loads_where_the_package_is_not_yet_imported():
    dumped = pickle.dumps(DeepLinearRegressor(depth=3))
    code = f"import pickle; print(pickle.loads({dumped!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "DeepLinearRegressor(depth=3)"


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'sklearn_deeplinear' has no attribute 'Deep'"):
        sklearn_deeplinear.Deep  # noqa: B018
    with pytest.raises(ImportError, match="Deep"):
        exec("from sklearn_deeplinear import Deep")
