"""Step size of gradient descent from a bound on the curvature of the objective.

Along a run of parallel pathways, or of a single one, let u_pl bound the spectral norm of W_pl.
The Hessian of J is then at most

    H = 2 lambda sum_p sum_l prod_{j != l} u_pj^2
        + 2 ||G|| max_p (L_p - 1) max_{l < k} prod_{j != l, k} u_pj + 2 max gamma,

lambda the largest eigenvalue of A and G = M A - S, and the step is 1/H, half of what is
stable. The first term, from the outputs' first derivatives, adds over all layers that the
pathways have; the second one never couples two pathways. The bounds used are
u_pl = max(||W_pl(0)||, s^(1/L_p)), where s is the spectral norm of the map that training can
reach, and ||G|| = max(||S||, ||M_0 A - S||). For the balanced layers of one network H is
2 L lambda s^(2-2/L) + 2 (L-1) ||S|| s^(1-2/L) + 2 gamma.

Multiplicative noise of variance s_l multiplies lambda by prod_l (1 + s_l). A non-linear unit
may give each sample another slope, though none above one: lambda becomes tr A and ||G|| becomes
(tr A)^(1/2) (E||y||^2)^(1/2).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds

# Up to this size all singular values cost less than the iterations for one.
_DENSE = 300
# Relative error of the square of a larger one, which the step need not know better.
_SQUARE_TOL = 1e-3


def pathway_step_size(pathways, moments, weight_decay, max_iter, linear=True, noise=()):
    """Largest step size that the curvature bound of this module's page allows.

    Parameters
    ----------
    pathways : list of lists of ndarray
        Initial weights W_1, ..., W_L of each pathway.
    moments : SecondMoments
        Moments of the training data.
    weight_decay : list of ndarray of shape (L_p,)
        Decays.
    max_iter : int
        Number of steps planned.
    linear : bool, default=True
        Whether the pathways are linear.
    noise : array-like of shape (L - 1,), default=()
        Variances s_l of the hidden noise of a single pathway.

    Returns
    -------
    step_size : float
        1/H; 1 where the objective is flat.

    Raises
    ------
    ValueError
        If the map of linear pathways, or its gradient, overflows.
    """
    curvature = pathway_curvature(pathways, moments, max_iter, linear, noise)
    return inverse_curvature(curvature, max(gamma.max() for gamma in weight_decay))


def inverse_curvature(curvature, decay):
    """Step size where the loss has this curvature and the penalty the largest `decay`."""
    with np.errstate(over="ignore"):
        curvature = curvature + 2 * decay
        step_size = float(1 / curvature) if curvature > 0 else np.inf
    return step_size if step_size < np.inf else 1.0


def pathway_curvature(pathways, moments, max_iter, linear=True, noise=()):
    """Bound on the curvature of the loss: H of this module's page without the penalty."""
    reach = reachable_norm(moments, max_iter)  # s
    sigma = moments.spectrum.sigma
    if linear:
        coef, slope = _finite_map_and_slope(pathways, moments)
        reach = max(reach, spectral_norm(coef))
        gradient = max(spectral_norm(moments.cross_moment), spectral_norm(slope))
        root = sigma.max(initial=0.0) * np.sqrt(np.prod(1 + np.asarray(noise)))  # of lambda
    else:
        root = float(np.linalg.norm(sigma))
        gradient = root * np.sqrt(moments.output_moment)
    # Powers of weights in one unit and their inputs in another are no numbers apart.
    sum_of_squares, mixed = 0.0, 0.0
    with np.errstate(over="ignore"):
        for weights in pathways:
            depth = len(weights)
            u = np.sort([max(spectral_norm(W), reach ** (1 / depth)) for W in weights])
            slopes = [root * np.prod(np.delete(u, layer)) for layer in range(depth)]
            sum_of_squares += np.sum(np.square(slopes))
            mixed = max(mixed, (depth - 1) * np.prod(u[2:]))
        return 2 * sum_of_squares + 2 * gradient * mixed


def _finite_map_and_slope(pathways, moments):
    """The end-to-end map of linear pathways, and half the slope of the loss at it, G."""
    with np.errstate(over="ignore", invalid="ignore"):
        coef = sum(np.linalg.multi_dot(W[::-1]) if len(W) > 1 else W[0] for W in pathways)
        residual = coef @ moments.input_factor.T - moments.output_factor.T
        slope = residual @ moments.input_factor
    for what, values in (("output", coef), ("gradient", slope)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"init gives a network whose {what} is not finite: use a smaller one, or X and y "
                "in units in which they are of size 1."
            )
    return coef, slope


def reachable_norm(moments, max_iter):
    """Spectral norm of the least-squares map, without directions too flat to be learned.

    After T steps of size 1/(2 lambda) gradient descent has learned a direction of
    curvature a about as far as ridge regression of decay lambda/T has.
    """
    sigma, targets = moments.spectrum.sigma, moments.spectrum.targets
    if sigma.size == 0:
        return 0.0
    share = sigma / sigma[0]  # the squares of which are numbers in all units
    shrunk = share / (share**2 + 1 / max(max_iter, 1)) / sigma[0]
    return spectral_norm(shrunk[:, None] * targets)


def spectral_norm(matrix):
    """Spectral norm of a matrix, rounded up by its error, in units of its largest entry."""
    unit = np.abs(matrix).max(initial=0.0)
    if unit == 0:
        return 0.0
    thin = (matrix if len(matrix) <= matrix.shape[1] else matrix.T) / unit
    if len(thin) <= _DENSE:
        # All of them: solvers for a single one fail on nearly equal ones, of orthogonal layers.
        return float(unit * np.sqrt(np.linalg.eigvalsh(thin @ thin.T)[-1]))
    start = np.random.RandomState(0).standard_normal(len(thin))
    tol = np.sqrt(_SQUARE_TOL)  # svds squares it
    top = svds(thin.T, 1, tol=tol, v0=start, return_singular_vectors=False)[0]
    return float(unit * np.sqrt(1 + _SQUARE_TOL) * top)
