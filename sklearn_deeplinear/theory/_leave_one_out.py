"""Exact leave-one-out residuals of deep linear networks with one output.

Without sample i the problem has the same form, and by the formulas of :mod:`_left_out_rows`
the equation of :mod:`_scalar_family` becomes, in x = log(tau / sigma_1^2) and D = L - 1,

    x / D + log B_i(x) = (log rho + sum_l log gamma_l - 2 log sigma_1 + L log(1 - s_i)) / D - log rho,
    B_i = Q' - 2 s e F' + s^2 e^2 G',      Q, F, G = sum_k dropped_k (t_k^2, t_k u_k, u_k^2),

while its objective, above that of the zero map, is

    D t - rho (sum_k kept_k t_k^2 + s g e^2 - s (1 - c s) e_0^2) / (1 - s),

e_0 being the residual of the zero map. F and G are all that depends on the samples. They are
analytic for |Im x| < pi, so that in cells of length 1/4 polynomials through eight Chebyshev
points are right to 50^-8 = 3e-14 (Bernstein's ellipse of parameter 50 fits): one product makes
them for all samples, and the rest is arithmetic on numbers, for all decays and depths at once.

Minima are looked for wherever the left side rises through its level from one end of a cell to
the other. Its second derivative is at most one, so what rises and falls again within a cell
exceeds the ends by less than 1/128: such a minimum is separated from a lower point by a barrier
that is not worth a difference in the objective.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

_CELL = 0.25
_POINTS = chebyshev.chebpts1(8)
_TO_COEFFICIENTS = np.linalg.inv(np.vander(_POINTS, increasing=True))

# Where tau is so many e-foldings beyond all eigenvalues, it is as good as zero or infinite.
_NEGLIGIBLE = 36.0

# Newton's method is at rest after a step whose square is rounding; it has this many.
_LAST_STEP, _MAX_STEPS = 1e-6, 60

# Numbers in the table of polynomials of a block of samples: 16 MB.
_BLOCK_SIZE = 2**21


def leave_one_out(rows, settings):
    """Residuals of all samples, each predicted by the global minimum without it.

    Parameters
    ----------
    rows : LeftOutRows
        The data.
    settings : sequence of (int, ndarray of shape (J,), float)
        Depth L, ``sum_l log gamma_l`` for J settings of the decays (-inf for none), and the
        log_rho of :func:`log_shrinkage`; the numbers J may differ.

    Returns
    -------
    residuals : list of ndarray of shape (n, J)
        y less the prediction, one array a member of `settings`.
    x : list of ndarray of shape (n, J)
        ``log(tau / sigma_1^2)``; inf for the zero map, -inf for no penalty.
    """
    n = len(rows.y)
    shapes = [(n, len(log_decay)) for _, log_decay, _ in settings]
    x = [np.full(shape, np.inf) for shape in shapes]
    residuals = [np.repeat(rows.residual_of_zero[:, None], J, axis=1) for _, J in shapes]
    if not len(rows.sigma):
        return residuals, x
    free = rows.residuals_of_least_squares()
    problems = [_Problem(rows, *setting) for setting in settings]
    low = min((p.low for p in problems if p.penalised.any()), default=0.0)
    high = max((p.high for p in problems if p.penalised.any()), default=0.0)
    edges = low + _CELL * np.arange(max(1, int(np.ceil((high - low) / _CELL))) + 1)
    step = max(1, _BLOCK_SIZE // (2 * len(_POINTS) * len(edges)))
    for start in range(0, n, step):
        block = slice(start, start + step)
        table = _Table(rows, block, edges)
        for problem, e, x_of in zip(problems, residuals, x, strict=True):
            problem.solve(table, e[block], x_of[block], free[block])
    for problem, e in zip(problems, residuals, strict=True):
        if problem.log_rho:
            e *= np.exp(problem.log_rho)
            e -= np.expm1(problem.log_rho) * rows.residual_of_zero[:, None]
    return residuals, x


class _Table:
    """Polynomials of F and G for a block of samples, of Q for all, in all cells."""

    def __init__(self, rows, block, edges):
        a = (rows.sigma / rows.sigma[0]) ** 2
        self.edges, self.n_cells = edges, len(edges) - 1
        self.size = _size(rows)
        self.t, self.u, self.share = rows.target / self.size, rows.u[block], rows.share[block]
        self.whole = rows.whole[block]
        rest, missed = rows.unfitted
        self.rest, self.missed = rest[block], missed[block] / self.size
        self.zero = rows.residual_of_zero[block] / self.size
        x = edges[:-1, None] + _CELL / 2 * (1 + _POINTS)
        dropped = 1 / (1 + a[:, None, None] * np.exp(-x))
        basis = np.moveaxis(dropped @ _TO_COEFFICIENTS.T, -1, 0)  # (8, k, n_cells)
        self.F = (self.u @ (self.t[:, None] * basis)).reshape(len(basis), -1)
        self.G = (self.u**2 @ basis).reshape(len(basis), -1)
        self.Q = self.t**2 @ basis
        self._at_edges()

    def _at_edges(self):
        """e, g, log B and its slope at the left end of every cell and the right of the last."""
        n, cells = len(self.u), np.arange(self.n_cells + 1)
        cells[-1] -= 1
        z = np.full(len(cells), -1.0)
        z[-1] = 1.0
        sample = np.repeat(np.arange(n), len(cells))
        values = self.curve(sample, np.tile(cells, n), np.tile(z, n))
        self.log_B, self.slope = (v.reshape(n, -1) for v in values[:2])

    def curve(self, sample, cell, z):
        """log B, its slope, and a tuple of e, e', e'', g and Q, at points z of the cells."""
        where = sample * self.n_cells + cell
        F, F1, F2 = _polynomial(self.F.take(where, axis=1), z)
        G, G1, G2 = _polynomial(self.G.take(where, axis=1), z)
        Q, Q1, Q2 = _polynomial(self.Q.take(cell, axis=1), z)
        share = self.share[sample]
        g = share * G + self.rest[sample]
        e = (F + self.missed[sample]) / g
        w = share * e
        e1 = (F1 - w * G1) / g
        e2 = (F2 - w * G2 - 2 * share * e1 * G1) / g
        B = np.maximum(Q1 - w * (2 * F1 - w * G1), np.finfo(float).tiny)
        B1 = Q2 - w * (2 * F2 - w * G2) - 2 * share * g * e1**2
        return np.log(B), B1 / B, (e, e1, e2, g, Q)


