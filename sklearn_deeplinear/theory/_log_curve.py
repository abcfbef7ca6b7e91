"""Curves H(x) = r x + log sum_k z_k / (a_k + e^x)^q: their extrema and where they meet levels.

All that is known of networks with a cross moment of rank one is read off such curves. With
mu = e^x and p_k = mu / (a_k + mu) the slope is H' = r - q m, where m is the average of the
p_k with weights z_k / (a_k + mu)^q, and

    m' = E[p (1 - p)] - q Var p,    hence    -q m (1 - m) <= m' <= m (1 - m).

No extremum is missed:

1. It has m = r / q, so it lies between the points where the smallest and the largest a_k
   alone put it, a_k r / (q - r). If r >= q there is none.
2. |H''| <= q^2 / 4 <= 1 for q = 1, 2. So H' has no zero in a cell whose length is less than
   the sum of |H'| at its ends. This leaves few cells, whatever the curve.
3. For |Im x| <= theta = 1.4 the terms of the sum have arguments in [-q theta, 0] and
   |p_k| <= 1. So the sum has no zero, H' is analytic, and |H'| <= r + q / cos(q theta / 2)
   < 14. The interpolant of H' in 12 Chebyshev points of a cell of length 0.2 is
   therefore right to 4 * 14 / (28^11 * 27) = 3e-16 (Bernstein's ellipse of parameter 28
   fits), and zeros of a polynomial are eigenvalues.

What rounding can still hide is a pair of extrema between which |H'| is of the order of
1e-15, so that no value of H tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import chebyshev

# Length of the cells and points in each of them; see the third step above.
_CELL = 0.2
_POINTS = chebyshev.chebpts1(12)
_TO_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(_POINTS, len(_POINTS) - 1))

# Rounding error of the slope; interpolation coefficients below it are noise.
_NOISE = 1e-15

# Zeros this close to the real interval [-1, 1] count: rounding makes a complex pair of a
# double zero. An extremum too many does no harm.
_CLOSE = 1e-4


@dataclass(frozen=True, eq=False)
class LogCurve:
    """The curve H.

    Attributes
    ----------
    a : ndarray of shape (k,)
        Descending and positive, with a[0] = 1.
    z : ndarray of shape (k,)
        Not negative, not all zero.
    rise : float
        The slope r far to the left, positive and at most `power`.
    power : int
        The exponent q, 1 or 2.
    """

    a: np.ndarray
    z: np.ndarray
    rise: float
    power: int

    def __call__(self, x):
        """H, its first and its second derivative at the points `x` of shape (n,)."""
        top = np.maximum(x, 0)
        mu = np.exp(x - top)
        inverse = 1 / (self.a * np.exp(-top)[:, None] + mu[:, None])
        weight = inverse**self.power
        total = weight @ self.z
        weight *= inverse
        mean = mu * (weight @ self.z) / total
        weight *= inverse
        mean_square = mu**2 * (weight @ self.z) / total
        q = self.power
        value = self.rise * (x - top) + (self.rise - q) * top + np.log(total)
        return value, self.rise - q * mean, q * ((1 + q) * mean_square - mean - q * mean**2)

    @cached_property
    def nodes(self):
        """Points between neighbours of which H is monotone, as it is left and right of all.

        Extrema, and the ends of the cells where they were looked for.
        """
        ratio = self.rise / (self.power - self.rise) if self.rise < self.power else 1.0
        left, right = np.log(ratio * self.a[[-1, 0]])
        # Half a cell more on either side, so that equal a_k are nothing special.
        n_cells = int(np.ceil((right - left) / _CELL)) + 1
        edges = np.linspace(left - _CELL / 2, right + _CELL / 2, n_cells + 1)
        return edges if self.rise >= self.power else np.sort(np.append(edges, self._extrema(edges)))

    @property
    def maximum(self):
        """Largest value of a curve that falls on either side."""
        return self(self.nodes)[0].max()

    def _extrema(self, edges):
        half = (edges[1] - edges[0]) / 2
        slope = np.abs(self(edges)[1])
        centers = edges[:-1][slope[:-1] + slope[1:] <= 2 * half] + half
        points = centers[:, None] + half * _POINTS
        coefs = self(points.ravel())[1].reshape(points.shape) @ _TO_COEFFICIENTS.T
        found = []
        for center, c in zip(centers, coefs, strict=True):
            if 2 * np.abs(c[0]) <= np.sum(np.abs(c)):  # else c[0] outweighs all others
                zeros = chebyshev.chebroots(chebyshev.chebtrim(c, _NOISE))
                zeros = zeros.real[np.abs(zeros.imag) <= _CLOSE]
                found.append(center + half * zeros[np.abs(zeros) <= 1 + _CLOSE])
        return np.concatenate(found) if found else np.empty(0)

    def crossings(self, level, rising_only=False):
        """All points where H takes given values.

        Parameters
        ----------
        level : ndarray of shape (n,)
            The values.
        rising_only : bool, default=False
            Leave out the points where H falls.

        Returns
        -------
        x : ndarray of shape (p, n)
            Column j holds the points with H = level[j], ascending, padded with NaN. A level
            that touches an extremum counts as crossed once, just right of it.
        """
        nodes = self._reaching(level)
        height = self(nodes)[0]
        start, stop = height[:-1, None], height[1:, None]
        inside = (start <= level) & (level < stop)
        if not rising_only:
            inside |= (stop < level) & (level <= start)
        piece, column = np.nonzero(inside)
        low, high, target = nodes[piece], nodes[piece + 1], level[column]
        gain = height[piece + 1] - height[piece]
        guess = low + (high - low) * ((target - height[piece]) / gain)
        x = np.full((inside.sum(axis=0).max(initial=0), len(level)), np.nan)
        row = np.cumsum(inside, axis=0)[piece, column] - 1
        x[row, column] = self._roots(guess, low, high, target, np.sign(gain))
        return x

    def _roots(self, x, low, high, target, sign):
        """Points in [low, high] where sign * (H - target) rises through zero, all at once.

        Halley's method, with bisection wherever it would leave the bracket. Next to an
        extremum its steps are short however far the point is, so those of Newton's method
        tell when to stop: at 1e-6, for convergence is cubic and what is left is rounding.
        """
        rounding = 2 * np.finfo(float).eps * np.maximum(np.abs(target), 1.0)
        for _ in range(100 if x.size else 0):
            value, slope, curvature = self(x)
            value = value - target
            low = np.where(sign * value < 0, x, low)
            high = np.where(sign * value > 0, x, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = value / slope
                new = x - newton / (1 - 0.5 * newton * curvature / slope)
            new = np.where((new >= low) & (new <= high), new, (low + high) / 2)
            step = np.fmax(np.abs(newton), np.abs(new - x))
            moving = (step >= 1e-6) & (np.abs(value) > rounding)
            x = new
            if not moving.any():
                break
        return x

    def _reaching(self, level):
        """The nodes, and further ones as far out as the asymptotes, which bound H, tell."""
        first, last = self.nodes[[0, -1]]
        far_left = (level.min() - np.log(np.sum(self.z / self.a**self.power))) / self.rise
        supremum = np.log(np.sum(self.z))
        if self.rise < self.power:
            far_right = (supremum - level.min()) / (self.power - self.rise)
            return np.concatenate(
                [[min(far_left, first) - 1], self.nodes, [max(far_right, last) + 1]]
            )
        # H tends to its supremum like -q a / mu, so the nodes must follow it out there.
        below = supremum - level[level < supremum]
        far_right = max(np.log(self.power / below.min()), last) if below.size else last
        tail = np.arange(last, far_right + 2, 1.0)[1:]
        return np.concatenate([[min(far_left, first) - 1], self.nodes, tail])
