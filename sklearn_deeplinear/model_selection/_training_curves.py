"""Validation curves of training: all decays on all folds at once, from moments alone.

The loss of a map on other data needs their second moments only. Centred as the training data
they are those about their own mean and, as one more row, the gap between the means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._stacks import each, stacked
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._flow import flow
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._validation import ValidationData, ValidationMeter
from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import pathway_step_size
from sklearn_deeplinear.estimators._initial_weights import first_gradient_step, initial_weights
from sklearn_deeplinear.estimators._solvers import flow_atol
from sklearn_deeplinear.estimators._training_data import validation_rows

_FLOAT64 = torch.empty(0, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Curves:
    """Losses on the test sets along the training of J settings on K folds.

    Attributes
    ----------
    iteration : ndarray of shape (n_records,)
        Steps made.
    step_size : ndarray of shape (J,)
        Step of each setting, the same on all folds.
    loss : ndarray of shape (n_records, J, K)
        Mean squared error, averaged over outputs; NaN after a divergence.
    """

    iteration: np.ndarray
    step_size: np.ndarray
    loss: np.ndarray


def held_out_loss(dynamics, train, test):
    """Meter of the summed squared error on moments beside those of training.

    Of a batch, whose last dimension are the folds, both are lists of them.
    """
    rows, d = stacked(each(validation_rows, test, train), _FLOAT64), dynamics.shapes[0][1]
    shares = torch.ones(rows.shape[:-1], dtype=rows.dtype)
    data = ValidationData(rows[..., :d], rows[..., d:], shares, "squared_error")
    return ValidationMeter(dynamics, data)


def training_curves(group, folds, moments, *, solver, step_size, max_iter):
    """Train a group of settings on every fold.

    Parameters
    ----------
    group : Candidates
        One network and its weight decays.
    folds : list of (SecondMoments, SecondMoments)
        Of the training and the test set.
    moments : SecondMoments
        Of all data, which an automatic step follows: one for all folds, so that records of the
        same iteration are of the same time.
    solver : {"gd", "flow"}
        Gradient descent, or the flow that it approximates.
    step_size : float or "auto"
        Step of descent, or time between two iterations of the flow.
    max_iter : int
        Number of steps.
    """
    network = Network.of(group, moments)
    steps = [network.step_size(gamma, step_size, max_iter) for gamma in group.weight_decays]
    iterations = record_iterations(max_iter)
    train = {"gd": _descent, "flow": _flows}[solver]
    return Curves(iterations, np.array(steps), train(network, group, folds, steps, iterations))


@dataclass(frozen=True, eq=False)
class Network:
    """Shapes and noise of a network, and how it starts."""

    shapes: list
    noise: np.ndarray
    moments: object

    @classmethod
    def of(cls, group, moments):
        """That of a group of settings; `moments` settle what is wide enough."""
        sizes = [moments.n_inputs, *group.hidden(moments), moments.n_outputs]
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        return cls(shapes, group.variances, moments)

    def start(self, moments):
        """Balanced factors of the first gradient step, what "spectral" stands for."""
        first = first_gradient_step(moments)
        return initial_weights("spectral", None, self.shapes, None, first, self.noise.any())

    def step_size(self, gamma, step_size, max_iter):
        """The step of descent for a decay."""
        if step_size != "auto":
            return float(step_size)
        weights, decays = [W.numpy() for W in self.start(self.moments)], [gamma] * len(self.shapes)
        options = {"noise": self.noise}
        return pathway_step_size([weights], self.moments, [np.array(decays)], max_iter, **options)


def _descent(network, group, folds, steps, iterations):
    train, test = (list(part) for part in zip(*folds, strict=True))
    batch = (len(steps), len(folds))
    starts = zip(*(network.start(moments) for moments in train), strict=True)
    weights = [torch.stack(layer).expand(*batch, -1, -1) for layer in starts]
    gammas = torch.from_numpy(group.weight_decays)[:, None].expand(batch)
    decays = [gammas] * len(network.shapes)
    dynamics = LinearDynamics.from_moments(weights, train, decays, network.noise)
    etas = torch.tensor(steps, dtype=torch.float64)[:, None].expand(batch)
    meters = [held_out_loss(dynamics, train, test)]
    runs = descend(dynamics, lambda t: etas, iterations, meters=meters)
    return _aligned(runs, len(iterations)) / network.shapes[-1][0]


def _flows(network, group, folds, steps, iterations):
    runs = np.empty((len(steps), len(folds)), dtype=object)
    for (j, k), _ in np.ndenumerate(runs):
        train, test = folds[k]
        decays = [float(group.weight_decays[j])] * len(network.shapes)
        start = network.start(train)
        dynamics = LinearDynamics.from_moments(start, train, decays, network.noise)
        method = dynamics.flow_options
        method = {**method, "atol": flow_atol(dynamics, lambda t, eta=steps[j]: eta)}
        meters = [held_out_loss(dynamics, train, test)]
        run = flow(dynamics, iterations * steps[j], meters=meters, **method)
        runs[j, k] = run
        if run.stop_reason == "interrupted":
            raise KeyboardInterrupt  # a setting that is trained halfway would be ranked with others
    return _aligned(runs, len(iterations)) / network.shapes[-1][0]


def _aligned(runs, n_records):
    """Losses (n_records, J, K) of runs, NaN where one has ended early."""
    losses = np.full((n_records, *runs.shape), np.nan)
    for index, run in np.ndenumerate(runs):
        curve = run.trajectory.validation_loss
        losses[(slice(len(curve)), *index)] = curve
    return losses