def _polynomial(c, z):
    """Value and two derivatives in x of polynomials with coefficients c (8, p)."""
    value, first, second = c[-1].copy(), np.zeros_like(z), np.zeros_like(z)
    for coefficient in c[-2::-1]:
        second *= z
        second += first
        first *= z
        first += value
        value *= z
        value += coefficient
    return value, first * (2 / _CELL), second * (8 / _CELL**2)


class _Problem:
    """One depth and noise, with many settings of the decays."""

    def __init__(self, rows, depth, log_decay, log_rho):
        self.depth, self.log_rho, self.log_decay = depth, log_rho, np.asarray(log_decay)
        self.penalised = np.isfinite(self.log_decay)
        self.rows, self.log_top = rows, 2 * np.log(rows.sigma[0])
        self.log_whole = np.log1p(-rows.share)
        a = (rows.sigma / rows.sigma[0]) ** 2
        self.floor, self.ceiling = np.log(a[-1]) - _NEGLIGIBLE, _NEGLIGIBLE
        if depth == 1:
            ends = self.log_decay[self.penalised] - self.log_top
            low = ends.min(initial=np.inf) + self.log_whole.min()
            high = ends.max(initial=-np.inf)
        elif self.penalised.any():
            low, high = self._lowest(), self._highest()
        else:
            low = high = 0.0
        self.low = float(np.clip(low, self.floor, self.ceiling))
        self.high = float(np.clip(high, self.low, self.ceiling))

    @property
    def levels(self):
        """Right sides for the penalised settings, in units of the data, but for 1 - s_i."""
        decay = self.log_decay[self.penalised]
        level = (self.log_rho + decay - self.log_top) / (self.depth - 1) - self.log_rho
        return level - 2 * np.log(_size(self.rows))

    def _lowest(self):
        """Where the left sides of all samples lie below the lowest level and rise."""
        D, rows = self.depth - 1, self.rows
        target = self.levels.min() + self.depth / D * self.log_whole
        x = 0.0
        while x > self.floor:
            table = _Table(rows, slice(None), np.array([x, x + _CELL]))
            height = x / D + table.log_B[:, 0]
            if (height <= target).all() and (1 / D + table.slope[:, 0] > 0).all():
                break
            x -= 8 * _CELL
        return x

    def _highest(self):
        """Where the left sides of all samples fall, or rise to their limits."""
        if self.depth > 2:
            return np.log(self.depth / (self.depth - 2)) + _CELL
        rows, size = self.rows, _size(self.rows)
        a = (rows.sigma / rows.sigma[0]) ** 2
        w = rows.share * rows.residual_of_zero / size
        t = rows.target / size
        limit = a @ t**2 - 2 * w * (rows.u @ (a * t)) + w**2 * (rows.u**2 @ a)
        with np.errstate(divide="ignore"):
            limit = np.log(np.maximum(limit, 0)) - 2 * self.log_whole
        levels = np.sort(self.levels)
        below = np.searchsorted(levels, limit) - 1
        gap = (limit - levels[below])[below >= 0]
        return 1.0 + max(0.0, np.log(2 / np.maximum(gap, 1e-300)).max(initial=0.0))

    def solve(self, table, e, x, free):
        """Write residuals `e` and `x` (n, J) of the samples of a `table`."""
        e[:, ~self.penalised], x[:, ~self.penalised] = free[:, None], -np.inf
        columns = np.flatnonzero(self.penalised)
        if not columns.size:
            return
        if self.depth == 1:
            self._ridge(table, e, x, columns)
        else:
            self._network(table, e, x, columns, free)

    def _ridge(self, table, e, x, columns):
        log_whole = np.log1p(-table.share)[:, None]
        wanted = self.log_decay[columns] - self.log_top + log_whole
        x[:, columns] = wanted
        inside = np.clip(wanted, table.edges[0], table.edges[-1])
        cell = np.minimum(((inside - table.edges[0]) / _CELL).astype(int), table.n_cells - 1)
        z = (inside - table.edges[cell]) * (2 / _CELL) - 1
        sample = np.repeat(np.arange(len(e)), len(columns))
        values = table.curve(sample, cell.ravel(), z.ravel())[2]
        e[:, columns] = values[0].reshape(len(e), -1) * table.size

    def _network(self, table, e, x, columns, free):
        D = self.depth - 1
        order = np.argsort(self.levels)
        levels, columns = self.levels[order], columns[order]
        shift = -self.depth / D * np.log1p(-table.share)
        height = table.edges / D + table.log_B + shift[:, None]
        slope = 1 / D + table.slope
        passed = np.searchsorted(levels, height.ravel(), side="right").reshape(height.shape)
        # Below the first edge the penalty does not matter any more, in double precision.
        for j in range(passed[:, 0].max(initial=0)):
            below = passed[:, 0] > j
            e[below, columns[j]], x[below, columns[j]] = free[below], -np.inf
        sample, cell, j = _expanded(passed)
        start, stop = height[sample, cell], height[sample, cell + 1]
        guess = _inverse_hermite(
            levels[j], start, stop, slope[sample, cell], slope[sample, cell + 1]
        )
        z, values = self._roots(table, sample, cell, levels[j] - shift[sample], guess)
        at = table.edges[cell] + _CELL / 2 * (1 + z)
        objective = self._objective(table, sample, self.log_decay[columns[j]], at, values)
        wins = objective < 0 if self.depth > 2 else np.ones(len(z), bool)
        sample, j, at, residual = sample[wins], columns[j[wins]], at[wins], values[0][wins]
        if len(np.unique(sample * len(self.log_decay) + j)) < len(j):
            best = np.argsort(-objective[wins])  # the lowest is written last
            sample, j, at, residual = sample[best], j[best], at[best], residual[best]
        e[sample, j], x[sample, j] = residual * table.size, at

    def _roots(self, table, sample, cell, level, z):
        """Points z in [-1, 1] of the cells where the rising curves meet their levels."""
        D, n = self.depth - 1, len(z)
        low, high = np.full(n, -1.0), np.ones(n)
        final, moving = np.empty((5, n)), np.arange(n)
        for step in range(_MAX_STEPS):
            here = z[moving]
            log_B, slope, values = table.curve(sample[moving], cell[moving], here)
            at = table.edges[cell[moving]] + _CELL / 2 * (1 + here)
            excess, slope = at / D + log_B - level[moving], 1 / D + slope
            low[moving] = np.where(excess < 0, here, low[moving])
            high[moving] = np.where(excess > 0, here, high[moving])
            with np.errstate(divide="ignore", invalid="ignore"):
                dx = -excess / slope
            new = here + dx * (2 / _CELL)
            valid = (new >= low[moving] - _LAST_STEP) & (new <= high[moving] + _LAST_STEP)
            rested = valid & (np.abs(dx) <= _LAST_STEP) | (step == _MAX_STEPS - 1)
            middle = (low[moving] + high[moving]) / 2
            dx = np.where(valid, dx, 0.0)
            e, e1, e2, g, Q = values
            final[:, moving] = e + dx * (e1 + dx * e2 / 2), e1, e2, g, Q
            z[moving] = np.where(valid, new, middle)
            moving = moving[~rested]
            if not moving.size:
                break
        return z, final

    def _objective(self, table, sample, log_decay, at, values):
        """Objective of the left-out problem above that of the zero map."""
        e, _, _, g, Q = values
        share, rho = table.share[sample], np.exp(self.log_rho)
        log_t = self.log_rho + log_decay - self.log_top - at + np.log1p(-share)
        penalty = np.exp(log_t / (self.depth - 1) - 2 * np.log(table.size))
        gain = np.sum(table.t**2) - Q + share * g * e**2
        gain -= share * table.whole[sample] * table.zero[sample] ** 2
        return (self.depth - 1) * penalty - rho * gain / (1 - share)


