"""Training on data that arrive in batches: what is kept from one call to the next."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.runs._optimizers import makes_batches


class Continued:
    """Stands in the place of a checkpoint: an epoch goes on from the last one, with new records.

    Parameters
    ----------
    memory : dict or None
        What an earlier epoch has left, None for the first one.
    options : RunOptions
        As for a whole fit: automatic step sizes are made for its number of epochs.

    Attributes
    ----------
    memory : dict
        Arrays of the optimizer and of the generator of batches, the name of the solver, and how
        many epochs there were.
    """

    def __init__(self, memory, options):
        self.memory, self.max_iter, self.solver = memory, options.max_iter, options.solver
        self.n_epochs = 0 if memory is None else memory["n_epochs"]

    def schedule(self, schedule):
        """A schedule in which epochs count from the first call."""
        return lambda t: schedule(t + self.n_epochs)

    def resume(self, log):
        """Give the optimizer and the generator back what they were."""
        if self.memory is None:
            return None
        start = {"epoch": 0, "time": 0.0, "reason": None, "history": []}
        generator = torch.from_numpy(self.memory["generator"])
        known = self.memory["optimizer"] if self.memory["solver"] == self.solver else {}
        optimizer = {name: torch.from_numpy(array) for name, array in known.items()}
        return {**start, "generator": generator, "optimizer": optimizer}

    def keep(self, log, reason, place):
        """Remember a place to go on from."""
        place = place()
        self.memory = {
            "solver": self.solver,
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
    name = type(estimator).__name__
    if estimator._needs_all_samples:
        raise AttributeError(
            f"{name} has partial_fit with fit_intercept=False only: the best intercept is that "
            "of all samples."
        )
    if makes_batches(estimator.solver) or estimator._adds_moments:
        return True
    raise AttributeError(
        f'{name} has partial_fit with solver="sgd" and "adam" only, got "{estimator.solver}", '
        "which trains on all samples at once."
    )


def moved(parameters):
    """The parameters of a network, or None if they are all zero: a saddle that it cannot leave.

    The network of a first batch may be zero whose targets, or inputs, are all the same.
    """
    if parameters is None or not any(map(_any, parameters["weights"])):
        return None
    return parameters


def _any(weights):
    return any(map(_any, weights)) if isinstance(weights, list) else bool(np.any(weights))
