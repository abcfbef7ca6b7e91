"""Linear pathways trained in compressed coordinates, and measured in full ones.

See `_subspaces`: pathway p has W_l = Q_l C_l Q_{l-1}^T + sigma_l N_l with sigma_l = 1 at
first. The state holds the cores C_l and, at its end, what weight decay has left of the largest
entries of the N_l, in the units of weights that tolerances of the flow are told in. Norms do
not change under orthonormal bases, and the blocks of C and N never meet, so that all measures
are exact.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import torch

from sklearn_deeplinear.dynamics.compression._subspaces import close, closed_widths, live_units
from sklearn_deeplinear.dynamics.networks._balance import by_layer, difference, of_units
from sklearn_deeplinear.dynamics.networks._pathway_layout import fastest_layout
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.nn._norms import norms


def compressed(pathways, data_term, weight_decay, live=None):
    """Dynamics in compressed coordinates, if these are exact and pay.

    Parameters
    ----------
    pathways : list of lists of float64 tensors
        Initial weights.
    data_term : LinearPathways
        Mean loss of the data and its gradient, in the precision and on the device to train in.
    weight_decay : list of sequences of floats
        Decays of the layers of each pathway.
    live : list of lists of tensors of indices, optional
        The :func:`live_units` of each pathway, where they are known.

    Returns
    -------
    dynamics : CompressedPathways or None
        None if the compressed network has more than half the parameters or is not the
        same network.
    """
    live = [live_units(weights) for weights in pathways] if live is None else live
    full = sum(W.numel() for weights in pathways for W in weights)
    widths = [closed_widths(*path) for path in zip(pathways, live, strict=True)]
    if 2 * sum(k * k_next for path in widths for k, k_next in pairwise(path)) > full:
        return None
    compressions = [close(*path) for path in zip(pathways, live, strict=True)]
    if any(compression is None for compression in compressions):
        return None
    return CompressedPathways(compressions, data_term, weight_decay)


class CompressedPathways(PathwayDynamics):
    """The state of compressed linear pathways and the rule by which they move.

    Parameters
    ----------
    compressions : list of Compression
        One for each pathway.
    data_term : LinearPathways
        Mean loss of the data and its gradient.
    weight_decay : list of sequences of floats
        Decays of the layers of each pathway.
    """

    def __init__(self, compressions, data_term, weight_decay):
        self.compressions = [compression.to(data_term.modes[0]) for compression in compressions]
        cores = [compression.cores for compression in self.compressions]
        rates = [2.0 * float(gamma) for decays in weight_decay for gamma in decays]
        self.rates = data_term.modes[0].new_tensor(rates)
        rests = [N for compression in compressions for N in compression.rests]
        sizes = [(0.0, 0.0) if N is None else (N.abs().max(), norms(N, (0, 1))) for N in rests]
        self.rest_sizes, self.rest_norms = self.rates.new_tensor(sizes).unbind(1)
        super().__init__(cores, data_term, weight_decay, self.rest_sizes, fastest_layout)
        self.rests = self.state[-len(rates) :]
        self.has_rests = any(N is not None for N in rests)
        if self.has_rests and self.rates.any():
            self.step = self._step_with_rests(self.step)

    def _step_with_rests(self, step_of_cores):
        def step(eta):
            step_of_cores(eta)
            self.rests.addcmul_(self.rests, self.rates, value=-eta)

        return step

    @cached_property
    def steps(self):
        """`CompiledSteps`, many in one call; None where that is no faster."""
        of_cores = super().steps
        if of_cores is None or not (self.has_rests and self.rates.any()):
            return of_cores

        def make(etas, ends, records):
            of_cores(etas, ends, records)
            kept = torch.cumprod(1 - self.rates.new_tensor(etas)[:, None] * self.rates, 0)
            if records is not None:
                records[:, -len(self.rates) :] = self.rests * kept[torch.as_tensor(ends) - 1]
            self.rests.mul_(kept[-1])

        return replace(of_cores, make=make)

    def _chain_meters(self):
        """Meters that know the bases and the rests of the pathways."""
        return [CompressedBalanceMeter(compression) for compression in self.compressions]

    def _chains(self, states):
        shrinkage = self.shrinkage(states).split(self.depths, dim=-1)
        return list(zip(self.views(states), shrinkage, strict=True))

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        super().evaluate()
        self._leave_rests(self.state)

    def _leave_rests(self, state):
        self.gradient[-len(self.rates) :] = self.rates * state[-len(self.rates) :]

    def shrinkage(self, states):
        """sigma_l of the layers of all pathways in turn; zero where N_l is."""
        sizes = self.rest_sizes.clamp_min(torch.finfo(states.dtype).tiny)
        return states[..., -len(self.rates) :] / sizes

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        measured = super().measure(states)
        self._leave_rests(states[-1])
        if not self.has_rests:
            return measured
        sizes = self.shrinkage(states) * self.rest_norms
        penalty = (self.rates / 2 * sizes.square()).sum(-1)
        slopes = [measured["gradient_norm"].unsqueeze(-1), self.rates * sizes]
        norm = norms(torch.cat(slopes, dim=-1))
        return measured | {"objective": measured["objective"] + penalty, "gradient_norm": norm}

    def unpacked(self, state):
        """``weights``: full weights W_1, ..., W_L of each pathway in a state."""
        shrinkage = self.shrinkage(state).split(self.depths)
        parts = zip(self.compressions, self.views(state), shrinkage, strict=True)
        return {"weights": [whole.weights(cores, factors) for whole, cores, factors in parts]}


class CompressedBalanceMeter:
    """Balance of the full layers, from cores, bases and rests.

    D_l = Q_l (C_l C_l^T - C_{l+1}^T C_{l+1}) Q_l^T + sigma_l^2 N_l N_l^T
    - sigma_{l+1}^2 N_{l+1}^T N_{l+1}, and the two blocks are orthogonal.

    Parameters
    ----------
    compression : Compression
        Of the first network of the run.

    Attributes
    ----------
    cost : float
        Floating-point operations of a measurement.
    """

    names = "layer", "neuron", "change", "matrix"

    def __init__(self, compression):
        self.starts = [difference(*pair) for pair in pairwise(compression.cores)]
        self.rests, self.bases = [], []
        for Q, pair in zip(compression.bases, pairwise(compression.rests), strict=True):
            empty = all(N is None for N in pair)
            self.rests.append(None if empty else _RestBalance(*pair, Q))
            self.bases.append(_without_zeros(Q) if empty else Q)
        self.cost = sum(4 * Q.numel() * (Q.shape[1] + 10) for Q in self.bases)

    def __call__(self, cores, shrinkage):
        """Measure a batch of networks.

        Parameters
        ----------
        cores : list of L tensors of shape (n_records, k_l, k_{l-1})
            C_l.
        shrinkage : tensor of shape (n_records, L)
            sigma_l.

        Returns
        -------
        measures : dict of tensors of shape (n_records, L - 1)
            As those of :class:`BalanceMeter`.
        """
        square, measures = shrinkage.square(), []
        for layer, (Q, rest) in enumerate(zip(self.bases, self.rests, strict=True)):
            D = difference(cores[layer], cores[layer + 1])
            matrix, change = _square(D), _square(D - self.starts[layer])
            units = ((Q @ D) * Q).sum(-1)
            if rest is not None:
                p, q = square[:, layer], square[:, layer + 1]
                matrix, change = matrix + rest.square(p, q), change + rest.square(p - 1, q - 1)
                units = units + rest.units(p, q)
            measures.append({**of_units(units), "matrix": matrix.sqrt(), "change": change.sqrt()})
        return by_layer(measures, self.names, like=cores[0])


class _RestBalance:
    """The matrices p N_l N_l^T - q N_{l+1}^T N_{l+1} for any p and q."""

    def __init__(self, N, N_next, Q):
        nothing = Q.new_zeros(len(Q))
        self.N_units = nothing if N is None else N.square().sum(-1)
        self.next_units = nothing if N_next is None else N_next.square().sum(-2)
        A = Q.new_zeros(()) if N is None else N @ N.mT
        B = Q.new_zeros(()) if N_next is None else N_next.mT @ N_next
        E = A - B
        self.numbers = [float(product.sum()) for product in (E * E, E * B, B * B)]

    def units(self, p, q):
        """The diagonals, of shape (n_records, h_l)."""
        return p[:, None] * self.N_units - q[:, None] * self.next_units

    def square(self, p, q):
        """Squared norms of p E + (p - q) B with E = A - B, which is free of cancellation."""
        ee, eb, bb = self.numbers
        return (p**2 * ee + 2 * p * (p - q) * eb + (p - q) ** 2 * bb).clamp_min(0.0)


def _without_zeros(Q):
    """The rows of Q that are not zero, one at least: where units span the subspace, a few."""
    rows = Q.any(-1)
    rows[0] = True
    return Q[rows]


def _square(matrix):
    return matrix.square().sum(dim=(-2, -1))
