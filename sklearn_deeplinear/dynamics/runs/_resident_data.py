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
        Size of the batches; the last one of an epoch may be smaller, by half at most.
        Otherwise all are smaller, of equal size up to one sample: steps that suit batches
        of the size asked for diverge on a batch of a single sample.
    generator : torch.Generator, optional
        Source of the permutations, on the CPU; None keeps the order of the data.

    Attributes
    ----------
    sizes : list of int
        Sizes of the batches of an epoch.
    """

    def __init__(self, data, batch_size, generator=None):
        self.data, self.generator = data, generator
        self.sizes = batch_sizes(len(data), batch_size)

    def __len__(self):
        return len(self.sizes)

    def order(self):
        """The next order of the samples."""
        if self.generator is None:
            order = torch.arange(len(self.data))
        else:
            order = torch.randperm(len(self.data), generator=self.generator)
        return order.to(self.data.X.device)

    def __iter__(self):
        for rows in self.order().split(self.sizes):
            yield self.data[rows]


def batch_sizes(n_samples, batch_size):
    """Sizes of the batches of an epoch; see :class:`ResidentBatches`."""
    size = min(batch_size, n_samples)
    n_full, rest = divmod(n_samples, size)
    if rest == 0 or 2 * rest >= size:
        return [size] * n_full + [rest] * (rest > 0)
    share, longer = divmod(n_samples, n_full + 1)
    return [share + 1] * longer + [share] * (n_full + 1 - longer)
