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

from sklearn_deeplinear.theory._mode_costs import everything, violation
from sklearn_deeplinear.theory._scalar_family import ScalarFamily

# Rounding errors that a bound allows for, per input and per unit of a logarithm.
_ROUNDINGS = 4

# Halvings in the search for the multiplier of a rank bound.
_HALVINGS = 60


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


def feasible(costs, boxes, Lambda, mu):
    """The nearest multipliers that are proven to be feasible."""
    p = costs.n_modes
    found = [
        violation(costs, Lambda + shift * np.eye(p), box)
        for box, shift in zip(boxes, mu, strict=True)
    ]
    mu = np.array(mu) - [v.size for v in found]
    terms = np.concatenate([np.diag(Lambda), mu * [box.count for box in boxes]])
    rounding = len(terms) * np.finfo(float).eps * np.sum(np.abs(terms))
    return Multipliers(Lambda, mu, float(np.sum(terms) - rounding), [v.points for v in found])


def safely_below(costs, bound):
    """A bound, at least zero, less what rounding may have done to the costs themselves.

    In units where the targets have size one, residuals are as accurate as they, which moves a
    sum of squares b by their rounding error times b^(1/2).
    """
    bound = max(bound, 0.0)
    rounding = _ROUNDINGS * (len(costs.sigma) + costs.units) * np.finfo(float).eps
    return max(bound - rounding * (bound + np.sqrt(bound)), 0.0)


def best_strengths(costs, directions, rank):
    """Best strength x = log tau of networks of one output v_k, the columns of `directions`.

    Returns
    -------
    x : ndarray of shape (p,)
        -inf for modes that are better left out, and beyond the `rank` that gain most.
    value : float
        Excess loss plus penalty of the map with these modes.
    """
    targets = costs.Y @ directions
    log_decay = np.array([costs.depth * costs.log_g])
    x, values = np.full(costs.n_modes, -np.inf), np.sum(targets**2, axis=0)
    gains = np.zeros(costs.n_modes)
    for k, target in enumerate(targets.T):
        if target.any():
            family = ScalarFamily(costs.sigma, target, costs.depth)
            found, excess, penalty = family.minimum(log_decay)
            x[k], gains[k] = -found[0], values[k] - excess[0] - penalty[0]
    left_out = np.argsort(gains)[: costs.n_modes - rank]
    x[left_out], gains[left_out] = -np.inf, 0.0
    return x, float(np.sum(values - gains))


def certificate(costs, directions, rank):
    """Multipliers for all maps of bounded rank, from an orthonormal basis of the outputs."""
    x, _ = best_strengths(costs, directions, rank)
    columns = np.einsum("kij,jk->ik", costs.at(x), directions)
    Lambda = columns @ directions.T
    Lambda = (Lambda + Lambda.T) / 2
    boxes = everything(costs.n_modes, rank)
    mu = np.zeros(len(boxes))
    if rank < costs.n_modes:
        live = directions[:, np.isfinite(x)]
        mu[0] = -_price_of_a_mode(costs, Lambda, live @ live.T)
        Lambda = Lambda - mu[0] * live @ live.T
    return feasible(costs, boxes, Lambda, mu)


def _price_of_a_mode(costs, Lambda, live):
    """Largest mu with Lambda + mu P <= C(0) for the projection P on the live modes.

    The bound does not depend on mu while the multipliers are feasible, and a large mu lets
    more strengths of modes that are left out be feasible.
    """
    slack = costs.at(np.array([-np.inf]))[0] - Lambda
    allowed = np.linalg.eigvalsh(slack)[0] - 1e-15 * np.linalg.norm(slack, 2)
    low, high = 0.0, np.linalg.norm(slack, 2)
    for _ in range(_HALVINGS):
        mu = (low + high) / 2
        fits = np.linalg.eigvalsh(slack - mu * live)[0] >= min(allowed, 0.0)
        low, high = (mu, high) if fits else (low, mu)
    return low
