"""A linear network on more inputs than data, trained in those that its weights ever reach.

Let V be an orthonormal basis of the row space of the inputs. The gradient of W_1 stays in it,
and what W_1 has outside only shrinks by its decay, so that W_1 = C [V, Q]^T for ever, with Q a
basis of the initial rows outside. As [V, Q] is orthonormal, the network of first layer C, on
inputs that are zero along Q, has the same norms, gradients, balance and Hessian.
"""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._curvature import check_number
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._row_space import in_row_space
from sklearn_deeplinear.theory._wide_factor import is_wide

# Inputs that are not worth leaving out.
_FEW = 100
# Rows of W_1 outside of the row space, relative to W_1, that are rounding errors.
_ROUNDING = 1000 * np.finfo(float).eps


class RowSpaceNetwork:
    """A network in fewer inputs under the interface of one in all.

    Parameters
    ----------
    network : Dynamics
        Predictive, of first layer C.
    basis : tensor of shape (d, k)
        [V, Q], orthonormal columns.
    idle : float
        Curvature 2 gamma_1 along the weights that are left out.
    """

    def __init__(self, network, basis, idle):
        self.network, self.basis, self.idle = network, basis, idle
        self.state, self.gradient = network.state, network.gradient
        self.step, self.evaluate, self.measure = network.step, network.evaluate, network.measure
        self.rounding, self.linear = network.rounding, network.linear
        self.flow_options, self.steps = network.flow_options, network.steps
        self.record_cost, self.balance_meter = network.record_cost, network.balance_meter
        self._last = None, None

    def unpacked(self, state):
        """``weights``: full W_1, ..., W_L of a state."""
        first, *others = self.network.unpacked(state)["weights"]
        return {"weights": [first @ self.basis.mT, *others]}

    def isometric(self, state):
        """Weights whose end-to-end map has the singular values of that of the full weights."""
        return self.network.unpacked(state)

    def outputs_at(self, states, X):
        """Outputs at other inputs; see `Predictive`."""
        if self._last[0] is not X:  # the same at all records
            self._last = X, X @ self.basis
        return self.network.outputs_at(states, self._last[1])

    def outputs_cost(self, n_rows):
        """Floating-point operations of the outputs of a record."""
        return self.network.outputs_cost(n_rows)

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian in the full weights."""
        # Along what is left out the curvature is that of the decay alone, many times.
        weights, (n_inputs, n_kept) = self.network.unpacked(state)["weights"], self.basis.shape
        kept, left_out = sum(W.numel() for W in weights), len(weights[0]) * (n_inputs - n_kept)
        k = check_number(k, kept + left_out)
        found = self.network.hessian_eigenvalues(state, k=min(k, kept), which=which)
        idle = np.full(min(k, left_out), self.idle)
        both = np.concatenate([found, idle])
        keys = {"LA": -both, "SA": both, "LM": -np.abs(both)}[which]
        return both[np.argsort(keys, kind="stable")][:k]


def row_space(weights, moments):
    """The network and its data in fewer inputs, where these are much fewer.

    Parameters
    ----------
    weights : list of float64 tensors
        W_1, ..., W_L.
    moments : SecondMoments
        Moments of the data.

    Returns
    -------
    weights : list of float64 tensors
        C, W_2, ..., W_L.
    moments : SecondMoments
        Of the coordinates of the inputs.
    basis : ndarray of shape (d, k)
        Or None for all three.
    """
    if not is_wide(moments.input_factor):
        return None, None, None
    return narrowed(weights, moments)


def narrowed(weights, moments):
    """:func:`row_space` of data of any shape; None for all three if half the inputs do not do."""
    W, V = weights[0].numpy(force=True), moments.spectrum.directions
    outside = W - (W @ V) @ V.T
    rounding = _ROUNDING * np.linalg.norm(W)
    if np.linalg.norm(outside) <= rounding:
        Q = V[:, :0]
    elif 2 * (V.shape[1] + len(W)) > len(V) > _FEW:
        return None, None, None
    else:
        _, sizes, Qt = svd(outside, full_matrices=False)
        Q = Qt[sizes > rounding].T
        Q = np.linalg.qr(Q - V @ (V.T @ Q))[0]  # small rows are not yet orthogonal to V
    basis = np.hstack([V, Q]) if Q.size else V
    core = torch.from_numpy(W @ basis)
    return [core, *weights[1:]], in_row_space(moments, Q.shape[1]), basis
