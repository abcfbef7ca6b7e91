"""Solvers of deep linear regression: each turns a problem into weights and a run.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
import torch

from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._subspaces import live_blocks, live_units
from sklearn_deeplinear.dynamics.networks._active_pathways import centred_data
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.runs._descent import Run, record_iterations
from sklearn_deeplinear.dynamics.step_sizes._linear_step_size import auto_step_size
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import auto_network_step_size
from sklearn_deeplinear.estimators._advice import linear_advice
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
    sized_weights,
)
from sklearn_deeplinear.estimators._options import (
    check_step_size,
    step_flops,
    torch_generator,
)
from sklearn_deeplinear.estimators._runs import (
    check_attained,
    check_samples,
    run_descent,
    run_flow,
    run_nothing,
)
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import GlobalMinimum, SecondMoments, global_minimum
from sklearn_deeplinear.theory._known_weights import minimum_beside
from sklearn_deeplinear.theory._noise import noisy_loss


@dataclass(frozen=True)
class LinearProblem:
    """What a deep linear network is asked to minimise, parameters in full form."""

    moments: SecondMoments
    depth: int
    width: tuple[int, ...]
    weight_decay: np.ndarray
    noise: np.ndarray

    linear: ClassVar[bool] = True

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.moments.n_inputs, *self.width, self.moments.n_outputs]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @cached_property
    def global_minimum(self) -> GlobalMinimum:
        """Exact minimum of the objective."""
        return global_minimum(
            self.moments,
            depth=self.depth,
            width=self.width,
            weight_decay=self.weight_decay,
            noise=self.noise,
        )

    @property
    def has_cheap_minimum(self):
        """Whether `global_minimum` solves a scalar equation or less, in milliseconds."""
        regression = self.depth == 1 or not (self.weight_decay.any() or self.noise.any())
        return regression or self.moments.n_outputs == 1

    def step_flops(self, batch_size):
        """Floating-point operations of a step, roughly; `batch_size` None for all data."""
        thin = min(self.moments.n_inputs, self.moments.n_outputs)
        if self.noise.any():
            thin = max(self.width)
        return step_flops(batch_size or thin, self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        return linear_advice(self.moments, self.depth, self.weight_decay, n_steps)

    def evaluate(self, weights):
        """Loss and objective of weights, in double precision."""
        weights = [W.astype(np.float64) for W in weights]
        loss = noisy_loss(weights, self.moments, self.noise)
        decays = zip(self.weight_decay, weights, strict=True)
        return loss, loss + float(sum(gamma * np.sum(W**2) for gamma, W in decays))

    def minimum_beside(self, weights, objective=None):
        """The minimum, none that the weights contradict."""
        objective = self.evaluate(weights)[1] if objective is None else objective
        minimum = minimum_beside(self.global_minimum, self.moments, weights, objective)
        vars(self)["global_minimum"] = minimum  # what has been found is found for good
        return minimum


@dataclass(frozen=True)
class Outcome:
    """Weights found, the run that found them, and what it used."""

    weights: list[np.ndarray]
    run: Run
    step_size: object
    n_iter: int
    net: object = None


def dynamics_starter(estimator, problem, device, dtype):
    """Return a function that makes the initial network of `estimator` anew at each call."""
    weights = _initial_weights(estimator, problem, torch_generator(estimator.random_state))
    return lambda: _dynamics(estimator, weights, problem, device, dtype)


def gradient_descent_solver(estimator, problem, data, device, dtype, listener):
    """Full-batch gradient descent on the moments of the data."""
    dynamics, schedule, step_size = _start(estimator, problem, device, dtype)
    run = run_descent(estimator, dynamics, schedule, listener, lambda: _weights(dynamics))
    return Outcome(_weights(dynamics), run, step_size, run.n_iter)


def gradient_flow_solver(estimator, problem, data, device, dtype, listener):
    """Gradient flow on the moments, over the time that gradient descent would take."""
    dynamics, schedule, step_size = _start(estimator, problem, device, dtype)
    options = dynamics.flow_options
    run = run_flow(estimator, dynamics, schedule, listener, lambda: _weights(dynamics), **options)
    return Outcome(_weights(dynamics), run, step_size, run.n_iter)


def mini_batch_solver(solver, estimator, problem, data, device, dtype, listener):
    """Mini-batches of the centred data in a skorch net."""
    from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch
    from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData

    check_samples(data, solver)
    if problem.noise.any():
        raise ValueError(
            f'noise must be 0 with solver="{solver}": "gd" and "flow" train on the exact '
            "expected objective."
        )
    generator = torch_generator(estimator.random_state)
    weights = _initial_weights(estimator, problem, generator)
    dynamics = _dynamics(estimator, weights, problem, device, dtype)
    network = HomogeneousNetwork(problem.shapes, "identity", device=device, dtype=dtype)
    network.fill(weights)
    X, y, shares = _resident(problem.moments, data, device, dtype)
    schedule, step_size = check_step_size(
        estimator.step_size, partial(_AUTOMATIC[solver], estimator, problem, network, X, y, shares)
    )
    iterations = record_iterations(estimator.max_iter, estimator.record_every)
    run, net = train_minibatch(
        dynamics,
        network,
        ResidentData(X, y, shares),
        loss="squared_error",
        solver=solver,
        schedule=schedule,
        weight_decay=problem.weight_decay,
        batch_size=estimator.batch_size,
        generator=generator,
        iterations=iterations,
        tol=estimator.tol,
        record_weights=estimator.record_weights,
        callbacks=estimator.callbacks,
        watch=listener.start(len(iterations) - 1, lambda: _weights(dynamics)),
    )
    return Outcome(_weights(dynamics), run, step_size, run.n_iter, net)


def _sgd_step_size(estimator, problem, network, X, y, shares):
    return auto_network_step_size(
        network, X, y, shares, "squared_error", problem.weight_decay, estimator.batch_size
    )


def _adam_step_size(estimator, problem, network, X, y, shares):
    """A hundredth of the size of the weights, which Adam moves by one step size at a time."""
    entries = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    entries = entries[entries != 0]
    return 0.01 * float(entries.square().mean().sqrt()) if len(entries) else 0.01


_AUTOMATIC = {"sgd": _sgd_step_size, "adam": _adam_step_size}


def _resident(moments, data, device, dtype):
    """Centred data and the shares of the samples, as tensors on the device."""
    X, Y, share = centred_data(*data, moments)
    return [torch.as_tensor(a).to(device=device, dtype=dtype) for a in (X, Y, share[:, 0])]


def analytic_solver(estimator, problem, data, device, dtype, listener):
    """Weights at the global minimum, as a run of a single record."""
    minimum = problem.global_minimum
    check_attained(minimum)
    weights = given_weights(minimum.weights(problem.width), problem.shapes, "weights")
    dynamics = _dynamics(estimator, weights, problem, device, dtype)
    run = run_nothing(estimator, dynamics, listener)
    return Outcome(_weights(dynamics), replace(run, stop_reason="converged"), None, 1)


SOLVERS: dict[str, Callable[..., Outcome]] = {
    "gd": gradient_descent_solver,
    "flow": gradient_flow_solver,
    "sgd": partial(mini_batch_solver, "sgd"),
    "adam": partial(mini_batch_solver, "adam"),
    "analytic": analytic_solver,
}


def _start(estimator, problem, device, dtype):
    """Initial network and step sizes."""
    weights = _initial_weights(estimator, problem, torch_generator(estimator.random_state))
    schedule, step_size = check_step_size(
        estimator.step_size,
        lambda: auto_step_size(
            [W.numpy() for W in live_blocks(weights, live_units(weights))],  # of equal norms
            problem.moments,
            problem.weight_decay,
            problem.noise,
            estimator.max_iter,
        ),
    )
    dynamics = _compressed(estimator, weights, problem, device, dtype)
    if dynamics is None:
        dynamics = _dynamics(estimator, weights, problem, device, dtype)
    return dynamics, schedule, step_size


def _initial_weights(estimator, problem, generator):
    if estimator.warm_start and hasattr(estimator, "weights_"):
        return given_weights(estimator.weights_, problem.shapes, "warm_start")
    weights = initial_weights(
        estimator.init,
        estimator.init_scale,
        problem.shapes,
        generator,
        first_gradient_step(problem.moments),
        noisy=problem.noise.any(),
    )
    return sized_weights(estimator.init, estimator.init_scale, weights, problem.moments)


def _compressed(estimator, weights, problem, device, dtype):
    """The same dynamics in fewer dimensions, if that is exact and pays; else None."""
    if problem.noise.any() or estimator.record_sharpness:
        return None
    return CompressedNetwork.from_moments(
        weights,
        problem.moments,
        problem.weight_decay,
        like=torch.empty(0, device=device, dtype=dtype),
        n_steps=estimator.max_iter,
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
