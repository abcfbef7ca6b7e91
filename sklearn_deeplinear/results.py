"""What fits and functions return: frozen records, each where it is made and here together."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_deeplinear.dynamics import BalanceHistory, StepSizeComparison, Trajectory
    from sklearn_deeplinear.estimators import SavedWeights
    from sklearn_deeplinear.model_selection import StoppingPath
    from sklearn_deeplinear.theory import (
        CriticalWeightDecay,
        DeepLinearPath,
        GeneralisedMinimum,
        GlobalMinimum,
        PathwayMinimum,
        SecondMoments,
        Spectrum,
        StationaryPoint,
        StepSizeBound,
        TwoLayerState,
        Verification,
        ZeroHessian,
    )

__all__ = [
    "BalanceHistory",
    "CriticalWeightDecay",
    "DeepLinearPath",
    "GeneralisedMinimum",
    "GlobalMinimum",
    "PathwayMinimum",
    "SavedWeights",
    "SecondMoments",
    "Spectrum",
    "StationaryPoint",
    "StepSizeBound",
    "StepSizeComparison",
    "StoppingPath",
    "Trajectory",
    "TwoLayerState",
    "Verification",
    "ZeroHessian",
]

# Those of `theory`, the others, are loaded without torch.
_HOMES = {
    "BalanceHistory": "_results",
    "SavedWeights": "estimators",
    "StepSizeComparison": "dynamics",
    "StoppingPath": "model_selection",
    "Trajectory": "_results",
}


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"sklearn_deeplinear.{_HOMES.get(name, 'theory')}")
    globals()[name] = getattr(home, name)
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
