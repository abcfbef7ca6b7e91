"""Gradient flow of networks with ReLU units, by a method that steps over their kinks.

Between two states the slope of a ReLU unit is neither that at the one nor that at the other
end: its mean is the share s of the step in which the input of the unit is positive. Let p_n be
the predicted state of step n, s_n the slopes there, and g_n(s) the gradient with slopes s.
Then

    p_{n+1} = y_n - h g_n(s_n),      y_{n+1} = y_n - h/2 (g_n(s_n) + g_{n+1}(2 s - s_n))

is the trapezoidal rule with the slopes s in the mean, predicted by Euler's method: it follows
the input of a unit up to its kink with the slope that the unit has until then. s is taken as
if inputs moved evenly from p_n to p_{n+1}. The method is of second order in h where kinks are
crossed, and of first order where the flow slides along them. A step costs one forward and two
backward passes.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.integrate import OdeSolver
from scipy.interpolate import CubicHermiteSpline

from sklearn_deeplinear.dynamics.networks._rectifiers import positive_share
from sklearn_deeplinear.nn._norms import norms

# Change of the length of a step: below what its error allows, and within these limits.
_SAFETY, _LEAST_FACTOR, _LARGEST_FACTOR = 0.9, 0.2, 2.0
# Length of the first step, in times in which the state would change by its own size.
_FIRST_STEP = 0.01
# Least length of a step, in spacings of numbers of the size of the time.
_LEAST_STEP = 10
# Jumps of the velocity are in the difference of two methods with their full size, and in the
# error only by the time at which they are met: this part of the difference counts.
_JUMPING = 0.1


class TrapezoidalFlow(OdeSolver):
    """Predictor-corrector method for the gradient flow of a network, used like scipy's solvers.

    Parameters
    ----------
    dynamics : KinkedDynamics
        The network, moved in place.
    y : ndarray of shape (n_parameters,)
        Initial state.
    end : float
        Time at which to stop.
    rtol, atol : float
        Each step keeps the estimate of its error below ``atol + rtol * |y|``, both in the
        root mean square over all parameters: single weights near zero, of which there are
        always some, do not count for more than others.
    unit : float, default=1.0
        Unit of time, a power of two.
    """

    t: float
    y: np.ndarray
    remembers = ("t", "y", "velocity", "inputs", "before", "length", "nfev")

    def __init__(self, dynamics, y, end, rtol, atol, unit=1.0):
        super().__init__(lambda t, y: self._evaluate(y)[1](), 0.0, y, end, vectorized=False)
        self.dynamics, self.rtol, self.atol, self.unit = dynamics, rtol, atol, unit
        self.nfev = 0
        self.inputs, velocity = self._evaluate(self.y)
        self.velocity = velocity()
        self.before, self.length = None, self._first_length()
        self._segment: tuple = ()

    def _evaluate(self, y):
        """Inputs of the units at y, and the velocity as a function of their slopes."""
        state = self.dynamics.state
        state.copy_(torch.from_numpy(y).to(state.dtype).to(state.device))
        inputs, gradient = self.dynamics.linearised()

        def velocity(shares=None):
            self.nfev += 1
            return -self.unit * gradient(shares).cpu().double().numpy()

        return inputs, velocity

    def _first_length(self):
        """Length of the first step."""
        size, speed = _norm(self.y), _norm(self.velocity)
        return _FIRST_STEP * (size / speed if size > 0 and speed > 0 else self.t_bound)

    def _step_impl(self):
        while True:
            # Of what is left to the end any length will do: the end may be missed by rounding.
            if not self.length > _LEAST_STEP * np.spacing(self.t):
                return False, self.TOO_SMALL_STEP
            end = min(self.t + self.length, self.t_bound)
            h = end - self.t
            inputs, velocity_with = self._evaluate(self.y + h * self.velocity)
            velocity = velocity_with(None)
            mean = velocity_with(self._shares(inputs))
            corrected = self.y + h / 2 * (self.velocity + mean)
            size = _norm(self._error(h, mean)) / (self.atol + self.rtol * _norm(self.y))
            self.length = h * _factor(size)
            if size <= 1:
                break
        self._segment = (self.t, end), (self.y, corrected), (self.velocity, velocity)
        self.before = h, self.velocity
        self.t, self.y, self.velocity, self.inputs = end, corrected, velocity, inputs
        return True, None

    def _error(self, h, mean):
        """Estimated error of a step, from its distance to Adams and Bashforth's method.

        The errors of the two begin with -h^3 y'''/12 and h^3 y''' (1/6 + 1/(4 r)), where r
        is the ratio of h to the step before.
        """
        if self.before is None:
            return h / 2 * (mean - self.velocity)  # as of Euler's method, by far too large
        length, velocity = self.before
        r = h / length
        share = r / (6 * (1 + r)) * _JUMPING
        return h * share * (mean - self.velocity - r * (self.velocity - velocity))

    def _shares(self, inputs):
        """Slopes at the end of a step that make those of the whole step right."""
        return [
            2 * positive_share(start, end) - (start > 0).to(end.dtype)
            for start, end in zip(self.inputs, inputs, strict=True)
        ]

    def _dense_output_impl(self):
        return CubicHermiteSpline(*self._segment)


def _norm(x):
    """Root mean square, also of numbers whose squares vanish or overflow."""
    return float(norms(torch.from_numpy(x))) / np.sqrt(len(x))


def _factor(size):
    """Change of the step length after an error of `size` tolerances."""
    if not np.isfinite(size):
        return _LEAST_FACTOR
    wanted = _SAFETY * max(size, 1e-12) ** (-1 / 3)
    return float(np.clip(wanted, _LEAST_FACTOR, _LARGEST_FACTOR))
