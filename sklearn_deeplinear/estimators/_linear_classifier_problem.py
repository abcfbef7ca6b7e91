"""What a deep linear classifier is asked to minimise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import issparse

from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.networks._linear_classifier import LinearClassifierDynamics
from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient
from sklearn_deeplinear.dynamics.networks._sparse_inputs import SparseInputs
from sklearn_deeplinear.dynamics.runs._validation import ValidationData
from sklearn_deeplinear.dynamics.step_sizes._adam_step_size import adam_step_size
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import auto_network_step_size
from sklearn_deeplinear.estimators._advice import EXACT_OR_LONGER, LONGER
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
    sized_weights,
)
from sklearn_deeplinear.estimators._options import linear_batch_flops, step_flops
from sklearn_deeplinear.estimators._problem import BatchNetwork
from sklearn_deeplinear.estimators._units import check_inputs
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._losses import LOSSES
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways
from sklearn_deeplinear.theory import GeneralisedMinimum, SecondMoments
from sklearn_deeplinear.theory._class_minimum import class_minimum
from sklearn_deeplinear.theory._generalised_minimum import minimum_on_path
from sklearn_deeplinear.theory._ridge_path import RidgePath


@dataclass(frozen=True)
class LinearClassifierProblem:
    """Loss of classes of a deep linear network; a start is a list of float64 tensors.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Inputs, centred if there is an intercept.
    Y : ndarray of shape (n, m)
        One column that holds the second of two classes, or indicators of each of more.
    shares : ndarray of shape (n,)
        Sample weights of sum 1.
    mean_x : ndarray of shape (d,)
        What the inputs were centred by.
    width : tuple of L - 1 ints
        Hidden widths.
    weight_decay : ndarray of shape (L,)
        Decays.
    fit_intercept : bool
        Whether there is an intercept.
    """

    X: np.ndarray
    Y: np.ndarray
    shares: np.ndarray
    mean_x: np.ndarray
    width: tuple[int, ...]
    weight_decay: np.ndarray
    fit_intercept: bool

    linear: ClassVar[bool] = True

    @property
    def loss(self):
        """Loss of a sample."""
        return "log_loss" if self.Y.shape[1] == 1 else "cross_entropy"

    @property
    def n_outputs(self):
        """Number of outputs, m."""
        return self.Y.shape[1]

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.X.shape[1], *self.width, self.Y.shape[1]]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @cached_property
    def moments(self) -> SecondMoments:
        """Of inputs and indicators, which give starts their size and direction."""
        return SecondMoments.from_data(self.X, self.Y, self.shares, center=self.fit_intercept)

    @property
    def has_cheap_minimum(self):
        """Whether there is one output, whose minimum lies on the path of ridge penalties."""
        return self.Y.shape[1] == 1

    @cached_property
    def global_minimum(self) -> GeneralisedMinimum:
        """Minimum of the objective, exact for two classes, the best one known for more."""
        return self._minimum()

    def minimum_beside(self, weights, objective=None):
        """The minimum, none that the weights contradict."""
        found = self.global_minimum
        if not len(self.X):  # saved without the data, as it was compared before
            return found
        vars(self)["is_compared"] = True
        if objective is not None and found.kind == "stationary" and objective < found.objective:
            found = self._minimum(reduce(lambda product, W: product @ W, reversed(weights)))
            vars(self)["global_minimum"] = found  # what has been found is found for good
        return found

    def __getstate__(self):
        # The data are kept for the minimum: once that is known for good they are left out.
        state = {name: value for name, value in vars(self).items() if name != "moments"}
        if "is_compared" in state:
            state |= {name: state[name][:0] for name in ("X", "Y", "shares")}
        return state

    def _minimum(self, coef=None):
        options: dict[str, Any] = {"width": self.width, "gamma": self.weight_decay}
        if self.Y.shape[1] == 1:
            signs = 2 * self.Y[:, 0] - 1
            path = RidgePath(self.X, signs, "log_loss", self.shares, self.fit_intercept)
            found = minimum_on_path(path, depth=len(self.weight_decay), **options)
        else:
            data = self.X, self.Y, self.shares
            options |= {"free_intercept": self.fit_intercept, "coef": coef}
            found = class_minimum(*data, **options)
        return replace(found, intercept=found.intercept - found.coef @ self.mean_x)

    def step_flops(self, n_rows):
        """Floating-point operations of a step, roughly; `n_rows` None for all data."""
        if n_rows is not None:
            return linear_batch_flops(n_rows, self.shapes)
        return 4 * self.X.size * self.Y.shape[1] + step_flops(self.Y.shape[1], self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        attained = self.weight_decay.all() and self.has_cheap_minimum
        return EXACT_OR_LONGER if attained else LONGER

    def initial(self, options, generator):
        """Start as `init` and `init_scale` ask for it."""
        X, shares = map(torch.from_numpy, (self.X, self.shares))
        check_inputs(X, shares, len(self.shapes), options.dtype)
        how = options.init, options.init_scale
        first_step = first_gradient_step(self.moments) / LOSSES[self.loss].curvature
        weights = initial_weights(*how, self.shapes, generator, first_step, noisy=False)
        return sized_weights(*how, weights, self.moments)

    def given(self, parameters, name):
        """Start from given weights."""
        return given_weights(parameters["weights"], self.shapes, name)

    def optimum(self):
        """Start at the global minimum."""
        minimum = self.global_minimum
        if minimum.kind == "unattained":
            raise ValueError(
                'weight_decay must be positive on all layers with solver="analytic" and these '
                "data: without it the objective falls as weights grow, and has no minimum."
            )
        return given_weights(minimum.weights(self.width), self.shapes, "weights")

    def descent_step_size(self, start, options):
        """Inverse of the curvature where outputs have the size that tells classes apart."""
        return self._step_size(start, options)

    def batch_step_size(self, start, options):
        """The same for the batch with the longest inputs."""
        return self._step_size(start, options, options.batch_size)

    def _step_size(self, start, options, batch_size=None):
        network = HomogeneousNetwork(self.shapes, device=options.device, dtype=options.dtype)
        X, Y, shares = self._tensors(options)
        return auto_network_step_size(
            network.fill(start), X, Y, shares, self.loss, self.weight_decay, batch_size
        )

    def rescaled_step_size(self, start, options):
        """A hundredth of the size of the weights."""
        return adam_step_size([start])

    def _tensors(self, options):
        return [options.like.new_tensor(part) for part in (self.X, self.Y, self.shares)]

    def dynamics(self, start, options, compress=False):
        """The network in training."""
        X, Y, shares = self._tensors(options)
        data_term = SampleGradient(X, Y, shares, self.loss, self.fit_intercept)
        weights = [W.to(options.like) for W in start]
        return LinearClassifierDynamics(weights, data_term, self.weight_decay)

    def batch_network(self, start, options, dynamics):
        """The network as a torch module on centred data, at the best intercept each epoch."""
        from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData

        network = ParallelPathways([self.shapes], device=options.device, dtype=options.dtype)
        network.fill([start])
        X, Y, shares = self._tensors(options)
        data = ResidentData(X, LOSSES[self.loss].batch_targets(Y), shares)

        def renew():
            network.intercept.copy_(dynamics.intercept())

        return BatchNetwork(network, data, self.weight_decay, renew)

    def validation(self, X, Y, shares):
        """Other data less the mean of these inputs, sparse where they are too many to fill in."""
        X = SparseInputs(X, self.mean_x) if issparse(X) else X - self.mean_x
        return ValidationData(X, Y, shares, self.loss)

    def attributes(self, dynamics) -> dict[str, Any]:
        """Weights, and the map and intercept that they make, shaped like LogisticRegression's."""
        weights = arrays(dynamics.unpacked(dynamics.state), copy=True)["weights"]
        coef = reduce(lambda product, W: product @ W, reversed(weights))
        best = dynamics.intercept().numpy(force=True).astype(np.float64)
        return {
            "weights_": weights,
            "coef_": coef,
            "intercept_": best - coef @ self.mean_x,
            "_problem": self,
        }
