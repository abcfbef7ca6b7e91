"""Cross moments of rank one: the least objective by a dense scan, and close extrema."""

import numpy as np
from scipy.optimize import brentq, minimize_scalar


def scanned_minimum(A, S, c, depth, weight_decay, width=1, noise=0.0):
    """Least J over the family of Ziyin, Li and Meng, for S (d,) and equal layers.

    phi(t) = (L - 1) t + c - rho S (A + mu(t) I)^(-1) S^T with mu = rho gamma^L / t^(L-1), on
    3001 values of log mu; the ten deepest valleys are refined by bounded minimisation.
    """
    a, V = np.linalg.eigh(A)
    power = (V.T @ S) ** 2
    D, log_rho = depth - 1, -(depth - 1) * np.log1p(noise / width)

    def gain(log_mu):
        log_t = (log_rho + depth * np.log(weight_decay) - log_mu) / D
        lost = np.exp(log_rho) * (power / (a + np.exp(np.asarray(log_mu))[..., None])).sum(-1)
        return D * np.exp(np.minimum(log_t, 700.0)) - lost

    floor = log_rho + depth * np.log(weight_decay) - D * np.log(c)  # t would exceed c
    grid = np.linspace(min(floor, np.log(a[0])) - 3, np.log(a[-1]) + 40, 3001)
    values = gain(grid)
    inner = values[1:-1]
    valleys = 1 + np.flatnonzero((inner <= values[:-2]) & (inner <= values[2:]))
    valleys = valleys[np.argsort(values[valleys])[:10]]  # a flat end has many, all alike
    refined = [
        minimize_scalar(
            gain, bounds=grid[[i - 1, i + 1]], method="bounded", options={"xatol": 1e-10}
        ).fun
        for i in valleys
    ]
    return c + min([0.0, *refined])


def weight_of_extremum(x, b, rise, power):
    """The t for which rise x + log(1 / (1 + e^x)^power + t / (b + e^x)^power) is flat at x."""
    mu = np.exp(x)
    p, share = mu / (1 + mu), mu / (b + mu)
    return (rise / power - p) / (share - rise / power) * ((b + mu) / (1 + mu)) ** power


def close_extrema(b, depth, gap):
    """A weight t as above, and the three extrema, the first two about `gap` apart.

    The extrema are where the weight has the value t, so two are close next to a turn of it.
    """
    rise = depth / (depth - 1)

    def log_t(x):
        return np.log(weight_of_extremum(x, b, rise, 2))

    low, high = np.log(rise / (2 - rise)) + np.array([np.log(b), 0.0])
    turn = minimize_scalar(log_t, bounds=(low + 1e-9, (low + high) / 2), method="bounded").x
    near = turn - gap / 2
    far = brentq(lambda x: log_t(x) - log_t(near), turn + gap / 10, turn + gap)
    third = brentq(lambda x: log_t(x) - log_t(near), turn + gap, high - 1e-12)
    return np.exp(log_t(near)), np.array([near, far, third])
