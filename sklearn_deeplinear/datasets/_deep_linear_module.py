"""A deep linear network that holds its data, for optimisers of torch."""

from __future__ import annotations

import torch


class DeepLinearModule(torch.nn.Module):
    """A deep linear network with its data and its loss.

    Parameters
    ----------
    weights : list of arrays of shape (h_l, h_{l-1})
        W_1, ..., W_L.
    X : array of shape (n, d)
        Inputs.
    y : array of shape (n, m)
        Targets.
    weight_decay : float, default=0.0
        gamma.

    Attributes
    ----------
    weights : torch.nn.ParameterList
        W_1, ..., W_L, in double precision.
    """

    def __init__(self, weights, X, y, weight_decay=0.0):
        super().__init__()
        tensors = (torch.tensor(W, dtype=torch.float64) for W in weights)
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(W) for W in tensors)
        self.register_buffer("X", torch.tensor(X, dtype=torch.float64))
        self.register_buffer("y", torch.tensor(y, dtype=torch.float64))
        self.weight_decay = weight_decay

    def forward(self, X):
        """Outputs of shape (n, m)."""
        for W in self.weights:
            X = X @ W.T
        return X

    def loss(self):
        """``|f(X) - y|^2 / n + gamma sum_l |W_l|^2``, a scalar tensor."""
        squares = (self(self.X) - self.y).square().sum() / len(self.X)
        if not self.weight_decay:
            return squares
        return squares + self.weight_decay * sum(W.square().sum() for W in self.weights)
