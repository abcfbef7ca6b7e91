"""Stationary points of parallel pathways with weight decay, by descent over their factors.

In the eigenbasis of A and with equal decays in a pathway, which a rescaling of its layers
always allows, the objective is

    ||diag(sigma) sum_p B_p - Y||_F^2 + sum_p g_p sum_l ||W_pl||_F^2,   B_p^T = W_pL ... W_p1.
"""

from __future__ import annotations

from itertools import islice, permutations

import numpy as np

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._layers import chain_gradients, end_to_end, partial_products
from sklearn_deeplinear.theory._local_minimum import best_local_minimum
from sklearn_deeplinear.theory._singular_modes import leading_modes

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
    decays = [g.decay * scale ** (2 / g.depth) / unit**2 for g in groups for _ in range(g.depth)]
    sigma, target = spectrum.sigma / spectrum.sigma[0], spectrum.targets.T / unit

    def pathways(layers):
        layers = iter(layers)
        return [list(islice(layers, group.depth)) for group in groups]

    def objective(layers):
        products = [partial_products(weights) for weights in pathways(layers)]
        residual = sum(below[-1] for _, below in products) * sigma - target
        slopes = [S for pair in products for S in chain_gradients(pair, 2 * residual * sigma)]
        penalty = sum(g * np.sum(W**2) for g, W in zip(decays, layers, strict=True))
        gradients = [S + 2 * g * W for S, g, W in zip(slopes, decays, layers, strict=True)]
        return np.sum(residual**2) + penalty, gradients

    factors = [
        [W for M, group in zip(start, groups, strict=True) for W in _factors(M / scale, group)]
        for start in starts
    ]
    best = pathways(best_local_minimum(objective, factors))
    return [_without_dead_modes(end_to_end(W)) * scale for W in best]


def shared(M, groups):
    """Ways of giving the modes of M to the pathways, the strongest to the deepest."""
    U, s, Vt = leading_modes(M, rtol=_SLIGHT)
    order = sorted(range(len(groups)), key=lambda i: -groups[i].depth)
    for deep, shallow in permutations(order, 2):
        for cut in range(len(s) + 1):
            shares = [slice(0, 0)] * len(groups)
            shares[deep] = slice(0, min(cut, groups[deep].rank))
            shares[shallow] = slice(cut, cut + groups[shallow].rank)
            yield [(U[:, k] * s[k]) @ Vt[k] for k in shares]


def _factors(M, group):
    """Balanced factors of the leading modes of a map, as many as the group can hold."""
    U, s, Vt = leading_modes(M, group.rank)
    return balanced_factors((U * s) @ Vt, group.rank, depth=group.depth)


def _without_dead_modes(M):
    U, s, Vt = svd(M, full_matrices=False)
    alive = s > _DEAD * max(s[0], 1.0)
    return (U[:, alive] * s[alive]) @ Vt[alive]
