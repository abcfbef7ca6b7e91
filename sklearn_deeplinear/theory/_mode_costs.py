"""What the modes of a map cost, one by one, as matrices.

A map of p outputs has orthonormal output directions v_1, ..., v_p, its left singular vectors.
Rotated to them the outputs are p networks of one output each, so that excess loss plus least
penalty is

    sum_k v_k^T C(tau_k) v_k,    C(tau) = Y^T diag(1 / (1 + sigma_i^2 tau)) Y + D kappa tau^(1/D) I

once the first layers are eliminated, with D = L - 1, kappa = g^(L/D), and the strength
tau >= 0 of a mode, (its singular value)^(2 D / L) / g where the layers are balanced. For any
symmetric matrix Lambda with Lambda <= C(tau) at all tau >= 0 the objective of every map is
therefore at least tr Lambda, for the v_k are an orthonormal basis. If some modes are known to
have their strength in an interval, Lambda + mu I <= C(tau) is needed on that interval only,
and each of these modes adds its mu to the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

# Exponentials are cut off here, before they overflow.
_LARGEST = 700.0


@dataclass(frozen=True, eq=False)
class ModeCosts:
    """C as a function of x = log tau, from -inf, in units where sigma_1 = ||Y||_F = 1.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values of the input factor, positive.
    Y : ndarray of shape (k, p)
        Targets.
    log_g : float
        Logarithm of the geometric mean of the decays.
    depth : int
        Number of weight matrices L, at least 2.
    units : float, default=0.0
        Sum of the logarithms, taken positive, of the units that were divided out: `log_g` is
        only as accurate as they are.
    """

    sigma: np.ndarray
    Y: np.ndarray
    log_g: float
    depth: int
    units: float = 0.0

    @property
    def n_modes(self):
        """Number p of modes."""
        return self.Y.shape[1]

    @cached_property
    def _log_a(self):
        return 2 * np.log(self.sigma)

    @cached_property
    def _outer(self):
        return self.Y[:, :, None] * self.Y[:, None, :]

    @cached_property
    def log_scale(self):
        """Logarithm of D kappa."""
        D = self.depth - 1
        return np.log(D) + self.depth / D * self.log_g

    def penalty(self, x):
        """D kappa tau^(1/D) at x = log tau."""
        return np.exp(np.minimum(self.log_scale + x / (self.depth - 1), _LARGEST))

    def at(self, x):
        """C at all of x (n,), shape (n, p, p)."""
        return self._matrices(scipy.special.expit(-(x[:, None] + self._log_a)), self.penalty(x))

    def below(self, lower, upper):
        """What is below C in intervals, affine in tau, at both of their ends: (2, n, p, p)."""
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isneginf(lower), -np.inf, (lower + upper) / 2)
        kept = scipy.special.expit(-(middle[:, None] + self._log_a))
        ends = np.stack([lower, upper])
        steps = self._a_tau(ends) - self._a_tau(middle)
        return self._matrices(kept - kept**2 * steps, self.penalty(ends))

    def strongest(self, size):
        """Strength beyond which the penalty exceeds `size`."""
        if not size > 0:
            return -np.inf
        return (self.depth - 1) * (np.log(size) - self.log_scale)

    def weakest(self):
        """Strength below which C is at least C(0), for more than two layers.

        There the chord of the penalty rises at least as fast as the tangent of the loss at
        zero falls, for the squares of Y add up to one and no sigma exceeds one. With two
        layers both are affine and any strength will do that is small for the data.
        """
        D = self.depth - 1
        return D / (D - 1) * self.log_scale if D > 1 else -1.0

    def expansion(self, x):
        """C and its derivative by log tau at one x: (2, p, p)."""
        kept = scipy.special.expit(-(x + self._log_a))
        penalty, D = self.penalty(x), self.depth - 1
        shares = np.stack([kept, kept * (kept - 1)])
        return self._matrices(shares, np.array([penalty, penalty / D]))

    def curvature(self, x, lower, upper):
        """Q (p, p) with C((1 + r) tau) >= C + r C' + r^2 Q for strengths between two others.

        C and C' are :meth:`expansion` at x = log tau. For one share the remainder is exactly
        the second of them squared times the share at (1 + r) tau, which falls with r, and the
        second derivative of the penalty is least at the weaker end.
        """
        dropped = scipy.special.expit(x + self._log_a)
        shares = dropped**2 * scipy.special.expit(-(upper + self._log_a))
        D = self.depth - 1
        bend = (1 / D - 1) / (2 * D) * np.exp((1 / D - 2) * (lower - x))
        return self._matrices(shares, bend * self.penalty(x))

    def _a_tau(self, x):
        return np.exp(np.minimum(x[..., None] + self._log_a, _LARGEST))

    def _matrices(self, shares, penalty):
        C = np.tensordot(shares, self._outer, axes=1)
        return C + penalty[..., None, None] * np.eye(self.n_modes)


@dataclass(frozen=True)
class Box:
    """An interval of x = log tau in which `count` of the modes have their strength."""

    lower: float
    upper: float
    count: int


def everything(n_modes, rank):
    """Boxes of all maps: `rank` modes of any strength, and the others of none."""
    boxes = [Box(-np.inf, np.inf, rank), Box(-np.inf, -np.inf, n_modes - rank)]
    return tuple(box for box in boxes if box.count)
