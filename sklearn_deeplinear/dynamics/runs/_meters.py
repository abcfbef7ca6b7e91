"""What runs record besides loss, objective and the norm of the gradient.

To add a quantity, write a meter (see `networks._protocol.Meter`) and give it a name in
`METERS`; users ask for it by that name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sklearn_deeplinear.dynamics.runs._spectrum import (
    SpectralMeter,
    effective_rank,
    nuclear_norm,
)


class Sharpness:
    """Largest eigenvalue of the Hessian of the objective."""

    cost = 0.0  # Users ask for it, and space the records themselves.

    def __init__(self, dynamics):
        self.dynamics = dynamics

    def measure(self, states):
        """One eigenvalue for each state of a network."""
        return np.array([self.dynamics.hessian_eigenvalues(state)[..., 0] for state in states])

    def result(self, axis, parts):
        """The curve ``sharpness``."""
        return {"sharpness": np.concatenate(parts)}


METERS: dict[str, Callable] = {
    "sharpness": Sharpness,
    "nuclear_norm": partial(SpectralMeter, nuclear_norm),
    "effective_rank": partial(SpectralMeter, effective_rank),
}


def meters_of(dynamics, names=()):
    """The balance of the layers, where there is one, and the meters of the given names."""
    balance = dynamics.balance_meter()
    return [*([] if balance is None else [balance]), *(METERS[name](dynamics) for name in names)]
