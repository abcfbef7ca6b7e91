"""When a matrix lies below what modes cost, at all strengths, and by how much it does not.

The first term of C is convex in tau, with a tangent below it, and the second is concave, with
a chord below it. Between two strengths C is therefore at least an affine function of tau,
whose least eigenvalue is concave and so least at one of the ends: finitely many eigenvalues
decide about all strengths.

With many outputs, most of which touch the costs somewhere, such intervals have to be as short as
the root of the accuracy. Parabolas in tau (:mod:`._parabolas`) take longer ones, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._parabolas import Parabolas

# Intervals of strengths are halved until their bound is this near the least eigenvalue, relative
# to the size of the matrix and, if it is negative, to itself.
_ACCURACY, _SHARE = 1e-13, 1e-4
_MAX_ROUNDS, _MAX_INTERVALS = 60, 4000

# Length of the first intervals, in logarithms of the strength.
_LENGTH = 0.5
_MOST_INTERVALS = 400

# Strengths that are kept as those that matter; others in the same first interval do not.
_MAX_POINTS = 12

# Outputs beyond which parabolas are faster: at 20 they are slower, at 50 they take a twelfth.
_MANY = 24

# Of them: accuracy, relative to the matrix, and points at which to give up.
_MANY_ACCURACY, _MAX_POINTS_OF_MANY = 1e-12, 10_000


@dataclass(frozen=True, eq=False)
class Violation:
    """Where a matrix is not below the costs.

    Attributes
    ----------
    size : float
        What has to be taken off the matrix to be below the costs; proven.
    points : ndarray of shape (n,)
        Local minima over x of the least eigenvalue, those that nearly touch or are negative.
    """

    size: float
    points: np.ndarray


def violation(costs, Lambda, box):
    """By how much Lambda exceeds the costs somewhere in a box, as :class:`Violation`."""
    size = np.linalg.norm(Lambda, 2)
    lower, upper = _first_intervals(costs, box, np.linalg.eigvalsh(Lambda)[-1])
    if costs.n_modes > _MANY:
        return _by_parabolas(costs, Lambda, size, lower, upper)
    accuracy = _ACCURACY * max(size, np.finfo(float).tiny)
    new, closed = np.append(lower, upper[-1]), np.inf
    nodes, values = np.empty(0), np.empty(0)
    for _ in range(_MAX_ROUNDS):
        nodes = np.append(nodes, new)
        values = np.append(values, np.linalg.eigvalsh(costs.at(new) - Lambda)[:, 0])
        bound = _least_between(costs, Lambda, size, lower, upper)
        lowest = min(values.min(), 0.0)
        open_ = bound < lowest - max(accuracy, -_SHARE * lowest)
        closed = min(closed, bound[~open_].min(initial=np.inf))
        lower, upper, bound = lower[open_], upper[open_], bound[open_]
        if not 0 < len(bound) <= _MAX_INTERVALS:
            break
        lower, upper = _halved(lower, upper)
        new = lower[1::2]
    least = min(closed, bound.min(initial=np.inf))
    return Violation(max(0.0, -least), _minima(nodes, values))


def _by_parabolas(costs, Lambda, size, lower, upper):
    """The same for many outputs."""
    parabolas = Parabolas(costs, Lambda)
    accuracy = _MANY_ACCURACY * size + parabolas.least_tolerance
    ends = np.append(lower, upper[-1])
    nodes, values = list(ends), list(np.linalg.eigvalsh(costs.at(ends) - Lambda)[:, 0])
    lowest = min(0.0, *values)
    intervals = list(zip(lower, upper, strict=True))
    while intervals and len(nodes) < _MAX_POINTS_OF_MANY:
        low, high = intervals.pop()
        tolerance = accuracy - (1 + _SHARE) * lowest
        if np.isneginf(low):
            one = np.array([low]), np.array([high])
            below = _least_between(costs, Lambda, size, *one)[0] >= -tolerance
        else:
            x, value, below = parabolas.below(low, high, tolerance)
            lowest = min(lowest, value)
            nodes.append(x)
            values.append(value)
        if not below:
            intervals += zip(*_halved(np.array([low]), np.array([high])), strict=True)
    excess = accuracy - (1 + _SHARE) * lowest
    if intervals:
        lower, upper = np.transpose(intervals)
        excess = max(excess, -_least_between(costs, Lambda, size, lower, upper).min())
    return Violation(float(excess), _minima(np.array(nodes), np.array(values)))


def _first_intervals(costs, box, top):
    """Intervals that cover the strengths of a box which can matter at all."""
    if np.isneginf(box.upper):
        return np.array([-np.inf]), np.array([-np.inf])
    weakest = costs.weakest()
    # Beyond the strength at which the penalty alone exceeds Lambda nothing can be violated.
    last = min(box.upper, max(costs.strongest(top), weakest, box.lower) + 1e-9)
    first = max(box.lower, min(weakest, last))
    n = int(np.clip(np.ceil((last - first) / _LENGTH), 1, _MOST_INTERVALS))
    ends = np.linspace(first, last, n + 1)
    if box.lower < first:
        ends = np.concatenate([[box.lower], ends])
    return ends[:-1], ends[1:]


def _least_between(costs, Lambda, size, lower, upper):
    """Lower bounds on the eigenvalues of C - Lambda in intervals, less what rounding may do."""
    E = costs.below(lower, upper) - Lambda
    values = np.linalg.eigvalsh(E)
    largest = np.abs(values).max(axis=-1) + size
    rounding = 4 * costs.n_modes * np.finfo(float).eps * largest
    return (values[..., 0] - rounding).min(axis=0)


def _halved(lower, upper):
    """Both halves of intervals of x, alternating; of [-inf, x] a unit is cut off."""
    middle = np.where(np.isneginf(lower), upper - 1.0, (lower + upper) / 2)
    return np.stack([lower, middle], 1).ravel(), np.stack([middle, upper], 1).ravel()


def _lowest(x, values):
    """The lowest of the points and those of other places, at most `_MAX_POINTS`."""
    found = np.empty(0)
    for point in x[np.argsort(values)]:
        near = np.abs(found - point) < _LENGTH if np.isfinite(point) else found == point
        if not near.any():
            found = np.append(found, point)
        if len(found) == _MAX_POINTS:
            break
    return np.sort(found)


def _minima(x, values):
    """Points at which `values` is least locally, one of each place."""
    order = np.argsort(x)
    x, values = x[order], np.concatenate([[np.inf], values[order], [np.inf]])
    least = (values[1:-1] <= values[:-2]) & (values[1:-1] < values[2:])
    return _lowest(x[least], values[1:-1][least])
