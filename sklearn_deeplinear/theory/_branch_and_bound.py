"""Global minima of the Schatten problem by branching on how many modes are how strong.

The multipliers of :mod:`._mode_relaxation` fall short of the minimum where they would have a
fraction of a mode at some strength and the rest of it at another. In truth the number of modes
beyond any strength is an integer, so the box of such modes is split there: into no mode beyond
it, one, two, and so on. Boxes whose bound exceeds the best objective known are done.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from sklearn_deeplinear.theory._decompositions import eigh
from sklearn_deeplinear.theory._mode_costs import Box
from sklearn_deeplinear.theory._mode_relaxation import Relaxation, relax

# Shares of a mode below this are what the barrier leaves; nothing is gained by a split.
_FRACTION = 1e-3

# Strengths between two others among which the most costly is looked for.
_N_BETWEEN = 16


@dataclass(order=True)
class _Node:
    """Boxes with a bound, which is that of their parent until they are relaxed."""

    bound: float
    order: int
    boxes: tuple = field(compare=False)
    points: list = field(compare=False)
    relaxation: Relaxation | None = field(compare=False, default=None)


def branch(costs, boxes, points, value, improve, *, tolerance, max_boxes):
    """Lower bound on the least cost of maps whose modes are in the boxes.

    Parameters
    ----------
    costs : ModeCosts
        What modes cost.
    boxes : tuple of Box
        Where modes may be.
    points : list of ndarrays
        Strengths in every box that are likely to matter.
    value : float
        Least objective known.
    improve : callable
        ``improve(directions) -> value``, least objective known after a search from the
        output directions (p, p) of a relaxed solution.
    tolerance : float
        Gap at which to stop.
    max_boxes : int
        Number of sets of boxes to be relaxed at most.

    Returns
    -------
    bound : float
    """
    order = count()
    heap = [_Node(-np.inf, next(order), boxes, points)]
    n_boxes, closed = 0, np.inf
    while heap:
        node = heapq.heappop(heap)
        if node.bound >= value - tolerance:
            return min(node.bound, closed)
        if node.relaxation is None:
            if n_boxes == max_boxes:
                return min(node.bound, closed)
            n_boxes += 1
            node.relaxation = relax(costs, node.boxes, node.points, enough=value)
            node.bound = max(node.bound, node.relaxation.multipliers.bound)
            if node.bound < value - tolerance:
                value = improve(directions_of(costs, node.relaxation))
            heapq.heappush(heap, node)
            continue
        children = _split(costs, node)
        if not children:
            closed = min(closed, node.bound)
        for child in children:
            heapq.heappush(heap, _Node(node.bound, next(order), *child))
    return closed


def directions_of(costs, relaxation):
    """Output directions of the map that the relaxed solution stands for, by their strength."""
    strength = costs.penalty(relaxation.x)
    total = np.tensordot(strength, relaxation.weights, axes=1)
    return eigh(total)[1][:, ::-1]


def _split(costs, node):
    """Boxes and points of the children at the most fractional strength, if there is any."""
    most, where = _FRACTION, None
    shares = np.trace(node.relaxation.weights, axis1=1, axis2=2)
    for j, box in enumerate(node.boxes):
        mine = np.flatnonzero(node.relaxation.box == j)
        x = node.relaxation.x[mine]
        beyond = box.count - np.cumsum(shares[mine])[:-1]
        fraction = np.abs(beyond - np.round(beyond))
        if fraction.max(initial=0.0) > most:
            i = int(fraction.argmax())
            most, where = fraction[i], (j, x[i], x[i + 1])
    if where is None:
        return []
    j, low, high = where
    box, at = node.boxes[j], _most_costly(costs, node.relaxation, low, high)
    children = []
    for beyond in range(box.count + 1):
        parts = (Box(box.lower, at, box.count - beyond), Box(at, box.upper, beyond))
        boxes = [*node.boxes[:j], *parts, *node.boxes[j + 1 :]]
        points = node.relaxation.multipliers.points
        points = [*points[:j], points[j], points[j], *points[j + 1 :]]
        filled = [i for i, part in enumerate(boxes) if part.count]
        children.append((tuple(boxes[i] for i in filled), [points[i] for i in filled]))
    return children


def _most_costly(costs, relaxation, low, high):
    """The strength between two others at which modes are dearest, given the multipliers."""
    low = max(low, min(costs.weakest(), high - 1.0))
    x = np.linspace(low, high, _N_BETWEEN + 2)[1:-1]
    slack = costs.at(x) - relaxation.multipliers.Lambda
    return float(x[np.linalg.eigvalsh(slack)[:, 0].argmax()])
