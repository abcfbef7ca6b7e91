"""What a perceptron is asked to minimise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from sklearn_deeplinear._parameters import check_weight_decay
from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.networks._perceptron import perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._stacks import stacked
from sklearn_deeplinear.dynamics.runs._validation import ValidationData
from sklearn_deeplinear.dynamics.step_sizes._adam_step_size import adam_step_size
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import (
    auto_network_step_size,
    fitting_factor,
    inverse_network_curvature,
    network_curvature,
)
from sklearn_deeplinear.estimators._advice import network_advice
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
)
from sklearn_deeplinear.estimators._options import step_flops
from sklearn_deeplinear.estimators._problem import BatchNetwork, Parameters, by_layer
from sklearn_deeplinear.estimators._tensor_moments import moments_of
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._losses import LOSSES


@dataclass(frozen=True)
class PerceptronProblem:
    """Loss of a perceptron on data; a start is a torch module.

    Attributes
    ----------
    X, Y : tensors of shapes (n, d) and (n, m)
        Inputs and targets, class indicators for a classifier, where training runs.
    shares : tensor of shape (n,)
        Sample weights of sum 1.
    width : tuple of L - 1 ints
        Hidden widths.
    weight_decay : ndarray of shape (L,)
        Decays.
    activation, loss : str
        Activation of the hidden units and loss of a sample.
    fit_bias : bool
        Whether there are biases.
    """

    X: torch.Tensor
    Y: torch.Tensor
    shares: torch.Tensor
    width: tuple[int, ...]
    weight_decay: np.ndarray
    activation: str
    loss: str
    fit_bias: bool

    @property
    def n_outputs(self):
        """Number of outputs, m."""
        return self.Y.shape[1]

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.X.shape[1], *self.width, self.Y.shape[1]]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @property
    def _data(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, str]:
        return self.X, self.Y, self.shares, self.loss

    has_cheap_minimum: ClassVar[bool] = False

    def step_flops(self, n_rows):
        """Floating-point operations of a step, roughly; `n_rows` None for all data."""
        return step_flops(n_rows or len(self.X), self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        scale, targets = map(self._root_mean_square, (self.X, self.Y))
        if not self.fit_bias:
            return network_advice(scale)
        # All of them together: indicators of many classes are small, a column at a time.
        return network_advice(np.append(scale, 1.0), float(np.linalg.norm(targets)))

    def _root_mean_square(self, columns):
        return (self.shares @ columns.square()).sqrt().numpy(force=True)

    def initial(self, options, generator):
        """Start as `init` and `init_scale` ask for it, biases at zero."""
        first_step = self._first_step() if options.init == "balanced" else np.zeros((1, 1))
        where = options.init, options.init_scale, self.shapes, generator
        weights = initial_weights(*where, first_step, noisy=False)
        network = self._network(weights, [W.new_zeros(len(W)) for W in weights])
        if isinstance(options.init, str) and options.init_scale is None:
            network.fill([fitting_factor(network, *self._data) * W for W in weights])
        return network

    def _first_step(self):
        """S / lambda_max(A), the map that one step of linear regression reaches."""
        shares = self.shares.numpy(force=True)
        return first_gradient_step(moments_of(self.X, self.Y, shares, center=False))

    def given(self, parameters, name):
        """Start from given weights; biases that are not given are zero."""
        weights, biases = given_weights(parameters["weights"], self.shapes, name), None
        if parameters["biases"] is not None:
            biases = [torch.from_numpy(b) for b in parameters["biases"]]
        return self._network(weights, biases or [W.new_zeros(len(W)) for W in weights])

    def _network(self, weights, biases):
        where = {"device": self.X.device, "dtype": self.X.dtype}
        network = HomogeneousNetwork(self.shapes, self.activation, self.fit_bias, **where)
        return network.fill(weights, biases if self.fit_bias else None)

    def descent_step_size(self, start, options):
        """Inverse of the curvature where the outputs have the size of the targets."""
        return self.step_size_on(self.curvature(start, options))

    def curvature(self, start, options):
        """Curvature of the loss where the outputs have the size of the targets."""
        return network_curvature(start, *self._data)

    def step_size_on(self, curvature):
        """Inverse of this curvature and that of the penalty."""
        return inverse_network_curvature(curvature, max(self.weight_decay))

    def batch_step_size(self, start, options):
        """The same for the batch with the longest inputs."""
        return auto_network_step_size(start, *self._data, self.weight_decay, options.batch_size)

    def rescaled_step_size(self, start, options):
        """A hundredth of the size of the weights."""
        return adam_step_size([[layer.weight.detach() for layer in start.linear_layers]])

    def dynamics(self, start, options, compress=False):
        """The network in training, a copy of the start."""
        return perceptron_dynamics(
            *self.parts_of(start),
            self.X,
            self.Y,
            self.shares,
            activation=self.activation,
            loss=self.loss,
            weight_decay=self.weight_decay,
        )

    def with_decay(self, weight_decay):
        """The same with other decays, as users give them."""
        return replace(self, weight_decay=check_weight_decay(weight_decay, len(self.shapes)))

    def core(self, start):
        """All weights move."""
        return start

    def stack_kind(self, core):
        """Shapes, activation, loss, and whether there are biases."""
        return tuple(self.shapes), self.activation, self.loss, self.fit_bias

    def n_moving(self, core):
        """Number of weights and biases."""
        return sum(h * (k + 1) for h, k in self.shapes)

    @property
    def stack_values(self):
        """Numbers of the samples and of the values of units there."""
        return self.X.shape[0] * (self.X.shape[1] + 4 * sum(h for h, _ in self.shapes))

    def stack(self, problems, cores, options):
        """Perceptrons of one shape as a batch, each on samples of its own."""
        parts = [problem.parts_of(core) for problem, core in zip(problems, cores, strict=True)]
        weights, biases = (
            None if part[0] is None else [torch.stack(layers) for layers in zip(*part, strict=True)]
            for part in zip(*parts, strict=True)
        )
        X, Y, shares = (
            stacked([getattr(problem, name) for problem in problems], options.like)
            for name in ("X", "Y", "columns_of_shares")
        )
        return perceptron_dynamics(
            weights,
            biases,
            X,
            Y,
            shares[..., 0],
            activation=self.activation,
            loss=self.loss,
            weight_decay=by_layer([problem.weight_decay for problem in problems]),
        )

    def unstacked(self, batch, starts):
        """What each network of a batch is left with."""
        stacks = batch.unpacked(batch.state.cpu())
        for i in range(len(starts)):
            yield Parameters({name: [part[i] for part in parts] for name, parts in stacks.items()})

    @property
    def columns_of_shares(self):
        """Shares as a column (n, 1)."""
        return self.shares[:, None]

    def parts_of(self, start):
        """Weights of a module, and its biases or None."""
        layers = start.linear_layers
        biases = [layer.bias.detach() for layer in layers] if self.fit_bias else None
        return [layer.weight.detach() for layer in layers], biases

    def batch_network(self, start, options, dynamics):
        """The start itself, on the resident data."""
        from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData

        targets = LOSSES[self.loss].batch_targets(self.Y)
        return BatchNetwork(start, ResidentData(self.X, targets, self.shares), self.weight_decay)

    def validation(self, X, Y, shares):
        """Other data as they are."""
        return ValidationData(X, Y, shares, self.loss)

    def attributes(self, dynamics):
        """Weights, and biases or None."""
        parts = arrays(dynamics.unpacked(dynamics.state), copy=True)
        return {"weights_": parts["weights"], "biases_": parts.get("biases")}
