"""Gradient flow of balanced deep linear networks, as functions of time.

Gradient flow is ``dW_l/dt = -dJ/dW_l`` without weight decay, with time in units of step
size times iteration. Weights that start balanced stay so, and the end-to-end map then
obeys an equation of its own, in which the width no longer appears.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import DOP853, OdeSolution

from sklearn_deeplinear._parameters import check_depth, check_real
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._moments import check_moments

# Errors per step, relative to the state; the rest of the flow is cut off where it is
# a hundred times larger than them.
_RTOL = 1e-13
_AT_REST = 1e-11
_MAX_STEPS = 100_000


def end_to_end_flow(moments, coef_0, *, depth) -> EndToEndFlow:
    """Flow of the end-to-end map of a deep linear network with balanced weights.

    Solves ``dM/dt = -2 sum_j (M M^T)^((L-j)/L) (M A - S) (M^T M)^((j-1)/L)``, with j
    from 1 to L, by an adaptive Runge-Kutta method of order 8.

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
        If the flow does not come to rest within 100,000 steps.

    Notes
    -----
    The flow counts as resting when its speed is below 1e-11 of what its gradient allows,
    or the gradient below 1e-11 of its value at zero. A start with singular values below
    about 1e-9 of the largest may be taken for one of lower rank.

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


def mode_flow(s, a_0, *, depth, input_moment=1.0) -> ModeFlow:
    """Strength of one singular mode of a deep linear network with balanced weights.

    Solves ``da/dt = 2 L |a|^(2 - 2/L) (s - input_moment * a)``, in closed form for one
    layer (exponential) and two layers (logistic), else by an adaptive Runge-Kutta method.

    Parameters
    ----------
    s : float or array-like
        Singular value of the cross moment S.
    a_0 : float or array-like, broadcast against `s`
        Strength at time 0. With two layers or more a strength never changes its sign.
    depth : int
        Number of weight matrices L.
    input_moment : float, default=1.0
        The inputs have ``A = input_moment * I``.

    Returns
    -------
    flow : ModeFlow
        ``flow(t)`` is the strength at time t, of the shape of t followed by that of the
        modes. ``flow(np.inf)`` is the limit: ``s / input_moment``, or 0 when that lies
        beyond zero and the depth is 2 or more.

    Raises
    ------
    ValueError
        If an argument is not finite, `input_moment` is not positive, or a time is
        negative.

    References
    ----------
    .. [1] Saxe, A. M., McClelland, J. L., Ganguli, S. (2014). "Exact solutions to the
       nonlinear dynamics of learning in deep linear neural networks." ICLR.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import mode_flow
    >>> mode_flow(3.0, 0.01, depth=2)([0.0, 0.5, float("inf")]).round(4)
    array([0.01 , 1.723, 3.   ])
    """
    return ModeFlow(
        s, a_0, check_depth(depth), check_real(input_moment, "input_moment", closed=False)
    )


class EndToEndFlow:
    """End-to-end map as a function of time; see :func:`end_to_end_flow`.

    Attributes
    ----------
    depth : int
        Number of weight matrices L.
    coef_0 : ndarray of shape (m, d)
        The map at time 0.
    """

    def __repr__(self):
        return one_line(self, "depth", "coef_0")

    def __init__(self, moments, coef_0, depth):
        shape = (moments.n_outputs, moments.n_inputs)
        self.depth, self.coef_0 = depth, np.atleast_2d(np.array(coef_0, dtype=np.float64))
        if self.coef_0.shape != shape or not np.isfinite(self.coef_0).all():
            raise ValueError(
                f"coef_0 must be finite and of shape {shape} as the moments ask for, got an "
                f"array of shape {self.coef_0.shape}."
            )
        A, S = moments.input_moment, moments.cross_moment
        size_S = np.linalg.norm(S)

        def velocity(M):
            G = M @ A - S
            return _preconditioned(M, -2 * G, depth), np.linalg.norm(G)

        def at_rest(m):
            M = m.reshape(shape)
            V, size_G = velocity(M)
            most = 2 * depth * size_G * np.linalg.norm(M, 2) ** (2 - 2 / depth)
            return size_G <= _AT_REST * size_S or np.linalg.norm(V) <= _AT_REST * most

        # Early on, small maps must keep their relative accuracy: it decides when they grow.
        size_0 = np.linalg.norm(self.coef_0) or size_S / max(np.linalg.norm(A, 2), 1e-300)
        self._solution = _LazySolution(
            lambda t, m: velocity(m.reshape(shape))[0].ravel(),
            self.coef_0.ravel(),
            at_rest,
            atol=_RTOL * max(size_0, 1e-300),
        )

    def __call__(self, t) -> np.ndarray:
        """Map at time `t` >= 0 (an array, or infinity), shape (*t.shape, m, d)."""
        t = check_time(t)
        return self._solution(t.ravel()).T.reshape(*t.shape, *self.coef_0.shape)


