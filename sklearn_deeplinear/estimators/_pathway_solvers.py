"""Solvers of multi-pathway regression: each turns a problem into weights and a run.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from sklearn_deeplinear.dynamics.compression._compressed_pathways import compressed
from sklearn_deeplinear.dynamics.compression._krylov import krylov_run
from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways, centred_data
from sklearn_deeplinear.dynamics.networks._pathway_curvature import (
    WithSharpness,
    pathway_hessian_eigenvalues,
)
from sklearn_deeplinear.dynamics.networks._pathways import LinearPathways, PathwayDynamics
from sklearn_deeplinear.dynamics.runs._descent import Run, descend, record_iterations
from sklearn_deeplinear.dynamics.step_sizes._linear_step_size import _reachable_norm
from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import pathway_step_size
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import _longest_batch
from sklearn_deeplinear.estimators._options import check_step_size, torch_generator
from sklearn_deeplinear.estimators._pathway_problem import given_pathways, pathway_initial_weights
from sklearn_deeplinear.estimators._runs import (
    check_attained,
    check_samples,
    run_descent,
    run_flow,
    run_nothing,
)
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways
from sklearn_deeplinear.theory import SecondMoments


@dataclass(frozen=True)
class PathwayOutcome:
    """Weights found, the output left to the intercept, and the run that found them."""

    pathways: list[list[np.ndarray]]
    mean_residual: np.ndarray
    run: Run
    step_size: object
    n_iter: int
    compression_error: float = 0.0
    net: object = None


def check_compression(compression, solver, activation):
    """Raise a ValueError where there is nothing that a Krylov space could stand for."""
    if compression == "krylov" and (solver, activation) != ("gd", "identity"):
        raise ValueError(
            f'compression must be "exact" with solver="{solver}" and activation="{activation}": '
            '"krylov" compares runs of "gd" with activation="identity".'
        )


def gradient_descent_solver(estimator, problem, data, device, dtype, listener):
    """Full-batch gradient descent: on moments if linear, else on all samples."""
    if estimator.compression == "krylov":
        return _krylov_descent(estimator, problem, device, dtype, listener)
    pathways, schedule, step_size = _start(estimator, problem)
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    dynamics = _recorded(estimator, dynamics, problem, data)
    run = run_descent(estimator, dynamics, schedule, listener, lambda: _fitted(dynamics))
    return _outcome(dynamics, run, step_size, run.n_iter)


def _krylov_descent(estimator, problem, device, dtype, listener):
    """Gradient descent in Krylov spaces, one run after the other: without callbacks."""
    pathways, schedule, step_size = _start(estimator, problem)
    rule = LinearPathways.from_moments(problem.moments, torch.empty(0, device=device, dtype=dtype))
    listener.start(0, None)

    def train(dynamics):
        cost = dynamics.record_cost()
        iterations = record_iterations(estimator.max_iter, estimator.record_every, cost)
        kept = {"tol": estimator.tol, "record_weights": estimator.record_weights}
        dynamics = _recorded(estimator, dynamics, problem, None)
        return descend(dynamics, schedule, iterations, **kept)

    dynamics, run, error = krylov_run(pathways, rule, problem.weight_decay, train)
    return replace(_outcome(dynamics, run, step_size, run.n_iter), compression_error=error)


def gradient_flow_solver(estimator, problem, data, device, dtype, listener):
    """Gradient flow, recorded at the times of the records of gradient descent."""
    pathways, schedule, step_size = _start(estimator, problem)
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    dynamics = _recorded(estimator, dynamics, problem, data)
    options = dynamics.flow_options
    run = run_flow(estimator, dynamics, schedule, listener, lambda: _fitted(dynamics), **options)
    return _outcome(dynamics, run, step_size, max(run.n_iter, 1))


def mini_batch_solver(solver, estimator, problem, data, device, dtype, listener):
    """Mini-batches of the centred data in a skorch net; each epoch starts at the best intercept."""
    from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch

    check_samples(data, solver)
    generator = torch_generator(estimator.random_state)
    pathways = _initial(estimator, problem, generator)
    dynamics = _dynamics(pathways, problem, data, device, dtype, compress=False)
    dynamics = _recorded(estimator, dynamics, problem, data)
    options = (problem.activation, problem.activate_output, device, dtype)
    network = ParallelPathways(problem.shapes, *options).fill(pathways)
    batches = _batches(problem, data, estimator.batch_size, device, dtype)
    schedule, step_size = check_step_size(
        estimator.step_size, partial(_AUTOMATIC[solver], estimator, problem, pathways, batches)
    )

    def renew_intercept():
        network.intercept.copy_(dynamics.rule.mean_residual(dynamics.pathways))

    iterations = record_iterations(
        estimator.max_iter, estimator.record_every, dynamics.record_cost()
    )
    run, net = train_minibatch(
        dynamics,
        network,
        batches.data,
        loss="squared_error",
        solver=solver,
        schedule=schedule,
        weight_decay=np.concatenate(problem.weight_decay),
        batch_size=estimator.batch_size,
        generator=generator,
        iterations=iterations,
        tol=estimator.tol,
        record_weights=estimator.record_weights,
        callbacks=estimator.callbacks,
        watch=listener.start(len(iterations) - 1, lambda: _fitted(dynamics)),
        before_epoch=renew_intercept,
    )
    renew_intercept()
    return replace(_outcome(dynamics, run, step_size, run.n_iter), net=net)


def _batches(problem, data, batch_size, device, dtype):
    from sklearn_deeplinear.dynamics.runs._resident_data import ResidentBatches, ResidentData

    X, y, sample_weight = data
    X, Y, share = centred_data(X, y, sample_weight, problem.moments)
    tensors = [torch.as_tensor(part).to(device=device, dtype=dtype) for part in (X, Y, share)]
    return ResidentBatches(ResidentData(*tensors[:2], tensors[2][:, 0]), batch_size)


def _sgd_step_size(estimator, problem, pathways, batches):
    """That of "gd", divided by how much more curved the worst batch is than all samples."""
    data, n_steps = batches.data, estimator.max_iter * len(batches)
    X, shares = _longest_batch(data.X, data.weight / len(data), min(batches.sizes))
    batch_sigma = torch.linalg.svdvals(shares.sqrt()[:, None] * X).numpy(force=True)
    sigma = problem.moments.spectrum.sigma
    # The curvature of linear pathways follows lambda_max(A), that of others tr A.
    size_of = partial(np.linalg.norm, ord=np.inf if problem.linear else 2)
    excess = (size_of(batch_sigma) / size_of(sigma)) ** 2 if sigma.size else 1.0
    return _descent_step_size(problem, pathways, n_steps) / max(float(excess), 1.0)


def _adam_step_size(estimator, problem, pathways, batches):
    """A hundredth of the entries' size in layers as large as in the map that is to be reached.

    Adam moves every entry by up to one step size at a time.
    """
    reach = _reachable_norm(problem.moments, estimator.max_iter * len(batches))
    square, count = 0.0, 0
    for weights in pathways:
        for W in weights:
            square += max(float(W.square().sum()), reach ** (2 / len(weights)))
            count += max(int((W != 0).sum()), 1)
    return 0.01 * float(np.sqrt(square / count)) or 0.01


_AUTOMATIC = {"sgd": _sgd_step_size, "adam": _adam_step_size}


def analytic_solver(estimator, problem, data, device, dtype, listener):
    """Weights at the global minimum, as a run of a single record."""
    if not problem.linear:
        raise ValueError('solver="analytic" needs activation="identity".')
    minimum = problem.global_minimum
    check_attained(minimum)
    pathways = given_pathways(minimum.weights(problem.widths), problem.shapes, "weights")
    dynamics = _dynamics(pathways, problem, data, device, dtype)
    dynamics = _recorded(estimator, dynamics, problem, data)
    run = run_nothing(estimator, dynamics, listener)
    return _outcome(dynamics, replace(run, stop_reason="converged"), None, 1)


SOLVERS: dict[str, Callable[..., PathwayOutcome]] = {
    "gd": gradient_descent_solver,
    "flow": gradient_flow_solver,
    "sgd": partial(mini_batch_solver, "sgd"),
    "adam": partial(mini_batch_solver, "adam"),
    "analytic": analytic_solver,
}


def _start(estimator, problem):
    """The initial weights, the schedule and the step size to report."""
    pathways = _initial(estimator, problem, torch_generator(estimator.random_state))
    schedule, step_size = check_step_size(
        estimator.step_size, lambda: _descent_step_size(problem, pathways, estimator.max_iter)
    )
    return pathways, schedule, step_size


def _descent_step_size(problem, pathways, n_steps):
    arrays = [[W.numpy() for W in weights] for weights in pathways]
    return pathway_step_size(arrays, problem.moments, problem.weight_decay, n_steps, problem.linear)


def _initial(estimator, problem, generator):
    if estimator.warm_start and hasattr(estimator, "weights_"):
        return given_pathways(estimator.weights_, problem.shapes, "warm_start")
    return pathway_initial_weights(estimator.init, estimator.init_scale, problem, generator)


def dynamics_starter(estimator, problem, data, device, dtype):
    """Return a function that makes the initial pathways of `estimator` anew at each call."""
    pathways = _initial(estimator, problem, torch_generator(estimator.random_state))
    return lambda: _dynamics(pathways, problem, data, device, dtype, compress=False)


def hessian_eigenvalues_of(weights, problem, data, *, k, which):
    """Extreme eigenvalues of the Hessian of `problem` on other data, in float64."""
    fitted = problem.moments
    moments = SecondMoments.from_data(*data, center=fitted.centered)
    if (moments.n_inputs, moments.n_outputs) != (fitted.n_inputs, fitted.n_outputs):
        raise ValueError(
            f"X and y must have {fitted.n_inputs} and {fitted.n_outputs} columns as in fit, got "
            f"{moments.n_inputs} and {moments.n_outputs}."
        )
    if problem.linear:  # others take the inputs less the mean of the training data
        problem = replace(problem, moments=moments)
    rule = _rule(problem, data, torch.empty(0, dtype=torch.float64))
    return pathway_hessian_eigenvalues(weights, rule, problem.weight_decay, k=k, which=which)


def _rule(problem, data, like):
    if problem.linear:
        return LinearPathways.from_moments(problem.moments, like)
    return ActivePathways.from_data(
        *data, problem.moments, problem.activation, problem.activate_output, like
    )


def _recorded(estimator, dynamics, problem, data):
    if not estimator.record_sharpness:
        return dynamics
    # Eigenvalues take float64, which "mps" does not have.
    device = dynamics.state.device
    like = torch.empty(0, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
    return WithSharpness(dynamics, _rule(problem, data, like))


def _dynamics(pathways, problem, data, device, dtype, compress=True):
    like = torch.empty(0, device=device, dtype=dtype)
    rule = _rule(problem, data, like)
    if problem.linear and compress:
        narrow = compressed(pathways, rule, problem.weight_decay)
        if narrow is not None:
            return narrow
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
