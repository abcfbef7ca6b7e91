"""Equation of pathways that learn one singular mode together, in logarithms.

A pathway has strength K = u h^(L-1), with u its weakest weight and h = (u^2 + lambda)^(1/2)
the others, and du/dt = 2 h^(L-1) (s - sum_q K_q). Its unknown is theta = log |u| for
lambda = 0, where u never changes its sign, else that of u = c sinh(theta), h = c cosh(theta),
c^2 = lambda; a single layer (K = u) may take any c. Either way K = tau h^L and

    dtheta/dt = g 2 h^(L-2) (s - sum_q K_q),

with tau the sign of u or tanh(theta), and g that sign or 1.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from sklearn_deeplinear.theory._lazy_solution import LazySolution

# Rest of the bracket, relative to its terms, from which one Newton step leads to the end.
_AT_REST = 1e-11
# Logarithms by which a weight may grow and the fastest pathway change its speed within one
# chart: errors are relative to the former, numbers overflow with the latter.
_OUTGROWN, _SPEEDS = 5.0, 10.0


class Race:
    """Weights and strengths of all pathways as a function of time.

    Parameters
    ----------
    s : float
        Singular value.
    a_0 : ndarray of shape (n_pathways,)
        Strengths at time 0.
    depths : sequence of n_pathways ints
    imbalance : float
        lambda.
    """

    def __init__(self, s, a_0, depths, imbalance):
        a_0, depths = np.asarray(a_0, dtype=np.float64), np.asarray(depths)
        self._learns = (a_0 != 0) | (depths == 1) | (imbalance > 0)
        self._n_pathways, self._solution = len(a_0), None
        if self._learns.any():
            chart = RaceChart(s, a_0[self._learns], depths[self._learns], imbalance)
            self._solution, self._dies = LazySolution(chart), chart.dies

    def __call__(self, t):
        """Array of shape (k, 2, n_pathways): weights and strengths at `t` of shape (k,)."""
        states = np.zeros((t.size, 2, self._n_pathways))
        if self._solution is not None:
            known = np.isfinite(t) | (not self._dies)
            states[np.ix_(known, [0, 1], self._learns)] = self._solution(t[known])
        return states


class RaceChart:
    """theta of every pathway that learns; that of balanced ones counts from its start."""

    def __init__(self, s, a_0, depths, imbalance):
        with np.errstate(divide="ignore"):
            log_s, log_a_0 = np.log(np.abs(s)), np.log(np.abs(a_0))
            log_lambda = np.log(imbalance)
        self._log_s, self._end = log_s, s
        self._depths, self._a_0 = depths, a_0
        self._balanced = (imbalance == 0) & (depths > 1)
        self._sign = np.sign(a_0)
        # Where zero is in the way of all, none gets across and the mode dies.
        helpful = self._sign == np.sign(s) if s else np.ptp(self._sign) > 0
        self.dies = bool(self._balanced.all() and not np.any(helpful))

        log_end = max(log_s, log_a_0.max())
        log_end = log_end if np.isfinite(log_end) else 0.0
        log_u_0 = log_weight(log_a_0, depths, log_lambda)
        log_c = np.where(depths == 1, log_end, log_lambda / 2)
        # log h at theta = 0
        self._log_h_0 = np.where(self._balanced, log_u_0, log_c)
        theta_0 = np.copysign(_asinh_of_exp(log_u_0 - self._log_h_0), a_0)
        self.start = np.where(self._balanced, 0.0, theta_0)
        # Weights that stay small against c must be accurate against their own size.
        log_largest = log_weight(np.maximum(log_a_0, log_end), depths, log_lambda)
        reach = _asinh_of_exp(log_largest - self._log_h_0)
        self.atol = np.where(self._balanced, 1.0, np.minimum(reach, 1.0))
        self._set_unit()

    def velocity(self, t, theta):
        return self._direction(theta) * self._bracket(theta)[0]

    def at_rest(self, theta):
        bracket, size = self._bracket(theta)
        return bool(abs(bracket) <= _AT_REST * size)

    def limit(self, theta):
        """End of the race by one step of Newton's method along the way that all go.

        One pathway alone ends at s.
        """
        tau, log_h = self._parts(theta)
        direction = self._direction(theta)
        powers = np.exp(self._depths * log_h - self._log_size)
        rise = np.sum((1 + (self._depths - 1) * tau**2) * powers * np.abs(direction))
        step = self._bracket(theta)[0] / rise if rise > 0 else 0.0
        end = self.decoded((theta + step * direction)[:, None])[0]
        if len(theta) == 1:
            end[1] = self._end
        return end

    def renewed(self, theta):
        grown = np.abs(self._parts(theta)[1] - self._parts(self.start)[1]).max()
        faster = abs(self._log_speed(theta) - self._speed)
        return self.moved(theta) if max(grown, faster / _SPEEDS) > _OUTGROWN else None

    def moved(self, theta):
        chart = copy(self)
        tau, chart._log_h_0 = self._parts(theta)
        chart._log_h_0 = np.where(self._balanced, chart._log_h_0, self._log_h_0)
        chart._a_0 = tau * np.exp(self._depths * chart._log_h_0)
        chart.start = np.where(self._balanced, 0.0, theta)
        chart._set_unit()
        return chart

    def decoded(self, states):
        tau, log_h = self._parts(states.T)
        u, K = tau * np.exp(log_h), tau * np.exp(self._depths * log_h)
        # Close to its start a balanced strength is exact as a multiple of that.
        growth = np.where(self._balanced, self._depths * states.T, np.inf)
        near = np.abs(growth) < 1
        return np.stack([u, np.where(near, self._a_0 * np.exp(np.where(near, growth, 0.0)), K)], 1)

    def _parts(self, theta):
        """tau and log h."""
        size = np.abs(theta)
        log_cosh = size + np.log1p(np.exp(-2 * size)) - np.log(2)
        tau = np.where(self._balanced, self._sign, np.tanh(theta))
        return tau, self._log_h_0 + np.where(self._balanced, theta, log_cosh)

    def _bracket(self, theta):
        """s - sum_q K_q and the sum of the sizes of its terms."""
        tau, log_h = self._parts(theta)
        K = tau * np.exp(self._depths * log_h - self._log_size)
        return self._s - K.sum(), abs(self._s) + np.abs(K).sum()

    def _direction(self, theta):
        """dtheta/dt for a bracket of one."""
        _, log_h = self._parts(theta)
        speed = np.exp((self._depths - 2) * log_h - self._speed)
        return np.where(self._balanced, self._sign, 1.0) * speed

    def _log_speed(self, theta):
        return np.max((self._depths - 2) * self._parts(theta)[1])

    def _set_unit(self):
        self._speed = self._log_speed(self.start)
        tau, log_h = self._parts(self.start)
        with np.errstate(divide="ignore"):
            log_K = np.log(np.abs(tau)) + self._depths * log_h
        # The bracket s - sum_q K_q is counted in units of its largest term.
        size = max(self._log_s, log_K.max())
        size = size if np.isfinite(size) else 0.0
        self._s, self._log_size = np.sign(self._end) * np.exp(self._log_s - size), size
        self.log_unit = -np.log(2) - size - self._speed


def log_weight(log_a, depths, log_lambda):
    """Logarithms of the weights u > 0 with u (u^2 + lambda)^((L - 1) / 2) = a.

    Newton's method from above: the logarithm of the left side is convex in log u.
    """
    log_u, above = log_a / depths, True
    while np.any(above):
        with np.errstate(invalid="ignore"):  # u = 0 stays
            log_h = np.logaddexp(2 * log_u, log_lambda) / 2
            excess = log_u + (depths - 1) * log_h - log_a
            new = log_u - excess / (1 + (depths - 1) * np.exp(2 * (log_u - log_h)))
        above = new < log_u
        log_u = np.where(above, new, log_u)
    return log_u


def _asinh_of_exp(x):
    return np.where(x > 300, x + np.log(2), np.arcsinh(np.exp(np.minimum(x, 300))))
