"""The least value of v(R) + L g R^(2/L) over R >= 0, with a proof.

Between two points of the ridge path v lies above both their tangents, and on each of these the
sum with the concave penalty is concave: it is least where a tangent ends. The sum is stationary
where F, the logarithm of -v' over the slope of the penalty, is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._ridge_path import Point

# As many points are added to a path at most, and at most so many while F is brought to zero.
_MAX_POINTS, _MAX_STEPS = 300, 50

# |F| at which a root is taken for found, and to which it is improved if rounding allows.
_NEAR_ROOT, _AT_ROOT = 1e-9, 1e-14

# Beside a root only tangents very near it are tight: intervals get shorter by such factors.
_SHRINK = 0.25


@dataclass(frozen=True, eq=False)
class _Corner:
    """The lowest corner: its value, its radius, and the points that its tangents belong to."""

    value: float
    radius: float
    left: Point
    right: Point | None


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
        Proven lower bound on the objective.
    """

    def __init__(self, path, depth, log_g):
        self.path, self.depth, self.log_g = path, depth, log_g

    def run(self, tol):
        """Close the gap to `tol` times the objective, or as far as it can be."""
        most = len(self.path.points) + _MAX_POINTS
        while True:
            points = self.path.points
            self.best = min(points, key=self.objective)
            corner, n_points = self._lowest_corner(), len(points)
            self.lower_bound = min(corner.value, self.objective(self.best))
            if self.lower_bound >= (1 - tol) * self.objective(self.best) or n_points >= most:
                return self
            self._refine(corner)
            if len(points) == n_points:
                return self

    def objective(self, point):
        """Loss and least penalty of a point."""
        return point.loss + float(self._penalty(point.radius))

    def _penalty(self, R):
        with np.errstate(divide="ignore", over="ignore"):
            return self.depth * np.exp(self.log_g + 2 / self.depth * np.log(R))

    def _lowest_corner(self):
        points = sorted(self.path.points, key=lambda point: point.radius)
        R, level, slope = np.array([[p.radius, p.level, p.slope] for p in points]).T
        # Beyond the last point there is the constant zero.
        right, next_level, next_slope = (
            np.append(a[1:], b) for a, b in ((R, np.inf), (level, 0.0), (slope, 0.0))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = (level - next_level) / (slope - next_slope)
        corner = np.clip(np.where(np.isnan(corner), R, corner), R, right)
        at = np.stack([R, corner])
        with np.errstate(invalid="ignore"):
            v = np.maximum(level - slope * at, next_level - next_slope * at)
        v = np.maximum(np.where(np.isnan(v), 0.0, v), 0.0)
        values = v + self._penalty(at)
        i = int(np.argmin(values.min(axis=0)))
        k = int(np.argmin(values[:, i]))
        return _Corner(
            float(values[k, i]),
            float(corner[i]),
            points[i],
            points[i + 1] if i + 1 < len(R) else None,
        )

    def _refine(self, corner):
        """Add points to the interval of a corner: a root of F if it has one, else one point."""
        left, right = corner.left, corner.right
        inside = right is not None and left.radius > 0
        if inside and self._F(left) > _NEAR_ROOT and self._F(right) < -_NEAR_ROOT:
            self._find_root(left, right)
            return
        R, slope = corner.radius, left.slope / 4 if right is None else None
        if right is not None:
            for near, far in ((left, right), (right, left)):
                if abs(self._F(near)) <= _NEAR_ROOT:
                    R = near.radius + _SHRINK * (R - near.radius)
                    share = abs(R - near.radius) / (right.radius - left.radius)
                    slope = near.slope + share * (far.slope - near.slope)
                    break
            else:
                slope = (left.slope + right.slope) / 2
        tau = slope / (2 * R) if R > 0 else 0.0
        smallest, largest = (right.tau if right is not None else 0.0), left.tau
        if smallest < tau < largest:
            self.path.at(tau)

    def _F(self, point):
        with np.errstate(divide="ignore"):
            power = (1 - 2 / self.depth) * np.log(point.radius) if self.depth != 2 else 0.0
            return np.log(point.slope / 2) + power - self.log_g

    def _find_root(self, left, right):
        """Newton's method for F as a function of log tau, between two points."""
        high, low = np.log(left.tau), np.log(right.tau)
        point = min((left, right), key=lambda p: abs(self._F(p)))
        least = np.inf
        for _ in range(_MAX_STEPS):
            F = self._F(point)
            x = np.log(point.tau)
            if F > 0:
                high = min(high, x)
            else:
                low = max(low, x)
            if abs(F) <= _AT_ROOT or (abs(F) >= least / 2 and abs(F) <= _NEAR_ROOT):
                return
            least = min(least, abs(F))
            growth = 1 + (2 - 2 / self.depth) * point.elasticity
            target = x - F / growth if growth > 0 else np.nan
            if not low < target < high:
                target = (low + high) / 2
            if not low < target < high:
                return
            point = self.path.at(np.exp(target))
