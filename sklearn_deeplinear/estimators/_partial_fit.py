"""Training on data that arrive in batches: what is kept from one call to the next."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.runs._optimizers import OPTIMIZERS


class Continued:
    """Stands in the place of a checkpoint: an epoch goes on from the last one, with new records.

    Parameters
    ----------
    memory : dict or None
        What an earlier epoch has left, None for the first one.
    max_iter : int
        Epochs that automatic step sizes are made for.

    Attributes
    ----------
    memory : dict
        Arrays of the optimizer and of the generator of batches, the least automatic step, and
        how many epochs there were.
    """

    def __init__(self, memory, max_iter):
        self.memory, self.max_iter = memory, max_iter
        self.least = np.inf if memory is None else memory["step_size"]
        self.n_epochs = 0 if memory is None else memory["n_epochs"]

    def step_size(self, eta):
        """The least automatic step so far: a later batch may be in larger units."""
        self.least = min(eta, self.least)
        return self.least

    def schedule(self, schedule):
        """A schedule in which epochs count from the first call."""
        return lambda t: schedule(t + self.n_epochs)

    def resume(self, log):
        """Give the optimizer and the generator back what they were."""
        if self.memory is None:
            return None
        optimizer = {name: torch.from_numpy(a) for name, a in self.memory["optimizer"].items()}
        generator = torch.from_numpy(self.memory["generator"])
        start = {"epoch": 0, "time": 0.0, "reason": None, "history": []}
        return {**start, "generator": generator, "optimizer": optimizer}

    def keep(self, log, reason, place):
        """Remember a place to go on from."""
        place = place()
        self.memory = {
            "step_size": self.least,
            "n_epochs": self.n_epochs + place["epoch"],
            "generator": place["generator"].numpy().copy(),
            "optimizer": {k: t.numpy(force=True).copy() for k, t in place["optimizer"].items()},
        }

    def close(self):
        """Nothing is left to be done."""


def check_partial_fit(options):
    """Refuse what has no meaning for a single batch."""
    for name, bad, why in (
        ("early_stopping", options.patience is not None, "False"),
        ("callbacks", bool(options.callbacks), "None"),
        ("checkpoint", options.checkpoint is not None, "None"),
    ):
        if bad:
            raise ValueError(f"{name} must be {why} in partial_fit, which makes one epoch or fit.")


def may_continue(estimator):
    """Whether there is a ``partial_fit``; an AttributeError if not."""
    if estimator.solver in OPTIMIZERS or estimator._adds_moments:
        return True
    raise AttributeError(
        f'{type(estimator).__name__} has partial_fit with solver="sgd" and "adam" only, got '
        f'"{estimator.solver}", which trains on all samples at once.'
    )
