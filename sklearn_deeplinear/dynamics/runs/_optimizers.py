"""Optimizers of mini-batch training.

To add one, give it a name in `OPTIMIZERS`: it is then a solver of every estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Optimizer:
    """How the parameters follow the gradients of batches.

    Attributes
    ----------
    kind : type of torch.optim.Optimizer
        Its class, which takes ``fused=True``.
    rescales : bool
        Whether it divides gradients by their own size, to which it adds ``eps``: its step is
        then measured in the size of the weights, not by the curvature of the objective.
    """

    kind: type[torch.optim.Optimizer]
    rescales: bool = False


OPTIMIZERS = {
    "sgd": Optimizer(torch.optim.SGD),
    "adam": Optimizer(torch.optim.Adam, rescales=True),
}
