"""Deep linear networks in training: parameters, descent step and what a record holds."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._balance import BALANCE_RATE, Balance, BalanceMeter
from sklearn_deeplinear.dynamics.networks._compiled_steps import compiled_steps
from sklearn_deeplinear.dynamics.networks._flat import layers, pack
from sklearn_deeplinear.dynamics.networks._moment_gradient import MomentGradient
from sklearn_deeplinear.dynamics.networks._noisy_gradient import NoisyMomentGradient
from sklearn_deeplinear.dynamics.networks._stacks import (
    chosen,
    is_zero,
    of_each,
    per_network,
    stacked_factors,
    with_decay,
)
from sklearn_deeplinear.nn._norms import norms

# Seconds that calling the dozen small operations of a step takes, and floating-point
# operations a second of thin products; the order of magnitude is what matters. Measured in
# double precision on one thread: 7 us with two layers, 15 us with three; 1.5e10 to 3.3e10 a
# second with 300 to 1,000 hidden units.
_STEP_OVERHEAD = 15e-6
_PRODUCT_RATE = 4e10

# Rounding error of the gradient in units of eps times its terms, with a margin: twelve runs of
# one to three layers came to rest at 0.3 to 1.4.
_ROUNDING = 100

# How an ODE solver follows the gradient: far better than gradient descent follows the flow.
_FLOW_OPTIONS = {"method": "DOP853", "rtol": 1e-6}


class LinearDynamics:
    """The state of a deep linear network and the rule by which it moves.

    Weights with leading dimensions are a batch of networks, which share nothing but the
    calls of their operations.

    Parameters
    ----------
    weights : list of tensors of shape (..., h_l, h_{l-1})
        Initial W_1, ..., W_L; copied into one flat buffer, `state`.
    data_term : MapGradient or NoisyMomentGradient
        Mean loss of the data and its gradient.
    weight_decay : sequence of L floats, or of tensors of the shape of the batch
        gamma_1, ..., gamma_L.

    Attributes
    ----------
    state : tensor of shape (..., n_parameters)
        All weights; writing into it moves the network.
    gradient : tensor of shape (..., n_parameters)
        Gradient of the objective where it was last evaluated or measured.
    rounding : float, or ndarray of the shape of the batch
        Size of the rounding error in the norm of the gradient, at the initial weights.
    flow_options : dict
        Method and relative tolerance by which an ODE solver follows the gradient.
    """

    flow_options = _FLOW_OPTIONS
    linear = True

    def __init__(self, weights, data_term, weight_decay):
        self.shapes = [tuple(W.shape[-2:]) for W in weights]
        self.batch = weights[0].shape[:-2]
        self.state = pack(weights, self.batch)
        self.weights = layers(self.state, self.shapes)
        self.data_term = data_term
        self.weight_decay = [per_network(gamma, self.batch, self.state) for gamma in weight_decay]
        self.step = data_term.stepper(self.weights, self.weight_decay)
        self.gradient = torch.empty_like(self.state)
        sizes = [_norm(W) for W in self.weights]
        self.rounding = gradient_rounding(sizes, data_term, self.weight_decay)

    @classmethod
    def from_moments(cls, weights, moments, weight_decay, noise):
        """Build the dynamics on the device and in the precision of `weights`.

        Parameters
        ----------
        weights : list of tensors of shape (..., h_l, h_{l-1})
            Initial W_1, ..., W_L.
        moments : SecondMoments, or (nested) list of them
            Moments of the data; a list has the shape of the batch or of the last of its
            dimensions, such as one for each fold.
        weight_decay : sequence of L floats, or of tensors of the shape of the batch
            gamma_1, ..., gamma_L.
        noise : sequence of L - 1 floats, or of tensors of the shape of the batch
            Variances s_1, ..., s_{L-1}.

        Returns
        -------
        dynamics : LinearDynamics
        """
        R_x, R_y = stacked_factors(moments, weights[0])
        batch = weights[0].shape[:-2]
        noise = [per_network(s, batch, weights[0]) for s in noise]
        noisy = len(weights) > 1 and any(torch.as_tensor(s).any() for s in noise)
        data_term = NoisyMomentGradient(R_x, R_y, noise) if noisy else MomentGradient(R_x, R_y)
        return cls(weights, data_term, weight_decay)

    def part(self, index):
        """The networks of a batch that an index chooses, as dynamics of their own."""
        decays = [chosen(gamma, self.batch, index) for gamma in self.weight_decay]
        weights = [W[index] for W in self.weights]
        return type(self)(weights, self.data_term.part(index, self.batch), decays)

    @cached_property
    def steps(self):
        """`CompiledSteps`, many in one call; None where that is no faster."""
        return compiled_steps(self.state, self.weights, self.data_term, self.weight_decay)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        self._leave(self.data_term.gradients(self.weights), self.weights, self.gradient)

    def _leave(self, gradients, weights, into):
        """Write the gradients of the loss, and those of the penalty, into flat states."""
        parts = layers(into, self.shapes)
        for part, g, W, gamma in zip(parts, gradients, weights, self.weight_decay, strict=True):
            with_decay(g, W, gamma, out=part)

    def _penalty(self, weights):
        return sum(
            gamma * W.square().sum(dim=(-2, -1))
            for W, gamma in zip(weights, self.weight_decay, strict=True)
            if not is_zero(gamma)
        )

    def measure(self, states):
        """Measure states of shape (n_records, ..., n_parameters): a dict of tensors."""
        weights, whole = layers(states, self.shapes), torch.empty_like(states)
        loss, gradients = self.data_term.loss_and_gradients(weights)
        self._leave(gradients, weights, whole)
        self.gradient.copy_(whole[-1])
        return {
            "loss": loss,
            "objective": loss + self._penalty(weights),
            "gradient_norm": norms(whole),
        }

    def unpacked(self, state):
        """``weights``: views W_1, ..., W_L of a state (..., n_parameters)."""
        return {"weights": layers(state, self.shapes)}

    def outputs_at(self, states, X):
        """Outputs at other inputs; see `Predictive`."""
        return self.data_term.outputs(layers(states, self.shapes), X)

    def outputs_cost(self, n_rows):
        """Floating-point operations of the outputs of a record."""
        d, m = self.shapes[0][1], self.shapes[-1][0]
        return 2 * (min(d, m) * self.state.numel() + self.batch.numel() * n_rows * d * m)

    def balance_meter(self):
        """Meter of the balance of the layers."""
        return Balance(
            lambda states: [(layers(states, self.shapes),)], [BalanceMeter(self.weights)]
        )

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian; of a batch (..., k)."""
        if self.batch:
            return of_each(self, state, k=k, which=which)
        weights = layers(state, self.shapes)
        return self.data_term.hessian_eigenvalues(weights, self.weight_decay, k, which)

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps."""
        step = step_seconds(self.shapes, self.batch.numel())
        return (operations / BALANCE_RATE + step - _STEP_OVERHEAD) / step


def _norm(matrices):
    """Frobenius norms, a float or an array of the shape of the batch."""
    return _array(norms(matrices, dim=(-2, -1)))


def _array(value):
    """A number, or those of a batch, in float64 on the CPU."""
    return value.numpy(force=True).astype(np.float64) if torch.is_tensor(value) else value


def step_seconds(shapes, n_networks=1):
    """Time that a descent step of layers of these shapes takes, roughly."""
    thin = min(shapes[0][1], shapes[-1][0])
    work = 6 * thin * n_networks * sum(h * k for h, k in shapes)
    return _STEP_OVERHEAD + work / _PRODUCT_RATE


def gradient_rounding(sizes, data_term, weight_decay):
    """Rounding error of the terms 2 B_l^T S F_{l-1}^T, say, and 2 gamma_l W_l of the gradient.

    Parameters
    ----------
    sizes : list of floats, or of arrays of the shape of the batch
        ||W_l||_F.
    data_term : MapGradient or NoisyMomentGradient
        Knows the size of the gradient, in its precision.
    weight_decay : list of floats, or of tensors of the shape of the batch
        gamma_l.

    Returns
    -------
    rounding : float, or ndarray of the shape of the batch
    """
    outer = np.max([math.prod(sizes[:i] + sizes[i + 1 :]) for i in range(len(sizes))], axis=0)
    slope = data_term.slope_size()
    with np.errstate(invalid="ignore"):  # of weights that are too large for their precision
        decay = sum(_array(g) * size for g, size in zip(weight_decay, sizes, strict=True))
        size = 2 * (_array(slope) * outer + decay)
    return _ROUNDING * torch.finfo(slope.dtype).eps * size
