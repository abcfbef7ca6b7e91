"""Parallel pathways in training, f(x) = sum_p f_p(x): parameters, step and records.

A rule holds the data and knows the loss and its gradient; `LinearPathways` here needs only
second moments, `ActivePathways` of the next module all samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._balance import BalanceMeter
from sklearn_deeplinear.dynamics.networks._moment_gradient import (
    ChainStepper,
    MomentGradient,
    chain_gradients,
    products,
)
from sklearn_deeplinear.dynamics.networks._pathway_layout import Consecutive

# Floating-point operations that would take as long, at 10 gigaflops, as calling the dozen
# small operations of a step of one pathway.
_STEP_OVERHEAD = 1e5

# How the flow is followed where no unit has a kink, by precision, and where units have one.
_SMOOTH_FLOW = {
    torch.float64: {"method": "DOP853", "rtol": 1e-8},
    torch.float32: {"method": "DOP853", "rtol": 1e-5},
}
_KINKED_FLOW = {"method": "trapezoidal", "rtol": 1e-6}


class PathwayDynamics:
    """The state of parallel pathways and the rule by which they move.

    Parameters
    ----------
    pathways : list of lists of tensors
        Initial W_1, ..., W_L of each pathway; copied into one flat buffer, `state`.
    rule : LinearPathways or ActivePathways
        Loss and gradient of the data term.
    weight_decay : list of sequences of floats
        Decays of the layers of each pathway.
    extra : tensor of shape (n_extra,), optional
        Further numbers to keep at the end of `state`.
    layout : callable, optional
        Chooses from `pathways` and `weight_decay` where the weights lie in `state`; by
        default one after the other.

    Attributes
    ----------
    state : tensor of shape (n_parameters,)
        All weights; writing into it moves the network.
    gradient : tensor of shape (n_parameters,)
        Gradient of the objective where it was last evaluated.
    pathways : list of lists of tensors
        The weights that are trained, as views of `state`.
    flow_options : dict
        Method and relative tolerance by which an ODE solver follows the gradient.
    """

    def __init__(self, pathways, rule, weight_decay, extra=None, layout=None):
        self.depths = [len(weights) for weights in pathways]
        self.rule = rule
        self.weight_decay = [[float(gamma) for gamma in decays] for decays in weight_decay]
        self.layout = (layout or _consecutive)(pathways, self.weight_decay)
        self.state = self.layout.pack(pathways)
        if extra is not None:
            self.state = torch.cat([self.state, extra])
        self.gradient = torch.empty_like(self.state)
        self.pathways = self.views(self.state)
        self.step = rule.stepper(*self.layout.networks(self.state, self.weight_decay))
        self.meters = self.balance_meters()
        self.flow_options = _KINKED_FLOW if rule.kinked else _SMOOTH_FLOW[self.state.dtype]

    def balance_meters(self):
        """One meter of the balance of layers for each pathway."""
        return [BalanceMeter(weights, self.rule.linear) for weights in self.pathways]

    def full_pathways(self):
        """The weights W_1, ..., W_L of each pathway, to be read."""
        return self.pathways

    def views(self, states):
        """View flat states (..., n_parameters) as what the pathways consist of."""
        return self.layout.views(states)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        _, gradients, _ = self.rule.measure(self.pathways)
        self._keep(gradients)

    def linearised(self):
        """Inputs of the units, and the gradient as a function of their slopes.

        As :meth:`sklearn_deeplinear.dynamics.networks._module.ModuleDynamics.linearised`; for units
        with a kink.
        """
        inputs, gradients = self.rule.linearised(self.pathways)

        def gradient(shares=None):
            self._keep(gradients(shares))
            return self.gradient

        return inputs, gradient

    def _keep(self, gradients):
        """Write the gradients of the loss, and those of the penalty, into `gradient`."""
        for parts, slopes, weights, decays in zip(
            self.views(self.gradient), gradients, self.pathways, self.weight_decay, strict=True
        ):
            for part, slope, W, gamma in zip(parts, slopes, weights, decays, strict=True):
                torch.add(slope, W, alpha=2 * gamma, out=part)

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors.

        Columns of the measures of balance are the pairs of layers of the first pathway,
        then those of the second one, and so on.
        """
        pathways = self.views(states)
        loss, gradients, others = self.rule.measure(pathways)
        penalty, square = torch.zeros_like(loss), torch.zeros_like(loss)
        for weights, slopes, decays in zip(pathways, gradients, self.weight_decay, strict=True):
            for W, slope, gamma in zip(weights, slopes, decays, strict=True):
                penalty += gamma * W.square().sum(dim=(-2, -1))
                square += (slope + 2 * gamma * W).square().sum(dim=(-2, -1))
        return {
            "loss": loss,
            "objective": loss + penalty,
            "gradient_norm": square.sqrt(),
            **others,
            **self.balance(states),
        }

    def balance(self, states):
        """Measures of balance of a batch of states, columns of all pathways side by side."""
        measured = self.meter_readings(states)
        return {
            name: torch.cat([columns[name] for columns in measured], dim=-1)
            for name in measured[0]
            if all(name in columns for columns in measured)
        }

    def meter_readings(self, states):
        """Measures of balance of each pathway."""
        pathways = self.views(states)
        return [meter(weights) for meter, weights in zip(self.meters, pathways, strict=True)]

    def unpacked(self, state):
        """Weights of a state given as a numpy array (n_parameters,), as views of it."""
        return [[W.numpy() for W in weights] for weights in self.views(torch.from_numpy(state))]

    def record_cost(self):
        """Cost of measuring one record, in units of one descent step."""
        work = self.rule.cost(self.state.numel())
        balance = sum(meter.cost for meter in self.meters)
        return (balance + work) / (_STEP_OVERHEAD * len(self.depths) + work)


