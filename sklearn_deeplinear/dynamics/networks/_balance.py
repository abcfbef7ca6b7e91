"""Balance of adjacent layers, measured on tensors of weights.

Independent of `theory`, so that tests can hold one against the other; batched, so that
many records of a run are measured at once.
"""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear._results import BalanceHistory

# Floating-point operations a second of products of small matrices, in which costs are told.
# Costs by measured seconds came to 5e9 to 1e10 with 100 to 1,000 hidden units (one thread).
BALANCE_RATE = 1e10
# Products of small matrices run below the speed of large ones: up to the first size of D_l at
# the rate above, and faster in proportion up to the second one.
_SLOWEST, _FASTEST = 30, 150
# Columns for which the norms of D_l and of its change count beside those that it is made of.
_NORM_COLUMNS = 50
# Operations an entry of a triangular factor and a row of the tall matrix; the textbook says 2,
# but QR runs that far below the speed of a product.
_QR_OPERATIONS = 10
# Rows of D_l that are formed at once, each only right of the diagonal.
_BLOCK = 100


def difference(W, W_next):
    """D_l = W_l W_l^T - W_{l+1}^T W_{l+1}, shape (..., h_l, h_l)."""
    return W @ W.mT - W_next.mT @ W_next


class Balance:
    """Meter of a run: the balance of each chain of layers that a network consists of.

    Parameters
    ----------
    chains : callable
        ``chains(states)`` gives, for each chain, what its meter takes.
    meters : list of BalanceMeter or the like
        One for each chain.
    single : bool, default=True
        Whether the run gets one history or a list of them.
    """

    def __init__(self, chains, meters, single=True):
        self.chains, self.meters, self.single = chains, meters, single
        self.cost = sum(meter.cost for meter in meters)

    def measure(self, states):
        """Columns of the histories, by name, for each chain."""
        return [
            {name: column.numpy(force=True) for name, column in meter(*chain).items()}
            for meter, chain in zip(self.meters, self.chains(states), strict=True)
        ]

    def result(self, axis, parts):
        """The history, or the histories, ``balance``."""
        histories = [_history(axis, columns) for columns in zip(*parts, strict=True)]
        return {"balance": histories[0] if self.single else histories}


def _history(axis, parts):
    columns = {
        name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]
    }
    return BalanceHistory(**axis, **{"matrix": None, **columns})


class BalanceMeter:
    """Measures the balance of networks against the network a run started from.

    That network is to be the first one measured.

    Parameters
    ----------
    weights : list of tensors of shape (..., h_l, h_{l-1})
        The first network of the run, or the networks of a batch.
    linear : bool, default=True
        Whether the matrices D_l are conserved, or only their diagonals.
    biases : list of tensors of shape (..., h_l), optional
        b_1, ..., b_L. The bias of a hidden unit is one more of its incoming weights: it is
        [W_l, b_l] that balances W_{l+1}.

    Attributes
    ----------
    cost : float
        Time of a measurement in the floating-point operations that `BALANCE_RATE` allows
        in it, memory traffic included.
    """

    def __init__(self, weights, linear=True, biases=None):
        incoming = _incoming(weights, biases) if linear else weights
        biases = [None] * len(weights) if biases is None or linear else biases
        pairs = zip(incoming, weights[1:], biases, strict=False)
        meter = _matrix_meter if linear else _DiagonalMeter
        self.linear, self.meters = linear, [meter(*pair) for pair in pairs]
        self.names = ("layer", "neuron", "change", *(("matrix",) if linear else ()))
        self.cost = weights[0].shape[:-2].numel() * sum(m.cost for m in self.meters)

    def __call__(self, weights, biases=None):
        """Measure the networks of some records.

        Parameters
        ----------
        weights : list of tensors of shape (n_records, ..., h_l, h_{l-1})
            The networks.
        biases : list of tensors of shape (n_records, ..., h_l), optional
            Their biases, if there were any at the start.

        Returns
        -------
        measures : dict of tensors of shape (n_records, ..., L - 1)
            ``layer``, ``neuron``, ``change`` and, if linear, ``matrix``; see
            :class:`sklearn_deeplinear._results.BalanceHistory`.
        """
        incoming, measures = _incoming(weights, biases) if self.linear else weights, []
        biases = [None] * len(weights) if biases is None or self.linear else biases
        parts = zip(self.meters, incoming, weights[1:], biases, strict=False)
        for meter, W, W_next, b in parts:
            unit = _unit_difference(W, W_next, b)
            measures.append(of_units(unit) | meter(W, W_next, unit))
        return by_layer(measures, self.names, like=weights[0])


