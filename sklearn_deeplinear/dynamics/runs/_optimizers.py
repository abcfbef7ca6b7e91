"""Optimizers of mini-batch training.

To add one, give it a name in `OPTIMIZERS`: it is then a solver of every estimator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Optimizer:
    """How the parameters follow the gradients of batches.

    Attributes
    ----------
    kind : type of torch.optim.Optimizer
        Its class, which takes ``fused=True``.
    update : callable
        ``update(state, gradient, kept, options)`` makes the step of this class, with the `options`
        of its first group, on all parameters in one tensor.
    keeps : tuple of str
        Names of what it keeps of each parameter, of the shape of the parameter; if anything, it
        counts its ``step``, too. In `kept` they are tensors of all parameters.
    rescales : bool
        Whether it divides gradients by their own size, to which it adds ``eps``: its step is
        then measured in the size of the weights, not by the curvature of the objective.
    """

    kind: type[torch.optim.Optimizer]
    update: Callable
    keeps: tuple[str, ...] = ()
    rescales: bool = False


def _descend(state, gradient, kept, options):
    state.add_(gradient, alpha=-options["lr"])


def _adapt(state, gradient, kept, options):
    """Call the kernel of the class: through the class a step takes three to four times as long."""
    beta1, beta2 = options["betas"]
    kept["step"].add_(1)
    torch._fused_adam_(
        [state],
        [gradient],
        [kept["exp_avg"]],
        [kept["exp_avg_sq"]],
        [],
        [kept["step"][0]],
        lr=options["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=options["eps"],
        amsgrad=False,
        maximize=False,
    )


OPTIMIZERS = {
    "sgd": Optimizer(torch.optim.SGD, _descend),
    "adam": Optimizer(torch.optim.Adam, _adapt, ("exp_avg", "exp_avg_sq"), rescales=True),
}


def makes_batches(solver):
    """Whether a solver steps on mini-batches; of what is no name, it does not."""
    return isinstance(solver, str) and solver in OPTIMIZERS
