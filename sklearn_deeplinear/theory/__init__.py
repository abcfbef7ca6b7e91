"""Exact minima, landscape, noise, balance and dynamics of deep linear networks, in numpy."""

from sklearn_deeplinear.theory._balance import balance, balanced_factors
from sklearn_deeplinear.theory._flows import end_to_end_flow, mode_flow
from sklearn_deeplinear.theory._global_minimum import GlobalMinimum, global_minimum
from sklearn_deeplinear.theory._landscape import critical_weight_decay, zero_hessian
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._noise import expected_loss, predictive_variance
from sklearn_deeplinear.theory._path import deep_linear_path
from sklearn_deeplinear.theory._pathway_flow import pathway_flow
from sklearn_deeplinear.theory._pathways import pathway_global_minimum
from sklearn_deeplinear.theory._step_size_bound import flow_step_size_bound
from sklearn_deeplinear.theory._two_layer_flow import two_layer_flow

__all__ = [
    "GlobalMinimum",
    "SecondMoments",
    "balance",
    "balanced_factors",
    "critical_weight_decay",
    "deep_linear_path",
    "end_to_end_flow",
    "expected_loss",
    "flow_step_size_bound",
    "global_minimum",
    "mode_flow",
    "pathway_flow",
    "pathway_global_minimum",
    "predictive_variance",
    "two_layer_flow",
    "zero_hessian",
]
