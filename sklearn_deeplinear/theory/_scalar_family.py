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

from sklearn_deeplinear.theory._log_curve import LogCurve


def log_shrinkage(noise, widths):
    """Logarithm of rho = prod_l h_l / (h_l + s_l), the factor by which noise shrinks M."""
    return -float(np.sum(np.log1p(np.asarray(noise) / np.asarray(widths, dtype=float))))


def mode_minima(sigma, targets, depth, log_decay, log_rho=0.0):
    """Global minima for several targets, each of them alone.

    Parameters
    ----------
    sigma : ndarray of shape (k,)
    targets : ndarray of shape (k, p)
        Targets in the eigenbasis of A, one per column.
    depth : int
    log_decay : float
        ``sum_l log gamma_l``, -inf for no decay.
    log_rho : float, default=0.0

    Returns
    -------
    coordinates : ndarray of shape (k, p)
    excess, penalty : ndarrays of shape (p,)
        See :meth:`ScalarFamily.terms`.
    x : ndarray of shape (p,)
        Where on the curve the minima are, infinite for zero.
    """
    coordinates, (excess, penalty) = np.zeros_like(targets), np.zeros((2, targets.shape[1]))
    x = np.full(targets.shape[1], np.inf)
    for j in np.flatnonzero(targets.any(axis=0)):
        family = ScalarFamily(sigma, targets[:, j], depth, log_rho)
        x[[j]], excess[[j]], penalty[[j]] = family.minimum(np.array([log_decay]))
        coordinates[:, j] = family.coordinates(x[j])
    return coordinates, excess, penalty, x


def best_modes(sigma, targets, directions, rank, depth, log_decay):
    """Sum of the minima of mode_minima for the `rank` output `directions` that gain most.

    `targets` has shape (k, m), `directions` (p, m); the sum is a map of shape (k, m).
    """
    alone = targets @ directions.T
    coordinates, excess, penalty, _ = mode_minima(sigma, alone, depth, log_decay)
    best = np.argsort(excess + penalty - np.sum(alone**2, axis=0))[:rank]
    return coordinates[:, best] @ directions[best]


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
    def _curve(self):
        z = self._a * (self.target / self._size) ** 2
        return LogCurve(self._a, z, self.depth / (self.depth - 1), 2)

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
            # With two layers zero is a saddle while there is another point, the only one.
            if self.depth > 2 or not len(found):
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
            Column j holds the points for ``log_decay[j]``, ascending, padded with NaN.
            Minima and maxima along the family alternate, a minimum first.
        """
        return self._curve.crossings(self._level(log_decay), rising_only=minima_only)

    def critical_log_decays(self):
        """``sum_l log gamma_l`` from where on zero wins, and from where on it is alone.

        The maxima of the curves F and H of :func:`critical_weight_decay`; depth > 2 only.
        """
        D, F = self.depth - 1, self._curve
        H = LogCurve(F.a, F.z, 1 / D, 1)
        levels = np.array([H.maximum - np.log(D), F.maximum])
        return D * (levels - self._level(0.0))

    @property
    def highest(self):
        """The point x where the curve is highest, beyond which there is no minimum.

        With two layers that is far to the right, where it is as good as at its limit.
        """
        nodes = self._curve.nodes
        return nodes[self._curve(nodes)[0].argmax()]

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