def _consecutive(pathways, weight_decay):
    return Consecutive(pathways)


class LinearPathways:
    """Squared loss of parallel linear pathways: their maps M_p add, and share one G.

    Parameters
    ----------
    input_factor : tensor of shape (k, d)
        R_x with A = R_x^T R_x.
    output_factor : tensor of shape (k, m)
        R_y with S = R_y^T R_x and c = ||R_y||_F^2.
    modes : (U, V), tensors of shapes (m, r) and (d, r)
        Singular vectors of S, in which strengths are measured.
    """

    linear, kinked = True, False

    def __init__(self, input_factor, output_factor, modes):
        self.rule = MomentGradient(input_factor, output_factor)
        self.modes = modes

    @classmethod
    def from_moments(cls, moments, like):
        """Build the rule on the device and in the precision of the tensor `like`."""
        modes = singular_modes(moments)
        R_x, R_y, U, V = (
            torch.as_tensor(part, dtype=like.dtype, device=like.device)
            for part in (moments.input_factor, moments.output_factor, *modes)
        )
        return cls(R_x, R_y, (U, V))

    def mean_residual(self, pathways):
        """Weighted mean of y - f(x): zero, for the moments are centred if it is to be fitted."""
        return self.modes[0].new_zeros(self.modes[0].shape[0])

    def measure(self, pathways):
        """Loss, gradients and mode strengths; weights may carry a batch dimension.

        Returns
        -------
        loss : tensor of shape (...)
        gradients : list of lists of tensors, of the shapes of `pathways`
        others : dict with "mode_strengths", a tensor of shape (..., n_pathways, r)
            diag(U^T M_p V).
        """
        rule = self.rule
        chains = [rule.chain(weights) for weights in pathways]
        partial = [products(chain) for chain in chains]
        maps = [part[-1] for part in partial]
        total = sum(maps)
        slope = rule.map_gradient(total)
        gradients = [
            rule.unchained(chain_gradients(chain, part, slope))
            for chain, part in zip(chains, partial, strict=True)
        ]
        left, right = self.modes[::-1] if rule.transposed else self.modes
        strengths = [((M @ right) * left).sum(-2) for M in maps]
        return rule.loss_of(total), gradients, {"mode_strengths": torch.stack(strengths, dim=-2)}

    def stepper(self, pathways, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `pathways` in place."""
        rule = self.rule
        if len(pathways) == 1:
            return rule.stepper(pathways[0], weight_decay[0])
        total = products(rule.chain(pathways[0]))[-1].clone()
        slope = torch.empty_like(total)
        chains = [
            ChainStepper(rule.chain(weights), rule.chain_order(decays), slope)
            for weights, decays in zip(pathways, weight_decay, strict=True)
        ]
        first, *others = [chain.product for chain in chains]
        map_gradient = rule.map_gradient_into(total, slope)
        forward = [chain.forward for chain in chains]
        # The pathway that was read last is still in the cache.
        backward = [chain.backward for chain in reversed(chains)]

        def step(eta):
            for run in forward:
                run()
            total.copy_(first)
            for product in others:
                total.add_(product)
            map_gradient()
            for run in backward:
                run(eta)

        return step

    def cost(self, n_parameters):
        """Floating-point operations of a step."""
        return 6 * min(self.modes[0].shape[0], self.modes[1].shape[0]) * n_parameters


def singular_modes(moments):
    """Singular vectors U (m, r) and V (d, r) of S, modes of rounding error left out."""
    S = moments.cross_moment
    U, s, Vt = np.linalg.svd(S, full_matrices=False)
    size = np.linalg.norm(moments.input_factor, 2) * np.linalg.norm(moments.output_factor, 2)
    rank = int(np.sum(s > max(S.shape) * np.finfo(float).eps * size))
    return U[:, :rank], Vt[:rank].T


def balance_by_pathway(history, depths):
    """Split the columns of a balance history into one history per pathway."""
    histories, first = [], 0
    for depth in depths:
        columns = slice(first, first + depth - 1)
        parts = {
            name: None if values is None else values[:, columns]
            for name in ("layer", "neuron", "matrix", "change")
            for values in [getattr(history, name)]
        }
        histories.append(replace(history, **parts))
        first += depth - 1
    return histories
