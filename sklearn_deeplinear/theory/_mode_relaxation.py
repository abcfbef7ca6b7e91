"""The best multipliers for given boxes, by an interior-point method with cuts.

Maximise tr Lambda + sum_j count_j mu_j subject to Lambda + mu_j I <= C(tau) for tau in box j.
On finitely many strengths this is a small semidefinite program, whose barrier problem

    max  tr Lambda + sum_j count_j mu_j + eps sum_i log det (C(tau_i) - Lambda - mu_j(i) I)

is solved by Newton's method; eps times the inverse of each slack is a weight P_i of the dual
program, the share that modes of strength tau_i have in every output direction:

    min sum_i <C(tau_i), P_i>,    sum_i P_i = I,    tr P_i summed over box j = count_j.

Where the multipliers exceed the costs between these strengths, strengths are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sklearn_deeplinear.theory._certificate import Multipliers, feasible

# Strengths of a box to begin with, and rounds in which others are added.
_N_STRENGTHS, _MAX_CUTS = 16, 4

# The barrier goes down from the first to the last of these, in units of the bound, by steps;
# from the warm one if the solution with fewer strengths is known.
_FIRST_BARRIER, _WARM_BARRIER, _LAST_BARRIER, _BARRIER_STEP = 1e-1, 1e-7, 1e-10, 0.03

# Newton steps at one barrier, and the decrement below which it goes on to the next.
_MAX_STEPS, _DECREMENT = 30, 1.0

# Keeps the scaled Newton equations away from singularity.
_RIDGE = 1e-14

# Fraction of the way to the boundary of what is feasible, and relative gain that ends the cuts.
_FRACTION, _GAIN = 0.9, 1e-9


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The solution for some boxes.

    Attributes
    ----------
    multipliers : Multipliers
        Proven to be feasible.
    x : ndarray of shape (n,)
        Logarithms of strengths.
    weights : ndarray of shape (n, p, p)
        P_i, positive semi-definite; they add up to the identity.
    box : ndarray of shape (n,)
        Index of the box that each strength belongs to.
    """

    multipliers: Multipliers
    x: np.ndarray
    weights: np.ndarray
    box: np.ndarray


def relax(costs, boxes, start, enough=np.inf) -> Relaxation:
    """Best multipliers for the boxes.

    Parameters
    ----------
    costs : ModeCosts
        What modes cost.
    boxes : tuple of Box
        Where the modes are.
    start : list of ndarrays
        Strengths in every box that are likely to matter.
    enough : float, default=inf
        A bound above this will do.
    """
    x = [_strengths(costs, box, points) for box, points in zip(boxes, start, strict=True)]
    program = _Program.at(costs, boxes, x)
    below_all = -program.size * np.eye(costs.n_modes)
    best = program.solution(costs, boxes, below_all, np.zeros(len(boxes)), _FIRST_BARRIER)
    found = best.multipliers
    for _ in range(_MAX_CUTS):
        if best.multipliers.bound > enough:
            break
        x = [np.union1d(old, new) for old, new in zip(x, found.points, strict=True)]
        program = _Program.at(costs, boxes, x)
        new = program.solution(costs, boxes, found.Lambda, found.mu, _WARM_BARRIER)
        found, gain = new.multipliers, new.multipliers.bound - best.multipliers.bound
        if gain > 0:
            best = new
        if gain <= _GAIN * abs(found.bound):
            break
    return best


def _strengths(costs, box, points):
    """Strengths to begin with: the ends of the box, some in between, and those given."""
    if np.isneginf(box.upper):
        return np.array([-np.inf])
    last = min(box.upper, costs.strongest(float(np.sum(costs.Y**2))))
    first = min(max(box.lower, costs.weakest()), last)
    ends = [box.lower] if np.isneginf(box.lower) else [box.lower, first]
    inside = points[(points >= box.lower) & (points <= box.upper)]
    return np.unique(np.concatenate([ends, np.linspace(first, last, _N_STRENGTHS), inside]))


