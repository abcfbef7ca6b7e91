"""The least objective for a cross moment of rank one by a dense scan, slowly."""

import numpy as np
from scipy.optimize import minimize_scalar


def scanned_minimum(A, S, c, depth, weight_decay, width=1, noise=0.0):
    """Least J over the family of Ziyin, Li and Meng, for S (d,) and equal layers.

    phi(t) = (L - 1) t + c - rho S (A + mu(t) I)^(-1) S^T with mu = rho gamma^L / t^(L-1), on
    6001 values of log mu; every valley of them is refined by bounded minimisation.
    """
    a, V = np.linalg.eigh(A)
    power = (V.T @ S) ** 2
    D, log_rho = depth - 1, -(depth - 1) * np.log1p(noise / width)

    def gain(log_mu):
        log_t = (log_rho + depth * np.log(weight_decay) - log_mu) / D
        lost = np.exp(log_rho) * (power / (a + np.exp(np.asarray(log_mu))[..., None])).sum(-1)
        return D * np.exp(np.minimum(log_t, 700.0)) - lost

    floor = log_rho + depth * np.log(weight_decay) - D * np.log(c)  # t would exceed c
    grid = np.linspace(min(floor, np.log(a[0])) - 3, np.log(a[-1]) + 40, 6001)
    values = gain(grid)
    inner = values[1:-1]
    valleys = 1 + np.flatnonzero((inner <= values[:-2]) & (inner <= values[2:]))
    refined = [
        minimize_scalar(
            gain, bounds=grid[[i - 1, i + 1]], method="bounded", options={"xatol": 1e-10}
        ).fun
        for i in valleys
    ]
    return c + min([0.0, *refined])
