"""Minima beside weights that are known: none that is shown lies above their objective.

Weights below the reported objective show that the search missed something: it goes on from
there. Weights below the proven lower bound show that the package is wrong: it says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sklearn_deeplinear._warnings import ContradictedMinimumWarning, warn_user
from sklearn_deeplinear.theory._global_minimum import noisy_result
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._noisy_factors import noisy_descent
from sklearn_deeplinear.theory._problem import Problem
from sklearn_deeplinear.theory._schatten import descended_map

# Two evaluations of an objective differ by less: relative to it, and to the squared targets,
# whose rounding is what is left of the loss of a perfect fit.
_RELATIVE = 1e-9
_ABSOLUTE = 100 * np.finfo(float).eps


def minimum_beside(minimum, moments, weights, objective):
    """The minimum of one network, or a lower one that its `weights` show to exist.

    Parameters
    ----------
    minimum : GlobalMinimum
        Result of :func:`global_minimum` for `moments`, without its parameter ``rank``.
    moments : SecondMoments
        Moments of the data.
    weights : list of L ndarray
        Weights of a network of the widths of the problem.
    objective : float
        Their objective J.

    Returns
    -------
    minimum : GlobalMinimum
        Of an objective of at most `objective`. "exact" and "certified" become "stationary",
        with a warning, if `objective` lies below the lower bound.
    """

    def search(bound):
        problem = Problem.checked(
            moments, minimum.depth, minimum.width, minimum.weight_decay, minimum.noise
        )
        layers = [np.asarray(W, dtype=np.float64) for W in weights]
        return (_noisy if minimum.noise.any() else _noiseless)(problem, layers, bound)

    return beside(minimum, moments, weights, objective, search)


def beside(minimum, moments, weights, objective, search):
    """As :func:`minimum_beside`; ``search(bound)`` goes on from the weights."""
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
    found = search(bound)
    certain = minimum.kind == "unattained" or not refuted
    found = replace(found, kind=minimum.kind if certain else "stationary")
    if found.objective > objective:
        known["lower_bound"] = min(found.lower_bound, objective)
        found = replace(found, **known)
    return found


def _noiseless(problem, weights, bound):
    """The better of the map of the weights and of what descent makes of it."""
    spectrum, log_g, depth = problem.moments.spectrum, problem.mean_log_decay, problem.depth
    maps = [(end_to_end(weights) @ spectrum.directions).T]
    if depth > 1 and not problem.undecayed:
        maps.append(descended_map(spectrum, log_g, depth, problem.rank, maps[0]))
    bound = bound - spectrum.residual
    results = [problem.result_without_noise(B, "stationary", bound) for B in maps]
    return min(results, key=lambda result: result.objective)


def _noisy(problem, weights, bound):
    spectrum, log_g = problem.moments.spectrum, problem.mean_log_decay
    W = [weights[0] @ spectrum.directions, *weights[1:]]
    if not problem.undecayed:
        scales = np.exp((np.log(problem.gamma) - log_g) / 2)
        W = [c * V for c, V in zip(scales, W, strict=True)]
    W = noisy_descent(spectrum, log_g, problem.noise, W)
    return noisy_result(problem, W, bound - spectrum.residual)
