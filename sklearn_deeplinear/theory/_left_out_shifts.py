"""Minima without each sample, as shifts of minima of all data.

Where a sample has little influence the minimum without it lies next to that with it. For tau of all
data let m be tau, kept between the smallest and the largest eigenvalue a_k, s = tau / (m + tau),
which is 1 for the zero map, and A_k = a_k / m. With r the shift of s and N_k = A_k (1 - s) + s,

    dropped_k = s / N_k + sum_p r^p (A_k / N_k^2) ((A_k - 1) / N_k)^(p-1),

so that f, g and Q, the sums of :mod:`_left_out_curves` with all that belongs to them, are power
series in r, the coefficients of which are one product for all samples. The equation of
:mod:`_left_out_problem`, less that of all data, is

    (1 + 1/D) (log(1 + r / s) - log(1 - s_i)) + (1 - 1/D) log(1 - r / (1 - s)) + log(P' / Q') = 0,
    P' = Q' - s_i e (2 f' - e g'),      e = f / g,

where slopes are those in r. It is regular at s = 1 for two layers, which alone can reach zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What is left out of the slopes of power series, and the largest number of their terms.
_TRUNCATION, _MAX_ORDER = 1e-11, 12

# Errors of e, in units of the targets, and the largest number of steps to there.
_ERROR, _MAX_STEPS = 1e-11, 6

# Numbers in an array of some minima and all samples: some dozens of these fit into a cache.
_BLOCK_SIZE = 2**13


def shifted_minima(rows, block, depth, x, offset, places=None):
    """Minima without each of n samples next to p minima of all data.

    Parameters
    ----------
    rows : LeftOutRows
    block : Block
        The samples.
    depth : ndarray of shape (p,), int
        Number of layers L.
    x : ndarray of shape (p,)
        log(tau / sigma_1^2) of the minima of all data, infinite for zero of two layers. For one
        layer that of a sample of share ``rows.typical``.
    offset : ndarray of shape (p,)
        By how much the levels exceed those of all data at `x`.
    places : ndarray of shape (p, n), default=None
        What log(tau / sigma_1^2) of the minima are written to, inf for zero.

    Returns
    -------
    e : ndarray of shape (p, n)
        Residuals, in units of the targets.
    known, zero : ndarray of shape (p, n), bool
        Whether the minima were found, and whether they are zero.
    """
    shape = len(x), len(block.share)
    found = np.empty(shape), np.empty(shape, dtype=bool), np.zeros(shape, dtype=bool)
    step = max(1, _BLOCK_SIZE // max(1, shape[1]))
    for layers, kind in ((depth == 1, _Ridge), (depth > 1, _Networks)):
        points = np.flatnonzero(layers)
        for start in range(0, len(points), step):
            part = points[start : start + step]
            columns = (column[part, None] for column in (depth, x, offset))
            # What is infinite or not a number is not known.
            with np.errstate(all="ignore"):
                series = kind(rows, block, *columns)
                for whole, value in zip(found, series.minima(), strict=True):
                    whole[part] = value
                if places is not None:
                    places[part] = np.where(found[2][part], np.inf, series.places())
    return found


class _Series:
    """Power series of f, g and Q in r around minima `x` (p, 1) of all data."""

    r: np.ndarray  # of the minima, once they are found

    def __init__(self, rows, block, depth, x, offset):
        self.rows, self.block, self.D = rows, block, depth - 1
        self.x, self.offset = x, offset
        m = np.exp(np.clip(x, np.log(rows.a[-1]), 0.0))
        gap = m * np.exp(-x)
        # s and 1 - s, both with all digits.
        self.log_m, self.s, self.rest = np.log(m), 1 / (1 + gap), gap / (1 + gap)
        A = rows.a / m
        N = A * self.rest + self.s
        self.start, self.first, self.ratio = self.s / N, A / N**2, (A - 1) / N
        self.f, self.g, self.Q = [], [], []

    def places(self):
        """log(tau / sigma_1^2) of what was found."""
        return self.log_m + np.log((self.s + self.r) / (self.rest - self.r))

    def _add(self, terms):
        """Add coefficients, for which the factors of the terms are given."""
        terms = np.stack(terms)
        by_term, shape = terms.reshape(-1, terms.shape[-1]), (*terms.shape[:-1], -1)
        reduced = by_term if self.rows.basis is None else by_term @ self.rows.basis
        self.f.extend((reduced @ self.block.products.T).reshape(shape))
        self.g.extend((reduced @ self.block.weighted_squares.T).reshape(shape))
        self.Q.extend((terms @ self.block.t**2)[..., None])

    def _add_first(self, n_terms):
        self._add([self.start, self.first, self.first * self.ratio][:n_terms])
        self.f[0] += self.block.missed
        self.g[0] += self.block.rest

    def _reached(self, r):
        """Add as many terms as shifts r need; whether they are enough for each of them."""
        size, terms, order = np.abs(r), [], len(self.f) - 1
        farthest = np.nanmax(size, axis=1, initial=0.0, keepdims=True)
        while True:
            following = self.first * self.ratio**order
            bound = np.abs(following).max(axis=1, keepdims=True)
            limit = (_TRUNCATION / ((order + 1) * bound)) ** (1 / max(order, 1))
            if order == _MAX_ORDER or (farthest <= limit).all():
                break
            terms.append(following)
            order += 1
        if terms:
            self._add(terms)
        return size <= limit


class _Ridge(_Series):
    """One layer, where tau is known."""

    def minima(self):
        self._add_first(1)
        change = np.expm1(np.log1p(-self.block.share) - np.log1p(-self.rows.typical))
        r = self.s * self.rest * change / (1 + self.s * change)
        self.r, known = r, self._reached(r)
        return _value(self.f, r) / _value(self.g, r), known, False


class _Networks(_Series):
    """More layers, where r is a root of the equation."""

    def minima(self):
        self._add_first(3)
        value, slope = self._at_start()
        r = -value / slope
        known = (slope > 0) & self._reached(r)
        r[~known] = 0.0
        numbers = self.s, self.rest, self.D, self.constant, self.block.share
        at, are_minima = _roots(_Equation(self.f, self.g, self.Q, *numbers), r, slope)
        # If the left side of two layers does not reach the level at its limit it never does.
        below = (self.rest == 0) & (value <= 0)
        known = known & are_minima | below
        zero = known & (below | self._is_zero(r, at))
        e, self.r = at[0], r
        np.copyto(e, self.block.of_zero, where=zero)
        return e, known, zero

    def _at_start(self):
        """Value and slope of the left side where r = 0."""
        f, g, Q, share = self.f, self.g, self.Q, self.block.share
        e = f[0] / g[0]
        turn = f[1] - e * g[1]
        P = Q[1] - share * (e * (f[1] + turn))
        bend = Q[2] - share * (e * (2 * f[2] - e * g[2]) + turn**2 / g[0])
        slope = 2 * bend / P + (1 + 1 / self.D) / self.s
        slope -= np.where(self.D > 1, (1 - 1 / self.D) / self.rest, 0.0)
        whole = (1 + 1 / self.D) * np.log1p(-share)
        self.constant = -(whole + self.offset + np.log(Q[1]))
        return np.log(P) + self.constant, slope

    def _is_zero(self, r, at):
        """Whether zero is lower than the minima, or for two layers what the root lies beyond."""
        _, gain, growth = at
        share, block = self.block.share, self.block
        gain = gain + (block.t @ block.t - share * block.gain_of_zero)
        penalty = np.exp((np.log1p(-share) - growth) / self.D)
        penalty *= self.D * self.Q[1] * self.s * self.rest
        return np.where(self.D > 1, (1 - share) * penalty >= gain, r >= self.rest)


@dataclass(frozen=True, eq=False)
class _Equation:
    """The left side as a function of r, with arrays that broadcast to its shape."""

    f: list
    g: list
    Q: list
    s: np.ndarray
    rest: np.ndarray
    D: np.ndarray
    constant: np.ndarray
    share: np.ndarray

    def at(self, r):
        """Value; slope of e; a list of e, s_i g e^2 - Q, and log(tau) less that where r = 0."""
        (f, f1), (g, g1), (Q, Q1) = (_with_slope(c, r) for c in (self.f, self.g, self.Q))
        e = f / g
        turn = f1 - e * g1
        f1 += turn
        f1 *= e
        f1 *= self.share
        Q1 -= f1
        value = np.log(Q1)
        value += self.constant
        growth = np.log(1 + r / self.s)
        drop = np.log(1 - r / np.where(self.D > 1, self.rest, np.inf))
        value += (1 + 1 / self.D) * growth
        value += (1 - 1 / self.D) * drop
        growth -= drop
        turn /= g
        g *= self.share
        g *= e
        g *= e
        g -= Q
        return value, turn, [e, g, growth]

    def part(self, point, sample):
        """The same for some points and samples only."""
        where = point * len(self.share) + sample
        f, g = ([c.ravel().take(where) for c in coefs] for coefs in (self.f, self.g))
        Q = [c.take(point) for c in self.Q]
        s, rest, D = (column.take(point) for column in (self.s, self.rest, self.D))
        return _Equation(f, g, Q, s, rest, D, self.constant.ravel().take(where), self.share[sample])


def _roots(equation, r, slope):
    """Move r from Newton's first steps to roots; what is known there, and whether they are minima.

    After a step by Ostrowski's method, which is of fourth order, hardly any is moved again.
    """
    value, e1, at = equation.at(r)
    # The slope of a secant lies halfway between those at its ends.
    slope = slope + 2 * value / np.where(r == 0, np.inf, r)
    change = value / slope
    # By so much, relative to them, further steps are too long or too short.
    rate = (r / equation.s) ** 2 + np.abs(change) / equation.s
    r -= change
    change *= e1
    at[0] -= change
    rested = np.abs(change) * rate <= _ERROR
    for _ in range(_MAX_STEPS):
        moving = np.nonzero(~rested)
        if not moving[0].size:
            break
        value, e1, now = equation.part(*moving).at(r[moving])
        change = value / slope[moving]
        r[moving] -= change
        change *= e1
        now[0] -= change
        for whole, values in zip(at, now, strict=True):
            whole[moving] = values
        rested[moving] = np.abs(change) * rate[moving] <= _ERROR
    return at, rested & (slope > 0)


def _value(c, r):
    """A polynomial with the coefficients c."""
    value = c[-1]
    for coefficient in c[-2::-1]:
        value = value * r + coefficient
    return value


def _with_slope(c, r):
    """The same and its slope; there are three coefficients at least."""
    value, slope = c[-1] * r, np.empty_like(r)
    value += c[-2]
    slope[:] = c[-1]
    for coefficient in c[-3::-1]:
        slope *= r
        slope += value
        value *= r
        value += coefficient
    return value, slope
