"""Slow references for gradient flow: formulas in many digits, and the flow of all weights.

Rounding errors along an unstable direction grow like e^(4 s t), so what is compared at late
times or from degenerate starts is computed in as many digits as that takes.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import mpmath
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

mpf = mpmath.mpf


class Race:
    """Balanced pathways of one mode, ``dK_p/dt = 2 L_p K_p^(2 - 2/L_p) (s - a sum_q K_q)``.

    In units of s / a, and in the clock tau with dtau = 2 c (1 - sum_q k_q) dt, every
    v_p = k_p^(1/L_p) obeys dv/dtau = r_p v^(L_p - 1) alone and has a closed form. So the
    strength of one pathway tells those of all others, and time is an integral over its
    logarithm, by Gauss and Legendre's rule on intervals that shrink towards the end of the
    race. No step of an integrator, no tolerance, and no unit enters.
    """

    def __init__(self, s, a_0, depths, *, a=1.0):
        self.L, self.log_unit = np.array(depths, dtype=float), np.log(s) - np.log(a)
        self.k_0 = np.exp(
            np.log(a_0, where=np.array(a_0) > 0, out=np.full(len(depths), -np.inf)) - self.log_unit
        )
        log_c = np.log(s) + (1 - 2 / self.L) * self.log_unit
        self.moving = (self.k_0 > 0) | (self.L == 1)
        self.leader = self._leader(log_c) if self.moving.any() else None
        if self.leader is not None:
            self.log_c = log_c[self.leader]
            self.rate = np.exp(log_c - self.log_c)
            self.y_0 = np.log(self.k_0[self.leader]) if self.k_0[self.leader] else -60.0

    def _leader(self, log_c):
        """The pathway that would be first at the end alone; the largest if all shrink."""
        if self.k_0.sum() > 1:
            return int(np.argmax(self.k_0))
        clocks = np.full(len(self.L), np.inf)
        for p in np.flatnonzero(self.moving):
            clocks[p] = self._own_clock(0.0, p) * np.exp(log_c.min() - log_c[p])
        return int(np.argmin(clocks))

    def _own_clock(self, y, p):
        """int dv / v^(L - 1) of pathway p from its start to k = e^y."""
        L, y = self.L[p], np.asarray(y, dtype=float)
        if L == 1:
            return np.exp(y) - self.k_0[p]
        y_0 = np.log(self.k_0[p])
        if L == 2:
            return (y - y_0) / 2
        power = (2 - L) / L
        return -np.exp(power * y_0) * np.expm1(power * (y - y_0)) / (L - 2)

    def strengths(self, y):
        """k of all pathways, (..., p), when the leader has k = e^y."""
        y = np.asarray(y, dtype=float)
        tau = self._own_clock(y, self.leader)  # the leader has rate one
        columns = []
        for q, (L, r, k) in enumerate(zip(self.L, self.rate, self.k_0, strict=True)):
            if q == self.leader:
                column = np.exp(y)
            elif L == 1:
                column = k + r * tau
            elif k == 0:
                column = 0 * y
            elif L == 2:
                column = k * np.exp(2 * r * tau)
            elif self.L[self.leader] == L:  # nearly equal starts would cancel below
                power, lead = (2 - L) / L, self.k_0[self.leader]
                gap = k**power * -np.expm1(power * (np.log(lead) - np.log(k)))
                column = (gap + np.exp(power * y)) ** (1 / power)
            else:
                base = k ** ((2 - L) / L) - (L - 2) * r * tau
                with np.errstate(divide="ignore"):
                    column = np.where(base > 0, np.abs(base) ** (L / (2 - L)), np.inf)
            columns.append(column)
        return np.stack(columns, axis=-1)

    def force(self, y):
        return 1 - self.strengths(y).sum(axis=-1)

    @cached_property
    def y_end(self):
        """Logarithm of the leader's strength at the end."""
        start = float(self.force(self.y_0))
        if start == 0:
            return self.y_0
        low, high = (self.y_0, 0.0) if start > 0 else (-60.0, self.y_0)
        if float(self.force(high)) >= 0:
            return high
        return brentq(lambda y: float(self.force(y)), low, high, xtol=1e-16, rtol=1e-15)

    @property
    def end(self):
        """Strengths at the end, in the units of the problem."""
        k = self.k_0 if self.leader is None else self.strengths(self.y_end)
        return k * np.exp(self.log_unit)

    def time(self, y):
        """Time at which the leader has k = e^y."""
        L, distance = self.L[self.leader], abs(self.y_end - y)
        sign = 1.0 if y > self.y_0 else -1.0
        cuts = [y]
        while (distance := 2 * distance) < abs(self.y_end - self.y_0):
            cuts.append(self.y_end - sign * distance)
        cuts = [*cuts, self.y_0][::-1]
        # Far from the end nothing but an exponential is left, of at most this rate.
        cuts = np.concatenate(
            [np.linspace(b, c, int(abs(c - b) / 8) + 2)[:-1] for b, c in pairwise(cuts)] + [[y]]
        )
        nodes, weights = np.polynomial.legendre.leggauss(40)
        half = np.diff(cuts)[:, None] / 2
        x = cuts[:-1, None] + half * (1 + nodes)
        slowness = np.exp((2 / L - 1) * x) / (2 * L * self.force(x))
        with np.errstate(over="ignore"):
            return float(np.sum(half * weights * slowness) * np.exp(-self.log_c))

    def velocity(self, y):
        """d log K / dt of the leader."""
        L = self.L[self.leader]
        return 2 * L * np.exp((1 - 2 / L) * y + self.log_c) * float(self.force(y))


