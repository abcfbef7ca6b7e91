"""The flow of balanced layers in two factors, which keep its rank and every scale.

With M = U D^L V^T of rank r, the outer layers X = U D and Y = V D (Y^T is the first) say
all there is: C = X^T X = Y^T Y is conserved as an identity and M = X C^((L-2)/2) Y^T. With
G = 2 (S - M A),

    dX/dt = [G V D^(L-2) U^T + U K U^T / 2] X,
    dY/dt = [G^T U D^(L-2) V^T - V K V^T / 2] Y,

where K_ij = c_i F_ij (Gamma_ij - Gamma_ji), c = D^2, Gamma = U^T G V, and F_ij is the
divided difference (c_i^p - c_j^p) / (c_i - c_j) of the power p = (L-2)/2. K turns the
hidden units at either end against each other such that the identity lasts; it vanishes for
L = 2, where this is the gradient flow of the two layers, and nothing in it is singular
where strengths meet. Every column of (X, Y) obeys the same linear equation: each is held in
units of its own size, so that a mode of 1e-100 is as accurate beside one of 1 as alone.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.linalg import lapack

from sklearn_deeplinear.theory._decompositions import eigh, svd

# Distance from the end, relative to the size of the map, at which the flow counts as there.
_AT_REST = 1e-12
# A mode that shrinks, and is this small against the largest it has been, goes to zero:
# rounding errors in growing directions (1e-16) have not yet taken it over.
_GONE = np.log(1e-13)
# Settled modes are left out while the others are slower by this factor. Their strengths
# then are below it, too: sigma = D^L against D^(L-2).
_SLOWER = np.log(1e-12)
# Rate at which rounding errors are taken back: slow against modes that learn, or it would
# limit the steps of the explicit solver (a rate of 1 takes 1,679 for 378).
_HOLD = 0.05
# Columns are made orthonormal anew when their sizes have changed by this factor, or the
# fourth roots of their speeds D^(L-2), or one has turned this far towards another.
_OUTGROWN, _TURNED = 4.0, 0.5


class BalancedProblem:
    """Depth and moments in units in which A and the larger of map and target are one.

    Parameters
    ----------
    A : ndarray of shape (d, d)
        Input moment, not zero.
    S : ndarray of shape (m, d)
        Cross moment.
    size_0 : float
        Size of the map at time 0.
    depth : int
        Number of weight matrices, at least 2.
    """

    def __init__(self, A, S, size_0, depth):
        values, vectors = eigh(A / np.abs(A).max())
        alpha = values[-1] * np.abs(A).max()
        self.depth, self.unit = depth, max(np.abs(S).max() / alpha, size_0)
        self.A, self.S = A / alpha, S / alpha / self.unit
        self.log_unit = -np.log(alpha) - (2 - 2 / depth) * np.log(self.unit)
        values /= values[-1]
        kept = values > len(A) * np.finfo(float).eps
        self.inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        rounding = 4 * len(A) * np.finfo(float).eps / values[kept][0]
        self.tolerance = max(_AT_REST, rounding)
        self.least_squares = self.S @ self.inverse if kept.all() else None
        self.size, self.settled = np.abs(self.S).max(), 0.0

    def beside(self, M, U, V):
        """The problem of modes too small to move the map `M` of other, settled modes U, V."""
        rest = copy(self)
        outside_U, outside_V = np.eye(len(U)) - U @ U.T, np.eye(len(V)) - V @ V.T
        rest.S = outside_U @ (self.S - M @ self.A) @ outside_V
        rest.A = outside_V @ self.A @ outside_V
        rest.size, rest.settled = max(self.size, np.abs(M).max()), M
        return rest


@dataclass(frozen=True)
class Modes:
    """Modes of M: vectors U and V, and strengths of a layer D in units of the largest."""

    U: np.ndarray
    V: np.ndarray
    D: np.ndarray
    mixing: np.ndarray  # U^T X = V^T Y


class BalancedChart:
    """X and Y in units of the sizes that their columns had when the chart began.

    Parameters
    ----------
    problem : BalancedProblem
    U, V : ndarray of shape (m, r) and (d, r)
        Singular vectors of the map.
    log_D : ndarray of shape (r,)
        Logarithms of the strengths of a layer, descending.
    peak : ndarray of shape (r,), optional
        Largest log_D so far.
    faster : BalancedChart, optional
        Chart of the settled modes that are left out.
    """

    atol = 1.0

    def __init__(self, problem, U, V, log_D, peak=None, faster=None):
        self.problem, self.log_D, self.faster = problem, log_D, faster
        self.peak = log_D if peak is None else np.maximum(peak, log_D)
        self.start, self._split = np.vstack([U, V]).ravel(), len(U)
        self._sizes = np.exp(log_D - log_D[0])
        self._below = np.exp(2 * np.minimum(np.subtract.outer(log_D, log_D), 0.0))
        self.log_unit = problem.log_unit - (problem.depth - 2) * log_D[0]

    def velocity(self, t, y):
        if not np.isfinite(y).all():
            return np.full_like(y, np.nan)  # the solver refuses its step
        modes, depth = self._modes(y), self.problem.depth
        GV, GU = self._slopes(modes)
        through = modes.D[:, None] ** (depth - 2) * modes.mixing
        dX, dY = GV @ through, GU @ through
        if depth > 2 and len(modes.D) > 1:
            turn = modes.U.T @ GV - modes.V.T @ GU  # Gamma - Gamma^T
            half = (_divided_powers(modes.D, depth) * turn) @ modes.mixing / 2
            dX += modes.U @ half
            dY -= modes.V @ half
        self._hold(y, dX, dY)
        return np.vstack([dX, dY]).ravel()

    def _hold(self, y, dX, dY):
        """Take out of dX, dY the rounding errors that nothing else would ever undo.

        Both terms are zero or without effect on M but for rounding: the first restores
        X^T X = Y^T Y, the second turns all hidden units alike, back to the chart's start.
        While a small mode takes 1e10 units of time to grow, errors of 1e-16 would add up.
        """
        (X, Y), (X_0, Y_0) = self._columns(y), self._columns(self.start)
        drift = (X.T @ X - Y.T @ Y) / 2
        overlap = X_0.T @ X + Y_0.T @ Y
        turn = np.triu(overlap.T - overlap, 1) / 2
        turn -= self._below * turn.T
        dX += _HOLD * (X @ (turn - drift))
        dY += _HOLD * (Y @ (turn + drift))

    def decoded(self, states):
        return np.array([self._whole_map(self._modes(y)) for y in states.T])

    def at_rest(self, y):
        """Whether every mode is where it ends, or on its way to zero."""
        modes = self._modes(y)
        gone = self._gone(modes, self._slopes(modes)[0])
        if self._is_full(gone):
            error = self._slope(modes) @ self.problem.inverse
            return bool(np.linalg.norm(error) <= self._tolerance(modes))
        return bool(np.all(gone | self._settled(modes)))

    def limit(self, y):
        modes = self._modes(y)
        gone = self._gone(modes, self._slopes(modes)[0])
        if self._is_full(gone) and self.problem.least_squares is not None:
            return self.problem.unit * self.problem.least_squares
        return self._whole_map(modes, kept=~gone)

    def renewed(self, y):
        regrouped = self._regrouped(y)
        if regrouped is not None:
            return regrouped
        X, Y = self._columns(y)
        gram = (X.T @ X + Y.T @ Y) / 2
        norms = np.sqrt(np.diag(gram))
        cosines = np.abs(gram / np.outer(norms, norms) - np.eye(len(norms)))
        grown = np.abs(np.log(norms)).max() * max((self.problem.depth - 2) / 4, 1.0)
        if cosines.max() < _TURNED and grown < np.log(_OUTGROWN):
            return None
        return self._orthonormal(y)

    def _orthonormal(self, y):
        """The chart of singular vectors that begins at `y`."""
        modes = self._modes(y)
        U, V = _orthonormal(modes.U), _orthonormal(modes.V)
        log_D = self.log_D[0] + np.log(modes.D)
        return BalancedChart(self.problem, U, V, log_D, self.peak, self.faster)

    def _regrouped(self, y):
        """The chart without modes that have settled and outrun the rest, or with them again."""
        speeds = self.problem.depth - 2
        if self.faster is not None:
            fast = self.faster
            if speeds * (self.log_D[0] + np.log(self._modes(y).D[0]) - fast.log_D[-1]) < _SLOWER:
                return None
            slow = self._orthonormal(y)
            parts = zip(fast._parts(), slow._parts(), strict=True)
            return BalancedChart(fast.problem, *map(np.hstack, parts))
        if speeds * (self.log_D[-1] - self.log_D[0]) > _SLOWER:
            return None
        modes = self._modes(y)
        n_fast = np.sum(speeds * np.log(modes.D / modes.D[0]) > _SLOWER)
        if n_fast == len(modes.D) or not self._settled(modes)[:n_fast].all():
            return None
        parts = self._orthonormal(y)._parts()
        fast = BalancedChart(self.problem, *(part[..., :n_fast] for part in parts))
        M = fast._map(fast._modes(fast.start))
        problem = self.problem.beside(M, *fast._columns(fast.start))
        U, V, log_D, peak = (part[..., n_fast:] for part in parts)
        return BalancedChart(problem, U, V, log_D, peak, fast)

    def moved(self, y):
        chart = copy(self)
        chart.start = y
        return chart

    def _parts(self):
        """U, V, log_D and peak of a chart that begins with orthonormal columns."""
        return *self._columns(self.start), self.log_D, self.peak

    def _columns(self, y):
        return np.split(y.reshape(-1, len(self.log_D)), [self._split])

    def _modes(self, y):
        X, Y = self._columns(y)
        R = np.linalg.cholesky((X.T @ X + Y.T @ Y) / 2).T
        rotation, D = _graded_svd(R * self._sizes)
        mixing = rotation.T @ R
        inverse = np.linalg.inv(mixing)
        return Modes(X @ inverse, Y @ inverse, D, mixing)

    def _strengths(self, modes):
        return np.exp(self.problem.depth * (self.log_D[0] + np.log(modes.D)))

    def _map(self, modes, kept=slice(None)):
        root = np.sqrt(self._strengths(modes))[kept]
        return (modes.U[:, kept] * root) @ (modes.V[:, kept] * root).T

    def _whole_map(self, modes, kept=slice(None)):
        return self.problem.unit * (self.problem.settled + self._map(modes, kept))

    def _slope(self, modes):
        """G, against which the map moves."""
        return 2 * (self.problem.S - self._map(modes) @ self.problem.A)

    def _slopes(self, modes):
        """G V and G^T U."""
        G = self._slope(modes)
        return G @ modes.V, G.T @ modes.U

    def _tolerance(self, modes):
        return 2 * self.problem.tolerance * max(self.problem.size, self._strengths(modes)[0])

    def _settled(self, modes):
        """Which modes have no slope left."""
        GV, GU = self._slopes(modes)
        sides = np.linalg.norm(GV, axis=0), np.linalg.norm(self.problem.inverse @ GU, axis=0)
        return np.hypot(*sides) <= self._tolerance(modes)

    def _gone(self, modes, GV):
        fallen = self.problem.depth * (self.log_D[0] + np.log(modes.D) - self.peak)
        return (fallen < _GONE) & (np.sum(modes.U * GV, axis=0) < 0)

    def _is_full(self, gone):
        return not gone.any() and len(gone) == min(self.problem.S.shape)


def _graded_svd(B):
    """Left vectors and singular values, the small ones to their own accuracy.

    B is triangular with columns of very different sizes; Jacobi's method, unlike the usual
    ones, does not mix the small modes with the rounding errors of the large.
    """
    if len(B) == 1:
        return np.ones((1, 1)), np.abs(B[0])
    sigma, U, _, scale, _, info = lapack.dgejsv(B, joba=0, jobu=0, jobv=3)
    if info != 0:  # pragma: no cover
        return svd(B)[:2]
    return U, sigma * (scale[0] / scale[1])


def _divided_powers(D, depth):
    """c_i (c_i^p - c_j^p) / (c_i - c_j) with c = D^2 and p = (L-2)/2."""
    c, p = D**2, (depth - 2) / 2
    log_ratio = -np.abs(np.subtract.outer(np.log(c), np.log(c)))
    quotient = p * scipy.special.exprel(p * log_ratio) / scipy.special.exprel(log_ratio)
    return c[:, None] * np.maximum.outer(c, c) ** (p - 1) * quotient


def _orthonormal(U):
    """The orthonormal columns next to columns that are so but for errors of integration."""
    Q, R = np.linalg.qr(U)
    return Q * np.sign(np.diag(R))
