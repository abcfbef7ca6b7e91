"""Meters of the singular values of the end-to-end map of a linear network."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from sklearn_deeplinear.dynamics.networks._arrays import arrays


def nuclear_norm(sigma):
    """Sum of the singular values, of shape (..., k)."""
    return sigma.sum(-1)


def effective_rank(sigma):
    """exp of the entropy of the singular values as shares of their sum; 0 of the zero map.

    References
    ----------
    .. [1] Roy, O., Vetterli, M. (2007). "The effective rank: a measure of effective
       dimensionality." EUSIPCO 15, Definition 1.
    """
    total = sigma.sum(-1, keepdims=True)
    shares = sigma / np.where(total > 0, total, 1.0)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), 0.0)


class SpectralMeter:
    """A function of the singular values along a run.

    Parameters
    ----------
    function : callable
        Takes singular values of shape (n_records, ..., k) to a curve; its name is that of the
        curve.
    dynamics : Dynamics
        The network.
    """

    def __init__(self, function: Callable, dynamics):
        if not dynamics.linear:
            raise ValueError(
                f'record may hold "{function.__name__}" for linear networks only, which have an '
                "end-to-end map."
            )
        self.function, self.dynamics = function, dynamics
        self.cost = 2.0 * dynamics.state.numel()

    def measure(self, states):
        """One value for each state."""
        unpacked = getattr(self.dynamics, "isometric", self.dynamics.unpacked)
        maps = [_end_to_end(arrays(unpacked(state))["weights"]) for state in states]
        return self.function(np.linalg.svd(np.stack(maps), compute_uv=False))

    def result(self, axis, parts):
        """The curve, under the name of the function."""
        return {self.function.__name__: np.concatenate(parts).astype(np.float64)}


def _end_to_end(weights):
    """W_L ... W_1, or the sum of these over pathways; of shape (..., m, d)."""
    if isinstance(weights[0], list):
        return sum(_end_to_end(path) for path in weights)
    if weights[0].ndim == 2:
        return weights[0] if len(weights) == 1 else np.linalg.multi_dot(weights[::-1])
    return reduce(np.matmul, weights[::-1])  # of a batch
