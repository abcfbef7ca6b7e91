"""Losses of single samples, and their weighted mean over a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch


def squared_error(outputs, targets):
    """||y_i - f(x_i)||^2, summed over the outputs; shapes (n, m) and (n, m) to (n,)."""
    return (outputs - targets).square().sum(dim=-1)


def cross_entropy(outputs, targets):
    """-log softmax(f(x_i))[y_i] of outputs (n, m) and class indices (n,)."""
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


LOSSES: dict[str, Callable] = {"squared_error": squared_error, "cross_entropy": cross_entropy}


class MeanLoss(torch.nn.Module):
    """Mean over a batch of w_i times the loss of sample i.

    With weights of mean 1 over the whole data, the mean over a random batch is an
    unbiased estimate of ``sum_i w_i loss_i / sum_i w_i``.

    Parameters
    ----------
    name : {"squared_error", "cross_entropy"}
        Loss of a single sample.
    """

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.per_sample = LOSSES[name]

    def forward(self, outputs, targets):
        """Loss of a batch; `targets` may be a pair of targets and weights."""
        if isinstance(targets, torch.Tensor):
            return self.per_sample(outputs, targets).mean()
        targets, weights = targets
        return (self.per_sample(outputs, targets) * weights).mean()