def two_layers(W_1, W_2, S, t, digits=None):
    """Q Q^T at time `t` by the closed form in many digits, Q = [W_1^T; W_2], A = I."""
    size = np.linalg.norm(S, 2)
    lam = _imbalance(W_1, W_2)
    reach = (size + abs(lam)) * t * 4 / np.log(10)
    with mpmath.workdps(int(digits or 40 + 2 * reach)):
        h, d = W_1.shape
        m = len(W_2)
        Q = _matrix(np.vstack([W_1.T, W_2]))
        w, P = mpmath.eigsy(_symmetric(S, lam))
        tau = 2 * mpf(float(t))
        R = P.T * Q
        n = d + m
        grown, integral = mpmath.zeros(n), mpmath.zeros(n)
        tiny = mpf(10) ** (-mpmath.mp.dps + 10) * max(size, 1)
        for i in range(n):
            grown[i, i] = mpmath.exp(w[i] * tau)
            flat = abs(w[i]) < tiny
            integral[i, i] = tau if flat else mpmath.expm1(2 * w[i] * tau) / (2 * w[i])
        inner = mpmath.eye(h) + R.T * integral * R
        root = P * grown * R
        result = root * mpmath.inverse(inner) * root.T
        return np.array(result.tolist(), dtype=float)


def rates(S, lam):
    """Eigenvalues of the matrix of the closed form, right to the last digit of a float."""
    with mpmath.workdps(40):
        return [float(w) for w in mpmath.eigsy(_symmetric(S, lam), eigvals_only=True)]


def _symmetric(S, lam):
    m, d = S.shape
    F = mpmath.zeros(d + m)
    for i in range(d):
        F[i, i] = -mpf(lam) / 2
    for j in range(m):
        F[d + j, d + j] = mpf(lam) / 2
        for i in range(d):
            F[d + j, i] = F[i, d + j] = mpf(float(S[j, i]))
    return F


def _matrix(array):
    return mpmath.matrix([[mpf(float(v)) for v in row] for row in array])


def _imbalance(W_1, W_2):
    gap = W_2.T @ W_2 - W_1 @ W_1.T
    return float(np.trace(gap) / len(gap))


def flow_of_scalars(weights, s, times):
    """Products of the weights of each pathway along the flow of all of them, A = 1."""
    ends = np.cumsum([len(w) for w in weights])[:-1]

    def velocity(_, flat):
        parts = np.split(flat, ends)
        slack = 2 * (s - sum(np.prod(w) for w in parts))
        return np.concatenate(
            [[slack * np.prod(np.delete(w, i)) for i in range(len(w))] for w in parts]
        )

    strengths, state, last = [], np.concatenate(weights), 0.0
    for t in times:
        if t > last:
            with np.errstate(over="ignore", invalid="ignore"):  # first steps that are refused
                solution = solve_ivp(velocity, (last, t), state, "DOP853", rtol=1e-13, atol=1e-15)
            state, last = solution.y[:, -1], t
        strengths.append([np.prod(w) for w in np.split(state, ends)])
    return np.array(strengths)


def flow_of_weights(weights, A, S, times):
    """End-to-end maps along dW_l/dt = -dJ/dW_l, by a tight solve at the times asked for."""
    shapes, ends = [W.shape for W in weights], np.cumsum([W.size for W in weights])[:-1]

    def unpack(flat):
        return [w.reshape(s) for w, s in zip(np.split(flat, ends), shapes, strict=True)]

    def velocity(_, flat):
        W = unpack(flat)
        below = [np.eye(len(A))]
        for layer in W:
            below.append(layer @ below[-1])
        back, parts = 2 * (below[-1] @ A - S), []
        for layer, P in zip(W[::-1], below[-2::-1], strict=True):
            parts.append(-(back @ P.T).ravel())
            back = layer.T @ back
        return np.concatenate(parts[::-1])

    maps, state, last = [], np.concatenate([W.ravel() for W in weights]), 0.0
    for t in times:  # one solve from time to time: no dense output, whose error is larger
        if t > last:
            size = np.abs(state).max() or 1.0
            solution = solve_ivp(
                velocity, (last, t), state, "DOP853", rtol=1e-13, atol=1e-15 * size
            )
            state, last = solution.y[:, -1], t
        M = np.eye(len(A))
        for W in unpack(state):
            M = W @ M
        maps.append(M)
    return np.array(maps)
