"""Deep linear networks and homogeneous MLPs in which theory and training meet."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_deeplinear._training_warning import TrainingWarning
    from sklearn_deeplinear.estimators import (
        DeepLinearClassifier,
        DeepLinearRegressor,
        HomogeneousMLPClassifier,
        HomogeneousMLPRegressor,
        MultiPathwayRegressor,
    )
    from sklearn_deeplinear.model_selection import DeepLinearRegressorCV

    __version__: str

__all__ = [
    "DeepLinearClassifier",
    "DeepLinearRegressor",
    "DeepLinearRegressorCV",
    "HomogeneousMLPClassifier",
    "HomogeneousMLPRegressor",
    "MultiPathwayRegressor",
    "TrainingWarning",
    "__version__",
]

# Loaded when they are asked for: theory needs no torch, and imports as fast as scipy.
_HOMES = {"DeepLinearRegressorCV": "model_selection", "TrainingWarning": "_training_warning"}
_PACKAGES = [
    "callbacks",
    "datasets",
    "dynamics",
    "estimators",
    "inspection",
    "model_selection",
    "nn",
    "results",
    "theory",
]


def __getattr__(name):
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value = import_module("importlib.metadata").version("sklearn-deeplinear")
    else:
        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'estimators')}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__, *_PACKAGES})
