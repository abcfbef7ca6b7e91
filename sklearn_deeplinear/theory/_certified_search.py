"""Local minima of the Schatten problem, one after the other, until one is proven global."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._branch_and_bound import branch
from sklearn_deeplinear.theory._certificate import certificate, safely_below
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._mode_costs import everything
from sklearn_deeplinear.theory._mode_descent import lower_and_lower, settled_modes

# Gap, relative to the objective, below which no other start is tried.
_CLOSED = 1e-11
# And below which boxes are not split any further, a little less than what certifies.
TARGET = 5e-9

# Sets of boxes that are relaxed at most. Of 400 random problems 32 left seven open, in at most
# three seconds of one core; 64 left five.
_MAX_BOXES = 32

# Beyond so many outputs the semidefinite programs, of p (p + 1) / 2 unknowns, take too long.
_MOST_MODES = 12

# A start whose descent ends this near the best one has found the same minimum, and relative gain
# of a step at which it ends.
_SAME, _SLOW = 1e-9, 1e-11


class CertifiedSearch:
    """Best stationary point so far, and the largest bound.

    Parameters
    ----------
    problem : SchattenProblem
        In its own units.
    costs : ModeCosts
        Its costs, of the same units and outputs.
    rank : int
        Bound on the rank of the map.
    residual : float
        What no map explains, in the same units: gaps are relative to all of the objective.
    """

    def __init__(self, problem, costs, rank, residual):
        self.problem, self.costs, self.rank, self.residual = problem, costs, rank, residual
        self.W = np.zeros((self.costs.n_modes, 0))
        self.value = problem.value(self.W)
        self.bound, self._points = -np.inf, None
        self._look()

    @property
    def gap(self):
        """Between objective and bound, relative to the objective."""
        return (self.value - self.bound) / (self.value + self.residual)

    def run(self, starts):
        """Try the starts W (p, r), and branch if none of them is proven to be global."""
        for start in starts:
            if self.gap <= _CLOSED:
                return self
            self._descend(start)
        found = self.value, self.bound, self._points, self._improve
        self._raise(closed(self.costs, self.rank, self.residual, *found))
        return self

    def _descend(self, start):
        for W in lower_and_lower(self.problem, start, _SLOW):
            if self.problem.value(W) < self.value * (1 - _SAME):
                W = settled_modes(self.problem, W)
                if self.problem.value(W) < self.value:
                    self.W, self.value = W, self.problem.value(W)
                    self._look()
            if self.gap <= _CLOSED:
                return

    def _look(self):
        """What the output directions of the best point prove."""
        natural = self.problem.natural_directions
        directions = svd(self.W)[0] if self.W.size else natural()[0]
        found = certificate([self.costs], directions, self.rank)
        self._raise(found.bound)
        self._points = found.points

    def _improve(self, directions):
        start = self.problem.start_at(directions, self.rank)
        if start is not None:
            self._descend(start)
        return self.value

    def _raise(self, bound):
        self.bound = max(self.bound, safely_below(self.costs, bound))


def closed(costs, rank, residual, value, bound, points, improve=None):
    """The `bound` on the least cost, raised towards `value` by branching if that is needed.

    Parameters
    ----------
    costs : ModeCosts
        What modes cost.
    rank : int
        Bound on the rank of the map.
    residual : float
        What no map explains: the gap is relative to all of the objective.
    value, bound : float
        Least objective and largest bound known, without the residual.
    points : list of ndarrays
        Strengths at which the bound is tight, for the modes of each box.
    improve : callable, default=None
        ``improve(directions) -> value`` searches for something lower.

    Returns
    -------
    bound : float
    """
    tolerance = TARGET * (value + residual)
    if value - bound <= tolerance or costs.n_modes > _MOST_MODES:
        return bound
    boxes = everything(costs.n_modes, rank)
    improve = improve or (lambda directions: value)
    options = {"tolerance": tolerance, "max_boxes": _MAX_BOXES}
    found = branch(costs, boxes, points, value, improve, **options)
    return max(bound, safely_below(costs, found))
