"""A lower bound on the global minimum from any map, without solving anything."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._certificate import certificate, safely_below
from sklearn_deeplinear.theory._certified_search import TARGET, closed
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments
from sklearn_deeplinear.theory._layers import check_weights, end_to_end
from sklearn_deeplinear.theory._least_squares import excess_loss, reduced_rank_ridge
from sklearn_deeplinear.theory._mode_costs import ModeCosts
from sklearn_deeplinear.theory._noise_relaxation import (
    Quiet,
    added_curvature,
    inflated,
    quiet_problems,
)
from sklearn_deeplinear.theory._problem import Problem
from sklearn_deeplinear.theory._schatten import log_units, normalised_log_decay
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Rounding errors of a sum of squares, besides those of the logarithms of units.
_ROUNDINGS = 8


def certify(coef, moments, *, depth, weight_decay, width=None) -> float:
    """Lower bound on the objective of all networks, from the output directions of one map.

    The nearer the map is to a global minimum the better the bound: its distance from the
    minimum is of second order in that of the map. For almost all problems it is attained at
    the global minimum itself, which is thereby proven to be one.

    Parameters
    ----------
    coef : array-like of shape (m, d), or list of `depth` arrays
        Any end-to-end map, or the weights ``[W_1, ..., W_L]`` of a network; that of a
        trained network, for instance.
    moments : SecondMoments
        Moments of the data.
    depth : int
        Number of weight matrices L.
    weight_decay : float or sequence of L floats
        Decays gamma_l.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths of the networks that are bounded; None stands for any.

    Returns
    -------
    lower_bound : float
        No network of this depth and these decays has an objective below it, and none with
        noise on its hidden units either.

    Raises
    ------
    ValueError
        If a parameter is out of range, or shapes do not match.

    Notes
    -----
    The left singular vectors v_k of the map split the problem into networks of one output
    each, whose exact minima give a matrix Lambda. If ``v^T Lambda v`` never exceeds what the
    best network of the one output v costs, tr Lambda is a lower bound; what it does exceed
    that by is taken off. The theory pages prove it. With one layer, and without decay, the
    minimum has a closed form, which is returned whatever the map is.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, certify, global_minimum
    >>> A, S = [[2.0, 1.0], [1.0, 2.0]], [[3.0, 1.0], [1.0, 2.0]]
    >>> moments = SecondMoments.from_moments(A, S, 9.0)
    >>> minimum = global_minimum(moments, depth=3, weight_decay=0.1)
    >>> bound = certify(minimum.coef, moments, depth=3, weight_decay=0.1)
    >>> round(bound / minimum.objective, 10)
    1.0
    >>> bound = certify([[1.5, 0.0], [0.0, 0.8]], moments, depth=3, weight_decay=0.1)
    >>> round(bound / minimum.objective, 2)
    1.0
    """
    problem = Problem.checked(moments, depth, width, weight_decay, 0.0)
    if isinstance(coef, (list, tuple)) and all(np.ndim(W) == 2 for W in coef):
        if len(coef) != problem.depth:
            raise ValueError(f"coef must hold depth={problem.depth} matrices, got {len(coef)}.")
        coef = end_to_end(check_weights(coef, "coef", moments))
    return proven_bound(problem, moments.as_map(coef))


def proven_bound(problem, coef, value=None):
    """Lower bound on the objective of a checked problem from a map (m, d).

    With the objective `value` of the map the bound is closed by branching if need be. With
    noise it is that of problems without noise whose objectives lie below.
    """
    bound = _bound_in_span(problem, coef, value)
    if isinstance(problem.moments, KrylovMoments):
        return problem.moments.lowered(bound, problem)
    return bound


def _bound_in_span(problem, coef, value):
    spectrum, L, log_g = problem.moments.spectrum, problem.depth, problem.mean_log_decay
    if problem.uncorrelated:
        return spectrum.residual
    B = (coef @ spectrum.directions).T
    quiet = [Quiet(spectrum, log_g, 1.0)]
    if problem.noise.any():
        kappa = added_curvature(problem.noise, problem.width)
        if problem.direction is not None:  # nothing is lost
            quiet = [inflated(spectrum, log_g, L, kappa)]
        else:
            quiet = list(quiet_problems(spectrum, log_g, L, problem.rank, kappa, B))
    bound = -np.inf
    # Branching takes long: of several problems without noise first all are tried without it.
    for above in (None, value) if len(quiet) > 1 else (value,):
        found = [_quiet_bound(problem, each, B / each.scale, above) for each in quiet]
        bound = max(bound, *found)
        if value is None or value - bound <= TARGET * value:
            break
    return bound


def _quiet_bound(problem, quiet, B, value):
    """Lower bound on the objective of a problem without noise, from coordinates B (k, m)."""
    spectrum, log_g, _ = quiet
    L, Y = problem.depth, spectrum.targets
    gamma = problem.gamma[0] if L == 1 else 0.0
    best = reduced_rank_ridge(spectrum, gamma, problem.rank)
    excess = excess_loss(spectrum, best) + float(np.sum((np.sqrt(gamma) * best) ** 2))
    decayed = L > 1 and not problem.undecayed and Y.any()
    if decayed and normalised_log_decay(spectrum, log_g, L) >= 0:
        excess = float(np.sum(Y**2))
    elif decayed:
        above = None if value is None else value - spectrum.residual
        excess = max(excess, excess_bound(spectrum, [(L, log_g)], problem.rank, B, above))
    units = log_units(spectrum, log_g) if np.isfinite(log_g) and Y.any() else 0.0
    rounding = (_ROUNDINGS + units) * np.finfo(float).eps
    return float((spectrum.residual + excess) * (1 - rounding))


def excess_bound(spectrum, networks, rank, B, value=None):
    """Lower bound on excess loss plus penalty, from coordinates B (k, m) of a map.

    `networks` holds depth and log g of the network, or of pathways among which the modes
    choose. With the `value` of the map the bound is closed, for one network, by branching.
    """
    _, s, Vt = leading_modes(spectrum.targets)
    unit, basis = float(np.linalg.norm(s)), Vt.T
    sigma, Y = spectrum.sigma / spectrum.sigma[0], spectrum.targets @ basis / unit
    costs = [
        ModeCosts(sigma, Y, normalised_log_decay(spectrum, g, L), L, log_units(spectrum, g))
        for L, g in networks
    ]
    rank = min(rank, len(s))
    size = np.abs(B).max(initial=0.0) or 1.0
    found = certificate(costs, svd((B / size @ basis).T)[0], rank)
    bound = min(safely_below(each, found.bound) for each in costs)
    if value is not None and len(costs) == 1:
        residual, value = spectrum.residual / unit**2, value / unit**2
        bound = max(bound, closed(costs[0], rank, residual, value, bound, found.points))
    return bound * unit**2
