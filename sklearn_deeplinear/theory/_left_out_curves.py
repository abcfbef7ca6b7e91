"""Sums over the eigenbasis of A that tell what leaving out a sample does, as functions of tau.

With x = log(tau / sigma_1^2) these are, for each sample,

    F = sum_k dropped_k t_k u_k,     G = sum_k dropped_k u_k^2,     Q = sum_k dropped_k t_k^2,

dropped = tau / (sigma^2 + tau), with their derivatives. They are analytic for |Im x| < pi, so
that in cells of length 1/4 polynomials through eight Chebyshev points are right to
50^-8 = 3e-14 (Bernstein's ellipse of parameter 50 fits): one product makes them for all samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import chebyshev

CELL = 0.25
_LARGEST = 700.0  # logarithm of a number that a float still is
POINTS = chebyshev.chebpts1(8)
_TO_COEFFICIENTS = np.linalg.inv(np.vander(POINTS, increasing=True))


class Table:
    """Polynomials of F and G for a block of samples, of Q for all, in all cells."""

    def __init__(self, rows, block, edges):
        self.edges, self.n_cells = edges, len(edges) - 1
        self.size, self.rows, self.block = rows.size, block, Block.of(rows, block)
        self.at_edges = self.block.at(rows, edges)
        x = edges[:-1, None] + CELL / 2 * (1 + POINTS)
        basis = np.moveaxis(dropped(rows, x), 1, 0)  # points of a cell first
        basis = np.tensordot(_TO_COEFFICIENTS, basis, 1)
        F, G, self.Q = self.block.sums(basis)
        self.F, self.G = F.reshape(len(basis), -1), G.reshape(len(basis), -1)

    def curve(self, sample, cell, z):
        """:meth:`Block.curve` of some samples, at points z of the cells."""
        where = cell * len(self.block.u) + sample
        F = _polynomial(self.F.take(where, axis=1), z)
        G = _polynomial(self.G.take(where, axis=1), z)
        return self.block.curve(sample, F, G, _polynomial(self.Q.take(cell, axis=1), z))


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the rows, in units of the targets."""

    t: np.ndarray
    u: np.ndarray
    share: np.ndarray
    rest: np.ndarray
    missed: np.ndarray
    of_zero: np.ndarray
    whole: np.ndarray
    products: np.ndarray
    weighted_squares: np.ndarray

    @classmethod
    def of(cls, rows, block):
        (rest, missed), size = rows.unfitted, rows.size
        shown = rows.u[block], rows.share[block], rest[block], missed[block] / size
        reduced = rows.products[block] / size, rows.weighted_squares[block]
        of_zero = rows.residual_of_zero[block] / size
        return cls(rows.target / size, *shown, of_zero, rows.whole[block], *reduced)

    @cached_property
    def gain_of_zero(self):
        """g e^2 of the zero map."""
        return self.whole * self.of_zero**2

    def sums(self, dropped):
        """F, G and Q for factors of shape (..., k) on the terms: (..., n) and for Q (...)."""
        by_term = dropped.reshape(-1, dropped.shape[-1])
        shape = *dropped.shape[:-1], len(self.u)
        F = (by_term * self.t) @ self.u.T
        G = by_term @ self._squares.T
        return F.reshape(shape), G.reshape(shape), dropped @ self.t**2

    @cached_property
    def _squares(self):
        return self.u**2

    def at(self, rows, x):
        """The curves of all samples (p, n) at the points x (p,), see :meth:`curve`."""
        p = dropped(rows, x)
        kept = 1 - p
        # Where all is dropped what is kept must have its digits, too.
        kept = np.where(p > 0.5, rows.a * _inverse(x)[:, None] * p, kept)
        F, G, Q = self.sums(np.stack([p, p * kept, p * kept * (kept - p)]))
        return self.curve(slice(None), F, G, Q[..., None])

    def curve(self, sample, F, G, Q):
        """log B, its slope, and a tuple of e, e', e'', g and Q.

        F, G and Q are given with their first and second derivatives.
        """
        share = self.share[sample]
        g = share * G[0] + self.rest[sample]
        e = (F[0] + self.missed[sample]) / g
        w = share * e
        e1 = (F[1] - w * G[1]) / g
        e2 = (F[2] - w * G[2] - 2 * share * e1 * G[1]) / g
        B = np.maximum(Q[1] - w * (2 * F[1] - w * G[1]), np.finfo(float).tiny)
        B1 = Q[2] - w * (2 * F[2] - w * G[2]) - 2 * share * g * e1**2
        return np.log(B), B1 / B, (e, e1, e2, g, Q[0])


def dropped(rows, x):
    """Shares tau / (sigma_k^2 + tau), of shape (..., k) for x (...)."""
    return 1 / (1 + rows.a * _inverse(x)[..., None])


def _inverse(x):
    """sigma_1^2 / tau, cut off where it overflows: what is dropped is then nothing anyway."""
    return np.exp(np.minimum(-x, _LARGEST))


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
    return value, first * (2 / CELL), second * (8 / CELL**2)
