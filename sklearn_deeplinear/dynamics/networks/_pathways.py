"""Parallel pathways in training, f(x) = sum_p f_p(x): parameters, step and records.

A data term holds the data and knows the loss and its gradient; `LinearPathways` needs only
second moments, `ActivePathways` all samples.
"""

from __future__ import annotations

from functools import cached_property

import torch

from sklearn_deeplinear.dynamics.networks._balance import Balance, BalanceMeter
from sklearn_deeplinear.dynamics.networks._compiled_steps import compiled_steps
from sklearn_deeplinear.dynamics.networks._pathway_curvature import pathway_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._pathway_layout import Consecutive
from sklearn_deeplinear.dynamics.networks._stacks import (
    chosen,
    is_zero,
    of_each,
    per_network,
    with_decay,
)
from sklearn_deeplinear.nn._norms import norms

# Floating-point operations that would take as long, at 10 gigaflops, as calling the dozen
# small operations of a step of one pathway: 10 us, measured at 7 us with two layers and at 23 us
# with three (double precision, one thread).
_STEP_OVERHEAD = 1e5

# How the flow is followed where no unit has a kink, by precision, and where units have one.
_SMOOTH_FLOW = {
    torch.float64: {"method": "DOP853", "rtol": 1e-8},
    torch.float32: {"method": "DOP853", "rtol": 1e-5},
}
_KINKED_FLOW = {"method": "trapezoidal", "rtol": 1e-6}


class PathwayDynamics:
    """The state of parallel pathways and the rule by which they move.

    Weights with leading dimensions are a batch of networks.

    Parameters
    ----------
    pathways : list of lists of tensors of shape (..., h_l, h_{l-1})
        Initial W_1, ..., W_L of each pathway; copied into one flat buffer, `state`.
    data_term : LinearPathways or ActivePathways
        Mean loss of the data and its gradient.
    weight_decay : list of sequences of floats, or of tensors of the shape of the batch
        Decays of the layers of each pathway.
    extra : tensor of shape (n_extra,), optional
        Further numbers to keep at the end of `state`.
    layout : callable, optional
        Chooses from `pathways` and `weight_decay` where the weights lie in `state`; by
        default one after the other.

    Attributes
    ----------
    state : tensor of shape (..., n_parameters)
        All weights; writing into it moves the network.
    gradient : tensor of shape (..., n_parameters)
        Gradient of the objective where it was last evaluated or measured.
    pathways : list of lists of tensors
        The weights that are trained, as views of `state`.
    """

    rounding = 0.0

    def __init__(self, pathways, data_term, weight_decay, extra=None, layout=None):
        self.depths = [len(weights) for weights in pathways]
        self.data_term, self.linear = data_term, data_term.linear
        self.batch, like = pathways[0][0].shape[:-2], pathways[0][0]
        self.weight_decay = [
            [per_network(gamma, self.batch, like) for gamma in decays] for decays in weight_decay
        ]
        self.layout = (layout or _consecutive)(pathways, self.weight_decay)
        self.state = self.layout.pack(pathways)
        if extra is not None:
            self.state = torch.cat([self.state, extra])
        self.gradient = torch.empty_like(self.state)
        self.pathways = self.views(self.state)
        self.step = data_term.stepper(*self.layout.networks(self.state, self.weight_decay))

    @cached_property
    def steps(self):
        """`CompiledSteps`, many in one call; None where that is no faster."""
        chains, decays = self.layout.networks(self.state, self.weight_decay)
        if not self.linear or len(chains) > 1:
            return None
        return compiled_steps(self.state, chains[0], self.data_term.single, decays[0])

    @property
    def flow_options(self):
        """Method and relative tolerance by which an ODE solver follows the gradient."""
        return _SMOOTH_FLOW[self.state.dtype]

    def balance_meter(self):
        """Meter of the balance of the layers of each pathway."""
        return Balance(self._chains, self._chain_meters(), single=False)

    def _chain_meters(self):
        return [BalanceMeter(weights, self.data_term.linear) for weights in self.pathways]

    def _chains(self, states):
        return [(weights,) for weights in self.views(states)]

    def part(self, index):
        """The networks of a batch that an index chooses, as dynamics of their own."""
        return type(self)(
            [[W[index] for W in weights] for weights in self.pathways],
            self.data_term.of(lambda matrix: chosen(matrix, self.batch, index, 2)),
            [[chosen(gamma, self.batch, index) for gamma in d] for d in self.weight_decay],
        )

    def views(self, states):
        """View flat states (..., n_parameters) as what the pathways consist of."""
        return self.layout.views(states)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        self._leave(self.data_term.gradients(self.pathways), self.pathways, self.gradient)

    def _leave(self, gradients, pathways, into):
        """Write the gradients of the loss, and those of the penalty, into flat states."""
        for parts, slopes, weights, decays in zip(
            self.views(into), gradients, pathways, self.weight_decay, strict=True
        ):
            for part, slope, W, gamma in zip(parts, slopes, weights, decays, strict=True):
                with_decay(slope, W, gamma, out=part)

    def measure(self, states):
        """Measure states of shape (n_records, ..., n_parameters): a dict of tensors."""
        pathways, whole, size = self.views(states), torch.empty_like(states), self.layout.size
        loss, gradients, others = self.data_term.measure(pathways)
        self._leave(gradients, pathways, whole)
        self.gradient[..., :size] = whole[-1, ..., :size]
        penalty = sum(
            gamma * W.square().sum(dim=(-2, -1))
            for weights, decays in zip(pathways, self.weight_decay, strict=True)
            for W, gamma in zip(weights, decays, strict=True)
            if not is_zero(gamma)
        )
        return {
            "loss": loss,
            "objective": loss + penalty,
            "gradient_norm": norms(whole[..., :size]),
            **others,
        }

    def outputs_at(self, states, X):
        """Outputs at other inputs; see `Predictive`."""
        return self.data_term.outputs(self.views(states), X)

    def outputs_cost(self, n_rows):
        """Floating-point operations of the outputs of a record."""
        return self.data_term.outputs_cost(self.state.numel(), n_rows)

    def unpacked(self, state):
        """``weights``: W_1, ..., W_L of each pathway, as views of a state."""
        return {"weights": self.views(state)}

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian in all weights, in float64; of a batch (..., k)."""
        if self.batch:
            return of_each(self, state, k=k, which=which)
        return pathway_hessian_eigenvalues(
            self.unpacked(state)["weights"],
            self.data_term.in_float64,
            self.weight_decay,
            k=k,
            which=which,
        )

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps."""
        work = self.data_term.cost(self.state.numel())
        return (operations + work) / (_STEP_OVERHEAD * len(self.depths) + work)


class KinkedPathways(PathwayDynamics):
    """Pathways of units with a kink."""

    @property
    def flow_options(self):
        """Method and relative tolerance by which an ODE solver copes with the gradient."""
        return _KINKED_FLOW

    def linearised(self):
        """Inputs of the units; see `KinkedDynamics`."""
        inputs, gradients = self.data_term.linearised(self.pathways)

        def gradient(shares=None):
            self._leave(gradients(shares), self.pathways, self.gradient)
            return self.gradient

        return inputs, gradient


def pathway_dynamics(pathways, data_term, weight_decay):
    """The dynamics of pathways with this data term: `KinkedPathways` where units have kinks."""
    kinked = data_term.has_kinks([len(weights) for weights in pathways])
    return (KinkedPathways if kinked else PathwayDynamics)(pathways, data_term, weight_decay)


def _consecutive(pathways, weight_decay):
    return Consecutive(pathways)
