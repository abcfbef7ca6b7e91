"""Gradient flow of one singular mode of a balanced network, as a function of time."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_depth, check_real
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._lazy_solution import check_time
from sklearn_deeplinear.theory._pathway_flow import PathwayFlow


def mode_flow(s, a_0, *, depth, input_moment=1.0) -> ModeFlow:
    """Strength of one singular mode of a deep linear network with balanced weights.

    Solves ``da/dt = 2 L |a|^(2 - 2/L) (s - input_moment * a)``, in closed form for one
    layer (exponential) and two layers (logistic), else by an adaptive Runge-Kutta method for
    its logarithm, from starts of any size.

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

    def __init__(self, s, a_0, depth, input_moment):
        s, a_0 = as_array(s, "s"), as_array(a_0, "a_0")
        if not (np.isfinite(s).all() and np.isfinite(a_0).all()):
            raise ValueError("s and a_0 must be finite.")
        try:
            self.s, self.a_0 = np.broadcast_arrays(s, a_0)
        except ValueError:
            raise ValueError(
                f"s and a_0 must have shapes that broadcast, got {s.shape} and {a_0.shape}."
            ) from None
        self.depth, self.input_moment = depth, input_moment

    def __repr__(self):
        return one_line(self, "depth", "s", "a_0", "input_moment")

    def __call__(self, t) -> np.ndarray:
        """Strength at time `t` >= 0 (an array, or infinity), shape (*t.shape, *s.shape)."""
        times = check_time(t)
        t = times.reshape(times.shape + (1,) * self.s.ndim)
        if self.depth == 1:
            return exponential(t, self.s, self.a_0, self.input_moment)
        if self.depth == 2:
            # A negative strength is the mirror image of a positive one.
            sign = np.where(self.a_0 < 0, -1.0, 1.0)
            return sign * _logistic(t, sign * self.s, np.abs(self.a_0), self.input_moment)
        ended = np.isinf(times)
        # Time and s in units of A leave the equation of one pathway with A = 1.
        found = self._pathway(self.input_moment * np.where(ended, 0.0, times))
        return np.where(np.isinf(t), self._limit, found.reshape(times.shape + self.s.shape))

    @property
    def _limit(self):
        """The target, or zero where that is in the way, or where nothing starts."""
        return np.where(np.sign(self.a_0) * self.s > 0, self.s / self.input_moment, 0.0)

    @cached_property
    def _pathway(self):
        return PathwayFlow(self.s / self.input_moment, self.a_0[None], [self.depth], 0.0)


def exponential(t, s, a_0, a):
    """a_0 e^(-2at) + s (1 - e^(-2at)) / a; where a = 0 there is no s, and nothing moves."""
    with np.errstate(invalid="ignore"):
        exponent = np.where(a > 0, 2 * a * t, 0.0)
    return a_0 * np.exp(-exponent) - s * np.expm1(-exponent) / np.where(a > 0, a, 1.0)


def _logistic(t, s, a_0, a):
    """a_0 e^(4st) / (1 + a a_0 (e^(4st) - 1) / s), with the growing exponential divided out."""
    rate, unit = 4 * np.abs(s), np.where(a_0 < 1e-100, 2.0**600, 1.0)  # denormals are coarse
    a_0 = unit * a_0
    with np.errstate(invalid="ignore", divide="ignore"):
        decay = np.where(rate == 0, 1.0, np.exp(-rate * t))
        rise = np.where(rate == 0, 4 * t, 4 * -np.expm1(-rate * t) / rate)
        numerator = np.where(s < 0, decay, 1.0) * a_0
        return np.where(
            a_0 > 0, numerator / (unit * np.where(s < 0, 1.0, decay) + a * a_0 * rise), 0.0
        )
