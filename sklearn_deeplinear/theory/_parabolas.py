"""Parabolas of matrices that prove a matrix to lie below what modes cost, on an interval.

Around a strength tau, with r the relative distance from it,

    C((1 + r) tau) - Lambda >= P(r) = E_0 + r E_1 + r^2 E_2

(:meth:`._mode_costs.ModeCosts.curvature`), and E_0 and E_1 are exact: where C touches Lambda the
parabola does as well, so that the interval need not be short. For |r| <= h any skew K and any
Z >= 0 give

    P(r) >= P(r) - (h^2 - r^2) Z / h^2
         = [I, (r / h) I] [[E_0 - Z, h E_1 / 2 + K], [h E_1 / 2 - K, h^2 E_2 + Z]] [I, (r / h) I]^T,

which is not negative if the block matrix is not. In the basis in which E_0 is diag(e_j) these are

    Z = E_0 / 2,    (h E_1 / 2 + K)_jk = h (E_1)_jk e_j / (e_j + e_k),

so that a direction in which C touches Lambda, e_j = 0, is not coupled to any other.
"""

from __future__ import annotations

import numpy as np
import scipy

from sklearn_deeplinear.theory._decompositions import eigh

# Newton steps to the strength near which the least eigenvalue is least.
_STEPS = 2

# A step below this, in logarithms of the strength, is none.
_NO_STEP = 1e-9

# Rounding errors per output that eigenvalues of p outputs are allowed.
_ROUNDINGS = 4

# The least tolerance in those rounding errors: two are taken off, and half of the rest is Z.
_LEAST = 3


class Parabolas:
    """Those of the costs of modes less a matrix Lambda.

    Attributes
    ----------
    least_tolerance : float
        For :meth:`below`, because of rounding.
    """

    def __init__(self, costs, Lambda):
        self.costs, self.Lambda = costs, Lambda
        size = np.linalg.norm(Lambda, 2) + np.linalg.norm(costs.at(np.array([-np.inf]))[0], 2)
        self._rounding = _ROUNDINGS * costs.n_modes * np.finfo(float).eps * size
        self.least_tolerance = _LEAST * self._rounding

    def below(self, lower, upper, tolerance):
        """Whether Lambda is proven to exceed the costs by at most `tolerance` in an interval.

        Returns
        -------
        x : float
            Logarithm of a strength in the interval, where the excess is largest, as far as known.
        value : float
            Least eigenvalue of C - Lambda there.
        below : bool
        """
        x, e, U, slope = self._vertex(lower, upper)
        value = e[0]
        e = e + (tolerance - self._rounding)
        if e[0] <= 0:
            return x, value, False
        h = max(-np.expm1(lower - x), np.expm1(upper - x))
        coupling = h * slope * (e[:, None] / (e[:, None] + e))
        S = h**2 * (U.T @ self.costs.curvature(x, lower, upper) @ U)
        S -= (coupling.T / (e / 2)) @ coupling
        S[np.diag_indices_from(S)] += e / 2 - self._rounding
        return x, value, scipy.linalg.lapack.dpotrf(S, lower=1)[1] == 0

    def _vertex(self, lower, upper):
        """Where the least eigenvalue is least: x, E_0 diagonalised, and E_1 in its basis."""
        x = (lower + upper) / 2
        for step in range(_STEPS + 1):
            E_0, E_1 = self.costs.expansion(x)
            e, U = eigh(E_0 - self.Lambda)
            if step == _STEPS:
                break
            v = U[:, 0]
            slope = U.T @ (E_1 @ v)
            bend = v @ self.costs.curvature(x, x, x) @ v
            bend -= np.sum(slope[1:] ** 2 / np.maximum(e[1:] - e[0], np.finfo(float).tiny))
            if bend <= 0:
                break
            r = max(-slope[0] / (2 * bend), np.expm1(lower - x))
            new = min(x + np.log1p(r), upper)
            if abs(new - x) <= _NO_STEP:
                break
            x = new
        return x, e, U, U.T @ E_1 @ U
