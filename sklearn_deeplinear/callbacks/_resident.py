"""Mini-batches sliced from tensors that stay on the device: no loading sample by sample."""

from __future__ import annotations

import torch


class ResidentData(torch.utils.data.Dataset):
    """Training data as tensors on the device that trains on them.

    Parameters
    ----------
    X : tensor of shape (n, ...)
        Inputs.
    y : tensor of shape (n, ...)
        Targets.
    weight : tensor of shape (n,), optional
        Sample weights. They are scaled to mean 1, and samples of weight 0 left out.
    """

    def __init__(self, X, y, weight=None):
        if weight is not None:
            used = weight > 0
            if not used.all():
                X, y, weight = X[used], y[used], weight[used]
            weight = weight / weight.mean()
        self.X, self.y, self.weight = X, y, weight

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        """Return a sample, or a batch of them, as inputs and targets.

        With sample weights the targets are the pair of targets and weights.
        """
        if self.weight is None:
            return self.X[index], self.y[index]
        return self.X[index], (self.y[index], self.weight[index])


class ResidentBatches:
    """The batches of one epoch after the other, each time in a new order.

    Parameters
    ----------
    data : ResidentData
        Where the batches are taken from.
    batch_size : int
        Size of the batches; the last one of an epoch may be smaller.
    generator : torch.Generator, optional
        Source of the permutations, on the CPU; None keeps the order of the data.
    """

    def __init__(self, data, batch_size, generator=None):
        self.data = data
        self.batch_size = min(batch_size, len(data))
        self.generator = generator

    def __len__(self):
        return -(-len(self.data) // self.batch_size)

    def __iter__(self):
        if self.generator is None:
            order = torch.arange(len(self.data))
        else:
            order = torch.randperm(len(self.data), generator=self.generator)
        for rows in order.to(self.data.X.device).split(self.batch_size):
            yield self.data[rows]
