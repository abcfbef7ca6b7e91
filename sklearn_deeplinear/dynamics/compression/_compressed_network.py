"""One deep linear network in compressed coordinates, to be used like `LinearDynamics`."""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.compression._compressed_pathways import (
    CompressedPathways,
    compressed,
)
from sklearn_deeplinear.dynamics.compression._subspaces import closed_widths, live_units
from sklearn_deeplinear.dynamics.networks._balance import Balance
from sklearn_deeplinear.dynamics.networks._linear import (
    LinearDynamics,
    gradient_rounding,
    step_seconds,
)
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.nn._norms import norms

# Networks narrower than this spend their time on calling operations, not in them.
_NARROW = 64
# Finding subspaces may take this part of the time of the steps; seconds that it takes a network of
# any size, 0.6 ms measured with 64 to 500 hidden units; floating-point operations of the
# singular values of an (n, k) matrix, in units of n k^2, and how many are done a second,
# 1.6e10 to 3.3e10 measured with n from 200 to 1,000. Where a few units span them there is nothing
# to find, and measuring the balance of the full layers twice takes longer.
_SHARE = 0.1
_OVERHEAD = 1e-3
_SINGULAR_OPERATIONS, _SINGULAR_RATE = 20, 1e10


class CompressedNetwork:
    """A single compressed pathway under the interface of a network.

    Parameters
    ----------
    pathway : CompressedPathways
        Dynamics of one pathway.

    Attributes
    ----------
    rounding : float
        As that of :class:`LinearDynamics`, in the full network.
    """

    flow_options, linear = LinearDynamics.flow_options, True

    def __init__(self, pathway: CompressedPathways):
        self.pathway = pathway
        self.state, self.gradient = pathway.state, pathway.gradient
        self.step, self.evaluate = pathway.step, pathway.evaluate
        self.record_cost = pathway.record_cost
        self.outputs_at, self.outputs_cost = pathway.outputs_at, pathway.outputs_cost
        cores = torch.stack([norms(C, (0, 1)) for C in pathway.pathways[0]])
        sizes = torch.hypot(cores, pathway.rest_norms).tolist()
        self.rounding = gradient_rounding(sizes, pathway.data_term.single, pathway.weight_decay[0])

    @classmethod
    def from_moments(cls, weights, moments, weight_decay, like, n_steps):
        """Compress a network without noise; None where that is not exact or does not pay.

        Parameters
        ----------
        weights : list of float64 tensors
            Initial W_1, ..., W_L.
        moments : SecondMoments
            Moments of the data.
        weight_decay : sequence of L floats
            gamma_1, ..., gamma_L.
        like : tensor
            Of the device and the precision to train in.
        n_steps : int
            Number of steps planned, that the effort of compressing is to be small beside.

        Returns
        -------
        dynamics : CompressedNetwork or None
        """
        if max(map(len, weights[:-1]), default=0) < _NARROW:
            return None
        live = live_units(weights)
        hidden = closed_widths(weights, live)[1:-1]
        if hidden != [len(units) for units in live]:  # else units span the subspaces as they are
            budget = _SHARE * n_steps * step_seconds([W.shape for W in weights]) - _OVERHEAD
            size = sum(len(units) * k**2 for units, k in zip(live, hidden, strict=True))
            if _SINGULAR_OPERATIONS * size > budget * _SINGULAR_RATE:
                return None
        R_x, R_y = (
            torch.as_tensor(factor, dtype=like.dtype, device=like.device)
            for factor in (moments.input_factor, moments.output_factor)
        )
        no_modes = (R_y.new_empty((R_y.shape[1], 0)), R_x.new_empty((R_x.shape[1], 0)))
        pathway = compressed(
            [weights], LinearPathways(R_x, R_y, no_modes), [weight_decay], live=[live]
        )
        return None if pathway is None else cls(pathway)

    @property
    def steps(self):
        """`CompiledSteps`, many in one call; None where that is no faster."""
        return self.pathway.steps

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        measured = self.pathway.measure(states)
        measured.pop("mode_strengths")
        return measured

    def unpacked(self, state):
        """``weights``: full W_1, ..., W_L of a state."""
        return {"weights": self.pathway.unpacked(state)["weights"][0]}

    def balance_meter(self):
        """Meter of the balance of the full layers."""
        meter = self.pathway.balance_meter()
        return Balance(meter.chains, meter.meters)

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian in the full weights."""
        return self.pathway.hessian_eigenvalues(state, k=k, which=which)
