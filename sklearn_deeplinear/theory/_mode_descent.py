"""Descent of the Schatten problem in its modes: strengths, and rotations of output directions.

With W = U diag(w) and D = L - 1 the objective of :mod:`._schatten` is a sum over modes,

    F = sum_j f_j,    f_j = sum_i y_ij^2 / (sigma_i^2 w_j^(2 D) + g) + D w_j^2,    y = Y U.

In these coordinates the Hessian is nearly diagonal. Along w_j it is exactly so, and turning
modes j and k by an angle t alone changes F by ``(b sin 2t) / 2 - (h cos 2t) / 4`` plus a constant,
with slope b and curvature h at t = 0 that two products of matrices give for all pairs at once.
L-BFGS with this diagonal needs no eigenvalue problem and, but for large decays, fewer steps than
in W: paths of digits (31 decays, 32 outputs) take an eighth to a third of the time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

# Pairs of steps and gradients that are remembered, and steps at most.
_MEMORY, _MAX_STEPS = 20, 1000

# Curvatures along w below this are taken to be as large, and those of turns below this share of
# the largest: between modes that are both nearly zero there is nothing to turn.
_LEAST_CURVATURE, _NO_TURN = 1e-3, 1e-10

# The largest angle of a step, and of what is gained to first order the least share to accept.
_LARGEST_ANGLE, _SHARE = 0.3, 1e-4

# Steps that gain little one after the other, after which a descent has ended; shortest step.
_ENOUGH, _SHORTEST = 2, 1e-6


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
    p = len(W)
    U, root, _ = np.linalg.svd(W)
    w = np.zeros(p)
    w[: len(root)] = root
    pairs = np.triu_indices(p, 1)
    at, memory, last, small = _point(problem, U, w), deque(maxlen=_MEMORY), None, 0
    for _ in range(_MAX_STEPS):
        slope, curvature = _slope(problem, at, pairs)
        if last is not None:
            step, changed = last[0], slope - last[1]
            sizes = np.linalg.norm(step) * np.linalg.norm(changed)
            if step @ changed > np.finfo(float).eps * sizes:
                memory.append((step, changed, 1 / (step @ changed)))
        step = _clipped(-_two_loops(memory, slope, curvature), p)
        if not step @ slope < 0:
            memory.clear()
            step = _clipped(-slope / curvature, p)
        new, length = _line_search(problem, at, step, step @ slope, pairs)
        if new is None and not memory:
            break
        if new is None:
            memory.clear()
            last = None
            continue
        gained, at, last = at.value - new.value, new, (length * step, slope)
        small = small + 1 if gained <= ftol * at.value else 0
        if small == _ENOUGH:
            break
    return at.U * at.w


def mode_gains(problem, W):
    """How much each mode, a column of W (p, r) that is not zero, lowers F by not being zero."""
    w = np.linalg.norm(W, axis=0)
    at = _point(problem, W / w, w)
    lost = np.sum(at.y**2 * (1 / problem.g - at.kept), axis=0)
    return lost - (problem.depth - 1) * w**2


def _point(problem, U, w):
    y = problem.Y @ U
    kept = 1 / (problem.sigma[:, None] ** 2 * w ** (2 * (problem.depth - 1)) + problem.g)
    value = float(np.sum(y**2 * kept) + (problem.depth - 1) * np.sum(w**2))
    return _Point(U, w, y, kept, value)


def _slope(problem, at, pairs):
    """Gradient in w and in the angles of all pairs, and the positive diagonal curvature."""
    D, w = problem.depth - 1, at.w
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


def _two_loops(memory, slope, curvature):
    q, shares = slope.copy(), []
    for step, changed, rho in reversed(memory):
        shares.append(rho * (step @ q))
        q -= shares[-1] * changed
    q /= curvature
    for (step, changed, rho), share in zip(memory, reversed(shares), strict=True):
        q += (share - rho * (changed @ q)) * step
    return q


def _clipped(step, p):
    step[p:] = np.clip(step[p:], -_LARGEST_ANGLE, _LARGEST_ANGLE)
    return step


def _line_search(problem, at, step, slope, pairs):
    """The first point along the step that gains enough, and its length; None if there is none."""
    p, t = len(at.w), 1.0
    while t >= _SHORTEST:
        half = np.zeros((p, p))
        half[pairs] = t / 2 * step[p:]
        half -= half.T
        turn = np.linalg.solve(np.eye(p) - half, np.eye(p) + half)  # orthogonal
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step gains nothing
            new = _point(problem, at.U @ turn, at.w + t * step[:p])
        if new.value <= at.value + _SHARE * t * slope and new.value < at.value:
            return new, t
        t /= 4
    return None, 0.0
