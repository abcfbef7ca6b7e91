"""Leave-one-out along the path of the minima of all data, for samples of little influence.

Each sample's minimum is a shift of that of all data (:mod:`_left_out_shifts`). It is the global one

- for two layers, as the left side of the equation rises everywhere;
- for more layers, if its left side rises and falls only once, and its objective is below that of
  zero. If zero wins at one decay it does at all larger ones.

Where the penalty is less than half of all eigenvalues, residuals are smooth functions of
s = tau / (a_k + tau) of all data, a_k being the smallest eigenvalue: they are singular from about
s = 1 on. So a polynomial through a dozen Chebyshev points is right for any number of decays.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

from sklearn_deeplinear.theory._left_out_curves import CELL, dropped
from sklearn_deeplinear.theory._scalar_family import ScalarFamily

# Leverage beyond which leaving out a sample is no small change.
CALM = 0.3

# Where tau is so many e-foldings below all eigenvalues, the penalty does not matter any more.
_NEGLIGIBLE = 38.0

# Values of tau at which eigenvalues are compared, and a margin for those between them.
_N_TRIED, _SURE = 64, 0.9

# So far left of the highest point of the curve of all data zero wins, mostly.
_BACK = 0.4

# What the ellipse of Bernstein that reaches s = 1 leaves of a polynomial's error, and the largest
# of its last two coefficients, in units of the targets.
_SMALL, _SMOOTH = 1e-13, 1e-11


class LeftOutPath:
    """All settings of one problem.

    Attributes
    ----------
    depth, points, offset : ndarray of shape (p,)
        Minima of all data, and how far levels are above theirs: see :func:`shifted_minima`.
    """

    def __init__(self, problem, interpolate):
        self.problem, log_a = problem, np.log(problem.rows.a[-1])
        x, last = _minima_of_all_data(problem)
        self.free, self.beyond = x < log_a - _NEGLIGIBLE, x > last
        self.smooth = ~(self.free | self.beyond) & (x <= log_a - np.log(2)) & interpolate
        nodes, self.interpolation = _interpolation(x[self.smooth], log_a)
        self.n_nodes = len(nodes)
        self.smooth &= self.n_nodes > 0
        self.own = ~(self.free | self.beyond | self.smooth)
        self.points = np.append(nodes, x[self.own])
        if self.beyond.any() and np.isfinite(last):
            self.points = np.append(self.points, last)
        self.offset = np.zeros_like(self.points)
        if problem.depth == 2:
            zero = np.isinf(self.points)
            above = problem.level(problem.log_decay[np.isposinf(x)]) - _limit(problem.rows)
            self.offset[zero] = above
        self.depth = np.full(len(self.points), problem.depth)

    def write(self, block, found, free, e, known):
        """Write residuals and whether they are known, of shape (J, n), for a block of samples.

        `found` is what :func:`shifted_minima` has of the points, `free` (n,) are the residuals of
        no penalty.
        """
        size, N = self.problem.rows.size, self.n_nodes
        e[self.free], known[self.free], known[self.beyond] = free, True, False
        if not len(self.points):
            return
        e_at, known_at, zero_at = found
        e_at *= size
        if self.beyond.any():
            known[self.beyond] = known_at[-1] & zero_at[-1]
            e[self.beyond] = size * block.of_zero
        if N:
            values = self.interpolation @ e_at[:N]
            e[self.smooth] = values[:-2]
            rest = (known_at[:N] & ~zero_at[:N]).all(axis=0)
            known[self.smooth] = rest & (np.abs(values[-2:]) <= _SMOOTH * size).all(axis=0)
        own = slice(N, N + np.sum(self.own))
        e[self.own], known[self.own] = e_at[own], known_at[own]

    def write_places(self, places, x):
        """Write log(tau / sigma_1^2) of the minima if none is interpolated; see :meth:`write`."""
        x[self.free], x[self.beyond] = -np.inf, np.inf
        x[self.own] = places[: np.sum(self.own)]


def turns_once(rows, block, depth):
    """Which samples have left sides that rise and fall once, bool of shape (n,).

    They can turn between the points where the smallest and the largest eigenvalue alone would
    turn them; the smallest one loses as much as the leverage of the sample. There the slopes in
    cells are looked at, unless the eigenvalues are so close that every turn is a maximum.
    """
    least = rows.a[-1] * (1 - CALM)
    if depth <= 2 or _are_close(least, depth):
        return np.ones(len(block.u), dtype=bool)
    low, high = np.log(depth / (depth - 2)) + np.array([np.log(least), 0.0])
    edges = np.linspace(low, high, int(np.ceil((high - low) / CELL)) + 1)
    rises = block.at(rows, edges)[1] > -1 / (depth - 1)
    return (rises[:-1] >= rises[1:]).all(axis=0)


def _are_close(least, depth):
    """Whether curves of eigenvalues from `least` to 1 turn downwards wherever they turn.

    As in :mod:`_log_curve` the mean of dropped_k is m = L / (2 D) at a turn, and its slope
    m (1 - m) - 3 Var. All of them lie between the outermost ones p and q, so that
    Var <= (m - p) (q - m).
    """
    m = depth / (2 * (depth - 1))
    tau = m / (1 - m) * np.geomspace(least, 1, _N_TRIED)
    p, q = tau / (1 + tau), tau / (least + tau)
    return bool(np.all(3 * (m - p) * (q - m) < _SURE * m * (1 - m)))


def _minima_of_all_data(problem):
    """x of each setting, and up to where shifts may tell all.

    x is infinite where there is no minimum but zero, -inf where there is no penalty.
    """
    rows, log_decay, depth = problem.rows, problem.log_decay, problem.depth
    if depth == 1:
        return log_decay - problem.log_top + np.log1p(-rows.typical), np.inf
    family = ScalarFamily(rows.sigma, rows.target, depth, problem.log_rho)
    x = np.full(len(log_decay), -np.inf)
    if not problem.penalised.any():
        return x, np.inf
    found = family.stationary(log_decay[problem.penalised], minima_only=True)
    if len(found):
        x[problem.penalised] = np.where(np.isnan(found[0]), np.inf, found[0])
    else:
        x[problem.penalised] = np.inf
    if depth == 2:
        return x, np.inf
    last = family.highest - _BACK
    p = dropped(rows, np.array([last]))
    height = last / (depth - 1) + np.log(p * (1 - p) @ (rows.target / rows.size) ** 2)
    if len(found) > 1 or (problem.level(log_decay[x > last]) < height).any():
        return np.full_like(x, np.inf), -np.inf  # samples, too, may have several minima
    return x, last


def _limit(rows):
    """What the left side of two layers tends to with no sample left out."""
    return np.log(rows.a @ (rows.target / rows.size) ** 2)


def _interpolation(x, log_a):
    """Nodes, and the matrix from values there to values at `x`; no nodes if there are few x.

    Below these there are two rows for the coefficients that tell how well this goes.
    """
    s = 1 / (1 + np.exp(log_a - x))
    top = s.max(initial=0.0)
    n = int(np.ceil(np.log(_SMALL) / -np.arccosh(2 / top - 1))) + 1 if top else len(x)
    if n >= len(x):
        return np.empty(0), None
    nodes = chebyshev.chebpts1(n)
    to_coefficients = np.linalg.inv(chebyshev.chebvander(nodes, n - 1))
    scale = (1 + nodes[-1]) / top  # the last node is the largest x
    at = chebyshev.chebvander(scale * s - 1, n - 1)
    matrix = np.concatenate([at @ to_coefficients, to_coefficients[-2:]])
    nodes = (1 + nodes) / scale
    return log_a + np.log(nodes / (1 - nodes)), matrix