@dataclass(frozen=True, eq=False)
class _Program:
    """The semidefinite program on finitely many strengths."""

    C: np.ndarray
    x: np.ndarray
    box: np.ndarray
    counts: np.ndarray

    @classmethod
    def at(cls, costs, boxes, x):
        box = np.repeat(np.arange(len(boxes)), [len(points) for points in x])
        x = np.concatenate(x)
        return cls(costs.at(x), x, box, np.array([float(b.count) for b in boxes]))

    @property
    def size(self):
        """Of the unknowns."""
        return max(float(np.trace(self.C, axis1=1, axis2=2).min()), np.finfo(float).tiny)

    def slacks(self, Lambda, mu):
        p = len(Lambda)
        return self.C - Lambda - mu[self.box, None, None] * np.eye(p)

    def inside(self, Lambda, mu):
        """Feasible multipliers near those given."""
        least = np.linalg.eigvalsh(self.slacks(Lambda, mu))[:, 0]
        excess = np.full(len(mu), -np.inf)
        np.maximum.at(excess, self.box, -least)
        return Lambda, mu - np.maximum(excess, 0.0) - 1e-6 * self.size

    def solution(self, costs, boxes, Lambda, mu, barrier):
        """The relaxation from multipliers near which to begin."""
        Lambda, mu = self.inside(Lambda, mu)
        Lambda, mu, weights = self.maximise(Lambda, mu, barrier)
        return Relaxation(feasible([costs], boxes, Lambda, mu), self.x, weights, self.box)

    def maximise(self, Lambda, mu, barrier):
        """Follow the path of barriers; returns the multipliers and the weights."""
        root = self._inverse_root(Lambda, mu)
        while True:
            eps = barrier * self.size
            for _ in range(_MAX_STEPS):
                step, decrement = self._newton(np.swapaxes(root, 1, 2) @ root, eps)
                t = self._longest(root, *step)
                proposed = Lambda + t * step[0], mu + t * step[1]
                try:
                    root = self._inverse_root(*proposed)
                except np.linalg.LinAlgError:  # the slacks have come down to rounding
                    return Lambda, mu, eps * np.swapaxes(root, 1, 2) @ root
                Lambda, mu = proposed
                if decrement < _DECREMENT and t == 1.0:
                    break
            if barrier <= _LAST_BARRIER:
                return Lambda, mu, eps * np.swapaxes(root, 1, 2) @ root
            barrier *= _BARRIER_STEP

    def _newton(self, inverse, eps):
        """Newton step of the barrier problem, and its squared length in the local norm.

        Adding to all mu what is taken off Lambda changes nothing: the first mu stays.
        """
        p, J = len(inverse[0]), len(self.counts)
        basis = _symmetric_basis(p)
        flat = inverse.reshape(-1, p * p)
        square = (flat.T @ flat).reshape(p, p, p, p).swapaxes(1, 2).reshape(p * p, p * p)
        q = len(basis)
        H, gradient = np.zeros((q + J, q + J)), np.zeros(q + J)
        H[:q, :q] = basis @ square @ basis.T
        gradient[:q] = basis @ (np.eye(p) / eps - np.sum(inverse, axis=0)).ravel()
        for j in range(1, J):
            S = inverse[self.box == j]
            H[q + j, :q] = H[:q, q + j] = basis @ np.sum(S @ S, axis=0).ravel()
            H[q + j, q + j] = np.sum(S * S)
            gradient[q + j] = self.counts[j] / eps - np.trace(S, axis1=1, axis2=2).sum()
        H[q, q] = 1.0
        scale = 1 / np.sqrt(np.diag(H))
        scaled = H * scale[:, None] * scale + _RIDGE * np.eye(q + J)
        step = scale * np.linalg.solve(scaled, scale * gradient)
        return ((step[:q] @ basis).reshape(p, p), step[q:]), float(gradient @ step)

    def _inverse_root(self, Lambda, mu):
        """Inverses of the Cholesky factors of the slacks."""
        return np.linalg.inv(np.linalg.cholesky(self.slacks(Lambda, mu)))

    def _longest(self, root, dLambda, dmu):
        """A step towards the Newton point that stays inside."""
        change = dLambda + dmu[self.box, None, None] * np.eye(len(dLambda))
        largest = np.linalg.eigvalsh(root @ change @ np.swapaxes(root, 1, 2)).max()
        return 1.0 if largest < _FRACTION else _FRACTION / largest


@cache
def _symmetric_basis(p):
    """Orthonormal basis (p (p + 1) / 2, p^2) of symmetric matrices."""
    i, j = np.tril_indices(p)
    basis = np.zeros((len(i), p, p))
    weight = np.where(i == j, 0.5, np.sqrt(0.5))
    basis[np.arange(len(i)), i, j] += weight
    basis[np.arange(len(i)), j, i] += weight
    return basis.reshape(len(i), p * p)
