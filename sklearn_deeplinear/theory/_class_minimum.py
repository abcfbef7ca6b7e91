"""Minima of deep linear networks with one output per class, and what bounds them from below.

In the map M the penalty of depth L is P(M) = L g sum_k sigma_k(M)^(2/L): a square for one layer,
the nuclear norm for two, concave in the singular values beyond. The minimum over the weights
is searched by descent from several starts.

The bound is the dual one. The conjugate of the cross-entropy of a sample of class y is minus the
entropy H of y + q. Slopes q_i = theta (p_i - y_i), with p_i the probabilities at the best
intercept, sum to zero over the samples, so that with G = sum_i share_i q_i x_i^T, for any theta,

    min J >= sum_i share_i H(y_i + q_i) - sum_k max_{0 <= x <= R} (sigma_k(G) x - L g x^(2/L)).

No singular value of a minimum exceeds R, with L g R^(2/L) an objective that is attained. The
maximum is z^2 / (4 g) for one layer; for more it lies at an end of the interval, where the
difference is convex, and theta is chosen. With two layers the bound is attained by theta = 1 at
the minimum, whose G has no singular value above 2 g: then it is certified.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import entr, log_softmax, softmax

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._generalised_minimum_result import (
    CERTIFIED_GAP,
    GeneralisedMinimum,
)
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._local_minimum import best_local_minimum, local_minimum
from sklearn_deeplinear.theory._problem import mean_log
from sklearn_deeplinear.theory._separation import tells_apart_for_ever

# Norm of the gradient at which a convex problem without decay counts as solved.
_FLAT = 1e-10
# Probabilities below this may be on their way to zero, which takes a map without bound.
_UNLIKELY = 1e-6
# Singular values of the inputs this far below the largest one are rounding.
_ROUNDING = 1e-12
# Pairs of classes that are tried as the ends of a line, which are as far apart as that takes.
_MAX_LINES, _LONGER = 15, 2.0
# Descents that are followed to the end.
_N_FINALISTS = 4


class ClassProblem:
    """Mean cross-entropy and penalty in coordinates in which inputs and maps are of order one.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs, centred if there is an intercept.
    Y : ndarray of shape (n, K)
        Indicators of the classes.
    shares : ndarray of shape (n,)
        Weights of the samples, of sum one.
    depth : int
        Number L of layers.
    rank : int
        Largest rank of the map.
    g : float
        Geometric mean of the decays.
    free_intercept : bool
        Whether there is an intercept.
    """

    def __init__(self, X, Y, shares, depth, rank, g, free_intercept):
        seen = shares > 0
        self.Y, self.shares, self.depth = Y[seen], shares[seen][:, None], depth
        root = np.sqrt(self.shares)
        U, sigma, self.directions = svd(root * X[seen], full_matrices=False)
        keep = sigma > _ROUNDING * sigma[0] if sigma.any() else np.zeros(len(sigma), bool)
        self.unit = sigma[0] if keep.any() else 1.0
        self.directions = self.directions[keep]
        self.Z = (U[:, keep] * sigma[keep]) / root / self.unit
        self.g = g * self.unit ** (-2 / depth)
        self.rank = min(rank, Y.shape[1], self.Z.shape[1])
        self.free_intercept = free_intercept

    def coef(self, M):
        """The map (K, d) of coordinates M."""
        return M / self.unit @ self.directions

    def objective(self, matrices):
        """J and its gradients in W_1, ..., W_L and the intercept (1, K), the last of `matrices`."""
        *weights, b = matrices
        values = [self.Z]
        for W in weights:
            values.append(values[-1] @ W.T)
        outputs = values[-1] + b
        J = -np.sum(self.shares * self.Y * log_softmax(outputs, axis=1))
        delta = self.shares * (softmax(outputs, axis=1) - self.Y)
        slope_b = delta.sum(axis=0, keepdims=True) if self.free_intercept else np.zeros_like(b)
        gradients = []
        for W, H in zip(weights[::-1], values[-2::-1], strict=True):
            gradients.append(delta.T @ H + 2 * self.g * W)
            J += self.g * np.sum(W**2)
            delta = delta @ W
        return J, [*gradients[::-1], slope_b]

    def minimise(self, maps=()):
        """Best weights and intercept found, as ``[W_1, ..., W_L, b]``.

        `maps` (K, k), in coordinates, are tried as starts besides.
        """
        K, k = self.Y.shape[1], self.Z.shape[1]
        b = np.log(self.shares.T @ self.Y) if self.free_intercept else np.zeros((1, K))
        if self.depth == 1:
            return local_minimum(self.objective, [np.zeros((K, k)), b])
        zero = [np.zeros((self.rank, k)), *[np.zeros((self.rank,) * 2)] * (self.depth - 2)]
        zero = [*zero, np.zeros((K, self.rank)), b]
        if self.rank == 0:
            return zero
        shallow = ClassProblem.__new__(ClassProblem)
        shallow.__dict__ |= vars(self) | {"depth": self.depth - 1}
        # Of one layer less, at about the same penalty, in all its ranks; and with all classes
        # on one line, which deep networks prefer, however symmetric they are.
        *weights, b = shallow.minimise()
        M = end_to_end(weights)
        maps = [*maps, *(_truncated(M, r) for r in range(1, self.rank + 1)), *_lines(M)]
        starts = [[*balanced_factors(N, self.rank, depth=self.depth), b] for N in maps if N.any()]
        if not starts:
            return zero
        found = best_local_minimum(self.objective, starts, _N_FINALISTS)
        return min([zero, found], key=lambda matrices: self.objective(matrices)[0])

    def lower_bound(self, matrices):
        """The dual bound from a point that descent has reached, never above its objective."""
        *weights, b = matrices
        best = self.objective(matrices)[0]
        P = softmax(self.Z @ end_to_end(weights).T + b, axis=1)
        slopes = P - self.Y
        if self.free_intercept:
            slopes = slopes - self.shares.T @ slopes  # the dual allows no rounding
        if not self.g:
            return 0.0
        z = np.linalg.svd((self.shares * slopes).T @ self.Z, compute_uv=False)

        def value(theta):
            moved = np.maximum(self.Y + theta * slopes, 0.0)
            return np.sum(self.shares * entr(moved)) - self._conjugate(theta * z, best)

        # The bound is concave in theta; where no singular value counts, the largest theta is best.
        free = min(1.0, 2 * self.g / z.max(initial=np.finfo(float).tiny))
        inner = minimize_scalar(lambda t: -value(t), bounds=(0, 1), method="bounded")
        rounding = 8 * np.finfo(float).eps * (1 + best)
        return min(best, max(map(value, (inner.x, free, 1.0))) - rounding)

    def _conjugate(self, z, best):
        """sum_k max over 0 <= x <= R of z_k x - L g x^(2/L)."""
        if self.depth == 1:
            return np.sum(z**2) / (4 * self.g)
        R = (best / (self.depth * self.g)) ** (self.depth / 2)
        return np.sum(np.maximum(0.0, z * R - best))


def _truncated(M, r):
    U, sigma, Vt = svd(M, full_matrices=False)
    return (U[:, :r] * sigma[:r]) @ Vt[:r]


def _lines(M):
    """Maps of rank one that tell two classes apart and leave the others between them."""
    pairs = [(k, j) for k in range(len(M)) for j in range(k)]
    farthest = sorted(pairs, key=lambda pair: -np.linalg.norm(M[pair[0]] - M[pair[1]]))
    contrasts = [np.eye(len(M))[k] - np.eye(len(M))[j] for k, j in farthest[:_MAX_LINES]]
    return [_LONGER * np.outer(u, u @ M) for u in contrasts]


def class_minimum(X, Y, shares, *, width, gamma, free_intercept, coef=None) -> GeneralisedMinimum:
    """Best weights found for the cross-entropy of several classes, with what bounds them.

    Parameters
    ----------
    X, Y, shares, free_intercept
        See :class:`ClassProblem`.
    width : tuple of L - 1 ints
        Hidden widths.
    gamma : ndarray of shape (L,)
        Decays.
    coef : ndarray of shape (K, d), optional
        Map to start from besides.
    """
    decayed, rank = gamma.all(), min([*Y.shape, X.shape[1], *width])
    depth = len(gamma) if decayed else 1 if rank >= min(Y.shape[1] - 1, X.shape[1]) else 2
    g = np.exp(mean_log(gamma)) if decayed else 0.0
    problem = ClassProblem(X, Y, shares, depth, rank, g, free_intercept)
    maps = [] if coef is None else [coef @ problem.directions.T * problem.unit]
    matrices = problem.minimise(maps)
    *weights, b = matrices
    objective, gradients = problem.objective(matrices)
    M = end_to_end(weights)
    penalty = problem.g * sum(np.sum(W**2) for W in weights)
    loss, bound = objective - penalty, problem.lower_bound(matrices)
    if not decayed:
        slope = np.sqrt(sum(np.sum(part**2) for part in gradients))
        kind, loss, bound = _without_decay(problem, M, b, loss, depth == 1 and slope < _FLAT)
        if M.any() and gamma.any():
            kind = "unattained"
    elif objective - bound <= CERTIFIED_GAP * objective:
        kind = "exact" if depth == 1 else "certified"
    else:
        kind = "stationary"
    return GeneralisedMinimum(
        coef=problem.coef(M),
        intercept=b[0] - b.mean() if free_intercept else b[0],
        objective=float(loss + penalty),
        loss=float(loss),
        penalty=float(penalty),
        kind=kind,
        lower_bound=float(min(bound, loss + penalty)),
        is_zero=not M.any(),
        depth=len(gamma),
        width=width,
        weight_decay=gamma,
    )


def _without_decay(problem, M, b, loss, solved):
    """Kind, infimum and bound where size is free: zero if the map tells all samples apart."""
    outputs = problem.Z @ M.T + b
    own = np.sum(problem.Y * outputs, axis=1)
    if np.all(own > np.max(np.where(problem.Y > 0, -np.inf, outputs), axis=1)):
        return "unattained", 0.0, 0.0
    if solved and softmax(outputs, axis=1).min() < _UNLIKELY:  # else the map has not grown
        escapes = tells_apart_for_ever(problem.Z, problem.Y, problem.free_intercept)
        if escapes:
            return "unattained", loss, loss
        solved = escapes is not None
    return ("exact", loss, loss) if solved else ("stationary", loss, 0.0)
