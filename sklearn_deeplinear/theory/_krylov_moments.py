"""Moments of sparse inputs with many columns, in a Krylov space of the cross moment.

Products with X alone find them (`_krylov_space`), and what the space leaves out is known
(`_excluded`): a minimum in it is told with a bound on what all other maps can gain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import issparse

from sklearn_deeplinear.theory._batches import check_batch
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._excluded import Excluded, exp, log_decay, log_least_ridge
from sklearn_deeplinear.theory._factor import tall_factor
from sklearn_deeplinear.theory._krylov_space import (
    CentredRows,
    krylov_space,
    power_of_two,
    ridge_solution,
)
from sklearn_deeplinear.theory._moments import SecondMoments, Spectrum

# Stands for the moment of outputs that are all zero.
_TINY = np.finfo(float).tiny
# Sparse inputs with more columns than this are not worth a moment of columns squared.
_MANY_INPUTS = 2000


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
        z, _ = ridge_solution(H, S, 0.0)
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
        rest = self.beyond @ ridge_solution(H, S, ridge)[0][-self.beyond.shape[1] :]
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


def _spectrum(coordinates, V):
    k = V.shape[1]
    U, sigma, Wt = svd(coordinates[:, :k], full_matrices=False)
    kept = sigma > max(coordinates.shape) * np.finfo(float).eps * sigma.max(initial=0.0)
    U, targets = U[:, kept], U[:, kept].T @ coordinates[:, k:]
    residual = float(np.sum((coordinates[:, k:] - U @ targets) ** 2))
    return Spectrum(sigma[kept], V @ Wt[kept].T, targets, residual)