def _size(rows):
    """Root mean square of the targets, a unit for them."""
    largest = np.abs(rows.y).max() or 1.0
    return float(largest * np.sqrt(rows.share @ (rows.y / largest) ** 2)) or 1.0


def _expanded(passed):
    """Samples, cells and levels for which the height at the right end has passed the level.

    `passed` (n, n_cells + 1) counts the levels below the height at each edge.
    """
    times = np.maximum(np.diff(passed, axis=1), 0).ravel()
    rising = np.flatnonzero(times)
    times = times[rising]
    sample, cell = np.divmod(rising, passed.shape[1] - 1)
    first = passed[sample, cell] - np.cumsum(times) + times
    j = np.repeat(first, times) + np.arange(times.sum())
    return np.repeat(sample, times), np.repeat(cell, times), j


def _inverse_hermite(level, start, stop, slope, next_slope):
    """First guess z of where a rising curve meets a level: cubic in the level."""
    gain = stop - start
    u = (level - start) / gain
    with np.errstate(divide="ignore", invalid="ignore"):
        m, n = gain / (slope * _CELL), gain / (next_slope * _CELL)
    # A cubic that is not monotone is no guess; the chord is.
    smooth = (slope > 0) & (next_slope > 0) & (m < 3) & (n < 3)
    m, n = np.where(smooth, m, 1.0), np.where(smooth, n, 1.0)
    y = u * (m + u * (3 - 2 * m - n + u * (m + n - 2)))
    return 2 * np.clip(y, 0, 1) - 1
