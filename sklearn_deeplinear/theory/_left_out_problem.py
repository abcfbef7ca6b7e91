"""Minima of all problems that lack one sample, for networks of one depth and one output.

Without sample i the problem has the same form, and by the formulas of :mod:`_left_out_rows`
the equation of :mod:`_scalar_family` becomes, in x = log(tau / sigma_1^2) and D = L - 1,

    x / D + log B_i = (log rho + log prod_l gamma_l / sigma_1^2 + L log(1 - s_i)) / D - log rho,
    B_i = Q' - 2 s e F' + s^2 e^2 G',      Q, F, G = sum_k dropped_k (t_k^2, t_k u_k, u_k^2),

while its objective, above that of the zero map, is

    D t - rho (sum_k kept_k t_k^2 + s g e^2 - s (1 - c s) e_0^2) / (1 - s),

e_0 being the residual of the zero map. All that needs the samples are the curves F and G, which
:mod:`_left_out_curves` has for all of them; the rest is arithmetic on numbers.

Minima are looked for wherever the left side rises through its level from one end of a cell to
the other. Its second derivative is at most one, so what rises and falls again within a cell is
within 1/128 of the level; as the objective has the slope t (exp(left side - level) - 1) in x,
a minimum that hides there is lower than the best one found by at most 0.002 t.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from sklearn_deeplinear.theory._left_out_curves import CELL, dropped
from sklearn_deeplinear.theory._scalar_family import ScalarFamily

# A root is at rest after a step whose cube is rounding, unless it lies so near an extremum that
# the slope changes by more than this part on the way; most are after the first one.
_LAST_STEP, _LAST_BEND, _MAX_STEPS = 1e-4, 1e-3, 60


class LeftOutProblem:
    """One depth and noise, with many settings of the decays."""

    def __init__(self, rows, depth, log_decay, log_rho):
        self.depth, self.log_rho, self.log_decay = depth, log_rho, np.asarray(log_decay)
        self.penalised = np.isfinite(self.log_decay)
        self.rows, self.log_top = rows, 2 * np.log(rows.sigma[0])
        self.log_whole = np.log1p(-rows.share)
        self.uniform = np.ptp(rows.share) == 0
        self.needs_table = self.penalised.any() and not (depth == 1 and self.uniform)

    def level(self, log_decay):
        """Right sides for finite settings, in units of the data, but for 1 - s_i."""
        level = (self.log_rho + log_decay - self.log_top) / (self.depth - 1) - self.log_rho
        return level - 2 * np.log(self.rows.size)

    @property
    def levels(self):
        """Those of the penalised settings."""
        return self.level(self.log_decay[self.penalised])

    def shift(self, block):
        """What the left sides of samples have besides x / D and log B."""
        return -self.depth / (self.depth - 1) * np.log1p(-block.share)

    @property
    def lowest(self):
        """The lowest minimum with no sample left out, or of one layer with any of them."""
        least = self.log_decay[self.penalised].min(keepdims=True)
        if self.depth == 1:
            return least[0] - self.log_top + self.log_whole.min()
        if not self.rows.target.any():
            return 0.0
        family = ScalarFamily(self.rows.sigma, self.rows.target, self.depth, self.log_rho)
        return family.stationary(least, minima_only=True).min(initial=0.0)

    def is_below(self, x, log_B, slope):
        """Whether the left sides of all samples lie below the lowest level at x, and rise."""
        D = self.depth - 1
        if D == 0:
            return True
        height = x / D + log_B - self.depth / D * self.log_whole
        return (height <= self.levels.min()).all() and (1 / D + slope > 0).all()

    @cached_property
    def highest(self):
        """Where the left sides of all samples fall, or are as good as at their limits."""
        if self.depth == 1:
            return self.log_decay[self.penalised].max() - self.log_top
        if self.depth > 2:
            return np.log(self.depth / (self.depth - 2)) + CELL
        a, u, t = self.rows.a, self.rows.u, self.rows.target / self.rows.size
        w = self.rows.share * self.rows.residual_of_zero / self.rows.size
        limit = a @ t**2 - 2 * w * (u @ (a * t)) + w**2 * (u**2 @ a)
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
        block = table.block
        wanted = self.log_decay[columns] - self.log_top + np.log1p(-block.share)[:, None]
        x[:, columns] = wanted
        if self.uniform:  # the same points for all samples
            F, G, _ = block.sums(dropped(self.rows, wanted[0]))
            residuals = (F + block.missed) / (block.share * G + block.rest)
            e[:, columns] = residuals.T * table.size
            return
        inside = np.clip(wanted, table.edges[0], table.edges[-1])
        cell = np.minimum(((inside - table.edges[0]) / CELL).astype(int), table.n_cells - 1)
        z = (inside - table.edges[cell]) * (2 / CELL) - 1
        sample = np.repeat(np.arange(len(e)), len(columns))
        values = table.curve(sample, cell.ravel(), z.ravel())[2]
        e[:, columns] = values[0].reshape(len(e), -1) * table.size

    def _network(self, table, e, x, columns, free):
        D = self.depth - 1
        order = np.argsort(self.levels)
        levels, columns = self.levels[order], columns[order]
        shift = self.shift(table.block)
        edges = table.edges[: np.searchsorted(table.edges, self.highest) + 1]
        log_B, slope = (curve[: len(edges)] for curve in table.at_edges[:2])
        height, slope = edges[:, None] / D + log_B + shift, 1 / D + slope
        passed = np.searchsorted(levels, height.ravel(), side="right").reshape(height.shape)
        # Below the first edge the penalty does not matter any more, in double precision.
        for j in range(passed[0].max(initial=0)):
            below = passed[0] > j
            e[below, columns[j]], x[below, columns[j]] = free[below], -np.inf
        sample, cell, j = _expanded(passed)
        start, stop = height[cell, sample], height[cell + 1, sample]
        slopes = slope[cell, sample], slope[cell + 1, sample]
        guess = _inverse_hermite(levels[j], start, stop, *slopes)
        z, residual, before = self._roots(
            table, sample, cell, levels[j] - shift[sample], guess, slopes
        )
        at = table.edges[cell] + CELL / 2 * (1 + z)
        if self.depth > 2:  # zero may be lower, or another point
            objective = self._objective(table, sample, self.log_decay[columns[j]], *before)
            best = np.flatnonzero(objective < 0)
            if np.bincount(sample[best] * len(levels) + j[best]).max(initial=0) > 1:
                best = best[np.argsort(-objective[best])]  # the lowest is written last
            sample, j, at, residual = sample[best], j[best], at[best], residual[best]
        e[sample, columns[j]], x[sample, columns[j]] = residual * table.size, at

    def _roots(self, table, sample, cell, level, z, slopes):
        """Points z in [-1, 1] of the cells where the rising curves meet their levels.

        By Halley's method, with the curvature from the slopes here and at the ends of the cell,
        and bisection wherever a step leaves the bracket. Besides the residuals there, x, e, g and
        Q before the last step, which belong together: the objective is flat at its minimum.
        """
        D, n, half = self.depth - 1, len(z), CELL / 2
        low, high = np.full(n, -1.0), np.ones(n)
        z, residual, before, moving = z.copy(), np.empty(n), np.empty((4, n)), slice(None)
        for step in range(_MAX_STEPS):
            here = z[moving]
            log_B, slope, (e, e1, e2, g, Q) = table.curve(sample[moving], cell[moving], here)
            x = table.edges[cell[moving]] + half * (1 + here)
            excess = x / D + log_B - level[moving]
            slope = slope + 1 / D
            left, right = slopes[0][moving] - slope, slopes[1][moving] - slope
            # A step that is not a number is not taken.
            with np.errstate(all="ignore"):
                bend = right * ((1 + here) / (1 - here)) - left * ((1 - here) / (1 + here))
                bend = bend / (2 * half * slope)  # second derivative over the first
                known = np.isfinite(bend)  # but at the ends
                bend = np.where(known, bend, 0.0)
                newton = -excess / slope
                dx = newton / (1 + newton * bend / 2)
                bent = np.abs(newton * bend)
            low[moving] = np.where(excess < 0, here, low[moving])
            high[moving] = np.where(excess > 0, here, high[moving])
            new = here + dx / half
            valid = (new >= low[moving] - _LAST_STEP) & (new <= high[moving] + _LAST_STEP)
            near = (np.abs(dx) <= np.where(known, _LAST_STEP, _LAST_STEP**2)) & (bent <= _LAST_BEND)
            rested = valid & near | (step == _MAX_STEPS - 1)
            moved = np.where(valid, dx, 0.0)
            residual[moving] = e + moved * (e1 + moved * e2 / 2)
            before[:, moving] = x, e, g, Q
            z[moving] = np.where(valid, new, (low[moving] + high[moving]) / 2)
            moving = np.arange(n)[moving][~rested]
            if not moving.size:
                break
        return z, residual, before

    def _objective(self, table, sample, log_decay, at, e, g, Q):
        """Objective of the left-out problem above that of the zero map."""
        block, rho = table.block, np.exp(self.log_rho)
        share = block.share[sample]
        log_t = self.log_rho + log_decay - self.log_top - at + np.log1p(-share)
        penalty = np.exp(log_t / (self.depth - 1) - 2 * np.log(table.size))
        gain = np.sum(block.t**2) - Q + share * (g * e**2 - block.gain_of_zero[sample])
        return (self.depth - 1) * penalty - rho * gain / (1 - share)


def _expanded(passed):
    """Samples, cells and levels for which the height at the right end has passed the level.

    `passed` (n_cells + 1, n) counts the levels below the height at each edge.
    """
    times = np.maximum(np.diff(passed, axis=0), 0).ravel()
    rising = np.flatnonzero(times)
    times = times[rising]
    cell, sample = np.divmod(rising, passed.shape[1])
    first = passed[cell, sample] - np.cumsum(times) + times
    j = np.repeat(first, times) + np.arange(times.sum())
    return np.repeat(sample, times), np.repeat(cell, times), j


def _inverse_hermite(level, start, stop, slope, next_slope):
    """First guess z of where a rising curve meets a level: cubic in the level."""
    gain = stop - start
    u = (level - start) / gain
    with np.errstate(divide="ignore", invalid="ignore"):
        m, n = gain / (slope * CELL), gain / (next_slope * CELL)
    # A cubic that is not monotone is no guess; the chord is.
    smooth = (slope > 0) & (next_slope > 0) & (m < 3) & (n < 3)
    m, n = np.where(smooth, m, 1.0), np.where(smooth, n, 1.0)
    y = u * (m + u * (3 - 2 * m - n + u * (m + n - 2)))
    return 2 * np.clip(y, 0, 1) - 1
