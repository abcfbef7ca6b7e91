"""Epochs of mini-batch training on gradients that are written out, in place of autograd."""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._balance import BALANCE_RATE
from sklearn_deeplinear.dynamics.networks._batch_gradient import BatchGradient
from sklearn_deeplinear.dynamics.networks._flat import layers
from sklearn_deeplinear.dynamics.runs._optimizers import OPTIMIZERS

# Seconds that a step and a record take besides their products, and floating-point operations a
# second of these. Measured on one thread in double precision: steps of 75 us in linear networks,
# records of .4 to .6 ms of small networks, 2.5e10 to 4e10 operations a second of perceptrons.
_STEP_SECONDS, _RECORD_SECONDS, _RATE = 75e-6, 400e-6, 4e10


def record_cost(step_flops, gradient_flops, operations):
    """Cost of a record, in steps of mini-batches.

    Parameters
    ----------
    step_flops, gradient_flops : float
        Floating-point operations of a step, and of the gradient on all data.
    operations : float
        Operations of the meters, at the speed of small products.
    """
    record = _RECORD_SECONDS + gradient_flops / _RATE + operations / BALANCE_RATE
    return record / (_STEP_SECONDS + step_flops / _RATE)


class BatchEpochs:
    """Epochs of one run: steps, all in memory that is allocated once.

    What is known after each of them is where autograd would leave it: the state of the optimizer,
    and the gradient of the loss of the last batch.

    Parameters
    ----------
    module : HomogeneousNetwork or ParallelPathways
        Network whose parameters are views of `state`.
    state : tensor of shape (n_parameters,)
        All parameters, which are moved.
    data : ResidentData
        Training data.
    loss, solver : str
        Loss of a sample, and optimizer by its name in `OPTIMIZERS`.
    weight_decay : sequence of floats
        gamma_l of the parameters of two dimensions.
    optimizer : torch.optim.Optimizer
        That of the module; its first group says how to step.
    """

    def __init__(self, module, state, data, *, loss, solver, weight_decay, optimizer):
        self.gradient = BatchGradient(module, state, loss, weight_decay)
        self.rule, self.optimizer = OPTIMIZERS[solver], optimizer
        parameters = list(module.parameters())
        self.kept = {name: torch.zeros_like(state) for name in self.rule.keeps}
        views = [layers(kept, [p.shape for p in parameters]) for kept in self.kept.values()]
        if self.kept:  # and each parameter counts its steps
            self.kept["step"] = state.new_zeros(len(parameters), dtype=torch.float32)
            views.append(list(self.kept["step"]))
        for p, part, *kept in zip(parameters, self.gradient.slopes, *views, strict=True):
            p.grad = part
            if kept:
                optimizer.state[p] = dict(zip(self.kept, kept, strict=True))
        ones = data.X.new_ones(len(data))
        self.X, self.weight = data.X, ones if data.weight is None else data.weight
        self.Y = data.y if data.y.is_floating_point() else self._indicators(data.y, ones)
        self.targets, self.outputs = torch.empty_like(self.Y), torch.empty_like(self.Y)
        self.passes: dict[int, tuple] = {}  # of batches of each size

    def _indicators(self, codes, like):
        return torch.nn.functional.one_hot(codes, self.gradient.n_outputs).to(like.dtype)

    def run(self, batches):
        """Make the steps of an epoch; return the mean loss of its batches."""
        gradient, sizes, order = self.gradient, batches.sizes, batches.order()
        for n in {*sizes} - {*self.passes}:
            self.passes[n] = gradient.of_size(n)
        targets = torch.index_select(self.Y, 0, order, out=self.targets)
        weight = self.weight[order][:, None]
        counts = order.new_tensor(sizes)
        shares = weight / counts.repeat_interleave(counts)[:, None]
        update, options = self.rule.update, self.optimizer.param_groups[0]
        parts = (part.split(sizes) for part in (order, targets, shares, self.outputs))
        for n, rows, Y, share, outputs in zip(sizes, *parts, strict=True):
            passes = self.passes[n]
            torch.index_select(self.X, 0, rows, out=passes[0])
            gradient.write(passes, Y, share, outputs)
            update(gradient.state, gradient.gradient, self.kept, options)
        return float((gradient.loss.terms(self.outputs, targets) * weight).sum()) / len(order)
