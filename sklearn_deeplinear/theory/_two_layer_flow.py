"""Gradient flow of two linear layers in closed form, from lambda-balanced weights.

With Q = [W_1^T; W_2] of shape (d + m, h), tau = 2 t and F = P diag(w) P^T the symmetric
matrix [[-lambda/2 I, S^T], [S, lambda/2 I]],

    Q Q^T(t) = e^(F tau) Q_0 [I + Q_0^T (int_0^tau e^(2 F u) du) Q_0]^(-1) Q_0^T e^(F tau).

Both exponentials overflow while Q Q^T converges. With v = int_0^tau e^(2 w u) du, the
integral in the eigenbasis, and R = P^T Q_0, the right side is P E K E P^T, where
E = diag(e^(w tau) / sqrt(v)) is bounded and K = N (I + N^T N)^(-1) N^T with
N = diag(sqrt(v)) R has eigenvalues between 0 and 1. Gaussian elimination with complete
pivoting on N writes N = Lambda G with Lambda bounded; K = q_2 q_2^T then follows from the
orthonormal columns [q_1; q_2] of [X; Lambda], X^T X = (G G^T)^(-1), in which nothing grows
and nothing cancels. Row scales are kept as logarithms, of which only differences count:
those of the rates are formed before they meet tau, so that equal rates stay equal at any
time. What elimination leaves of the start below its rounding error would grow into a mode
that the exact flow never sees, and is set to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy.linalg import solve_triangular

from sklearn_deeplinear._parameters import check_real
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._layers import check_weights
from sklearn_deeplinear.theory._lazy_solution import check_time
from sklearn_deeplinear.theory._moments import check_moments
from sklearn_deeplinear.theory._singular_modes import leading_modes

# From here on, times the largest rate, rates that differ by one rounding error have been
# told apart (by e^-20) and the flow is at its end.
_HORIZON = 1e17


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
        If there are not two layers that fit the moments, A is not the identity, the
        weights are not lambda-balanced, or `rtol` is negative or not finite.

    Notes
    -----
    What lies below rounding, ``(m + d) * eps`` times the size of the start, counts as zero,
    so that a flow that starts on its way into a saddle ends there, as that of
    :func:`end_to_end_flow` does. Eigenvalues of ``[[-lambda/2 I, S^T], [S, lambda/2 I]]``
    that differ by no more than this, relative to the largest, count as equal; all others are
    told apart at t = infinity, however slowly their modes part.

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
    check_moments(moments)
    rtol = check_real(rtol, "rtol")
    weights_0 = check_weights(weights_0, "weights_0")
    if len(weights_0) != 2:
        raise ValueError(f"weights_0 must hold two matrices, got {len(weights_0)}.")
    W_1, W_2 = check_weights(weights_0, "weights_0", moments)
    A, S = moments.input_moment, moments.cross_moment
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
        n_outputs, n_inputs = cross_moment.shape
        rounding = (n_outputs + n_inputs) * np.finfo(float).eps
        # Q Q^T depends on Q_0 Q_0^T only, so wide layers may be compressed to their rank.
        U, sizes, _ = leading_modes(np.vstack([W_1.T, W_2]), rtol=rounding)
        self._Q_0, size = U * sizes, sizes.max(initial=0.0)
        # What is a rounding error of the balance would move null directions in the end.
        self.lam = lam if abs(lam) > rounding * size**2 else 0.0
        self._n_inputs = n_inputs
        w, self._basis = _eigen(cross_moment, self.lam)
        self._rates = _snap(w, rounding)
        self._noise = rounding * size
        self._start = self._basis.T @ self._Q_0
        self._start[np.abs(self._start) <= self._noise] = 0.0
        self._fastest = max(np.abs(w).max(), size**2)

    def __call__(self, t) -> TwoLayerState:
        """State at time `t` >= 0 (an array, or infinity), a :class:`TwoLayerState`."""
        t = check_time(t)
        n, d = len(self._rates), self._n_inputs
        product = np.array([self._product(2 * t_i) for t_i in t.ravel()])
        product = product.reshape(*t.shape, n, n)
        return TwoLayerState(product[..., :d, :d], product[..., d:, :d], product[..., d:, d:])

    def _product(self, tau):
        """Q Q^T at time tau / 2."""
        if tau == 0 or self._start.size == 0:
            return self._Q_0 @ self._Q_0.T
        w, tau = self._rates, min(tau, _HORIZON / self._fastest)
        # v = e^(2 max(w, 0) tau) (1 - e^(-2 |w| tau)) / (2 |w|), which is tau at w = 0.
        bounded = tau * scipy.special.exprel(-2 * np.abs(w) * tau)
        E = np.exp(np.minimum(w, 0) * tau) / np.sqrt(bounded)
        grown = np.maximum(w, 0), tau, np.log(bounded) / 2
        root = self._basis @ (E[:, None] * _saturated(self._start, grown, self._noise))
        return root @ root.T


def _eigen(S, lam):
    """Eigenvalues, descending, and eigenvectors of [[-lambda/2 I, S^T], [S, lambda/2 I]].

    From the singular vectors of S, which keeps pairs of opposite sign and null directions.
    """
    m, d = S.shape
    U, s, Vt = svd(S)
    k = len(s)
    half, size = np.arctan2(2 * s, lam) / 2, np.hypot(s, lam / 2)
    u, v = np.vstack([np.zeros((d, m)), U]), np.vstack([Vt.T, np.zeros((m, d))])
    up = v[:, :k] * np.sin(half) + u[:, :k] * np.cos(half)
    down = v[:, :k] * np.cos(half) - u[:, :k] * np.sin(half)
    w = np.concatenate([size, -size, np.full(d - k, -lam / 2), np.full(m - k, lam / 2)])
    order = np.argsort(-w, kind="stable")
    return w[order], np.hstack([up, down, v[:, k:], u[:, k:]])[:, order]


def _saturated(R, grown, noise):
    """Square root q_2 of N (I + N^T N)^(-1) N^T, N = diag(e^(rate tau + rest)) R.

    `grown` holds (rates, tau, rest); entries of R are known up to `noise`.
    """
    rates, tau, rest = grown
    work, (n, r), noise = R.copy(), R.shape, np.full(len(R), noise)
    Lambda, C, inverse_pivots = np.zeros((n, r)), np.zeros((r, r)), np.zeros(r)
    k = 0
    while work[:, k:].any():
        # Relative to the fastest row left: what is far slower is not chosen, and need not be
        # known well.
        with np.errstate(divide="ignore"):
            log_work = rest[:, None] + np.log(np.abs(work[:, k:]))
        fastest = rates[work[:, k:].any(axis=1)].max()
        size = (rates - fastest)[:, None] * tau + log_work
        i, c = np.unravel_index(np.argmax(size), size.shape)
        swap = [k, k + c]
        work[:, swap], C[:, swap] = work[:, swap[::-1]], C[:, swap[::-1]]
        # Column k of N in units of its pivot: at most one in size, by the choice of pivot.
        ratio = work[:, k] / work[i, k]
        exponent = (rates - rates[i]) * tau + log_work[:, c] - log_work[i, c]
        Lambda[:, k] = np.sign(ratio) * np.exp(exponent)
        inverse_pivots[k] = np.sign(work[i, k]) * np.exp(-rates[i] * tau - log_work[i, c])
        C[k, k:] = work[i, k:] / work[i, k]
        work[:, k + 1 :] -= np.outer(work[:, k], C[k, k + 1 :])
        noise = noise + np.abs(ratio) * noise[i]
        work[i, k + 1 :] = 0.0
        rounded = work[:, k + 1 :]  # a view
        rounded[np.abs(rounded) <= noise[:, None]] = 0.0
        k += 1
    # G = diag(pivots) C up to the order of its columns, which K does not depend on.
    triangle = np.linalg.qr(C[:k].T, mode="r")
    X = solve_triangular(triangle, np.diag(inverse_pivots[:k]), trans="T")
    q, _ = np.linalg.qr(np.vstack([X, Lambda[:, :k]]))
    return q[k:]


def _snap(w, rounding):
    """Descending eigenvalues with those equal up to rounding made equal, and zeros zero."""
    tolerance = rounding * np.abs(w).max()
    starts = np.flatnonzero(np.concatenate([[True], -np.diff(w) > tolerance]))
    groups = np.split(w, starts[1:])
    means = [0.0 if np.abs(g).min() <= tolerance else g.mean() for g in groups]
    return np.repeat(means, [len(g) for g in groups])
