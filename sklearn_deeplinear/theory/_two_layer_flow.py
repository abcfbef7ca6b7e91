"""Gradient flow of two linear layers in closed form, from lambda-balanced weights.

With Q = [W_1^T; W_2] of shape (d + m, h), tau = 2 t and F = P diag(w) P^T the symmetric
matrix [[-lambda/2 I, S^T], [S, lambda/2 I]],

    Q Q^T(t) = e^(F tau) Q_0 [I + Q_0^T (int_0^tau e^(2 F u) du) Q_0]^(-1) Q_0^T e^(F tau).

Both exponentials overflow while Q Q^T converges. With v = int_0^tau e^(2 w u) du, the
integral in the eigenbasis, and R = P^T Q_0, the right side is P E K E P^T, where
E = diag(e^(w tau) / sqrt(v)) is bounded and K = N (I + N^T N)^(-1) N^T with
N = diag(sqrt(v)) R has eigenvalues between 0 and 1. Gaussian elimination with complete
pivoting on N, the row scales kept as logarithms, writes N = Lambda G with Lambda bounded;
K = q_2 q_2^T then follows from the orthonormal columns [q_1; q_2] of [G^(-1); Lambda],
in which nothing grows and nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._balance import check_weights
from sklearn_deeplinear.theory._lazy_solution import check_time
from sklearn_deeplinear.theory._moments import check_moments

# Eigenvalues closer than this (relative to the largest) count as equal; from the horizon
# on, times the largest rate, all others have been told apart and the flow is at its end.
_SAME = 1e-12
_HORIZON = 1e14


@dataclass(frozen=True, eq=False)
class TwoLayerState:
    """Blocks of Q Q^T, Q = [W_1^T; W_2]: what is known of the weights at given times.

    Attributes
    ----------
    input_gram : ndarray of shape (..., d, d)
        ``W_1^T W_1``.
    coef : ndarray of shape (..., m, d)
        End-to-end map ``W_2 W_1``.
    output_gram : ndarray of shape (..., m, m)
        ``W_2 W_2^T``.
    """

    input_gram: np.ndarray
    coef: np.ndarray
    output_gram: np.ndarray

    def __repr__(self):
        return one_line(self, "input_gram", "coef", "output_gram")


def two_layer_flow(weights_0, moments, *, rtol=1e-8) -> TwoLayerFlow:
    """Gradient flow of two linear layers on white inputs, in closed form.

    Parameters
    ----------
    weights_0 : pair of array-like, of shapes (h, d) and (m, h)
        Initial weights ``[W_1, W_2]``, lambda-balanced: ``W_2^T W_2 - W_1 W_1^T`` is
        lambda times the identity for some number lambda of either sign.
    moments : SecondMoments
        Moments of the data, with ``A = I``.
    rtol : float, default=1e-8
        How far, relative to its size, either condition may be missed.

    Returns
    -------
    flow : TwoLayerFlow
        ``flow(t)`` holds ``input_gram``, ``coef`` and ``output_gram`` at the times t;
        ``flow(np.inf)`` is the limit.

    Raises
    ------
    ValueError
        If there are not two layers that fit the moments, A is not the identity, or the
        weights are not lambda-balanced.

    References
    ----------
    .. [1] Fukumizu, K. (1998). "Effect of batch learning in multilayer neural networks."
       ICONIP 5, 67-70.
    .. [2] Braun, L., Domine, C. C. J., Fitzgerald, J. E., Saxe, A. M. (2022). "Exact
       learning dynamics of deep linear networks with prior knowledge." NeurIPS 35.
    .. [3] Domine, C. C. J. et al. (2025). "From lazy to rich: exact learning dynamics in
       deep linear networks." ICLR.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, two_layer_flow
    >>> moments = SecondMoments.from_moments([[1.0]], [[3.0]], 9.0)
    >>> flow = two_layer_flow([[[0.1]], [[0.1]]], moments)
    >>> flow([0.0, 0.5, float("inf")]).coef.round(4).ravel()
    array([0.01 , 1.723, 3.   ])
    """
    weights_0 = check_weights(weights_0, "weights_0")
    if len(weights_0) != 2:
        raise ValueError(f"weights_0 must hold two matrices, got {len(weights_0)}.")
    W_1, W_2 = weights_0
    check_moments(moments)
    A, S = moments.input_moment, moments.cross_moment
    if (W_2.shape[0], W_1.shape[1]) != S.shape:
        raise ValueError(
            f"weights_0 must map {S.shape[1]} inputs to {S.shape[0]} outputs as the moments "
            f"do, but map {W_1.shape[1]} to {W_2.shape[0]}."
        )
    if np.linalg.norm(A - np.eye(len(A)), 2) > rtol:
        raise ValueError("moments must have white inputs, A = I: no closed form is known else.")
    gap = W_2.T @ W_2 - W_1 @ W_1.T
    lam = float(np.trace(gap) / len(gap))
    miss = np.linalg.norm(gap - lam * np.eye(len(gap)))
    if miss > rtol * (np.sum(W_1**2) + np.sum(W_2**2)):
        raise ValueError(
            "weights_0 must be lambda-balanced, W_2^T W_2 - W_1 W_1^T = lambda I; the nearest "
            f"lambda = {lam:g} leaves a difference of norm {miss:g}."
        )
    return TwoLayerFlow(W_1, W_2, S, lam)


class TwoLayerFlow:
    """Blocks of Q Q^T as a function of time; see :func:`two_layer_flow`.

    Attributes
    ----------
    lam : float
        The number lambda in ``W_2^T W_2 - W_1 W_1^T = lambda I``, which never changes.
    """

    def __repr__(self):
        return one_line(self, "lam")

    def __init__(self, W_1, W_2, cross_moment, lam):
        self.lam, self._S = lam, cross_moment
        m, d = cross_moment.shape
        diagonal = lam / 2 * np.concatenate([-np.ones(d), np.ones(m)])
        F = np.diag(diagonal)
        F[d:, :d], F[:d, d:] = cross_moment, cross_moment.T
        w, P = np.linalg.eigh(F)
        self._rates, self._basis = _snap(w[::-1]), P[:, ::-1]
        # Q Q^T depends on Q_0 Q_0^T only, so wide layers may be compressed to their rank.
        U, sizes, _ = np.linalg.svd(np.vstack([W_1.T, W_2]), full_matrices=False)
        rank = int(np.sum(sizes > max(U.shape) * np.finfo(float).eps * sizes[0]))
        Q_0 = U[:, :rank] * sizes[:rank]
        self._start, self._Q_0 = self._basis.T @ Q_0, Q_0
        self._fastest = max(np.abs(w).max(), sizes[0] ** 2)

    def __call__(self, t) -> TwoLayerState:
        """State at time `t` >= 0 (an array, or infinity), a :class:`TwoLayerState`."""
        t = check_time(t)
        n, d = len(self._rates), self._S.shape[1]
        product = np.array([self._product(2 * t_i) for t_i in t.ravel()])
        product = product.reshape(*t.shape, n, n)
        return TwoLayerState(product[..., :d, :d], product[..., d:, :d], product[..., d:, d:])

    def _product(self, tau):
        """Q Q^T at time tau / 2."""
        if tau == 0 or self._start.size == 0:
            return self._Q_0 @ self._Q_0.T
        w, tau = self._rates, min(tau, _HORIZON / self._fastest)
        size = np.abs(w)
        # v = e^(2 max(w, 0) tau) (1 - e^(-2 |w| tau)) / (2 |w|), which is tau at w = 0.
        bounded = np.full(len(w), tau)
        np.divide(-np.expm1(-2 * size * tau), 2 * size, out=bounded, where=size > 0)
        log_scale = np.maximum(w, 0) * tau + np.log(bounded) / 2  # log sqrt(v)
        E = np.exp(np.minimum(w, 0) * tau) / np.sqrt(bounded)
        root = self._basis @ (E[:, None] * _saturated(self._start, log_scale))
        return root @ root.T


def _saturated(R, log_scale):
    """Square root q_2 of N (I + N^T N)^(-1) N^T, N = diag(exp(log_scale)) R."""
    work, r = R.copy(), R.shape[1]
    Lambda, C, inverse_pivots = np.zeros_like(R), np.zeros((r, r)), np.zeros(r)
    for j in range(r):
        with np.errstate(divide="ignore"):
            size = log_scale[:, None] + np.log(np.abs(work[:, j:]))
        i, c = np.unravel_index(np.argmax(size), size.shape)
        swap = [j, j + c]
        work[:, swap], C[:, swap] = work[:, swap[::-1]], C[:, swap[::-1]]
        # Column j of N in units of its pivot: at most one in size, by the choice of pivot.
        sign = np.sign(work[i, j])
        Lambda[:, j] = sign * np.sign(work[:, j]) * np.exp(size[:, c] - size[i, c])
        inverse_pivots[j] = sign * np.exp(-size[i, c])
        C[j, j:] = work[i, j:] / work[i, j]
        work[:, j + 1 :] -= np.outer(work[:, j], C[j, j + 1 :])
        work[i, j + 1 :] = 0.0
    # G = diag(pivots) C up to the order of its columns, which K does not depend on.
    inverse = solve_triangular(C, np.diag(inverse_pivots), unit_diagonal=True)
    q, _ = np.linalg.qr(np.vstack([inverse, Lambda]))
    return q[r:]


def _snap(w):
    """Descending eigenvalues with those equal up to rounding made equal, and zeros zero."""
    tolerance = _SAME * np.abs(w).max()
    starts = np.flatnonzero(np.concatenate([[True], -np.diff(w) > tolerance]))
    groups = np.split(w, starts[1:])
    means = [0.0 if np.abs(g).min() <= tolerance else g.mean() for g in groups]
    return np.repeat(means, [len(g) for g in groups])