class ModeFlow:
    """Strength of singular modes as a function of time; see :func:`mode_flow`.

    Attributes
    ----------
    depth : int
        Number of weight matrices L.
    s, a_0 : ndarray of the shape of the modes
        Singular values of the cross moment and strengths at time 0.
    input_moment : float
        The inputs have ``A = input_moment * I``.
    """

    def __repr__(self):
        return one_line(self, "depth", "s", "a_0", "input_moment")

    def __init__(self, s, a_0, depth, input_moment):
        s, a_0 = np.asarray(s, dtype=np.float64), np.asarray(a_0, dtype=np.float64)
        if not (np.isfinite(s).all() and np.isfinite(a_0).all()):
            raise ValueError("s and a_0 must be finite.")
        self.s, self.a_0 = np.broadcast_arrays(s, a_0)
        self.depth, self.input_moment = depth, input_moment
        self._numeric = None

    def __call__(self, t) -> np.ndarray:
        """Strength at time `t` >= 0 (an array, or infinity), shape (*t.shape, *s.shape)."""
        t = check_time(t)
        t = t.reshape(t.shape + (1,) * self.s.ndim)
        if self.depth == 1:
            return _exponential(t, self.s, self.a_0, self.input_moment)
        # A negative strength is the mirror image of a positive one.
        sign = np.where(self.a_0 < 0, -1.0, 1.0)
        solve = _logistic if self.depth == 2 else self._integrated
        return sign * solve(t, sign * self.s, np.abs(self.a_0), self.input_moment)

    def _integrated(self, t, s, a_0, a):
        if self._numeric is None:
            modes = zip(s.ravel(), a_0.ravel(), strict=True)
            self._numeric = [_log_mode(s_k, x, self.depth, a) for s_k, x in modes]
        limit = np.where(a_0 > 0, np.maximum(s, 0.0) / a, 0.0)
        strengths = np.empty(np.broadcast_shapes(t.shape, s.shape))
        flat, times = strengths.reshape(-1, s.size), t.ravel()
        finite = np.isfinite(times)
        for k, solution in enumerate(self._numeric):
            flat[:, k] = limit.ravel()[k]
            if solution is not None:
                flat[finite, k] = np.exp(self.depth * solution(times[finite])[0])
        return strengths


class _LazySolution:
    """Dense solution of dy/dt = f(t, y), y(0) = y_0, integrated as far as it is asked for."""

    def __init__(self, f, y_0, at_rest, atol):
        self._solver = DOP853(f, 0.0, y_0, np.inf, rtol=_RTOL, atol=atol)
        self._at_rest = at_rest
        self._rests = at_rest(y_0)
        self._times, self._pieces, self._last = [0.0], [], np.array(y_0)

    def __call__(self, t):
        """States at the times `t` of shape (k,), as an array of shape (n, k)."""
        furthest = np.max(t, initial=0.0)
        while not self._rests and self._times[-1] < furthest:
            self._step(unbounded=np.isinf(furthest))
        states = np.tile(self._last[:, None], t.size)
        inside = t < self._times[-1]
        if inside.any():
            states[:, inside] = OdeSolution(self._times, self._pieces)(t[inside])
        return states

    def _step(self, unbounded):
        message = self._solver.step()
        if self._solver.status == "failed":
            raise RuntimeError(f"The flow could not be integrated: {message}")
        if unbounded and len(self._pieces) >= _MAX_STEPS:
            raise RuntimeError(f"The flow did not come to rest within {_MAX_STEPS} steps.")
        self._times.append(self._solver.t)
        self._pieces.append(self._solver.dense_output())
        self._last = self._solver.y.copy()
        self._rests = self._at_rest(self._last)


def _preconditioned(M, G, depth):
    """sum_j (M M^T)^((L-j)/L) G (M^T M)^((j-1)/L), from one singular value decomposition."""
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    powers = sigma[:, None] ** (2 * np.arange(depth) / depth)  # sigma^(2 (j-1) / L)
    inner = U.T @ G @ Vt.T
    result = U @ ((powers[:, ::-1] @ powers.T) * inner) @ Vt
    # Outside the span of the singular vectors only the zeroth power, the identity, is left.
    top = powers[:, -1]
    result += U * top @ (U.T @ G - inner @ Vt)
    return result + (G @ Vt.T - U @ inner) @ (top[:, None] * Vt)


def _exponential(t, s, a_0, a):
    return s / a + (a_0 - s / a) * np.exp(-2 * a * t)


def _logistic(t, s, a_0, a):
    """a_0 e^(4st) / (1 + a a_0 (e^(4st) - 1) / s), with the growing exponential divided out."""
    rate = 4 * np.abs(s)
    with np.errstate(invalid="ignore", divide="ignore"):
        decay = np.where(rate == 0, 1.0, np.exp(-rate * t))
        rise = np.where(rate == 0, 4 * t, 4 * -np.expm1(-rate * t) / rate)
        numerator = np.where(s < 0, decay, 1.0) * a_0
        return np.where(a_0 > 0, numerator / (np.where(s < 0, 1.0, decay) + a * a_0 * rise), 0.0)


def _log_mode(s, a_0, depth, a):
    """Solution for the log of a layer's strength y = a^(1/L): dy/dt = 2 y^(L-1) (s - a y^L)."""
    if a_0 == 0:
        return None

    def velocity(t, log_y):
        return 2 * np.exp((depth - 2) * log_y) * (s - a * np.exp(depth * log_y))

    def at_rest(log_y):
        return abs(s - a * np.exp(depth * log_y[0])) <= _AT_REST * s

    return _LazySolution(velocity, np.array([np.log(a_0) / depth]), at_rest, atol=_RTOL)


def check_time(t):
    """Return the times `t` as a float array, none of them before time 0."""
    t = np.asarray(t, dtype=np.float64)
    if np.isnan(t).any() or (t < 0).any():
        raise ValueError("t must be at least 0: the flow starts at time 0.")
    return t
