"""Exact minima, landscape, noise, balance and dynamics of deep linear networks, in numpy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_deeplinear.theory._balance import balance, balanced_factors
    from sklearn_deeplinear.theory._certify import certify
    from sklearn_deeplinear.theory._flows import end_to_end_flow
    from sklearn_deeplinear.theory._generalised_minimum import generalised_minimum
    from sklearn_deeplinear.theory._generalised_minimum_result import GeneralisedMinimum
    from sklearn_deeplinear.theory._global_minimum import global_minimum
    from sklearn_deeplinear.theory._landscape import (
        CriticalWeightDecay,
        ZeroHessian,
        critical_weight_decay,
        zero_hessian,
    )
    from sklearn_deeplinear.theory._minimum_result import GlobalMinimum, StationaryPoint
    from sklearn_deeplinear.theory._mode_flow import mode_flow
    from sklearn_deeplinear.theory._moments import SecondMoments, Spectrum
    from sklearn_deeplinear.theory._noise import expected_loss, predictive_variance
    from sklearn_deeplinear.theory._path import DeepLinearPath, deep_linear_path
    from sklearn_deeplinear.theory._pathway_flow import pathway_flow
    from sklearn_deeplinear.theory._pathway_global_minimum import pathway_global_minimum
    from sklearn_deeplinear.theory._pathway_minimum_result import PathwayMinimum
    from sklearn_deeplinear.theory._step_size_bound import StepSizeBound, flow_step_size_bound
    from sklearn_deeplinear.theory._two_layer_flow import TwoLayerState, two_layer_flow
    from sklearn_deeplinear.theory._verify import Verification, verify

__all__ = [
    "CriticalWeightDecay",
    "DeepLinearPath",
    "GeneralisedMinimum",
    "GlobalMinimum",
    "PathwayMinimum",
    "SecondMoments",
    "Spectrum",
    "StationaryPoint",
    "StepSizeBound",
    "TwoLayerState",
    "Verification",
    "ZeroHessian",
    "balance",
    "balanced_factors",
    "certify",
    "critical_weight_decay",
    "deep_linear_path",
    "end_to_end_flow",
    "expected_loss",
    "flow_step_size_bound",
    "generalised_minimum",
    "global_minimum",
    "mode_flow",
    "pathway_flow",
    "pathway_global_minimum",
    "predictive_variance",
    "two_layer_flow",
    "verify",
    "zero_hessian",
]

# Modules with more than one public name, and those that bear another one; they are loaded when
# they are asked for, as most of the time of importing all of them is spent on results.
_HOMES = {
    "CriticalWeightDecay": "_landscape",
    "DeepLinearPath": "_path",
    "GeneralisedMinimum": "_generalised_minimum_result",
    "GlobalMinimum": "_minimum_result",
    "PathwayMinimum": "_pathway_minimum_result",
    "SecondMoments": "_moments",
    "Spectrum": "_moments",
    "StationaryPoint": "_minimum_result",
    "StepSizeBound": "_step_size_bound",
    "TwoLayerState": "_two_layer_flow",
    "Verification": "_verify",
    "ZeroHessian": "_landscape",
    "balanced_factors": "_balance",
    "critical_weight_decay": "_landscape",
    "deep_linear_path": "_path",
    "end_to_end_flow": "_flows",
    "expected_loss": "_noise",
    "flow_step_size_bound": "_step_size_bound",
    "predictive_variance": "_noise",
    "zero_hessian": "_landscape",
}


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES.get(name, '_' + name)}")
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
