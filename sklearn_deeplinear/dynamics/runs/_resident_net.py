"""skorch net that trains on resident tensors, at the speed of a bare loop."""

from __future__ import annotations

import numpy as np
from skorch import NeuralNet
from skorch.callbacks import Callback

from sklearn_deeplinear.dynamics.runs._optimizers import OPTIMIZERS
from sklearn_deeplinear.dynamics.runs._resident_data import ResidentBatches, ResidentData
from sklearn_deeplinear.nn._losses import MeanLoss

_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class ResidentNet(NeuralNet):
    """skorch net for resident data, with one weight decay per layer.

    Between epochs it does what every skorch net does. Its pickled form holds the module, the
    options and the history; callbacks and the state of the optimizer are left out.

    Parameters
    ----------
    module : torch.nn.Module
        Network.
    loss : {"squared_error", "cross_entropy"}
        Loss of a sample.
    solver : str
        Optimizer, by its name in `OPTIMIZERS`.
    weight_decay : sequence of floats
        gamma_l of the parameters of two or more dimensions, in their order; others are
        not decayed. ``2 gamma_l W_l`` is added to the gradient.
    generator : torch.Generator, optional
        Source of the permutations, on the CPU; None keeps the order of the data.
    eps : float, default=1e-8
        What Adam adds to the root mean square of a gradient that it divides by.
    **kwargs
        Passed on to `skorch.NeuralNet`.

    Attributes
    ----------
    epochs : BatchEpochs or None
        What makes epochs on resident data in the place of skorch.
    """

    def __init__(self, module, loss, solver, *, weight_decay, generator=None, eps=1e-8, **kwargs):
        self.loss, self.solver, self.eps = loss, solver, eps
        self.weight_decay, self.generator = weight_decay, generator
        self.epochs = None
        parts = {"criterion": MeanLoss(loss), "optimizer": OPTIMIZERS[solver].kind}
        super().__init__(module, **{"train_split": None, "verbose": 0, **parts, **kwargs})

    @property
    def _default_callbacks(self):
        return []

    @property
    def follows_batches(self):
        """Whether a callback follows single batches."""
        return any(_follows_batches(callback) for _, callback in self.callbacks_)

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Group the parameters by their weight decay."""
        gammas = iter(self.weight_decay)
        groups: dict[float, list] = {}
        for _, p in named_parameters:
            gamma = float(next(gammas)) if p.ndim >= 2 else 0.0
            groups.setdefault(2 * gamma, []).append(p)
        decayed = [{"params": p, "weight_decay": decay} for decay, p in groups.items()]
        options = {"eps": self.eps} if OPTIMIZERS[self.solver].rescales else {}
        return (decayed,), {"lr": self.lr, "fused": True, **options}

    def get_iterator(self, dataset, training=False):
        """Batches of resident data, permuted if they are for training."""
        if not isinstance(dataset, ResidentData):
            return super().get_iterator(dataset, training)
        return ResidentBatches(dataset, self.batch_size, self.generator if training else None)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Train for one epoch; the history gets its mean loss as ``train_loss``."""
        if not all(p.requires_grad for p in self.module_.parameters()):
            self.epochs = None  # for good: counts of steps differ from now on
        if training and self.epochs is not None and isinstance(iterator, ResidentBatches):
            self._set_training(True)
            self.history.record("train_loss", self.epochs.run(iterator))
            self.history.record("train_batch_count", len(iterator))
            return
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if training:
            batches = self.history[-1, "batches", :, ("train_loss", "train_batch_size")]
            losses, sizes = np.array(batches).T
            self.history.record("train_loss", float(losses @ sizes / sizes.sum()))

    def __getstate__(self):
        names = ("loss", "solver", "weight_decay", "eps", "batch_size", "lr", "max_epochs")
        options = {name: getattr(self, name) for name in names}
        return {"module": self.module_, "options": options, "history": self.history.to_list()}

    def __setstate__(self, state):
        self.__init__(state["module"], **state["options"])  # type: ignore[misc]
        self.initialize()
        self.history.extend(state["history"])


def _follows_batches(callback):
    return any(getattr(type(callback), e) is not getattr(Callback, e) for e in _BATCH_EVENTS)
