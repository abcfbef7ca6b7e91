"""What the modes of a map cost, one by one, as matrices; and when a matrix lies below them all.

A map of p outputs has orthonormal output directions v_1, ..., v_p, its left singular vectors.
Rotated to them the outputs are p networks of one output each, so that excess loss plus least
penalty is

    sum_k v_k^T C(tau_k) v_k,    C(tau) = Y^T diag(1 / (1 + sigma_i^2 tau)) Y + D kappa tau^(1/D) I

once the first layers are eliminated, with D = L - 1, kappa = g^(L/D), and the strength
tau >= 0 of a mode, (its singular value)^(2 D / L) / g where the layers are balanced. For any
symmetric matrix Lambda with Lambda <= C(tau) at all tau >= 0 the objective of every map is
therefore at least tr Lambda, for the v_k are an orthonormal basis. If some modes are known to
have their strength in an interval, Lambda + mu I <= C(tau) is needed on that interval only,
and each of these modes adds its mu to the bound.

The first term of C is convex in tau, with a tangent below it, and the second is concave, with
a chord below it. Between two strengths C is therefore at least an affine function of tau,
whose least eigenvalue is concave and so least at one of the ends: finitely many eigenvalues
decide about all strengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

# Intervals of strengths are halved until their bound is this near the least eigenvalue, relative
# to the size of the matrix and, if it is negative, to itself.
_ACCURACY, _SHARE = 1e-13, 1e-4
_MAX_ROUNDS, _MAX_INTERVALS = 60, 4000

# Length of the first intervals, in logarithms of the strength.
_LENGTH = 0.5
_MOST_INTERVALS = 400

# Strengths that are kept as those that matter; others in the same first interval do not.
_MAX_POINTS = 12

# Exponentials are cut off here, before they overflow.
_LARGEST = 700.0


@dataclass(frozen=True, eq=False)
class ModeCosts:
    """C as a function of x = log tau, from -inf, in units where sigma_1 = ||Y||_F = 1.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values of the input factor, positive.
    Y : ndarray of shape (k, p)
        Targets.
    log_g : float
        Logarithm of the geometric mean of the decays.
    depth : int
        Number of weight matrices L, at least 2.
    units : float, default=0.0
        Sum of the logarithms, taken positive, of the units that were divided out: `log_g` is
        only as accurate as they are.
    """

    sigma: np.ndarray
    Y: np.ndarray
    log_g: float
    depth: int
    units: float = 0.0

    @property
    def n_modes(self):
        """Number p of modes."""
        return self.Y.shape[1]

    @cached_property
    def _log_a(self):
        return 2 * np.log(self.sigma)

    @cached_property
    def _outer(self):
        return self.Y[:, :, None] * self.Y[:, None, :]

    @cached_property
    def log_scale(self):
        """Logarithm of D kappa."""
        D = self.depth - 1
        return np.log(D) + self.depth / D * self.log_g

    def penalty(self, x):
        """D kappa tau^(1/D) at x = log tau."""
        return np.exp(np.minimum(self.log_scale + x / (self.depth - 1), _LARGEST))

    def at(self, x):
        """C at all of x (n,), shape (n, p, p)."""
        return self._matrices(scipy.special.expit(-(x[:, None] + self._log_a)), self.penalty(x))

    def below(self, lower, upper):
        """What is below C in intervals, affine in tau, at both of their ends: (2, n, p, p)."""
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isneginf(lower), -np.inf, (lower + upper) / 2)
        kept = scipy.special.expit(-(middle[:, None] + self._log_a))
        ends = np.stack([lower, upper])
        steps = self._a_tau(ends) - self._a_tau(middle)
        return self._matrices(kept - kept**2 * steps, self.penalty(ends))

    def strongest(self, size):
        """Strength beyond which the penalty exceeds `size`."""
        if not size > 0:
            return -np.inf
        return (self.depth - 1) * (np.log(size) - self.log_scale)

    def weakest(self):
        """Strength below which C is at least C(0), for more than two layers.

        There the chord of the penalty rises at least as fast as the tangent of the loss at
        zero falls, for the squares of Y add up to one and no sigma exceeds one. With two
        layers both are affine and any strength will do that is small for the data.
        """
        D = self.depth - 1
        return D / (D - 1) * self.log_scale if D > 1 else -1.0

    def _a_tau(self, x):
        return np.exp(np.minimum(x[..., None] + self._log_a, _LARGEST))

    def _matrices(self, shares, penalty):
        C = np.tensordot(shares, self._outer, axes=1)
        return C + penalty[..., None, None] * np.eye(self.n_modes)


@dataclass(frozen=True)
class Box:
    """An interval of x = log tau in which `count` of the modes have their strength."""

    lower: float
    upper: float
    count: int


def everything(n_modes, rank):
    """Boxes of all maps: `rank` modes of any strength, and the others of none."""
    boxes = [Box(-np.inf, np.inf, rank), Box(-np.inf, -np.inf, n_modes - rank)]
    return tuple(box for box in boxes if box.count)


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
