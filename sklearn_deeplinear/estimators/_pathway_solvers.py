"""Solvers of multi-pathway regression: each turns a problem into weights and a run.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from sklearn_deeplinear.dynamics._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics._compressed_pathways import compressed
from sklearn_deeplinear.dynamics._descent import Run, descend, record_iterations
from sklearn_deeplinear.dynamics._krylov import krylov_run
from sklearn_deeplinear.dynamics._pathway_step_size import pathway_step_size
from sklearn_deeplinear.dynamics._pathways import LinearPathways, PathwayDynamics
from sklearn_deeplinear.estimators._options import check_step_size, torch_generator
from sklearn_deeplinear.estimators._pathway_problem import given_pathways, pathway_initial_weights
from sklearn_deeplinear.estimators._runs import (
    check_attained,
    run_descent,
    run_flow,
    run_nothing,
)

# Relative tolerance of the flow. The gradient of units with a kink jumps, and the flow can
# slide along a jump: there high orders and small tolerances all but stop.
_SMOOTH_RTOL = {torch.float64: 1e-8, torch.float32: 1e-5}
_KINKED_RTOL = 1e-4


@dataclass(frozen=True)
class PathwayOutcome:
    """Weights found, the output left to the intercept, and the run that found them."""

    pathways: list[list[np.ndarray]]
    mean_residual: np.ndarray
    run: Run
    step_size: object
    n_iter: int
    compression_error: float = 0.0


def gradient_descent_solver(estimator, problem, data, device, dtype, listener):
    """Full-batch gradient descent: on moments if linear, else on all samples."""
    if estimator.compression == "krylov":
        return _krylov_descent(estimator, problem, device, dtype, listener)
    pathways, schedule, step_size = _start(estimator, problem)
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    run = run_descent(estimator, dynamics, schedule, listener, lambda: _fitted(dynamics))
    return _outcome(dynamics, run, step_size, run.n_iter)


def _krylov_descent(estimator, problem, device, dtype, listener):
    """Gradient descent in Krylov spaces, one run after the other: without callbacks."""
    if not problem.linear:
        raise ValueError('compression="krylov" needs activation="identity".')
    pathways, schedule, step_size = _start(estimator, problem)
    rule = LinearPathways.from_moments(problem.moments, torch.empty(0, device=device, dtype=dtype))
    listener.start(0, None)

    def train(dynamics):
        cost = dynamics.record_cost()
        iterations = record_iterations(estimator.max_iter, estimator.record_every, cost)
        kept = {"tol": estimator.tol, "record_weights": estimator.record_weights}
        return descend(dynamics, schedule, iterations, **kept)

    dynamics, run, error = krylov_run(pathways, rule, problem.weight_decay, train)
    return replace(_outcome(dynamics, run, step_size, run.n_iter), compression_error=error)


def gradient_flow_solver(estimator, problem, data, device, dtype, listener):
    """Gradient flow, recorded at the times of the records of gradient descent."""
    pathways, schedule, step_size = _start(estimator, problem)
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    smooth = problem.activation in ("identity", "tanh")
    options = {
        "method": "DOP853" if smooth else "RK23",
        "rtol": _SMOOTH_RTOL[dtype] if smooth else _KINKED_RTOL,
    }
    run = run_flow(estimator, dynamics, schedule, listener, lambda: _fitted(dynamics), **options)
    return _outcome(dynamics, run, step_size, max(run.n_iter, 1))


def analytic_solver(estimator, problem, data, device, dtype, listener):
    """Weights at the global minimum, as a run of a single record."""
    if not problem.linear:
        raise ValueError('solver="analytic" needs activation="identity".')
    minimum = problem.global_minimum
    check_attained(minimum)
    pathways = given_pathways(minimum.weights(problem.widths), problem.shapes, "weights")
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    run = run_nothing(estimator, dynamics, listener)
    return _outcome(dynamics, replace(run, stop_reason="converged"), None, 1)


SOLVERS: dict[str, Callable[..., PathwayOutcome]] = {
    "gd": gradient_descent_solver,
    "flow": gradient_flow_solver,
    "analytic": analytic_solver,
}


def _start(estimator, problem):
    """The initial weights, the schedule and the step size to report."""
    pathways = _initial(estimator, problem)
    schedule, step_size = check_step_size(
        estimator.step_size,
        lambda: pathway_step_size(
            [[W.numpy() for W in weights] for weights in pathways],
            problem.moments,
            problem.weight_decay,
            estimator.max_iter,
            problem.linear,
        ),
    )
    return pathways, schedule, step_size


def _initial(estimator, problem):
    if estimator.warm_start and hasattr(estimator, "weights_"):
        return given_pathways(estimator.weights_, problem.shapes, "warm_start")
    generator = torch_generator(estimator.random_state)
    return pathway_initial_weights(estimator.init, estimator.init_scale, problem, generator)


def dynamics_starter(estimator, problem, data, device, dtype):
    """Return a function that makes the initial pathways of `estimator` anew at each call."""
    pathways = _initial(estimator, problem)
    return lambda: _dynamics(pathways, problem, data, device, dtype, compress=False)


def _dynamics(pathways, problem, data, device, dtype, compress=True):
    like = torch.empty(0, device=device, dtype=dtype)
    if problem.linear:
        rule = LinearPathways.from_moments(problem.moments, like)
        narrow = compressed(pathways, rule, problem.weight_decay) if compress else None
        if narrow is not None:
            return narrow
    else:
        rule = ActivePathways.from_data(
            *data, problem.moments, problem.activation, problem.activate_output, like
        )
    pathways = [[W.to(like) for W in weights] for weights in pathways]
    return PathwayDynamics(pathways, rule, problem.weight_decay)


def _fitted(dynamics):
    return _weights(dynamics), _mean_residual(dynamics)


def _outcome(dynamics, run, step_size, n_iter):
    return PathwayOutcome(*_fitted(dynamics), run, step_size, n_iter)


def _weights(dynamics):
    return [[W.numpy(force=True).copy() for W in weights] for weights in dynamics.full_pathways()]


def _mean_residual(dynamics):
    return dynamics.rule.mean_residual(dynamics.pathways).numpy(force=True).astype(np.float64)
