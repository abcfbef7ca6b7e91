"""Directions and lengths of the steps of Newton's method on convex functions."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

# Relative error of sums of rounded terms.
ROUNDING = 16 * np.finfo(float).eps

# Lengths that are tried along one direction.
_MAX_LENGTHS = 40


class Line:
    """The objective of a path along a direction from where it falls."""

    def __init__(self, path, f, change, theta, step, ridge):
        self.path, self.f, self.change = path, f, change
        self.curvature = step @ (ridge * step)
        self.slope = theta @ (ridge * step)
        self.square = theta @ (ridge * theta)

    def value_at(self, t):
        square = self.square + 2 * t * self.slope + t**2 * self.curvature
        f = self.f + t * self.change
        with np.errstate(over="ignore"):
            loss = self.path.w @ self.path.loss.value(f, self.path.y, self.path.delta)
        return loss + square / 2

    def slope_at(self, t):
        a = self.path.loss.slope(self.f + t * self.change, self.path.y, self.path.delta)
        return (self.path.w * a) @ self.change + self.slope + t * self.curvature

    def length(self, decrease, value):
        """A length at which the slope is at most half of what it was at zero, -`decrease`."""
        low, high, s_low, s_high, t = 0.0, np.inf, -decrease, np.inf, 1.0
        for i in range(_MAX_LENGTHS):
            s = self.slope_at(t)
            if abs(s) <= decrease / 2 and (s <= 0 or self.value_at(t) <= value * (1 + ROUNDING)):
                return t
            low, high, s_low, s_high = (t, high, s, s_high) if s < 0 else (low, t, s_low, s)
            if high == np.inf:
                t *= 4
            elif i % 2:
                t = (low + high) / 2 if low > 0 else high / 16
            else:
                t = low + (high - low) * s_low / (s_low - s_high)
        return low


def solver(H):
    """Solve with a positive semi-definite matrix, after scaling its diagonal to one."""
    diagonal = np.diag(H)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = H * scale[:, None] * scale
    damping = np.finfo(float).eps
    while True:
        try:
            factor = cho_factor(scaled + damping * np.eye(len(H)), lower=True, check_finite=False)
        except LinAlgError:
            if damping > len(H):  # no finite matrix of this scale needs as much
                raise
            damping *= 10
            continue
        return lambda right: scale * cho_solve(factor, scale * right, check_finite=False)
