"""Generalised linear models with a ridge penalty: their path, and the bounds it gives.

For a convex loss V and all data with one output let

    v(R) = min mean_i V(M x_i + b, y_i)  over  ||M|| <= R and all b,

a convex, decreasing function. The minimiser of the mean loss plus tau ||M||^2 attains v at
R = ||M||, and there v'(R) = -2 tau R. At any M, be it optimal or not, with the best b for it,
convexity of the loss in (M, b) gives a line below v:

    v(R) >= loss - <G, M> - ||G|| R,      G the gradient of the loss in M.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._glm_losses import GLM_LOSSES
from sklearn_deeplinear.theory._newton_steps import ROUNDING, Line, solver

# Newton's method: iterations, and the predicted decrease, relative to the objective, after which
# a last step leaves an error that is rounding, as it squares the error.
_MAX_ITERATIONS, _LAST_STEP = 200, 1e-13

# From point to point of the path tau falls by this factor at most: across larger gaps Newton's
# method may have to find its way through many kinks of the slope of the loss.
_FARTHEST = 1e3

# Share of a step below which it led much too far.
_TOO_FAR = 1e-8

# Newton's steps of outputs that are smaller, relative to these and to one, which is their unit,
# show that a minimum is attained.
_STANDING = 1e-6


@dataclass(frozen=True, eq=False)
class Point:
    """A map on the ridge path, in the units and coordinates of its path.

    Attributes
    ----------
    tau : float
        Ridge penalty, infinity for the zero map.
    theta : ndarray of shape (k + 1,)
        Coordinates of the map, and the intercept.
    loss, radius : float
        Mean loss and norm of the map.
    level, slope : float
        ``v(R) >= level - slope R`` for all R >= 0.
    change : ndarray of shape (k + 1,)
        Derivative of theta in log tau.
    elasticity : float
        Derivative of log radius in log tau, between -1 and 0.
    """

    tau: float
    theta: np.ndarray
    loss: float
    radius: float
    level: float
    slope: float
    change: np.ndarray
    elasticity: float


class RidgePath:
    """Points of the ridge path of one data set: they serve all depths and decays.

    Parameters
    ----------
    X : ndarray of shape (n_samples, d), float64
        Inputs, finite.
    y : ndarray of shape (n_samples,), float64
        Targets, finite; -1 or 1 for losses of classes.
    loss : str
        A key of `GLM_LOSSES`.
    sample_weight : ndarray of shape (n_samples,), default=None
        Not negative, with a positive sum.
    fit_intercept : bool, default=True
        Whether the model has an intercept.
    delta : float, default=1.35
        Threshold of "huber".

    Attributes
    ----------
    points : list of Point
        Those known so far, from the zero map on, by decreasing tau.
    table : ndarray of shape (4, n_points)
        Their radius, loss, level and slope.
    floor : float
        Known lower bound of all losses.
    unit_x, unit_y : float
        Norms of maps are measured in unit_y / unit_x, losses in unit_y^2.
    """

    def __init__(self, X, y, loss, sample_weight=None, fit_intercept=True, delta=1.35):
        self.loss, self.fit_intercept = GLM_LOSSES[loss], fit_intercept
        w = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
        seen = w > 0
        X, y, w = X[seen], y[seen], w[seen] / w.sum()
        self.mean_x = _mean(X, w) if fit_intercept else np.zeros(X.shape[1])
        self.n_inputs = X.shape[1]
        self._reduce_inputs(_centred(X, w, self.mean_x) if fit_intercept else X, w)
        self.mean_y, self.unit_y = 0.0, 1.0
        if not self.loss.of_classes:
            self.mean_y = float(_mean(y, w)) if fit_intercept else 0.0
            y = y - self.mean_y
            size = np.abs(y).max()
            self.unit_y = float(size * np.sqrt(w @ (y / size) ** 2)) if size > 0 else 1.0
        self.y, self.w, self.delta = y / self.unit_y, w, delta / self.unit_y
        self.points, self._keys, self.table = [], [], np.empty((4, 0))
        self.floor, self._unpenalised = 0.0, None
        self._insert(0, self._zero())

    def _reduce_inputs(self, X, w):
        """Coordinates Z (n, k) of the rows along the principal axes, of size one."""
        size = np.abs(X).max() or 1.0
        rows = np.sqrt(w)[:, None] * (X / size)
        if len(rows) > X.shape[1]:
            rows = np.linalg.qr(rows, mode="r")
        _, s, Vt = svd(rows, full_matrices=False)
        kept = s > max(X.shape) * np.finfo(float).eps * s[0]
        self.axes = Vt[kept].T
        self.unit_x = float(size * s[0]) if kept.any() else 1.0
        ones = np.full((len(X), 1), float(self.fit_intercept))
        self.Z = np.hstack([(X / self.unit_x) @ self.axes, ones])

    def at(self, tau):
        """The point of penalty `tau`, reached along the path unless it is known."""
        before = self.points[bisect_left(self._keys, -np.log(tau)) - 1]
        reached = min(before.tau, 1.0)
        while reached > _FARTHEST * tau:
            reached /= _FARTHEST
            self._add(reached)
        return self._add(tau)

    def _add(self, tau):
        place = bisect_left(self._keys, -np.log(tau))
        if place == len(self._keys) or self._keys[place] != -np.log(tau):
            self._insert(place, self._solve(tau, self._start(tau, place)))
        return self.points[place]

    def _insert(self, place, point):
        self._keys.insert(place, -np.log(point.tau))
        self.points.insert(place, point)
        row = [point.radius, point.loss, point.level, point.slope]
        self.table = np.insert(self.table, place, row, axis=1)

    def coef(self, point):
        """Map (1, d) and intercept (1,) of a point in the units of the data."""
        scale = self.unit_y / self.unit_x
        coef = scale * (self.axes @ point.theta[:-1])[None]
        return coef, self.unit_y * point.theta[-1:] + self.mean_y - coef @ self.mean_x

    def log_decay(self, log_g, depth):
        """Logarithm of the decay g in the units of the path, from that in those of the data."""
        log_y = np.log(self.unit_y)
        return log_g + 2 / depth * (log_y - np.log(self.unit_x)) - 2 * log_y

    def unpenalised(self):
        """A point of vanishing penalty, and whether it attains the least loss.

        Pieces of parabolas that bound a function from below have a minimum (Frank and Wolfe, 1956),
        though perhaps in flat directions along which Newton's steps say nothing. Of other losses
        these vanish where there is one; else each lengthens the map as the one before.
        """
        if self._unpenalised is None:
            self.at(_FARTHEST**-3)
            theta, solve = self._newton(self.Z, self.points[-1].theta, 0.0)
            f = self.Z @ theta
            gradient = self.Z.T @ (self.w * self.loss.slope(f, self.y, self.delta))
            step = solve(gradient)
            if self.loss.piecewise_quadratic:
                attained = gradient @ step <= _LAST_STEP * self.points[0].loss
            else:
                attained = np.abs(self.Z @ step).max() <= _STANDING * max(np.abs(f).max(), 1.0)
            point = self._point(0.0, theta, np.zeros_like(theta))
            if self.points[0].loss <= (1 + ROUNDING) * point.loss:  # no map helps
                point, attained = self.points[0], True
            self._unpenalised = point, bool(attained)
        return self._unpenalised

    def raised_floor(self):
        """Whether the least loss, if it is attained, makes a new lower bound of all losses."""
        point, attained = self.unpenalised()
        floor, self.floor = self.floor, (1 - ROUNDING) * point.loss if attained else 0.0
        return self.floor > floor

    def separates(self, point):
        """Whether the map of a point is on the right side for all samples."""
        return self.loss.of_classes and bool(np.all(self.y * (self.Z @ point.theta) > 0))

    def _start(self, tau, place):
        """Where the neighbour of larger or smaller tau leads to, whichever is better."""
        starts = [self.points[place - 1].theta]
        for point in self.points[max(place - 1, 0) : place + 1]:
            if np.isfinite(point.tau):
                starts.append(point.theta)
                starts.append(point.theta + np.log(tau / point.tau) * point.change)
        values = [self._value(self.Z @ theta, theta, tau) for theta in starts]
        return starts[int(np.nanargmin(values))]

    def _value(self, f, theta, tau):
        with np.errstate(over="ignore"):
            value = self.w @ self.loss.value(f, self.y, self.delta)
        return float(value + (tau * theta[:-1] @ theta[:-1] if np.isfinite(tau) else 0.0))

    def _zero(self):
        """The zero map with the best intercept."""
        k = self.Z.shape[1] - 1
        theta = self._newton(self.Z[:, k:], np.zeros(1), 0.0)[0] if self.fit_intercept else [0.0]
        return self._point(np.inf, np.append(np.zeros(k), theta), np.zeros(k + 1))

    def _solve(self, tau, theta):
        theta, factor = self._newton(self.Z, theta, tau)
        right = np.append(2 * tau * theta[:-1], 0.0)
        return self._point(tau, theta, -factor(right))

    def _point(self, tau, theta, change):
        theta, balanced = self._balanced(theta)
        f = self.Z @ theta
        G = self.Z[:, :-1].T @ (self.w * self.loss.slope(f, self.y, self.delta))
        M = theta[:-1]
        loss, radius, slope = self._value(f, theta, 0.0), np.linalg.norm(M), np.linalg.norm(G)
        level = loss - G @ M - ROUNDING * (loss + slope * radius)
        if not balanced:
            level, slope = 0.0, 0.0  # as losses are positive, this is true of any point
        elasticity = M @ change[:-1] / radius**2 if radius > 0 else -1.0
        return Point(
            tau, theta, loss, float(radius), float(level), float(slope), change, elasticity
        )

    def _balanced(self, theta):
        """Move the intercept to where the mean slope is zero, and tell whether it is, to rounding.

        The line of a point is a bound only if no other intercept is better for its map.
        """
        if not self.fit_intercept:
            return theta, True
        f, shift, last = self.Z @ theta, 0.0, np.inf
        for _ in range(_MAX_ITERATIONS):
            at = (f + shift, self.y, self.delta)
            a, D = self.w * self.loss.slope(*at), self.w * self.loss.curvature(*at)
            rounding = ROUNDING * (np.abs(a).sum() + D @ (np.abs(f + shift) + 1))
            excess = float(a.sum())
            if abs(excess) <= rounding:
                return np.append(theta[:-1], theta[-1] + shift), True
            curvature = float(D.sum())
            # Newton's step while it helps, else one that leads nearer without fail.
            if not (curvature > 0 and abs(excess) <= last / 2):
                curvature = float(self.w @ self.loss.majorant(*at))
            shift, last = shift - excess / curvature, abs(excess)
        return np.append(theta[:-1], theta[-1] + shift), False

    def _newton(self, Z, theta, tau):
        """Minimise the mean loss plus tau ||theta||^2, less the last of theta, the intercept.

        Where Newton's step leads much too far, as where the curvature of the loss is zero, the
        parabolas that lie above the loss give the direction.
        """
        ridge = np.append(np.full(Z.shape[1] - 1, 2 * tau), 0.0)
        for _ in range(_MAX_ITERATIONS):
            f = Z @ theta
            gradient = Z.T @ (self.w * self.loss.slope(f, self.y, self.delta)) + ridge * theta
            value = self._value(f, theta, tau)
            for curvature in (self.loss.curvature, self.loss.majorant):
                D = self.w * curvature(f, self.y, self.delta)
                solve = solver((Z.T * D) @ Z + np.diag(ridge))
                step = -solve(gradient)
                decrease = float(-gradient @ step)
                line = Line(self, f, Z @ step, theta, step, ridge)
                # Along directions that are all but flat the last step may lead astray, too.
                last = not decrease > _LAST_STEP * value
                if last and line.value_at(1.0) <= value * (1 + ROUNDING):
                    return theta + step, solve
                t = line.length(decrease, value)
                if t > _TOO_FAR:
                    break
            theta = theta + t * step
            if np.abs(t * line.change).max() <= 2 * np.finfo(float).eps * np.abs(f).max():
                break
        return theta, solve


def _mean(X, w):
    """Weighted mean, the mean of what is left taken out once more."""
    mean = w @ X
    return mean + w @ (X - mean)


def _centred(X, w, mean):
    """Rows less their mean, with columns that are constant up to rounding set to zero."""
    X = X - mean
    X[:, np.abs(X).max(axis=0) <= 4 * np.finfo(float).eps * np.abs(mean)] = 0.0
    return X
