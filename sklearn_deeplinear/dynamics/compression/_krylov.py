"""Gaussian weights in a Krylov space of the hidden layers: nearly the same run, with its error.

The subspaces that a few sweeps grow (see `_subspaces`) are not closed under Gaussian
weights, but what leaks out of them matters late: with three layers each sweep makes the error
about a hundred times smaller. Two runs that differ by one sweep measure it.
"""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.compression._compressed_pathways import CompressedPathways
from sklearn_deeplinear.dynamics.compression._subspaces import compress
from sklearn_deeplinear.dynamics.networks._balance import by_layer, of_units

# Two runs that agree this well need no further sweep, and this badly are no approximation.
_AGREE, _ACCEPT = 1e-6, 1e-3
# Nor can they agree better than this, in units of eps: what rounding errors come to in a run.
_ROUNDING = 100
# Sweeps that are tried at most; most networks run out of dimensions before.
_MAX_SWEEPS = 19


class KrylovPathways(CompressedPathways):
    """Compressed pathways whose subspaces need not be closed; `matrix` is not measured."""

    def _chain_meters(self):
        """Meters of the differences of hidden units alone."""
        return [KrylovBalanceMeter(compression) for compression in self.compressions]


class KrylovBalanceMeter:
    """Differences of hidden units, where N_l Q_{l-1} need not vanish.

    ||W_l[i, :]||^2 is the i-th row sum of (Q_l C_l)^2 + 2 sigma_l (Q_l C_l) * (N_l Q_{l-1})
    + sigma_l^2 N_l^2, and likewise for the columns of W_{l+1}.

    Parameters
    ----------
    compression : Compression
        Of the first network of the run.
    """

    names = "layer", "neuron", "change"

    def __init__(self, compression):
        bases, rests = compression.bases, compression.rests
        self.bases = bases
        self.incoming = [
            None if N is None else (N @ bases[layer - 1], N.square().sum(-1))
            for layer, N in enumerate(rests[:-1])
        ]
        self.outgoing = [
            None if N is None else (N.mT @ bases[layer], N.square().sum(-2))
            for layer, N in enumerate(rests[1:], start=1)
        ]
        self.cost = sum(8 * Q.numel() * (Q.shape[1] + 10) for Q in bases)
        ones = compression.cores[0].new_ones((1, len(rests)))
        self.starts = list(self._units([C[None] for C in compression.cores], ones))

    def __call__(self, cores, shrinkage):
        """Measure a batch of networks; see :class:`CompressedBalanceMeter`."""
        measures = [
            {**of_units(unit), "change": (unit - start).abs().amax(-1)}
            for unit, start in zip(self._units(cores, shrinkage), self.starts, strict=True)
        ]
        return by_layer(measures, self.names, like=cores[0])

    def _units(self, cores, shrinkage):
        """Yield the differences of the units of each hidden layer."""
        for layer, Q in enumerate(self.bases):
            s, s_next = shrinkage[:, layer, None], shrinkage[:, layer + 1, None]
            incoming = _row_norms(Q @ cores[layer], s, self.incoming[layer])
            yield incoming - _row_norms(Q @ cores[layer + 1].mT, s_next, self.outgoing[layer])


def _row_norms(part, sigma, products):
    """Squared norms of rows, given N Q and the squared norms of the rows of N, if there are any."""
    norms = part.square().sum(-1)
    if products is None:
        return norms
    cross, rest = products
    return norms + 2 * sigma * (part * cross).sum(-1) + sigma**2 * rest


def krylov_run(pathways, data_term, weight_decay, train):
    """Train in growing Krylov spaces until two runs agree.

    Parameters
    ----------
    pathways : list of lists of float64 tensors
        Initial weights.
    data_term : LinearPathways
        Mean loss of the data and its gradient.
    weight_decay : list of sequences of floats
        Decays of the layers of each pathway.
    train : callable
        ``train(dynamics)`` trains them and returns the Run.

    Returns
    -------
    dynamics : KrylovPathways
        In the largest space.
    run : Run
        Their run.
    error : float
        Largest difference of a mode strength to the run of one sweep less, over all records,
        relative to the largest strength: a bound on the error wherever sweeps pay.

    Raises
    ------
    ValueError
        If two runs of at most half the parameters do not agree to 1e-3.
    """
    full = sum(W.numel() for weights in pathways for W in weights)
    tolerance = max(_AGREE, _ROUNDING * torch.finfo(data_term.modes[0].dtype).eps)
    best: tuple = None, None, np.inf
    for sweeps in range(1, _MAX_SWEEPS + 1):
        compressions = [compress(weights, sweeps) for weights in pathways]
        cores = sum(C.numel() for compression in compressions for C in compression.cores)
        if 2 * cores > full:
            break
        dynamics = KrylovPathways(compressions, data_term, weight_decay)
        run = train(dynamics)
        error = _difference(best[1], run)
        best = dynamics, run, error
        if error <= tolerance:
            break
    if best[2] > _ACCEPT:
        raise ValueError(
            'compression="krylov" does not follow this network: subspaces of half the parameters '
            f'leave an error of {best[2]:.1g}. Take compression="exact".'
        )
    return best


def _difference(before, run):
    if before is None:
        return np.inf
    old, new = before.trajectory.mode_strengths, run.trajectory.mode_strengths
    n = min(len(old), len(new))
    if n == 0 or new.size == 0:
        return 0.0
    return float(np.abs(old[:n] - new[:n]).max() / np.abs(new).max())
