"""Reference for descent in modes: L-BFGS in the matrix W of :mod:`theory._schatten` itself."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


def objective(problem, W):
    """F(W) and its gradient."""
    s, U = np.linalg.eigh(W @ W.T)
    s, D = np.clip(s, 0.0, 1e100 ** (1 / problem.depth)), problem.depth - 1
    y = problem.Y @ U
    kept = 1 / (problem.sigma[:, None] ** 2 * s**D + problem.g)
    K = problem.sigma[:, None] * y * kept
    # Divided differences of s -> s^D carry the gradient from (W W^T)^D to W W^T.
    Phi = sum(s[:, None] ** j * s ** (D - 1 - j) for j in range(D))
    gradient = 2 * D * W - 2 * U @ ((K.T @ K * Phi) @ (U.T @ W))
    return np.sum(y**2 * kept) + D * np.sum(W**2), gradient


def descended(problem, W):
    """Where descent from W ends."""

    def flat(w):
        value, gradient = objective(problem, w.reshape(W.shape))
        return value, gradient.ravel()

    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-14, "gtol": 1e-12, "maxcor": 40}
    found = minimize(flat, W.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(W.shape)
