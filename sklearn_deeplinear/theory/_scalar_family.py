"""Stationary points of deep linear networks whose cross moment has rank one.

Up to signs all candidates for the global minimum lie in a family with a single number
left: the penalty t that every layer above the first carries. In the eigenbasis of A put
a_k = sigma_k^2, z_k = a_k y_k^2, D = L - 1 and rho = prod_l h_l / (h_l + s_l). With
mu = rho prod_l gamma_l / t^D the family of Ziyin, Li and Meng reads

    M = rho S (A + mu I)^(-1),     J = D t + c - rho sum_k z_k / (a_k + mu),

and dJ/dmu vanishes where

    (L/D) log mu + log sum_k z_k / (a_k + mu)^2 = (log rho + sum_l log gamma_l) / D - log rho.

The left side is one curve H(log mu), free of decays, widths and noise; the right side is
one number. Where H crosses it upwards J has a minimum along the family. Everything is
done in logarithms and in units of the data, so that no width, depth, decay or unit
overflows.

References: Ziyin, L., Li, B., Meng, X. (2022), "Exact solutions of a deep linear network",
NeurIPS 35.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# The slope of H is an average of logistic functions of log mu, so it has no detail finer
# than about one e-fold; its zeros are looked for at this spacing.
_LOG_SPACING = 0.2


def log_shrinkage(noise, widths):
    """Logarithm of rho = prod_l h_l / (h_l + s_l), the factor by which noise shrinks M."""
    return -float(np.sum(np.log1p(np.asarray(noise) / np.asarray(widths, dtype=float))))


@dataclass(frozen=True, eq=False)
class ScalarFamily:
    """The family for given data, depth and noise; methods take the decays.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values of the input factor, positive and descending.
    target : ndarray of shape (k,)
        U^T r_y, not all zero: S = (sigma * target)^T V^T.
    depth : int
        Number of weight matrices L, at least 2.
    log_rho : float
        See :func:`log_shrinkage`.
    """

    sigma: np.ndarray
    target: np.ndarray
    depth: int
    log_rho: float = 0.0

    @cached_property
    def _a(self):
        return (self.sigma / self.sigma[0]) ** 2

    @cached_property
    def _size(self):
        scale = np.abs(self.target).max()
        return scale * np.linalg.norm(self.target / scale)

    @cached_property
    def _z(self):
        return self._a * (self.target / self._size) ** 2

    def minimum(self, log_decay):
        """Global minimum of J for each setting of the decays.

        Parameters
        ----------
        log_decay : ndarray of shape (n,)
            ``sum_l log gamma_l``, -inf for no decay.

        Returns
        -------
        x : ndarray of shape (n,)
            ``log(mu / sigma_1^2)``: inf where zero is the minimum, -inf without decay.
        excess, penalty : ndarrays of shape (n,)
            See :meth:`terms`.
        """
        decayed = np.isfinite(log_decay)
        points = np.full((1, len(log_decay)), -np.inf)
        if decayed.any():
            found = self.stationary(log_decay[decayed], minima_only=True)
            found[np.isnan(found)] = np.inf
            if self.depth > 2:  # with two layers zero is a saddle while there is another point
                found = np.vstack([np.full(found.shape[1], np.inf), found])
            points = np.repeat(points, len(found), axis=0)
            points[:, decayed] = found
        excess, penalty, _ = self.terms(points, log_decay)
        best = np.argmin(excess + penalty, axis=0), np.arange(len(log_decay))
        return points[best], excess[best], penalty[best]

    def stationary(self, log_decay, minima_only=False):
        """Logarithms of mu, in units of sigma_1^2, at the non-zero stationary points.

        Parameters
        ----------
        log_decay : ndarray of shape (n,)
            ``sum_l log gamma_l``, finite, for n settings of the decays.
        minima_only : bool, default=False
            Leave out the maxima along the family.

        Returns
        -------
        x : ndarray of shape (p, n)
            Row i holds the points on the i-th monotone piece of H, NaN where there is
            none. Minima and maxima along the family alternate, a minimum first.
        """
        level = self._level(log_decay)
        nodes, bounds = self._nodes(level)
        height = self._curve(nodes)[0]
        pieces = list(zip(bounds[:-1], bounds[1:], strict=True))[:: 2 if minima_only else 1]
        x = np.full((len(pieces), len(level)), np.nan)
        low, high, sign = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        for i, (start, stop) in enumerate(pieces):
            piece = slice(start, stop + 1)
            low[i], high[i] = nodes[start], nodes[stop]
            sign[i] = 1 if height[stop] > height[start] else -1
            bottom, top = sorted((height[start], height[stop]))
            inside = (level > bottom) & (level < top)
            rising = np.s_[:: int(sign[i, 0])]
            x[i, inside] = np.interp(level[inside], height[piece][rising], nodes[piece][rising])
        found = ~np.isnan(x)
        target, sign = np.broadcast_to(level, x.shape)[found], sign[found]

        def crossing(points):
            value, slope, curvature = self._curve(points)
            return sign * (value - target), sign * slope, sign * curvature

        x[found] = _bracketed_roots(crossing, x[found], low[found], high[found])
        return x

    def coordinates(self, x):
        """M V in the eigenbasis of A, shape (..., k), at ``x = log(mu / sigma_1^2)``."""
        return np.exp(self.log_rho) * self._shares(x)[0] * (self.target / self.sigma)

    def terms(self, x, log_decay):
        """Excess loss, penalty and log t on the family, without cancellation.

        Parameters
        ----------
        x : ndarray of shape (...)
            ``log(mu / sigma_1^2)``; inf stands for zero weights, -inf for no decay.
        log_decay : ndarray of shape (...)
            ``sum_l log gamma_l``, -inf for no decay.

        Returns
        -------
        excess : ndarray of shape (...)
            Expected loss above what least squares reaches.
        penalty : ndarray of shape (...)
            Such that J is the sum of both on all of the family.
        log_t : ndarray of shape (...)
            Logarithm of the penalty of one layer.
        """
        rho, lost = np.exp(self.log_rho), -np.expm1(self.log_rho)
        kept, dropped = self._shares(x)
        power = self.target**2
        # Squared bias plus variance: noise multiplies the second moment of f by 1 / rho.
        excess = ((lost * kept + dropped) ** 2 + rho * lost * kept**2) @ power
        with np.errstate(invalid="ignore"):
            log_t = (self.log_rho + log_decay - x - 2 * np.log(self.sigma[0])) / (self.depth - 1)
        log_t = np.where(np.isneginf(log_decay), -np.inf, log_t)
        penalty = (self.depth - 1) * np.exp(log_t) + rho * (kept * dropped) @ power
        return excess, penalty, log_t

    def _level(self, log_decay):
        units = (self.log_rho + log_decay - 2 * np.log(self.sigma[0])) / (self.depth - 1)
        return units - self.log_rho - 2 * np.log(self._size)

    def _shares(self, x):
        """The shares a / (a + mu) and mu / (a + mu), of shape (..., k)."""
        x = np.asarray(x)[..., None]
        a, mu = self._a * np.exp(-np.maximum(x, 0)), np.exp(np.minimum(x, 0))
        return a / (a + mu), mu / (a + mu)

    def _curve(self, x):
        """H, its first and its second derivative at the points `x` of shape (n,)."""
        ratio = self.depth / (self.depth - 1)
        top = np.maximum(x, 0)
        mu = np.exp(x - top)
        inverse = 1 / (self._a * np.exp(-top)[:, None] + mu[:, None])
        square = inverse * inverse
        total = square @ self._z
        # Averages of p = mu / (a + mu) and p^2 with weights z / (a + mu)^2.
        mean = mu * ((square * inverse) @ self._z) / total
        mean_square = mu**2 * ((square * square) @ self._z) / total
        value = ratio * x + np.log(total) - 2 * top
        return value, ratio - 2 * mean, 6 * mean_square - 2 * mean - 4 * mean**2

    def _nodes(self, level):
        """Nodes x, and the indices of those that bound the monotone pieces of H.

        Left of log min(a) the curve rises with at least slope L/D - 1; for D = 1 it rises
        everywhere, for larger D it falls right of log 3 max(a). Beyond that core the
        asymptotes, which bound H, tell how far to go to bracket all levels.
        """
        D = self.depth - 1
        left, right = np.log(self._a[-1]), np.log(3.0)
        core = np.linspace(left, right, int((right - left) / _LOG_SPACING) + 2)
        far_left = (level.min() - np.log(np.sum(self._z / self._a**2))) * D / self.depth
        first = min(far_left, left) - 1
        height = np.log(self._z.sum())
        if D == 1:
            # H tends to its supremum like -2 a / mu, so the nodes must follow it out there.
            below = height - level[level < height]
            far_right = max(np.log(2 / below.min()), right) + 1 if below.size else right + 1
            tail = np.arange(right, far_right, 1.0)[1:]
            nodes = np.concatenate([[first], core, tail, [far_right]])
            return nodes, [0, len(nodes) - 1]
        last = max((height - level.min()) * D / (D - 1), right) + 1
        extrema = self._extrema(core)
        nodes = np.concatenate([[first], core, extrema, [last]])
        nodes.sort()
        return nodes, [0, *np.searchsorted(nodes, extrema), len(nodes) - 1]

    def _extrema(self, core):
        slope = self._curve(core)[1]
        cell = np.flatnonzero((slope[:-1] > 0) != (slope[1:] > 0))
        low, high = core[cell], core[cell + 1]
        sign = np.where(slope[cell] > 0, -1.0, 1.0)
        start = low + (high - low) * slope[cell] / (slope[cell] - slope[cell + 1])

        def crossing(points):
            _, first, second = self._curve(points)
            return sign * first, sign * second, 0.0

        return _bracketed_roots(crossing, start, low, high)


def _bracketed_roots(function, x, low, high):
    """Roots of functions that rise through zero in (low, high), all at once.

    Halley's method, with bisection wherever it would leave the bracket. `function` returns
    values, slopes and curvatures; with curvature zero the method is Newton's. The last
    step is below 1e-6 and convergence is cubic (quadratic), so what is left is rounding.
    """
    for _ in range(100):
        if x.size == 0:
            break
        value, slope, curvature = function(x)
        low, high = np.where(value < 0, x, low), np.where(value > 0, x, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = x - value / (slope - 0.5 * value * curvature / slope)
        new = np.where((new >= low) & (new <= high), new, (low + high) / 2)
        step = np.abs(new - x).max()
        x = new
        if step < 1e-6:
            break
    return x
