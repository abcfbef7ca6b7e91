"""The least value of v(R) + L g R^(2/L) over R >= 0, with a proof.

Between two points of the ridge path v lies above both their tangents, and on each of these the
sum with the concave penalty is concave: it is least where a tangent ends. The sum is stationary
where F, the logarithm of -v' over the slope of the penalty, is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# As many points are added to a path at most, and so many while F is brought to zero.
_MAX_POINTS, _MAX_STEPS = 300, 50

# |F| at which a root is taken for found, and to which it is improved if rounding allows.
_NEAR_ROOT, _AT_ROOT = 1e-9, 1e-14

# Beside a root only tangents very near it are tight: intervals get shorter by such factors.
_SHRINK = 0.25

# Objectives that differ by less, relatively, differ by rounding.
_TIE = 16 * np.finfo(float).eps

# Penalties, in the units of the path, below which the unpenalised minimum is as near.
LAST_TAU = 1e-12


class Corner(NamedTuple):
    """Where the lower bound is least: beyond the point of number `place`, before the next."""

    value: float
    radius: float
    place: int


class NormSearch:
    """Best point of a ridge path and a lower bound, in the units of the path.

    Parameters
    ----------
    path : RidgePath
        Gets further points.
    depth : int
        Number of weight matrices L, at least 2.
    log_g : float
        Mean of the logarithms of the decays.

    Attributes
    ----------
    best : Point
        Point of the least objective.
    lower_bound : float
        Lower bound on the objective, proven up to rounding.
    """

    def __init__(self, path, depth, log_g):
        self.path, self.depth, self.log_g = path, depth, log_g
        self.best = path.points[0]
        self._survey()

    def run(self, tol):
        """Close the gap to `tol` times the objective, or as far as it can be."""
        most = len(self.path.points) + _MAX_POINTS
        while self.lower_bound < (1 - tol) * self._objective and len(self.path.points) < most:
            n_points = len(self.path.points), self.path.floor
            self._refine()
            if n_points == (len(self.path.points), self.path.floor):
                break
            self._survey()
        place = self.path.points.index(self.best)
        if any(self._found_root(i, i + 1) for i in (place - 1, place)):
            self._survey()
        self._settle()
        return self

    def _settle(self):
        """Of points that are equally good up to rounding, take the one nearest to a root of F."""
        if self.best.radius > 0:
            R, loss, _, _ = self.path.table
            objectives = loss + self._penalty(R)
            equal = np.flatnonzero(objectives <= objectives.min() * (1 + _TIE))
            self.best = min((self.path.points[i] for i in equal), key=lambda p: abs(self._F(p)))

    def _penalty(self, R):
        """Least penalty of maps of norm R."""
        with np.errstate(divide="ignore", over="ignore"):
            return self.depth * np.exp(self.log_g + 2 / self.depth * np.log(R))

    def _F(self, point):
        """Logarithm of -v' = 2 tau R over the slope of the penalty, 2 g R^(2/L - 1)."""
        if point.radius > 0:
            return np.log(point.tau) + (2 - 2 / self.depth) * np.log(point.radius) - self.log_g
        return np.log(point.slope / 2) - self.log_g if self.depth == 2 else -np.inf

    def _survey(self):
        """The best of all points, and the lowest corner."""
        R, loss, level, slope = self.path.table
        penalties = self._penalty(R)
        best = int(np.argmin(loss + penalties))
        self.best, self._objective = self.path.points[best], float(loss[best] + penalties[best])
        # Beyond the last point there is a constant.
        floor = self.path.floor
        after, level_2, slope_2 = (
            np.append(a[1:], end) for a, end in ((R, np.inf), (level, floor), (slope, 0.0))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = (level - level_2) / (slope - slope_2)
            corner = np.clip(corner, np.minimum(R, after), np.maximum(R, after))
            at_corner = np.maximum(level_2 - slope_2 * corner, floor) + self._penalty(corner)
        # Parallel lines have no corner.
        at_corner[~np.isfinite(corner)] = np.inf
        at_point = np.maximum(level - slope * R, floor) + penalties
        values = np.minimum(at_point, at_corner)
        place = int(np.argmin(values))
        self._corner = Corner(float(values[place]), float(corner[place]), place)
        self.lower_bound = min(self._corner.value, self._objective)

    def _refine(self):
        """Add points near the lowest corner, if rounding leaves room for any."""
        _, R, place = self._corner
        left = self.path.points[place]
        if place + 1 == len(self.path.points):
            self._extend(left, R)
            return
        right = self.path.points[place + 1]
        if self._found_root(place, place + 1):
            return
        slope = (left.slope + right.slope) / 2
        for root, other in ((left, right), (right, left)):
            if abs(self._F(root)) <= _NEAR_ROOT:
                share = _SHRINK * (R - root.radius) / (other.radius - root.radius)
                R = root.radius + _SHRINK * (R - root.radius)
                slope = root.slope + share * (other.slope - root.slope)
                break
        self._add(slope, R, left.tau, right.tau)

    def _extend(self, last, R):
        """Go on to smaller penalties, or to none at all."""
        if last.tau > LAST_TAU or not self.path.raised_floor():
            # Slopes fall faster than they would if v were a parabola up to the corner.
            self._add(last.slope / 4, R, last.tau, 0.0)

    def _add(self, slope, R, largest, smallest):
        """Add the point at which v is likely to have this slope at R, between two others."""
        tau = slope / (2 * R) if R > 0 else 0.0
        if smallest < tau < largest:
            self.path.at(tau)

    def _found_root(self, left, right):
        """Newton's method for F as a function of log tau, between two points if F falls there."""
        points = self.path.points
        if not 0 < left < right < len(points):
            return False
        left, right = points[left], points[right]
        if not self._F(left) > _NEAR_ROOT or not self._F(right) < -_NEAR_ROOT:
            return False
        high, low, least = np.log(left.tau), np.log(right.tau), np.inf
        point = min((left, right), key=lambda p: abs(self._F(p)))
        for _ in range(_MAX_STEPS):
            F, x = self._F(point), np.log(point.tau)
            if abs(F) <= _AT_ROOT or least / 2 <= abs(F) <= _NEAR_ROOT:
                break
            high, low, least = (x, low, abs(F)) if F > 0 else (high, x, abs(F))
            growth = 1 + (2 - 2 / self.depth) * point.elasticity
            target = x - F / growth if growth > 0 else np.nan
            target = target if low < target < high else (low + high) / 2
            if not low < target < high:
                break
            point = self.path.at(np.exp(target))
        return True
