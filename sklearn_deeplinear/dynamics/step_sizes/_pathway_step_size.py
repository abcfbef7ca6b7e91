"""Step size for parallel pathways, from a bound on the curvature of the objective.

With the bounds u_pl on ||W_pl|| that a single network has (see `_linear_step_size`) the Hessian of
J is at most

    H = 2 lambda sum_p sum_l prod_{j != l} u_pj^2
        + 2 ||G|| max_p (L_p - 1) max_{l < k} prod_{j != l, k} u_pj + 2 max gamma:

the first term, from the outputs' first derivatives, adds over all layers that the pathways
have; the second one never couples two pathways. The step is 1/H. A non-linear unit may give
each sample another slope, though none above one: lambda becomes tr A and ||G|| becomes
(tr A)^(1/2) (E||y||^2)^(1/2).
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.dynamics.step_sizes._linear_step_size import _norm, reachable_norm


def pathway_step_size(pathways, moments, weight_decay, max_iter, linear=True):
    """Largest step size that the curvature bound of this module's page allows.

    Parameters
    ----------
    pathways : list of lists of ndarray
        Initial weights.
    moments : SecondMoments
        Moments of the training data.
    weight_decay : list of ndarray of shape (L_p,)
        Decays.
    max_iter : int
        Number of steps planned.
    linear : bool, default=True
        Whether the pathways are linear.

    Returns
    -------
    step_size : float
        1/H; 1 where the objective is flat.
    """
    top, gradient = (_linear if linear else _non_linear)(pathways, moments)
    reach = reachable_norm(moments, max_iter)
    if linear:
        reach = max(reach, _norm(_map_of(pathways)))
    sum_of_squares, mixed = 0.0, 0.0
    with np.errstate(over="ignore"):
        for weights in pathways:
            depth = len(weights)
            u = np.sort([max(_norm(W), reach ** (1 / depth)) for W in weights])
            sum_of_squares += sum(np.prod(np.delete(u, layer)) ** 2 for layer in range(depth))
            if depth > 1:
                mixed = max(mixed, (depth - 1) * np.prod(u[2:]))
        decay = max(gamma.max() for gamma in weight_decay)
        curvature = 2 * top * sum_of_squares + 2 * gradient * mixed + 2 * decay
    return float(1 / curvature) if curvature > 0 else 1.0


def _linear(pathways, moments):
    sigma = moments.spectrum.sigma
    residual = _map_of(pathways) @ moments.input_factor.T - moments.output_factor.T
    gradient = max(_norm(moments.cross_moment), _norm(residual @ moments.input_factor))
    return (sigma[0] ** 2 if sigma.size else 0.0), gradient


def _non_linear(pathways, moments):
    trace = float(np.sum(moments.spectrum.sigma**2))
    return trace, np.sqrt(trace * moments.output_moment)


def _map_of(pathways):
    return sum(np.linalg.multi_dot(W[::-1]) if len(W) > 1 else W[0] for W in pathways)
