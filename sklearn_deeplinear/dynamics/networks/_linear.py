"""Deep linear network in training: parameters, descent step and what a record holds."""

from __future__ import annotations

import math

import torch

from sklearn_deeplinear.dynamics.networks._balance import BALANCE_RATE, Balance, BalanceMeter
from sklearn_deeplinear.dynamics.networks._curvature import linear_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._flat import layers, pack
from sklearn_deeplinear.dynamics.networks._moment_gradient import MomentGradient
from sklearn_deeplinear.dynamics.networks._noisy_gradient import NoisyMomentGradient

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

    Parameters
    ----------
    weights : list of tensors
        Initial W_1, ..., W_L; copied into one flat buffer, `state`.
    data_term : MomentGradient or NoisyMomentGradient
        Mean loss of the data and its gradient.
    weight_decay : sequence of L floats
        gamma_1, ..., gamma_L.

    Attributes
    ----------
    state : tensor of shape (n_parameters,)
        All weights; writing into it moves the network.
    gradient : tensor of shape (n_parameters,)
        Gradient of the objective where it was last evaluated.
    rounding : float
        Size of the rounding error in the norm of the gradient, at the initial weights.
    flow_options : dict
        Method and relative tolerance by which an ODE solver follows the gradient.
    """

    flow_options = _FLOW_OPTIONS
    linear = True

    def __init__(self, weights, data_term, weight_decay):
        self.shapes = [tuple(W.shape) for W in weights]
        self.state = pack(weights)
        self.weights = layers(self.state, self.shapes)
        self.data_term = data_term
        self.weight_decay = [float(gamma) for gamma in weight_decay]
        self.step = data_term.stepper(self.weights, self.weight_decay)
        self.gradient = torch.empty_like(self.state)
        norms = [float(W.norm()) for W in self.weights]
        self.rounding = gradient_rounding(norms, data_term, self.weight_decay)

    @classmethod
    def from_moments(cls, weights, moments, weight_decay, noise):
        """Build the dynamics on the device and in the precision of `weights`."""
        R_x, R_y = (
            torch.as_tensor(factor, dtype=weights[0].dtype, device=weights[0].device)
            for factor in (moments.input_factor, moments.output_factor)
        )
        noisy = len(weights) > 1 and any(s > 0 for s in noise)
        data_term = NoisyMomentGradient(R_x, R_y, noise) if noisy else MomentGradient(R_x, R_y)
        return cls(weights, data_term, weight_decay)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        parts = layers(self.gradient, self.shapes)
        for part, g in zip(parts, self._gradients(self.weights), strict=True):
            part.copy_(g)

    def _gradients(self, weights):
        gradients = zip(self.data_term.gradients(weights), weights, self.weight_decay, strict=True)
        return [g + 2 * gamma * W if gamma else g for g, W, gamma in gradients]

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        weights = layers(states, self.shapes)
        loss = self.data_term.loss(weights)
        penalty = sum(
            gamma * W.square().sum(dim=(-2, -1))
            for W, gamma in zip(weights, self.weight_decay, strict=True)
        )
        square = sum(g.square().sum(dim=(-2, -1)) for g in self._gradients(weights))
        return {
            "loss": loss,
            "objective": loss + penalty,
            "gradient_norm": square.sqrt(),
        }

    def unpacked(self, state):
        """``weights``: views W_1, ..., W_L of a state."""
        return {"weights": layers(state, self.shapes)}

    def balance_meter(self):
        """Meter of the balance of the layers."""
        return Balance(
            lambda states: [(layers(states, self.shapes),)], [BalanceMeter(self.weights)]
        )

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian, from second moments."""
        term = self.data_term
        A = term.input_factor.mT @ term.input_factor
        S = term.output_factor.mT @ term.input_factor
        noise = getattr(term, "noise", 0.0)
        weights = layers(state, self.shapes)
        return linear_hessian_eigenvalues(weights, A, S, self.weight_decay, noise, k=k, which=which)

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps."""
        step = step_seconds(self.shapes)
        return (operations / BALANCE_RATE + step - _STEP_OVERHEAD) / step


def step_seconds(shapes):
    """Time that a descent step of layers of these shapes takes, roughly."""
    thin = min(shapes[0][1], shapes[-1][0])
    return _STEP_OVERHEAD + 6 * thin * sum(h * k for h, k in shapes) / _PRODUCT_RATE


def gradient_rounding(norms, data_term, weight_decay):
    """Rounding error of the terms 2 B_l^T S F_{l-1}^T and 2 gamma_l W_l of the gradient.

    Parameters
    ----------
    norms : list of floats
        ||W_l||_F.
    data_term : MomentGradient or NoisyMomentGradient
        Knows the moments, in the precision of the gradient.
    weight_decay : list of floats
        gamma_l.

    Returns
    -------
    rounding : float
    """
    outer = max(math.prod(norms[:i] + norms[i + 1 :]) for i in range(len(norms)))
    cross = data_term.output_factor.mT @ data_term.input_factor  # S
    decay = sum(g * norm for g, norm in zip(weight_decay, norms, strict=True))
    size = 2 * (float(cross.norm()) * outer + decay)
    return _ROUNDING * torch.finfo(cross.dtype).eps * size
