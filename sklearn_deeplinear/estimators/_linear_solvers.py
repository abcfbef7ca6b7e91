"""Solvers of deep linear regression: each turns a problem into weights and a run.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_deeplinear.dynamics._comparison import times_of
from sklearn_deeplinear.dynamics._descent import Run, chunks, descend, record_iterations
from sklearn_deeplinear.dynamics._flow_run import flow
from sklearn_deeplinear.dynamics._linear import LinearDynamics
from sklearn_deeplinear.dynamics._step_size import auto_step_size
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
)
from sklearn_deeplinear.estimators._options import check_step_size, torch_generator
from sklearn_deeplinear.theory import SecondMoments, global_minimum

# Relative accuracy of the flow: far better than gradient descent follows it.
FLOW_RTOL = 1e-6


@dataclass(frozen=True)
class LinearProblem:
    """What a deep linear network is asked to minimise, parameters in full form."""

    moments: SecondMoments
    depth: int
    width: tuple[int, ...]
    weight_decay: np.ndarray
    noise: np.ndarray

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.moments.n_inputs, *self.width, self.moments.n_outputs]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @cached_property
    def global_minimum(self):
        """Exact minimum of the objective."""
        return global_minimum(
            self.moments,
            depth=self.depth,
            width=self.width,
            weight_decay=self.weight_decay,
            noise=self.noise,
        )


@dataclass(frozen=True)
class Outcome:
    """Weights found, the run that found them, its step size and number of iterations."""

    weights: list[np.ndarray]
    run: Run
    step_size: object
    n_iter: int


def dynamics_starter(estimator, problem, device, dtype):
    """Return a function that makes the initial network of `estimator` anew at each call."""
    weights = _initial_weights(estimator, problem)
    return lambda: _dynamics(estimator, weights, problem, device, dtype)


def gradient_descent_solver(estimator, problem, device, dtype, listener):
    """Full-batch gradient descent on the moments of the data."""
    dynamics, schedule, step_size = _start(estimator, problem, device, dtype)
    iterations = _iterations(estimator, dynamics)
    watch = listener.start(len(chunks(iterations, dynamics.state)), lambda: _weights(dynamics))
    run = descend(
        dynamics,
        schedule,
        iterations,
        tol=estimator.tol,
        record_weights=estimator.record_weights,
        watch=watch,
    )
    return Outcome(_weights(dynamics), run, step_size, run.n_iter)


def gradient_flow_solver(estimator, problem, device, dtype, listener):
    """Gradient flow on the moments, over the time that gradient descent would take."""
    dynamics, schedule, step_size = _start(estimator, problem, device, dtype)
    times = times_of(schedule, _iterations(estimator, dynamics))
    if estimator.flow_time is not None:
        times = np.linspace(0.0, estimator.flow_time, max(len(times), 2))
    watch = listener.start(len(chunks(times, dynamics.state)), lambda: _weights(dynamics))
    run = flow(
        dynamics,
        times,
        tol=estimator.tol,
        record_weights=estimator.record_weights,
        watch=watch,
        method="DOP853",
        rtol=FLOW_RTOL,
        # The least weight that matters is small beside the largest, in whatever units.
        atol=1e-3 * FLOW_RTOL * float(dynamics.state.abs().max()),
    )
    return Outcome(_weights(dynamics), run, step_size, run.n_iter)


def analytic_solver(estimator, problem, device, dtype, listener):
    """Weights at the global minimum, as a run of a single record."""
    minimum = problem.global_minimum
    if minimum.kind == "unattained":
        raise ValueError(
            'weight_decay must be positive on all layers or zero on all with solver="analytic": '
            "with some layers undecayed the infimum of the objective is not attained."
        )
    weights = given_weights(minimum.weights(problem.width), problem.shapes, "weights")
    dynamics = _dynamics(estimator, weights, problem, device, dtype)
    listener.start(0, None)
    run = descend(dynamics, None, record_iterations(0), record_weights=estimator.record_weights)
    return Outcome(_weights(dynamics), replace(run, stop_reason="converged"), None, 1)


SOLVERS: dict[str, Callable[..., Outcome]] = {
    "gd": gradient_descent_solver,
    "flow": gradient_flow_solver,
    "analytic": analytic_solver,
}


def _start(estimator, problem, device, dtype):
    """Initial network and step sizes."""
    weights = _initial_weights(estimator, problem)
    schedule, step_size = check_step_size(
        estimator.step_size,
        lambda: auto_step_size(
            [W.numpy() for W in weights],
            problem.moments,
            problem.weight_decay,
            problem.noise,
            estimator.max_iter,
        ),
    )
    return _dynamics(estimator, weights, problem, device, dtype), schedule, step_size


def _iterations(estimator, dynamics):
    return record_iterations(estimator.max_iter, estimator.record_every, dynamics.record_cost())


def _initial_weights(estimator, problem):
    if estimator.warm_start and hasattr(estimator, "weights_"):
        return given_weights(estimator.weights_, problem.shapes, "warm_start")
    return initial_weights(
        estimator.init,
        estimator.init_scale,
        problem.shapes,
        torch_generator(estimator.random_state),
        first_gradient_step(problem.moments),
        noisy=problem.noise.any(),
    )


def _dynamics(estimator, weights, problem, device, dtype):
    weights = [W.to(device=device, dtype=dtype) for W in weights]
    return LinearDynamics.from_moments(
        weights,
        problem.moments,
        problem.weight_decay,
        problem.noise,
        record_sharpness=estimator.record_sharpness,
    )


def _weights(dynamics):
    return [W.numpy(force=True).copy() for W in dynamics.weights]
