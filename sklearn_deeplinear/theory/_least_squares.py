"""Linear maps of bounded rank that minimise the squared loss, with or without ridge penalty.

All solvers of this folder return coordinates B (k, m) in the eigenbasis of A, so that the
end-to-end map is M = (V B)^T and its loss is ``residual + ||diag(sigma) B - targets||^2``.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._singular_modes import leading_modes


def reduced_rank_ridge(spectrum, weight_decay=0.0, rank=None):
    """Coordinates B of the map of rank at most `rank` that minimises loss + gamma ||M||_F^2.

    With T = diag(sigma / (sigma^2 + gamma)^(1/2)) targets the objective is a constant plus
    ``||diag(sigma^2 + gamma)^(1/2) B - T||_F^2``, so the best B comes from the best
    approximation of T of that rank. Nothing is squared: without decay the solution is as
    accurate as least squares on the data.

    Parameters
    ----------
    spectrum : Spectrum
        Of the moments of the data.
    weight_decay : float or ndarray of shape (n, 1, 1), default=0.0
        gamma, a ridge penalty on M; without `rank` also several at once.
    rank : int, default=None
        Bound on the rank; None for no bound.

    Returns
    -------
    B : ndarray of shape (k, m), or (n, k, m)

    References
    ----------
    .. [1] Izenman, A. J. (1975). "Reduced-rank regression for the multivariate linear
       model." Journal of Multivariate Analysis 5 (the case without ridge penalty).
    """
    sigma = spectrum.sigma[:, None]
    root = np.hypot(sigma, np.sqrt(weight_decay))
    T = sigma / root * spectrum.targets
    if rank is not None and rank < min(T.shape):
        U, s, Vt = leading_modes(T, rank)
        T = (U * s) @ Vt
    return T / root


def excess_loss(spectrum, B):
    """Loss of the map with coordinates B above what least squares reaches."""
    return float(np.sum((spectrum.sigma[:, None] * B - spectrum.targets) ** 2))