def of_units(unit):
    """What the diagonal of D_l, of shape (..., h_l), tells."""
    return {"layer": unit.sum(-1), "neuron": unit.abs().amax(-1)}


def by_layer(measures, names, like):
    """Put what was measured of each D_l side by side, as tensors of shape (..., L - 1).

    Parameters
    ----------
    measures : list of L - 1 dicts of tensors of shape (...)
        What was measured, by name.
    names : sequence of str
        The names.
    like : tensor of shape (..., rows, columns)
        A layer of the networks, of which the device, the precision and the batch count.
    """
    if not measures:
        return dict.fromkeys(names, like.new_zeros((*like.shape[:-2], 0)))
    return {name: torch.stack([each[name] for each in measures], dim=-1) for name in names}


def _unit_difference(W, W_next, b=None):
    """diag(D_l): squared norms of the rows of W_l minus those of the columns of W_{l+1}.

    Biases b_l count with the rows, if they are given.
    """
    # vector_norm reduces without a temporary copy of the squares, ten times faster.
    norm = torch.linalg.vector_norm
    unit = norm(W, dim=-1).square()
    if b is not None:
        unit += b.square()
    return unit - norm(W_next, dim=-2).square()


def _incoming(weights, biases):
    if biases is None:
        return weights
    return [torch.cat([W, b.unsqueeze(-1)], dim=-1) for W, b in zip(weights, biases, strict=True)]


def _matrix_meter(W, W_next, b):
    """Meter of D_l, biases in W_l: by factors where these are much narrower than D_l itself."""
    narrow = _NarrowMeter(W, W_next)
    h = W.shape[-2]
    slowness = _SLOWEST / min(max(h, _SLOWEST), _FASTEST)
    dense_cost = 2 * h**2 * (W.shape[-1] + W_next.shape[-2] + _NORM_COLUMNS) * slowness
    return narrow if narrow.cost < dense_cost else _DenseMeter(dense_cost)


class _DenseMeter:
    """Norms of D_l and D_l - D_l(0), formed as the upper halves of matrices."""

    def __init__(self, cost):
        self.start = None
        self.cost = cost

    def __call__(self, W, W_next, unit):
        D = _upper_difference(W, W_next)
        if self.start is None:  # forming D_l of a wide layer takes as long as many steps
            self.start = [rows[0].clone() for rows in D]
        change = [rows - start for rows, start in zip(D, self.start, strict=True)]
        return {"matrix": _upper_norm(D), "change": _upper_norm(change)}


def _upper_difference(W, W_next):
    """D_l in blocks of rows, without what is left of their diagonal blocks."""
    return [
        W[..., i : i + _BLOCK, :] @ W[..., i:, :].mT
        - W_next[..., i : i + _BLOCK].mT @ W_next[..., i:]
        for i in range(0, W.shape[-2], _BLOCK)
    ]


def _upper_norm(blocks):
    squares = [2 * _norm(rows) ** 2 - _norm(rows[..., : rows.shape[-2]]) ** 2 for rows in blocks]
    return sum(squares).sqrt()


class _NarrowMeter:
    """The same norms from a triangular factor of [W_l, W_{l+1}^T, and both at the start].

    The norms follow from the products of the columns with each other, so that any columns with
    the same products will do: no h_l x h_l matrix is formed.
    """

    def __init__(self, W, W_next):
        self.start = torch.cat([W, W_next.mT], dim=-1)
        self.sizes = [W.shape[-1], W_next.shape[-2]]
        self.cost = _QR_OPERATIONS * W.shape[-2] * (2 * self.start.shape[-1]) ** 2

    def __call__(self, W, W_next, unit):
        start = self.start.expand(W.shape[0], *self.start.shape)
        R = torch.linalg.qr(torch.cat([W, W_next.mT, start], dim=-1), mode="r").R
        now, now_next, then, then_next = R.split(2 * self.sizes, dim=-1)
        D = difference(now, now_next.mT)
        return {"matrix": _norm(D), "change": _norm(D - difference(then, then_next.mT))}


class _DiagonalMeter:
    """Change of the diagonal of D_l, what homogeneous activations conserve."""

    def __init__(self, W, W_next, b):
        self.start = _unit_difference(W, W_next, b)
        self.cost = 4 * W.shape[-2] * (W.shape[-1] + W_next.shape[-2])

    def __call__(self, W, W_next, unit):
        return {"change": (unit - self.start).abs().amax(-1)}


def _norm(matrix):
    return torch.linalg.vector_norm(matrix, dim=(-2, -1))
