"""Balance of adjacent layers, measured on tensors of weights.

Independent of `theory`, so that tests can hold one against the other; batched, so that
many records of a run are measured at once.
"""

from __future__ import annotations

import torch


def difference(W, W_next):
    """D_l = W_l W_l^T - W_{l+1}^T W_{l+1}, shape (..., h_l, h_l)."""
    return W @ W.mT - W_next.mT @ W_next


class BalanceMeter:
    """Measures the balance of networks against the network a run started from.

    Parameters
    ----------
    weights : list of tensors of shape (h_l, h_{l-1})
        The first network of the run.
    linear : bool, default=True
        Whether the matrices D_l are conserved, or only their diagonals.

    Attributes
    ----------
    cost : float
        Floating-point operations of a measurement, memory traffic counted as such.
    """

    def __init__(self, weights, linear=True):
        pairs = list(zip(weights, weights[1:], strict=False))
        meter = _matrix_meter if linear else _DiagonalMeter
        self.meters = [meter(W, W_next) for W, W_next in pairs]
        self.cost = sum(m.cost for m in self.meters)

    def __call__(self, weights):
        """Measure a batch of networks.

        Parameters
        ----------
        weights : list of tensors of shape (n_records, h_l, h_{l-1})
            The networks.

        Returns
        -------
        measures : dict of tensors of shape (n_records, L - 1)
            ``layer``, ``neuron``, ``change`` and, if linear, ``matrix``; see
            :class:`sklearn_deeplinear._results.BalanceHistory`.
        """
        squares = [W.square() for W in weights]
        incoming = [square.sum(-1) for square in squares]
        norms = [norm.sum(-1) for norm in incoming]
        columns: dict[str, list] = {"layer": [], "neuron": [], "change": [], "matrix": []}
        for layer, meter in enumerate(self.meters):
            unit = incoming[layer] - squares[layer + 1].sum(-2)
            columns["layer"].append(norms[layer] - norms[layer + 1])
            columns["neuron"].append(unit.abs().amax(-1))
            for name, value in meter(weights[layer], weights[layer + 1], unit).items():
                columns[name].append(value)
        nothing = weights[0].new_zeros((weights[0].shape[0], 0))
        return {
            name: torch.stack(values, dim=-1) if values else nothing
            for name, values in columns.items()
            if values or not self.meters
        }


def _matrix_meter(W, W_next):
    """Meter of D_l: by factors where these are much narrower than D_l itself."""
    narrow = _NarrowMeter(W, W_next)
    dense_cost = 2 * len(W) ** 2 * (W.shape[1] + len(W_next) + 50)
    return narrow if narrow.cost < dense_cost else _DenseMeter(W, W_next, dense_cost)


class _DenseMeter:
    """Norms of D_l and D_l - D_l(0), formed as matrices."""

    def __init__(self, W, W_next, cost):
        self.start = difference(W, W_next)
        self.cost = cost

    def __call__(self, W, W_next, unit):
        D = difference(W, W_next)
        return {"matrix": _norm(D), "change": _norm(D - self.start)}


class _NarrowMeter:
    """The same norms from a triangular factor of [W_l, W_{l+1}^T, and both at the start].

    D_l = C J C^T with C = [W_l, W_{l+1}^T] and J = diag(I, -I), so that its norm is that
    of R J R^T for any R with R^T R = C^T C: no h_l x h_l matrix is formed.
    """

    def __init__(self, W, W_next):
        self.start = torch.cat([W, W_next.mT], dim=-1)
        signs = torch.ones(self.start.shape[-1], dtype=W.dtype, device=W.device)
        signs[W.shape[1] :] = -1
        self.signs = torch.cat([signs, -signs])
        # QR of tall matrices runs at about a tenth of the speed of a product.
        self.cost = 20 * len(W) * self.signs.numel() ** 2

    def __call__(self, W, W_next, unit):
        start = self.start.expand(W.shape[0], *self.start.shape)
        R = torch.linalg.qr(torch.cat([W, W_next.mT, start], dim=-1), mode="r").R
        k = self.start.shape[-1]
        now, now_signs = R[:, :k, :k], self.signs[:k]
        return {
            "matrix": _norm(now * now_signs @ now.mT),
            "change": _norm(R * self.signs @ R.mT),
        }


class _DiagonalMeter:
    """Change of the diagonal of D_l, what homogeneous activations conserve."""

    def __init__(self, W, W_next):
        self.start = W.square().sum(-1) - W_next.square().sum(-2)
        self.cost = 4 * (W.numel() + W_next.numel())

    def __call__(self, W, W_next, unit):
        return {"change": (unit - self.start).abs().amax(-1)}


def _norm(matrix):
    return matrix.square().sum(dim=(-2, -1)).sqrt()
