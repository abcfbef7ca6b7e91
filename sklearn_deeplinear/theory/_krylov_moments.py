"""Moments of sparse inputs with many columns, in a Krylov space of the cross moment.

The minimum of one output is a ridge solution (A + tau I)^(-1) S^T whatever depth and noise are,
with a tau that is not below some number; the first gradient step is along S. Both lie, up to an
error that falls as that of conjugate gradients, in the span V_k of S^T, A S^T, ..., A^(k-1) S^T.
It takes products with X alone, centred without being filled in. In V_k nothing is lost: A V_k is
read off X V_k, so that the loss of a map in V_k is that on all data.

What is left out is known. The ridge solution in V_k leaves the residual
R = S - M (A + tau I), and for all maps

    J_tau  >=  J_tau(M) - ||R||_F^2 / tau.

With one output R is a multiple of one vector and falls with tau: at the least tau it bounds what
any depth can gain outside of V_k. Several outputs start a block; with one layer the bound holds
at its tau.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import issparse

from sklearn_deeplinear.theory._batches import check_batch
from sklearn_deeplinear.theory._factor import tall_factor
from sklearn_deeplinear.theory._location import Location, weighed
from sklearn_deeplinear.theory._moments import SecondMoments, Spectrum

# What may be gained outside of the space, relative to the objective; a minimum is "certified"
# with twice as much. Without decay the relative residual of least squares decides.
_GAIN, _RESIDUAL = 5e-9, 1e-7
# Columns of the basis at most: 240 MB with 50,000 inputs.
_MOST = 600
# Columns that memory is asked for at first, of which the unused are never touched.
_COLUMNS = 64
# The logarithm of numbers near the largest ones.
_LARGEST_LOG = 700.0
# Stands for the moment of outputs that are all zero.
_TINY = np.finfo(float).tiny
# Sparse inputs with more columns than this are not worth a moment of columns squared.
_MANY_INPUTS = 2000
# Deep networks: columns between two looks at what is missed; the ridge penalties tried, up to so
# many times the largest eigenvalue; from which share of that of the minimum on norms are excluded,
# in steps of a ratio: near ones need a space of few columns, far ones fewer steps.
_CHECK, _GRID, _HIGH, _SHARES, _RATIO = 3, 200, 1e3, (0.7, 0.5, 0.3, 0.15), 1.1
# Sizes that orthogonalised columns must keep, relative to what they were.
_ROUNDING = 1e3 * np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class KrylovMoments(SecondMoments):
    """Second moments of sparse inputs in a Krylov space, with a bound on what that leaves out.

    Attributes
    ----------
    basis : ndarray of shape (d, k)
        V, orthonormal columns. The factor of the inputs is its part in their span.
    beyond : ndarray of shape (b, b)
        A V = V (V^T A V) + Q (0, beyond) with Q orthonormal, orthogonal to V; the last b columns
        of V are its last block. Of no size if A maps the span of V into itself.
    unit : tuple of two floats
        Units of inputs and outputs, powers of two; `beyond` is in the square of the first.
    """

    basis: np.ndarray = None
    beyond: np.ndarray = None
    unit: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def from_sparse(
        cls, X, y, sample_weight=None, *, center=True, network=None, ridge=0.0
    ) -> KrylovMoments:
        """Moments of sparse X by products with it.

        Parameters
        ----------
        X : sparse array or matrix of shape (n, d)
            Inputs.
        y : array-like of shape (n,) or (n, m)
            Targets.
        sample_weight : array-like of shape (n,), default=None
            Weights; None weights all equally.
        center : bool, default=True
            Take the weighted means out.
        network : tuple of (int, ndarray, ndarray), default=None
            Depth, decays and noise of a network that is to have its minimum in the space.
        ridge : float, default=0.0
            The least tau that is to be served, where no network tells it.
        """
        X, y, weight = check_batch(X, y, sample_weight)
        if weight is not None and not weight.any():
            raise ValueError("sample_weight must not be zero everywhere.")
        rows = CentredRows(X, weight, center)
        Y = np.asarray(y, dtype=np.float64).reshape(X.shape[0], -1)
        if not (np.isfinite(Y).all() and np.isfinite(rows.X.data).all()):
            raise ValueError("X and y must be finite: they hold NaN or infinity.")
        mean_y = rows.share @ Y if center else np.zeros(Y.shape[1])
        Y = rows.root[:, None] * (Y - mean_y)
        unit = rows.unit, power_of_two(np.abs(Y).max())
        deep = None
        if network is not None:
            log_c = 2 * np.log(unit[1]) + np.log(max(np.sum((Y / unit[1]) ** 2), _TINY))
            depth, gamma, noise = network
            log_ridge = log_least_ridge(depth, gamma, noise, log_c)
            ridge = exp(log_ridge - 2 * np.log(unit[0]))
            if depth > 1 and np.all(gamma) and not np.any(noise) and Y.shape[1] == 1:
                deep = depth, log_decay(depth, gamma, unit)
        else:
            ridge = ridge / unit[0] / unit[0]
        V, Z, beyond = krylov_space(rows, Y / unit[1], ridge, deep)
        k = V.shape[1]
        coordinates = tall_factor(np.hstack([Z, Y / unit[1]]))
        coordinates *= np.repeat(unit, [k, Y.shape[1]])
        moments = cls(
            np.hstack([coordinates[:, :k] @ V.T, coordinates[:, k:]]),
            rows.mean,
            mean_y,
            X.shape[0],
            float(X.shape[0] if weight is None else weight.sum()),
            center,
            y.ndim == 1,
            None,
            V,
            beyond,
            unit,
        )
        vars(moments)["spectrum"] = _spectrum(coordinates, V)
        return moments

    def __add__(self, other):
        return NotImplemented  # spaces of different data do not fit together

    def validation_rows(self, X, Y, shares):
        """Rows (k + m, d + m) that stand for other data, less the means of these."""
        Z, root = X @ self.basis - self.mean_x @ self.basis, np.sqrt(shares)[:, None]
        rows = tall_factor(root * np.hstack([Z, Y - self.mean_y]))
        k = self.basis.shape[1]
        return np.hstack([rows[:, :k] @ self.basis.T, rows[:, k:]])

    def outside(self, W):
        """Norm of the part of rows (h, d) that is outside of the space, relative to theirs."""
        size = np.linalg.norm(W)
        return float(np.linalg.norm(W - (W @ self.basis) @ self.basis.T) / size) if size else 0.0

    @cached_property
    def _projected(self):
        """V^T A V and V^T S^T, in these units."""
        Z = self.input_factor @ self.basis / self.unit[0]
        return Z.T @ Z, Z.T @ (self.output_factor / self.unit[1])

    @cached_property
    def relative_slope(self) -> float:
        """||S - M A||_F of the least-squares map M in the space, relative to ||S||_F."""
        H, S = self._projected
        if not self.beyond.size:
            return 0.0
        z, _ = _solution(H, S, 0.0)
        rest = self.beyond @ z[-self.beyond.shape[1] :]
        return float(np.linalg.norm(rest) / np.linalg.norm(S))

    def gain(self, ridge):
        """Bound on what a ridge objective can gain outside of the space; infinity for none."""
        if not self.beyond.size:
            return 0.0
        if not ridge > 0:
            return np.inf
        H, S = self._projected
        ridge = ridge / self.unit[0] / self.unit[0]
        rest = self.beyond @ _solution(H, S, ridge)[0][-self.beyond.shape[1] :]
        return float(np.sum(rest**2) / ridge * self.unit[1] * self.unit[1])

    def missed(self, depth, gamma, noise):
        """Bound on what the objective of a network can gain outside of the space."""
        if not self.beyond.size:
            return 0.0
        if self.n_outputs > 1 and depth > 1:
            return np.inf
        with np.errstate(divide="ignore"):
            log_c = np.log(self.output_moment)
        alone = self.gain(exp(log_least_ridge(depth, gamma, noise, log_c)))
        if depth == 1 or np.any(noise) or not np.all(gamma):
            return alone
        H, S = self._projected
        c, log_g = self.output_moment / self.unit[1] ** 2, log_decay(depth, gamma, self.unit)
        missed = Excluded(H, S, self.beyond, c).missed(depth, log_g)
        return min(alone, missed * self.unit[1] * self.unit[1])

    def lowered(self, bound, problem):
        """A lower bound on the objective in the space as one of all maps."""
        return max(0.0, bound - self.missed(problem.depth, problem.gamma, problem.noise))

    def judged(self, minimum, problem, closed):
        """The minimum in the space as what it is among all maps; `closed` tells a proof."""
        if minimum.kind == "unattained":
            return replace(minimum, lower_bound=self.lowered(minimum.lower_bound, problem))
        bound = self.lowered(minimum.lower_bound, problem)
        kind = "certified" if closed(minimum.objective, bound) else "stationary"
        return replace(minimum, lower_bound=bound, kind=kind)


def needs_krylov(X):
    """Whether the moments of X are to be found by products with it alone."""
    return issparse(X) and X.shape[1] > _MANY_INPUTS


class CentredRows:
    """Rows of sparse X less their mean, times the roots of their shares, as an operator."""

    def __init__(self, X, weight, center):
        self.X = X.tocsr().astype(np.float64, copy=False)
        n, d = X.shape
        self.unit = power_of_two(np.abs(self.X.data).max(initial=0.0))
        self.share = weighed(weight, n)[0]
        self.root = np.sqrt(self.share)
        self.mean, self.constant = np.zeros(d), np.zeros(d, dtype=bool)
        if center:
            self.mean = self.X.T @ self.share
            self.constant = self._constant_columns()

    def _constant_columns(self):
        """Columns of equal values, not to be told from rounding errors of their mean."""
        X = self.X if self.share.all() else self.X[self.share > 0]
        full = np.flatnonzero(np.bincount(X.indices, minlength=X.shape[1]) == X.shape[0])
        constant = np.zeros(X.shape[1], dtype=bool)
        if len(full):
            columns = X[:, full].toarray()
            constant[full] = Location.of_rows(columns, None, True, columns.shape[1])[0].constant
        return constant

    def times(self, V):
        """Products (n, b) with V (d, b), in units of X."""
        return self.root[:, None] * ((self.X @ V - self.mean @ V) / self.unit)

    def back(self, U):
        """Products (d, b) of the transposed rows with U (n, b), in units of X."""
        U = self.root[:, None] * U / self.unit
        product = self.X.T @ U - np.outer(self.mean, U.sum(axis=0))
        product[self.constant] = 0.0
        return product


def krylov_space(rows, Y, ridge, deep=None):
    """Basis V (d, k), X V (n, k), and how A leaves its span; by blocks, all orthogonalised.

    It serves a least tau, or the depth and log g of a deep network of one output.
    """
    sizes = np.linalg.norm(Y, axis=0)
    image = rows.back(Y[:, sizes > 0] / sizes[sizes > 0])
    block, beyond = _orthonormal(image, np.linalg.norm(image))[0], np.zeros((0, 0))
    most = min(_MOST, *rows.X.shape)
    V, Z, H = _Columns(rows.X.shape[1]), _Columns(len(Y)), np.zeros((0, 0))
    while block.shape[1]:
        U = rows.times(block)
        V.append(block)
        Z.append(U)
        cross = Z.all.T @ U
        H = np.block([[H, cross[: len(H)]], [cross[: len(H)].T, cross[len(H) :]]])
        image = rows.back(U)
        size = np.linalg.norm(image)
        image -= V.all @ (V.all.T @ image)
        block, beyond = _orthonormal(image, size)
        # Once more: small columns are not yet orthogonal to V.
        block, rest = _qr(block - V.all @ (V.all.T @ block))
        beyond = rest @ beyond
        S, c = Z.all.T @ Y, np.sum(Y**2)
        if V.k + block.shape[1] > most or _is_done(H, S, beyond, ridge, c):
            break
        if deep and V.k % _CHECK == 0:
            excluded = Excluded(H, S, beyond, c)
            if excluded.missed(*deep) <= _GAIN * excluded.least(*deep):
                break
    return V.all, Z.all, beyond


class _Columns:
    """A matrix that grows by columns."""

    def __init__(self, n_rows):
        self.memory, self.k = np.empty((n_rows, _COLUMNS), order="F"), 0

    def append(self, columns):
        """Append columns (n_rows, b)."""
        k = self.k + columns.shape[1]
        if k > self.memory.shape[1]:
            larger = np.empty((len(self.memory), 2 * k), order="F")
            larger[:, : self.k] = self.all
            self.memory = larger
        self.memory[:, self.k : k], self.k = columns, k

    @property
    def all(self):
        """The columns so far, a view."""
        return self.memory[:, : self.k]


def _qr(columns):
    """QR decomposition, which of a single column is its norm."""
    if columns.shape[1] != 1:
        return np.linalg.qr(columns)
    norm = np.linalg.norm(columns)
    return columns / (norm or 1.0), np.array([[norm]])


def _orthonormal(columns, size):
    """Orthonormal basis (d, b) of columns, those left out that are rounding errors of `size`."""
    Q, R = _qr(columns)
    P, s, Wt = np.linalg.svd(R)
    kept = s > _ROUNDING * size
    return Q @ P[:, kept], s[kept, None] * Wt[kept]


def _solution(H, S, ridge):
    """Ridge solution (k, m), and the objective there less that of zero."""
    top = np.trace(H) * len(H) * np.finfo(float).eps
    z = np.linalg.solve(H + max(ridge, top) * np.eye(len(H)), S)
    return z, -float(np.sum(S * z))


def _is_done(H, S, beyond, ridge, c):
    if not beyond.size:
        return True
    z, lower = _solution(H, S, ridge)
    residual = np.sum((beyond @ z[-beyond.shape[1] :]) ** 2)
    if ridge > 0:
        return bool(residual <= _GAIN * ridge * (c + lower))
    return bool(residual <= _RESIDUAL**2 * np.sum(S**2))


def _spectrum(coordinates, V):
    k = V.shape[1]
    U, sigma, Wt = np.linalg.svd(coordinates[:, :k], full_matrices=False)
    kept = sigma > max(coordinates.shape) * np.finfo(float).eps * sigma.max(initial=0.0)
    U, targets = U[:, kept], U[:, kept].T @ coordinates[:, k:]
    residual = float(np.sum((coordinates[:, k:] - U @ targets) ** 2))
    return Spectrum(sigma[kept], V @ Wt[kept].T, targets, residual)


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
        self.eigenvalues, Q = np.linalg.eigh(H)
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


def power_of_two(size):
    """The power of two next to a size; one for zero."""
    return float(np.ldexp(1.0, int(np.frexp(size)[1]))) if size > 0 else 1.0
