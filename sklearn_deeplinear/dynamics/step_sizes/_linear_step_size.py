"""Step size of gradient descent from a bound on the curvature of the objective.

Along a run of a deep linear network let u_l bound the spectral norm of W_l. The Hessian of
J is then at most

    H = 2 lambda sum_l prod_{j != l} u_j^2
        + 2 (L - 1) ||G|| max_{l < k} prod_{j != l, k} u_j + 2 max_l gamma_l,

lambda the largest eigenvalue of A and G = M A - S, and the step is 1/H, half of what is
stable. The bounds used are u_l = max(||W_l(0)||, s^(1/L)), where s is the spectral norm of
the map that training can reach, and ||G|| = max(||S||, ||M_0 A - S||). For balanced
layers H is 2 L lambda s^(2-2/L) + 2 (L-1) ||S|| s^(1-2/L) + 2 gamma. Multiplicative noise
of variance s_l multiplies lambda by prod_l (1 + s_l).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

# Up to this size all eigenvalues cost less than the iterations for one.
_DENSE = 300
# Relative error of a larger one, which the step need not know better.
_NORM_TOL = 1e-3


def auto_step_size(weights, moments, weight_decay, noise, max_iter):
    """Largest step size that the curvature bound of this module's page allows.

    Parameters
    ----------
    weights : list of ndarray
        Initial W_1, ..., W_L.
    moments : SecondMoments
        Moments of the training data.
    weight_decay : ndarray of shape (L,)
        gamma_l.
    noise : ndarray of shape (L - 1,)
        Variances s_l of the hidden noise.
    max_iter : int
        Number of steps planned.

    Returns
    -------
    step_size : float
        1/H; 1 where the objective is flat.
    """
    depth = len(weights)
    top = moments.spectrum.sigma[0] ** 2 if moments.spectrum.sigma.size else 0.0
    top *= np.prod(1 + noise)  # lambda
    with np.errstate(over="ignore", invalid="ignore"):
        coef = np.linalg.multi_dot(weights[::-1]) if depth > 1 else weights[0]
    if not np.isfinite(coef).all():
        raise ValueError("init gives a network whose output is not finite: use a smaller one.")
    reach = max(_norm(coef), reachable_norm(moments, max_iter))  # s
    residual = coef @ moments.input_factor.T - moments.output_factor.T
    gradient = max(_norm(moments.cross_moment), _norm(residual @ moments.input_factor))
    norms = np.sort([max(_norm(W), reach ** (1 / depth)) for W in weights])  # u_l
    with np.errstate(over="ignore"):
        curvature = (
            2 * top * sum(np.prod(np.delete(norms, layer)) ** 2 for layer in range(depth))
            + 2 * weight_decay.max()
        )
        if depth > 1:
            curvature += 2 * (depth - 1) * gradient * np.prod(norms[2:])
    return float(1 / curvature) if curvature > 0 else 1.0


def reachable_norm(moments, max_iter):
    """Spectral norm of the least-squares map, without directions too flat to be learned.

    After T steps of size 1/(2 lambda) gradient descent has learned a direction of
    curvature a about as far as ridge regression of decay lambda/T has.
    """
    sigma, targets = moments.spectrum.sigma, moments.spectrum.targets
    if sigma.size == 0:
        return 0.0
    shrunk = sigma / (sigma**2 + sigma[0] ** 2 / max(max_iter, 1))
    return _norm(shrunk[:, None] * targets)


def _norm(matrix):
    """Spectral norm, from the Gram matrix of the thin side in units of the largest entry."""
    unit = np.abs(matrix).max(initial=0.0)
    if unit == 0:
        return 0.0
    thin = (matrix if len(matrix) <= matrix.shape[1] else matrix.T) / unit
    top = _top_by_lanczos(thin) if len(thin) > _DENSE else _top_eigenvalue(thin @ thin.T)
    return float(unit * np.sqrt(top))


def _top_eigenvalue(gram):
    # All of them: solvers for a single one fail on nearly equal ones, of orthogonal layers.
    return np.linalg.eigvalsh(gram)[-1]


def _top_by_lanczos(thin):
    """Top eigenvalue of the Gram matrix up to the tolerance, and rounded up by as much."""
    n = len(thin)
    gram = LinearOperator((n, n), lambda v: thin @ (v @ thin), dtype=np.float64)
    start = np.random.RandomState(0).standard_normal(n)
    found = eigsh(gram, 1, v0=start, tol=_NORM_TOL, return_eigenvectors=False)[0]
    return (1 + _NORM_TOL) * found
