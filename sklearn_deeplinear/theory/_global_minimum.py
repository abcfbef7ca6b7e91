"""Global minima of the objective of deep linear networks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from sklearn_deeplinear.theory._balance import layer_scales
from sklearn_deeplinear.theory._certify import proven_bound
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._least_squares import excess_loss, reduced_rank_ridge
from sklearn_deeplinear.theory._likely_minimum import LikelySearch
from sklearn_deeplinear.theory._minimum_result import GlobalMinimum, StationaryPoint
from sklearn_deeplinear.theory._noise import noisy_loss
from sklearn_deeplinear.theory._noise_relaxation import (
    added_curvature,
    inflated_minimum,
    shrunk_minimum,
)
from sklearn_deeplinear.theory._noisy_factors import noisy_minimum, unit_copies
from sklearn_deeplinear.theory._problem import Problem
from sklearn_deeplinear.theory._scalar_family import ScalarFamily, log_shrinkage
from sklearn_deeplinear.theory._schatten import (
    CERTIFIED_GAP,
    schatten_minimum,
    schatten_penalty,
    whitened_minimum,
)
from sklearn_deeplinear.theory._singular_modes import leading_modes

# The logarithm of numbers near the largest ones.
_LARGEST_LOG = 700.0


def global_minimum(
    moments, *, depth, width=None, weight_decay=0.0, noise=0.0, rank=None
) -> GlobalMinimum:
    """Global minimum of the objective of a deep linear network.

    Minimises ``J = E||y - W_L ... W_1 x - b||^2 + sum_l gamma_l ||W_l||_F^2`` over all
    weights, the loss being averaged over multiplicative noise on the hidden units.

    Parameters
    ----------
    moments : SecondMoments
        Moments of the data.
    depth : int
        Number of weight matrices L.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths; None stands for wide enough. Needed with noise.
    weight_decay : float or sequence of L floats, default=0.0
        Decays gamma_l.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the multiplicative noise on the hidden layers.
    rank : int, default=None
        Further bound on the rank of the end-to-end map; not with noise on a network of
        several outputs.

    Returns
    -------
    minimum : GlobalMinimum
        Its ``kind`` tells what is known:

        ============================================== =================================
        problem                                        kind
        ============================================== =================================
        depth 1, or no decay and no noise              exact ((reduced-rank) regression)
        S of rank one, e.g. one output                 exact (one scalar equation)
        A = a I, no noise                              exact (one scalar equation a mode)
        depth 2, no noise, wide enough                 certified (nuclear norm)
        depth > 2, or a bottleneck; no noise           certified where the proof closes,
                                                       else stationary
        noise, several outputs                         certified where the proof closes,
                                                       else stationary
        decay in some layers only                      unattained
        ============================================== =================================

    Raises
    ------
    ValueError
        If a parameter is out of range, noise comes without `width`, or `rank` is below
        full with noise and S of rank two or more.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35 (one output).

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, global_minimum
    >>> moments = SecondMoments.from_moments([[1.0]], [[2.0]], 5.0)
    >>> minimum = global_minimum(moments, depth=2, weight_decay=0.5)
    >>> minimum.coef, minimum.objective
    (array([[1.5]]), 2.75)
    >>> W_1, W_2 = minimum.weights()
    >>> (W_2 @ W_1).round(12)
    array([[1.5]])
    """
    return solve(Problem.checked(moments, depth, width, weight_decay, noise, rank))


def solve(problem, start=None, search=None) -> GlobalMinimum:
    """Minimum of a checked problem; `start` (k, m) is a map to start iterations from.

    With a :class:`LikelySearch` nothing is proven where that would take most of the time.
    """
    minimise = next(minimise for applies, minimise in _CASES if applies(problem))
    if minimise is _schatten and search is not None and not problem.is_cheap:
        minimise = partial(_likely, search)
    minimum = minimise(problem, start)
    if isinstance(problem.moments, KrylovMoments):
        return problem.moments.judged(minimum, problem, _is_closed)
    return minimum


def _zero(problem, start):
    return problem.result_without_noise(np.zeros_like(problem.moments.spectrum.targets), "exact")


def _regression(problem, start):
    gamma = problem.gamma[0] if problem.depth == 1 else 0.0
    B = reduced_rank_ridge(problem.moments.spectrum, gamma, problem.rank)
    return problem.result_without_noise(B, "exact")


def scalar_family(problem):
    """The family for a cross moment of rank one, and the loss it cannot reach."""
    spectrum, u = problem.moments.spectrum, problem.direction
    log_rho = log_shrinkage(problem.noise, problem.width) if problem.noise.any() else 0.0
    target = spectrum.targets @ u
    missed = float(np.sum((spectrum.targets - target[:, None] * u) ** 2))
    return ScalarFamily(spectrum.sigma, target, problem.depth, log_rho), missed


def _scalar(problem, start):
    family, missed = scalar_family(problem)
    log_decay = np.array([problem.depth * problem.mean_log_decay])
    x, excess, penalty = family.minimum(log_decay)
    B = family.coordinates(x[0])[:, None] * problem.direction
    return problem.result(
        B,
        excess[0] + missed,
        penalty[0],
        "exact",
        candidates=_candidates(problem, family, missed) if np.isfinite(log_decay[0]) else (),
    )


def _candidates(problem, family, missed):
    spectrum = problem.moments.spectrum
    points = family.stationary(np.array([problem.depth * problem.mean_log_decay])).ravel()
    points = np.append(points[~np.isnan(points)], np.inf)
    excess, penalty, log_t = family.terms(points, np.array(problem.depth * problem.mean_log_decay))
    objectives = spectrum.residual + (excess + missed) + penalty
    maps = (family.coordinates(points) @ spectrum.directions.T)[:, None] * problem.direction[
        :, None
    ]
    return tuple(
        StationaryPoint(float(np.exp(log_t[i])), float(objectives[i]), maps[i])
        for i in np.argsort(objectives)
    )


def _white(problem, start):
    spectrum, log_g = problem.moments.spectrum, problem.mean_log_decay
    B = whitened_minimum(spectrum, log_g, problem.depth, problem.rank)
    return problem.result_without_noise(B, "exact")


def _schatten(problem, start):
    spectrum, log_g = problem.moments.spectrum, problem.mean_log_decay
    B, bound, certified = schatten_minimum(spectrum, log_g, problem.depth, problem.rank, start)
    return problem.result_without_noise(
        B, "certified" if certified else "stationary", bound + spectrum.residual
    )


def likely_search(problems):
    """What :func:`solve` needs to find minima of problems that differ in their decays."""
    moments, depth = problems[0].moments, problems[0].depth
    return LikelySearch(moments.spectrum, depth, [problem.mean_log_decay for problem in problems])


def _likely(search, problem, start):
    B = search.minimum(problem.mean_log_decay, problem.rank, start)
    return problem.result_without_noise(B, "stationary", problem.moments.spectrum.residual)


def _noisy(problem, start):
    moments, spectrum = problem.moments, problem.moments.spectrum
    if problem.rank < min(moments.n_inputs, moments.n_outputs, *problem.width):
        raise ValueError("rank cannot be combined with noise when S has rank two or more.")
    L, log_g = problem.depth, problem.mean_log_decay
    options = (log_g, L, problem.rank, added_curvature(problem.noise, problem.width))
    B, bound = inflated_minimum(spectrum, *options)
    # At maps of rank one the relaxation is exact: a minimum of it that has rank one is global.
    single = _single_mode(problem, B, bound)
    if _is_closed(single.objective, bound):
        return single
    shrunk, other_bound = shrunk_minimum(spectrum, *options, B)
    W = noisy_minimum(spectrum, log_g, problem.noise, problem.width, [shrunk, B])
    found = noisy_result(problem, W, max(bound, other_bound))
    best = min(single, found, key=lambda minimum: minimum.objective)
    bound = max(bound, other_bound, proven_bound(problem, best.coef))
    return with_bound(best, bound)


def _single_mode(problem, B, bound):
    """The result at the best mode of a map, whose load all units share equally, or at zero."""
    spectrum, sigma = problem.moments.spectrum, problem.moments.spectrum.sigma[:, None]
    U, s, Vt = leading_modes(sigma * B, rank=1)
    B = (U * s) @ Vt / sigma
    kappa = np.expm1(min(-log_shrinkage(problem.noise, problem.width), _LARGEST_LOG))
    loss = excess_loss(spectrum, B) + float(kappa * np.sum(s**2))
    penalty = schatten_penalty(B, problem.mean_log_decay, problem.depth)
    if loss + penalty >= np.sum(spectrum.targets**2):
        B, penalty = np.zeros_like(B), 0.0
        loss = excess_loss(spectrum, B)
    return with_bound(problem.result(B, loss, penalty, "stationary"), bound)


def with_bound(minimum, bound):
    """The minimum with a proven bound, "certified" if that closes the gap."""
    kind = minimum.kind
    if kind != "unattained":
        kind = "certified" if _is_closed(minimum.objective, bound) else "stationary"
    return replace(minimum, lower_bound=min(bound, minimum.objective), kind=kind)


def _is_closed(objective, bound):
    return objective - bound <= CERTIFIED_GAP * objective


def noisy_result(problem, W, lower_bound):
    """The result at weights that act on the eigenbasis of A and have equal decays."""
    moments, spectrum, log_g = problem.moments, problem.moments.spectrum, problem.mean_log_decay
    factors = [W[0] @ spectrum.directions.T, *W[1:]]
    copies = [unit_copies(h, len(V)) for h, V in zip(problem.width, W[:-1], strict=True)]
    shared = [s / q for s, q in zip(problem.noise, copies, strict=True)]
    loss = noisy_loss(factors, moments, shared) - spectrum.residual
    penalty = np.exp(log_g) * sum(np.sum(V**2) for V in W)
    factors = [c * V for c, V in zip(layer_scales(problem.gamma), factors, strict=True)]
    B = end_to_end(W).T
    return problem.result(B, loss, penalty, "stationary", lower_bound, _factors=factors)


# The first case that applies is taken.
_CASES = (
    (lambda problem: problem.uncorrelated, _zero),
    (lambda problem: problem.depth == 1, _regression),
    (lambda problem: problem.undecayed and not problem.noise.any(), _regression),
    (lambda problem: problem.direction is not None, _scalar),
    (lambda problem: problem.overwhelmed, _zero),
    (lambda problem: problem.noise.any(), _noisy),
    (lambda problem: problem.is_white, _white),
    (lambda problem: True, _schatten),
)
