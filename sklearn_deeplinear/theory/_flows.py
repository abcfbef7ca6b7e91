"""Gradient flow of balanced deep linear networks, as functions of time.

Gradient flow is ``dW_l/dt = -dJ/dW_l`` without weight decay, with time in units of step
size times iteration. Weights that start balanced stay so, and the end-to-end map then
obeys an equation of its own, in which the width no longer appears.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_depth
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._balanced_equation import BalancedChart, BalancedProblem
from sklearn_deeplinear.theory._decompositions import eigh, svd
from sklearn_deeplinear.theory._lazy_solution import LazySolution, check_time
from sklearn_deeplinear.theory._mode_flow import ModeFlow, exponential
from sklearn_deeplinear.theory._moments import check_moments
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Share at which a sum of two matrices has distinct singular values, unless by chance.
_GENERIC = 0.618


def end_to_end_flow(moments, coef_0, *, depth) -> EndToEndFlow:
    """Flow of the end-to-end map of a deep linear network with balanced weights.

    Solves ``dM/dt = -2 sum_j (M M^T)^((L-j)/L) (M A - S) (M^T M)^((j-1)/L)``, with j
    from 1 to L: in closed form for one layer, mode by mode (see :func:`mode_flow`) where S,
    A and `coef_0` share their singular vectors, else in two factors of the rank of `coef_0`
    by an adaptive Runge-Kutta method of order 8, or an implicit one where the equation is
    stiff.

    Parameters
    ----------
    moments : SecondMoments
        Moments of the data.
    coef_0 : array-like of shape (m, d) or (d,)
        End-to-end map at time 0. The weights are its balanced factors; with two layers
        or more its rank never changes, and zero stays zero.
    depth : int
        Number of weight matrices L.

    Returns
    -------
    flow : EndToEndFlow
        ``flow(t)`` is the map at time t, of shape (..., m, d) for times of shape (...).
        The equation is integrated as far as the largest time asked for.
        ``flow(np.inf)`` integrates until the map rests and returns it there: the
        least-squares solution if `coef_0` has full rank and nothing is in the way, else
        the saddle at which the flow ends.

    Raises
    ------
    ValueError
        If `coef_0` does not have the shape that the moments ask for, or a time is
        negative.
    RuntimeError
        If the flow takes more than 100,000 steps, or those of the solver fail.

    Notes
    -----
    Singular values of `coef_0` are kept down to rounding, ``max(m, d) * eps`` times the
    largest: they decide when their modes grow, and from starts of any size. What lies below
    is dropped, so that the rank is that of the start for ever. Likewise a start that shares
    the singular vectors of S up to rounding keeps them, and ends at the saddle in its way
    if it points away from S. A flow comes to rest at t = infinity where its distance from
    the end is below 1e-12 of the size of the map.

    References
    ----------
    .. [1] Arora, S., Cohen, N., Hazan, E. (2018). "On the optimization of deep networks:
       implicit acceleration by overparameterization." ICML 35.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, end_to_end_flow
    >>> moments = SecondMoments.from_moments([[1.0]], [[2.0]], 4.0)
    >>> flow = end_to_end_flow(moments, [[0.1]], depth=3)
    >>> flow([0.0, 0.5, float("inf")]).round(4).ravel()
    array([0.1   , 1.7466, 2.    ])
    """
    check_moments(moments)
    return EndToEndFlow(moments, coef_0, check_depth(depth))


class EndToEndFlow:
    """End-to-end map as a function of time; see :func:`end_to_end_flow`.

    Attributes
    ----------
    depth : int
        Number of weight matrices L.
    coef_0 : ndarray of shape (m, d)
        The map at time 0.
    """

    def __init__(self, moments, coef_0, depth):
        shape = (moments.n_outputs, moments.n_inputs)
        self.depth, self.coef_0 = depth, np.atleast_2d(as_array(coef_0, "coef_0")).copy()
        if self.coef_0.shape != shape or not np.isfinite(self.coef_0).all():
            raise ValueError(
                f"coef_0 must be finite and of shape {shape} as the moments ask for, got an "
                f"array of shape {self.coef_0.shape}."
            )
        self._solution = _solution(
            moments.input_moment, moments.cross_moment, self.coef_0, self.depth
        )

    def __repr__(self):
        return one_line(self, "depth", "coef_0")

    def __call__(self, t) -> np.ndarray:
        """Map at time `t` >= 0 (an array, or infinity), shape (*t.shape, m, d)."""
        t = check_time(t)
        maps = self._solution(t.ravel())
        maps[t.ravel() == 0] = self.coef_0
        return maps.reshape(*t.shape, *self.coef_0.shape)


def _solution(A, S, M_0, depth):
    """Function that takes times of shape (k,) to maps of shape (k, m, d)."""
    if depth == 1:
        return _one_layer(A, S, M_0)
    largest = np.abs(M_0).max()
    if largest == 0 or not A.any():
        return lambda t: np.tile(M_0, (t.size, 1, 1))
    modes = _separate_modes(A, S, M_0)
    if modes is not None:
        U, s, a_0, a, V = modes
        flows = [ModeFlow(s[k], a_0[k], depth, a[k]) for k in range(len(s))]
        return lambda t: (U * np.stack([flow(t) for flow in flows], axis=-1)[:, None]) @ V.T
    U, sigma, Vt = leading_modes(M_0 / largest)
    problem = BalancedProblem(A, S, largest, depth)
    log_D = (np.log(sigma) + np.log(largest) - np.log(problem.unit)) / depth
    return LazySolution(BalancedChart(problem, U, Vt.T, log_D))


def _one_layer(A, S, M_0):
    """M(t) = M_0 e^(-2At) + S int_0^t 2 e^(-2Au) du in the eigenbasis of A."""
    values, V = eigh(A)
    values[values <= _rounding(A.shape) * values[-1]] = 0.0
    start, target = M_0 @ V, S @ V
    return lambda t: exponential(t[:, None, None], target, start, values) @ V.T


def _separate_modes(A, S, M_0):
    """U, s, a_0, a, V with S = U diag(s) V^T, M_0 = U diag(a_0) V^T and A V = V diag(a).

    Returns None unless such vectors exist up to rounding. A generic sum of two matrices
    has the singular vectors that they share.
    """
    size_S, size_M = np.abs(S).max() or 1.0, np.abs(M_0).max()
    U, _, Vt = svd(S / size_S + _GENERIC * M_0 / size_M, full_matrices=False)
    V = Vt.T
    s, a_0 = (np.sum((U.T @ P) * V.T, axis=1) for P in (S / size_S, M_0 / size_M))
    a = np.sum(V * (A @ V), axis=0)
    misses = (
        np.abs(S / size_S - (U * s) @ V.T).max(),
        np.abs(M_0 / size_M - (U * a_0) @ V.T).max(),
        np.abs(A @ V - V * a).max() / np.abs(A).max(),
    )
    tolerance = 4 * _rounding(M_0.shape)
    if max(misses) > tolerance or a.min() <= tolerance * a.max():
        return None
    a_0[np.abs(a_0) <= _rounding(M_0.shape) * np.abs(a_0).max()] = 0.0
    return U, size_S * s, size_M * a_0, a, V


def _rounding(shape):
    """Size, against the largest, from which singular values count as rounding errors."""
    return max(shape) * np.finfo(float).eps
