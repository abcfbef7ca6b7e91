"""Solvers of homogeneous perceptrons: each turns a problem into a network and a run.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._perceptron import NetworkDynamics
from sklearn_deeplinear.dynamics.runs._descent import Run, record_iterations
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import (
    auto_network_step_size,
    fitting_factor,
)
from sklearn_deeplinear.estimators._advice import network_advice
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
)
from sklearn_deeplinear.estimators._options import (
    check_step_size,
    step_flops,
    torch_generator,
)
from sklearn_deeplinear.estimators._runs import run_descent, run_flow
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import SecondMoments

ADAM_STEP_SIZE = 1e-3


@dataclass(frozen=True)
class NetworkProblem:
    """What a perceptron is asked to minimise: data on the device, parameters in full form."""

    X: torch.Tensor  # (n, d)
    Y: torch.Tensor  # (n, m), class indicators for a classifier
    shares: torch.Tensor  # (n,), sample weights of sum 1
    width: tuple[int, ...]
    weight_decay: np.ndarray
    activation: str
    loss: str
    fit_bias: bool

    @property
    def data(self):
        """Data and loss, as the functions of `dynamics` take them."""
        return self.X, self.Y, self.shares, self.loss

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.X.shape[1], *self.width, self.Y.shape[1]]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    has_cheap_minimum = False

    def step_flops(self, batch_size):
        """Floating-point operations of a step, roughly; `batch_size` None for all data."""
        return step_flops(batch_size or len(self.X), self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        scale = self._root_mean_square(self.X)
        if not self.fit_bias:
            return network_advice(scale)
        return network_advice(np.append(scale, 1.0), self._root_mean_square(self.Y).max())

    def _root_mean_square(self, columns):
        return (self.shares @ columns.square()).sqrt().numpy(force=True)

    def first_step(self):
        """S / lambda_max(A), the map that one step of linear regression reaches."""
        arrays = (tensor.numpy(force=True) for tensor in (self.X, self.Y, self.shares))
        return first_gradient_step(SecondMoments.from_data(*arrays, center=False))


@dataclass(frozen=True)
class Outcome:
    """Network found, the run that found it, its step size and, for mini-batches, its net."""

    layers: tuple[list, list | None]  # weights, biases
    run: Run
    step_size: object
    net: object = None

    @property
    def n_iter(self):
        """Number of iterations that led to the network."""
        return self.run.n_iter


def dynamics_starter(estimator, problem):
    """Return a function that makes the initial network of `estimator` anew at each call."""
    network = _initial_network(estimator, problem, torch_generator(estimator.random_state))
    return lambda: _dynamics(network, problem)


def fitted_dynamics(estimator, problem):
    """Return the fitted network of `estimator`, on the data of `problem`."""
    return _dynamics(_fitted_network(estimator, problem, "weights_"), problem)


def gradient_descent_solver(estimator, problem, listener):
    """Full-batch gradient descent."""
    dynamics, schedule, step_size, _ = _start(estimator, problem)
    run = run_descent(estimator, dynamics, schedule, listener, lambda: _layers(dynamics))
    return Outcome(_layers(dynamics), run, step_size)


def gradient_flow_solver(estimator, problem, listener):
    """Gradient flow, over the time that gradient descent would take."""
    dynamics, schedule, step_size, _ = _start(estimator, problem)
    options = dynamics.flow_options
    run = run_flow(estimator, dynamics, schedule, listener, lambda: _layers(dynamics), **options)
    return Outcome(_layers(dynamics), run, step_size)


def mini_batch_solver(solver, estimator, problem, listener):
    """Mini-batches in a skorch net."""
    from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch
    from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData

    dynamics, schedule, step_size, generator = _start(estimator, problem, solver)
    iterations = record_iterations(estimator.max_iter, estimator.record_every)
    run, net = train_minibatch(
        dynamics,
        _network(problem),
        ResidentData(problem.X, _targets(problem), problem.shares),
        loss=problem.loss,
        solver=solver,
        schedule=schedule,
        weight_decay=problem.weight_decay,
        batch_size=estimator.batch_size,
        generator=generator,
        iterations=iterations,
        tol=estimator.tol,
        record_weights=estimator.record_weights,
        callbacks=estimator.callbacks,
        watch=listener.start(len(iterations) - 1, lambda: _layers(dynamics)),
    )
    return Outcome(_layers(dynamics), run, step_size, net)


SOLVERS: dict[str, Callable[..., Outcome]] = {
    "gd": gradient_descent_solver,
    "flow": gradient_flow_solver,
    "sgd": partial(mini_batch_solver, "sgd"),
    "adam": partial(mini_batch_solver, "adam"),
}


def _start(estimator, problem, solver=None):
    """Initial network, step sizes, and the source of random numbers."""
    generator = torch_generator(estimator.random_state)
    network = _initial_network(estimator, problem, generator)

    def automatic():
        if solver == "adam":
            return ADAM_STEP_SIZE
        return auto_network_step_size(
            network,
            *problem.data,
            problem.weight_decay,
            estimator.batch_size if solver == "sgd" else None,
        )

    dynamics = _dynamics(network, problem, estimator.record_sharpness)
    return dynamics, *check_step_size(estimator.step_size, automatic), generator


def _dynamics(network, problem, record_sharpness=False):
    """Dynamics of a copy of the parameters of `network`."""
    return NetworkDynamics(
        [layer.weight.detach() for layer in network.linear_layers],
        [layer.bias.detach() for layer in network.linear_layers] if problem.fit_bias else None,
        problem.X,
        problem.Y,
        problem.shares,
        activation=problem.activation,
        loss=problem.loss,
        weight_decay=problem.weight_decay,
        record_sharpness=record_sharpness,
    )


def _initial_network(estimator, problem, generator):
    if estimator.warm_start and hasattr(estimator, "weights_"):
        return _fitted_network(estimator, problem, "warm_start")
    network = _network(problem)
    first_step = problem.first_step() if estimator.init == "balanced" else np.zeros((1, 1))
    weights = initial_weights(
        estimator.init, estimator.init_scale, problem.shapes, generator, first_step, False
    )
    network.fill(weights, [W.new_zeros(len(W)) for W in weights] if problem.fit_bias else None)
    if isinstance(estimator.init, str) and estimator.init_scale is None:
        network.fill([fitting_factor(network, *problem.data) * W for W in weights])
    return network


def _fitted_network(estimator, problem, name):
    weights = given_weights(estimator.weights_, problem.shapes, name)
    return _network(problem).fill(weights, _fitted_biases(estimator, problem))


def _fitted_biases(estimator, problem):
    if not problem.fit_bias:
        return None
    if estimator.biases_ is None:
        return [torch.zeros(rows) for rows, _ in problem.shapes]
    return [torch.from_numpy(b) for b in estimator.biases_]


def _network(problem):
    return HomogeneousNetwork(
        problem.shapes,
        problem.activation,
        problem.fit_bias,
        device=problem.X.device,
        dtype=problem.X.dtype,
    )


def _targets(problem):
    return problem.Y.argmax(dim=1) if problem.loss == "cross_entropy" else problem.Y


def _layers(dynamics):
    """Copy weights and biases of a network out of its dynamics."""
    weights = [W.numpy(force=True).copy() for W in dynamics.weights]
    if not dynamics.biased:
        return weights, None
    return weights, [b.numpy(force=True)[0].copy() for b in dynamics.biases]
