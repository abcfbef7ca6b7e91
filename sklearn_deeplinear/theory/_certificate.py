"""Proven lower bounds on the objective, from the output directions of any map.

Let v_k be the left singular vectors of a map, tau_k the strength at which a network of the
one output v_k is best (:mod:`._mode_costs`), and Lambda the symmetric part of

    sum_k C(tau_k) v_k v_k^T.

At a stationary map this sum is symmetric, because turning two modes into each other changes
nothing to first order, and tr Lambda is the objective of the map. If Lambda <= C(tau) for all
tau >= 0 as well, the map is the global minimum. What Lambda exceeds C by is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._mode_costs import everything
from sklearn_deeplinear.theory._scalar_family import mode_minima
from sklearn_deeplinear.theory._violation import violation

# Rounding errors that a bound allows for, per input and per unit of a logarithm.
_ROUNDINGS = 4


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A matrix and a number per box with Lambda + mu_j I <= C on box j.

    Attributes
    ----------
    Lambda : ndarray of shape (p, p)
        Symmetric.
    mu : ndarray of shape (n_boxes,)
        Already less what Lambda exceeded the costs by.
    bound : float
        tr Lambda + sum_j count_j mu_j, a lower bound on what maps with such modes cost.
    points : list of ndarrays
        Strengths in every box at which the bound is tight, or was violated.
    """

    Lambda: np.ndarray
    mu: np.ndarray
    bound: float
    points: list


def feasible(networks, boxes, Lambda, mu):
    """The nearest multipliers that are proven to be feasible, for the costs of all `networks`."""
    sizes, points = np.zeros(len(boxes)), []
    for j, box in enumerate(boxes):
        shifted = Lambda + mu[j] * np.eye(len(Lambda))
        found = [violation(costs, shifted, box) for costs in networks]
        sizes[j] = max(v.size for v in found)
        points.append(np.concatenate([v.points for v in found]))
    mu = np.array(mu) - sizes
    terms = np.concatenate([np.diag(Lambda), mu * [box.count for box in boxes]])
    rounding = len(terms) * np.finfo(float).eps * np.sum(np.abs(terms))
    return Multipliers(Lambda, mu, float(np.sum(terms) - rounding), points)


def safely_below(costs, bound):
    """A bound, at least zero, less what rounding may have done to the costs themselves.

    In units where the targets have size one, residuals are as accurate as they, which moves a
    sum of squares b by their rounding error times b^(1/2).
    """
    bound = max(bound, 0.0)
    rounding = _ROUNDINGS * (len(costs.sigma) + costs.units) * np.finfo(float).eps
    return max(bound - rounding * (bound + np.sqrt(bound)), 0.0)


def certificate(networks, directions, rank):
    """Multipliers for all maps of bounded rank, from an orthonormal basis of the outputs.

    Parameters
    ----------
    networks : sequence of ModeCosts
        Of the network, or of parallel pathways, each of which may carry a mode.
    directions : ndarray of shape (p, p)
        Basis, one direction per column.
    rank : int
        Bound on the number of modes.

    Returns
    -------
    multipliers : Multipliers
    """
    p = len(directions)
    found = [_best_strengths(costs, directions) for costs in networks]
    gains = np.array([gain for _, gain in found])
    cheapest, kept = np.argmax(gains, axis=0), np.argsort(gains.max(axis=0))[p - rank :]
    kept = kept[np.isfinite(np.array([x for x, _ in found])[cheapest[kept], kept])]
    at_zero = networks[0].at(np.array([-np.inf]))[0]
    columns = at_zero @ directions
    for k in kept:
        x = found[cheapest[k]][0][k : k + 1]
        columns[:, k] = networks[cheapest[k]].at(x)[0] @ directions[:, k]
    K = directions.T @ columns
    Lambda = (K + K.T) / 2
    # Away from stationary maps the sum is not symmetric. Of modes that are left out it is kept
    # as it is: they have no slack to spare at zero, and the others have.
    out = np.setdiff1d(np.arange(p), kept)
    Lambda[:, out], Lambda[out] = K[:, out], K[:, out].T
    boxes = everything(p, rank)
    mu = np.zeros(len(boxes))
    if rank < p and len(kept):
        # The bound does not depend on the price of a mode while the multipliers are feasible;
        # the larger it is the more strengths of modes that are left out are feasible.
        slack = directions.T @ at_zero @ directions - Lambda
        price = max(np.linalg.eigvalsh(slack[np.ix_(kept, kept)])[0], 0.0)
        mu[0] = -price
        Lambda[kept, kept] += price
    Lambda = directions @ Lambda @ directions.T
    return feasible(networks, boxes, (Lambda + Lambda.T) / 2, mu)


def _best_strengths(costs, directions):
    """Best strengths x = log tau (p,) of networks of one output v_k, and what they gain."""
    targets = costs.Y @ directions
    log_decay = costs.depth * costs.log_g
    _, excess, penalty, x = mode_minima(costs.sigma, targets, costs.depth, log_decay)
    return -x, np.sum(targets**2, axis=0) - excess - penalty
