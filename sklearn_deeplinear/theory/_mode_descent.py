"""Descent of the Schatten problem in its modes: strengths, and rotations of output directions.

With W = U diag(w) and D = L - 1 the objective of :mod:`._schatten` is a sum over modes,

    F = sum_j f_j,    f_j = sum_i y_ij^2 / (sigma_i^2 w_j^(2 D) + g) + D w_j^2,    y = Y U.

In these coordinates the Hessian is nearly diagonal. Along w_j it is exactly so, and turning
modes j and k by an angle t alone changes F by ``(b sin 2t) / 2 - (h cos 2t) / 4`` plus a constant,
with slope b and curvature h at t = 0 that two products of matrices give for all pairs at once.
L-BFGS with this diagonal needs no eigenvalue problem and, but for large decays, fewer steps than
in W: paths of digits (31 decays, 32 outputs) take an eighth to a third of the time. Values tell
points apart to the root of the rounding error; Newton steps lead from there to rounding.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._local_minimum import newton
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Pairs of steps and gradients that are remembered, and steps at most.
_MEMORY, _MAX_STEPS = 20, 1000

# Curvatures along w below this are taken to be as large, and those of turns below this share of
# the largest: between modes that are both nearly zero there is nothing to turn.
_LEAST_CURVATURE, _NO_TURN = 1e-3, 1e-10

# The largest angle of a step, and of what is gained to first order the least share to accept.
_LARGEST_ANGLE, _SHARE = 0.3, 1e-4

# Steps that gain little one after the other, after which a descent has ended; shortest step.
_ENOUGH, _SHORTEST = 2, 1e-6

# Relative gain of a step below which Newton's method takes over, whose systems of equations need
# not be solved for more accurately.
_SETTLED, _INEXACT = 1e-11, 1e-3

# Modes this far below the largest have died out, and relative decrease that is not rounding.
_DEAD, _LOWER = 1e-6, 1e-9


class _Point(NamedTuple):
    U: np.ndarray
    w: np.ndarray
    y: np.ndarray
    kept: np.ndarray
    value: float


def descend_modes(problem, W, ftol):
    """Where descent from W (p, r) ends whose steps gain less than `ftol`, relatively.

    Modes that are zero stay so, but their directions turn with those of the others.
    """
    at = _descend(problem, W, ftol)
    return at.U * at.w


def lower_and_lower(problem, W, ftol):
    """Yield where descent from W (p, r) ends, and lower ends of descents with fewer modes.

    As the decay grows modes die, but each alone is a local minimum for a while after its death
    would gain. So the weakest of an end is taken away, and descent goes on without it, while that
    leads to something lower.
    """
    lowest = np.inf
    while True:
        W = alive(descend_modes(problem, W, ftol))
        value = problem.value(W)
        if not value < lowest * (1 - _LOWER):
            return
        yield W
        if W.shape[1] < 2:
            return
        lowest, weakest = value, np.argmin(mode_gains(problem, W))
        W = np.delete(W, weakest, axis=1)


def mode_gains(problem, W):
    """How much each mode, a column of W (p, r) that is not zero, lowers F by not being zero."""
    w = np.linalg.norm(W, axis=0)
    at = _point(problem, W / w, w)
    lost = np.sum(at.y**2 * (1 / problem.g - at.kept), axis=0)
    return lost - (problem.depth - 1) * w**2


def settled_modes(problem, W):
    """The stationary point, to rounding, that descent from W (p, r) reaches.

    Newton steps from the end of a descent on, in units of the diagonal curvature there.
    """
    at = _descend(problem, W, _SETTLED)
    unit = 1 / np.sqrt(_slope(problem, at)[1])

    def slope(x):
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step is not taken
            return unit * _slope(problem, _moved(problem, at, unit * x))[0]

    at = _moved(problem, at, unit * newton(slope, np.zeros_like(unit), _INEXACT))
    return alive(at.U * at.w)


def alive(W):
    """W without modes that died out in a descent."""
    U, s, _ = leading_modes(W, rtol=_DEAD)
    return U * s


def _descend(problem, W, ftol):
    U, root, _ = svd(W)
    w = np.zeros(len(W))
    w[: len(root)] = root
    at, memory, small = _point(problem, U, w), _QuasiNewton(len(W)), 0
    for _ in range(_MAX_STEPS):
        slope, curvature = _slope(problem, at)
        step = memory.step(slope, curvature)
        if not step @ slope < 0:
            memory.forget()
            step = memory.step(slope, curvature)
        new, step = _line_search(problem, at, step, slope)
        if new is None and not memory.pairs:
            break
        if new is None:
            memory.forget()
            continue
        memory.moved(step, slope)
        gained, at = at.value - new.value, new
        small = small + 1 if gained <= ftol * at.value else 0
        if small == _ENOUGH:
            break
    return at


def _point(problem, U, w):
    y = problem.Y @ U
    kept = 1 / (problem.sigma[:, None] ** 2 * w ** (2 * (problem.depth - 1)) + problem.g)
    value = float(np.sum(y**2 * kept) + (problem.depth - 1) * np.sum(w**2))
    return _Point(U, w, y, kept, value)


def _slope(problem, at):
    """Gradient in w and in the angles of all pairs, and the positive diagonal curvature."""
    D, w, pairs = problem.depth - 1, at.w, np.triu_indices(len(at.w), 1)
    K = at.y * at.kept
    fitted = (problem.sigma[:, None] * K) ** 2
    first = np.sum(fitted, axis=0)
    second = np.sum(fitted * at.kept * problem.sigma[:, None] ** 2, axis=0)
    along = 2 * D * w * (1 - first * w ** (2 * D - 2))
    bent = 2 * D - first * 2 * D * (2 * D - 1) * w ** (2 * D - 2)
    bent += 2 * second * (2 * D * w ** (2 * D - 1)) ** 2
    G, P = at.y.T @ K, (at.y**2).T @ at.kept
    turned = 2 * (G[pairs] - G.T[pairs])
    own = np.diag(P)
    h = np.abs(2 * (P[pairs] + P.T[pairs] - own[pairs[0]] - own[pairs[1]]))
    floor = _NO_TURN * h.max(initial=np.finfo(float).tiny)
    # The exact angle of one turn alone is atan(2 b / h) / 2.
    h = np.hypot(h, 2 * np.abs(turned)) + floor
    bent = np.maximum(np.abs(bent), _LEAST_CURVATURE)
    return np.concatenate([along, turned]), np.concatenate([bent, h])


class _QuasiNewton:
    """Steps of L-BFGS: curvatures along the last ones are known, and the diagonal of others."""

    def __init__(self, n_modes):
        self.n_modes = n_modes
        self.forget()

    def forget(self):
        self.pairs, self._last = deque(maxlen=_MEMORY), None

    def moved(self, step, slope):
        """A step was taken where the slope was this."""
        self._last = step, slope

    def step(self, slope, curvature):
        """The step from where the slope and the diagonal curvature are these."""
        if self._last is not None:
            step, changed = self._last[0], slope - self._last[1]
            sizes = np.linalg.norm(step) * np.linalg.norm(changed)
            if step @ changed > np.finfo(float).eps * sizes:
                self.pairs.append((step, changed, 1 / (step @ changed)))
            self._last = None
        with np.errstate(over="ignore", invalid="ignore"):
            step = -self._solved(slope, curvature)
        if not np.isfinite(step).all():  # remembered along turns that have no curvature any more
            self.forget()
            step = -slope / curvature
        turns = step[self.n_modes :]
        np.clip(turns, -_LARGEST_ANGLE, _LARGEST_ANGLE, out=turns)
        return step

    def _solved(self, slope, curvature):
        q, shares = slope.copy(), []
        for step, changed, rho in reversed(self.pairs):
            shares.append(rho * (step @ q))
            q -= shares[-1] * changed
        q /= curvature
        for (step, changed, rho), share in zip(self.pairs, reversed(shares), strict=True):
            q += (share - rho * (changed @ q)) * step
        return q


def _moved(problem, at, step):
    """The point after a step in w and in the angles of all pairs."""
    p = len(at.w)
    half = np.zeros((p, p))
    half[np.triu_indices(p, 1)] = step[p:] / 2
    half -= half.T
    turn = np.linalg.solve(np.eye(p) - half, np.eye(p) + half)  # orthogonal
    with np.errstate(over="ignore", invalid="ignore"):  # too long a step gains nothing
        return _point(problem, at.U @ turn, at.w + step[:p])


def _line_search(problem, at, step, slope):
    """The first point along the step that gains enough, and the step; None if there is none."""
    gain, t = step @ slope, 1.0
    while t >= _SHORTEST:
        new = _moved(problem, at, t * step)
        if new.value <= at.value + _SHARE * t * gain and new.value < at.value:
            return new, t * step
        t /= 4
    return None, step
