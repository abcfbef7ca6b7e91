"""Stationary points of parallel pathways with weight decay, by descent over their factors.

In the eigenbasis of A and with equal decays in a pathway, which a rescaling of its layers
always allows, the objective is

    ||diag(sigma) sum_p B_p - Y||_F^2 + sum_p g_p sum_l ||W_pl||_F^2,   B_p^T = W_pL ... W_p1.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._balance import balanced_factors, end_to_end
from sklearn_deeplinear.theory._local_minimum import best_local_minimum

# Modes this far below the largest one have died out in the iteration.
_DEAD = 1e-12
# Modes of a map that are this far below the largest one are not worth dividing.
_SLIGHT = 1e-10


def descended_maps(spectrum, groups, starts):
    """Best stationary point that descent reaches from several starts.

    Parameters
    ----------
    spectrum : Spectrum
        Of the moments of the data; S must not be zero.
    groups : sequence of objects with `depth`, `decay` and `rank`
        The pathways.
    starts : sequence of lists of ndarray of shape (m, k)
        Maps of the pathways, in the eigenbasis of A.

    Returns
    -------
    maps : list of ndarray of shape (m, k)
        One per pathway.
    """
    unit = np.linalg.norm(spectrum.targets)
    scale = unit / spectrum.sigma[0]  # M = scale M' has the units of S A^(-1)
    decays = [g.decay * scale ** (2 / g.depth) / unit**2 for g in groups]
    rows, columns = spectrum.targets.shape[1], len(spectrum.sigma)
    shapes = [_shapes(group, rows, columns) for group in groups]
    sigma, target = spectrum.sigma / spectrum.sigma[0], spectrum.targets.T / unit

    def objective(flat):
        pathways = _unpack(flat, shapes)
        residual = sum(end_to_end(W) for W in pathways) * sigma - target
        value, slopes = np.sum(residual**2), []
        for weights, decay in zip(pathways, decays, strict=True):
            value += decay * sum(np.sum(W**2) for W in weights)
            data = _chain_gradients(weights, 2 * residual * sigma)
            slopes += [g + 2 * decay * W for g, W in zip(data, weights, strict=True)]
        return value, np.concatenate([slope.ravel() for slope in slopes])

    factors = [
        np.concatenate(
            [
                W.ravel()
                for M, group in zip(start, groups, strict=True)
                for W in _factors(M / scale, group)
            ]
        )
        for start in starts
    ]
    best = _unpack(best_local_minimum(objective, factors), shapes)
    return [_without_dead_modes(end_to_end(W)) * scale for W in best]


def _chain_gradients(weights, slope):
    """Gradients of <slope, W_L ... W_1> in W_1, ..., W_L."""
    features = [np.eye(weights[0].shape[1])]  # W_{l-1} ... W_1
    for W in weights[:-1]:
        features.append(W @ features[-1])
    gradients, back = [], np.eye(len(slope))
    for W, F in zip(reversed(weights), reversed(features), strict=True):
        gradients.append(back.T @ slope @ F.T)
        back = back @ W
    return gradients[::-1]


def shared(M, groups):
    """Ways of giving the modes of M to the pathways, the strongest to the deepest."""
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    order = sorted(range(len(groups)), key=lambda i: -groups[i].depth)
    n_modes = int(np.sum(s > _SLIGHT * s[0])) if s[0] > 0 else 0
    for deep, shallow in [(i, j) for i in order for j in order if i != j]:
        for cut in range(n_modes + 1):
            shares = [slice(0, 0)] * len(groups)
            shares[deep] = slice(0, min(cut, groups[deep].rank))
            shares[shallow] = slice(cut, min(n_modes, cut + groups[shallow].rank))
            yield [(U[:, k] * s[k]) @ Vt[k] for k in shares]


def _factors(M, group):
    """Balanced factors of the leading modes of a map, as many as the group can hold."""
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    leading = slice(0, group.rank)
    M = (U[:, leading] * s[leading]) @ Vt[leading]
    return balanced_factors(M, group.rank, depth=group.depth)


def _without_dead_modes(M):
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    alive = s > _DEAD * max(s[0], 1.0)
    return (U[:, alive] * s[alive]) @ Vt[alive]


def _shapes(group, rows, columns):
    sizes = [columns, *[group.rank] * (group.depth - 1), rows]
    return list(zip(sizes[1:], sizes[:-1], strict=True))


def _unpack(flat, shapes):
    pathways, first = [], 0
    for layers in shapes:
        pathways.append([])
        for h, w in layers:
            pathways[-1].append(flat[first : first + h * w].reshape(h, w))
            first += h * w
    return pathways
