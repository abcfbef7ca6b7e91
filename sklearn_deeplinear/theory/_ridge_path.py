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
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sklearn_deeplinear.theory._glm_losses import GLM_LOSSES

# Newton's method: iterations, the share of the predicted decrease that is asked for, and the
# predicted decrease, relative to the objective, at which a last step leaves an error that is
# rounding, as it squares the error.
_MAX_ITERATIONS, _ARMIJO, _LAST_STEP = 200, 1e-4, 1e-13

# Newton's steps of outputs that are smaller, relative to these, show that a minimum is attained.
_STANDING = 1e-6

# Relative error of sums of rounded terms that bounds allow for.
_ROUNDING = 16 * np.finfo(float).eps


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
        self._points = [self._zero()]
        self._keys = [-np.inf]

    def _reduce_inputs(self, X, w):
        """Coordinates Z (n, k) of the rows along the principal axes, of size one."""
        size = np.abs(X).max() or 1.0
        rows = np.sqrt(w)[:, None] * (X / size)
        if len(rows) > X.shape[1]:
            rows = np.linalg.qr(rows, mode="r")
        _, s, Vt = np.linalg.svd(rows, full_matrices=False)
        kept = s > max(X.shape) * np.finfo(float).eps * s[0]
        self.axes = Vt[kept].T
        self.unit_x = float(size * s[0]) if kept.any() else 1.0
        ones = np.full((len(X), 1), float(self.fit_intercept))
        self.Z = np.hstack([(X / self.unit_x) @ self.axes, ones])

    @property
    def points(self):
        """Points known so far, from zero on, by decreasing tau."""
        return self._points

    def at(self, tau):
        """The point of penalty `tau`, solved for unless it is known."""
        place = bisect_left(self._keys, -np.log(tau))
        if place < len(self._keys) and self._keys[place] == -np.log(tau):
            return self._points[place]
        point = self._solve(tau, self._start(tau, place))
        self._keys.insert(place, -np.log(tau))
        self._points.insert(place, point)
        return point

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

        Where it does Newton's steps vanish; else each lengthens the map as the one before.
        """
        point = self._points[-1]
        theta, solve = self._newton(self.Z, point.theta, 0.0)
        f = self.Z @ theta
        step = solve(self.Z.T @ (self.w * self.loss.slope(f, self.y, self.delta)))
        size = np.abs(f).max(initial=0.0)
        attained = np.abs(self.Z @ step).max() <= _STANDING * max(size, 1e-300)
        return self._point(0.0, theta, np.zeros_like(theta)), bool(attained)

    def separates(self, point):
        """Whether the map of a point is on the right side for all samples."""
        return self.loss.of_classes and bool(np.all(self.y * (self.Z @ point.theta) > 0))

    def _start(self, tau, place):
        """Where the neighbour of larger or smaller tau leads to, whichever is better."""
        starts = [self._points[place - 1].theta]
        for point in self._points[max(place - 1, 0) : place + 1]:
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
        f = self.Z @ theta
        G = self.Z[:, :-1].T @ (self.w * self.loss.slope(f, self.y, self.delta))
        M = theta[:-1]
        loss, radius, slope = self._value(f, theta, 0.0), np.linalg.norm(M), np.linalg.norm(G)
        level = loss - G @ M - _ROUNDING * (loss + slope * radius)
        elasticity = M @ change[:-1] / radius**2 if radius > 0 else -1.0
        return Point(
            tau, theta, loss, float(radius), float(level), float(slope), change, elasticity
        )

    def _newton(self, Z, theta, tau):
        """Minimise the mean loss plus tau ||theta||^2, less the last of theta, the intercept."""
        ridge = np.full(Z.shape[1], 2 * tau)
        ridge[-1] = 0.0
        f = Z @ theta
        value = self._value(f, theta, tau)
        for _ in range(_MAX_ITERATIONS):
            gradient = Z.T @ (self.w * self.loss.slope(f, self.y, self.delta)) + ridge * theta
            D = self.w * self.loss.curvature(f, self.y, self.delta)
            solve = _solver((Z.T * D) @ Z + np.diag(ridge))
            step = -solve(gradient)
            decrease = float(-gradient @ step)
            if not decrease > _LAST_STEP * value:
                return theta + step, solve
            t, change = 1.0, Z @ step
            while t > 1e-10:
                new, new_f = theta + t * step, f + t * change
                new_value = self._value(new_f, new, tau)
                if new_value <= value - _ARMIJO * t * decrease:
                    break
                t /= 2
            else:
                break
            theta, f, value = new, new_f, new_value
        return theta, solve


def _solver(H):
    """Solve with a positive semi-definite matrix, after scaling its diagonal to one."""
    diagonal = np.diag(H)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = H * scale[:, None] * scale
    damping = np.finfo(float).eps
    while True:
        try:
            factor = cho_factor(scaled + damping * np.eye(len(H)), lower=True, check_finite=False)
        except LinAlgError:
            damping *= 10
            continue
        return lambda right: scale * cho_solve(factor, scale * right, check_finite=False)


def _mean(X, w):
    """Weighted mean, the mean of what is left taken out once more."""
    mean = w @ X
    return mean + w @ (X - mean)


def _centred(X, w, mean):
    """Rows less their mean, with columns that are constant up to rounding set to zero."""
    X = X - mean
    X[:, np.abs(X).max(axis=0) <= 4 * np.finfo(float).eps * np.abs(mean)] = 0.0
    return X
