"""Minima beside weights that are known: none that is shown lies above their objective.

Weights below the reported objective show that the search missed something: it goes on from
there. Weights below the proven lower bound show that the package is wrong: it says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sklearn_deeplinear._warnings import ContradictedMinimumWarning, warn_user
from sklearn_deeplinear.theory._balance import layer_scales
from sklearn_deeplinear.theory._global_minimum import noisy_result
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._noisy_factors import noisy_descent
from sklearn_deeplinear.theory._pathway_global_minimum import Race
from sklearn_deeplinear.theory._pathway_local_minimum import descended_maps
from sklearn_deeplinear.theory._pathway_minimum_result import PathwayMinimum
from sklearn_deeplinear.theory._problem import Problem
from sklearn_deeplinear.theory._schatten import descended_map

# Two evaluations of an objective differ by less: relative to it, and to the squared targets,
# whose rounding is what is left of the loss of a perfect fit.
_RELATIVE = 1e-9
_ABSOLUTE = 100 * np.finfo(float).eps


def minimum_beside(minimum, moments, weights, objective):
    """The minimum, or a lower one that the `weights` of a network show to exist.

    Parameters
    ----------
    minimum : GlobalMinimum or PathwayMinimum
        Result of :func:`global_minimum` for `moments`, without its parameter ``rank``, or of
        :func:`pathway_global_minimum`.
    moments : SecondMoments
        Moments of the data.
    weights : list of L ndarray, or list of such lists
        Weights of a network of the widths of the problem, or of its pathways.
    objective : float
        Their objective J.

    Returns
    -------
    minimum : GlobalMinimum or PathwayMinimum
        Of an objective of at most `objective`. "exact" and "certified" become "stationary",
        with a warning, if `objective` lies below the lower bound.
    """
    if not objective < minimum.objective:
        return minimum
    rounding = _RELATIVE * objective + _ABSOLUTE * moments.output_moment
    known = {"objective": objective, "lower_bound": min(minimum.lower_bound, objective)}
    if objective >= minimum.objective - rounding:
        return replace(minimum, **known)
    refuted = objective < minimum.lower_bound - rounding
    if refuted:
        warn_user(ContradictedMinimumWarning(moments, minimum, weights, objective))
    # What least squares leaves bounds every loss, whatever else is wrong.
    bound = moments.spectrum.residual if refuted else minimum.lower_bound
    search = _pathways if isinstance(minimum, PathwayMinimum) else _network
    found = min(search(minimum, moments, weights, bound), key=lambda result: result.objective)
    certain = minimum.kind == "unattained" or not refuted
    found = replace(found, kind=minimum.kind if certain else "stationary")
    if found.objective > objective:
        known["lower_bound"] = min(found.lower_bound, objective)
        found = replace(found, **known)
    return found


def _network(minimum, moments, weights, bound):
    """The map of the weights and what descent makes of it; with noise, of the weights."""
    problem = Problem.checked(
        moments, minimum.depth, minimum.width, minimum.weight_decay, minimum.noise
    )
    spectrum, log_g, depth = moments.spectrum, problem.mean_log_decay, problem.depth
    first, *upper = (np.asarray(W, dtype=np.float64) for W in weights)
    W = [first @ spectrum.directions, *upper]
    if problem.noise.any():
        W = [V / c for c, V in zip(layer_scales(problem.gamma), W, strict=True)]
        W = noisy_descent(spectrum, log_g, problem.noise, W)
        return [noisy_result(problem, W, bound)]
    maps = [end_to_end(W).T]
    if depth > 1 and not problem.undecayed:
        maps.append(descended_map(spectrum, log_g, depth, problem.rank, maps[0]))
    return [problem.result_without_noise(B, "stationary", bound) for B in maps]


def _pathways(minimum, moments, weights, bound):
    """The maps of the pathways and what descent makes of them."""
    race = Race(moments, minimum.depths, minimum.widths, minimum.weight_decay)
    coefs = [end_to_end([np.asarray(W, dtype=np.float64) for W in path]) for path in weights]
    results, groups = [race.result_at(coefs, "stationary", bound)], race.groups
    if groups:
        start = [sum(coefs[p] for p in group.members) for group in groups]
        # The maps of pathways that never pay are given to the widest.
        widest = np.argmax([group.rank for group in groups])
        placed = {*race.shallow, *(p for group in groups for p in group.members)}
        start[widest] = start[widest] + sum(M for p, M in enumerate(coefs) if p not in placed)
        spectrum = race.reduced.moments.spectrum
        maps = descended_maps(spectrum, groups, [[N @ spectrum.directions for N in start]])
        maps = [N @ spectrum.directions.T for N in maps]
        results.append(race.result(maps, "stationary", bound))
    return results
