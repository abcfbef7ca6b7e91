"""What maps outside of a Krylov space can gain.

The ridge solution in the space V_k leaves the residual R = S - M (A + tau I), and for all maps

    J_tau  >=  J_tau(M) - ||R||_F^2 / tau.

With one output R is a multiple of one vector and falls with tau: at the least tau it bounds what
any depth can gain outside of V_k. Several outputs start a block; with one layer the bound holds
at its tau.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._decompositions import eigh

# The logarithm of numbers near the largest ones.
_LARGEST_LOG = 700.0
# The ridge penalties tried, up to so many times the largest eigenvalue; from which share of that
# of the minimum on norms are excluded, in steps of a ratio: near ones need a space of few columns,
# far ones fewer steps.
_GRID, _HIGH, _SHARES, _RATIO = 200, 1e3, (0.7, 0.5, 0.3, 0.15), 1.1


class Excluded:
    """What a deep network of one output can gain outside of a space, by the norm of its map.

    A minimum of norm r is the ridge solution at its own tau, the slope of the penalty P in r^2.
    Above some tau the space misses no more than at that. Further out, at u = r^2 from u_i to
    u_{i+1}, where the slope of P falls from tau_i to tau_{i+1}, no map is better than

        J  >=  ridge(tau) - tau u + P(u),      ridge(tau) known from below,

    the least of which is at u_i for tau_{i+1}, and at u_{i+1} for tau_i. Far beyond the minimum
    this is more than it costs by a margin, and rough bounds will do.
    """

    def __init__(self, H, S, beyond, c):
        self.eigenvalues, Q = eigh(H)
        self.s, self.last, self.beyond, self.c = Q.T @ S[:, 0], Q[-1], float(beyond[0, 0]), c
        # Rounding errors below zero do not make ridge solutions singular.
        self.eigenvalues = np.maximum(self.eigenvalues, 0.0)

    def _path(self, tau):
        """Squared norms of ridge solutions, their objectives, and what these miss at most."""
        z = self.s / (self.eigenvalues + tau[:, None])
        return np.sum(z**2, axis=1), self.c - z @ self.s, (self.beyond * (z @ self.last)) ** 2 / tau

    def _grid(self, depth, log_g):
        low = exp(log_g + (1 - depth) * (np.log(self.c) - np.log(depth) - log_g))
        return np.geomspace(low, max(2 * low, _HIGH * self.eigenvalues[-1]), _GRID)

    def _objectives(self, depth, log_g, tau):
        u, ridge, _ = self._path(tau)
        return ridge - tau * u + depth * np.exp(log_g) * u ** (1 / depth)

    def least(self, depth, log_g):
        """An upper bound on the least objective in the space."""
        values = self._objectives(depth, log_g, self._grid(depth, log_g))
        return min(self.c, values.min())

    def missed(self, depth, log_g):
        """Bound on the gain outside of the space."""
        grid = self._grid(depth, log_g)
        values = self._objectives(depth, log_g, grid)
        least, g = min(self.c, values.min()), np.exp(log_g)
        bounds = []
        for share in _SHARES:
            first = max(share * grid[values.argmin()], grid[0])
            n = 2 + int(np.ceil(np.log(first / grid[0]) / np.log(_RATIO)))
            tau = first * _RATIO ** -np.arange(n)
            u = (g / tau) ** (depth / (depth - 1))
            P, (_, ridge, error) = depth * g * u ** (1 / depth), self._path(tau)
            ridge = ridge - error
            near, far = (
                ridge[1:] - tau[1:] * u[:-1] + P[:-1],
                ridge[:-1] - tau[:-1] * u[1:] + P[1:],
            )
            bounds.append(max(error[0], least - np.maximum(near, far).min()))
        return min(bounds)


def log_decay(depth, gamma, unit):
    """log g where inputs and outputs are in these units."""
    log_x, log_y = np.log(unit)
    return float(np.mean(np.log(gamma))) + 2 / depth * (log_y - log_x) - 2 * log_y


def log_least_ridge(depth, gamma, noise, log_c):
    """Logarithm of the least tau at which a network can have its minimum; log_c = log E||y||^2.

    The penalty of a map of norm r is ``L g r^(2/L)`` at least, g the geometric mean of the
    decays, and no minimum costs more than the zero network. Its slope in r^2 is tau, for each
    singular value of several. Noise scales A by ``prod_l (1 + s_l)`` at most.
    """
    if not np.all(gamma):
        return -np.inf
    log_g, L = float(np.mean(np.log(gamma))), depth
    return log_g + (1 - L) * (log_c - np.log(L) - log_g) - np.sum(np.log1p(noise))


def exp(log):
    """Exponential, no larger than the largest numbers."""
    return float(np.exp(min(log, _LARGEST_LOG)))
